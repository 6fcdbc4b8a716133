//! How the time of a thread divides between compiled code and everything else.
//!
//! To know it exactly, each change between the tiers would have to read a clock, and there may be one at each call. So
//! the thread is looked at instead, some hundred times in each second of processor time that it uses: a timer sends it a
//! signal, whose handler looks where the thread is. A thread that waits is not disturbed.
//!
//! * *Invariant:* the handler allocates nothing and takes no lock.
//! * *Invariant:* the handler counts in what is in its own list, and nowhere else: other timers may send the same signal,
//!   with values that mean something to somebody else. Those are passed on to the earlier handler
//!   ([`SignalChain`]).
//! * *Invariant:* no timer runs before the signal is handled, by this handler or by one that was put in front of it.
//! * *Invariant:* what the handler counts in is never freed: a signal may still come when its timer is gone. The next
//!   sampler uses it again.
#![expect(
    unsafe_code,
    reason = "a signal handler reads what the kernel gives it"
)]

use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use libc::{SA_ONSTACK, SA_RESTART, c_int, c_void, siginfo_t, ucontext_t};
use tiered_jit::SignalChain;

/// The signal.
const SIGNAL: c_int = libc::SIGPROF;

/// Processor time between two looks; the kernel takes longer if its clock ticks more slowly.
const PERIOD: Duration = Duration::from_millis(1);

/// How often a thread was found where.
#[derive(Debug, Default)]
struct Counts {
    compiled: AtomicU64,
    other: AtomicU64,
    is_used: AtomicBool,
    /// The one that was made before.
    previous: AtomicPtr<Counts>,
}

/// All that were ever made; the last one leads to the others.
static LAST: AtomicPtr<Counts> = AtomicPtr::new(null_mut());

impl Counts {
    /// All, from the last one on.
    fn all() -> impl Iterator<Item = &'static Counts> {
        // SAFETY: what is in the list was leaked.
        let get = |counts: &AtomicPtr<Counts>| unsafe { counts.load(Ordering::Acquire).as_ref() };
        std::iter::successors(get(&LAST), move |counts| get(&counts.previous))
    }

    /// One that nobody uses, at zero.
    fn take() -> &'static Counts {
        let free = |counts: &&Counts| !counts.is_used.swap(true, Ordering::AcqRel);
        if let Some(counts) = Counts::all().find(free) {
            counts.compiled.store(0, Ordering::Relaxed);
            counts.other.store(0, Ordering::Relaxed);
            return counts;
        }
        let counts: &Counts = Box::leak(Box::default());
        counts.is_used.store(true, Ordering::Relaxed);
        let this = std::ptr::from_ref(counts).cast_mut();
        let link = |last| {
            counts.previous.store(last, Ordering::Relaxed);
            Some(this)
        };
        let _ = LAST.fetch_update(Ordering::AcqRel, Ordering::Acquire, link);
        counts
    }

    /// The counts at an address, if there are any.
    fn at(address: *const Counts) -> Option<&'static Counts> {
        Counts::all().find(|&counts| std::ptr::eq(counts, address))
    }
}

/// Looks at the thread that made it, until it is dropped. Handles SIGPROF for the process from the first one on.
#[derive(Debug)]
pub struct Sampler {
    /// Also keeps the sampler on its thread.
    timer: libc::timer_t,
    counts: &'static Counts,
    begin: Duration,
}

/// Processor time of a thread by where it was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierTime {
    /// In compiled code.
    pub compiled: Duration,
    /// In the interpreter, in functions of the host, and everywhere else.
    pub other: Duration,
    /// The looks at the thread that this rests on; without any, all time is `other`.
    pub samples: u64,
}

impl Sampler {
    /// Begins to look at the calling thread.
    ///
    /// # Errors
    /// The system has no timer left.
    pub fn start() -> io::Result<Sampler> {
        install()?;
        let begin = thread_time()?;
        let counts = Counts::take();
        // SAFETY: all bits zero are a valid event; the thread is this one, and the counts stay.
        let timer = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = SIGNAL;
            event.sigev_notify_thread_id = libc::gettid();
            event.sigev_value.sival_ptr = std::ptr::from_ref(counts).cast_mut().cast();
            let mut timer = std::ptr::null_mut();
            let clock = libc::CLOCK_THREAD_CPUTIME_ID;
            let made = checked(libc::timer_create(clock, &raw mut event, &raw mut timer));
            made.inspect_err(|_| counts.is_used.store(false, Ordering::Release))?;
            timer
        };
        let sampler = Sampler {
            timer,
            counts,
            begin,
        };
        let period = libc::timespec {
            tv_sec: 0,
            tv_nsec: PERIOD.as_nanos() as libc::c_long,
        };
        let times = libc::itimerspec {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: the timer was just made, and the times are alive.
        let set = unsafe { libc::timer_settime(timer, 0, &raw const times, std::ptr::null_mut()) };
        checked(set)?;
        Ok(sampler)
    }

    /// The time since the start.
    ///
    /// # Errors
    /// The system does not tell the thread's time.
    pub fn time(&self) -> io::Result<TierTime> {
        let all = thread_time()?.saturating_sub(self.begin);
        let compiled = self.counts.compiled.load(Ordering::Relaxed);
        let samples = compiled + self.counts.other.load(Ordering::Relaxed);
        let share = compiled as f64 / samples.max(1) as f64;
        let compiled = all.mul_f64(share);
        Ok(TierTime {
            compiled,
            other: all.saturating_sub(compiled),
            samples,
        })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // SAFETY: the timer is this sampler's own.
        let deleted = unsafe { libc::timer_delete(self.timer) };
        debug_assert_eq!(deleted, 0, "the timer is there");
        self.counts.is_used.store(false, Ordering::Release);
    }
}

static CHAIN: SignalChain = SignalChain::new(SIGNAL);

/// Installs the handler, where it is not: a timer's signal that is not handled ends the process.
///
/// An earlier handler runs on the stack that it was installed for. One that unwinds a stack, as profilers do, may need more
/// than the alternate one has.
fn install() -> io::Result<()> {
    let flags = SA_RESTART | SA_ONSTACK;
    // SAFETY: the handler keeps to what handlers may do.
    unsafe { CHAIN.install(look, flags, flags) }
}

/// Counts where the thread is.
unsafe extern "C" fn look(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives both; a timer's signal has the value that the timer was made with.
    unsafe {
        let is_timer = (*info).si_code == libc::SI_TIMER;
        let value = is_timer.then(|| (*info).si_value().sival_ptr.cast_const().cast());
        let Some(counts) = value.and_then(Counts::at) else {
            // Where there is no earlier handler it is ignored: no reason to end the process.
            CHAIN.forward(info, context);
            return;
        };
        let place = if tiered_jit::is_compiled_code(pc_of(&*context.cast())) {
            &counts.compiled
        } else {
            &counts.other
        };
        place.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(target_arch = "x86_64")]
fn pc_of(context: &ucontext_t) -> usize {
    context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
}

/// Nowhere: nothing is compiled for this machine.
#[cfg(not(target_arch = "x86_64"))]
fn pc_of(_: &ucontext_t) -> usize {
    0
}

/// The processor time of the calling thread.
fn thread_time() -> io::Result<Duration> {
    // SAFETY: the time is written to a value of this function.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        let clock = libc::CLOCK_THREAD_CPUTIME_ID;
        checked(libc::clock_gettime(clock, &raw mut time))?;
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

fn checked(status: c_int) -> io::Result<()> {
    if status == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outside_of_compiled_code_is_counted_as_such() {
        let sampler = Sampler::start().expect("there is a timer");
        let mut sum = 0u64;
        loop {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
            let time = sampler.time().expect("the thread has a time");
            if time.samples >= 3 {
                assert_eq!(time.compiled, Duration::ZERO);
                assert!(time.other > Duration::ZERO);
                break;
            }
        }
    }

    #[test]
    fn a_signal_of_somebody_else_is_not_counted() {
        let sampler = Sampler::start().expect("there is a timer");
        let before = sampler.time().expect("the thread has a time").samples;
        // SAFETY: the handler is installed.
        unsafe { libc::raise(SIGNAL) };
        let after = sampler.time().expect("the thread has a time").samples;
        // The timer may have come in between.
        assert!(after - before <= 1);
    }

    /// A timer of somebody else sends the same signal, with a value that is no address.
    #[test]
    fn a_timer_of_somebody_else_is_not_counted() {
        let sampler = Sampler::start().expect("there is a timer");
        // SAFETY: all bits zero are a valid event; the timer is this test's own, and its signal is handled.
        unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = SIGNAL;
            event.sigev_notify_thread_id = libc::gettid();
            event.sigev_value.sival_ptr = std::ptr::without_provenance_mut(0x10);
            let mut timer = null_mut();
            let clock = libc::CLOCK_MONOTONIC;
            assert_eq!(libc::timer_create(clock, &raw mut event, &raw mut timer), 0);
            let mut times: libc::itimerspec = std::mem::zeroed();
            times.it_value.tv_nsec = 1;
            assert_eq!(
                libc::timer_settime(timer, 0, &raw const times, null_mut()),
                0
            );
            let begin = std::time::Instant::now();
            while begin.elapsed() < Duration::from_millis(20) {}
            assert_eq!(libc::timer_delete(timer), 0);
        }
        assert!(sampler.time().expect("the thread has a time").samples < 1000);
    }

    #[test]
    fn counts_are_used_again() {
        // Other tests have some, too.
        let address = |sampler: &Sampler| std::ptr::from_ref(sampler.counts);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..50 {
            seen.insert(address(&Sampler::start().expect("there is a timer")));
        }
        assert!(seen.len() < 10);
        assert!(seen.into_iter().all(|counts| Counts::at(counts).is_some()));
        assert!(Counts::at(std::ptr::without_provenance(0x10)).is_none());
    }
}
