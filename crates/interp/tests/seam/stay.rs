//! How long an activation stays in its loops, which is told with each sample.

use tiered_interp::runtime::Val;
use tiered_interp::runtime::frame::MAX_STAY;

use crate::probe::{At, Guest, Probe};
use crate::sample::SUM;

/// What `stay` is in the loops of function `func`, sample by sample.
fn stays(probe: &Probe, func: u32) -> Vec<u32> {
    let seen = probe.take().into_iter();
    let of_func = seen.filter(|seen| seen.func == func);
    of_func
        .filter_map(|seen| match seen.at {
            At::Loop { stay, .. } | At::CallOut { stay, .. } => Some(stay),
            At::Call => None,
        })
        .collect()
}

#[test]
fn stay_counts_the_samples_of_one_activation() {
    let mut guest = Guest::new(SUM, Probe::silent(0));
    for _ in 0..2 {
        guest.call_i32("sum", &[6]);
        assert_eq!(stays(&guest.probe, 0), [1, 2, 3, 4, 5]);
    }
    guest.call_i32("sums", &[4]);
    assert_eq!(
        stays(&guest.probe, 0),
        [1, 2, 3, 1, 2, 3],
        "two activations"
    );
    guest.call_i32("sum", &[201]);
    let expected: Vec<u32> = (1..=200).map(|number| number.min(MAX_STAY)).collect();
    assert_eq!(
        stays(&guest.probe, 0),
        expected,
        "it is not counted further"
    );
    guest.call_i32("sum", &[3]);
    assert_eq!(stays(&guest.probe, 0), [1, 2]);
}

/// Each activation of a recursion has a count of its own, which goes on when the inner ones have returned.
#[test]
fn activations_of_a_recursion_stay_each_by_itself() {
    let text = r#"(module
        (func $f (export "f") (param $depth i32) (local $i i32)
            (loop
                (if (local.get $depth) (then (call $f (i32.sub (local.get $depth) (i32.const 1)))))
                (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))))"#;
    let mut guest = Guest::new(text, Probe::silent(0));
    guest.call("f", &[Val::I32(2)]).expect("it does not trap");
    let inner = [1, 2];
    let middle = [&inner[..], &[1], &inner, &[2], &inner].concat();
    let outer = [&middle[..], &[1], &middle, &[2], &middle].concat();
    assert_eq!(stays(&guest.probe, 0), outer);
}
