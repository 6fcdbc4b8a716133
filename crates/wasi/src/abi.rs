//! The numbers and layouts of WASI preview 1, and where its older form `wasi_unstable` differs.
//!
//! Everything here is a fact of the interface: error numbers, rights bits, flag bits, byte offsets. Nothing here acts.
//! Multi-byte values are little-endian in guest memory. Every body and the tests use this file.

use std::fmt;
use std::ops::{BitAnd, BitOr, Not, Range};

use crate::guest::{GuestMemory, Layout, Store};

/// Bytes of the larger `filestat`.
const FILESTAT_MAX: usize = 64;

/// Bytes of the larger `subscription`.
pub(crate) const SUBSCRIPTION_MAX: usize = 56;

/// Which import module a guest linked against; the two differ in three layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// `wasi_snapshot_preview1`.
    Preview1,
    /// `wasi_unstable`, also known as preview 0.
    Unstable,
}

impl Abi {
    /// The name of the import module.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Preview1 => "wasi_snapshot_preview1",
            Self::Unstable => "wasi_unstable",
        }
    }

    /// Bytes of a `filestat` in guest memory.
    pub(crate) const fn filestat_size(self) -> u32 {
        match self {
            Self::Preview1 => 64,
            Self::Unstable => 56,
        }
    }

    /// Bytes of a `subscription` in guest memory.
    pub(crate) const fn subscription_size(self) -> u32 {
        match self {
            Self::Preview1 => 48,
            Self::Unstable => 56,
        }
    }

    /// Decodes the origin of a seek.
    pub(crate) fn whence(self, value: u32) -> Option<Whence> {
        let order = match self {
            Self::Preview1 => [Whence::Set, Whence::Current, Whence::End],
            Self::Unstable => [Whence::Current, Whence::End, Whence::Set],
        };
        order.get(usize::try_from(value).ok()?).copied()
    }
}

/// The origin of a seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    Set,
    Current,
    End,
}

macro_rules! errnos {
    ($($name:ident = $number:literal $doc:literal)*) => {
        /// An error number as the guest sees it; 0 is success.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct Errno(u16);

        impl Errno {
            $(#[doc = $doc] pub const $name: Self = Self($number);)*

            /// The name in the interface's own words, such as `NOTCAPABLE`.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($number => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }

            /// What the error means.
            pub const fn message(self) -> &'static str {
                match self.0 {
                    $($number => $doc,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

errnos! {
    SUCCESS = 0 "no error"
    TOOBIG = 1 "argument list too long"
    ACCES = 2 "permission denied"
    ADDRINUSE = 3 "address in use"
    ADDRNOTAVAIL = 4 "address not available"
    AFNOSUPPORT = 5 "address family not supported"
    AGAIN = 6 "resource unavailable, or operation would block"
    ALREADY = 7 "connection already in progress"
    BADF = 8 "bad file descriptor"
    BADMSG = 9 "bad message"
    BUSY = 10 "device or resource busy"
    CANCELED = 11 "operation canceled"
    CHILD = 12 "no child processes"
    CONNABORTED = 13 "connection aborted"
    CONNREFUSED = 14 "connection refused"
    CONNRESET = 15 "connection reset"
    DEADLK = 16 "resource deadlock would occur"
    DESTADDRREQ = 17 "destination address required"
    DOM = 18 "argument out of domain"
    DQUOT = 19 "disk quota exceeded"
    EXIST = 20 "file exists"
    FAULT = 21 "bad address"
    FBIG = 22 "file too large"
    HOSTUNREACH = 23 "host is unreachable"
    IDRM = 24 "identifier removed"
    ILSEQ = 25 "illegal byte sequence"
    INPROGRESS = 26 "operation in progress"
    INTR = 27 "interrupted function"
    INVAL = 28 "invalid argument"
    IO = 29 "input/output error"
    ISCONN = 30 "socket is connected"
    ISDIR = 31 "is a directory"
    LOOP = 32 "too many levels of symbolic links"
    MFILE = 33 "file descriptor value too large"
    MLINK = 34 "too many links"
    MSGSIZE = 35 "message too large"
    MULTIHOP = 36 "multihop attempted"
    NAMETOOLONG = 37 "file name too long"
    NETDOWN = 38 "network is down"
    NETRESET = 39 "connection aborted by network"
    NETUNREACH = 40 "network unreachable"
    NFILE = 41 "too many files open in system"
    NOBUFS = 42 "no buffer space available"
    NODEV = 43 "no such device"
    NOENT = 44 "no such file or directory"
    NOEXEC = 45 "executable file format error"
    NOLCK = 46 "no locks available"
    NOLINK = 47 "link has been severed"
    NOMEM = 48 "not enough space"
    NOMSG = 49 "no message of the desired type"
    NOPROTOOPT = 50 "protocol not available"
    NOSPC = 51 "no space left on device"
    NOSYS = 52 "function not supported"
    NOTCONN = 53 "the socket is not connected"
    NOTDIR = 54 "not a directory or a symbolic link to a directory"
    NOTEMPTY = 55 "directory not empty"
    NOTRECOVERABLE = 56 "state not recoverable"
    NOTSOCK = 57 "not a socket"
    NOTSUP = 58 "not supported"
    NOTTY = 59 "inappropriate I/O control operation"
    NXIO = 60 "no such device or address"
    OVERFLOW = 61 "value too large"
    OWNERDEAD = 62 "previous owner died"
    PERM = 63 "operation not permitted"
    PIPE = 64 "broken pipe"
    PROTO = 65 "protocol error"
    PROTONOSUPPORT = 66 "protocol not supported"
    PROTOTYPE = 67 "protocol wrong type for socket"
    RANGE = 68 "result too large"
    ROFS = 69 "read-only file system"
    SPIPE = 70 "invalid seek"
    SRCH = 71 "no such process"
    STALE = 72 "stale file handle"
    TIMEDOUT = 73 "connection timed out"
    TXTBSY = 74 "text file busy"
    XDEV = 75 "cross-device link"
    NOTCAPABLE = 76 "capabilities insufficient"
}

impl Errno {
    /// The number the guest receives.
    pub const fn raw(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.message(), self.name(), self.0)
    }
}

impl From<Errno> for u32 {
    fn from(errno: Errno) -> Self {
        errno.0.into()
    }
}

impl From<Errno> for i32 {
    fn from(errno: Errno) -> Self {
        errno.0.into()
    }
}

macro_rules! bits {
    ($(#[$meta:meta])* $type:ident($raw:ty) { $($name:ident = $bit:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $type($raw);

        #[allow(missing_docs, reason = "the names are the interface's own")]
        impl $type {
            $(pub const $name: Self = Self($bit);)*
            /// No bit set.
            pub const NONE: Self = Self(0);
            /// Every bit the interface defines.
            pub const ALL: Self = Self(0 $(| $bit)*);

            /// Takes the bits as the guest gave them, keeping only defined ones.
            pub const fn from_raw(raw: $raw) -> Self {
                Self(raw & Self::ALL.0)
            }

            /// The bits as the guest sees them.
            pub const fn raw(self) -> $raw {
                self.0
            }

            /// Whether every bit of `other` is set.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any bit of `other` is set.
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// The bits of both, usable in constants.
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitOr for $type {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl BitAnd for $type {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }

        impl Not for $type {
            type Output = Self;
            fn not(self) -> Self {
                Self(!self.0 & Self::ALL.0)
            }
        }
    };
}

bits! {
    /// What may be done with a descriptor, or with descriptors opened below it.
    Rights(u64) {
        FD_DATASYNC = 1 << 0,
        FD_READ = 1 << 1,
        FD_SEEK = 1 << 2,
        FD_FDSTAT_SET_FLAGS = 1 << 3,
        FD_SYNC = 1 << 4,
        FD_TELL = 1 << 5,
        FD_WRITE = 1 << 6,
        FD_ADVISE = 1 << 7,
        FD_ALLOCATE = 1 << 8,
        PATH_CREATE_DIRECTORY = 1 << 9,
        PATH_CREATE_FILE = 1 << 10,
        PATH_LINK_SOURCE = 1 << 11,
        PATH_LINK_TARGET = 1 << 12,
        PATH_OPEN = 1 << 13,
        FD_READDIR = 1 << 14,
        PATH_READLINK = 1 << 15,
        PATH_RENAME_SOURCE = 1 << 16,
        PATH_RENAME_TARGET = 1 << 17,
        PATH_FILESTAT_GET = 1 << 18,
        PATH_FILESTAT_SET_SIZE = 1 << 19,
        PATH_FILESTAT_SET_TIMES = 1 << 20,
        FD_FILESTAT_GET = 1 << 21,
        FD_FILESTAT_SET_SIZE = 1 << 22,
        FD_FILESTAT_SET_TIMES = 1 << 23,
        PATH_SYMLINK = 1 << 24,
        PATH_REMOVE_DIRECTORY = 1 << 25,
        PATH_UNLINK_FILE = 1 << 26,
        POLL_FD_READWRITE = 1 << 27,
        SOCK_SHUTDOWN = 1 << 28,
        SOCK_ACCEPT = 1 << 29,
    }
}

impl Rights {
    /// What applies to anything that is read or written.
    const STREAM: Self = Self(
        Self::FD_READ.0
            | Self::FD_WRITE.0
            | Self::FD_FDSTAT_SET_FLAGS.0
            | Self::FD_FILESTAT_GET.0
            | Self::POLL_FD_READWRITE.0,
    );

    /// What applies to an open file.
    pub const FILE: Self = Self(
        Self::STREAM.0
            | Self::FD_DATASYNC.0
            | Self::FD_SEEK.0
            | Self::FD_SYNC.0
            | Self::FD_TELL.0
            | Self::FD_ADVISE.0
            | Self::FD_ALLOCATE.0
            | Self::FD_FILESTAT_SET_SIZE.0
            | Self::FD_FILESTAT_SET_TIMES.0,
    );

    /// What applies to an open directory itself; never seeking nor setting a size.
    pub const DIRECTORY: Self = Self(
        Self::FD_DATASYNC.0
            | Self::FD_FDSTAT_SET_FLAGS.0
            | Self::FD_SYNC.0
            | Self::PATH_CREATE_DIRECTORY.0
            | Self::PATH_CREATE_FILE.0
            | Self::PATH_LINK_SOURCE.0
            | Self::PATH_LINK_TARGET.0
            | Self::PATH_OPEN.0
            | Self::FD_READDIR.0
            | Self::PATH_READLINK.0
            | Self::PATH_RENAME_SOURCE.0
            | Self::PATH_RENAME_TARGET.0
            | Self::PATH_FILESTAT_GET.0
            | Self::PATH_FILESTAT_SET_SIZE.0
            | Self::PATH_FILESTAT_SET_TIMES.0
            | Self::FD_FILESTAT_GET.0
            | Self::FD_FILESTAT_SET_TIMES.0
            | Self::PATH_SYMLINK.0
            | Self::PATH_REMOVE_DIRECTORY.0
            | Self::PATH_UNLINK_FILE.0
            | Self::POLL_FD_READWRITE.0,
    );

    /// What applies to a standard input; a terminal is told by the missing `FD_SEEK` and `FD_TELL`.
    pub const STDIN: Self = Self((Self::STREAM.0 & !Self::FD_WRITE.0) | Self::FD_ADVISE.0);

    /// What applies to a standard output.
    pub const STDOUT: Self =
        Self((Self::STREAM.0 & !Self::FD_READ.0) | Self::FD_DATASYNC.0 | Self::FD_SYNC.0);

    /// What applies to a connected socket.
    pub const SOCKET: Self = Self(Self::STREAM.0 | Self::SOCK_SHUTDOWN.0);

    /// What applies to a listening socket.
    pub const LISTENER: Self = Self(
        Self::FD_FDSTAT_SET_FLAGS.0
            | Self::FD_FILESTAT_GET.0
            | Self::POLL_FD_READWRITE.0
            | Self::SOCK_ACCEPT.0,
    );
}

bits! {
    /// Flags of an open descriptor.
    FdFlags(u16) {
        APPEND = 1,
        DSYNC = 2,
        NONBLOCK = 4,
        RSYNC = 8,
        SYNC = 16,
    }
}

bits! {
    /// How `path_open` opens.
    OFlags(u16) {
        CREAT = 1,
        DIRECTORY = 2,
        EXCL = 4,
        TRUNC = 8,
    }
}

bits! {
    /// Which timestamps to set, and from where.
    FstFlags(u16) {
        ATIM = 1,
        ATIM_NOW = 2,
        MTIM = 4,
        MTIM_NOW = 8,
    }
}

/// Takes the raw flags of a call, refusing bits the interface does not define.
macro_rules! strict_flags {
    ($type:ident, $raw:expr) => {{
        let raw: u32 = $raw;
        match u16::try_from(raw) {
            Ok(bits) if $type::from_raw(bits).raw() == bits => Ok($type::from_raw(bits)),
            _ => Err(Errno::INVAL),
        }
    }};
}
pub(crate) use strict_flags;

/// The kind of thing behind a descriptor or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileType {
    /// Not known, or none of the others; pipes are this.
    Unknown = 0,
    /// A block device.
    BlockDevice = 1,
    /// A character device; a terminal is one.
    CharacterDevice = 2,
    /// A directory.
    Directory = 3,
    /// A regular file.
    RegularFile = 4,
    /// A datagram socket.
    SocketDgram = 5,
    /// A byte-stream socket.
    SocketStream = 6,
    /// A symbolic link.
    SymbolicLink = 7,
}

/// `prestat`: what a preopened descriptor is; the only kind is a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prestat {
    pub(crate) name_len: u32,
}

impl Layout for Prestat {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;
}

impl Store for Prestat {
    fn store(&self, to: &mut [u8]) {
        to[0..4].copy_from_slice(&0u32.to_le_bytes());
        to[4..8].copy_from_slice(&self.name_len.to_le_bytes());
    }
}

/// `fdstat`: type, flags and rights of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fdstat {
    pub(crate) filetype: FileType,
    pub(crate) flags: FdFlags,
    pub(crate) base: Rights,
    pub(crate) inheriting: Rights,
}

impl Layout for Fdstat {
    const SIZE: u32 = 24;
    const ALIGN: u32 = 8;
}

impl Store for Fdstat {
    fn store(&self, to: &mut [u8]) {
        to.fill(0);
        to[0] = self.filetype as u8;
        to[2..4].copy_from_slice(&self.flags.raw().to_le_bytes());
        to[8..16].copy_from_slice(&self.base.raw().to_le_bytes());
        to[16..24].copy_from_slice(&self.inheriting.raw().to_le_bytes());
    }
}

/// `filestat`: attributes of a file; the only type whose stored form depends on the [`Abi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filestat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) filetype: FileType,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    pub(crate) atim: u64,
    pub(crate) mtim: u64,
    pub(crate) ctim: u64,
}

impl Filestat {
    /// Attributes of something that has none but its type.
    pub(crate) const fn bare(filetype: FileType) -> Self {
        Self {
            dev: 0,
            ino: 0,
            filetype,
            nlink: 0,
            size: 0,
            atim: 0,
            mtim: 0,
            ctim: 0,
        }
    }

    /// Writes the attributes to `to`, which is `abi.filestat_size()` checked bytes.
    pub(crate) fn store(&self, abi: Abi, memory: &mut GuestMemory<'_>, to: Range<usize>) {
        let mut bytes = [0; FILESTAT_MAX];
        self.lay(abi, &mut bytes);
        memory.copy_in(to.start, &bytes[..to.len()]);
    }

    /// Lays the attributes out in zeroes.
    fn lay(&self, abi: Abi, to: &mut [u8; FILESTAT_MAX]) {
        to[0..8].copy_from_slice(&self.dev.to_le_bytes());
        to[8..16].copy_from_slice(&self.ino.to_le_bytes());
        to[16] = self.filetype as u8;
        let after_links = match abi {
            Abi::Preview1 => {
                to[24..32].copy_from_slice(&self.nlink.to_le_bytes());
                32
            }
            Abi::Unstable => {
                let nlink = u32::try_from(self.nlink).unwrap_or(u32::MAX);
                to[20..24].copy_from_slice(&nlink.to_le_bytes());
                24
            }
        };
        for (index, value) in [self.size, self.atim, self.mtim, self.ctim]
            .into_iter()
            .enumerate()
        {
            let at = after_links + 8 * index;
            to[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// `dirent`: the fixed part of a directory entry; the name follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirent {
    pub(crate) next: u64,
    pub(crate) ino: u64,
    pub(crate) name_len: u32,
    pub(crate) filetype: FileType,
}

impl Dirent {
    pub(crate) const SIZE: usize = 24;

    /// The fixed part as bytes.
    pub(crate) fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..8].copy_from_slice(&self.next.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.ino.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.name_len.to_le_bytes());
        bytes[20] = self.filetype as u8;
        bytes
    }
}

/// `event`: what happened to one subscription of `poll_oneoff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) userdata: u64,
    pub(crate) error: Errno,
    pub(crate) kind: u8,
    pub(crate) nbytes: u64,
    pub(crate) hangup: bool,
}

impl Layout for Event {
    const SIZE: u32 = 32;
    const ALIGN: u32 = 8;
}

impl Store for Event {
    fn store(&self, to: &mut [u8]) {
        to.fill(0);
        to[0..8].copy_from_slice(&self.userdata.to_le_bytes());
        to[8..10].copy_from_slice(&self.error.raw().to_le_bytes());
        to[10] = self.kind;
        to[16..24].copy_from_slice(&self.nbytes.to_le_bytes());
        to[24..26].copy_from_slice(&u16::from(self.hangup).to_le_bytes());
    }
}

/// `subscription`: what `poll_oneoff` is to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) userdata: u64,
    pub(crate) kind: SubscriptionKind,
}

/// The variants of a [`Subscription`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionKind {
    Clock { id: u32, timeout: u64, flags: u16 },
    FdRead(u32),
    FdWrite(u32),
    Invalid(u8),
}

impl Subscription {
    /// Reads a subscription from `abi.subscription_size()` bytes.
    pub(crate) fn load(abi: Abi, from: &[u8]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([from[at], from[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        // Preview 0 has a further 64-bit identifier in front of the clock's own.
        let clock = match abi {
            Abi::Preview1 => 16,
            Abi::Unstable => 24,
        };
        let kind = match from[8] {
            0 => SubscriptionKind::Clock {
                id: u32_at(clock),
                timeout: u64_at(clock + 8),
                flags: u16_at(clock + 24),
            },
            1 => SubscriptionKind::FdRead(u32_at(16)),
            2 => SubscriptionKind::FdWrite(u32_at(16)),
            other => SubscriptionKind::Invalid(other),
        };
        Self {
            userdata: u64_at(0),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_names_and_numbers_agree_with_the_interface() {
        assert_eq!(Errno::NOTCAPABLE.raw(), 76);
        assert_eq!(Errno::NOTCAPABLE.name(), "NOTCAPABLE");
        assert_eq!(
            Errno::NOENT.to_string(),
            "no such file or directory (NOENT 44)"
        );
        assert_eq!(format!("{:?}", Errno::INTR), "INTR(27)");
    }

    #[test]
    fn whence_differs_between_the_two_interfaces() {
        assert_eq!(Abi::Preview1.whence(0), Some(Whence::Set));
        assert_eq!(Abi::Unstable.whence(0), Some(Whence::Current));
        assert_eq!(Abi::Unstable.whence(2), Some(Whence::Set));
        assert_eq!(Abi::Preview1.whence(3), None);
    }

    #[test]
    fn filestat_layouts() {
        let stat = Filestat {
            dev: 1,
            ino: 2,
            filetype: FileType::RegularFile,
            nlink: 1 << 40,
            size: 5,
            atim: 6,
            mtim: 7,
            ctim: 8,
        };
        let stored = |abi: Abi, len: usize| {
            let mut bytes = vec![0xff; 80];
            stat.store(abi, &mut GuestMemory::new(&mut bytes), 8..8 + len);
            assert_eq!((bytes[7], bytes[8 + len]), (0xff, 0xff));
            bytes[8..8 + len].to_vec()
        };
        let new = stored(Abi::Preview1, 64);
        assert_eq!((new[0], new[8], new[16], new[17]), (1, 2, 4, 0));
        assert_eq!(
            (new[29], new[32], new[40], new[48], new[56]),
            (1, 5, 6, 7, 8)
        );
        let old = stored(Abi::Unstable, 56);
        assert_eq!(old[20..24], [0xff; 4]);
        assert_eq!((old[24], old[32], old[40], old[48]), (5, 6, 7, 8));
    }

    #[test]
    fn subscription_layouts() {
        let mut new = [0u8; 48];
        (new[0], new[16], new[24], new[40]) = (9, 1, 77, 1);
        let expected = Subscription {
            userdata: 9,
            kind: SubscriptionKind::Clock {
                id: 1,
                timeout: 77,
                flags: 1,
            },
        };
        assert_eq!(Subscription::load(Abi::Preview1, &new), expected);
        let mut old = [0u8; 56];
        (old[0], old[16], old[24], old[32], old[48]) = (9, 0xee, 1, 77, 1);
        assert_eq!(Subscription::load(Abi::Unstable, &old), expected);
    }

    #[test]
    fn strict_flags_refuse_unknown_bits() {
        assert_eq!(strict_flags!(FdFlags, 1), Ok(FdFlags::APPEND));
        assert_eq!(strict_flags!(FdFlags, 32), Err(Errno::INVAL));
        assert_eq!(strict_flags!(OFlags, 0x1_0001), Err(Errno::INVAL));
    }
}
