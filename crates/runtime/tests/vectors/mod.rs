//! Vectors on all ways that values take: params and results, locals, globals, blocks and branches, selection, calls, the
//! host, memory, and frames so deep that instructions can't name their slots.
//!
//! *Invariant:* both halves of each vector differ from those of all others, and scalars stand between them, so that a slot
//! too few or too many shows.
//! *Invariant:* what is called is called several times: other tiers take over in between, or in the middle.
//!
//! A tier's tests include this as a module.

#[path = "../far_up/mod.rs"]
pub(crate) mod far_up;

use tiered_decode::types::{FuncType, GlobalType, ValType};
use tiered_runtime::{Caller, Extern, Func, Global, Instance, Linker, Store, Trap, TrapCode, Val};

use far_up::far_up;

/// What makes a store of the tier that is tested.
pub(crate) type New<'a> = &'a dyn Fn() -> Store<i32>;

/// Most of the tests below so, in every mode: compiled code leaves such functions to the interpreter, which calls it.
pub(crate) fn vectors_far_up(new: New<'_>) {
    far_up(&[1, 2], || {
        vectors_pass_through_calls(new);
        globals_hold_vectors(new);
        branches_take_vectors(new);
    });
}

/// How often everything is called.
const ROUNDS: usize = 3;

struct Guest {
    store: Store<i32>,
    instance: Instance,
}

impl Guest {
    fn new(new: New<'_>, text: &str) -> Guest {
        Guest::linked(new(), &Linker::new(), text)
    }

    fn linked(mut store: Store<i32>, linker: &Linker<i32>, text: &str) -> Guest {
        let instance = linker.instantiate(&mut store, &far_up::module(text));
        let instance = instance.unwrap_or_else(|err| panic!("{err}\n{text}"));
        Guest { store, instance }
    }

    fn func(&self, name: &str) -> Func {
        let func = self.instance.func(&self.store, name);
        func.unwrap_or_else(|| panic!("{name} is exported"))
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        self.func(name).call(&mut self.store, args)
    }

    /// Calls an export several times, always with the same end.
    fn expect(&mut self, name: &str, args: &[Val], expected: &[Val]) {
        for round in 0..ROUNDS {
            match self.call(name, args) {
                Ok(found) => assert_eq!(found, expected, "{name} of {args:?}, call {round}"),
                Err(trap) => panic!("{name} of {args:?}, call {round}: {trap:?}"),
            }
        }
    }
}

/// Vector `n`: all its bytes tell it from the others.
fn bits(n: u32) -> u128 {
    let lane = u128::from(n.wrapping_mul(0x9e37_79b1) | 1);
    lane | (lane ^ 0x0f0f_0f0f) << 32 | (lane ^ 0x3333_3333) << 64 | (lane ^ 0x5555_5555) << 96
}

fn v(n: u32) -> Val {
    Val::V128(bits(n))
}

fn i(n: i32) -> Val {
    Val::I32(n)
}

/// Vector `n` as an instruction.
fn constant(n: u32) -> String {
    let (low, high) = (bits(n) as u64, (bits(n) >> 64) as u64);
    format!("(v128.const i64x2 {low:#x} {high:#x})")
}

/// The text with vector `n` for each `#n`.
fn with_vectors(text: &str) -> String {
    let mut parts = text.split('#');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let n = part[..digits].parse().expect("a number follows");
        out += &constant(n);
        out += &part[digits..];
    }
    out
}

/// Calls exports of a module: name, arguments, results.
fn check(new: New<'_>, text: &str, calls: &[(&str, &[Val], &[Val])]) {
    let mut guest = Guest::new(new, &with_vectors(text));
    for (name, args, expected) in calls {
        guest.expect(name, args, expected);
    }
}

/// Some value of a type.
fn some(ty: ValType, n: u32) -> Val {
    match ty {
        ValType::I32 => Val::I32(n as i32 - 7),
        ValType::I64 => Val::I64(i64::from(n) << 33 | 5),
        ValType::F32 => Val::from(n as f32 + 0.5),
        ValType::F64 => Val::from(f64::from(n) * -1.25),
        ValType::V128 => v(n),
        ValType::Ref(_) => Val::default_for(ty).expect("it may be null"),
    }
}

fn type_named(name: &str) -> ValType {
    match name {
        "i32" => ValType::I32,
        "i64" => ValType::I64,
        "f32" => ValType::F32,
        "f64" => ValType::F64,
        "v128" => ValType::V128,
        "externref" => ValType::EXTERNREF,
        other => unreachable!("no type {other}"),
    }
}

/// Functions that return their arguments in the opposite order, called in all ways; what is imported does the same.
fn assert_passed(new: New<'_>, names: &[&str]) {
    let types: Vec<ValType> = names.iter().map(|name| type_named(name)).collect();
    let reversed: Vec<ValType> = types.iter().rev().copied().collect();
    let params = names.join(" ");
    let results: Vec<&str> = names.iter().rev().copied().collect();
    let ty = format!("(param {params}) (result {})", results.join(" "));
    let gets = |indices: &mut dyn Iterator<Item = usize>| -> String {
        indices
            .map(|index| format!("(local.get {index})"))
            .collect()
    };
    let count = names.len();
    let reverse = gets(&mut (0..count).rev());
    let args = gets(&mut (0..count));
    let mut store = new();
    let mut linker = Linker::new();
    let host = |_: Caller<'_, i32>, args: &[Val], results: &mut [Val]| {
        results.copy_from_slice(args);
        results.reverse();
        Ok(())
    };
    let func_type = FuncType::new(types.iter().copied(), reversed.iter().copied());
    linker
        .func_new("host", "f", func_type, host)
        .expect("a new name");
    let other = far_up::module(&format!("(module (func (export \"f\") {ty} {reverse}))"));
    let other = linker
        .instantiate(&mut store, &other)
        .expect("it imports nothing");
    linker.instance(&store, "other", other).expect("a new name");
    let text = format!(
        r#"(module
        (type $t (func {ty}))
        (import "host" "f" (func $host (type $t)))
        (import "other" "f" (func $other (type $t)))
        (table 3 funcref) (elem (i32.const 0) $reverse $host $other)
        (func $reverse (type $t) {reverse})
        (func (export "own") (type $t) {reverse})
        (func (export "direct") (type $t) {args} (call $reverse))
        (func (export "host") (type $t) {args} (call $host))
        (func (export "other") (type $t) {args} (call $other))
        (func (export "indirect") (param $n i32) {ty} {} (call_indirect (type $t) (local.get $n)))
        (func (export "above") (type $t) (i32.const 5) {} {args} (call $reverse) (return)))"#,
        gets(&mut (1..=count)),
        constant(99),
    );
    let mut guest = Guest::linked(store, &linker, &text);
    let args: Vec<Val> = types.iter().zip(1..).map(|(&ty, n)| some(ty, n)).collect();
    let expected: Vec<Val> = args.iter().rev().copied().collect();
    for name in ["own", "direct", "host", "other", "above"] {
        guest.expect(name, &args, &expected);
    }
    if count < 1000 {
        for target in 0..3 {
            let args: Vec<Val> = [i(target)]
                .into_iter()
                .chain(args.iter().copied())
                .collect();
            guest.expect("indirect", &args, &expected);
        }
    }
}

pub(crate) fn vectors_pass_through_calls(new: New<'_>) {
    assert_passed(new, &["v128"]);
    assert_passed(new, &["i32", "v128"]);
    assert_passed(new, &["v128", "i64", "v128"]);
    assert_passed(new, &["f32", "v128", "f64", "externref", "v128", "i32"]);
    // In registers, as many as there are; then in memory.
    for count in [7, 8, 9, 17] {
        assert_passed(new, &vec!["v128"; count]);
    }
    assert_passed(new, &["i64", "v128", "f32"].repeat(5));
    assert_passed(new, &["v128", "f64", "v128", "i32", "i32"].repeat(4));
}

pub(crate) fn a_thousand_vectors(new: New<'_>) {
    assert_passed(new, &["v128"; 999]);
}

pub(crate) fn the_host_has_vectors_as_numbers(new: New<'_>) {
    let mut linker = Linker::new();
    let turn = |a: u128, b: i32, c: u128| (c, a, b);
    linker.func("host", "turn", turn).expect("a new name");
    let flip = |mut caller: Caller<'_, i32>, a: u128| {
        *caller.data_mut() += 1;
        !a
    };
    linker.func("host", "flip", flip).expect("a new name");
    let text = with_vectors(
        r#"(module
        (import "host" "turn" (func $turn (param v128 i32 v128) (result v128 v128 i32)))
        (import "host" "flip" (func $flip (param v128) (result v128)))
        (func (export "turn") (param v128 v128) (result v128 v128 i32)
            (call $turn (local.get 1) (i32.const 9) (local.get 0)))
        (func (export "flip") (param v128) (result v128) (call $flip (call $flip (call $flip (local.get 0)))))
        (func (export "both") (param i32 v128) (result v128 i32) (call $flip (local.get 1)) (local.get 0)))"#,
    );
    let mut guest = Guest::linked(new(), &linker, &text);
    guest.expect("turn", &[v(1), v(2)], &[v(1), v(2), i(9)]);
    guest.expect("flip", &[v(3)], &[Val::V128(!bits(3))]);
    let (both, store) = (guest.func("both"), &mut guest.store);
    let typed = both.typed::<(i32, u128), (u128, i32)>(store);
    let typed = typed.expect("it is of this type");
    for n in 0..5 {
        let found = typed.call(store, (-1, bits(n))).expect("it does not trap");
        assert_eq!(found, (!bits(n), -1));
    }
    let flip = guest.func("flip").typed::<u128, u128>(&guest.store);
    let flip = flip.expect("it is of this type");
    assert_eq!(flip.call(&mut guest.store, 5).ok(), Some(!5));
    assert!(both.typed::<(i32, u64), (u64, i32)>(&guest.store).is_err());
    let wrong = guest.call("flip", &[Val::I64(1)]).expect_err("no vector");
    assert!(wrong.to_string().contains("[v128] -> [v128]"), "{wrong}");
}

pub(crate) fn locals_hold_vectors(new: New<'_>) {
    check(
        new,
        r#"(module
        (func (export "zero") (param i32) (result v128 i32 v128) (local v128 i32 v128)
            (local.get 1) (local.get 2) (local.get 3))
        (func (export "exchange") (param v128 i32 v128) (result v128 i32 v128) (local $t v128)
            (local.set $t (local.get 0)) (local.set 0 (local.get 2)) (local.set 2 (local.get $t))
            (local.get 0) (local.get 1) (local.get 2))
        (func (export "tee") (param v128) (result v128 v128 v128) (local i64 v128)
            (local.tee 2 (local.get 0)) (local.get 2) (local.tee 0 #3))
        (func (export "set_while_operand") (param v128 f64) (result v128 v128 v128 f64)
            (local.get 0) (local.get 0) (local.set 0 #4) (local.get 0) (local.get 1))
        (func (export "set_from_const") (result v128 i32 v128) (local v128 i32 v128)
            (local.set 0 #5) (local.set 1 (i32.const 8)) (local.set 2 #6)
            (local.get 0) (local.get 1) (local.get 2))
        (func (export "dropped") (param v128 v128) (result v128 i32)
            #1 (local.get 1) (local.get 0) (drop) (drop) (i32.const 1)))"#,
        &[
            ("zero", &[i(3)], &[Val::V128(0), i(0), Val::V128(0)]),
            ("exchange", &[v(1), i(7), v(2)], &[v(2), i(7), v(1)]),
            ("tee", &[v(1)], &[v(1), v(1), v(3)]),
            (
                "set_while_operand",
                &[v(1), Val::from(2.5)],
                &[v(1), v(1), v(4), Val::from(2.5)],
            ),
            ("set_from_const", &[], &[v(5), i(8), v(6)]),
            ("dropped", &[v(8), v(9)], &[v(1), i(1)]),
        ],
    );
}

pub(crate) fn globals_hold_vectors(new: New<'_>) {
    let mut store = new();
    let mut linker = Linker::new();
    let global = |mutable| GlobalType {
        content: ValType::V128,
        mutable,
    };
    let shared = Global::new(&mut store, global(true), v(20)).expect("of its type");
    let fixed = Global::new(&mut store, global(false), v(21)).expect("of its type");
    assert!(Global::new(&mut store, global(true), Val::I64(1)).is_err());
    for (name, global) in [("shared", shared), ("fixed", fixed)] {
        let defined = linker.define("host", name, Extern::Global(global));
        defined.expect("a new name");
    }
    let text = with_vectors(
        r#"(module
        (import "host" "shared" (global $shared (mut v128)))
        (import "host" "fixed" (global $fixed v128))
        (global $before i32 (i32.const 5))
        (global $own (export "own") (mut v128) #22)
        (global $between (mut i64) (i64.const -6))
        (global $copy (export "copy") v128 (global.get $fixed))
        (global $last (mut f32) (f32.const 1.5))
        (func (export "all") (result v128 v128 i32 v128 i64 v128 f32)
            (global.get $shared) (global.get $fixed) (global.get $before) (global.get $own)
            (global.get $between) (global.get $copy) (global.get $last))
        (func (export "set") (param v128) (result v128)
            (global.set $shared (local.get 0)) (global.set $own (global.get $shared)) (global.get $own))
        (func (export "set_constant") (global.set $own #23) (global.set $shared #24)))"#,
    );
    let mut guest = Guest::linked(store, &linker, &text);
    let all = |shared, own| {
        let (between, last) = (Val::I64(-6), Val::from(1.5f32));
        [shared, v(21), i(5), own, between, v(21), last]
    };
    guest.expect("all", &[], &all(v(20), v(22)));
    guest.expect("set", &[v(1)], &[v(1)]);
    guest.expect("all", &[], &all(v(1), v(1)));
    guest.expect("set_constant", &[], &[]);
    guest.expect("all", &[], &all(v(24), v(23)));
    assert_eq!(shared.get(&guest.store), v(24));
    shared.set(&mut guest.store, v(25)).expect("it is mutable");
    assert!(fixed.set(&mut guest.store, v(25)).is_err());
    guest.expect("all", &[], &all(v(25), v(23)));
    let own = guest.instance.global(&guest.store, "own");
    assert_eq!(own.map(|own| own.get(&guest.store)), Some(v(23)));
}

pub(crate) fn vectors_are_selected(new: New<'_>) {
    let text = r#"(module
        (memory 1) (data (i32.const 16) "0123456789abcdef")
        (func (export "locals") (param v128 v128 i32) (result v128)
            (select (result v128) (local.get 0) (local.get 1) (local.get 2)))
        (func (export "untyped") (param v128 v128 i32) (result v128)
            (select (local.get 0) (local.get 1) (local.get 2)))
        (func (export "constants") (param v128 v128 i32) (result v128)
            (drop (select #1 #2 (local.get 2))) (select #1 #2 (local.get 2)))
        (func (export "loaded_first") (param v128 v128 i32) (result v128)
            (select (v128.load (i32.const 16)) (local.get 1) (local.get 2)))
        (func (export "loaded_second") (param v128 v128 i32) (result v128)
            (select (local.get 0) (v128.load (i32.const 16)) (local.get 2)))
        (func (export "between") (param v128 v128 i32) (result i64 v128 i32)
            (i64.const 4) (select (local.get 0) (local.get 1) (i32.eqz (local.get 2))) (i32.const 6)))"#;
    let text0 = Val::V128(u128::from_le_bytes(*b"0123456789abcdef"));
    let args = |condition| [v(1), v(2), i(condition)];
    for condition in [0, 1, -1] {
        let pick = |first: Val, second: Val| if condition == 0 { second } else { first };
        let args = &args(condition);
        check(
            new,
            text,
            &[
                ("locals", args, &[pick(v(1), v(2))]),
                ("untyped", args, &[pick(v(1), v(2))]),
                ("constants", args, &[pick(v(1), v(2))]),
                ("loaded_first", args, &[pick(text0, v(2))]),
                ("loaded_second", args, &[pick(v(1), text0)]),
                ("between", args, &[Val::I64(4), pick(v(2), v(1)), i(6)]),
            ],
        );
    }
}

pub(crate) fn branches_take_vectors(new: New<'_>) {
    let text = r#"(module
        (func (export "params") (param v128 i32) (result v128 i32 v128)
            (local.get 0) (local.get 1)
            (block (param v128 i32) (result v128 i32 v128) #3))
        (func (export "br") (param v128 i32) (result v128)
            (block (result v128) (i32.const 8) #1 (drop) (local.get 0) (br 0)))
        (func (export "br_many") (param v128 i32) (result v128 i32 v128 i64 v128)
            (block (result v128 i32 v128 i64 v128)
                #9 (i32.const 8) (local.get 0) (local.get 1) #2 (i64.const 3) #4 (br 0)))
        (func (export "br_two") (param v128 i32) (result i32 v128)
            (block (result i32 v128) (f32.const 1) (local.get 1) (local.get 0) (br 0)))
        (func (export "br_if") (param v128 i32) (result v128 v128)
            #7
            (block (result v128)
                #5 (local.get 0) (br_if 0 (local.get 1)) (drop)))
        (func (export "br_if_many") (param v128 i32) (result v128 v128 v128 v128)
            (block (result v128 v128 v128 v128)
                (i32.const 1) #1 #2 (local.get 0) #4 (br_if 0 (local.get 1))
                (drop) (drop) (drop) (drop) (drop) #8 #7 #6 #5))
        (func (export "table") (param v128 i32) (result v128 i32)
            (block $a (result v128)
                (i32.const 3)
                (block $b (result v128)
                    (i32.const 4)
                    (block $c (result v128)
                        #6 (i64.const 1) (local.get 0) (br_table $a $b $c (local.get 1)))
                    (return (i32.const 12)))
                (return (i32.const 11)))
            (i32.const 10))
        (func (export "arms") (param v128 i32) (result v128 v128)
            (local.get 0) #1
            (if (param v128 v128) (result v128 v128) (local.get 1)
                (then (drop) #3)
                (else (local.set 0) (drop) (local.get 0) #4)))
        (func (export "one_arm") (param v128 i32) (result v128)
            (local.get 0) (if (param v128) (result v128) (local.get 1) (then (drop) #2)))
        (func (export "returned") (param v128 i32) (result v128 i32)
            (i32.const 4) #3 (if (local.get 1) (then (return (local.get 0) (i32.const 9))))
            (drop) (drop) #1 (i32.const 2))
        (func (export "not_reached") (param v128 i32) (result v128)
            (block (result v128) (local.get 0) (br 0)
                (i32.const 0) #1 (v128.store) (select) (i32.const 1) (drop)))
        (memory 1)
        (func (export "loop") (param v128 i32) (result v128 v128 i32) (local $a v128)
            (local.get 0) #1 (local.get 1)
            (loop $l (param v128 v128 i32) (result v128 v128 i32)
                (local.set 1) (local.set $a) (local.set 0)
                (local.get $a) (local.get 0)
                (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))
                (br_if $l (local.get 1)))))"#;
    for (n, taken) in [(0, false), (1, true)] {
        let args = &[v(30), i(n)];
        let pick = |yes: Vec<Val>, no: Vec<Val>| if taken { yes } else { no };
        check(
            new,
            text,
            &[
                ("params", args, &[v(30), i(n), v(3)]),
                ("br", args, &[v(30)]),
                ("br_many", args, &[v(30), i(n), v(2), Val::I64(3), v(4)]),
                ("br_two", args, &[i(n), v(30)]),
                ("br_if", args, &pick(vec![v(7), v(30)], vec![v(7), v(5)])),
                (
                    "br_if_many",
                    args,
                    &pick(vec![v(1), v(2), v(30), v(4)], vec![v(8), v(7), v(6), v(5)]),
                ),
                ("arms", args, &pick(vec![v(30), v(3)], vec![v(1), v(4)])),
                ("one_arm", args, &pick(vec![v(2)], vec![v(30)])),
                ("returned", args, &pick(vec![v(30), i(9)], vec![v(1), i(2)])),
                ("not_reached", args, &[v(30)]),
            ],
        );
    }
    for n in 0..4 {
        let expected = 10 + n.min(2);
        check(
            new,
            text,
            &[("table", &[v(30), i(n)], &[v(30), i(expected)])],
        );
    }
    for n in 1..6 {
        let (first, second) = if n % 2 == 0 { (30, 1) } else { (1, 30) };
        check(
            new,
            text,
            &[("loop", &[v(30), i(n)], &[v(first), v(second), i(0)])],
        );
    }
}

pub(crate) fn vectors_go_to_memory_and_back(new: New<'_>) {
    let text = r#"(module
        (memory 1) (data (i32.const 0) "................")
        (func (export "copy") (param i32 i32) (result v128)
            (v128.store (local.get 1) (v128.load (local.get 0))) (v128.load (local.get 1)))
        (func (export "put") (param i32 v128) (result v128) (local v128)
            (v128.store offset=3 (local.get 0) (local.get 1))
            (local.set 2 (v128.load offset=3 (local.get 0)))
            (v128.store offset=7 (i32.const 100) (local.get 2))
            (v128.load (i32.const 107)))
        (func (export "halves") (param i64 i64) (result v128)
            (i64.store (i32.const 200) (local.get 0)) (i64.store (i32.const 208) (local.get 1))
            (v128.load (i32.add (i32.const 150) (i32.const 50))))
        (func (export "load") (param i32) (result v128) (v128.load (local.get 0)))
        (func (export "store") (param i32) (v128.store (local.get 0) #1))
        (func (export "load_beyond") (param i32) (result v128) (v128.load offset=0xfffffff0 (local.get 0)))
        (func (export "store_beyond") (param i32) (i32.const 3) (v128.store offset=0xfffffff0 (local.get 0) #1) (drop))
        (func (export "load_far") (param i32) (result v128 i32)
            (v128.load offset=0x8000000 (local.get 0)) (i32.load offset=0x8000000 (local.get 0)))
        (func (export "at_constant") (result v128) (v128.load offset=0xffffffff (i32.const 0x7fffffff))))"#;
    let dots = Val::V128(u128::from_le_bytes(*b"................"));
    let mut guest = Guest::new(new, &with_vectors(text));
    guest.expect("copy", &[i(0), i(48)], &[dots]);
    guest.expect("put", &[i(1), v(7)], &[v(7)]);
    guest.expect(
        "halves",
        &[Val::I64(1), Val::I64(2)],
        &[Val::V128(2 << 64 | 1)],
    );
    guest.expect("load", &[i(0x1_0000 - 16)], &[Val::V128(0)]);
    guest.expect("store", &[i(0x1_0000 - 16)], &[]);
    guest.expect("load", &[i(0x1_0000 - 16)], &[v(1)]);
    for at in [0x1_0000 - 15, 0x1_0000 - 1, 0x1_0000, -16, -1] {
        for name in ["load", "store"] {
            let trap = guest.call(name, &[i(at)]).expect_err("it is outside");
            assert_eq!(
                trap.code(),
                Some(TrapCode::MemoryOutOfBounds),
                "{name} {at}"
            );
        }
    }
    for name in ["load_beyond", "store_beyond", "load_far"] {
        for at in [0, 1, 15, 16, -1] {
            let trap = guest.call(name, &[i(at)]).expect_err("it is outside");
            assert_eq!(
                trap.code(),
                Some(TrapCode::MemoryOutOfBounds),
                "{name} {at}"
            );
        }
    }
    let trap = guest.call("at_constant", &[]).expect_err("it is outside");
    assert_eq!(trap.code(), Some(TrapCode::MemoryOutOfBounds));
    // A store that traps has written nothing.
    guest.expect("load", &[i(0x1_0000 - 16)], &[v(1)]);
}

/// The frames of callers are found behind params that are vectors.
pub(crate) fn traps_behind_vectors_say_where(new: New<'_>) {
    let text = with_vectors(
        r#"(module
        (func $inner (param v128 i32 v128) (result v128) (local v128)
            (if (i32.eqz (local.get 1)) (then (unreachable))) (local.get 2))
        (func $middle (param v128 v128 v128) (result v128)
            (call $inner (local.get 0) (i32.const 0) (local.get 2)))
        (func $outer (export "run") (param v128) (result v128)
            (call $middle #1 #2 (local.get 0))))"#,
    );
    let mut guest = Guest::new(new, &text);
    for _ in 0..ROUNDS {
        let trap = guest.call("run", &[v(1)]).expect_err("it is unreachable");
        assert_eq!(trap.code(), Some(TrapCode::Unreachable));
        let frames = trap.frames().iter();
        let names: Vec<_> = frames.map(|frame| frame.func_name()).collect();
        if far_up::is_far_up() {
            assert_eq!(names.len(), 3);
        } else {
            assert_eq!(names, [Some("inner"), Some("middle"), Some("outer")]);
        }
    }
}

/// A frame is as large as its slots, whichever tier is asked first.
pub(crate) fn locals_beyond_reach_are_too_many(new: New<'_>) {
    for (count, fits) in [(32_758, true), (32_759, false), (40_000, false)] {
        let text = format!(
            "(module (func (export \"run\") (result v128) (local {}) (local.get {})))",
            "v128 ".repeat(count),
            count - 1
        );
        let mut guest = Guest::new(new, &text);
        for _ in 0..2 {
            match guest.call("run", &[]) {
                Ok(found) => assert!(fits && found == [Val::V128(0)], "{count} locals"),
                Err(trap) => {
                    assert!(!fits, "{count} locals: {trap}");
                    assert_eq!(trap.code(), Some(TrapCode::FunctionTooLarge));
                }
            }
        }
    }
}

/// Operands to where instructions can't name their slots, with every remainder at that border; each is read again.
pub(crate) fn stacks_of_vectors_are_deep(new: New<'_>) {
    let count = 33_000;
    for below in 0..3 {
        let scalars = "(i32.const 5) ".repeat(below);
        let text = format!(
            r#"(module (memory 1) (func (export "run") (param v128) (result v128 v128 i32) (local $last v128)
            {scalars} {} {}
            (local.set $last)
            {} {}
            (local.get 0) (local.get $last) (i32.const 4)))"#,
            "(local.get 0) ".repeat(count - 1),
            constant(5),
            "(v128.store (i32.const 16) (v128.load (i32.const 16))) (drop) ".repeat(count - 1),
            "(drop) ".repeat(below),
        );
        let mut guest = Guest::new(new, &text);
        guest.expect("run", &[v(1)], &[v(1), v(5), i(4)]);
    }
}
