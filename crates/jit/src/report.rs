//! The end of a process whose compiled code did what no guest can: a report on standard error, and an abort.
//!
//! Whatever happens from here on happens in a process that may have been taken over, so it is little: one text from a
//! buffer that was there before, by `write`, and no handler of anybody's after it.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cause::Cause;
use crate::registry::{CodeInfo, Kind};

/// Bytes of machine code that are shown.
const SHOWN_BYTES: usize = 16;

/// What is known.
pub(crate) struct Escape<'a> {
    pub(crate) signal: c_int,
    pub(crate) cause: Cause,
    pub(crate) pc: usize,
    /// The code at `pc`.
    pub(crate) info: &'a CodeInfo,
}

/// Room for a report. What is too much is left out.
struct Text {
    bytes: UnsafeCell<[u8; 1024]>,
    len: Cell<usize>,
}

/// Not on the stack: a handler's may have room for little more than what the kernel puts there.
static TEXT: Text = Text {
    bytes: UnsafeCell::new([0; 1024]),
    len: Cell::new(0),
};

/// A thread has the text.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

// SAFETY: the first thread to take it is the only one to use it, until the process ends.
unsafe impl Sync for Text {}

impl Write for &Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the text is this thread's own, and borrowed nowhere else.
        let bytes = unsafe { &mut *self.bytes.get() };
        let room = &mut bytes[self.len.get()..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len.set(self.len.get() + len);
        Ok(())
    }
}

impl Text {
    fn print(&self) {
        // SAFETY: as above.
        let bytes = unsafe { &*self.bytes.get() };
        let mut rest = &bytes[..self.len.get()];
        while !rest.is_empty() {
            // SAFETY: the bytes are there. Where they can't be written, they are lost.
            let written = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(count @ 1..) => rest = &rest[count..],
                _ => return,
            }
        }
    }
}

fn signal_name(signal: c_int) -> &'static str {
    match signal {
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        _ => "SIGFPE",
    }
}

impl fmt::Display for Escape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.info.offset(self.pc).unwrap_or(0);
        writeln!(
            f,
            "tiered: compiled code did what its program cannot do. The process ends here, since its memory may be damaged.",
        )?;
        write!(f, "  signal:  {}, ", signal_name(self.signal))?;
        match self.cause {
            Cause::Access(address) => writeln!(f, "address {address:#x}")?,
            _ => writeln!(f, "no address")?,
        }
        write!(f, "  code:    pc {:#x}, byte {offset:#x} of ", self.pc)?;
        match &self.info.facts.kind {
            Kind::Func { func, .. } => {
                write!(f, "function {}", func.0)?;
                let mut result = Ok(());
                self.info.facts.positions.at(offset, *func, |func, byte| {
                    if let (Ok(()), Some(byte)) = (result, byte) {
                        result = write!(f, ", module byte {byte:#x} in function {}", func.0);
                    }
                });
                result?;
            }
            Kind::Entry { .. } => f.write_str("an entry")?,
            Kind::Exit => f.write_str("an exit")?,
        }
        match self.info.trap(self.pc) {
            Some(code) => writeln!(f, ", trap {code}")?,
            None => writeln!(f, ", no trap")?,
        }
        f.write_str("  bytes:  ")?;
        let shown = self.info.end.saturating_sub(self.pc).min(SHOWN_BYTES);
        for at in 0..shown {
            let place: *const u8 = std::ptr::with_exposed_provenance(self.pc + at);
            // SAFETY: the code is there, and stopped at `pc`.
            write!(f, " {:02x}", unsafe { place.read() })?;
        }
        write!(
            f,
            "\nThis is a bug in tiered {}, and it may be exploitable. Please send this report, and the module if you can, to \
             its developers.\n",
            env!("CARGO_PKG_VERSION"),
        )
    }
}

/// Reports `escape` and ends the process. Runs in a signal handler.
pub(crate) fn abort(escape: &Escape<'_>) -> ! {
    while IS_TAKEN.swap(true, Ordering::Relaxed) {
        // Another thread is about to end the process.
        // SAFETY: waits.
        unsafe { libc::pause() };
    }
    // Neither numbers nor texts of this program refuse to be formatted.
    let _ = write!(&TEXT, "{escape}");
    TEXT.print();
    // SAFETY: all bits zero are the default action.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGABRT, &raw const default, std::ptr::null_mut());
        libc::abort()
    }
}
