//! A guest for tests of the rows, without a component: a byte slice, an allocator that only goes up, a table of handles, and
//! the ends of streams. Arguments go in and results come out as flat values and bytes, as a component's core module has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;
use tiered_component::concurrent::{Transfer, Waits};
use tiered_runtime::Trap;

use crate::component::call::{Call, Lowered, Outcome, Parts};
use crate::component::concurrent::{ByteSink, HostSource, Unfinished};
#[cfg(feature = "http")]
use crate::component::concurrent::{ItemSink, ItemSource};
use crate::component::link::wait_for;
use crate::component::lower::ResultForm;
use crate::component::resources::Kind;
use crate::component::rows::{Interface, Row};
use crate::ctx::{WasiCtx, WasiCtxBuilder};
use crate::objects::Access;

/// Where results go; arguments are below.
pub(crate) const RESULT: u32 = 0x8000;

/// Where what the guest allocates begins.
const HEAP: u32 = 0x1_0000;

pub(crate) const MEMORY: usize = 0x6_0000;

/// A guest under test.
pub(crate) struct Guest {
    pub(crate) ctx: WasiCtx,
    pub(crate) memory: Vec<u8>,
    /// Types and numbers of its handles; the first is none.
    pub(crate) handles: Vec<Option<(Kind, u32)>>,
    pub(crate) args: Vec<u64>,
    result: Option<u64>,
    heap: u32,
    /// Where the next argument in memory goes.
    next: u32,
    base: TempDir,
    table: &'static [Interface],
    /// What goes on after the last call.
    suspended: Option<Box<dyn Unfinished>>,
    /// The host's ends of the streams and futures that the guest reads, by their handles.
    sources: Vec<Option<HostSource>>,
    /// The host's ends of the streams that the guest writes.
    sinks: BTreeMap<u32, Box<dyn ByteSink>>,
    /// Those of the futures that it writes, and what goes on by itself.
    #[cfg(feature = "http")]
    item_sinks: BTreeMap<u32, Box<dyn ItemSink>>,
    #[cfg(feature = "http")]
    spawned: Vec<Box<dyn Unfinished>>,
    /// The item that it writes next, as flat values.
    #[cfg(feature = "http")]
    item: Vec<u64>,
}

impl Lowered for Guest {
    fn arg(&self, index: usize) -> u64 {
        self.args[index]
    }

    fn set_result(&mut self, bits: u64) {
        self.result = Some(bits);
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts {
            ctx: &mut self.ctx,
            bytes: &mut self.memory,
            meter: None,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn realloc(&mut self, align: u32, size: u32) -> Outcome<u32> {
        let at = self.heap.next_multiple_of(align);
        self.heap = at + size;
        Ok(at)
    }

    fn push_own(&mut self, kind: Kind, rep: u32) -> Outcome<u32> {
        self.handles.push(Some((kind, rep)));
        Ok(self.handles.len() as u32 - 1)
    }

    fn rep(&mut self, kind: Kind, handle: u32) -> Outcome<u32> {
        match self.handles.get(handle as usize) {
            Some(&Some((known, rep))) if known == kind => Ok(rep),
            _ => Err(Trap::message(format!("bad handle {handle}"))),
        }
    }

    #[cfg(feature = "http")]
    fn take_own(&mut self, kind: Kind, handle: u32) -> Outcome<u32> {
        let rep = self.rep(kind, handle)?;
        self.handles[handle as usize] = None;
        Ok(rep)
    }

    fn suspend(&mut self, operation: Box<dyn Unfinished>) {
        self.suspended = Some(operation);
    }

    fn new_readable(&mut self, _index: usize, source: HostSource) -> Outcome<u32> {
        self.sources.push(Some(source));
        Ok(self.sources.len() as u32 - 1)
    }

    fn read_with(&mut self, index: usize, handle: u32, sink: Box<dyn ByteSink>) -> Outcome<()> {
        assert_eq!(index, 0, "no function has two streams as parameters");
        self.sinks.insert(handle, sink);
        Ok(())
    }

    fn drop_readable(&mut self, index: usize, handle: u32) -> Outcome<()> {
        assert_eq!(index, 0, "no function has two streams as parameters");
        assert!(!self.sinks.contains_key(&handle));
        Ok(())
    }

    #[cfg(feature = "http")]
    fn read_items_with(
        &mut self,
        _index: usize,
        handle: u32,
        sink: Box<dyn ItemSink>,
    ) -> Outcome<()> {
        self.item_sinks.insert(handle, sink);
        Ok(())
    }

    #[cfg(feature = "http")]
    fn take_source(&mut self, _index: usize, handle: u32) -> Outcome<Option<Box<dyn ItemSource>>> {
        // The guest's own have larger numbers.
        let source = self.sources.get_mut(handle as usize);
        Ok(match source.and_then(Option::take) {
            Some(HostSource::Items(source)) => Some(source),
            Some(HostSource::Bytes(_)) => panic!("a stream of bytes"),
            None => None,
        })
    }

    #[cfg(feature = "http")]
    fn spawn(&mut self, operation: Box<dyn Unfinished>) -> Outcome<()> {
        self.spawned.push(operation);
        Ok(())
    }

    #[cfg(feature = "http")]
    fn flat_item(&mut self, _at: u32) -> Outcome<Vec<u64>> {
        Ok(self.item.clone())
    }
}

/// The row of a function.
fn row(table: &'static [Interface], interface: &str, name: &str) -> &'static Row {
    let is_it = |known: &&Interface| {
        let known = known.name.strip_prefix("wasi:");
        let rest = known.and_then(|known| known.strip_prefix(interface));
        rest.is_some_and(|rest| rest.starts_with('@'))
    };
    let mut rows = table.iter().filter(is_it).flat_map(|known| known.rows);
    rows.find(|row| row.name == name)
        .unwrap_or_else(|| panic!("no row {interface} {name}"))
}

/// Checks that every row reads the arguments that it says it has, and stops at a result that does not fit into memory before it
/// does anything.
pub(crate) fn check_bad_result_addresses(table: &'static [Interface]) {
    for interface in table {
        for row in interface.rows {
            if !matches!(row.result, ResultForm::Stored { .. }) {
                continue;
            }
            let mut guest = Guest::new(table, |builder| builder);
            guest.args = vec![0; row.params.len()];
            guest.args.push(MEMORY as u64 - 1);
            let stopped = (row.body)(&mut Call::new(&mut guest)).unwrap_err();
            let text = stopped.to_string();
            let says = text.contains("out of bounds") || text.contains("not a multiple");
            assert!(says, "{} {}: {text}", interface.name, row.name);
        }
    }
}

impl Guest {
    /// One that calls the functions of `table`, with an empty directory granted for writing, as `/`, and what `add` adds.
    pub(crate) fn new(
        table: &'static [Interface],
        add: impl FnOnce(WasiCtxBuilder) -> WasiCtxBuilder,
    ) -> Self {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("inside")).unwrap();
        std::fs::write(base.path().join("secret"), "secret").unwrap();
        let inside = base.path().join("inside");
        let builder = WasiCtx::builder().preopen_dir(inside, "/", Access::ReadWrite);
        Self {
            ctx: add(builder).build().unwrap(),
            memory: vec![0; MEMORY],
            handles: vec![None],
            args: Vec::new(),
            result: None,
            heap: HEAP,
            next: 0,
            base,
            table,
            suspended: None,
            sources: Vec::new(),
            sinks: BTreeMap::new(),
            #[cfg(feature = "http")]
            item_sinks: BTreeMap::new(),
            #[cfg(feature = "http")]
            spawned: Vec::new(),
            #[cfg(feature = "http")]
            item: Vec::new(),
        }
    }

    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        self.base.path().join("inside").join(name)
    }

    /// Puts bytes into memory as an argument of the next call: where they are, and how many.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> [u64; 2] {
        let at = self.next as usize;
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.next += (bytes.len() as u32).next_multiple_of(8);
        [at as u64, bytes.len() as u64]
    }

    /// Calls a function, and waits until it is done. A result that fits one core value is returned; another is at [`RESULT`].
    pub(crate) fn call(&mut self, interface: &str, name: &str, args: &[u64]) -> Outcome<u64> {
        let row = row(self.table, interface, name);
        assert_eq!(args.len(), row.params.len(), "{name}");
        self.args = args.to_vec();
        if let ResultForm::Stored { size, .. } = row.result {
            self.memory[RESULT as usize..][..size as usize].fill(0xee);
            self.args.push(RESULT.into());
        }
        (self.next, self.heap, self.result) = (0, HEAP, None);
        self.suspended = None;
        (row.body)(&mut Call::new(self))?;
        while let Some(mut operation) = self.suspended.take() {
            let mut waits = Waits::default();
            operation.wait(&mut waits);
            wait_for(self.parts(), &mut waits, true)?;
            if operation.poll(&mut Call::new(self))?.is_pending() {
                self.suspended = Some(operation);
            }
        }
        match row.result {
            ResultForm::I32 | ResultForm::I64 => Ok(self.result.expect("a result")),
            ResultForm::Nothing | ResultForm::Stored { .. } => Ok(0),
        }
    }

    /// A method of a resource, which must not trap.
    #[track_caller]
    pub(crate) fn ok(&mut self, interface: &str, name: &str, args: &[u64]) -> u64 {
        match self.call(interface, name, args) {
            Ok(result) => result,
            Err(trap) => panic!("{name}: {trap}"),
        }
    }

    /// The trap of a call that has to.
    #[track_caller]
    pub(crate) fn trap(&mut self, interface: &str, name: &str, args: &[u64]) -> String {
        match self.call(interface, name, args) {
            Ok(_) => panic!("{name} does not trap"),
            Err(trap) => trap.to_string(),
        }
    }

    pub(crate) fn u8_at(&self, at: u32) -> u8 {
        self.memory[at as usize]
    }

    pub(crate) fn u32_at(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.memory[at as usize..][..4].try_into().unwrap())
    }

    pub(crate) fn u64_at(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.memory[at as usize..][..8].try_into().unwrap())
    }

    /// The bytes of a list at `at`.
    pub(crate) fn list_at(&self, at: u32) -> Vec<u8> {
        let (start, len) = (self.u32_at(at) as usize, self.u32_at(at + 4) as usize);
        self.memory[start..start + len].to_vec()
    }

    pub(crate) fn text_at(&self, at: u32) -> String {
        String::from_utf8(self.list_at(at)).unwrap()
    }

    /// A `result` at [`RESULT`] whose payload begins after `align` bytes: where that is, or the error's case.
    pub(crate) fn outcome(&self, align: u32) -> Result<u32, u8> {
        match self.u8_at(RESULT) {
            0 => Ok(RESULT + align),
            1 => Err(self.u8_at(RESULT + align)),
            other => panic!("a result of case {other}"),
        }
    }

    /// Drops a handle.
    pub(crate) fn drop_handle(&mut self, handle: u64) -> Outcome<()> {
        let slot = self.handles[handle as usize].take();
        let (_, rep) = slot.expect("a handle");
        self.ctx.resources.remove(rep).map(drop)
    }

    /// The granted directory.
    pub(crate) fn root(&mut self) -> u64 {
        self.ok("filesystem/preopens", "get-directories", &[]);
        assert_eq!(self.u32_at(RESULT + 4), 1);
        let first = self.u32_at(RESULT);
        assert_eq!(self.text_at(first + 4), "/");
        self.u32_at(first).into()
    }
}

/// Streams and futures.
impl Guest {
    /// Asks the host's end of a stream once for up to `most` bytes.
    pub(crate) fn read_some(&mut self, stream: u32, most: usize) -> Outcome<(Transfer, Vec<u8>)> {
        let mut bytes = vec![0; most];
        let Some(HostSource::Bytes(source)) = &mut self.sources[stream as usize] else {
            panic!("no stream of bytes")
        };
        let transfer = source.read(&mut Parts {
            ctx: &mut self.ctx,
            bytes: &mut bytes,
            meter: None,
        })?;
        if let Transfer::Items(count) = transfer {
            bytes.truncate(count as usize);
        }
        Ok((transfer, bytes))
    }

    /// Reads a stream to its end.
    pub(crate) fn read_all(&mut self, stream: u32) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.read_some(stream, 5).unwrap() {
                (Transfer::Items(_), bytes) => all.extend(bytes),
                (Transfer::End, _) => return all,
                (Transfer::Pending, _) => self.wait_for_source(stream),
            }
        }
    }

    /// Asks the host's end of a stream of other items, or of a future, once. They are stored at [`RESULT`].
    pub(crate) fn read_items(&mut self, stream: u32, count: u32) -> Outcome<Transfer> {
        let mut taken = self.sources[stream as usize].take();
        let Some(HostSource::Items(source)) = &mut taken else {
            panic!("no stream of items")
        };
        let transfer = source.read(&mut Call::new(self), RESULT, count);
        self.sources[stream as usize] = taken;
        transfer
    }

    /// Waits until the host's end of a stream may go on.
    pub(crate) fn wait_for_source(&mut self, stream: u32) {
        let mut waits = Waits::default();
        match &self.sources[stream as usize] {
            Some(HostSource::Bytes(source)) => source.wait(&mut waits),
            Some(HostSource::Items(source)) => source.wait(&mut waits),
            None => panic!("the guest has dropped it"),
        }
        assert!(!waits.is_empty(), "there is something to wait for");
        wait_for(self.parts(), &mut waits, true).unwrap();
        assert!(waits.is_any_ready());
    }

    /// What a future says of how a stream ended; the payload of an error begins after 4 bytes, or after one.
    pub(crate) fn ending(&mut self, future: u32, align: u32) -> Option<Result<(), u8>> {
        match self.read_items(future, 1).unwrap() {
            Transfer::Pending => None,
            Transfer::Items(1) => Some(self.outcome(align).map(drop)),
            other => panic!("a future: {other:?}"),
        }
    }

    /// Drops the readable end.
    pub(crate) fn drop_readable_end(&mut self, stream: u32) {
        self.sources[stream as usize] = None;
    }

    /// Offers bytes to the host's end of a stream once.
    pub(crate) fn write_some(&mut self, stream: u32, bytes: &[u8]) -> Outcome<Transfer> {
        let mut sink = self.sinks.remove(&stream).expect("a stream");
        let written = sink.write(&mut self.parts(), bytes);
        self.sinks.insert(stream, sink);
        written
    }

    /// Writes all bytes to a stream; whether the host took them.
    pub(crate) fn write_all(&mut self, stream: u32, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.write_some(stream, bytes).unwrap() {
                Transfer::Items(count) => bytes = &bytes[count as usize..],
                Transfer::End => return false,
                Transfer::Pending => {
                    let mut waits = Waits::default();
                    self.sinks[&stream].wait(&mut waits);
                    assert!(!waits.is_empty(), "there is something to wait for");
                    wait_for(self.parts(), &mut waits, true).unwrap();
                }
            }
        }
        true
    }

    /// Drops the writable end, if the host still has the other one.
    pub(crate) fn drop_writable_end(&mut self, stream: u32) {
        let mut sink = self.sinks.remove(&stream).expect("a stream");
        sink.end(&mut self.parts()).unwrap();
    }

    /// Writes the value of a future, as flat values.
    #[cfg(feature = "http")]
    pub(crate) fn write_future(&mut self, future: u32, value: &[u64]) -> Outcome<()> {
        let mut sink = self.item_sinks.remove(&future).expect("a future");
        self.item = value.to_vec();
        let written = sink.write(&mut Call::new(self), 0, 1)?;
        assert_eq!(written, Transfer::Items(1));
        Ok(())
    }

    /// Has what goes on by itself do so until it is done.
    #[cfg(feature = "http")]
    pub(crate) fn finish_spawned(&mut self) {
        while let Some(mut operation) = self.spawned.pop() {
            while operation.poll(&mut Call::new(self)).unwrap().is_pending() {
                let mut waits = Waits::default();
                operation.wait(&mut waits);
                assert!(!waits.is_empty(), "there is something to wait for");
                wait_for(self.parts(), &mut waits, true).unwrap();
            }
        }
    }
}
