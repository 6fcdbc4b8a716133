//! Programs full of loops, and the whole state that they leave behind.
//!
//! *Invariant:* a program does the same in every tier to the last bit: none computes a NaN, and none shows an address.
//! *Invariant:* every program ends, by itself or in a trap that it is about.

mod generated;
mod state;

use tiered::Val;
use tiered::decode::Module;

pub(crate) use state::{Guest, State};

/// A module that exports `run`, and what `run` is called with.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) args: Vec<Vec<Val>>,
}

/// All programs.
pub(crate) fn programs() -> Vec<Program> {
    let written = WRITTEN.iter().map(|&(name, args, body)| Program {
        name,
        text: format!("(module {body})"),
        args: args.iter().map(|&n| vec![Val::I32(n)]).collect(),
    });
    written.chain(generated::programs()).collect()
}

/// The program's module.
#[allow(dead_code, reason = "engines decode by themselves")]
pub(crate) fn decode(program: &Program) -> Module {
    let (name, text) = (program.name, &program.text);
    let module = Module::new(text.as_bytes().to_vec());
    module.unwrap_or_else(|err| panic!("{name}: {err}\n{text}"))
}

/// A name, arguments of `run`, the fields of the module.
const WRITTEN: &[(&str, &[i32], &str)] = &[
    (
        "three nested loops",
        &[1, 4],
        r#"(memory (export "memory") 1) (global $g (export "g") (mut i64) (i64.const 3))
        (func (export "run") (param $n i32) (result i64 i32)
            (local $i i32) (local $j i32) (local $k i32) (local $sum i64)
            (loop $a
                (local.set $j (i32.const 0))
                (loop $b
                    (local.set $k (i32.const 0))
                    (loop $c
                        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
                            (i64.extend_i32_u (i32.add (i32.mul (local.get $i) (i32.const 100))
                                (i32.add (i32.mul (local.get $j) (i32.const 10)) (local.get $k))))))
                        (i32.store8 (i32.add (i32.mul (local.get $i) (i32.const 16)) (local.get $k))
                            (i32.wrap_i64 (local.get $sum)))
                        (br_if $c (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $n))))
                    (global.set $g (i64.xor (global.get $g) (local.get $sum)))
                    (br_if $b (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
                (i64.store offset=1024 (i32.mul (local.get $i) (i32.const 8)) (local.get $sum))
                (br_if $a (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $sum) (i32.add (local.get $i) (i32.add (local.get $j) (local.get $k))))"#,
    ),
    (
        "a loop at the start, its parameters only",
        &[1, 6],
        r#"(func (export "run") (param $n i32) (result i32)
            (loop (result i32)
                (br_if 0 (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0)))
                (i32.mul (local.get $n) (i32.const 7))))"#,
    ),
    (
        "parameters and results, operands below and above",
        &[1, 5],
        r#"(func (export "run") (param $n i32) (result i64 f32 f64 i32 i64 i32) (local $c i64) (local $d f32)
            (local $e f64) (local $f i32)
            (i64.const -9) (f32.const 1.25)
            (f64.const 0.5) (i32.const 77) (i64.const 5)
            (loop $l (param f64 i32 i64) (result f64 i32 i64)
                (local.set $c) (local.set $f) (local.set $e)
                (i32.const 1234) (f64.mul (local.get $e) (f64.const 2)) (i32.sub (local.get $f) (local.get $n))
                (i64.rotl (local.get $c) (i64.const 7))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $l (local.get $n))
                (local.set $c) (local.set $f) (local.set $e) (drop)
                (local.get $e) (local.get $f) (local.get $c))
            (local.get $n))"#,
    ),
    (
        "vectors in locals, below loops, as their parameters",
        &[1, 3],
        r#"(memory (export "memory") 1) (global $g (export "g") (mut v128) (v128.const i32x4 1 2 3 4))
        (func $mix (param $a v128) (param $x i64) (param $b v128) (result v128 i64 v128)
            (v128.store offset=512 (i32.const 0) (local.get $a))
            (v128.store offset=528 (i32.const 0) (local.get $b))
            (i64.store offset=520 (i32.const 0)
                (i64.add (i64.mul (i64.load offset=520 (i32.const 0)) (i64.const 77)) (local.get $x)))
            (v128.load offset=516 (i32.const 0))
            (i64.add (i64.mul (local.get $x) (i64.const 31)) (i64.load offset=530 (i32.const 0)))
            (v128.load offset=513 (i32.const 0)))
        (func (export "run") (param $n i32) (result v128 i32 v128 i64 v128 v128)
            (local $v v128) (local $x i64) (local $w v128) (local $i i32) (local $j i32) (local $u v128)
            (local.set $u (v128.const i64x2 -1 9))
            (v128.const i64x2 5 6) (i32.const 77)
            (v128.const i8x16 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16) (i64.const 9)
            (loop $a (param v128 i64) (result v128 i64)
                (local.set $x) (local.set $v)
                (local.set $j (i32.const 0))
                (local.get $u) (i32.const 5) (local.get $v)
                (loop $b (param v128) (result v128)
                    (local.set $w)
                    (call $mix (local.get $w) (local.get $x) (local.get $u))
                    (local.set $u) (local.set $x)
                    (br_if $b (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
                (local.set $w) (drop)
                (global.set $g)
                (local.get $w) (local.get $x)
                (br_if $a (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (global.get $g) (local.get $u))"#,
    ),
    (
        "tail calls out of loops, to functions with more and fewer parameters, through a table, to the host",
        &[0, 1, 2, 9, 40],
        r#"(import "host" "note" (func $note (param i64)))
        (global $g (export "g") (mut i64) (i64.const 1)) (table $t (export "t") funcref (elem $few $many $few))
        (type $many (func (param i32 i64 f64 i32 i64 f32 i64 i64 i64 v128 i32) (result i64 i32 f64)))
        (func $add (param $x i64) (global.set $g (i64.add (i64.mul (global.get $g) (i64.const 31)) (local.get $x))))
        (func $end (param $x i64) (return_call $note (i64.add (local.get $x) (global.get $g))))
        (func $few (param $n i32) (result i64 i32 f64) (local $i i32) (local $sum i64)
            (loop $l
                (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $i))))
                (if (i32.gt_u (local.get $i) (i32.and (local.get $n) (i32.const 3))) (then
                    (call $add (local.get $sum))
                    (return_call_indirect (type $many)
                        (local.get $n) (local.get $sum) (f64.const 0.5) (local.get $i) (i64.const 7) (f32.const 2)
                        (i64.const 8) (i64.const 9) (global.get $g) (i64x2.splat (local.get $sum)) (local.get $n)
                        (i32.const 1))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $l))
            (unreachable))
        (func $many (type $many)
            (if (i32.eqz (local.get 0)) (then (return (global.get $g) (local.get 3) (local.get 2))))
            (call $add (i64x2.extract_lane 1 (local.get 9)))
            (call $add (i64.add (local.get 8) (i64.extend_i32_u (local.get 10))))
            (call $end (local.get 1))
            (if (i32.and (local.get 0) (i32.const 1)) (then
                (return_call $many (i32.sub (local.get 0) (i32.const 1)) (local.get 6) (f64.promote_f32 (local.get 5))
                    (local.get 10) (local.get 4) (f32.const 3) (local.get 1) (local.get 7) (local.get 8)
                    (i64x2.splat (local.get 7)) (local.get 3))))
            (return_call $few (i32.sub (local.get 0) (i32.const 1))))
        (func (export "run") (param $n i32) (result i64 i32 f64) (local $i i32)
            (loop $l
                (call $few (local.get $i)) (drop) (drop) (call $add)
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (return_call_indirect (param i32) (result i64 i32 f64) (local.get $n) (i32.const 2)))"#,
    ),
    (
        "vectors that trade places, and one that is left behind",
        &[1, 2, 5],
        r#"(func (export "run") (param $n i32) (result v128 i32 v128)
            (local $a v128) (local $b i32) (local $c v128)
            (v128.const i64x2 1 2) (i32.const 2) (v128.const i64x2 3 4)
            (loop $l (param v128 i32 v128) (result v128 i32 v128)
                (local.set $c) (local.set $b) (local.set $a)
                (v128.const i64x2 7 8) (f32.const 1)
                (select (local.get $c) (local.get $a) (i32.and (local.get $n) (i32.const 3)))
                (i32.add (local.get $b) (i32.const 1)) (local.get $a)
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
                (local.set $c) (local.set $b) (local.set $a) (drop) (drop)
                (local.get $a) (local.get $b) (local.get $c)))"#,
    ),
    (
        "parameters that trade places",
        &[1, 2, 5],
        r#"(func (export "run") (param $n i32) (result i32 i32 i32) (local $a i32) (local $b i32) (local $c i32)
            (i32.const 1) (i32.const 2) (i32.const 3)
            (loop $l (param i32 i32 i32) (result i32 i32 i32)
                (local.set $c) (local.set $b) (local.set $a)
                (local.get $b) (local.get $c) (local.get $a)
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))"#,
    ),
    (
        "loops in both arms",
        &[0, 1, 4, 5],
        r#"(global $g (export "g") (mut i32) (i32.const 1))
        (func (export "run") (param $n i32) (result i32 i64 i32) (local $i i32) (local $x i64)
            (local.set $i (i32.add (local.get $n) (i32.const 3)))
            (local.get $i) (i64.const 11)
            (if (param i64) (result i64) (i32.and (local.get $n) (i32.const 1))
                (then
                    (loop $l (param i64) (result i64)
                        (i64.extend_i32_u (local.get $i)) (i64.mul) (local.tee $x)
                        (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
                (else
                    (local.set $x)
                    (i64.const 500)
                    (loop $l
                        (local.set $x (i64.add (local.get $x) (i64.const 3)))
                        (global.set $g (i32.mul (global.get $g) (i32.const 3)))
                        (if (i32.gt_s (local.get $i) (i32.const 2)) (then
                            (loop $m (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                                (br_if $m (i32.gt_s (local.get $i) (i32.const 3)))
                                (br_if $l (i32.gt_s (local.get $i) (i32.const 1))))))
                        (br_if $l (i32.gt_s (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const -2))))
                    (local.get $x) (i64.sub)))
            (local.get $i))"#,
    ),
    (
        "branches out of several levels, with values, operands below each level",
        &[0, 1, 2, 3, 4, 5, 6, 7],
        r#"(func (export "run") (param $n i32) (result i32 i64) (local $i i32)
            (i32.const 1000000)
            (block $a (result i64 i32)
                (i32.const 7) (i64.const -1)
                (block $b (result i32)
                    (f64.const 2)
                    (block $c (result i32)
                        (i64.const 3) (i32.const 4)
                        (loop $l (result i32)
                            (local.set $i (i32.add (local.get $i) (i32.const 1)))
                            (i32.const 9) (i32.mul (local.get $i) (i32.const 10))
                            (br_if $c (i32.eq (local.get $i) (i32.add (local.get $n) (i32.const 6))))
                            (br_if $b (i32.and (i32.eq (local.get $i) (i32.const 4)) (i32.eq (local.get $n) (i32.const 1))))
                            (drop)
                            (i64.extend_i32_u (local.get $i)) (i32.const 55)
                            (br_if $a (i32.and (i32.eq (local.get $i) (i32.const 5)) (i32.eq (local.get $n) (i32.const 2))))
                            (drop) (drop) (drop)
                            (if (i32.and (i32.eq (local.get $i) (i32.const 3)) (i32.eq (local.get $n) (i32.const 3)))
                                (then (return (i32.const -3) (i64.const -4))))
                            (i32.const 21) (i64.const 22)
                            (br_if 4 (i32.and (i32.eq (local.get $i) (i32.const 2)) (i32.eq (local.get $n) (i32.const 4))))
                            (drop)
                            (br_if $l (i32.lt_u (local.get $i) (i32.const 8)))
                            (br_table $b $c $b (i32.sub (local.get $n) (i32.const 5))))
                        (i32.add) (i32.const 5) (i32.add) (br 1))
                    (i32.const 600) (i32.add) (br 0))
                (i32.add (i32.const 33)) (br $a))
            (i64.extend_i32_u) (i64.add) (local.set $n (i32.const 0)))"#,
    ),
    (
        "a machine of states",
        &[0, 1, 2, 3, 100],
        r#"(memory (export "memory") 1)
        (func (export "run") (param $n i32) (result i32) (local $state i32) (local $count i32) (local $seed i32)
            (local.set $seed (i32.add (local.get $n) (i32.const 12345)))
            (loop $next
                (i32.store8 (local.get $count) (local.get $state))
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1103515245)) (i32.const 12345)))
                (br_if 1 (local.get $seed) (i32.gt_u (local.get $count) (i32.const 24))) (drop)
                (block $s4 (block $s3 (block $s2 (block $s1 (block $s0
                    (br_table $s0 $s1 $s2 $s3 $s4 (local.get $state)))
                    (local.set $state (i32.const 2)) (br $next))
                    (local.set $state (i32.and (i32.shr_u (local.get $seed) (i32.const 16)) (i32.const 3)))
                    (br_table $s2 $next $next $s3 (local.get $state)))
                    (local.set $state (i32.add (i32.const 1) (i32.and (i32.shr_u (local.get $seed) (i32.const 9)) (i32.const 1)))))
                    (loop $again
                        (local.set $state (i32.add (local.get $state) (i32.const 1)))
                        (br_table $again $next $s4 (i32.and (i32.shr_u (local.get $seed) (i32.and (local.get $state) (i32.const 15))) (i32.const 3)))))
                (local.set $state (i32.rem_u (i32.shr_u (local.get $seed) (i32.const 8)) (i32.const 5)))
                (br_if $next (i32.ne (local.get $state) (i32.const 9))))
            (unreachable))"#,
    ),
    (
        "calls of all kinds",
        &[1, 5],
        r#"(import "host" "note" (func $note (param i64)))
        (import "host" "again" (func $again (param i32) (result i32)))
        (memory (export "memory") 1) (global $depth (export "depth") (mut i32) (i32.const 0))
        (type $op (func (param i32) (result i32)))
        (table (export "table") 4 funcref) (elem (i32.const 0) $double $note $summed $again)
        (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
        (func $many (param i32 i64 f32 f64 i32 i64 f32 f64 i32 i64) (result f64 i64 i32 f32)
            (f64.add (local.get 3) (local.get 7)) (i64.add (local.get 1) (i64.add (local.get 5) (local.get 9)))
            (i32.add (local.get 0) (i32.add (local.get 4) (local.get 8))) (f32.add (local.get 2) (local.get 6)))
        (func $summed (export "summed") (param $n i32) (result i32) (local $sum i32)
            (if (i32.le_s (local.get $n) (i32.const 0)) (then (return (i32.const 1))))
            (loop
                (local.set $sum (i32.add (local.get $sum) (call $summed (i32.sub (local.get $n) (i32.const 2)))))
                (br_if 0 (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))
            (local.get $sum))
        (func (export "again") (param $n i32) (result i32) (local $i i32)
            (loop (call $note (i64.extend_i32_s (local.get $i)))
                (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (i32.add (local.get $i) (i32.const 100)))
        (func (export "run") (param $n i32) (result i32 i64 f64) (local $sum i32) (local $l i64) (local $d f64)
            (local $f f32)
            (i32.const 4000) (i64.const 5000)
            (loop $l
                (local.set $sum (i32.add (local.get $sum) (call $double (local.get $n))))
                (local.set $sum (i32.add (local.get $sum)
                    (call_indirect (type $op) (local.get $n) (i32.and (local.get $n) (i32.const 2)))))
                (call $note (i64.extend_i32_s (local.get $sum)))
                (call_indirect (param i64) (i64.const -1) (i32.const 1))
                (local.set $sum (i32.add (local.get $sum) (call $again (local.get $n))))
                (local.set $sum (i32.add (local.get $sum) (call_indirect (type $op) (i32.const 2) (i32.const 3))))
                (call $many (local.get $n) (i64.const 1) (f32.const 2) (f64.const 3) (local.get $sum) (local.get $l)
                    (local.get $f) (local.get $d) (i32.const -9) (i64.const -10))
                (local.set $f) (local.set $sum) (local.set $l) (local.set $d)
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (i64.add (local.get $l)) (local.set $l) (i32.add (local.get $sum)) (local.get $l) (local.get $d))"#,
    ),
    (
        "a memory and a table that grow, globals that change",
        &[1, 4],
        r#"(memory (export "memory") 1 6) (table $t (export "table") 1 9 funcref) (table $x (export "extern") 0 5 externref)
        (global $i (export "i") (mut i32) (i32.const 0)) (global $l (export "l") (mut i64) (i64.const 1))
        (global $f (export "f") (mut f32) (f32.const 1)) (global $d (export "d") (mut f64) (f64.const 1))
        (global $r (export "r") (mut funcref) (ref.null func)) (global $e (export "e") (mut externref) (ref.null extern))
        (data $data "some bytes") (elem $elem func $one $two)
        (func $one (export "one")) (func $two (export "two"))
        (func (export "run") (param $n i32) (result i32 i32) (local $page i32)
            (loop $l
                (local.set $page (memory.grow (i32.const 1)))
                (i32.store offset=65532 (i32.mul (local.get $page) (i32.const 65536)) (local.get $n))
                (i64.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 16)) (global.get $l))
                (memory.fill (i32.const 100) (local.get $n) (i32.mul (local.get $n) (i32.const 3)))
                (memory.init $data (i32.mul (local.get $n) (i32.const 32)) (i32.const 2) (i32.const 5))
                (memory.copy (i32.const 3) (i32.mul (local.get $n) (i32.const 31)) (i32.const 20))
                (drop (table.grow $t (ref.func $one) (i32.const 1)))
                (drop (table.grow $x (global.get $e) (local.get $n)))
                (table.init $t $elem (i32.const 1) (i32.const 0) (i32.lt_s (local.get $n) (i32.const 2)))
                (table.copy $t $t (i32.const 0) (i32.sub (table.size $t) (i32.const 1)) (i32.const 1))
                (table.fill $t (i32.sub (table.size $t) (i32.const 1)) (ref.func $two) (i32.and (local.get $n) (i32.const 1)))
                (global.set $i (i32.add (global.get $i) (table.size $x)))
                (global.set $l (i64.mul (global.get $l) (i64.const -7)))
                (global.set $f (f32.mul (global.get $f) (f32.const 1.5)))
                (global.set $d (f64.sub (global.get $d) (f64.const 0.25)))
                (global.set $r (table.get $t (i32.sub (table.size $t) (i32.const 1))))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (data.drop $data) (elem.drop $elem)
            (memory.size) (local.get $page))"#,
    ),
    (
        "a loop that is left by a return and never by its end",
        &[1, 4],
        r#"(func (export "run") (param $n i32) (result i32 f64) (local $x f64)
            (i64.const 1) (i32.const 2)
            (loop $l
                (local.set $x (f64.add (local.get $x) (f64.convert_i32_s (local.get $n))))
                (f32.const 3)
                (if (i32.eqz (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
                    (then (return (i32.const 77) (local.get $x))))
                (br $l))
            (loop (br 0)) (unreachable))"#,
    ),
    (
        "loops one behind the other, dead code before, between and in them",
        &[1, 3],
        r#"(func (export "run") (param $n i32) (result i32) (local $i i32) (local $j i32)
            (block (br 0) (loop (br_if 0 (i32.const 1)) (unreachable)))
            (i32.mul (local.get $n) (i32.const 7))
            (loop $a (br_if $a (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $i)
            (block $out (param i32) (result i32)
                (loop $b (param i32) (result i32)
                    (i32.add (local.get $n))
                    (br_if $b (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n)))
                    (br $out)
                    (loop $dead (br $dead))))
            (loop $c
                (block $d
                    (br_if $d (i32.and (local.get $j) (i32.const 1)))
                    (local.set $i (i32.mul (local.get $i) (i32.const 3)))
                    (br_if $c (local.tee $j (i32.sub (local.get $j) (i32.const 1))))
                    (br $d)
                    (local.set $i (i32.const 0)))
                (br_if $c (i32.gt_s (local.tee $j (i32.sub (local.get $j) (i32.const 1))) (i32.const -3))))
            (i32.add) (i32.add (local.get $i)))"#,
    ),
    (
        "what is known before the loop",
        &[1, 4],
        r#"(memory (export "memory") 1)
        (func (export "run") (param $n i32) (result i32 i64) (local $five i32) (local $zero i64) (local $copy i32)
            (local.set $five (i32.const 5)) (local.set $copy (local.get $n))
            (i32.const 8) (local.get $copy)
            (loop $l
                (i32.store (local.get $five) (i32.add (local.get $copy) (i32.const 65)))
                (local.set $zero (i64.add (local.get $zero) (i64.extend_i32_s (local.get $five))))
                (if (i32.eq (local.get $n) (i32.const 2)) (then (local.set $five (i32.const 6))))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (i32.mul) (local.get $zero))"#,
    ),
    (
        "loops in callers and callees at once",
        &[1, 3],
        r#"(memory (export "memory") 1) (global $g (export "g") (mut i32) (i32.const 0))
        (func $inner (param $n i32) (param $x f64) (result f64) (local $i i32)
            (loop
                (local.set $x (f64.add (local.get $x) (f64.const 0.5)))
                (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (i32.store8 (global.get $g) (local.get $i))
                (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $x))
        (func $middle (param $n i32) (result f64) (local $x f64) (local $i i32)
            (loop
                (local.set $x (call $inner (local.get $n) (local.get $x)))
                (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $x))
        (func (export "run") (param $n i32) (result f64) (local $x f64) (local $i i32)
            (loop
                (local.set $x (f64.add (local.get $x) (call $middle (local.get $n))))
                (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
            (local.get $x))"#,
    ),
    (
        "traps in a loop, two calls deep",
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        r#"(memory (export "memory") 1) (table (export "table") 3 funcref) (elem (i32.const 0) $nothing)
        (global $g (export "g") (mut i32) (i32.const 0))
        (func $nothing)
        (func $fail (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
        (func $loops (param $how i32) (result i32) (local $i i32) (local $x i32)
            (i32.const 5) (local.set $i (i32.const 4))
            (loop $l
                (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (i32.store8 (global.get $g) (local.get $i))
                (block $done
                    (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
                        (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 $done (local.get $how)))
                        (local.set $x (i32.div_u (i32.const 100) (i32.sub (local.get $i) (i32.const 1)))) (br $done))
                        (local.set $x (i32.load offset=65532 (i32.sub (i32.const 4) (local.get $i)))) (br $done))
                        (call $fail (i32.sub (local.get $i) (i32.const 2))) (br $done))
                        (call_indirect (i32.sub (i32.const 4) (local.get $i))) (br $done))
                        (call_indirect (result i32) (i32.const 0)) (local.set $x) (br $done))
                        (call_indirect (i32.mul (i32.sub (i32.const 4) (local.get $i)) (i32.const 3))) (br $done))
                        (memory.fill (i32.const 65535) (i32.const 1) (i32.sub (i32.const 4) (local.get $i))) (br $done))
                        (table.set (i32.sub (i32.const 4) (local.get $i)) (ref.null func)) (br $done))
                        (local.set $x (i32.trunc_f64_s (f64.div (f64.const 1e9) (f64.convert_i32_s (i32.sub (local.get $i) (i32.const 1))))))
                        (br $done))
                    (local.set $x (i32.div_s (i32.const 0x80000000) (i32.sub (i32.const 2) (local.get $i)))))
                (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
            (i32.add (local.get $x)))
        (func $calls (param $how i32) (result i32) (i32.add (call $loops (local.get $how)) (i32.const 1)))
        (func (export "run") (param $how i32) (result i32) (local $i i32)
            (loop (result i32)
                (call $calls (local.get $how))
                (br_if 0 (i32.eqz (i32.and (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1))))))"#,
    ),
    (
        "a failing host in the middle",
        &[0, 1, 2],
        r#"(import "host" "fail" (func $fail (param i32)))
        (import "host" "again" (func $again (param i32) (result i32)))
        (global $g (export "g") (mut i32) (i32.const 0))
        (func (export "again") (param $how i32) (result i32) (local $i i32)
            (loop
                (global.set $g (i32.add (global.get $g) (i32.const 10)))
                (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
            (i32.div_u (local.get $i) (local.get $how)))
        (func (export "run") (param $how i32) (result i32) (local $i i32)
            (loop
                (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (if (i32.eq (local.get $i) (i32.const 2)) (then
                    (if (i32.eqz (local.get $how)) (then (call $fail (local.get $i)))
                        (else (local.set $i (call $again (i32.sub (local.get $how) (i32.const 1))))))))
                (br_if 0 (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
            (local.get $i))"#,
    ),
];
