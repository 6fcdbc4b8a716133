//! Signals that are no faults of the guest, beside those that are. This test has a process of its own: it changes what
//! the process does with signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::{Limits, Linker, Store, TrapCode};
use tiered_jit::{Config, Eager, Jit};

static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn seen(_: libc::c_int) {
    SEEN.fetch_add(1, Ordering::Relaxed);
}

fn set(signal: libc::c_int, handler: usize) {
    // SAFETY: all bits zero are a valid action, and the handler counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        let done = libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        assert_eq!(done, 0);
    }
}

fn main() {
    // An embedder that ignores one of our signals and handles another.
    set(libc::SIGFPE, libc::SIG_IGN);
    set(libc::SIGILL, seen as *const () as usize);
    let text = r#"(module
        (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
        (func (export "never") (param i32) (result i32) unreachable))"#;
    let module = Arc::new(Module::new(text.as_bytes().to_vec()).expect("it is valid"));
    for turn in 1..4 {
        let jit = Jit::new(&Config::default()).expect("this machine can");
        let tier = Eager::tier(&jit);
        let mut store = Store::with_tier(tier, Limits::default(), ()).expect("there is room");
        let instance = Linker::new().instantiate(&mut store, &module);
        let instance = instance.expect("it imports nothing");
        let mut trap = |name: &str| {
            let func = instance.typed_func::<i32, i32>(&store, name);
            let func = func.expect("it is exported");
            func.call(&mut store, 0).expect_err("it traps").code()
        };
        for _ in 0..2 {
            assert_eq!(trap("divide"), Some(TrapCode::IntegerDivideByZero));
            assert_eq!(trap("never"), Some(TrapCode::Unreachable));
            // What is sent does what it would without us, and leaves our handler where it is.
            // SAFETY: one is ignored, and one handled.
            unsafe {
                libc::raise(libc::SIGFPE);
                libc::raise(libc::SIGILL);
            }
        }
        assert_eq!(SEEN.load(Ordering::Relaxed), 2 * turn);
        // Others reset signals when they are done with them: the next compiler sees to it.
        set(libc::SIGFPE, libc::SIG_DFL);
        set(libc::SIGILL, libc::SIG_DFL);
    }
    println!("test result: ok. 1 passed; 0 failed");
}
