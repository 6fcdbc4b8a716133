//! A signal of the process that is handled here first, and by its earlier handler if it is not meant for us.
//!
//! An embedder may have a handler of its own: for crashes, for a profiler's timer. Ours is installed in front of it and
//! hands on whatever it does not know.
//!
//! * *Invariant:* the earlier action is known before our handler can run, and never changes after that: reading it in a
//!   handler is a load. [`SignalChain::forward`] allocates nothing and takes no lock, so it may be called in a handler.
//! * *Invariant:* no chain is a ring. The earlier action is the one from before our first installation; a handler that was
//!   installed in front of ours later, and may hand on to ours, never becomes the earlier one.
//! * *Invariant:* an earlier handler runs with the signals blocked that it asked for: our installation asks for the same.
//!
//! What was installed in front of ours later and does not hand on is beyond this file: then our signals are lost to it.

use std::io;
use std::sync::OnceLock;

use libc::{SA_SIGINFO, c_int, c_void, siginfo_t};
use parking_lot::Mutex;

/// A handler that is installed with `SA_SIGINFO`.
pub type SignalHandler = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// See the file. One for each signal, in a static.
#[derive(Debug)]
pub struct SignalChain {
    signal: c_int,
    earlier: OnceLock<libc::sigaction>,
    installing: Mutex<()>,
}

/// What there was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// A handler, which has now run.
    Handler,
    /// The signal was to be ignored.
    Ignore,
    /// What the system does by default.
    Default,
}

impl SignalChain {
    /// The chain of `signal`, in which we are not yet.
    #[must_use]
    pub const fn new(signal: c_int) -> SignalChain {
        SignalChain {
            signal,
            earlier: OnceLock::new(),
            installing: Mutex::new(()),
        }
    }

    /// Installs `handler` with `flags`, of which those in `as_earlier` are taken from the earlier handler if there is one.
    /// Installs it again if the signal's action has been reset since, as some do who are done with it.
    ///
    /// # Errors
    /// The system refuses.
    ///
    /// # Safety
    /// `handler` keeps to what handlers may do, and is the same each time. Flags are those of `sigaction`.
    pub unsafe fn install(
        &self,
        handler: SignalHandler,
        flags: c_int,
        as_earlier: c_int,
    ) -> io::Result<()> {
        let _installing = self.installing.lock();
        // SAFETY: all bits zero are a valid action; the handler is sound by the caller's promise.
        unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            checked(libc::sigaction(self.signal, std::ptr::null(), &raw mut now))?;
            let first_time = self.earlier.get().is_none();
            let earlier = self.earlier.get_or_init(|| now);
            // Ours, or one that was put in front of ours.
            if !first_time && has_handler(&now) {
                return Ok(());
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = flags | SA_SIGINFO;
            libc::sigemptyset(&raw mut action.sa_mask);
            if has_handler(earlier) {
                action.sa_flags = (action.sa_flags & !as_earlier) | (earlier.sa_flags & as_earlier);
                action.sa_mask = earlier.sa_mask;
            }
            let done = libc::sigaction(self.signal, &raw const action, std::ptr::null_mut());
            checked(done)
        }
    }

    /// Hands a signal to the earlier handler, if there is one. Otherwise it is the caller's to do what there was before.
    ///
    /// # Safety
    /// Called by the handler, with its arguments.
    pub unsafe fn forward(&self, info: *mut siginfo_t, context: *mut c_void) -> Earlier {
        let Some(earlier) = self.earlier.get() else {
            return Earlier::Default;
        };
        match earlier.sa_sigaction {
            libc::SIG_DFL => return Earlier::Default,
            libc::SIG_IGN => return Earlier::Ignore,
            handler if earlier.sa_flags & SA_SIGINFO != 0 => {
                // SAFETY: the flag says that the handler is of this type.
                unsafe {
                    let handler = std::mem::transmute::<usize, SignalHandler>(handler);
                    handler(self.signal, info, context);
                }
            }
            handler => {
                // SAFETY: without the flag, it is of this type.
                unsafe {
                    let handler: unsafe extern "C" fn(c_int) = std::mem::transmute(handler);
                    handler(self.signal);
                }
            }
        }
        Earlier::Handler
    }

    /// Puts back what there was before. May be called in a handler.
    pub fn restore(&self) {
        if let Some(earlier) = self.earlier.get() {
            // SAFETY: it was the signal's action.
            unsafe { libc::sigaction(self.signal, earlier, std::ptr::null_mut()) };
        }
    }
}

/// Whether an action runs code of the process.
fn has_handler(action: &libc::sigaction) -> bool {
    !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
}

fn checked(status: c_int) -> io::Result<()> {
    match status {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicUsize, Ordering};

    // Each test has a signal of its own, which nothing else in the process uses.

    static OURS: AtomicUsize = AtomicUsize::new(0);
    static THEIRS: AtomicUsize = AtomicUsize::new(0);
    static URGENT: SignalChain = SignalChain::new(libc::SIGURG);
    static WINDOW: SignalChain = SignalChain::new(libc::SIGWINCH);

    unsafe extern "C" fn urgent(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
        OURS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the handler's own arguments.
        let earlier = unsafe { URGENT.forward(info, context) };
        assert_eq!(earlier, Earlier::Handler);
    }

    unsafe extern "C" fn window(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the handler's own arguments.
        let earlier = unsafe { WINDOW.forward(info, context) };
        OURS.fetch_add(
            1000 * (1 + usize::from(earlier == Earlier::Ignore)),
            Ordering::Relaxed,
        );
    }

    /// The earlier handler, which has one argument.
    extern "C" fn theirs(signal: c_int) {
        // The signals it asked to have blocked are.
        // SAFETY: the mask is written to a value of this function.
        let blocked = unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
            libc::sigismember(&raw const mask, libc::SIGCONT)
        };
        THEIRS.fetch_add(
            usize::from(signal == libc::SIGURG && blocked == 1),
            Ordering::Relaxed,
        );
    }

    /// Makes this the signal's action, with `SIGCONT` blocked.
    fn set(signal: c_int, handler: usize) {
        // SAFETY: the handlers of these tests count and do no more.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            libc::sigaddset(&raw mut action.sa_mask, libc::SIGCONT);
            assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
        }
    }

    fn action(signal: c_int) -> libc::sigaction {
        // SAFETY: the action is written to a value of this function.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action);
            action
        }
    }

    #[test]
    fn signals_go_on_to_the_earlier_handler_once() {
        set(libc::SIGURG, theirs as *const () as usize);
        let as_earlier = libc::SA_ONSTACK | libc::SA_RESTART;
        for turn in 1..4 {
            // SAFETY: the handler counts.
            unsafe { URGENT.install(urgent, as_earlier, as_earlier) }.expect("it can be installed");
            // SAFETY: the signal is handled.
            unsafe { libc::raise(libc::SIGURG) };
            let seen = (
                OURS.load(Ordering::Relaxed) % 1000,
                THEIRS.load(Ordering::Relaxed),
            );
            assert_eq!(seen, (turn, turn));
        }
        // It had none of these flags.
        assert_eq!(action(libc::SIGURG).sa_flags & as_earlier, 0);
        // One that is put in front of ours stays there.
        set(libc::SIGURG, theirs as *const () as usize);
        // SAFETY: as above.
        unsafe { URGENT.install(urgent, 0, 0) }.expect("it can be left");
        // SAFETY: the signal is handled.
        unsafe { libc::raise(libc::SIGURG) };
        assert_eq!(OURS.load(Ordering::Relaxed) % 1000, 3);
    }

    #[test]
    fn what_was_reset_is_installed_again() {
        set(libc::SIGWINCH, libc::SIG_IGN);
        for turn in 1..4 {
            // SAFETY: the handler counts.
            unsafe { WINDOW.install(window, 0, 0) }.expect("it can be installed");
            // SAFETY: the signal is handled.
            unsafe { libc::raise(libc::SIGWINCH) };
            assert_eq!(OURS.load(Ordering::Relaxed) / 1000, 2 * turn);
            set(libc::SIGWINCH, libc::SIG_DFL);
        }
        WINDOW.restore();
        assert_eq!(action(libc::SIGWINCH).sa_sigaction, libc::SIG_IGN);
    }
}
