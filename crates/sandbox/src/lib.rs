//! Holds a whole process to the directories that its guest was granted, with the means of Linux: Landlock for files,
//! seccomp for system calls. The network is all or nothing.
//!
//! A runtime grants by what its own code does. This is the second wall: should a guest ever come to run native code of its
//! choice in the process, the kernel still refuses to open a file outside the grants, to make a socket, to start a process
//! or to signal one. Nothing of it can be taken back, by nobody in the process.
//!
//! ```no_run
//! use std::fs::File;
//! use std::os::fd::AsFd;
//!
//! let (input, output) = (File::open("/srv/input")?, File::open("/srv/output")?);
//! let confinement = tiered_sandbox::Sandbox::new()
//!     .read_only(input.as_fd())
//!     .read_write(output.as_fd())
//!     .enter();
//! confinement.require()?;
//! assert!(File::open("/etc/passwd").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What to do before
//! * Open what is needed later: the process opens nothing outside the directories any more, not in `/proc` either. An
//!   engine of tiered does its part in `Engine::open_ahead`.
//! * Enter before other threads start. The filter of system calls is for all threads of the process; Landlock is for the
//!   calling thread and those that it starts, and for all threads only from Linux 7.0 on (ABI 8).
//!
//! # What it does not do
//! Descriptors that are open stay so, with all that can be done through them. Attributes of files are beyond Landlock:
//! anywhere, files can be looked at (`stat`, `readlink`), and times set on those that the user may set times on. New
//! executable memory can be made, because a compiler needs it. Memory, processor time and side channels are not limited.
//!
//! * *Invariant:* what is refused fails with an error; it ends no process. Only a system call in another processor's
//!   numbers does: no program of this processor makes one by mistake.
//! * *Invariant:* a part that the kernel does not have leaves the other in place, and [`Confinement`] says which is which.
//!
//! Absent on purpose: any knowledge of WebAssembly, of WASI and of the engine.

#![forbid(unsafe_code)]

mod calls;
mod files;
mod filter;

use std::fmt;
use std::os::fd::BorrowedFd;

use thiserror::Error;

/// The directories that a process keeps when it enters, and whether it keeps the network.
#[derive(Debug, Default)]
pub struct Sandbox<'a> {
    dirs: Vec<files::Dir<'a>>,
    network: Network,
}

/// What a process keeps of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Network {
    serves: bool,
    sockets: bool,
    lookups: bool,
}

impl<'a> Sandbox<'a> {
    /// No directory.
    #[must_use]
    pub fn new() -> Sandbox<'a> {
        Sandbox::default()
    }

    /// What is in the open directory `dir`, and below it, may be read.
    #[must_use]
    pub fn read_only(self, dir: BorrowedFd<'a>) -> Sandbox<'a> {
        self.dir(dir, false)
    }

    /// What is in the open directory `dir`, and below it, may be read, changed, created and removed; devices may not be
    /// created, nor told anything by `ioctl`.
    #[must_use]
    pub fn read_write(self, dir: BorrowedFd<'a>) -> Sandbox<'a> {
        self.dir(dir, true)
    }

    /// Connections may be served on sockets that listen already: waited for together (`epoll`), asked for their addresses,
    /// and told how to send (options of TCP). Accepting, sending and receiving may be done anyway.
    #[must_use]
    pub fn serves(mut self) -> Sandbox<'a> {
        self.network.serves = true;
        self
    }

    /// Sockets of IPv4 and IPv6 may be made, bound and connected, whatever the address: which ones a guest may use is left
    /// to the runtime.
    #[must_use]
    pub fn sockets(mut self) -> Sandbox<'a> {
        self.network.sockets = true;
        self
    }

    /// Names of hosts may be looked up, for which a resolver needs sockets, and some files in `/etc`, to read.
    #[must_use]
    pub fn lookups(mut self) -> Sandbox<'a> {
        self.network.lookups = true;
        self.sockets()
    }

    fn dir(mut self, dir: BorrowedFd<'a>, writable: bool) -> Sandbox<'a> {
        self.dirs.push(files::Dir { dir, writable });
        self
    }

    /// Holds the process to this from now on, as far as the kernel can: see [`Confinement`]. The process also gains no
    /// privilege by running a program any more (`no_new_privs`).
    pub fn enter(self) -> Confinement {
        let landlock = files::restrict(&self.dirs, self.network);
        // Last: it refuses what the other needs.
        let seccomp = calls::restrict(self.network);
        Confinement { landlock, seccomp }
    }
}

/// What holds a process.
///
/// As text: `landlock ABI 7, seccomp`, or what is missing and why.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the kernel may have refused"]
pub struct Confinement {
    /// The version of Landlock's interface that files are restricted by.
    pub landlock: Result<u32, Unavailable>,
    /// Whether system calls are filtered.
    pub seccomp: Result<(), Unavailable>,
}

impl Confinement {
    /// Whether both parts hold.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.landlock.is_ok() && self.seccomp.is_ok()
    }

    /// Fails unless both parts hold.
    ///
    /// # Errors
    /// Why one does not.
    pub fn require(self) -> Result<(), Unavailable> {
        self.landlock?;
        self.seccomp
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.landlock {
            Ok(abi) => write!(f, "landlock ABI {abi}")?,
            Err(reason) => write!(f, "no landlock ({reason})")?,
        }
        match &self.seccomp {
            Ok(()) => f.write_str(", seccomp"),
            Err(reason) => write!(f, ", no seccomp ({reason})"),
        }
    }
}

/// Why a part can't be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The kernel has no Landlock, it is switched off, or it is older than Linux 6.2, whose ABI 3 is the first that can
    /// restrict all that changes a file.
    #[error("the kernel has none of ABI 3, which came with Linux 6.2")]
    LandlockTooOld,
    /// The kernel refuses the rules.
    #[error("{0}")]
    Landlock(#[from] landlock::RulesetError),
    /// There is no list of system calls for this processor.
    #[error("not for this processor")]
    Processor,
    /// The kernel refuses the filter.
    #[error("{0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
