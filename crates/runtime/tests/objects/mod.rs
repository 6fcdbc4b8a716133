//! Garbage-collected objects: all storage types, all instructions on structures, arrays and `i31`, casts, traps, and that
//! what is referred to lives.
//!
//! *Invariant:* guests take and return numbers only, so that nothing of the host keeps their objects alive.
//! *Invariant:* what is called is called several times: other tiers take over in between, or in the middle.
//!
//! A tier's tests include this as a module. They run each test in stores that collect at each allocation, too.

mod casts;
#[path = "../far_up/mod.rs"]
pub(crate) mod far_up;
mod stored;

use tiered_runtime::{Instance, Linker, Store, Trap, TrapCode, Val};

pub(crate) use casts::{casts_tell_types_apart, functions_have_supertypes};
pub(crate) use stored::{elements_hold_all_types, fields_hold_all_types, segments_become_arrays};

/// What makes a store of the tier that is tested.
pub(crate) type New<'a> = &'a dyn Fn() -> Store<i32>;

/// How often everything is called.
const ROUNDS: usize = 3;

struct Guest {
    store: Store<i32>,
    instance: Instance,
}

impl Guest {
    fn new(new: New<'_>, text: &str) -> Guest {
        let module = far_up::module(text);
        let mut store = new();
        let instance = Linker::new().instantiate(&mut store, &module);
        let instance = instance.unwrap_or_else(|err| panic!("{err}\n{text}"));
        Guest { store, instance }
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let func = self.instance.func(&self.store, name);
        let func = func.unwrap_or_else(|| panic!("{name} is exported"));
        func.call(&mut self.store, args)
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

    /// As [`Guest::expect`], of what traps.
    fn traps(&mut self, name: &str, args: &[Val], code: TrapCode) {
        for round in 0..ROUNDS {
            let trap = self.call(name, args).err();
            let found = trap.and_then(|trap| trap.code());
            assert_eq!(found, Some(code), "{name} of {args:?}, call {round}");
        }
    }
}

fn i(n: i32) -> Val {
    Val::I32(n)
}

/// Numbers of 31 bits, constant or not.
pub(crate) fn numbers_are_references(new: New<'_>) {
    let text = r#"(module
        (type $box (struct (field (mut i31ref))))
        (func (export "signed") (param i32) (result i32) (i31.get_s (ref.i31 (local.get 0))))
        (func (export "unsigned") (param i32) (result i32) (i31.get_u (ref.i31 (local.get 0))))
        (func (export "constant") (result i32)
            (local $b (ref null $box))
            (local.set $b (struct.new $box (ref.i31 (i32.const -2))))
            (i32.mul (i31.get_s (struct.get $box 0 (local.get $b))) (i31.get_s (ref.i31 (i32.const 0x7fffffff))))
            (struct.set $box 0 (local.get $b) (ref.i31 (i32.const 0x40000000)))
            (i32.add (i31.get_u (struct.get $box 0 (local.get $b)))))
        (func (export "equal") (param i32 i32) (result i32)
            (ref.eq (ref.i31 (local.get 0)) (ref.i31 (local.get 1))))
        (func (export "is_null") (param i32) (result i32) (ref.is_null (ref.i31 (local.get 0))))
        (func (export "null_s") (result i32) (i31.get_s (ref.null i31)))
        (func (export "null_u") (result i32) (i31.get_u (ref.null i31))))"#;
    let mut guest = Guest::new(new, text);
    for (number, signed, unsigned) in [
        (0, 0, 0),
        (-1, -1, 0x7fff_ffff),
        (0x4000_0000, -0x4000_0000, 0x4000_0000),
        (0x3fff_ffff, 0x3fff_ffff, 0x3fff_ffff),
        (i32::MIN, 0, 0),
    ] {
        guest.expect("signed", &[i(number)], &[i(signed)]);
        guest.expect("unsigned", &[i(number)], &[i(unsigned)]);
        guest.expect("is_null", &[i(number)], &[i(0)]);
        guest.expect("equal", &[i(number), i(number)], &[i(1)]);
        guest.expect("equal", &[i(number), i(number ^ i32::MIN)], &[i(1)]);
        guest.expect("equal", &[i(number), i(number ^ 1)], &[i(0)]);
    }
    guest.expect("constant", &[], &[i(0x4000_0002)]);
    guest.traps("null_s", &[], TrapCode::NullI31Reference);
    guest.traps("null_u", &[], TrapCode::NullI31Reference);
}

/// Identity, and what a conversion to the host's side and back leaves of it.
pub(crate) fn objects_have_identity(new: New<'_>) {
    let text = r#"(module
        (type $s (struct (field i32)))
        (func (export "same") (result i32) (local $a (ref null $s)) (local $b (ref null $s))
            (local.set $a (struct.new $s (i32.const 1)))
            (local.set $b (struct.new $s (i32.const 1)))
            (i32.add
                (ref.eq (local.get $a) (local.get $a))
                (i32.mul (i32.const 10) (ref.eq (local.get $a) (local.get $b)))))
        (func (export "branch") (result i32) (local $a (ref null $s))
            (local.set $a (struct.new $s (i32.const 1)))
            (if (result i32) (ref.eq (local.get $a) (ref.null none))
                (then (i32.const 1)) (else (i32.const 2))))
        (func (export "there_and_back") (result i32) (local $e externref) (local $a (ref null $s))
            (local.set $a (struct.new $s (i32.const 5)))
            (local.set $e (extern.convert_any (local.get $a)))
            (local.set $a (struct.new $s (i32.const 6)))
            (struct.get $s 0 (ref.cast (ref $s) (any.convert_extern (local.get $e)))))
        (func (export "tests") (result i32) (local $e externref)
            (local.set $e (extern.convert_any (ref.i31 (i32.const 5))))
            (i32.add (ref.test (ref extern) (local.get $e))
                (i32.mul (i32.const 10) (ref.test (ref null noextern) (local.get $e)))))
        (func (export "selected") (param i32) (result i32)
            (ref.test (ref struct) (select (result anyref)
                (struct.new $s (i32.const 1)) (ref.i31 (i32.const 2)) (local.get 0)))))"#;
    let mut guest = Guest::new(new, text);
    guest.expect("same", &[], &[i(1)]);
    guest.expect("branch", &[], &[i(2)]);
    guest.expect("there_and_back", &[], &[i(5)]);
    guest.expect("tests", &[], &[i(1)]);
    guest.expect("selected", &[i(1)], &[i(1)]);
    guest.expect("selected", &[i(0)], &[i(0)]);
}

/// Objects that only locals, operands, blocks' parameters or other objects refer to live while others are made.
pub(crate) fn what_is_referred_to_lives(new: New<'_>) {
    let text = r#"(module
        (type $list (struct (field i32) (field (mut (ref null $list)))))
        (type $tree (struct (field (ref null $tree)) (field (ref null $tree))))
        (type $lists (array (mut (ref null $list))))
        (global $g (mut (ref null $list)) (ref.null $list))
        (func $tree (param $depth i32) (result (ref null $tree))
            (if (i32.eqz (local.get $depth)) (then (return (struct.new_default $tree))))
            (struct.new $tree
                (call $tree (i32.sub (local.get $depth) (i32.const 1)))
                (call $tree (i32.sub (local.get $depth) (i32.const 1)))))
        (func $count (param $tree (ref null $tree)) (result i32)
            (if (ref.is_null (local.get $tree)) (then (return (i32.const 0))))
            (i32.add (i32.const 1)
                (i32.add
                    (call $count (struct.get $tree 0 (local.get $tree)))
                    (call $count (struct.get $tree 1 (local.get $tree))))))
        (func (export "tree") (param i32) (result i32) (call $count (call $tree (local.get 0))))
        (func $sum (param $list (ref null $list)) (result i32) (local $sum i32)
            (block $done
                (loop $next
                    (br_on_null $done (local.get $list))
                    (local.set $sum (i32.add (struct.get $list 0) (local.get $sum)))
                    (local.set $list (struct.get $list 1 (local.get $list)))
                    (br $next)))
            (local.get $sum))
        ;; In a loop without calls, whose locals may be in registers.
        (func (export "list") (param $n i32) (result i32) (local $list (ref null $list))
            (loop $next
                (local.set $list (struct.new $list (local.get $n) (local.get $list)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (call $sum (local.get $list)))
        ;; As a parameter of the loop.
        (func (export "along") (param $n i32) (result i32)
            (ref.null $list)
            (loop $next (param (ref null $list)) (result (ref null $list))
                (struct.set $list 1 (struct.new $list (i32.const -1) (ref.null $list)) (ref.null $list))
                (global.set $g)
                (struct.new $list (local.get $n) (global.get $g))
                (global.set $g (ref.null $list))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (call $sum))
        ;; As operands below others.
        (func (export "operands") (result i32) (local $sum i32)
            (struct.get $list 0 (struct.new $list (i32.const 1) (ref.null $list)))
            (struct.new $list (i32.const 2) (ref.null $list))
            (struct.new $list (i32.const 4) (ref.null $list))
            (struct.new $list (i32.const 8) (ref.null $list))
            (drop (array.new_default $lists (i32.const 3)))
            (global.set $g (struct.new $list (i32.const 32) (ref.null $list)))
            (local.set $sum (struct.get $list 0))
            (local.set $sum (i32.add (struct.get $list 0) (local.get $sum)))
            (local.set $sum (i32.add (struct.get $list 0) (local.get $sum)))
            (i32.add (local.get $sum))
            (i32.add (struct.get $list 0 (struct.new $list (i32.const 16) (ref.null $list))))
            (i32.add (struct.get $list 0 (global.get $g))))
        (func (export "elements") (param $n i32) (result i32)
            (local $a (ref null $lists)) (local $i i32) (local $sum i32)
            (local.set $a (array.new_default $lists (local.get $n)))
            (loop $next
                (array.set $lists (local.get $a) (local.get $i)
                    (struct.new $list (local.get $i)
                        (array.get $lists (local.get $a) (i32.div_u (local.get $i) (i32.const 2)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
            (loop $next
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (local.set $sum (i32.add (local.get $sum)
                    (struct.get $list 0 (array.get $lists (local.get $a) (local.get $i)))))
                (br_if $next (local.get $i)))
            (local.get $sum)))"#;
    let mut guest = Guest::new(new, text);
    guest.expect("tree", &[i(5)], &[i(63)]);
    guest.expect("list", &[i(60)], &[i(1830)]);
    guest.expect("along", &[i(60)], &[i(1830)]);
    guest.expect("operands", &[], &[i(63)]);
    guest.expect("elements", &[i(40)], &[i(780)]);
}

/// More operands than instructions can name: all of a large object.
pub(crate) fn objects_may_have_many_operands(new: New<'_>) {
    const FIELDS: usize = 3000;
    let fields = |ty: &str| format!("(field {ty}) ").repeat(FIELDS);
    let numbers: String = (0..FIELDS).map(|n| format!("(i32.const {n}) ")).collect();
    let vectors = "(v128.const i64x2 7 9) ".repeat(FIELDS);
    let last = FIELDS - 1;
    let text = format!(
        r#"(module
        (type $words (struct {words}))
        (type $wide (struct {wide}))
        (type $a (array i32))
        (type $v (array v128))
        (func (export "words") (result i32) (local $s (ref null $words))
            (local.set $s (struct.new $words {numbers}))
            (i32.add (struct.get $words {last} (local.get $s)) (struct.get $words 1000 (local.get $s))))
        (func (export "wide") (result i32)
            (i32x4.extract_lane 2 (struct.get $wide {last} (struct.new $wide {vectors}))))
        (func (export "zeros") (result i32) (local $s (ref null $wide))
            (local.set $s (struct.new_default $wide))
            (v128.any_true (v128.or (struct.get $wide {last} (local.get $s)) (struct.get $wide 0 (local.get $s)))))
        (func (export "fixed") (result i32) (local $a (ref null $a))
            (local.set $a (array.new_fixed $a {FIELDS} {numbers}))
            (i32.add (array.get $a (local.get $a) (i32.const {last})) (array.len (local.get $a))))
        (func (export "vectors") (result i32)
            (i32x4.extract_lane 0 (array.get $v (array.new_fixed $v {FIELDS} {vectors}) (i32.const {last})))))"#,
        words = fields("i32"),
        wide = fields("v128"),
    );
    let mut guest = Guest::new(new, &text);
    guest.expect("words", &[], &[i(last as i32 + 1000)]);
    guest.expect("wide", &[], &[i(9)]);
    guest.expect("zeros", &[], &[i(0)]);
    guest.expect("fixed", &[], &[i((last + FIELDS) as i32)]);
    guest.expect("vectors", &[], &[i(7)]);
}

/// A heap that is full of what lives, and objects that are larger than it may be, are traps; what is freed makes room, also for
/// little, and at once.
///
/// The stores' heaps may take `bytes`. A stale word on a stack may keep an object, but none of these leads to another.
pub(crate) fn a_full_heap_is_a_trap(new: New<'_>, bytes: u64) {
    let most = bytes / 48 + 1000;
    let text = format!(
        r#"(module
        (type $cell (struct (field i64) (field i64) (field i64) (field i64) (field i64)))
        (type $bytes (array i8))
        (table $kept {most} (ref null $cell))
        (func (export "keep") (local $n i32)
            (loop $next
                (table.set $kept (local.get $n) (struct.new_default $cell))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br $next)))
        (func (export "forget")
            (table.fill $kept (i32.const 0) (ref.null $cell) (table.size $kept)))
        (func (export "drop") (param $n i32) (result i32)
            (loop $next
                (drop (struct.new_default $cell))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (i32.const 1))
        (func (export "bytes") (param i32) (result i32)
            (array.len (array.new_default $bytes (local.get 0)))))"#
    );
    let mut guest = Guest::new(new, &text);
    let many = i(most as i32);
    guest.expect("drop", &[many], &[i(1)]);
    guest.traps("keep", &[], TrapCode::HeapExhausted);
    guest.expect("forget", &[], &[]);
    guest.expect("drop", &[i(1)], &[i(1)]);
    guest.expect("drop", &[many], &[i(1)]);
    guest.traps("bytes", &[i(-1)], TrapCode::ObjectTooLarge);
    guest.expect("bytes", &[i(100_000)], &[i(100_000)]);
}

/// Zeroing a large structure takes fuel as filling does, in stores that count it.
pub(crate) fn large_structures_take_fuel(new: New<'_>) {
    const FIELDS: u64 = 4096;
    const COUNT: u64 = 10;
    let fields = "(field i64) ".repeat(FIELDS as usize);
    let text = format!(
        r#"(module
        (type $s (struct {fields}))
        (func (export "make") (param $n i32)
            (loop $next
                (drop (struct.new_default $s))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))))"#
    );
    let mut guest = Guest::new(new, &text);
    let before = guest.store.fuel().expect("the store counts fuel");
    let made = guest.call("make", &[i(COUNT as i32)]);
    made.unwrap_or_else(|trap| panic!("{trap:?}"));
    let taken = before - guest.store.fuel().expect("it still does");
    let units = COUNT * FIELDS * 8 / 4096;
    assert!(taken >= units, "{taken} for {units}");
}
