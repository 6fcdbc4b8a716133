//! Functions with loops of all shapes, and the same in Rust: the states of the frame at each header, and the results.

use std::sync::Arc;

use tiered_interp::runtime::{ExternRef, Store, Val};

use crate::probe::{Guest, Probe};

/// What a frame is to look like at a loop's header.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// Which loop of the function, in the order of the code.
    pub(crate) ordinal: usize,
    /// The loop begins: it was not a back edge that led here.
    pub(crate) begins: bool,
    pub(crate) locals: Vec<u64>,
    pub(crate) operands: Vec<u64>,
}

/// The state behind a back edge.
fn at(ordinal: usize, locals: &[u64], operands: &[u64]) -> State {
    State {
        ordinal,
        begins: false,
        locals: locals.to_vec(),
        operands: operands.to_vec(),
    }
}

/// The state where a loop begins.
fn begin(ordinal: usize, locals: &[u64], operands: &[u64]) -> State {
    State {
        begins: true,
        ..at(ordinal, locals, operands)
    }
}

/// See the module.
pub(crate) struct Loops {
    pub(crate) name: &'static str,
    /// The type and the body of the function.
    body: &'static str,
    pub(crate) args: fn(&mut Store<u32>) -> Vec<Val>,
    pub(crate) run: fn() -> (Vec<State>, Vec<u64>),
}

/// Stands for the reference to a value of the host that is the first argument, whose bits are the store's business.
pub(crate) const HOST_VALUE: u64 = u64::MAX;

pub(crate) fn unsigned(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

pub(crate) const LOOPS: &[Loops] = &[
    Loops {
        name: "two pinned locals and a float",
        body: "(param $n i32) (result i64) (local $sum i64) (local $x f64)
            (loop
                (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (local.get $n))))
                (local.set $x (f64.add (local.get $x) (f64.const 0.5)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if 0 (local.get $n)))
            (local.get $sum)",
        args: |_| vec![Val::I32(6)],
        run: || {
            let (mut n, mut sum, mut x) = (6, 0, 0.0f64);
            let mut states = vec![begin(0, &[n, 0, 0], &[])];
            loop {
                (sum, x, n) = (sum + n, x + 0.5, n - 1);
                if n == 0 {
                    return (states, vec![sum]);
                }
                states.push(at(0, &[n, sum, x.to_bits()], &[]));
            }
        },
    },
    Loops {
        name: "operands of all kinds under the loop",
        body: "(param $n i32) (result i64) (local $k i64)
            (i32.const -1) (local.get $n) (i64.mul (i64.extend_i32_s (local.get $n)) (i64.const -3))
            (f32.const 1.5) (f64.neg (f64.const 0)) (local.get $k) (ref.null func)
            (loop
                (local.set $k (i64.sub (local.get $k) (i64.const 1)))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (drop) (drop) (drop) (drop) (local.set $k) (drop) (drop) (local.get $k)",
        args: |_| vec![Val::I32(4)],
        run: || {
            let minus = |k: i64| (-k).cast_unsigned();
            let under = [0xffff_ffff, 4, minus(12), 0x3fc0_0000, 1 << 63, 0, 0];
            let mut states = vec![begin(0, &[4, 0], &under)];
            states.extend((1..4).map(|k| at(0, &[4 - k, minus(k.cast_signed())], &under)));
            (states, vec![minus(12)])
        },
    },
    Loops {
        name: "nested, with operands under both",
        body: "(param $n i32) (result i64) (local $i i32) (local $j i32) (local $sum i64)
            (i32.add (local.get $n) (i32.const 100))
            (loop $outer
                (local.set $j (i32.const 0))
                (i64.extend_i32_u (local.get $i))
                (loop $inner
                    (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $j))))
                    (br_if $inner (i32.lt_u
                        (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
                (local.set $sum (i64.add (local.get $sum)))
                (br_if $outer (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (drop) (local.get $sum)",
        args: |_| vec![Val::I32(3)],
        run: || {
            let (mut i, mut sum) = (0, 0);
            let mut states = vec![begin(0, &[3, 0, 0, 0], &[103])];
            loop {
                let mut j = 0;
                states.push(begin(1, &[3, i, j, sum], &[103, i]));
                loop {
                    (sum, j) = (sum + j, j + 1);
                    if j == 3 {
                        break;
                    }
                    states.push(at(1, &[3, i, j, sum], &[103, i]));
                }
                (sum, i) = (sum + i, i + 1);
                if i == 3 {
                    return (states, vec![sum]);
                }
                states.push(at(0, &[3, i, 3, sum], &[103]));
            }
        },
    },
    Loops {
        name: "parameters that come from above other operands",
        body: "(param $n i32) (result i64 i32 f64) (local $a i64) (local $b i32) (local $c f64)
            (f32.const 2) (i64.const -7) (i32.const -9) (f64.const 0.25)
            (loop (param i64 i32 f64) (result i64 i32 f64)
                (local.set $c) (local.set $b) (local.set $a)
                (i64.const 1111) (i32.const 2222)
                (i64.sub (local.get $a) (i64.const 1)) (i32.add (local.get $b) (local.get $n)) (f64.mul (local.get $c) (f64.const 2))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
                (local.set $c) (local.set $b) (local.set $a) (drop) (drop)
                (local.get $a) (local.get $b) (local.get $c))
            (local.set $c) (local.set $b) (local.set $a) (drop)
            (local.get $a) (local.get $b) (local.get $c)",
        args: |_| vec![Val::I32(3)],
        run: || {
            let (mut n, mut a, mut b, mut c) = (3, -7i64, -9i32, 0.25f64);
            let values = |a: i64, b, c: f64| [0x4000_0000, a.cast_unsigned(), unsigned(b), c.to_bits()];
            let mut states = vec![begin(0, &[3, 0, 0, 0], &values(a, b, c))];
            loop {
                let old = [unsigned(n - 1), a.cast_unsigned(), unsigned(b), c.to_bits()];
                (a, b, c, n) = (a - 1, b + n, c * 2.0, n - 1);
                if n == 0 {
                    return (states, values(a, b, c)[1..].to_vec());
                }
                states.push(at(0, &old, &values(a, b, c)));
            }
        },
    },
    Loops {
        name: "locals of all types",
        body: "(param $e externref) (param $n i32) (result i32)
            (local $i i32) (local $l i64) (local $f f32) (local $d f64) (local $o externref) (local $r funcref)
            (loop
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (local.set $l (i64.extend_i32_s (local.get $i)))
                (local.set $f (f32.neg (f32.convert_i32_s (local.get $n))))
                (local.set $d (f64.reinterpret_i64 (i64.or (i64.const 0x7ff0000000000000) (i64.extend_i32_u (local.get $n)))))
                (local.set $o (select (result externref) (local.get $e) (ref.null extern) (i32.and (local.get $n) (i32.const 1))))
                (local.set $r (ref.null func))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if 0 (local.get $n)))
            (local.get $i)",
        args: |store| {
            let value = ExternRef::new(store, 2u8).expect("there is room");
            vec![Val::ExternRef(Some(value)), Val::I32(4)]
        },
        run: || {
            let state = |turn: i32| {
                let n = 5 - turn;
                let float = (-(n as f32)).to_bits();
                let nan = 0x7ff0_0000_0000_0000 | unsigned(n);
                let other = if n & 1 == 1 { HOST_VALUE } else { 0 };
                let long = i64::from(-turn).cast_unsigned();
                at(0, &[HOST_VALUE, unsigned(n - 1), unsigned(-turn), long, u64::from(float), nan, other, 0], &[])
            };
            let mut states = vec![begin(0, &[HOST_VALUE, 4, 0, 0, 0, 0, 0, 0], &[])];
            states.extend((1..4).map(state));
            (states, vec![unsigned(-4)])
        },
    },
    Loops {
        name: "with calls in it",
        body: "(param $n i32) (result i32) (local $x f32)
            (call $same (local.get $n))
            (loop
                (local.set $x (f32.add (local.get $x) (f32.convert_i32_s (call $same (local.get $n)))))
                (br_if 0 (i32.gt_s (local.tee $n (call $same (i32.sub (local.get $n) (i32.const 1)))) (i32.const 0))))",
        args: |_| vec![Val::I32(3)],
        run: || {
            let states = vec![
                begin(0, &[3, 0], &[3]),
                at(0, &[2, u64::from(3f32.to_bits())], &[3]),
                at(0, &[1, u64::from(5f32.to_bits())], &[3]),
            ];
            (states, vec![3])
        },
    },
    Loops {
        name: "back edges by all branches",
        body: "(param $n i32) (result i32) (local $turns i32)
            (local.get $turns)
            (block $out
                (loop $again
                    (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (br_if $out (i32.eqz (local.get $n)))
                    (block $c (block $b (block $a
                        (br_table $a $b $c $again (i32.rem_u (local.get $n) (i32.const 5))))
                        (br $again))
                        (if (local.get $n) (then (br $again))))
                    (br_if $again (i64.ne (i64.extend_i32_u (local.get $n)) (i64.const 0)))))
            (drop) (local.get $turns)",
        args: |_| vec![Val::I32(8)],
        run: || {
            let mut states = vec![begin(0, &[8, 0], &[0])];
            states.extend((1..8).map(|turn| at(0, &[8 - turn, turn], &[0])));
            (states, vec![8])
        },
    },
    Loops {
        name: "no parameters, many locals, many results",
        body: "(result i64 i64 i64 i64) (local i64 i64 i64 i64 i64 i64)
            (i64.const 5)
            (loop
                (local.set 5 (i64.add (local.get 5) (i64.const 1)))
                (local.set 4 (i64.add (local.get 4) (local.get 5)))
                (local.set 0 (i64.sub (local.get 4) (local.get 5)))
                (br_if 0 (i64.lt_u (local.get 5) (i64.const 4))))
            (local.get 0) (local.get 4) (local.get 5)",
        args: |_| vec![],
        run: || {
            let state = |turn: u64, sum: u64| at(0, &[sum - turn, 0, 0, 0, sum, turn], &[5]);
            let first = begin(0, &[0; 6], &[5]);
            (vec![first, state(1, 1), state(2, 3), state(3, 6)], vec![5, 6, 10, 4])
        },
    },
    Loops {
        name: "one behind the other, with an operand that stays",
        body: "(param $n i32) (result i32) (local $i i32) (local $j i32)
            (i32.mul (local.get $n) (i32.const 7))
            (loop (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $i)
            (loop (br_if 0 (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 2))) (local.get $n))))
            (i32.add)",
        args: |_| vec![Val::I32(3)],
        run: || {
            let states = vec![
                begin(0, &[3, 0, 0], &[21]),
                at(0, &[3, 1, 0], &[21]),
                at(0, &[3, 2, 0], &[21]),
                begin(1, &[3, 3, 0], &[21, 3]),
                at(1, &[3, 3, 2], &[21, 3]),
            ];
            (states, vec![24])
        },
    },
    Loops {
        name: "behind code that can't be reached, and loops in it",
        body: "(param $n i32) (result i32) (local $i i32)
            (block (br 0) (loop (br 0)) (loop (loop (br 1))))
            (block $skip (block $in (br_if $in (local.get $n)) (br $skip) (loop (br 0)))
                (loop $first
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $first (i32.lt_s (local.get $i) (local.get $n)))
                    (br $skip))
                (unreachable))
            (loop (result i32)
                (br_if 0 (i32.rem_s (local.tee $n (i32.sub (local.get $n) (i32.const 2))) (i32.const 3)))
                (return (local.get $i))
                (br 0))",
        args: |_| vec![Val::I32(2)],
        run: || {
            let states = vec![
                begin(0, &[2, 0], &[]),
                at(0, &[2, 1], &[]),
                begin(1, &[2, 2], &[]),
            ];
            (states, vec![2])
        },
    },
    Loops {
        name: "one that begins with another one, in one that begins with both",
        body: "(param $n i32) (result i32) (local $i i32)
            (loop $a (loop $b (loop $c
                (br_if $c (i32.and (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1))))
                (br_if $b (i32.and (local.get $i) (i32.const 2))))
                (br_if $a (i32.lt_s (local.get $i) (local.get $n))))
            (local.get $i)",
        args: |_| vec![Val::I32(5)],
        run: || {
            let (mut i, mut states) = (0, vec![begin(0, &[5, 0], &[])]);
            loop {
                states.push(begin(1, &[5, i], &[]));
                loop {
                    states.push(begin(2, &[5, i], &[]));
                    loop {
                        i += 1;
                        if i & 1 == 0 {
                            break;
                        }
                        states.push(at(2, &[5, i], &[]));
                    }
                    if i & 2 == 0 {
                        break;
                    }
                    states.push(at(1, &[5, i], &[]));
                }
                if i >= 5 {
                    return (states, vec![i]);
                }
                states.push(at(0, &[5, i], &[]));
            }
        },
    },
    Loops {
        name: "with a parameter, and pinned locals of a loop around it",
        body: "(param $n i32) (result i64) (local $sum i64) (local $k i64)
            (loop $outer
                (local.set $k (i64.const 3))
                (i64.extend_i32_s (local.get $n))
                (loop $inner (param i64) (result i64)
                    (i64.mul (i64.const 2))
                    (local.set $sum (i64.add (local.get $sum) (local.get $k)))
                    (br_if $inner (i64.ne (i64.const 0)
                        (local.tee $k (i64.sub (local.get $k) (i64.const 1))))))
                (local.set $sum (i64.add (local.get $sum)))
                (br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)",
        args: |_| vec![Val::I32(2)],
        run: || {
            let (mut n, mut sum, mut k) = (2, 0, 0);
            let mut states = vec![begin(0, &[n, sum, k], &[])];
            loop {
                k = 3;
                let mut value = n;
                states.push(begin(1, &[n, sum, k], &[value]));
                loop {
                    (value, sum, k) = (value * 2, sum + k, k - 1);
                    if k == 0 {
                        break;
                    }
                    states.push(at(1, &[n, sum, k], &[value]));
                }
                (sum, n) = (sum + value, n - 1);
                if n == 0 {
                    return (states, vec![sum]);
                }
                states.push(at(0, &[n, sum, k], &[]));
            }
        },
    },
];

impl Loops {
    pub(crate) fn module(&self) -> String {
        let own = self.body.find("(result").expect("it has results");
        let (results, _) = self.body[own + "(result".len()..]
            .split_once(')')
            .expect("it ends");
        let params = self.body[..own].matches("(param").count();
        let types: String = self.body[..own].replace('$', "$p");
        let arg = |index| format!("(local.get {index})");
        let args: String = (0..params).map(arg).collect();
        format!(
            "(module
            (func $run (export \"run\") {})
            (func $same (param i32) (result i32) (local.get 0))
            (func (export \"called\") {types} (result i64{results}) (i64.const 111) {args} (call $run))
            (table funcref (elem $run))
            (type $t (func {types} (result{results})))
            (func (export \"called_indirectly\") {types} (result i64{results})
                (i64.const 111) {args} (call_indirect (type $t) (i32.const 0))))",
            self.body
        )
    }

    /// An instance with the function as `run` and two callers of it, and the arguments.
    pub(crate) fn guest(&self, probe: Arc<Probe>) -> (Guest, Vec<Val>) {
        let mut guest = Guest::new(&self.module(), probe);
        let args = (self.args)(&mut guest.store);
        (guest, args)
    }
}
