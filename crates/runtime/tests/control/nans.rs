//! Which NaN a result is: always the same one, however often a function has run.

use tiered_runtime::Val;

use super::{Guest, New, f64};

/// Bits of NaNs: quiet and signaling ones, of both signs.
const NANS: [u64; 4] = [
    0x7ff8_0000_0000_1111,
    0xfff8_0000_0000_2222,
    0x7ff4_0000_0000_3333,
    0xfff0_0000_0000_4444,
];

const OPS: [&str; 6] = ["add", "sub", "mul", "div", "min", "max"];

/// The first of two NaNs, made quiet, as constants, from memory, as parameters and in a loop.
pub(crate) fn of_two_nans_the_first_is_kept(new: New<'_>) {
    for op in OPS {
        for (a, b) in NANS.iter().flat_map(|&a| NANS.map(|b| (a, b))) {
            let text = format!(
                r#"(module (memory 1)
                (func $write (f64.store (i32.const 8) (f64.reinterpret_i64 (i64.const {a:#x}))))
                (func (export "constants") (result i64) (i64.reinterpret_f64 (f64.{op}
                    (f64.reinterpret_i64 (i64.const {a:#x})) (f64.reinterpret_i64 (i64.const {b:#x})))))
                (func (export "memory") (param f64) (result i64) (call $write)
                    (i64.reinterpret_f64 (f64.{op} (f64.load (i32.const 8)) (local.get 0))))
                (func (export "loop") (param f64 f64) (result i64) (local i32 f64)
                    (loop
                        (local.set 3 (f64.{op} (local.get 0) (local.get 1)))
                        (br_if 0 (i32.lt_u
                            (local.tee 2 (i32.add (local.get 2) (i32.const 1))) (i32.const 30))))
                    (i64.reinterpret_f64 (local.get 3))))"#
            );
            let mut guest = Guest::new(new, &text);
            let expected = [Val::I64((a | 1 << 51).cast_signed())];
            let (a, b) = (f64(f64::from_bits(a)), f64(f64::from_bits(b)));
            for _ in 0..6 {
                for (name, args) in [
                    ("constants", &[][..]),
                    ("memory", std::slice::from_ref(&b)),
                    ("loop", &[a, b]),
                ] {
                    let found = guest.call(name, args).expect("it returns");
                    assert_eq!(found, expected, "{op} {name} {a:?} {b:?}");
                }
            }
        }
    }
}
