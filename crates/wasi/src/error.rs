//! How a call can fail, and the one place where host errors become error numbers.
//!
//! Invariant: a path that leads out of a grant is `NOTCAPABLE`, and only a refusal by the host itself is `ACCES`. cap-std
//! reports the former with kind `PermissionDenied` and no host error number, which is how they are told apart.

use std::{fmt, io};

use crate::abi::Errno;
use crate::work::Halt;

/// Why a body did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// An error number, returned to the guest.
    Errno(Errno),
    /// A bad pointer; the guest traps.
    Fault(Fault),
    /// `proc_exit` with its code, as the guest gave it.
    Exit(u32),
    /// The guest is stopped, or cannot pay for the call.
    Halt(Halt),
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Halt> for Error {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What is wrong with a pointer the guest passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Part of the range lies outside the memory.
    OutOfBounds,
    /// The address is not a multiple of the type's alignment.
    Misaligned {
        /// The alignment the type needs.
        align: u32,
    },
    /// The guest exports no memory named `memory`.
    MissingMemory,
}

/// A pointer argument outside the guest's memory or misaligned, found before any side effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The called function; empty until the function table fills it in.
    pub function: &'static str,
    /// The name of the argument, in the interface's words.
    pub argument: &'static str,
    /// The guest address.
    pub address: u32,
    /// How many bytes were to be accessed there.
    pub len: u64,
    /// The size of the guest's memory.
    pub memory_size: usize,
    /// What is wrong.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function,
            argument,
            address,
            len,
            memory_size,
            kind,
        } = self;
        match kind {
            FaultKind::OutOfBounds => write!(
                f,
                "{function}: argument `{argument}` is out of bounds: {len} bytes at address {address:#x} \
                 in a memory of {memory_size:#x} bytes"
            ),
            FaultKind::Misaligned { align } => write!(
                f,
                "{function}: argument `{argument}` is misaligned: address {address:#x} is not a multiple \
                 of {align} (memory of {memory_size:#x} bytes)"
            ),
            FaultKind::MissingMemory => {
                write!(f, "{function}: missing required memory export \"memory\"")
            }
        }
    }
}

impl std::error::Error for Fault {}

/// Why the guest does not continue after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The guest asked to exit.
    #[error("exit with code {0}")]
    Exit(u32),
    /// The guest passed a bad pointer.
    #[error(transparent)]
    Fault(Fault),
    /// What pays for the guest's calls says so.
    #[error(transparent)]
    Halt(Halt),
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(raw) => rustix::io::Errno::from_raw_os_error(raw).into(),
            None => from_kind(error.kind()),
        }
    }
}

/// Maps an error that the host did not number: cap-std and std make these themselves.
fn from_kind(kind: io::ErrorKind) -> Errno {
    use io::ErrorKind as K;
    match kind {
        K::PermissionDenied => Errno::NOTCAPABLE,
        K::NotFound => Errno::NOENT,
        K::AlreadyExists => Errno::EXIST,
        K::InvalidInput | K::InvalidData => Errno::INVAL,
        K::NotADirectory => Errno::NOTDIR,
        K::IsADirectory => Errno::ISDIR,
        K::DirectoryNotEmpty => Errno::NOTEMPTY,
        K::WouldBlock => Errno::AGAIN,
        K::Interrupted => Errno::INTR,
        K::BrokenPipe => Errno::PIPE,
        K::NotConnected => Errno::NOTCONN,
        K::ConnectionReset => Errno::CONNRESET,
        K::ConnectionAborted => Errno::CONNABORTED,
        K::TimedOut => Errno::TIMEDOUT,
        K::OutOfMemory => Errno::NOMEM,
        K::Unsupported => Errno::NOTSUP,
        _ => Errno::IO,
    }
}

macro_rules! host_errnos {
    ($($host:ident => $guest:ident)*) => {
        impl From<rustix::io::Errno> for Errno {
            fn from(host: rustix::io::Errno) -> Self {
                use rustix::io::Errno as Host;
                match host {
                    $(Host::$host => Self::$guest,)*
                    _ => Self::IO,
                }
            }
        }
    };
}

host_errnos! {
    NOENT => NOENT
    AGAIN => AGAIN
    EXIST => EXIST
    NOTDIR => NOTDIR
    ISDIR => ISDIR
    ACCESS => ACCES
    PERM => PERM
    INVAL => INVAL
    NOTEMPTY => NOTEMPTY
    LOOP => LOOP
    BADF => BADF
    SPIPE => SPIPE
    PIPE => PIPE
    INTR => INTR
    TOOBIG => TOOBIG
    ADDRINUSE => ADDRINUSE
    ADDRNOTAVAIL => ADDRNOTAVAIL
    AFNOSUPPORT => AFNOSUPPORT
    ALREADY => ALREADY
    BADMSG => BADMSG
    BUSY => BUSY
    CANCELED => CANCELED
    CHILD => CHILD
    CONNABORTED => CONNABORTED
    CONNREFUSED => CONNREFUSED
    CONNRESET => CONNRESET
    DEADLK => DEADLK
    DESTADDRREQ => DESTADDRREQ
    DOM => DOM
    DQUOT => DQUOT
    FAULT => FAULT
    FBIG => FBIG
    HOSTUNREACH => HOSTUNREACH
    IDRM => IDRM
    ILSEQ => ILSEQ
    INPROGRESS => INPROGRESS
    IO => IO
    ISCONN => ISCONN
    MFILE => MFILE
    MLINK => MLINK
    MSGSIZE => MSGSIZE
    MULTIHOP => MULTIHOP
    NAMETOOLONG => NAMETOOLONG
    NETDOWN => NETDOWN
    NETRESET => NETRESET
    NETUNREACH => NETUNREACH
    NFILE => NFILE
    NOBUFS => NOBUFS
    NODEV => NODEV
    NOEXEC => NOEXEC
    NOLCK => NOLCK
    NOLINK => NOLINK
    NOMEM => NOMEM
    NOMSG => NOMSG
    NOPROTOOPT => NOPROTOOPT
    NOSPC => NOSPC
    NOSYS => NOSYS
    NOTCONN => NOTCONN
    NOTRECOVERABLE => NOTRECOVERABLE
    NOTSOCK => NOTSOCK
    OPNOTSUPP => NOTSUP
    NOTTY => NOTTY
    NXIO => NXIO
    OVERFLOW => OVERFLOW
    OWNERDEAD => OWNERDEAD
    PROTO => PROTO
    PROTONOSUPPORT => PROTONOSUPPORT
    PROTOTYPE => PROTOTYPE
    RANGE => RANGE
    ROFS => ROFS
    SRCH => SRCH
    STALE => STALE
    TIMEDOUT => TIMEDOUT
    TXTBSY => TXTBSY
    XDEV => XDEV
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Errno(error.into())
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Errno(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_not_a_host_refusal() {
        let escape = io::Error::new(io::ErrorKind::PermissionDenied, "a path led outside");
        assert_eq!(Errno::from(escape), Errno::NOTCAPABLE);
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::ACCESS.raw_os_error());
        assert_eq!(Errno::from(refused), Errno::ACCES);
        let not_permitted = io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error());
        assert_eq!(Errno::from(not_permitted), Errno::PERM);
    }

    #[test]
    fn unknown_errors_are_input_output_errors() {
        assert_eq!(Errno::from(rustix::io::Errno::NOKEY), Errno::IO);
        assert_eq!(Errno::from(io::Error::other("?")), Errno::IO);
    }

    #[test]
    fn a_fault_names_everything() {
        let fault = Fault {
            function: "fd_read",
            argument: "iovs",
            address: 0xffff_0000,
            len: 8,
            memory_size: 0x10000,
            kind: FaultKind::OutOfBounds,
        };
        assert_eq!(
            fault.to_string(),
            "fd_read: argument `iovs` is out of bounds: 8 bytes at address 0xffff0000 in a memory of 0x10000 bytes"
        );
    }
}
