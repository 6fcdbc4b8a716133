//! Error codes and types that 0.3 can extend: variants whose last case is `other(option<string>)`, and which of their cases
//! stands for what 0.2 has.

use crate::abi::Errno;
use crate::component::call::{Call, Outcome};
use crate::component::filesystem::{self, ErrorCode};
use crate::component::lower::{Lower, enums};
use crate::component::network::NetError;

/// A variant without payloads but for the last case, `other`.
macro_rules! open_enums {
    ($($(#[$meta:meta])* $name:ident { $($case:ident,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($case,)*
            Other(Option<&'static str>),
        }

        impl $name {
            /// All cases.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$case,)* Self::Other(None)];

            /// The number of the case, and the payload of the last.
            fn split(self) -> (u8, Option<&'static str>) {
                #[repr(u8)]
                enum Case { $($case,)* Other }
                match self {
                    $(Self::$case => (Case::$case as u8, None),)*
                    Self::Other(text) => (Case::Other as u8, text),
                }
            }
        }

        impl Lower for $name {
            const SIZE: u32 = <(u8, Option<String>)>::SIZE;
            const ALIGN: u32 = <(u8, Option<String>)>::ALIGN;

            fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
                let (case, text) = self.split();
                (case, text.map(str::to_owned)).store(call, at)
            }
        }
    )*};
}

open_enums! {
    /// `error-code` of the file system.
    FileError {
        Access,
        Already,
        BadDescriptor,
        Busy,
        Deadlock,
        Quota,
        Exist,
        FileTooLarge,
        IllegalByteSequence,
        InProgress,
        Interrupted,
        Invalid,
        Io,
        IsDirectory,
        Loop,
        TooManyLinks,
        MessageSize,
        NameTooLong,
        NoDevice,
        NoEntry,
        NoLock,
        InsufficientMemory,
        InsufficientSpace,
        NotDirectory,
        NotEmpty,
        NotRecoverable,
        Unsupported,
        NoTty,
        NoSuchDevice,
        Overflow,
        NotPermitted,
        Pipe,
        ReadOnly,
        InvalidSeek,
        TextFileBusy,
        CrossDevice,
    }

    /// `descriptor-type`.
    DescriptorType {
        BlockDevice,
        CharacterDevice,
        Directory,
        Fifo,
        SymbolicLink,
        RegularFile,
        Socket,
    }

    /// `error-code` of sockets.
    SocketError {
        AccessDenied,
        NotSupported,
        InvalidArgument,
        OutOfMemory,
        Timeout,
        InvalidState,
        AddressNotBindable,
        AddressInUse,
        RemoteUnreachable,
        ConnectionRefused,
        ConnectionBroken,
        ConnectionReset,
        ConnectionAborted,
        DatagramTooLarge,
    }

    /// `error-code` of looking up names.
    LookupError {
        AccessDenied,
        InvalidArgument,
        NameUnresolvable,
        TemporaryResolverFailure,
        PermanentResolverFailure,
    }
}

#[cfg(feature = "http")]
open_enums! {
    /// `header-error`
    #[allow(dead_code, reason = "what the host never says has its number, too")]
    HeaderError {
        InvalidSyntax,
        Forbidden,
        Immutable,
        SizeExceeded,
    }

    /// `request-options-error`
    #[allow(dead_code, reason = "what the host never says has its number, too")]
    RequestOptionsError {
        NotSupported,
        Immutable,
    }
}

enums! {
    /// `error-code` of the standard streams.
    StreamError { Io, IllegalByteSequence, Pipe, }
}

/// Conversions between enums that have cases of the same names.
macro_rules! same_cases {
    ($from:path => $to:ident { $($case:ident)* } $($other:ident = $text:literal)*) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                use $from as From;
                match value {
                    $(From::$case => Self::$case,)*
                    $(From::$other => Self::Other(Some($text)),)*
                }
            }
        }
    };
}

same_cases! {
    ErrorCode => FileError {
        Access Already BadDescriptor Busy Deadlock Quota Exist FileTooLarge IllegalByteSequence InProgress Interrupted
        Invalid Io IsDirectory Loop TooManyLinks MessageSize NameTooLong NoDevice NoEntry NoLock InsufficientMemory
        InsufficientSpace NotDirectory NotEmpty NotRecoverable Unsupported NoTty NoSuchDevice Overflow NotPermitted Pipe
        ReadOnly InvalidSeek TextFileBusy CrossDevice
    }
    WouldBlock = "the operation would block"
}

impl From<Errno> for FileError {
    fn from(errno: Errno) -> Self {
        ErrorCode::from(errno).into()
    }
}

impl From<filesystem::DescriptorType> for DescriptorType {
    fn from(ty: filesystem::DescriptorType) -> Self {
        use filesystem::DescriptorType as From;
        match ty {
            From::Unknown => Self::Other(None),
            From::BlockDevice => Self::BlockDevice,
            From::CharacterDevice => Self::CharacterDevice,
            From::Directory => Self::Directory,
            From::Fifo => Self::Fifo,
            From::SymbolicLink => Self::SymbolicLink,
            From::RegularFile => Self::RegularFile,
            From::Socket => Self::Socket,
        }
    }
}

impl From<NetError> for SocketError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::AccessDenied => Self::AccessDenied,
            NetError::NotSupported => Self::NotSupported,
            NetError::InvalidArgument => Self::InvalidArgument,
            NetError::OutOfMemory => Self::OutOfMemory,
            NetError::Timeout => Self::Timeout,
            // 0.3 makes no difference between what is not allowed yet and what is not any more.
            NetError::InvalidState | NetError::ConcurrencyConflict | NetError::NotInProgress => {
                Self::InvalidState
            }
            NetError::AddressNotBindable => Self::AddressNotBindable,
            NetError::AddressInUse => Self::AddressInUse,
            NetError::RemoteUnreachable => Self::RemoteUnreachable,
            NetError::ConnectionRefused => Self::ConnectionRefused,
            NetError::ConnectionReset => Self::ConnectionReset,
            NetError::ConnectionAborted => Self::ConnectionAborted,
            NetError::DatagramTooLarge => Self::DatagramTooLarge,
            NetError::NewSocketLimit => Self::Other(Some("too many open sockets")),
            NetError::WouldBlock => Self::Other(Some("the operation would block")),
            NetError::Unknown
            | NetError::NameUnresolvable
            | NetError::TemporaryResolverFailure
            | NetError::PermanentResolverFailure => Self::Other(None),
        }
    }
}

impl From<Errno> for SocketError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE => Self::ConnectionBroken,
            errno => NetError::from(errno).into(),
        }
    }
}

impl From<NetError> for LookupError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::AccessDenied => Self::AccessDenied,
            NetError::InvalidArgument => Self::InvalidArgument,
            NetError::NameUnresolvable => Self::NameUnresolvable,
            NetError::TemporaryResolverFailure => Self::TemporaryResolverFailure,
            NetError::PermanentResolverFailure => Self::PermanentResolverFailure,
            NetError::NewSocketLimit => Self::Other(Some("too many open descriptors")),
            _ => Self::Other(None),
        }
    }
}

impl From<Errno> for StreamError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ILSEQ => Self::IllegalByteSequence,
            Errno::PIPE => Self::Pipe,
            _ => Self::Io,
        }
    }
}

/// Functions that do what those of 0.2 do, and return it in this version's types.
macro_rules! recoded {
    ($($name:ident = $body:path => $ok:ty, $error:ty;)*) => {$(
        pub(crate) fn $name(call: &mut Call<'_>) -> Outcome<Result<$ok, $error>> {
            let done = $body(call)?;
            Ok(done.map(<$ok>::from).map_err(<$error>::from))
        }
    )*};
}
pub(super) use recoded;
