//! Tests of the rows without a component: a guest that is a byte slice, an allocator that only goes up, and a table of handles.
//! Arguments go in and results come out as flat values and bytes, as a component's core module has them.

mod cli;
mod filesystem;
mod guests;
#[cfg(feature = "http")]
mod http;
mod polling;
mod sockets;
mod streams;
mod wit;

use std::path::PathBuf;

use tempfile::TempDir;
use tiered_runtime::Trap;

use crate::ctx::{WasiCtx, WasiCtxBuilder};
use crate::objects::Access;
use crate::p2::INTERFACES;
use crate::p2::call::{Call, Lowered, Outcome, Parts};
use crate::p2::lower::ResultForm;
use crate::p2::resources::Kind;
use crate::p2::rows::Row;

/// Where results go; arguments are below.
const RESULT: u32 = 0x8000;

/// Where what the guest allocates begins.
const HEAP: u32 = 0x1_0000;

const MEMORY: usize = 0x6_0000;

/// A guest under test.
struct Guest {
    ctx: WasiCtx,
    memory: Vec<u8>,
    /// Types and numbers of its handles; the first is none.
    handles: Vec<Option<(Kind, u32)>>,
    args: Vec<u64>,
    result: Option<u64>,
    heap: u32,
    /// Where the next argument in memory goes.
    next: u32,
    base: TempDir,
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
}

/// The row of a function.
fn row(interface: &str, name: &str) -> &'static Row {
    let full = format!("wasi:{interface}@0.2.12");
    let interface = INTERFACES.iter().find(|known| known.name == full);
    let rows = interface.expect("an interface of the table").rows;
    rows.iter()
        .find(|row| row.name == name)
        .unwrap_or_else(|| panic!("no row {name}"))
}

impl Guest {
    /// With an empty directory granted for writing, as `/`.
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(add: impl FnOnce(WasiCtxBuilder) -> WasiCtxBuilder) -> Self {
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
        }
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.base.path().join("inside").join(name)
    }

    /// Puts bytes into memory as an argument of the next call: where they are, and how many.
    fn put(&mut self, bytes: &[u8]) -> [u64; 2] {
        let at = self.next as usize;
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.next += (bytes.len() as u32).next_multiple_of(8);
        [at as u64, bytes.len() as u64]
    }

    /// Calls a function. A result that fits one core value is returned; another is at [`RESULT`].
    fn call(&mut self, interface: &str, name: &str, args: &[u64]) -> Outcome<u64> {
        let row = row(interface, name);
        assert_eq!(args.len(), row.params.len(), "{name}");
        self.args = args.to_vec();
        if let ResultForm::Stored { size, .. } = row.result {
            self.memory[RESULT as usize..][..size as usize].fill(0xee);
            self.args.push(RESULT.into());
        }
        (self.next, self.heap, self.result) = (0, HEAP, None);
        (row.body)(&mut Call::new(self))?;
        match row.result {
            ResultForm::I32 | ResultForm::I64 => Ok(self.result.expect("a result")),
            ResultForm::Nothing | ResultForm::Stored { .. } => Ok(0),
        }
    }

    /// A method of a resource, which must not trap.
    #[track_caller]
    fn ok(&mut self, interface: &str, name: &str, args: &[u64]) -> u64 {
        match self.call(interface, name, args) {
            Ok(result) => result,
            Err(trap) => panic!("{name}: {trap}"),
        }
    }

    /// The trap of a call that has to.
    #[track_caller]
    fn trap(&mut self, interface: &str, name: &str, args: &[u64]) -> String {
        match self.call(interface, name, args) {
            Ok(_) => panic!("{name} does not trap"),
            Err(trap) => trap.to_string(),
        }
    }

    fn u8_at(&self, at: u32) -> u8 {
        self.memory[at as usize]
    }

    fn u32_at(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.memory[at as usize..][..4].try_into().unwrap())
    }

    fn u64_at(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.memory[at as usize..][..8].try_into().unwrap())
    }

    /// The bytes of a list at `at`.
    fn list_at(&self, at: u32) -> Vec<u8> {
        let (start, len) = (self.u32_at(at) as usize, self.u32_at(at + 4) as usize);
        self.memory[start..start + len].to_vec()
    }

    fn text_at(&self, at: u32) -> String {
        String::from_utf8(self.list_at(at)).unwrap()
    }

    /// A `result` at [`RESULT`] whose payload begins after `align` bytes: where that is, or the error's case.
    fn outcome(&self, align: u32) -> Result<u32, u8> {
        match self.u8_at(RESULT) {
            0 => Ok(RESULT + align),
            1 => Err(self.u8_at(RESULT + align)),
            other => panic!("a result of case {other}"),
        }
    }

    /// Drops a handle.
    fn drop_handle(&mut self, handle: u64) -> Outcome<()> {
        let slot = self.handles[handle as usize].take();
        let (_, rep) = slot.expect("a handle");
        self.ctx.resources.remove(rep).map(drop)
    }

    /// The granted directory.
    fn root(&mut self) -> u64 {
        self.ok("filesystem/preopens", "get-directories", &[]);
        assert_eq!(self.u32_at(RESULT + 4), 1);
        let first = self.u32_at(RESULT);
        assert_eq!(self.text_at(first + 4), "/");
        self.u32_at(first).into()
    }
}

/// Every row reads the arguments that it says it has, and stops at a result that does not fit into memory before it does
/// anything.
#[test]
fn a_bad_result_address_stops_the_guest_first() {
    for interface in INTERFACES {
        for row in interface.rows {
            if !matches!(row.result, ResultForm::Stored { .. }) {
                continue;
            }
            let mut guest = Guest::new();
            guest.args = vec![0; row.params.len()];
            guest.args.push(MEMORY as u64 - 1);
            let stopped = (row.body)(&mut Call::new(&mut guest)).unwrap_err();
            let text = stopped.to_string();
            let says = text.contains("out of bounds") || text.contains("not a multiple");
            assert!(says, "{} {}: {text}", interface.name, row.name);
        }
    }
}
