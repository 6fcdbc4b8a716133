//! Code of loops that is refused for want of native stack: the interpreter goes on, and does not ask in vain again.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use tiered_interp::runtime::code::{FuncCode, Outcome};
use tiered_interp::runtime::frame::Slot;
use tiered_interp::runtime::vmctx::VmCtx;

use crate::probe::{Guest, Probe};

/// `run(n)` counts to `n` with a float, an operand below the loop, and more locals than are pinned.
const COUNT: &str = r#"(module
    (func (export "run") (param $n i32) (result i32) (local $i i32) (local $x f64) (local $y i64)
        (i32.const 1000)
        (loop $again
            (local.set $x (f64.add (local.get $x) (f64.const 0.5)))
            (local.set $y (i64.add (local.get $y) (i64.const 2)))
            (br_if $again (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
        (i32.add (i32.wrap_i64 (local.get $y)))
        (i32.add (i32.trunc_f64_s (f64.mul (local.get $x) (f64.const 2))))))"#;

const RUN: u32 = 0;

fn expected(n: i32) -> i32 {
    1000 + 3 * n
}

/// How often [`refuse`] was entered. One test of this process uses it.
static TRIES: AtomicUsize = AtomicUsize::new(0);

/// Is refused, as compiled code is by its first instructions.
///
/// # Safety
/// As for every entry.
unsafe extern "C" fn refuse(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    _: NonNull<Slot>,
) -> Outcome {
    TRIES.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the instance is alive.
    unsafe { VmCtx::borrow(instance.as_ptr()) }.store().refuse();
    Outcome::Trapped
}

#[test]
fn a_loop_that_is_refused_goes_on_and_is_tried_once_in_a_call() {
    const N: i32 = 10_000;
    // By what a sample leads to, then by the word at the loop's header.
    let probe = Probe::at_loops(0, |number, _| (number < 5_000).then_some(refuse as _));
    let mut guest = Guest::new(COUNT, probe);
    assert_eq!(guest.call_i32("run", &[N]), expected(N));
    assert_eq!(TRIES.swap(0, Ordering::Relaxed), 1);

    let body = guest.func(RUN).body().expect("it was called");
    // SAFETY: the entry leaves the frame as it is, and says that it was refused.
    unsafe { body.loops()[0].publish(refuse) };
    for _ in 0..3 {
        assert_eq!(guest.call_i32("run", &[N]), expected(N));
        assert_eq!(TRIES.swap(0, Ordering::Relaxed), 1);
    }
}
