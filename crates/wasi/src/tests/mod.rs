//! Tests of the bodies without an engine, against a byte slice and, as the module `tests_on_shared_memory`, against memory
//! that threads share. Each guest has a directory of its own, `inside`, as
//! descriptor 3, and beside it `outside` with a secret that no call may reach.

mod basics;
mod grants;
mod interfaces;
mod io;
mod linking;
mod listing;
mod names;
mod opening;
mod pointers;
mod polling;
mod random_paths;
mod sandbox;
mod sockets;
mod stats;
mod threads;
mod work;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::abi::{Abi, Errno, FdFlags, OFlags, Rights};
use crate::ctx::{WasiCtx, WasiCtxBuilder};
use crate::error::Stop;
use crate::functions::Function;
use crate::guest::{GuestMemory, SharedBytes};
use crate::objects::Access;
use crate::work::{Halt, Meter};

/// The descriptor of `inside`.
const ROOT: u32 = 3;

/// Where results of calls go; everything below is free for arguments.
const RESULT: u32 = 0x1_0000;

const MEMORY: usize = 0x2_0000;

const RW: Rights = Rights::FD_READ.union(Rights::FD_WRITE);
const CREATE: OFlags = OFlags::CREAT;
const PLAIN: OFlags = OFlags::NONE;

/// Whether these are the tests with memory that threads share.
fn is_shared() -> bool {
    module_path!().contains("shared")
}

/// Bytes as memory that threads share, though there is one thread.
#[derive(Debug)]
struct Cells<'a>(&'a [Cell<u8>]);

impl SharedBytes for Cells<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&self, at: usize, to: &mut [u8]) {
        let from = &self.0[at..at + to.len()];
        let pairs = to.iter_mut().zip(from);
        pairs.for_each(|(to, from)| *to = from.get());
    }

    fn write(&self, at: usize, from: &[u8]) {
        let pairs = self.0[at..at + from.len()].iter().zip(from);
        pairs.for_each(|(to, from)| to.set(*from));
    }
}

/// Has `call` see `bytes` as memory of the kind under test.
fn with_memory<R>(bytes: &mut [u8], call: impl FnOnce(GuestMemory<'_>) -> R) -> R {
    match is_shared() {
        true => {
            let cells = Cells(Cell::from_mut(bytes).as_slice_of_cells());
            call(GuestMemory::shared(&cells))
        }
        false => call(GuestMemory::new(bytes)),
    }
}

/// A guest under test.
struct Guest {
    ctx: WasiCtx,
    memory: Vec<u8>,
    next: u32,
    abi: Abi,
    base: TempDir,
}

impl Guest {
    /// With `inside` preopened read-write as descriptor 3.
    fn new() -> Self {
        Self::with(|builder, _| builder)
    }

    /// As `new`, with more preopened by `add`, which is given the directory around `inside` and `outside`.
    fn with(add: impl FnOnce(WasiCtxBuilder, &Path) -> WasiCtxBuilder) -> Self {
        let base = tempfile::tempdir().unwrap();
        for dir in ["inside", "outside"] {
            std::fs::create_dir(base.path().join(dir)).unwrap();
        }
        std::fs::write(base.path().join("outside/secret"), "secret").unwrap();
        let builder =
            WasiCtx::builder().preopen_dir(base.path().join("inside"), "/", Access::ReadWrite);
        let ctx = add(builder, base.path()).build().unwrap();
        Self {
            ctx,
            memory: vec![0; MEMORY],
            next: 0,
            abi: Abi::Preview1,
            base,
        }
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.base.path().join("inside").join(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.base.path().join("outside").join(name)
    }

    /// Makes a file in `inside` behind the guest's back.
    fn file(&self, name: &str, contents: &str) {
        std::fs::write(self.inside(name), contents).unwrap();
    }

    fn dir(&self, name: &str) {
        std::fs::create_dir_all(self.inside(name)).unwrap();
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        std::os::unix::fs::symlink(target, self.inside(name)).unwrap();
    }

    fn call(&mut self, name: &str, args: &[u64]) -> Result<Errno, Stop> {
        let function = Function::named(name).unwrap();
        self.next = 0;
        with_memory(&mut self.memory, |mut memory| {
            function.call(&self.ctx, &mut memory, self.abi, args)
        })
    }

    /// As `call`, paid by `meter`.
    fn call_metered(&mut self, name: &str, args: &[u64], meter: &Purse) -> Result<Errno, Stop> {
        let function = Function::named(name).unwrap();
        self.next = 0;
        with_memory(&mut self.memory, |memory| {
            function.call(&self.ctx, &mut memory.metered(meter), self.abi, args)
        })
    }

    /// Calls a function that does not stop the guest.
    fn errno(&mut self, name: &str, args: &[u64]) -> Errno {
        self.call(name, args).unwrap()
    }

    #[track_caller]
    fn ok(&mut self, name: &str, args: &[u64]) {
        assert_eq!(self.errno(name, args), Errno::SUCCESS, "{name}{args:?}");
    }

    /// Puts bytes into memory as an argument of the next call; returns their address.
    fn put(&mut self, bytes: &[u8]) -> u64 {
        let at = self.next as usize;
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.next += (bytes.len() as u32).next_multiple_of(8);
        at as u64
    }

    /// Puts a list of buffers into memory; returns its address.
    fn iovs(&mut self, list: &[(u32, u32)]) -> u64 {
        let bytes: Vec<u8> = list
            .iter()
            .flat_map(|(at, len)| [at.to_le_bytes(), len.to_le_bytes()].concat())
            .collect();
        self.put(&bytes)
    }

    fn u16_at(&self, at: u32) -> u16 {
        u16::from_le_bytes(self.memory[at as usize..][..2].try_into().unwrap())
    }

    fn u32_at(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.memory[at as usize..][..4].try_into().unwrap())
    }

    fn u64_at(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.memory[at as usize..][..8].try_into().unwrap())
    }

    /// Calls `name(fd, path, path_len)`.
    fn on_path(&mut self, name: &str, path: &str) -> Errno {
        self.on_path_at(name, ROOT, path)
    }

    fn on_path_at(&mut self, name: &str, fd: u32, path: &str) -> Errno {
        let at = self.put(path.as_bytes());
        self.errno(name, &[fd.into(), at, path.len() as u64])
    }

    fn open_with(
        &mut self,
        fd: u32,
        follow: bool,
        path: &str,
        oflags: OFlags,
        rights: Rights,
        flags: FdFlags,
    ) -> Result<u32, Errno> {
        let at = self.put(path.as_bytes());
        let args = [
            fd.into(),
            follow.into(),
            at,
            path.len() as u64,
            oflags.raw().into(),
            rights.raw(),
            0,
            flags.raw().into(),
            RESULT.into(),
        ];
        match self.errno("path_open", &args) {
            Errno::SUCCESS => Ok(self.u32_at(RESULT)),
            errno => Err(errno),
        }
    }

    /// Opens below descriptor 3, following links.
    fn open(&mut self, path: &str, oflags: OFlags, rights: Rights) -> Result<u32, Errno> {
        self.open_with(ROOT, true, path, oflags, rights, FdFlags::NONE)
    }

    fn close(&mut self, fd: u32) {
        self.ok("fd_close", &[fd.into()]);
    }

    fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32, Errno> {
        let at = self.put(bytes);
        let iovs = self.iovs(&[(at as u32, bytes.len() as u32)]);
        match self.errno("fd_write", &[fd.into(), iovs, 1, RESULT.into()]) {
            Errno::SUCCESS => Ok(self.u32_at(RESULT)),
            errno => Err(errno),
        }
    }

    fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>, Errno> {
        let iovs = self.iovs(&[(0x8000, len)]);
        match self.errno("fd_read", &[fd.into(), iovs, 1, RESULT.into()]) {
            Errno::SUCCESS => {
                Ok(self.memory[0x8000..0x8000 + self.u32_at(RESULT) as usize].to_vec())
            }
            errno => Err(errno),
        }
    }

    fn seek(&mut self, fd: u32, offset: i64, whence: u64) -> Result<u64, Errno> {
        match self.errno(
            "fd_seek",
            &[fd.into(), offset.cast_unsigned(), whence, RESULT.into()],
        ) {
            Errno::SUCCESS => Ok(self.u64_at(RESULT)),
            errno => Err(errno),
        }
    }

    /// The rights and flags of a descriptor: base, inheriting, flags, type.
    fn fdstat(&mut self, fd: u32) -> (Rights, Rights, FdFlags, u8) {
        self.ok("fd_fdstat_get", &[fd.into(), RESULT.into()]);
        (
            Rights::from_raw(self.u64_at(RESULT + 8)),
            Rights::from_raw(self.u64_at(RESULT + 16)),
            FdFlags::from_raw(self.u16_at(RESULT + 2)),
            self.memory[RESULT as usize],
        )
    }

    fn path_stat(&mut self, follow: bool, path: &str) -> Result<Stat, Errno> {
        let at = self.put(path.as_bytes());
        let args = [
            ROOT.into(),
            follow.into(),
            at,
            path.len() as u64,
            RESULT.into(),
        ];
        match self.errno("path_filestat_get", &args) {
            Errno::SUCCESS => Ok(self.stat_result()),
            errno => Err(errno),
        }
    }

    fn fd_stat(&mut self, fd: u32) -> Result<Stat, Errno> {
        match self.errno("fd_filestat_get", &[fd.into(), RESULT.into()]) {
            Errno::SUCCESS => Ok(self.stat_result()),
            errno => Err(errno),
        }
    }

    fn stat_result(&self) -> Stat {
        Stat {
            dev: self.u64_at(RESULT),
            ino: self.u64_at(RESULT + 8),
            filetype: self.memory[RESULT as usize + 16],
            nlink: self.u64_at(RESULT + 24),
            size: self.u64_at(RESULT + 32),
            atim: self.u64_at(RESULT + 40),
            mtim: self.u64_at(RESULT + 48),
        }
    }

    /// Calls that take two paths: `path_link` and `path_rename`.
    fn rename_at(&mut self, fd: u32, old: &str, new_fd: u32, new: &str) -> Errno {
        let (at, to) = (self.put(old.as_bytes()), self.put(new.as_bytes()));
        let args = [
            fd.into(),
            at,
            old.len() as u64,
            new_fd.into(),
            to,
            new.len() as u64,
        ];
        self.errno("path_rename", &args)
    }

    fn rename(&mut self, old: &str, new: &str) -> Errno {
        self.rename_at(ROOT, old, ROOT, new)
    }

    fn hard_link_at(&mut self, fd: u32, old: &str, new_fd: u32, new: &str) -> Errno {
        let (at, to) = (self.put(old.as_bytes()), self.put(new.as_bytes()));
        let args = [
            fd.into(),
            0,
            at,
            old.len() as u64,
            new_fd.into(),
            to,
            new.len() as u64,
        ];
        self.errno("path_link", &args)
    }

    fn hard_link(&mut self, old: &str, new: &str) -> Errno {
        self.hard_link_at(ROOT, old, ROOT, new)
    }

    fn symlink(&mut self, target: &str, new: &str) -> Errno {
        let (at, to) = (self.put(target.as_bytes()), self.put(new.as_bytes()));
        self.errno(
            "path_symlink",
            &[at, target.len() as u64, ROOT.into(), to, new.len() as u64],
        )
    }

    fn readlink(&mut self, path: &str, len: u64) -> Result<Vec<u8>, Errno> {
        let at = self.put(path.as_bytes());
        self.memory[0x8000..0x8100].fill(b'#');
        let args = [
            ROOT.into(),
            at,
            path.len() as u64,
            0x8000,
            len,
            RESULT.into(),
        ];
        match self.errno("path_readlink", &args) {
            Errno::SUCCESS => {
                Ok(self.memory[0x8000..0x8000 + self.u32_at(RESULT) as usize].to_vec())
            }
            errno => Err(errno),
        }
    }
}

/// Pays up to a sum, and interrupts itself after a number of payments.
#[derive(Debug)]
struct Purse {
    units: u64,
    left: Cell<u64>,
    payments: Cell<u64>,
    stop_after: u64,
}

impl Purse {
    fn new(units: u64) -> Self {
        Self {
            units,
            left: Cell::new(units),
            payments: Cell::new(0),
            stop_after: u64::MAX,
        }
    }

    fn stopped_after(payments: u64) -> Self {
        Self {
            stop_after: payments,
            ..Self::new(u64::MAX)
        }
    }

    fn paid(&self) -> u64 {
        self.units - self.left.get()
    }
}

impl Meter for Purse {
    fn charge(&self, units: u64) -> Result<(), Halt> {
        if self.payments.get() == self.stop_after {
            return Err(Halt::Interrupted);
        }
        self.payments.set(self.payments.get() + 1);
        let left = self.left.get().checked_sub(units);
        self.left.set(left.unwrap_or(0));
        left.map(drop).ok_or(Halt::OutOfFuel)
    }
}

/// The fields of a filestat that tests look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    dev: u64,
    ino: u64,
    filetype: u8,
    nlink: u64,
    size: u64,
    atim: u64,
    mtim: u64,
}
