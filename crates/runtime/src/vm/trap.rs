//! Why a computation ended before its result: traps of the spec, a program's own exit, errors of host functions.
//!
//! A [`Trap`] carries the WebAssembly back trace of the place where it happened. Every tier and every host function
//! reports through this one type.
//!
//! * *Invariant:* a trap takes little memory, whatever the guest is called and however deep it was: a back trace keeps
//!   [`MAX_FRAMES`](crate::vm::backtrace::MAX_FRAMES) frames, and a frame is indices. Names are looked up when they are asked for.
//! * *Invariant:* names are shown escaped and bounded ([`tiered_decode::printable`]). What a host function says of its
//!   failure is the host's own text and shown as it is.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::numeric::NumericTrap;
use tiered_decode::printable::{Grouped, Name};

use crate::vm::backtrace::{Frames, INNERMOST_FRAMES};

macro_rules! trap_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// A trap of the spec (section 4, "Runtime Structure"), or the end that a limit put to a program.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum TrapCode {
            $($(#[$doc])* $name,)*
        }

        impl TrapCode {
            /// All of them, each at the place that is its number.
            pub const ALL: &[TrapCode] = &[$(TrapCode::$name),*];

            /// The message as the spec's test scripts have it.
            #[must_use]
            pub fn spec_text(self) -> &'static str {
                match self {
                    $(TrapCode::$name => $text,)*
                }
            }
        }
    };
}

// One row a trap: its name, and its message in the spec's test scripts.
trap_codes! {
    /// The `unreachable` instruction.
    Unreachable = "unreachable";
    /// A memory access outside the memory.
    MemoryOutOfBounds = "out of bounds memory access";
    /// A table access outside the table.
    TableOutOfBounds = "out of bounds table access";
    /// An indirect call through an index outside the table.
    UndefinedElement = "undefined element";
    /// An indirect call through a null element.
    UninitializedElement = "uninitialized element";
    /// An indirect call to a function of another type.
    IndirectCallTypeMismatch = "indirect call type mismatch";
    /// A call of the null reference to a function.
    NullFunctionReference = "null function reference";
    /// A null reference where there must be none.
    NullReference = "null reference";
    /// Division or remainder by zero.
    IntegerDivideByZero = "integer divide by zero";
    /// A result that its integer type can't hold.
    IntegerOverflow = "integer overflow";
    /// A conversion of NaN to an integer.
    InvalidConversionToInteger = "invalid conversion to integer";
    /// More nested calls than the stack has room for.
    StackOverflow = "call stack exhausted";
    /// The fuel given to the store is used up.
    OutOfFuel = "all fuel consumed";
    /// The embedder asked the program to stop.
    Interrupted = "interrupted";
    /// An atomic access at an address that is no multiple of its size.
    UnalignedAtomic = "unaligned atomic";
    /// A wait in a memory that no other thread can have.
    ExpectedSharedMemory = "expected shared memory";
    /// A function whose frame or code is larger than this implementation supports.
    FunctionTooLarge = "function too large";
    /// A null reference was thrown.
    NullException = "null exception reference";
    /// An access to a field of the null reference.
    NullStructReference = "null structure reference";
    /// An access to an element, or to the length, of the null reference.
    NullArrayReference = "null array reference";
    /// The number in the null reference.
    NullI31Reference = "null i31 reference";
    /// A reference is not of the type that it was cast to.
    CastFailure = "cast failure";
    /// An access outside an array.
    ArrayOutOfBounds = "out of bounds array access";
    /// The objects that live leave no room for another on the garbage-collected heap.
    HeapExhausted = "garbage-collected heap exhausted";
    /// An object that is larger than the garbage-collected heap may ever be.
    ObjectTooLarge = "allocation size too large";
}

impl TrapCode {
    /// The number, by which tiers pass a trap on.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// The trap with this [number](TrapCode::number), if there is one.
    #[must_use]
    pub fn from_number(number: u64) -> Option<TrapCode> {
        TrapCode::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl Error for TrapCode {}

impl fmt::Display for TrapCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrapCode::StackOverflow => f.write_str("stack overflow"),
            other => f.write_str(other.spec_text()),
        }
    }
}

impl From<NumericTrap> for TrapCode {
    #[inline]
    fn from(trap: NumericTrap) -> TrapCode {
        match trap {
            NumericTrap::IntegerDivideByZero => TrapCode::IntegerDivideByZero,
            NumericTrap::IntegerOverflow => TrapCode::IntegerOverflow,
            NumericTrap::InvalidConversionToInteger => TrapCode::InvalidConversionToInteger,
        }
    }
}

/// One activation of a back trace. It keeps its module.
#[derive(Clone)]
#[non_exhaustive]
pub struct Frame {
    /// The function's index in its module.
    pub func_index: u32,
    /// The byte of the module at which the frame stands.
    pub module_offset: Option<u32>,
    /// The module.
    pub module: Arc<Module>,
}

impl Frame {
    /// The function's name from the name section, or else the name that it is exported under. It may hold anything:
    /// the frame's `Display` shows it escaped and bounded.
    #[must_use]
    pub fn func_name(&self) -> Option<&str> {
        self.module.func_name(FuncIdx(self.func_index))
    }

    /// The module's own name from its name section, as for [`Frame::func_name`].
    #[must_use]
    pub fn module_name(&self) -> Option<&str> {
        self.module.names().module()
    }
}

/// Frames are equal if they stand at the same place of the very same module.
impl PartialEq for Frame {
    fn eq(&self, other: &Frame) -> bool {
        Arc::ptr_eq(&self.module, &other.module)
            && (self.func_index, self.module_offset) == (other.func_index, other.module_offset)
    }
}

impl Eq for Frame {}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("func_index", &self.func_index)
            .field("func_name", &self.func_name().map(Name))
            .field("module_offset", &self.module_offset)
            .field("module_name", &self.module_name().map(Name))
            .finish_non_exhaustive()
    }
}

enum Reason {
    Code(TrapCode),
    Exit(i32),
    Message(String),
    /// An uncaught exception.
    Thrown(Box<dyn Error + Send + Sync>),
    Host(Box<dyn Error + Send + Sync>),
    /// Not made a box, in which what it was made of could not be found again.
    #[cfg(feature = "anyhow")]
    Anyhow(anyhow::Error),
    Panic(std::sync::Mutex<Option<Box<dyn Any + Send>>>),
}

struct Inner {
    reason: Reason,
    frames: Frames,
}

/// The end of a computation without a result: a trap, an exit, or a host function's error.
pub struct Trap(Box<Inner>);

impl Trap {
    fn from_reason(reason: Reason) -> Trap {
        Trap(Box::new(Inner {
            reason,
            frames: Frames::default(),
        }))
    }

    /// A trap of the spec.
    #[must_use]
    #[cold]
    pub fn new(code: TrapCode) -> Trap {
        Trap::from_reason(Reason::Code(code))
    }

    /// The program ends itself with `code`; nothing went wrong.
    #[must_use]
    pub fn exit(code: i32) -> Trap {
        Trap::from_reason(Reason::Exit(code))
    }

    /// A host function failed with `error`, which is not itself a trap.
    pub(crate) fn of_error(error: Box<dyn Error + Send + Sync>) -> Trap {
        Trap::from_reason(Reason::Host(error))
    }

    /// As [`Trap::of_error`].
    #[cfg(feature = "anyhow")]
    pub(crate) fn of_anyhow(error: anyhow::Error) -> Trap {
        Trap::from_reason(Reason::Anyhow(error))
    }

    /// An uncaught exception, and how it came here.
    pub(crate) fn of_exception(exception: Box<dyn Error + Send + Sync>, frames: Frames) -> Trap {
        let reason = Reason::Thrown(exception);
        Trap(Box::new(Inner { reason, frames }))
    }

    /// The exception, if it was an uncaught one.
    pub(crate) fn thrown(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match &self.0.reason {
            Reason::Thrown(exception) => Some(&**exception),
            _ => None,
        }
    }

    /// The same, but that no guest can catch it, if it is an uncaught exception: exceptions do not cross the border of a
    /// component.
    #[must_use]
    pub fn uncatchable(mut self) -> Trap {
        if matches!(self.0.reason, Reason::Thrown(_)) {
            self.0.reason = Reason::Message(self.to_string());
        }
        self
    }

    /// The frames, which this is without then.
    pub(crate) fn take_frames(&mut self) -> Frames {
        std::mem::take(&mut self.0.frames)
    }

    /// A host function failed for the reason that `message` tells.
    #[must_use]
    pub fn message(message: impl Into<String>) -> Trap {
        Trap::from_reason(Reason::Message(message.into()))
    }

    /// A host function panicked; the payload travels to the host that made the outermost call.
    pub(crate) fn panic(payload: Box<dyn Any + Send>) -> Trap {
        Trap::from_reason(Reason::Panic(std::sync::Mutex::new(Some(payload))))
    }

    /// The panic that this trap carries, if it does: the caller resumes it.
    pub(crate) fn take_panic(&mut self) -> Option<Box<dyn Any + Send>> {
        match &mut self.0.reason {
            Reason::Panic(payload) => payload.get_mut().ok().and_then(Option::take),
            _ => None,
        }
    }

    /// The spec's trap, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<TrapCode> {
        match self.0.reason {
            Reason::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The exit code, if the program ended itself.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.0.reason {
            Reason::Exit(code) => Some(code),
            _ => None,
        }
    }

    /// The error of the host function, if one failed with it.
    #[must_use]
    pub fn host_error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match &self.0.reason {
            Reason::Host(error) => Some(&**error),
            #[cfg(feature = "anyhow")]
            Reason::Anyhow(error) => Some(&**error),
            _ => None,
        }
    }

    /// The host function's error, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + Send + Sync + 'static>(&self) -> Option<&E> {
        match &self.0.reason {
            Reason::Host(error) => error.downcast_ref(),
            #[cfg(feature = "anyhow")]
            Reason::Anyhow(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// The host function's error by value; the back trace goes.
    ///
    /// ```
    /// # use tiered_runtime::Trap;
    /// use std::io;
    /// let trap = Trap::host(io::Error::from(io::ErrorKind::NotFound));
    /// match trap.downcast::<io::Error>() {
    ///     Ok(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
    ///     Err(trap) => panic!("another reason: {trap}"),
    /// }
    /// ```
    ///
    /// An `anyhow::Error` keeps its message and sources; what it was made of is found only with this crate's feature
    /// `anyhow`.
    ///
    /// # Errors
    /// The trap as it is, if it is not the error of a host function, or not an `E`.
    pub fn downcast<E: Error + Send + Sync + 'static>(self) -> Result<E, Trap> {
        let Inner { reason, frames } = *self.0;
        let reason = match reason {
            Reason::Host(error) => match error.downcast::<E>() {
                Ok(error) => return Ok(*error),
                Err(error) => Reason::Host(error),
            },
            #[cfg(feature = "anyhow")]
            Reason::Anyhow(error) => match error.downcast::<E>() {
                Ok(error) => return Ok(error),
                Err(error) => Reason::Anyhow(error),
            },
            other => other,
        };
        Err(Trap(Box::new(Inner { reason, frames })))
    }

    /// The activations at the place of the trap, innermost first: all, or of very many the innermost 48 and the outermost
    /// 16.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.0.frames.kept
    }

    /// The activations between the innermost and the outermost ones of [`Trap::frames`] that are left out there, if any
    /// are. Where the walk ended early because there are hundreds of thousands, it is a part of them, and the outermost
    /// ones are left out as well.
    #[must_use]
    pub fn frames_left_out(&self) -> u64 {
        self.0.frames.left_out
    }

    /// Adds where it happened, unless that is known already (a trap that passed through a host function).
    pub(crate) fn set_frames(&mut self, frames: impl FnOnce() -> Frames) {
        if self.0.frames.kept.is_empty() && self.exit_code().is_none() {
            self.0.frames = frames();
        }
    }

    /// The frames for people, one a line; empty if there are none.
    #[must_use]
    pub fn backtrace(&self) -> Backtrace<'_> {
        Backtrace(&self.0.frames)
    }
}

impl From<TrapCode> for Trap {
    #[cold]
    fn from(code: TrapCode) -> Trap {
        Trap::new(code)
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.reason {
            Reason::Code(code) => code.fmt(f),
            Reason::Exit(code) => write!(f, "exit with code {code}"),
            Reason::Message(message) => f.write_str(message),
            Reason::Thrown(exception) => write!(f, "uncaught {exception}"),
            Reason::Host(error) => error.fmt(f),
            #[cfg(feature = "anyhow")]
            Reason::Anyhow(error) => error.fmt(f),
            Reason::Panic(_) => f.write_str("a host function panicked"),
        }
    }
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trap({self})")?;
        if !self.frames().is_empty() {
            write!(f, "\n{}", self.backtrace())?;
        }
        Ok(())
    }
}

impl Error for Trap {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.reason {
            Reason::Host(error) => error.source(),
            #[cfg(feature = "anyhow")]
            Reason::Anyhow(error) => error.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.module_offset {
            Some(offset) => write!(f, "{offset:#8x} - ")?,
            None => f.write_str("       ? - ")?,
        }
        if let Some(module) = self.module_name() {
            write!(f, "{}!", Name(module))?;
        }
        match self.func_name() {
            Some(name) => Name(name).fmt(f),
            None => write!(f, "<function {}>", self.func_index),
        }
    }
}

/// Shows the frames of a [`Trap`], one a line, and how many are left out.
#[derive(Debug)]
pub struct Backtrace<'a>(&'a Frames);

impl fmt::Display for Backtrace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frames {
            kept,
            left_out,
            ends_early,
        } = self.0;
        let gap = |f: &mut fmt::Formatter<'_>| match (*left_out, ends_early) {
            (0, _) => Ok(()),
            (1, false) => f.write_str("\n      … 1 frame more"),
            (n, false) => write!(f, "\n      … {} frames more", Grouped(n)),
            (n, true) => write!(f, "\n      … at least {} frames more", Grouped(n)),
        };
        for (index, frame) in kept.iter().enumerate() {
            let mut depth = index as u64;
            if index > 0 {
                if index == INNERMOST_FRAMES {
                    gap(f)?;
                }
                f.write_str("\n")?;
            }
            if index >= INNERMOST_FRAMES {
                depth += left_out;
            }
            write!(f, "{depth:>4}: {frame}")?;
        }
        if kept.len() <= INNERMOST_FRAMES {
            gap(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::TrapCode;

    #[test]
    fn a_trap_is_found_by_its_number() {
        for &code in TrapCode::ALL {
            assert_eq!(TrapCode::from_number(code.number()), Some(code));
        }
        let beyond = TrapCode::ALL.len() as u64;
        for number in [beyond, u64::MAX] {
            assert_eq!(TrapCode::from_number(number), None);
        }
    }

    #[test]
    fn each_trap_has_a_message_of_its_own() {
        let mut texts: Vec<_> = TrapCode::ALL.iter().map(|code| code.spec_text()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), TrapCode::ALL.len());
    }
}
