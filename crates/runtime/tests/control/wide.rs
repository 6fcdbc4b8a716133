//! Every op of wide arithmetic over a grid of edge values, against its row: with operands in locals, constants and
//! registers, above others, and in a loop.

use tiered_decode::wide::WideOp;
use tiered_runtime::Val;

use super::{Guest, New, far_up, i64};

const VALUES: [u64; 5] = [0, 1, u64::MAX, 1 << 63, 0x0123_4567_89ab_cdef];

/// How often the loop adds.
const ROUNDS: u64 = 30;

/// All lists of `count` values.
fn lists(count: usize) -> Vec<Vec<u64>> {
    (0..count).fold(vec![Vec::new()], |lists, _| {
        let longer = |list: &Vec<u64>, value| [&list[..], &[value]].concat();
        let all = lists.iter();
        all.flat_map(|list| VALUES.map(|value| longer(list, value)))
            .collect()
    })
}

fn module(op: WideOp, constants: &[u64]) -> String {
    let count = op.params();
    let join = |item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<String>();
    let (params, locals) = (
        "i64 ".repeat(count),
        join(&|index| format!("(local.get {index})")),
    );
    let added = join(&|index| format!("(i64.add (local.get {index}) (i64.const 1))"));
    let constants = join(&|index| format!("(i64.const {:#x})", constants[index]));
    let last = count - 1;
    let counter = count;
    format!(
        r#"(module
        (func (export "locals") (param {params}) (result i64 i64) ({op} {locals}))
        (func (export "registers") (param {params}) (result i64 i64 i64)
            (i64.const 7) ({op} {added}))
        (func (export "above") (param {params}) (result i64 i64)
            (local.get {last}) ({op} {locals}) (i64.add) (i64.sub)
            ({op} {locals}) (drop))
        (func (export "constants") (result i64 i64) ({op} {constants}))
        (func (export "halves") (param {params}) (result i64) (local i64)
            ({op} {locals}) (local.set {counter}) (local.set 0)
            (i64.xor (local.get 0) (local.get {counter})))
        (func (export "loop") (param {params}) (result i64 i64) (local i64 i64 i64)
            (loop
                ({op} {locals})
                (local.set {high} (i64.add (local.get {high})))
                (local.set {low} (i64.add (local.get {low})))
                (br_if 0 (i64.lt_u
                    (local.tee {counter} (i64.add (local.get {counter}) (i64.const 1)))
                    (i64.const {ROUNDS}))))
            (local.get {low}) (local.get {high})))"#,
        low = count + 1,
        high = count + 2,
    )
}

/// What each export gives.
fn expected(op: WideOp, operands: &[u64], constants: &[u64]) -> [(&'static str, Vec<u64>); 6] {
    let [low, high] = op.eval(operands);
    let added: Vec<u64> = operands.iter().map(|it| it.wrapping_add(1)).collect();
    let [added_low, added_high] = op.eval(&added);
    let last = operands[operands.len() - 1];
    let above = last.wrapping_sub(low.wrapping_add(high));
    [
        ("locals", vec![low, high]),
        ("registers", vec![7, added_low, added_high]),
        ("above", vec![above, low]),
        ("constants", op.eval(constants).to_vec()),
        ("halves", vec![low ^ high]),
        (
            "loop",
            vec![low.wrapping_mul(ROUNDS), high.wrapping_mul(ROUNDS)],
        ),
    ]
}

pub(crate) fn wide_arithmetic(new: New<'_>) {
    for &op in WideOp::ALL {
        for (number, operands) in lists(op.params()).into_iter().enumerate() {
            // Each module has other constants, and is called with others.
            if number % 5 != 0 {
                continue;
            }
            let mut guest = Guest::new(new, &module(op, &operands));
            for values in lists(op.params()).into_iter().skip(number % 23).step_by(23) {
                let args: Vec<Val> = values.iter().map(|it| i64(it.cast_signed())).collect();
                for (name, results) in expected(op, &values, &operands) {
                    let args = if name == "constants" { &[][..] } else { &args };
                    let found = guest.call(name, args).expect("it does not trap");
                    let results: Vec<Val> =
                        results.iter().map(|it| i64(it.cast_signed())).collect();
                    assert_eq!(found, results, "{op} {name} of {values:x?}");
                }
            }
        }
    }
}

/// The same with operands and results in slots that no instruction can name, or some of them.
pub(crate) fn wide_arithmetic_far_up(new: New<'_>) {
    for &op in WideOp::ALL {
        let operands = &[u64::MAX, 5, 1 << 63, 3][..op.params()];
        far_up(&[0, 1, 2, 3, 4, 6], || {
            let mut guest = Guest::new(new, &module(op, operands));
            let args: Vec<Val> = operands.iter().map(|it| i64(it.cast_signed())).collect();
            for (name, results) in expected(op, operands, operands) {
                let args = if name == "constants" { &[][..] } else { &args };
                let found = guest.call(name, args).expect("it does not trap");
                let results: Vec<Val> = results.iter().map(|it| i64(it.cast_signed())).collect();
                assert_eq!(found, results, "{op} {name}");
            }
        });
    }
}
