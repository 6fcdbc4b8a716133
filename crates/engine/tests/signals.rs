//! The signals of an embedder beside ours, and engines that end while others run. This test has a process of its own: it
//! changes what the process does with signals.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tiered::{Config, Engine, Linker, Module, Sampler, Store, TierMode, TrapCode};

fn main() {
    a_profilers_timer_and_ours_go_on_beside_each_other();
    a_signal_that_was_reset_is_handled_again();
    engines_end_beside_faults_of_others();
    println!("test result: ok. 3 passed; 0 failed");
}

static TICKS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn tick(_: libc::c_int) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

fn on_sigprof(handler: usize) {
    // SAFETY: all bits zero are a valid action, and the handler counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        let done = libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut());
        assert_eq!(done, 0);
    }
}

/// Sends SIGPROF after each millisecond of processor time, or no more.
fn set_timer(runs: bool) {
    let period = libc::timeval {
        tv_sec: 0,
        tv_usec: if runs { 1000 } else { 0 },
    };
    let timer = libc::itimerval {
        it_interval: period,
        it_value: period,
    };
    // SAFETY: the timer is alive, and its signal is handled.
    let done =
        unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(done, 0);
}

const TRAPS: &str = r#"(module
    (memory 1)
    (func (export "spin") (param i32)
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func $deep (export "deep") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else unreachable))))"#;

struct Guest {
    store: Store<()>,
    instance: tiered::Instance,
}

impl Guest {
    fn new(tier: TierMode) -> Guest {
        let engine = Engine::new(&Config::new().tier(tier));
        let module = Module::new(&engine, TRAPS.as_bytes().to_vec()).expect("it is valid");
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        let instance = Linker::new()
            .instantiate(&mut store, &module)
            .expect("it imports nothing");
        Guest { store, instance }
    }

    fn spin(&mut self, count: i32) {
        let spin = self.instance.typed_func::<i32, ()>(&self.store, "spin");
        let spin = spin.expect("it is exported");
        spin.call(&mut self.store, count).expect("it ends");
    }

    fn trap(&mut self, name: &str, arg: i32) -> Option<TrapCode> {
        let func = self.instance.typed_func::<i32, i32>(&self.store, name);
        let func = func.expect("it is exported");
        let trap = func.call(&mut self.store, arg).expect_err("it traps");
        assert!(!trap.frames().is_empty(), "{trap:?}");
        trap.code()
    }

    fn all_traps(&mut self) {
        assert_eq!(self.trap("divide", 0), Some(TrapCode::IntegerDivideByZero));
        assert_eq!(self.trap("load", -8), Some(TrapCode::MemoryOutOfBounds));
        assert_eq!(self.trap("deep", 100), Some(TrapCode::Unreachable));
    }
}

/// Both count, in all tiers, and the guest does not notice.
fn a_profilers_timer_and_ours_go_on_beside_each_other() {
    on_sigprof(tick as *const () as usize);
    set_timer(true);
    for tier in [TierMode::Interp, TierMode::Jit, TierMode::Osr] {
        let mut guest = Guest::new(tier);
        let sampler = Sampler::start().expect("there is a timer");
        let before = TICKS.load(Ordering::Relaxed);
        let mut done = false;
        for _ in 0..100_000 {
            guest.spin(100_000);
            guest.all_traps();
            let ours = sampler.time().expect("the thread has a time").samples;
            done = ours >= 5 && TICKS.load(Ordering::Relaxed) >= before + 5;
            if done {
                break;
            }
        }
        assert!(done, "{tier}: both timers count");
    }
    set_timer(false);
}

/// A profiler that is done resets the signal, as it found it or as it thinks best. Our next timer must not end the process.
fn a_signal_that_was_reset_is_handled_again() {
    for action in [libc::SIG_DFL, libc::SIG_IGN] {
        on_sigprof(action);
        let sampler = Sampler::start().expect("there is a timer");
        let mut guest = Guest::new(TierMode::Jit);
        let mut samples = 0;
        for _ in 0..100_000 {
            guest.spin(100_000);
            samples = sampler.time().expect("the thread has a time").samples;
            if samples >= 3 {
                break;
            }
        }
        assert!(samples >= 3, "our timer counts");
    }
}

/// Code is placed and freed all the time while another thread's code traps, and a timer looks where it is.
fn engines_end_beside_faults_of_others() {
    const ROUNDS: usize = 60;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                let mut guest = Guest::new(TierMode::Jit);
                guest.all_traps();
                drop(guest);
            }
            done.store(true, Ordering::Relaxed);
        });
        let _sampler = Sampler::start().expect("there is a timer");
        let mut guest = Guest::new(TierMode::Jit);
        let mut rounds = 0;
        // As long as the other thread works, and no longer than a bound.
        while !done.load(Ordering::Relaxed) && rounds < 1_000_000 {
            guest.all_traps();
            rounds += 1;
        }
        assert!(rounds > 0);
    });
}
