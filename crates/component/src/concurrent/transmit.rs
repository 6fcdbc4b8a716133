//! Streams and futures: two ends, and at most one of them with a read or a write that waits for the other one.
//!
//! *Invariant:* a read or a write that waits has its place here until its guest has been told what has come of it. So the other
//! side may go on with it after the event is there, and before it is taken.

use std::sync::Arc;

use tiered::{AnyStore, Global, Memory, SlotsFunc, Trap};

use crate::abi::{self, HandleError};
use crate::concurrent::block::{Awaited, block};
use crate::concurrent::copy::{self, copy_items};
use crate::concurrent::event_loop::Owner;
use crate::concurrent::hosts::{self, EndKey};
use crate::concurrent::waitable::{CopyResult, CopyState, End, Waitable, What, event, used_in_set};
use crate::plan::{EndTable, Side};
use crate::slab::Id;
use crate::state::{Shared, State};
use crate::types::{TypeDef, TypeId, ValType};
use crate::val::Handle;

/// The most items of one read or write.
const MAX_LENGTH: u32 = (1 << 28) - 1;

/// Whose handles are readable ends that the host has as values.
const VALUES: u64 = u64::MAX - 1;

/// What answers that a read or write, or its cancellation, goes on.
pub(crate) const BLOCKED: u32 = u32::MAX;

/// Who has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Guest(Id<Waitable>),
    Host(Id<EndKey>),
    /// The host, which has it as a value and passes it on.
    Value,
    Dropped,
}

/// Where items come from or go to: canonical options, and a part of the memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub(crate) instance: u32,
    pub(crate) options: abi::Options,
    pub(crate) memory: Option<Memory>,
    pub(crate) realloc: Option<SlotsFunc>,
    pub(crate) may_leave: Global,
    pub(crate) address: u64,
    /// In items.
    pub(crate) length: u32,
    pub(crate) progress: u32,
}

impl Buffer {
    pub(crate) fn left(&self) -> u32 {
        self.length - self.progress
    }
}

/// A stream or a future.
#[derive(Debug)]
pub(crate) struct Transmit {
    pub(crate) item: Option<ValType>,
    pub(crate) ty: TypeId,
    pub(crate) is_future: bool,
    pub(crate) read: Holder,
    pub(crate) write: Holder,
    /// The read or write that waits.
    pub(crate) pending: Option<(Side, Buffer)>,
}

impl Transmit {
    pub(crate) fn holder(&mut self, side: Side) -> &mut Holder {
        match side {
            Side::Read => &mut self.read,
            Side::Write => &mut self.write,
        }
    }
}

pub(crate) fn other(side: Side) -> Side {
    match side {
        Side::Read => Side::Write,
        Side::Write => Side::Read,
    }
}

impl State {
    pub(crate) fn transmit(&mut self, id: Id<Transmit>) -> Result<&mut Transmit, Trap> {
        let transmit = self.concurrent.transmits.get_mut(id);
        transmit.ok_or_else(|| Trap::message("a stream or future is gone"))
    }

    fn end(&mut self, id: Id<Waitable>) -> Result<&mut End, Trap> {
        match self
            .concurrent
            .waitables
            .get_mut(id)
            .map(|waitable| &mut waitable.what)
        {
            Some(What::End(end)) => Ok(end),
            _ => Err(Trap::message("an end of a stream or future is gone")),
        }
    }

    /// The end of a handle, which has to be of this type.
    fn typed_end(
        &mut self,
        instance: u32,
        index: u32,
        ty: TypeId,
        side: Side,
    ) -> Result<(Id<Waitable>, Id<Transmit>), HandleError> {
        let (id, waitable) = self.find_waitable(instance, index)?;
        if let What::End(end) = &waitable.what
            && end.side == side
        {
            let transmit = end.transmit;
            let same_type = |transmit: &Transmit| transmit.ty == ty;
            if self
                .concurrent
                .transmits
                .get(transmit)
                .is_some_and(same_type)
            {
                return Ok((id, transmit));
            }
        }
        Err(HandleError::OtherType(index))
    }

    /// A stream or a future whose ends have no holder yet.
    ///
    /// # Errors
    /// There are as many as two handles each could be of.
    pub(crate) fn new_transmit(
        &mut self,
        types: &crate::types::Types,
        ty: TypeId,
    ) -> Result<Id<Transmit>, Trap> {
        if self.concurrent.transmits.len() >= self.limit() as usize {
            return Err(Trap::host(HandleError::Full));
        }
        let (item, is_future) = match types.def(ty) {
            TypeDef::Future(item) => (*item, true),
            TypeDef::Stream(item) => (*item, false),
            _ => unreachable!("the validator lets built-ins name streams and futures only"),
        };
        Ok(self.concurrent.transmits.insert(Transmit {
            item,
            ty,
            is_future,
            read: Holder::Value,
            write: Holder::Value,
            pending: None,
        }))
    }

    /// An instance gets an end: a new handle.
    pub(crate) fn give_end(
        &mut self,
        instance: u32,
        transmit: Id<Transmit>,
        side: Side,
    ) -> Result<u32, Trap> {
        let what = What::End(End {
            transmit,
            side,
            state: CopyState::Idle,
            result: CopyResult::Completed,
            progress: 0,
        });
        let (id, index) = self.new_waitable(instance, what)?;
        let this = self.transmit(transmit)?;
        *this.holder(side) = Holder::Guest(id);
        if *this.holder(other(side)) == Holder::Dropped {
            self.finish(transmit, side, CopyResult::Dropped, 0)?;
        }
        Ok(index)
    }

    /// The stream or future that an instance has the readable end of.
    pub(crate) fn readable(
        &mut self,
        instance: u32,
        index: u32,
        ty: TypeId,
    ) -> Result<Id<Transmit>, Trap> {
        let end = self.typed_end(instance, index, ty, Side::Read);
        Ok(end.map_err(Trap::host)?.1)
    }

    /// Takes a readable end from an instance, as it is passed on.
    pub(crate) fn take_readable(
        &mut self,
        instance: u32,
        index: u32,
        ty: TypeId,
    ) -> Result<Id<Transmit>, HandleError> {
        let (id, transmit) = self.typed_end(instance, index, ty, Side::Read)?;
        let is_future = match self.concurrent.transmits.get(transmit) {
            Some(transmit) => transmit.is_future,
            None => return Err(HandleError::Unknown(index)),
        };
        let Some(waitable) = self.concurrent.waitables.get(id) else {
            return Err(HandleError::Unknown(index));
        };
        let state = match &waitable.what {
            What::End(end) => end.state,
            What::Subtask(_) => return Err(HandleError::OtherType(index)),
        };
        let reason = match (state, is_future) {
            (CopyState::Copying | CopyState::Cancelling, true) => "cannot lift busy future",
            (CopyState::Copying | CopyState::Cancelling, false) => "cannot lift busy stream",
            (CopyState::Done, true) => "cannot lift future after previous read succeeded",
            (CopyState::Done, false) => {
                "cannot lift stream after being notified that the writable end dropped"
            }
            (CopyState::Idle, true) if waitable.set.is_some() => {
                "cannot lift future while it's in a waitable set"
            }
            (CopyState::Idle, false) if waitable.set.is_some() => {
                "cannot lift stream while it's in a waitable set"
            }
            (CopyState::Idle, _) => {
                self.remove_waitable(id);
                if let Some(transmit) = self.concurrent.transmits.get_mut(transmit) {
                    transmit.read = Holder::Value;
                }
                return Ok(transmit);
            }
        };
        Err(HandleError::Unusable(reason))
    }

    /// The host takes a readable end as a value.
    pub(crate) fn lift_end(
        &mut self,
        instance: u32,
        ty: TypeId,
        index: u32,
    ) -> Result<Handle, HandleError> {
        let transmit = self.take_readable(instance, index, ty)?;
        Ok(Handle {
            owner: VALUES,
            index: transmit.bits(),
        })
    }

    /// What the host has as a value.
    pub(crate) fn held_end(&mut self, handle: Handle) -> Result<Id<Transmit>, HandleError> {
        let id = Id::from_bits(handle.index);
        match self.concurrent.transmits.get(id) {
            Some(transmit) if handle.owner == VALUES && transmit.read == Holder::Value => Ok(id),
            _ => Err(HandleError::Foreign),
        }
    }

    /// The host gives an instance a readable end that it has as a value.
    pub(crate) fn lower_end(
        &mut self,
        instance: u32,
        ty: TypeId,
        handle: Handle,
    ) -> Result<u32, HandleError> {
        let id = self.held_end(handle)?;
        let same_type = |transmit: &Transmit| transmit.ty == ty;
        if !self.concurrent.transmits.get(id).is_some_and(same_type) {
            return Err(HandleError::Foreign);
        }
        self.give_end(instance, id, Side::Read)
            .map_err(|_| HandleError::Full)
    }

    /// What a copy that has an event has come to: the event, and what is packed into it.
    pub(crate) fn deliver_copy(&mut self, id: Id<Waitable>) -> Option<(u32, u32)> {
        let End {
            transmit,
            side,
            result,
            progress,
            ..
        } = *self.end(id).ok()?;
        let transmit = self.concurrent.transmits.get_mut(transmit)?;
        let is_future = transmit.is_future;
        let mut progress = progress;
        if let Some((pending, buffer)) = &transmit.pending
            && *pending == side
        {
            progress = buffer.progress;
            transmit.pending = None;
        }
        let is_over = match is_future {
            true => result != CopyResult::Cancelled,
            false => result == CopyResult::Dropped,
        };
        self.end(id).ok()?.state = match is_over {
            true => CopyState::Done,
            false => CopyState::Idle,
        };
        let code = match (is_future, side) {
            (false, Side::Read) => event::STREAM_READ,
            (false, Side::Write) => event::STREAM_WRITE,
            (true, Side::Read) => event::FUTURE_READ,
            (true, Side::Write) => event::FUTURE_WRITE,
        };
        let payload = match is_future {
            true => result as u32,
            false => result as u32 | progress << 4,
        };
        Some((code, payload))
    }

    /// The guest's copy of this side has come to something.
    fn finish(
        &mut self,
        transmit: Id<Transmit>,
        side: Side,
        result: CopyResult,
        progress: u32,
    ) -> Result<(), Trap> {
        let Holder::Guest(id) = *self.transmit(transmit)?.holder(side) else {
            return Ok(());
        };
        let end = self.end(id)?;
        end.result = result;
        end.progress = progress;
        self.notify(id);
        Ok(())
    }

    /// The copy that waits, if one does, ends with what it has.
    fn finish_pending(&mut self, transmit: Id<Transmit>, result: CopyResult) -> Result<(), Trap> {
        if let Some((side, buffer)) = self.transmit(transmit)?.pending.take() {
            self.concurrent.waiting.remove(&Owner::transmit(transmit));
            self.finish(transmit, side, result, buffer.progress)?;
        }
        Ok(())
    }

    /// An end is gone: the holder of the other one is told, even if nothing is read or written. The host's part of the other
    /// one, if it has to be told.
    pub(crate) fn end_dropped(
        &mut self,
        transmit: Id<Transmit>,
        side: Side,
    ) -> Result<Option<Id<EndKey>>, Trap> {
        let this = self.transmit(transmit)?;
        *this.holder(side) = Holder::Dropped;
        let (rest, is_future) = (*this.holder(other(side)), this.is_future);
        self.finish_pending(transmit, CopyResult::Dropped)?;
        match rest {
            Holder::Dropped => {
                self.concurrent.transmits.remove(transmit);
                self.concurrent.waiting.remove(&Owner::transmit(transmit));
                Ok(None)
            }
            Holder::Host(end) => {
                self.concurrent.transmits.remove(transmit);
                self.concurrent.waiting.remove(&Owner::transmit(transmit));
                self.concurrent.has_progressed = true;
                Ok(Some(end))
            }
            Holder::Guest(id) => {
                let (state, is_pending) = match self.concurrent.waitables.get(id) {
                    Some(waitable) => match &waitable.what {
                        What::End(end) => (end.state, waitable.is_pending),
                        What::Subtask(_) => return Ok(None),
                    },
                    None => return Ok(None),
                };
                // What a future was read or written for stays; of a stream, that there is no more of it comes first.
                let is_told = state == CopyState::Idle && !is_pending
                    || is_pending && !is_future && state != CopyState::Done;
                if is_told {
                    let progress = self.end(id)?.progress;
                    let progress = if state == CopyState::Idle {
                        0
                    } else {
                        progress
                    };
                    self.finish(transmit, other(side), CopyResult::Dropped, progress)?;
                }
                Ok(None)
            }
            Holder::Value => Ok(None),
        }
    }

    /// What the host has moved for the guest's copy that waits.
    pub(crate) fn host_moved(&mut self, id: Id<Transmit>, moved: Moved) -> Result<(), Trap> {
        self.concurrent.has_progressed = true;
        let transmit = self.transmit(id)?;
        let Some((side, buffer)) = &mut transmit.pending else {
            return Ok(());
        };
        let side = *side;
        match moved {
            Moved::Items(items) => {
                buffer.progress += items.min(buffer.left());
                self.finish_pending(id, CopyResult::Completed)
            }
            Moved::End => {
                *transmit.holder(other(side)) = Holder::Dropped;
                self.finish_pending(id, CopyResult::Dropped)
            }
        }
    }
}

/// What the host has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Items(u32),
    End,
}

/// `stream.new` and `future.new`: the handles of both ends.
pub(crate) fn new_pair(
    state: &mut State,
    types: &crate::types::Types,
    instance: u32,
    ty: TypeId,
) -> Result<(u32, u32), Trap> {
    let transmit = state.new_transmit(types, ty)?;
    let read = state.give_end(instance, transmit, Side::Read)?;
    let write = state.give_end(instance, transmit, Side::Write)?;
    Ok((read, write))
}

/// An adapter passes a readable end from one instance to another.
pub(crate) fn transfer(
    state: &mut State,
    from: EndTable,
    to: EndTable,
    index: u32,
) -> Result<u32, Trap> {
    let transmit = state
        .take_readable(from.instance, index, from.ty)
        .map_err(Trap::host)?;
    state.transmit(transmit)?.ty = to.ty;
    state.give_end(to.instance, transmit, Side::Read)
}

/// A read or a write of a guest.
pub(crate) struct Copy {
    pub(crate) ty: TypeId,
    pub(crate) side: Side,
    pub(crate) is_async: bool,
}

/// `stream.read`, `stream.write`, `future.read`, `future.write`: what is packed of the result, or [`BLOCKED`].
pub(crate) fn begin_copy(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    copy: &Copy,
    index: u32,
    buffer: Buffer,
) -> Result<u32, Trap> {
    let state = shared.state(store);
    let instance = buffer.instance;
    let (id, transmit) = state
        .typed_end(instance, index, copy.ty, copy.side)
        .map_err(Trap::host)?;
    let is_future = state.transmit(transmit)?.is_future;
    let is_in_set = state
        .concurrent
        .waitables
        .get(id)
        .is_some_and(|end| end.set.is_some());
    match state.end(id)?.state {
        CopyState::Idle => {}
        CopyState::Done => return Err(nothing_left(is_future, copy.side)),
        CopyState::Copying | CopyState::Cancelling => {
            return Err(Trap::message(
                "cannot have concurrent operations active on a future/stream",
            ));
        }
    }
    if is_in_set && !copy.is_async {
        return Err(used_in_set());
    }
    let item = state.transmit(transmit)?.item;
    if buffer.length > MAX_LENGTH {
        return Err(Trap::message("stream read/write count too large"));
    }
    copy::check(store, shared, item, &buffer)?;
    shared.state(store).end(id)?.state = CopyState::Copying;
    meet(store, shared, transmit, copy.side, buffer)?;
    finish_sync(store, shared, id, copy.is_async)
}

/// Waits for the event of a copy, or of its cancellation, if the built-in is a synchronous one.
fn finish_sync(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    id: Id<Waitable>,
    is_async: bool,
) -> Result<u32, Trap> {
    let is_pending = |state: &State| {
        state
            .concurrent
            .waitables
            .get(id)
            .is_none_or(|end| end.is_pending)
    };
    if !is_pending(shared.state(store)) {
        if is_async {
            return Ok(BLOCKED);
        }
        let set_used = |store: &mut AnyStore, used| {
            if let Some(end) = shared.state(store).concurrent.waitables.get_mut(id) {
                end.is_used = used;
            }
        };
        set_used(store, true);
        block(store, shared, Awaited::Waitable(id))?;
        set_used(store, false);
    }
    let event = shared.state(store).deliver(id);
    let event = event.ok_or_else(|| Trap::message("a copy has come to nothing"))?;
    Ok(event.payload)
}

fn nothing_left(is_future: bool, side: Side) -> Trap {
    Trap::message(match (is_future, side) {
        (false, Side::Read) => {
            "cannot read from stream after being notified that the writable end dropped"
        }
        (false, Side::Write) => {
            "cannot write to stream after being notified that the readable end dropped"
        }
        (true, Side::Read) => "cannot read from future after previous read succeeded",
        (true, Side::Write) => {
            "cannot write to future after previous write succeeded or readable end dropped"
        }
    })
}

/// A copy meets what is at the other end.
fn meet(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    id: Id<Transmit>,
    side: Side,
    buffer: Buffer,
) -> Result<(), Trap> {
    let state = shared.state(store);
    let transmit = state.transmit(id)?;
    match *transmit.holder(other(side)) {
        Holder::Dropped => return state.finish(id, side, CopyResult::Dropped, 0),
        Holder::Host(_) => {
            transmit.pending = Some((side, buffer));
            state.concurrent.waiting.insert(Owner::transmit(id));
            return hosts::poll(store, shared, Owner::transmit(id));
        }
        Holder::Guest(_) | Holder::Value => {}
    }
    let item = transmit.item;
    let Some((_, waits)) = transmit.pending else {
        transmit.pending = Some((side, buffer));
        return Ok(());
    };
    if waits.instance == buffer.instance && !copy::is_numeric(item) {
        return Err(Trap::message(
            "cannot read from and write to intra-component future/stream with non-numeric payload",
        ));
    }
    if waits.left() > 0 {
        let items = waits.left().min(buffer.left());
        if items > 0 {
            let (from, to) = match side {
                Side::Read => (&waits, &buffer),
                Side::Write => (&buffer, &waits),
            };
            copy_items(store, shared, item, from, to, items)?;
            let state = shared.state(store);
            let transmit = state.transmit(id)?;
            if let Some((_, waits)) = &mut transmit.pending {
                waits.progress += items;
            }
            if transmit.is_future {
                transmit.pending = None;
            }
            state.finish(id, other(side), CopyResult::Completed, items)?;
        }
        return shared
            .state(store)
            .finish(id, side, CopyResult::Completed, items);
    }
    if side == Side::Write && buffer.length == 0 && waits.length == 0 {
        return state.finish(id, side, CopyResult::Completed, 0);
    }
    state.finish_pending(id, CopyResult::Completed)?;
    state.transmit(id)?.pending = Some((side, buffer));
    Ok(())
}

/// `stream.cancel-read` and its like: what is packed of the result, or [`BLOCKED`].
pub(crate) fn cancel_copy(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    copy: &Copy,
    instance: u32,
    index: u32,
) -> Result<u32, Trap> {
    let state = shared.state(store);
    let (id, transmit) = state
        .typed_end(instance, index, copy.ty, copy.side)
        .map_err(Trap::host)?;
    let waitable = state.concurrent.waitables.get(id);
    let (is_in_set, is_pending, is_used) = waitable
        .map(|end| (end.set.is_some(), end.is_pending, end.is_used))
        .unwrap_or_default();
    if state.end(id)?.state != CopyState::Copying || is_used {
        return Err(Trap::message("stream or future has no operation to cancel"));
    }
    if is_in_set && !copy.is_async {
        return Err(used_in_set());
    }
    let this = state.transmit(transmit)?;
    let (is_future, waits) = (this.is_future, this.pending.map(|(side, _)| side));
    if waits == Some(copy.side) {
        state.end(id)?.state = CopyState::Cancelling;
        state.finish_pending(transmit, CopyResult::Cancelled)?;
    } else if is_pending && !is_future {
        let end = state.end(id)?;
        if end.result == CopyResult::Completed {
            end.result = CopyResult::Cancelled;
        }
    }
    finish_sync(store, shared, id, copy.is_async)
}

/// `stream.drop-readable` and its like.
pub(crate) fn drop_end(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    copy: &Copy,
    instance: u32,
    index: u32,
) -> Result<(), Trap> {
    let state = shared.state(store);
    let (id, transmit) = state
        .typed_end(instance, index, copy.ty, copy.side)
        .map_err(Trap::host)?;
    let is_future = state.transmit(transmit)?.is_future;
    match state.end(id)?.state {
        CopyState::Copying | CopyState::Cancelling => {
            let kind = if is_future { "future" } else { "stream" };
            return Err(Trap::message(format!("cannot drop busy {kind}")));
        }
        CopyState::Idle if is_future && copy.side == Side::Write => {
            return Err(Trap::message(
                "cannot drop future write end without first writing a value",
            ));
        }
        CopyState::Idle | CopyState::Done => {}
    }
    state.remove_waitable(id);
    match state.end_dropped(transmit, copy.side)? {
        Some(end) => hosts::end(store, shared, end),
        None => Ok(()),
    }
}
