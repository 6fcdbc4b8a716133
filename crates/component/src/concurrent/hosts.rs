//! The host's part of asynchronous calls in a store: operations that are not done, and ends of streams and futures.
//!
//! It knows the type of the store's data, which the event loop does not: that calls a function of the store
//! ([`Concurrent::hosts`](crate::concurrent::Concurrent::hosts)), which is made with the instance.
//!
//! *Invariant:* what is polled is taken out of its table meanwhile.

use std::sync::Arc;
use std::task::Poll;

use tiered::decode::types::{FuncType, ValType as CoreType};
use tiered::{AnyStore, Caller, Func, Store, StoreCell, Trap};

use crate::concurrent::block::{Awaited, block};
use crate::concurrent::copy::next_address;
use crate::concurrent::event_loop::Owner;
use crate::concurrent::transmit::{Buffer, Holder, Moved, Transmit, other};
use crate::concurrent::waitable::{SubtaskState, Waitable};
use crate::concurrent::{
    ByteSink, ByteSource, HostSink, HostSource, Pending, Task, Transfer, Waiter, Waits, sleep,
};
use crate::lowered::{Args, Lowered, Lowering, Shape};
use crate::plan::Side;
use crate::slab::{Id, Slab};
use crate::state::{Lends, Shared};
use crate::types::ValType;

/// Numbers an operation.
#[derive(Debug)]
pub(crate) struct OpKey;

/// Numbers an end that the host has.
#[derive(Debug)]
pub(crate) struct EndKey;

/// An operation that is not done.
pub(crate) struct Operation<T: 'static> {
    /// `None` when it is done.
    pub(crate) pending: Option<Box<dyn Pending<T>>>,
    pub(crate) lowering: Arc<Lowering<T>>,
    /// As the function's body has seen them; the result is in the first place.
    pub(crate) args: Vec<u64>,
    pub(crate) caller: OpCaller,
}

/// Who waits for an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OpCaller {
    /// A guest, in the middle: the task that waits, if it has a stack of its own.
    Sync(Option<Id<Task>>),
    /// A guest has a subtask; the result goes to its memory.
    Subtask {
        id: Id<Waitable>,
        pointer: u64,
    },
    Nobody,
}

/// An end that the host has.
enum HostEnd<T: 'static> {
    Source(HostSource<T>),
    Sink(HostSink<T>),
}

struct Table<T: 'static> {
    /// An operation that is being polled has a place without it.
    operations: Slab<Option<Operation<T>>, OpKey>,
    ends: Slab<Option<HostEnd<T>>, EndKey>,
}

/// The host's part of asynchronous calls.
pub(crate) struct Hosts<T: 'static> {
    table: StoreCell<Table<T>>,
    waiter: Option<Arc<Waiter<T>>>,
}

// What the event loop asks for.
const OPERATION: u64 = 0;
const TRANSMIT: u64 = 1;
const END: u64 = 2;
const CANCEL: u64 = 3;
const WAIT: u64 = 4;

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// There is something to poll.
    Ready,
    /// Nothing is ready, though the host has waited.
    Woken,
    /// There is nothing that could be waited for.
    Nothing,
}

fn act(store: &mut AnyStore, shared: &Shared, what: u64, of: u64) -> Result<u64, Trap> {
    let Some(hosts) = shared.state(store).concurrent.hosts else {
        return Err(Trap::message("the instance has no asynchronous calls"));
    };
    let mut slots = [what, of];
    hosts.call(store, &mut slots)?;
    Ok(slots[0])
}

/// Polls something of the host.
pub(super) fn poll(store: &mut AnyStore, shared: &Shared, owner: Owner) -> Result<(), Trap> {
    let (what, of) = match owner {
        Owner::Operation(of) => (OPERATION, of),
        Owner::Transmit(of) => (TRANSMIT, of),
    };
    act(store, shared, what, of).map(drop)
}

/// The guest has dropped the other end.
pub(crate) fn end(store: &mut AnyStore, shared: &Shared, id: Id<EndKey>) -> Result<(), Trap> {
    act(store, shared, END, id.bits()).map(drop)
}

/// An operation is given up.
pub(super) fn cancel(store: &mut AnyStore, shared: &Shared, id: Id<OpKey>) -> Result<(), Trap> {
    act(store, shared, CANCEL, id.bits()).map(drop)
}

/// Asks the host what is ready; if `blocks`, waits until something is. If `has_progressed`, what waits for others is ready.
pub(super) fn wait(
    store: &mut AnyStore,
    shared: &Shared,
    blocks: bool,
    has_progressed: bool,
) -> Result<Waited, Trap> {
    let how = u64::from(blocks) | u64::from(has_progressed) << 1;
    Ok(match act(store, shared, WAIT, how)? {
        0 => Waited::Ready,
        1 => Waited::Woken,
        _ => Waited::Nothing,
    })
}

impl<T: 'static> Hosts<T> {
    /// Gives an instance what it needs for asynchronous calls of the host.
    pub(crate) fn install(
        store: &mut Store<T>,
        shared: &Arc<Shared>,
        waiter: Option<Arc<Waiter<T>>>,
    ) -> Arc<Hosts<T>> {
        let table = Table {
            operations: Slab::new(),
            ends: Slab::new(),
        };
        let hosts = Arc::new(Hosts {
            table: StoreCell::new(store, table),
            waiter,
        });
        let ty = FuncType::new([CoreType::I64; 2], [CoreType::I64]);
        let (this, of) = (Arc::clone(&hosts), Arc::clone(shared));
        let func = Func::of_slots(store, ty, move |mut caller: Caller<'_, T>, mut slots| {
            let result = this.act(&mut caller, &of, slots.get(0), slots.get(1))?;
            slots.set(0, result);
            Ok(())
        });
        let func = func.with_slots(store);
        shared.state(store).concurrent.hosts = func;
        hosts
    }

    fn act(
        self: &Arc<Self>,
        caller: &mut Caller<'_, T>,
        shared: &Arc<Shared>,
        what: u64,
        of: u64,
    ) -> Result<u64, Trap> {
        match what {
            OPERATION => self.poll_operation(caller, shared, Id::from_bits(of))?,
            TRANSMIT => self.poll_transmit(caller, shared, Id::from_bits(of))?,
            END => self.end(caller, Id::from_bits(of))?,
            CANCEL => {
                let id = Id::from_bits(of);
                let waiting = &mut shared.state(caller).concurrent.waiting;
                waiting.remove(&Owner::operation(id));
                drop(self.table.get(caller).operations.remove(id));
            }
            WAIT => {
                let waited = self.wait(caller, shared, of & 1 != 0, of & 2 != 0)?;
                return Ok(waited as u64);
            }
            _ => return Err(Trap::message("the event loop asks for what there is not")),
        }
        Ok(0)
    }

    /// Adds an operation, which is polled soon.
    ///
    /// # Errors
    /// There are as many as there may be handles.
    pub(crate) fn add(
        &self,
        store: &mut AnyStore,
        shared: &Shared,
        operation: Operation<T>,
    ) -> Result<Id<OpKey>, Trap> {
        let operations = &mut self.table.get(store).operations;
        if operations.len() >= shared.limits.handles as usize {
            return Err(Trap::message("there are too many operations of the host"));
        }
        let id = operations.insert(Some(operation));
        let concurrent = &mut shared.state(store).concurrent;
        concurrent.poll_soon(Owner::operation(id));
        Ok(id)
    }

    /// A guest has a subtask for an operation.
    pub(crate) fn set_subtask(
        &self,
        store: &mut AnyStore,
        id: Id<OpKey>,
        subtask: Id<Waitable>,
        pointer: u64,
    ) {
        if let Some(Some(operation)) = self.table.get(store).operations.get_mut(id) {
            operation.caller = OpCaller::Subtask {
                id: subtask,
                pointer,
            };
        }
    }

    fn poll_operation(
        &self,
        caller: &mut Caller<'_, T>,
        shared: &Shared,
        id: Id<OpKey>,
    ) -> Result<(), Trap> {
        let place = self.table.get(caller).operations.get_mut(id);
        let Some(mut operation) = place.and_then(Option::take) else {
            return Ok(());
        };
        let mut polled = Poll::Pending;
        if let Some(mut pending) = operation.pending.take() {
            let mut call = Lowered {
                caller: caller.reborrow(),
                args: Args::Own(&mut operation.args),
                lowering: &operation.lowering,
                pending: None,
                scratch: None,
            };
            polled = pending.poll(&mut call)?;
            operation.pending = match (call.pending.take(), polled) {
                (Some(next), _) => {
                    polled = Poll::Pending;
                    shared
                        .state(caller)
                        .concurrent
                        .poll_soon(Owner::operation(id));
                    Some(next)
                }
                (None, Poll::Pending) => Some(pending),
                (None, Poll::Ready(())) => None,
            };
        }
        if polled.is_ready() {
            let concurrent = &mut shared.state(caller).concurrent;
            concurrent.waiting.remove(&Owner::operation(id));
            concurrent.has_progressed = true;
            match operation.caller {
                OpCaller::Sync(waiter) => {
                    concurrent.finished.insert(id);
                    if let Some(waiter) = waiter {
                        shared.state(caller).enqueue(waiter);
                    }
                }
                OpCaller::Subtask {
                    id: subtask,
                    pointer,
                } => {
                    operation
                        .lowering
                        .store_result(caller, operation.args[0], pointer)?;
                    let state = shared.state(caller);
                    state.advance_subtask(subtask, SubtaskState::Returned, None);
                    self.table.get(caller).operations.remove(id);
                    return Ok(());
                }
                OpCaller::Nobody => {
                    self.table.get(caller).operations.remove(id);
                    return Ok(());
                }
            }
        }
        if let Some(place) = self.table.get(caller).operations.get_mut(id) {
            *place = Some(operation);
        }
        Ok(())
    }

    /// Waits in the middle of the guest's code for an operation; its arguments, with the result in the first place.
    pub(crate) fn finish(
        &self,
        store: &mut AnyStore,
        shared: &Arc<Shared>,
        mut operation: Operation<T>,
        lends: Lends,
    ) -> Result<u64, Trap> {
        operation.caller = OpCaller::Sync(shared.state(store).concurrent.in_coroutine);
        let id = self.add(store, shared, operation)?;
        block(store, shared, Awaited::Operation(id))?;
        let state = shared.state(store);
        state.concurrent.finished.remove(&id);
        state.give_back(lends);
        let operation = self.table.get(store).operations.remove(id);
        let result = operation.flatten().map(|operation| operation.args[0]);
        Ok(result.unwrap_or(0))
    }

    /// The host gets the writing end of a stream or future.
    pub(crate) fn add_source(&self, store: &mut AnyStore, source: HostSource<T>) -> Id<EndKey> {
        let ends = &mut self.table.get(store).ends;
        ends.insert(Some(HostEnd::Source(source)))
    }

    /// Takes back the writing end that it has of this number.
    pub(crate) fn take_source(
        &self,
        store: &mut AnyStore,
        id: Id<EndKey>,
    ) -> Option<HostSource<T>> {
        match self.table.get(store).ends.remove(id)?? {
            HostEnd::Source(source) => Some(source),
            HostEnd::Sink(_) => None,
        }
    }

    /// The host reads from a stream or future whose readable end it has taken.
    pub(crate) fn read_with(
        self: &Arc<Self>,
        caller: &mut Caller<'_, T>,
        lowering: &Arc<Lowering<T>>,
        id: Id<Transmit>,
        sink: HostSink<T>,
    ) -> Result<(), Trap> {
        let shared = &lowering.shared;
        let write = shared.state(caller).transmit(id)?.write;
        if let Holder::Host(source) = write {
            let source = self.take_source(caller, source);
            let (Some(HostSource::Bytes(source)), HostSink::Bytes(sink)) = (source, sink) else {
                return Err(Trap::message(
                    "the host can't pass items of a stream of its own on to itself",
                ));
            };
            shared.state(caller).concurrent.transmits.remove(id);
            let pump = Pump {
                source,
                sink,
                buffer: Vec::new(),
                from: 0,
                state: PumpState::Reads,
            };
            self.add(
                caller,
                shared,
                Operation {
                    pending: Some(Box::new(pump)),
                    lowering: Arc::clone(lowering),
                    args: vec![0],
                    caller: OpCaller::Nobody,
                },
            )?;
            return Ok(());
        }
        let end = self
            .table
            .get(caller)
            .ends
            .insert(Some(HostEnd::Sink(sink)));
        let state = shared.state(caller);
        if write == Holder::Dropped {
            state.concurrent.transmits.remove(id);
            return self.end(caller, end);
        }
        let transmit = state.transmit(id)?;
        transmit.read = Holder::Host(end);
        if transmit.pending.is_some() {
            state.concurrent.poll_soon(Owner::transmit(id));
        }
        Ok(())
    }

    /// The guest has dropped the other end of one that the host has.
    fn end(&self, caller: &mut Caller<'_, T>, id: Id<EndKey>) -> Result<(), Trap> {
        match self.table.get(caller).ends.remove(id).flatten() {
            Some(HostEnd::Sink(HostSink::Bytes(mut sink))) => sink.end(caller.data_mut()),
            Some(HostEnd::Sink(HostSink::Items(mut sink))) => sink.end(caller.data_mut()),
            Some(HostEnd::Source(_)) | None => Ok(()),
        }
    }

    /// The host goes on with a guest's read or write.
    fn poll_transmit(
        self: &Arc<Self>,
        caller: &mut Caller<'_, T>,
        shared: &Arc<Shared>,
        id: Id<Transmit>,
    ) -> Result<(), Trap> {
        let Some(transmit) = shared.state(caller).concurrent.transmits.get_mut(id) else {
            return Ok(());
        };
        let Some((side, buffer)) = transmit.pending else {
            return Ok(());
        };
        let (item, is_future) = (transmit.item, transmit.is_future);
        let Holder::Host(end) = *transmit.holder(other(side)) else {
            return Ok(());
        };
        let place = self.table.get(caller).ends.get_mut(end);
        let Some(mut host) = place.and_then(Option::take) else {
            return Ok(());
        };
        let moved = self.move_items(caller, shared, &mut host, (side, buffer), item)?;
        let (moved, is_over) = match moved {
            Transfer::Pending => (None, false),
            Transfer::Items(items) => (Some(Moved::Items(items)), is_future && items > 0),
            Transfer::End => (Some(Moved::End), true),
        };
        if is_over {
            self.table.get(caller).ends.remove(end);
            drop(host);
            if let Ok(transmit) = shared.state(caller).transmit(id) {
                *transmit.holder(other(side)) = Holder::Dropped;
            }
        } else if let Some(place) = self.table.get(caller).ends.get_mut(end) {
            *place = Some(host);
        }
        match moved {
            Some(moved) => shared.state(caller).host_moved(id, moved),
            None => Ok(()),
        }
    }

    fn move_items(
        self: &Arc<Self>,
        caller: &mut Caller<'_, T>,
        shared: &Arc<Shared>,
        host: &mut HostEnd<T>,
        (side, buffer): (Side, Buffer),
        item: Option<ValType>,
    ) -> Result<Transfer, Trap> {
        let at = next_address(shared, item, &buffer);
        let left = buffer.left();
        match (host, side) {
            (HostEnd::Source(HostSource::Bytes(source)), Side::Read) => {
                let Some(memory) = buffer.memory else {
                    let (data, meter) = caller.data_and_meter();
                    return source.read(data, &mut [], meter);
                };
                let (bytes, data, meter) = caller.bytes_data_and_meter(memory);
                let range = at as usize..at as usize + left as usize;
                // It was checked when the guest gave it, and memories do not shrink; of nothing, the address was not.
                let part = match left {
                    0 => &mut [],
                    _ => bytes.get_mut(range).unwrap_or(&mut []),
                };
                source.read(data, part, meter)
            }
            (HostEnd::Sink(HostSink::Bytes(sink)), Side::Write) => {
                let Some(memory) = buffer.memory else {
                    let (data, meter) = caller.data_and_meter();
                    return sink.write(data, &[], meter);
                };
                let (bytes, data, meter) = caller.bytes_data_and_meter(memory);
                let range = at as usize..at as usize + left as usize;
                let part: &[u8] = match left {
                    0 => &[],
                    _ => bytes.get(range).unwrap_or(&[]),
                };
                sink.write(data, part, meter)
            }
            (HostEnd::Source(HostSource::Items(source)), Side::Read) => {
                let lowering = self.of_buffer(caller, shared, &buffer, item)?;
                let mut args = [0];
                let mut call = Lowered {
                    caller: caller.reborrow(),
                    args: Args::Own(&mut args),
                    lowering: &lowering,
                    pending: None,
                    scratch: None,
                };
                source.read(&mut call, at as u32, left)
            }
            (HostEnd::Sink(HostSink::Items(sink)), Side::Write) => {
                let lowering = self.of_buffer(caller, shared, &buffer, item)?;
                let mut args = [0];
                let mut call = Lowered {
                    caller: caller.reborrow(),
                    args: Args::Own(&mut args),
                    lowering: &lowering,
                    pending: None,
                    scratch: None,
                };
                sink.write(&mut call, at as u32, left)
            }
            _ => Err(Trap::message(
                "the host has another end than the guest's other one",
            )),
        }
    }

    /// What a source or a sink sees of the guest's side.
    fn of_buffer(
        self: &Arc<Self>,
        caller: &mut Caller<'_, T>,
        shared: &Arc<Shared>,
        buffer: &Buffer,
        item: Option<ValType>,
    ) -> Result<Arc<Lowering<T>>, Trap> {
        let options = &buffer.options;
        let types = shared.component.types();
        if options.address != crate::types::AddressType::I32
            || options.encoding != crate::abi::StringEncoding::Utf8
                && item.is_some_and(|item| types.has_strings(item))
        {
            return Err(Trap::message(
                "the host takes and gives items in memories of 32-bit addresses, with strings in UTF-8",
            ));
        }
        let realloc = buffer
            .realloc
            .and_then(|realloc| realloc.func().typed(caller).ok());
        Ok(Arc::new(Lowering {
            shared: Arc::clone(shared),
            instance: buffer.instance,
            may_leave: buffer.may_leave,
            memory: buffer.memory,
            realloc,
            hosts: Some(Arc::clone(self)),
            shape: Shape::of_item(types, item),
        }))
    }

    fn wait(
        &self,
        caller: &mut Caller<'_, T>,
        shared: &Shared,
        blocks: bool,
        has_progressed: bool,
    ) -> Result<Waited, Trap> {
        let concurrent = &mut shared.state(caller).concurrent;
        let mut owners = Vec::with_capacity(concurrent.waiting.len());
        for &owner in &concurrent.waiting {
            let end = match owner {
                Owner::Operation(_) => None,
                Owner::Transmit(id) => {
                    let transmit = concurrent.transmits.get_mut(Id::from_bits(id));
                    transmit.and_then(|transmit| {
                        let (side, _) = transmit.pending?;
                        match *transmit.holder(other(side)) {
                            Holder::Host(end) => Some(end),
                            _ => None,
                        }
                    })
                }
            };
            owners.push((owner, end));
        }
        // What the guest has begun it pays for whenever all of it is looked at.
        caller.meter().charge(owners.len() as u64 >> 4)?;
        let mut waits = Waits::default();
        let mut idle = Vec::new();
        let table = self.table.get(caller);
        for (index, (owner, end)) in owners.iter().enumerate() {
            let before = waits.len();
            waits.owner = index as u64;
            match *owner {
                Owner::Operation(id) => {
                    let operation = table.operations.get(Id::from_bits(id));
                    let operation = operation.and_then(Option::as_ref);
                    if let Some(pending) = operation.and_then(|op| op.pending.as_ref()) {
                        pending.wait(&mut waits);
                    }
                }
                Owner::Transmit(_) => {
                    let end = end.and_then(|end| table.ends.get(end)?.as_ref());
                    match end {
                        Some(HostEnd::Source(HostSource::Bytes(end))) => end.wait(&mut waits),
                        Some(HostEnd::Source(HostSource::Items(end))) => end.wait(&mut waits),
                        Some(HostEnd::Sink(HostSink::Bytes(end))) => end.wait(&mut waits),
                        Some(HostEnd::Sink(HostSink::Items(end))) => end.wait(&mut waits),
                        None => {}
                    }
                }
            }
            if waits.len() == before {
                idle.push(*owner);
            }
        }
        if !waits.is_empty() {
            match &self.waiter {
                Some(waiter) => waiter(caller.reborrow(), &mut waits, blocks)?,
                None => sleep(caller, &mut waits, blocks)?,
            }
        }
        let polls = &mut shared.state(caller).concurrent.polls;
        let before = polls.len();
        polls.extend(waits.ready_owners().map(|index| owners[index as usize].0));
        if has_progressed {
            polls.extend(idle);
        }
        Ok(match (polls.len() > before, waits.is_empty()) {
            (true, _) => Waited::Ready,
            (false, false) => Waited::Woken,
            (false, true) => Waited::Nothing,
        })
    }
}

/// Moves bytes from one end of the host's to another.
struct Pump<T: 'static> {
    source: Box<dyn ByteSource<T>>,
    sink: Box<dyn ByteSink<T>>,
    buffer: Vec<u8>,
    /// Where what is left begins.
    from: usize,
    state: PumpState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PumpState {
    Reads,
    Writes,
}

/// How many bytes are moved in one piece.
const PIECE: usize = 1 << 16;

impl<T: 'static> Pending<T> for Pump<T> {
    fn poll(&mut self, call: &mut Lowered<'_, T>) -> Result<Poll<()>, Trap> {
        // A bounded number of pieces, so that others get their turn.
        for _ in 0..64 {
            let (data, _, meter) = call.memory_and_meter();
            match self.state {
                PumpState::Reads => {
                    self.buffer.resize(PIECE, 0);
                    match self.source.read(data, &mut self.buffer, meter)? {
                        Transfer::Pending => {
                            // It may take long, and there may be many.
                            self.buffer = Vec::new();
                            return Ok(Poll::Pending);
                        }
                        Transfer::Items(items) => {
                            self.buffer.truncate(items as usize);
                            self.from = 0;
                            self.state = PumpState::Writes;
                        }
                        Transfer::End => {
                            self.sink.end(data)?;
                            return Ok(Poll::Ready(()));
                        }
                    }
                }
                PumpState::Writes => {
                    if self.from >= self.buffer.len() {
                        self.state = PumpState::Reads;
                        continue;
                    }
                    match self.sink.write(data, &self.buffer[self.from..], meter)? {
                        Transfer::Pending => return Ok(Poll::Pending),
                        Transfer::Items(items) => self.from += items as usize,
                        Transfer::End => return Ok(Poll::Ready(())),
                    }
                }
            }
        }
        Ok(Poll::Pending)
    }

    fn wait(&self, waits: &mut Waits) {
        match self.state {
            PumpState::Reads => self.source.wait(waits),
            PumpState::Writes => self.sink.wait(waits),
        }
    }
}
