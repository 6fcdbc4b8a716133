//! Binds the rows to the component model.

#[cfg(feature = "http")]
use std::any::Any;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use tiered_component::concurrent::{self, Interest, Pending, Transfer, Waits};
use tiered_component::{HostResource, LinkError, Linker};
use tiered_runtime::decode::types::ValType;
use tiered_runtime::{Meter, Trap};

use crate::component::call::{Call, Lowered, Outcome, Parts, trap};
#[cfg(feature = "http")]
use crate::component::concurrent::ItemSink;
use crate::component::concurrent::{ByteSink, ByteSource, HostSource, ItemSource, Unfinished};
use crate::component::error::settle_errno;
use crate::component::lower::ResultForm;
use crate::component::resources::{Kind, Resources, Version};
use crate::component::rows::{Core, Interface, Row};
use crate::ctx::WasiCtx;

/// Defines the resources and the functions of a version in `linker`; `get` finds the context in the store's data.
pub(crate) fn define<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
    version: Version,
    interfaces: &'static [Interface],
) -> Result<(), LinkError> {
    for ty in Kind::ALL.iter().filter_map(|kind| kind.in_version(version)) {
        linker.resource(ty.interface, ty.name, ty.host, move |mut caller, rep| {
            let resources = &mut get(caller.data_mut()).resources;
            // What it gives back is closed here.
            resources.remove(rep).map(drop)
        })?;
    }
    for interface in interfaces {
        for row in interface.rows {
            let (params, results) = signature(row);
            linker.lowered(interface.name, row.name, &params, &results, move |inner| {
                (row.body)(&mut Call::new(&mut Bridge {
                    inner,
                    get,
                    version,
                }))
            })?;
        }
    }
    linker.waiter(move |mut caller, waits, blocks| {
        let (data, meter) = caller.data_and_meter();
        let parts = Parts {
            ctx: get(data),
            bytes: &mut [],
            meter: Some(meter),
        };
        wait_for(parts, waits, blocks)
    });
    Ok(())
}

/// The flat signature of a row, as its import has it.
pub(crate) fn signature(row: &Row) -> (Vec<ValType>, Vec<ValType>) {
    let mut params: Vec<_> = row
        .params
        .iter()
        .map(|param| match param {
            Core::I32 => ValType::I32,
            Core::I64 => ValType::I64,
        })
        .collect();
    let mut results = Vec::new();
    match row.result {
        ResultForm::Nothing => {}
        ResultForm::I32 => results.push(ValType::I32),
        ResultForm::I64 => results.push(ValType::I64),
        ResultForm::Stored { .. } => params.push(ValType::I32),
    }
    (params, results)
}

/// The component model's side of a call.
struct Bridge<'b, 'a, T: 'static> {
    inner: &'b mut tiered_component::Lowered<'a, T>,
    get: fn(&mut T) -> &mut WasiCtx,
    version: Version,
}

impl<T: 'static> Bridge<'_, '_, T> {
    fn adapted<S>(&self, inner: S) -> Adapted<S, T> {
        Adapted {
            inner,
            get: self.get,
            version: self.version,
        }
    }

    #[inline]
    fn ty(&self, kind: Kind) -> Outcome<HostResource> {
        let ty = kind.in_version(self.version).map(|name| name.host);
        ty.ok_or_else(|| Trap::message("a resource that this version of WASI has not"))
    }
}

impl<T: 'static> Lowered for Bridge<'_, '_, T> {
    fn arg(&self, index: usize) -> u64 {
        self.inner.arg_u64(index)
    }

    fn set_result(&mut self, bits: u64) {
        self.inner.return_u64(bits);
    }

    fn parts(&mut self) -> Parts<'_> {
        let (data, bytes, meter) = self.inner.memory_and_meter();
        Parts {
            ctx: (self.get)(data),
            bytes,
            meter: Some(meter),
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.inner.bytes()
    }

    fn realloc(&mut self, align: u32, size: u32) -> Outcome<u32> {
        self.inner.realloc(0, 0, align, size)
    }

    fn push_own(&mut self, kind: Kind, rep: u32) -> Outcome<u32> {
        let ty = self.ty(kind)?;
        self.inner.push_own(ty, rep)
    }

    fn rep(&mut self, kind: Kind, handle: u32) -> Outcome<u32> {
        let ty = self.ty(kind)?;
        self.inner.rep(ty, handle)
    }

    #[cfg(feature = "http")]
    fn take_own(&mut self, kind: Kind, handle: u32) -> Outcome<u32> {
        let ty = self.ty(kind)?;
        self.inner.take_own(ty, handle)
    }

    fn suspend(&mut self, operation: Box<dyn Unfinished>) {
        let operation = self.adapted(operation);
        self.inner.suspend(operation);
    }

    fn new_readable(&mut self, index: usize, source: HostSource) -> Outcome<u32> {
        let source = match source {
            HostSource::Bytes(source) => {
                concurrent::HostSource::Bytes(Box::new(self.adapted(source)))
            }
            HostSource::Items(source) => {
                concurrent::HostSource::Items(Box::new(self.adapted(source)))
            }
        };
        self.inner.new_readable(index, source)
    }

    fn read_with(&mut self, index: usize, handle: u32, sink: Box<dyn ByteSink>) -> Outcome<()> {
        let sink = concurrent::HostSink::Bytes(Box::new(self.adapted(sink)));
        self.inner.read_with(index, handle, sink)
    }

    fn drop_readable(&mut self, index: usize, handle: u32) -> Outcome<()> {
        self.inner.drop_readable(index, handle)
    }

    #[cfg(feature = "http")]
    fn read_items_with(
        &mut self,
        index: usize,
        handle: u32,
        sink: Box<dyn ItemSink>,
    ) -> Outcome<()> {
        let sink = concurrent::HostSink::Items(Box::new(self.adapted(sink)));
        self.inner.read_with(index, handle, sink)
    }

    #[cfg(feature = "http")]
    fn take_source(&mut self, index: usize, handle: u32) -> Outcome<Option<Box<dyn ItemSource>>> {
        let source: Box<dyn Any> = match self.inner.take_source(index, handle)? {
            None => return Ok(None),
            Some(concurrent::HostSource::Bytes(source)) => source,
            Some(concurrent::HostSource::Items(source)) => source,
        };
        match source.downcast::<Adapted<Box<dyn ItemSource>, T>>() {
            Ok(adapted) => Ok(Some(adapted.inner)),
            Err(_) => Err(trap("a stream or future of something else of the host's")),
        }
    }

    #[cfg(feature = "http")]
    fn spawn(&mut self, operation: Box<dyn Unfinished>) -> Outcome<()> {
        let operation = self.adapted(operation);
        self.inner.spawn(operation)
    }

    #[cfg(feature = "http")]
    fn flat_item(&mut self, at: u32) -> Outcome<Vec<u64>> {
        self.inner.flat_item(at)
    }
}

/// What goes on after a call, with what its calls need to find the context and the types of a version.
struct Adapted<S, T: 'static> {
    inner: S,
    get: fn(&mut T) -> &mut WasiCtx,
    version: Version,
}

impl<S, T: 'static> Adapted<S, T> {
    fn call<R>(
        &mut self,
        inner: &mut tiered_component::Lowered<'_, T>,
        act: impl FnOnce(&mut S, &mut Call<'_>) -> R,
    ) -> R {
        let mut bridge = Bridge {
            inner,
            get: self.get,
            version: self.version,
        };
        act(&mut self.inner, &mut Call::new(&mut bridge))
    }
}

impl<T: 'static> Pending<T> for Adapted<Box<dyn Unfinished>, T> {
    fn poll(&mut self, call: &mut tiered_component::Lowered<'_, T>) -> Outcome<Poll<()>> {
        self.call(call, |inner, call| inner.poll(call))
    }

    fn wait(&self, waits: &mut Waits) {
        self.inner.wait(waits);
    }
}

impl<T: 'static> concurrent::Source<T> for Adapted<Box<dyn ItemSource>, T> {
    fn read(
        &mut self,
        call: &mut tiered_component::Lowered<'_, T>,
        address: u32,
        count: u32,
    ) -> Outcome<Transfer> {
        self.call(call, |inner, call| inner.read(call, address, count))
    }

    fn wait(&self, waits: &mut Waits) {
        self.inner.wait(waits);
    }
}

#[cfg(feature = "http")]
impl<T: 'static> concurrent::Sink<T> for Adapted<Box<dyn ItemSink>, T> {
    fn write(
        &mut self,
        call: &mut tiered_component::Lowered<'_, T>,
        address: u32,
        count: u32,
    ) -> Outcome<Transfer> {
        self.call(call, |inner, call| inner.write(call, address, count))
    }

    fn wait(&self, waits: &mut Waits) {
        self.inner.wait(waits);
    }
}

impl<T: 'static> concurrent::ByteSource<T> for Adapted<Box<dyn ByteSource>, T> {
    fn read(&mut self, data: &mut T, buffer: &mut [u8], meter: Meter<'_>) -> Outcome<Transfer> {
        self.inner.read(&mut Parts {
            ctx: (self.get)(data),
            bytes: buffer,
            meter: Some(meter),
        })
    }

    fn wait(&self, waits: &mut Waits) {
        self.inner.wait(waits);
    }
}

impl<T: 'static> concurrent::ByteSink<T> for Adapted<Box<dyn ByteSink>, T> {
    fn write(&mut self, data: &mut T, buffer: &[u8], meter: Meter<'_>) -> Outcome<Transfer> {
        let mut parts = Parts {
            ctx: (self.get)(data),
            bytes: &mut [],
            meter: Some(meter),
        };
        self.inner.write(&mut parts, buffer)
    }

    fn wait(&self, waits: &mut Waits) {
        self.inner.wait(waits);
    }

    fn end(&mut self, data: &mut T) -> Outcome<()> {
        self.inner.end(&mut Parts {
            ctx: (self.get)(data),
            bytes: &mut [],
            meter: None,
        })
    }
}

/// Waits for what operations of the host wait for, in one `poll` of the host's. An interrupt of the guest ends it, too; so does
/// a [call](crate::component::http::bell::Bell::call) of the event loop, with nothing ready.
pub(crate) fn wait_for(mut parts: Parts<'_>, waits: &mut Waits, blocks: bool) -> Outcome<()> {
    let (resources, env, _) = parts.split();
    if blocks && bell::is_called(resources) {
        return Ok(());
    }
    let next = waits.pass_deadlines(Instant::now());
    let timeout = match blocks && !waits.is_any_ready() {
        true => next,
        false => Some(Duration::ZERO),
    };
    env.work.items(waits.len())?;
    let bell = bell::watched(resources)?;
    let is_bell = |fd: &BorrowedFd<'_>| bell.is_some_and(|bell| bell.as_raw_fd() == fd.as_raw_fd());
    // By their numbers: what asks the host, and what the bell rings for.
    let (mut watched, mut ringing) = (Vec::new(), Vec::new());
    for (index, interest) in waits.interests().enumerate() {
        let (fd, events) = match interest {
            Interest::Readable(fd) => (fd.as_fd(), PollFlags::IN),
            Interest::Writable(fd) => (fd.as_fd(), PollFlags::OUT),
            Interest::Deadline(_) => continue,
        };
        match is_bell(&fd) {
            true => ringing.push(index),
            false => watched.push((index, (fd, events))),
        }
    }
    let told = watched.iter().map(|(_, asked)| *asked);
    let asked: Vec<_> = told.chain(bell.map(|bell| (bell, PollFlags::IN))).collect();
    bell::set_waiting(resources, blocks);
    let answers = resources.wait(&asked, timeout, env.interrupts);
    bell::set_waiting(resources, false);
    let answers = settle_errno(answers)?.map_err(|errno| trap(errno.to_string()))?;
    let ready = watched.iter().zip(answers);
    let ready: Vec<usize> = ready
        .filter(|(_, answer)| !answer.is_empty())
        .map(|((index, _), _)| *index)
        .collect();
    if blocks && bell::is_called(resources) {
        return Ok(());
    }
    let rung = match bell::take_ring(resources) {
        true => ringing,
        false => Vec::new(),
    };
    drop((watched, asked));
    for index in ready.into_iter().chain(rung) {
        waits.set_ready(index);
    }
    waits.pass_deadlines(Instant::now());
    Ok(())
}

/// The event loop's bell, by which HTTP's threads and a server wake it.
#[cfg(feature = "http")]
mod bell {
    use super::*;

    /// Whether somebody has called.
    pub(super) fn is_called(resources: &Resources) -> bool {
        resources.loop_bell().take_call()
    }

    /// What is readable while it rings, if anything may ring it.
    pub(super) fn watched(resources: &Resources) -> Outcome<Option<BorrowedFd<'_>>> {
        let bell = resources.loop_bell();
        if !bell.is_used() {
            return Ok(None);
        }
        let event = settle_errno(bell.event())?;
        event.map(Some).map_err(|errno| trap(errno.to_string()))
    }

    /// Says whether the event loop waits.
    pub(super) fn set_waiting(resources: &Resources, waits: bool) {
        resources.loop_bell().set_waiting(waits);
    }

    /// Whether it has rung; then it is silent again. All that wait for it look after that, so what happens meanwhile is not
    /// missed.
    pub(super) fn take_ring(resources: &Resources) -> bool {
        let bell = resources.loop_bell();
        let is_rung = bell.is_rung();
        if is_rung {
            bell.silence();
        }
        is_rung
    }
}

/// Nothing here rings.
#[cfg(not(feature = "http"))]
mod bell {
    use super::*;

    pub(super) fn is_called(_resources: &Resources) -> bool {
        false
    }

    pub(super) fn watched(_resources: &Resources) -> Outcome<Option<BorrowedFd<'_>>> {
        Ok(None)
    }

    pub(super) fn set_waiting(_resources: &Resources, _waits: bool) {}

    pub(super) fn take_ring(_resources: &Resources) -> bool {
        false
    }
}
