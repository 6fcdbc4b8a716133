//! `error-code` of the file system, and which of its cases stands for each error number.

use crate::abi::Errno;
use crate::component::lower::enums;

macro_rules! codes {
    ($($name:ident = $($errno:ident)*;)*) => {
        enums! {
            /// `error-code`.
            ErrorCode { $($name,)* }
        }

        impl From<Errno> for ErrorCode {
            fn from(errno: Errno) -> Self {
                match errno {
                    $($(Errno::$errno)|* => Self::$name,)*
                    _ => Self::Io,
                }
            }
        }
    };
}

codes! {
    Access = ACCES;
    WouldBlock = AGAIN;
    Already = ALREADY;
    BadDescriptor = BADF;
    Busy = BUSY;
    Deadlock = DEADLK;
    Quota = DQUOT;
    Exist = EXIST;
    FileTooLarge = FBIG;
    IllegalByteSequence = ILSEQ;
    InProgress = INPROGRESS;
    Interrupted = INTR;
    Invalid = INVAL;
    Io = IO;
    IsDirectory = ISDIR;
    Loop = LOOP;
    TooManyLinks = MLINK;
    MessageSize = MSGSIZE;
    NameTooLong = NAMETOOLONG;
    NoDevice = NODEV;
    NoEntry = NOENT;
    NoLock = NOLCK;
    // There is none for too many open files; this says that the guest has all that it may have.
    InsufficientMemory = NOMEM MFILE NFILE NOBUFS;
    InsufficientSpace = NOSPC;
    NotDirectory = NOTDIR;
    NotEmpty = NOTEMPTY;
    NotRecoverable = NOTRECOVERABLE;
    Unsupported = NOTSUP NOSYS;
    NoTty = NOTTY;
    NoSuchDevice = NXIO;
    Overflow = OVERFLOW;
    // What leads out of a grant, too.
    NotPermitted = PERM NOTCAPABLE;
    Pipe = PIPE;
    ReadOnly = ROFS;
    InvalidSeek = SPIPE;
    TextFileBusy = TXTBSY;
    CrossDevice = XDEV;
}
