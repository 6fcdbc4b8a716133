//! How the time of a thread divides between compiled code and everything else.
//!
//! To know it exactly, each change between the tiers would have to read a clock, and there may be one at each call. So
//! the thread is looked at instead, some hundred times in each second of processor time that it uses: a timer sends it a
//! signal, whose handler looks where the thread is. A thread that waits is not disturbed.
//!
//! * *Invariant:* the handler allocates nothing and takes no lock.
//! * *Invariant:* what the handler counts in is never freed: a signal may still come when its timer is gone.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libc::{SA_ONSTACK, SA_RESTART, SA_SIGINFO, c_int, c_void, siginfo_t, ucontext_t};

use crate::registry;

/// The signal.
const SIGNAL: c_int = libc::SIGPROF;

/// Processor time between two looks; the kernel takes longer if its clock ticks more slowly.
const PERIOD: Duration = Duration::from_millis(1);

/// How often a thread was found where.
#[derive(Debug, Default)]
struct Counts {
    compiled: AtomicU64,
    other: AtomicU64,
}

/// Looks at the thread that made it, until it is dropped. Takes SIGPROF for itself.
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
    /// In the interpreter, in functions of the host, and wherever else.
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
        let counts: &'static Counts = Box::leak(Box::default());
        let begin = thread_time()?;
        // SAFETY: all bits zero are a valid event; the thread is this one, and the counts stay.
        let timer = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = SIGNAL;
            event.sigev_notify_thread_id = libc::gettid();
            event.sigev_value.sival_ptr = std::ptr::from_ref(counts).cast_mut().cast();
            let mut timer = std::ptr::null_mut();
            let clock = libc::CLOCK_THREAD_CPUTIME_ID;
            checked(libc::timer_create(clock, &raw mut event, &raw mut timer))?;
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
    }
}

/// Installs the handler, once for the process.
fn install() -> io::Result<()> {
    static INSTALLED: Once = Once::new();
    let mut done = Ok(());
    INSTALLED.call_once(|| {
        // SAFETY: the handler keeps to what handlers may do, and all bits zero are a valid action.
        done = checked(unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = look as *const () as usize;
            action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut())
        });
    });
    done
}

/// Counts where the thread is.
unsafe extern "C" fn look(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives both; a timer's signal has the value that the timer was made with, which are counts that
    // stay.
    unsafe {
        if (*info).si_code != libc::SI_TIMER {
            return;
        }
        let counts = &*(*info).si_value().sival_ptr.cast::<Counts>();
        let place = match registry::find(pc_of(&*context.cast())) {
            Some(_) => &counts.compiled,
            None => &counts.other,
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
}
