//! A call of an interface's function: its arguments one after another, the caller's memory, and where the result goes.
//!
//! The options of the canonical ABI are always the same here, 32-bit memory and UTF-8, so arguments are read straight from
//! the flat core values. What a guest may not pass (a case that an enum has not, a string out of bounds or not UTF-8, a handle
//! of another type) is a trap, as the specification has it.
//!
//! Invariant: arguments are read in the order of the function's type, each once, and all before the result is set, which takes
//! the place of the first.
//! Invariant: no bytes of the guest's memory are held while the guest runs, which it does in `realloc`.

use std::ops::Range;

use tiered_runtime::{Meter, Trap};

use crate::component::concurrent::{ByteSink, HostSource, Unfinished};
#[cfg(feature = "http")]
use crate::component::concurrent::{ItemSink, ItemSource};
use crate::component::resources::{InTable, Kind, Resource, Resources};
use crate::ctx::WasiCtx;
use crate::fd_table::FdTable;
use crate::guest::GuestMemory;
use crate::interrupt::Interrupts;
use crate::objects::ByteBudget;
use crate::work::Work;

/// What can stop a guest in a call.
pub(crate) type Outcome<T> = Result<T, Trap>;

/// The most bytes of a string or a list.
const MAX_BYTES: u64 = (1 << 28) - 1;

/// How a call reaches the guest: the component model's side of it.
pub(crate) trait Lowered {
    /// The argument at `index`, in a slot of 64 bits; the upper half means nothing where it has 32.
    fn arg(&self, index: usize) -> u64;
    /// Sets the only flat result.
    fn set_result(&mut self, bits: u64);
    /// The context, the caller's memory, and what pays.
    fn parts(&mut self) -> Parts<'_>;
    /// The caller's memory alone, as in [`Lowered::parts`].
    fn bytes(&mut self) -> &mut [u8];
    /// Has the guest allocate.
    fn realloc(&mut self, align: u32, size: u32) -> Outcome<u32>;
    /// A handle for the guest to own, of the resource `rep`.
    fn push_own(&mut self, kind: Kind, rep: u32) -> Outcome<u32>;
    /// The resource of a handle.
    fn rep(&mut self, kind: Kind, handle: u32) -> Outcome<u32>;
    /// The resource of a handle that the guest owns, and has no more.
    #[cfg(feature = "http")]
    fn take_own(&mut self, kind: Kind, handle: u32) -> Outcome<u32>;
    /// Has what is unfinished go on after the call.
    fn suspend(&mut self, operation: Box<dyn Unfinished>);
    /// A handle of the readable end of a stream or future, which is the `index`th of those in the result.
    fn new_readable(&mut self, index: usize, source: HostSource) -> Outcome<u32>;
    /// Has `sink` read from a stream, which is the `index`th of the streams and futures in the parameters.
    fn read_with(&mut self, index: usize, handle: u32, sink: Box<dyn ByteSink>) -> Outcome<()>;
    /// Drops such a stream.
    fn drop_readable(&mut self, index: usize, handle: u32) -> Outcome<()>;
    /// As [`read_with`](Self::read_with), of a stream of other items or a future.
    #[cfg(feature = "http")]
    fn read_items_with(
        &mut self,
        index: usize,
        handle: u32,
        sink: Box<dyn ItemSink>,
    ) -> Outcome<()>;
    /// Takes such a stream or future back if it is the host that writes it: then this is where its items come from.
    #[cfg(feature = "http")]
    fn take_source(&mut self, index: usize, handle: u32) -> Outcome<Option<Box<dyn ItemSource>>>;
    /// Has `operation` go on by itself.
    #[cfg(feature = "http")]
    fn spawn(&mut self, operation: Box<dyn Unfinished>) -> Outcome<()>;
    /// The item that a sink of items is given at `at`, as flat values.
    #[cfg(feature = "http")]
    fn flat_item(&mut self, at: u32) -> Outcome<Vec<u64>>;
}

/// What a call works on.
pub(crate) struct Parts<'a> {
    pub(crate) ctx: &'a mut WasiCtx,
    pub(crate) bytes: &'a mut [u8],
    pub(crate) meter: Option<Meter<'a>>,
}

/// What of a context operations need, beside the guest's resources.
#[derive(Clone, Copy)]
pub(crate) struct Env<'a> {
    pub(crate) interrupts: Interrupts<'a>,
    pub(crate) work: Work<'a>,
    pub(crate) table: &'a FdTable,
    pub(crate) listings: &'a ByteBudget,
}

impl Parts<'_> {
    /// The guest's resources, what operations on them need, and the memory.
    pub(crate) fn split(&mut self) -> (&mut Resources, Env<'_>, &mut [u8]) {
        let work = self
            .meter
            .as_ref()
            .map_or_else(Work::default, |meter| Work::paid_by(meter));
        let env = Env {
            interrupts: Interrupts::new(&self.ctx.interrupt, work),
            work,
            table: &self.ctx.table,
            listings: &self.ctx.listings,
        };
        (&mut self.ctx.resources, env, self.bytes)
    }

    /// The context as it is, and the memory, which is the calling thread's alone.
    pub(crate) fn with_memory<R>(
        &mut self,
        act: impl FnOnce(&WasiCtx, &mut GuestMemory<'_>) -> R,
    ) -> R {
        let memory = GuestMemory::new(self.bytes);
        let mut memory = match &self.meter {
            Some(meter) => memory.metered(meter),
            None => memory,
        };
        act(self.ctx, &mut memory)
    }
}

/// A call in progress.
pub(crate) struct Call<'a> {
    host: &'a mut dyn Lowered,
    next: usize,
    /// What is read instead of the arguments.
    item: Option<Vec<u64>>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(host: &'a mut dyn Lowered) -> Self {
        Self {
            host,
            next: 0,
            item: None,
        }
    }

    /// The item that a sink of items is given at `at`, to be read as arguments are.
    #[cfg(feature = "http")]
    pub(crate) fn item(&mut self, at: u32) -> Outcome<Call<'_>> {
        let item = self.host.flat_item(at)?;
        Ok(Call {
            host: &mut *self.host,
            next: 0,
            item: Some(item),
        })
    }

    /// The context, the memory and what pays.
    pub(crate) fn parts(&mut self) -> Parts<'_> {
        self.host.parts()
    }

    /// The context.
    pub(crate) fn ctx(&mut self) -> &mut WasiCtx {
        self.host.parts().ctx
    }

    /// How many arguments have been read.
    pub(crate) fn read_args(&self) -> usize {
        self.next
    }

    fn slot(&mut self) -> u64 {
        let slot = match &self.item {
            Some(item) => item[self.next],
            None => self.host.arg(self.next),
        };
        self.next += 1;
        slot
    }

    /// An argument that is not looked at.
    pub(crate) fn skip(&mut self, slots: usize) {
        self.next += slots;
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.slot()
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.slot() as u32
    }

    pub(crate) fn u16(&mut self) -> u16 {
        self.slot() as u16
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.slot() as u8
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.u32() != 0
    }

    /// The case of a variant, an enum or an option that has `count` of them.
    pub(crate) fn case(&mut self, count: u32) -> Outcome<u32> {
        match self.u32() {
            case if case < count => Ok(case),
            case => Err(trap(format!(
                "invalid case {case} of a variant that has {count}"
            ))),
        }
    }

    /// The resource behind a handle.
    pub(crate) fn handle<R: InTable>(&mut self) -> Outcome<u32> {
        let handle = self.u32();
        self.host.rep(R::KIND, handle)
    }

    /// The resource behind a handle that lies in memory.
    pub(crate) fn rep_of<R: InTable>(&mut self, handle: u32) -> Outcome<u32> {
        self.host.rep(R::KIND, handle)
    }

    /// The resource of a handle that the guest gives away, which must have no children.
    #[cfg(feature = "http")]
    pub(crate) fn take<R: InTable>(&mut self) -> Outcome<R> {
        let handle = self.u32();
        let rep = self.host.take_own(R::KIND, handle)?;
        self.ctx().resources.take(rep)
    }

    /// A list of bytes: where they are.
    pub(crate) fn bytes(&mut self) -> Outcome<Range<usize>> {
        self.list(1, 1)
    }

    /// A list of items of that size: where they are.
    pub(crate) fn list(&mut self, size: u32, align: u32) -> Outcome<Range<usize>> {
        let (at, count) = (self.u32(), self.u32());
        self.items(at, count, size, align)
    }

    /// Checks that `count` items are within memory.
    pub(crate) fn items(
        &mut self,
        at: u32,
        count: u32,
        size: u32,
        align: u32,
    ) -> Outcome<Range<usize>> {
        let bytes = u64::from(count) * u64::from(size);
        if bytes > MAX_BYTES {
            return Err(trap(format!("a list of {bytes} bytes is too long")));
        }
        range(self.host.bytes(), at, bytes as u32, align)
    }

    /// A string: where it is. It is valid UTF-8.
    pub(crate) fn string(&mut self) -> Outcome<Range<usize>> {
        let (at, len) = (self.u32(), self.u32());
        self.string_at(at, len)
    }

    /// A string that lies in memory: where it is. It is valid UTF-8.
    pub(crate) fn string_at(&mut self, at: u32, len: u32) -> Outcome<Range<usize>> {
        let range = self.items(at, len, 1, 1)?;
        let mut parts = self.host.parts();
        let (_, env, bytes) = parts.split();
        env.work.bytes(range.len())?;
        match std::str::from_utf8(&bytes[range.clone()]) {
            Ok(_) => Ok(range),
            Err(_) => Err(trap("a string is not valid UTF-8")),
        }
    }

    /// A string, copied.
    pub(crate) fn text(&mut self) -> Outcome<String> {
        let range = self.string()?;
        Ok(String::from_utf8_lossy(&self.host.bytes()[range]).into_owned())
    }

    /// Where a result of that size goes, if it does not fit one core value: the last argument says so.
    pub(crate) fn result_at(&mut self, index: usize, size: u32, align: u32) -> Outcome<u32> {
        let at = self.host.arg(index) as u32;
        range(self.host.bytes(), at, size, align)?;
        Ok(at)
    }

    /// Sets the only flat result.
    pub(crate) fn set_result(&mut self, bits: u64) {
        self.host.set_result(bits);
    }

    /// Writes `from` to the guest's memory.
    pub(crate) fn write(&mut self, at: u32, from: &[u8]) -> Outcome<()> {
        let bytes = self.host.bytes();
        // A bare length: it is that of a value laid out here.
        let range = range(bytes, at, from.len() as u32, 1)?;
        bytes[range].copy_from_slice(from);
        Ok(())
    }

    /// Room in the guest's memory for `size` bytes, which is empty and nowhere if there are none.
    pub(crate) fn allocate(&mut self, align: u32, size: u64) -> Outcome<u32> {
        if size > MAX_BYTES {
            return Err(trap(format!("a result of {size} bytes is too long")));
        }
        let size = size as u32;
        let at = self.host.realloc(align, size)?;
        range(self.host.bytes(), at, size, align)?;
        Ok(at)
    }

    /// As [`Lowered::suspend`].
    pub(crate) fn suspend(&mut self, operation: Box<dyn Unfinished>) {
        self.host.suspend(operation);
    }

    /// As [`Lowered::new_readable`].
    pub(crate) fn new_readable(&mut self, index: usize, source: HostSource) -> Outcome<u32> {
        self.host.new_readable(index, source)
    }

    /// As [`Lowered::read_with`].
    pub(crate) fn read_with(
        &mut self,
        index: usize,
        handle: u32,
        sink: Box<dyn ByteSink>,
    ) -> Outcome<()> {
        self.host.read_with(index, handle, sink)
    }

    /// As [`Lowered::drop_readable`].
    pub(crate) fn drop_readable(&mut self, index: usize, handle: u32) -> Outcome<()> {
        self.host.drop_readable(index, handle)
    }

    /// As [`Lowered::read_items_with`].
    #[cfg(feature = "http")]
    pub(crate) fn read_items_with(
        &mut self,
        index: usize,
        handle: u32,
        sink: Box<dyn ItemSink>,
    ) -> Outcome<()> {
        self.host.read_items_with(index, handle, sink)
    }

    /// As [`Lowered::take_source`].
    #[cfg(feature = "http")]
    pub(crate) fn take_source(
        &mut self,
        index: usize,
        handle: u32,
    ) -> Outcome<Option<Box<dyn ItemSource>>> {
        self.host.take_source(index, handle)
    }

    /// As [`Lowered::spawn`].
    #[cfg(feature = "http")]
    pub(crate) fn spawn(&mut self, operation: Box<dyn Unfinished>) -> Outcome<()> {
        self.host.spawn(operation)
    }

    /// Gives the guest a new resource, a child of `parent`; its handle.
    pub(crate) fn give(&mut self, resource: Resource, parent: Option<u32>) -> Outcome<u32> {
        let kind = resource.kind();
        let rep = self.ctx().resources.insert(resource, parent)?;
        self.host.push_own(kind, rep)
    }

    /// Gives the guest a new resource that has children; its number and its handle.
    pub(crate) fn give_parent(&mut self, resource: Resource) -> Outcome<(u32, u32)> {
        let kind = resource.kind();
        let rep = self.ctx().resources.insert(resource, None)?;
        Ok((rep, self.host.push_own(kind, rep)?))
    }
}

/// Checks that `len` bytes at `at` are within `bytes`, and `at` a multiple of `align`.
pub(crate) fn range(bytes: &[u8], at: u32, len: u32, align: u32) -> Outcome<Range<usize>> {
    if !at.is_multiple_of(align) {
        return Err(trap(format!(
            "the address {at:#x} is not a multiple of {align}"
        )));
    }
    let start = at as usize;
    match start.checked_add(len as usize) {
        Some(end) if end <= bytes.len() => Ok(start..end),
        _ => Err(trap(format!(
            "{len} bytes at address {at:#x} are out of bounds of a memory of {:#x}",
            bytes.len()
        ))),
    }
}

/// A trap for what a guest does against the rules of an interface.
#[cold]
pub(crate) fn trap(message: impl Into<String>) -> Trap {
    Trap::message(message)
}
