//! WASI preview 1, 0.2 and 0.3 on cap-std: a program gets exactly the capabilities it was granted.
//!
//! WASI for components, 0.2 and 0.3, is in the modules `p2` and `p3`, with the feature `component`.
//!
//! A [`WasiCtx`] holds what one guest was given: arguments, environment, streams, directories with their grants, listening
//! sockets. The 46 calls of `wasi_snapshot_preview1`, and those of the older `wasi_unstable`, are plain functions on it and
//! on the guest's memory, so they serve any engine that has that memory as a byte slice or can copy its bytes. [`add_to_linker`] binds them to
//! tiered's runtime.
//!
//! ```
//! use tiered_wasi::{Abi, Errno, GuestMemory, OutputBuffer, Stdout, WasiCtx, calls};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let output = OutputBuffer::new();
//! let ctx = WasiCtx::builder().arg("demo").stdout(Stdout::Buffer(output.clone())).build()?;
//!
//! // A guest's memory: one buffer of five bytes at 16, and at 0 the list that names it.
//! let mut bytes = vec![0; 65536];
//! bytes[0..8].copy_from_slice(&[16, 0, 0, 0, 5, 0, 0, 0]);
//! bytes[16..21].copy_from_slice(b"hello");
//!
//! let mut memory = GuestMemory::new(&mut bytes);
//! let errno = calls::fd_write(&ctx, &mut memory, Abi::Preview1, 1, 0, 1, 8)?;
//! assert_eq!(errno, Errno::SUCCESS);
//! assert_eq!(output.contents(), b"hello");
//!
//! // A pointer outside the memory stops the guest before anything is written.
//! let stop = calls::fd_write(&ctx, &mut memory, Abi::Preview1, 1, 65535, 1, 8).unwrap_err();
//! assert!(stop.to_string().starts_with("fd_write: argument `iovs` is out of bounds"));
//! # Ok(())
//! # }
//! ```
//!
//! *Invariant:* no call reaches the host outside a granted directory, whatever the path, the links in it, or what changes
//! while it is resolved. What leads out is `NOTCAPABLE`; `ACCES` is the host's own refusal.
//! *Invariant:* only `link.rs`, `threads.rs` and what is for components know the runtime.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::duplicate_mod,
        reason = "all tests of the calls run with both kinds of memory"
    )
)]

mod ctx;
mod functions;
mod link;
mod threads;

mod abi;
mod error;
mod guest;
mod iovec;
mod work;

mod fd_share;
mod fd_table;
mod interrupt;
mod kernel_fs;
#[cfg(feature = "component")]
mod net_grants;
mod objects;
mod signal;
mod stdio;

mod args;
mod clock;
mod environ;
mod fd;
mod fd_io;
mod fd_stat;
mod path;
mod path_create;
mod path_link;
mod path_open;
mod path_stat;
mod poll;
mod proc;
mod random;
mod readdir;
mod sched;
mod sock;

#[cfg(feature = "component")]
mod component;
#[cfg(feature = "component")]
pub mod p2;
#[cfg(feature = "component")]
pub mod p3;
#[cfg(feature = "http")]
pub mod serve;

pub use abi::{Abi, Errno, FdFlags, FileType, FstFlags, OFlags, Rights};
pub use ctx::{BuildError, GrantedDir, WasiCtx, WasiCtxBuilder};
pub use error::{Fault, FaultKind, Stop};
pub use functions::{Call, FUNCTIONS, Function, Param, calls};
pub use guest::{GuestMemory, SharedBytes};
pub use interrupt::InterruptHandle;
pub use link::add_to_linker;
#[cfg(feature = "component")]
pub use net_grants::{Peers, PeersError};
pub use objects::Access;
pub use stdio::{InputBuffer, OutputBuffer, Stdin, Stdout};
pub use threads::{PreloadError, THREAD_SPAWN, Threads, ThreadsError};
pub use work::{Halt, Meter};

#[cfg(test)]
mod tests;

/// The same tests again, with memory that threads share.
#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests_on_shared_memory;

/// Compiles the example of the workspace's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
