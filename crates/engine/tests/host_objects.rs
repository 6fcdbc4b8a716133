//! Garbage-collected objects as the embedder sees them: handles, fields and elements, host functions that take and make them,
//! constant expressions, what dies and when, and the heap's end.

mod guest;
mod modes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use guest::{call, guest, instance, module};
use modes::in_all_modes;
use tiered::decode::index::TypeIdx;
use tiered::decode::types::{AbstractHeapType, GlobalType, HeapType, RefType, TypeId, ValType};
use tiered::{
    AnyRef, ArrayRef, Caller, Config, Engine, ExternRef, Global, GuestObject, Instance,
    InstantiateError, Limits, Linker, Module, ObjectError, Store, StructRef, TrapCode, Val,
};

in_all_modes! {
    constants_make_objects,
    the_host_reads_and_writes_what_the_guest_made,
    the_host_makes_what_the_guest_reads,
    equal_types_of_two_modules_are_one_type,
    host_functions_take_and_give_references,
    references_change_sides,
    objects_die_with_their_last_reference,
    exceptions_are_kept_by_objects_and_keep_objects,
    a_full_heap_is_a_trap_that_the_store_survives,
    long_arrays_end_when_the_guest_is_stopped,
    a_destructor_that_panics_waits_for_the_host,
}

/// Runs `test` as the configuration says, and once more with a collection at each allocation.
fn stressed(config: &Config, test: impl Fn(&Config)) {
    test(config);
    test(&config.clone().gc_stress(true));
}

fn global(store: &mut Store<()>, instance: Instance, name: &str) -> AnyRef {
    let global = instance.global(store, name).expect("it is exported");
    match global.get(store) {
        Val::AnyRef(Some(reference)) => reference,
        other => panic!("{other:?}"),
    }
}

fn id(module: &Module, ty: u32) -> TypeId {
    module.code().type_id(TypeIdx(ty))
}

fn any(value: &Val) -> AnyRef {
    match value {
        Val::AnyRef(Some(reference)) => *reference,
        other => panic!("{other:?}"),
    }
}

fn constants_make_objects(config: &Config) {
    let text = r#"(module
        (type $pair (struct (field i32) (field (mut (ref null any))) (field i8) (field v128)))
        (type $bytes (array (mut i8)))
        (type $refs (array (ref null any)))
        (global $inner (export "inner") (ref $pair) (struct.new $pair
            (i32.const 7) (array.new_fixed $bytes 3 (i32.const 1) (i32.const 0x1ff) (i32.const 3))
            (i32.const 0x181) (v128.const i64x2 1 2)))
        (global (export "outer") (ref $refs) (array.new_fixed $refs 4
            (global.get $inner) (ref.i31 (i32.const -5)) (ref.null none)
            (struct.new $pair (i32.const 8) (array.new $refs (struct.new_default $pair) (i32.const 3))
                (i32.const 0) (v128.const i64x2 3 4))))
        (global (export "defaults") (ref $bytes) (array.new_default $bytes (i32.const 1000)))
        (global (export "extern") externref (extern.convert_any (struct.new_default $pair)))
        (table (export "table") 3 (ref $pair) (struct.new $pair (i32.const 9) (ref.null any) (i32.const 0) (v128.const i64x2 5 6)))
        (table $t (export "active") 4 anyref)
        (elem (table $t) (i32.const 1) anyref (item (ref.i31 (i32.const 1))) (item (struct.new_default $pair))
            (item (array.new_default $refs (i32.const 2))))
        (elem $passive anyref (item (struct.new $pair (i32.const 11) (ref.null any) (i32.const 0) (v128.const i64x2 5 6))))
        (func (export "passive") (result i32)
            (table.init $t $passive (i32.const 0) (i32.const 0) (i32.const 1))
            (struct.get $pair 0 (ref.cast (ref $pair) (table.get $t (i32.const 0))))))"#;
    stressed(config, |config| {
        let (mut store, instance) = guest(config, text, &Linker::new(), ());
        store.collect_garbage();
        let inner = global(&mut store, instance, "inner");
        let pair = inner.to_struct(&store).expect("it is one");
        assert_eq!(pair.get(&store, 0).expect("a field"), Val::I32(7));
        assert_eq!(pair.get(&store, 2).expect("a field"), Val::I32(0x81));
        assert_eq!(
            pair.get(&store, 3).expect("a field"),
            Val::V128(2 << 64 | 1)
        );
        let bytes = any(&pair.get(&store, 1).expect("a field"));
        let bytes = bytes.to_array(&store).expect("it is one");
        let values = (0..3).map(|at| bytes.get(&store, at).expect("an element"));
        assert_eq!(values.collect::<Vec<_>>(), [1, 0xff, 3].map(Val::I32));
        let outer = global(&mut store, instance, "outer").to_array(&store);
        let outer = outer.expect("it is one");
        assert_eq!(outer.len(&store), 4);
        let elements: Vec<Val> = (0..4)
            .map(|at| outer.get(&store, at).expect("an element"))
            .collect();
        assert_eq!(any(&elements[0]), inner);
        assert_eq!(any(&elements[1]).i31(&store), Some(-5));
        assert_eq!(elements[2], Val::AnyRef(None));
        let last = any(&elements[3]).to_struct(&store).expect("it is one");
        assert_eq!(last.get(&store, 0).expect("a field"), Val::I32(8));
        let filled = any(&last.get(&store, 1).expect("a field"));
        let filled = filled.to_array(&store).expect("it is one");
        assert_eq!(
            filled.get(&store, 0).expect("an element"),
            filled.get(&store, 2).expect("an element")
        );
        let defaults = global(&mut store, instance, "defaults").to_array(&store);
        let defaults = defaults.expect("it is one");
        assert_eq!(defaults.len(&store), 1000);
        assert_eq!(defaults.get(&store, 999).expect("there"), Val::I32(0));
        let table = instance.table(&store, "table").expect("it is exported");
        let row = any(&table.get(&store, 2).expect("an element"));
        let row = row.to_struct(&store).expect("it is one");
        assert_eq!(row.get(&store, 0).expect("a field"), Val::I32(9));
        let active = instance.table(&store, "active").expect("it is exported");
        let places: Vec<Val> = (0..4u64)
            .map(|at| active.get(&store, at).expect("there"))
            .collect();
        assert_eq!(places[0], Val::AnyRef(None));
        assert_eq!(any(&places[1]).i31(&store), Some(1));
        assert!(any(&places[2]).to_struct(&store).is_some());
        assert!(any(&places[3]).to_array(&store).is_some());
        assert_eq!(
            call(&mut store, instance, "passive", &[]).expect("it returns"),
            [Val::I32(11)]
        );
    });
}

const SHAPES: &str = r#"(module
    (type $point (sub (struct (field $x (mut i32)) (field (mut i16)) (field f64))))
    (type $named (sub final $point (struct (field $x (mut i32)) (field (mut i16)) (field f64) (field (mut (ref null $point))))))
    (type $words (array (mut i64)))
    (type $points (array (mut (ref $point))))
    (type $frozen (array i8))
    (func (export "named") (param i32) (result (ref $named))
        (struct.new $named (local.get 0) (i32.const -1) (f64.const 1.5) (ref.null $point)))
    (func (export "point") (result (ref $point)) (struct.new_default $point))
    (func (export "words") (param i64 i32) (result (ref $words)) (array.new $words (local.get 0) (local.get 1)))
    (func (export "frozen") (result (ref $frozen)) (array.new_default $frozen (i32.const 2)))
    (func (export "x") (param (ref $point)) (result i32 i32)
        (struct.get $point $x (local.get 0)) (struct.get_s $point 1 (local.get 0)))
    (func (export "sum") (param (ref $words)) (result i64) (local $i i32) (local $sum i64)
        (loop $next
            (if (i32.lt_u (local.get $i) (array.len (local.get 0)))
                (then
                    (local.set $sum (i64.add (local.get $sum) (array.get $words (local.get 0) (local.get $i))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next))))
        (local.get $sum))
    (func (export "first") (param (ref $points)) (result i32)
        (struct.get $point $x (array.get $points (local.get 0) (i32.const 0))))
    (func (export "is_named") (param anyref) (result i32) (ref.test (ref $named) (local.get 0))))"#;

fn the_host_reads_and_writes_what_the_guest_made(config: &Config) {
    stressed(config, |config| {
        let (mut store, instance) = guest(config, SHAPES, &Linker::new(), ());
        let made = call(&mut store, instance, "named", &[Val::I32(41)]).expect("it returns");
        let named = any(&made[0]);
        let HeapType::Concrete(_, ty) = named.ty(&store) else {
            panic!("{:?}", named.ty(&store))
        };
        assert!(ty.definition().is_some_and(|ty| ty.is_final));
        for (ty, expected) in [
            (AbstractHeapType::Struct, true),
            (AbstractHeapType::Eq, true),
            (AbstractHeapType::Any, true),
            (AbstractHeapType::Array, false),
            (AbstractHeapType::I31, false),
            (AbstractHeapType::None, false),
        ] {
            assert_eq!(
                named.matches(HeapType::Abstract(ty), &store),
                expected,
                "{ty:?}"
            );
        }
        assert!(named.to_array(&store).is_none() && named.i31(&store).is_none());
        let fields = named.to_struct(&store).expect("it is one");
        assert_eq!(fields.field_types(&store).len(), 4);
        assert_eq!(fields.get(&store, 1).expect("a field"), Val::I32(0xffff));
        fields
            .set(&mut store, 0, Val::I32(-9))
            .expect("it is mutable");
        fields
            .set(&mut store, 1, Val::I32(0x1_8000))
            .expect("it is mutable");
        fields.set(&mut store, 3, made[0]).expect("a subtype's");
        store.collect_garbage();
        assert_eq!(any(&fields.get(&store, 3).expect("a field")), named);
        assert_eq!(
            call(&mut store, instance, "x", &made).expect("it returns"),
            [Val::I32(-9), Val::I32(-0x8000)]
        );
        let refused = fields.set(&mut store, 2, Val::F64(0));
        assert!(
            matches!(refused, Err(ObjectError::Immutable)),
            "{refused:?}"
        );
        let refused = fields.set(&mut store, 0, Val::I64(0));
        assert!(
            matches!(refused, Err(ObjectError::Type { .. })),
            "{refused:?}"
        );
        let i31 = AnyRef::from_i31(&mut store, -1).expect("there is memory");
        let refused = fields.set(&mut store, 3, i31.into());
        assert!(
            matches!(refused, Err(ObjectError::Type { .. })),
            "{refused:?}"
        );
        for index in [4, u32::MAX] {
            let refused = fields.get(&store, index);
            assert!(
                matches!(refused, Err(ObjectError::OutOfBounds { length: 4, .. })),
                "{refused:?}"
            );
        }
        let words = call(&mut store, instance, "words", &[Val::I64(5), Val::I32(3)]);
        let words = words.expect("it returns");
        let array = any(&words[0]).to_array(&store).expect("it is one");
        assert_eq!(array.len(&store), 3);
        array
            .set(&mut store, 2, Val::I64(-100))
            .expect("it is mutable");
        assert_eq!(array.get(&store, 2).expect("there"), Val::I64(-100));
        let refused = array.get(&store, 3);
        assert!(
            matches!(refused, Err(ObjectError::OutOfBounds { .. })),
            "{refused:?}"
        );
        let refused = array.set(&mut store, 0, Val::I32(1));
        assert!(
            matches!(refused, Err(ObjectError::Type { .. })),
            "{refused:?}"
        );
        assert_eq!(
            call(&mut store, instance, "sum", &words).expect("it returns"),
            [Val::I64(-90)]
        );
        let frozen = call(&mut store, instance, "frozen", &[]).expect("it returns");
        let frozen = any(&frozen[0]).to_array(&store).expect("it is one");
        assert!(!frozen.element_type(&store).mutable);
        let refused = frozen.set(&mut store, 0, Val::I32(1));
        assert!(
            matches!(refused, Err(ObjectError::Immutable)),
            "{refused:?}"
        );
    });
}

fn the_host_makes_what_the_guest_reads(config: &Config) {
    stressed(config, |config| {
        let engine = Engine::new(config);
        let mut store = Store::new(&engine, ()).expect("a store");
        let shapes = module(&engine, SHAPES);
        let (point, named, words, points) = (
            id(&shapes, 0),
            id(&shapes, 1),
            id(&shapes, 2),
            id(&shapes, 3),
        );
        let values = [Val::I32(3), Val::I32(4), Val::F64(0), Val::AnyRef(None)];
        let refused = StructRef::new(&mut store, named, &values);
        assert!(
            matches!(refused, Err(ObjectError::UnknownType)),
            "{refused:?}"
        );
        let instance = Linker::new()
            .instantiate(&mut store, &shapes)
            .expect("no imports");
        let made = StructRef::new(&mut store, named, &values).expect("there is room");
        let results = call(&mut store, instance, "x", &[made.into()]).expect("it returns");
        assert_eq!(results, [Val::I32(3), Val::I32(4)]);
        let results = call(&mut store, instance, "is_named", &[made.into()]);
        assert_eq!(results.expect("it returns"), [Val::I32(1)]);
        let array = ArrayRef::new(&mut store, points, &[made.into(); 3]).expect("there is room");
        let results = call(&mut store, instance, "first", &[array.into()]);
        assert_eq!(results.expect("it returns"), [Val::I32(3)]);
        let long: Vec<Val> = (0..20_000).map(Val::I64).collect();
        let long = ArrayRef::new(&mut store, words, &long).expect("there is room");
        let results = call(&mut store, instance, "sum", &[long.into()]);
        assert_eq!(results.expect("it returns"), [Val::I64(19_999 * 10_000)]);
        let refused = StructRef::new(&mut store, named, &values[..3]);
        assert!(
            matches!(
                refused,
                Err(ObjectError::Count {
                    expected: 4,
                    found: 3
                })
            ),
            "{refused:?}"
        );
        let refused = ArrayRef::new(&mut store, points, &[Val::AnyRef(None)]);
        assert!(
            matches!(refused, Err(ObjectError::Type { .. })),
            "{refused:?}"
        );
        for refused in [
            StructRef::new(&mut store, words, &values).map(|_| ()),
            ArrayRef::new(&mut store, point, &values).map(|_| ()),
        ] {
            assert!(
                matches!(refused, Err(ObjectError::UnknownType)),
                "{refused:?}"
            );
        }
        // A parameter takes what is of its type.
        let refused = call(&mut store, instance, "sum", &[made.into()]);
        refused.expect_err("it is no array");
    });
}

fn equal_types_of_two_modules_are_one_type(config: &Config) {
    let maker = r#"(module
        (rec (type $list (sub (struct (field i32) (field (ref null $list)))))
            (type $long (sub $list (struct (field i32) (field (ref null $list)) (field i64)))))
        (func (export "make") (param i32) (result anyref)
            (struct.new $long (local.get 0) (struct.new $list (i32.const 1) (ref.null none)) (i64.const 2)))
        (func (export "typed") (param i32) (result (ref $long))
            (struct.new $long (local.get 0) (ref.null none) (i64.const 2))))"#;
    let user = r#"(module
        (type $other (sub (struct (field i32))))
        (rec (type $list (sub (struct (field i32) (field (ref null $list)))))
            (type $long (sub $list (struct (field i32) (field (ref null $list)) (field i64)))))
        (type $alone (sub (struct (field i32) (field (ref null $alone)))))
        (import "maker" "make" (func $make (param i32) (result anyref)))
        (import "maker" "typed" (func $typed (param i32) (result (ref $long))))
        (func (export "run") (param i32) (result i32 i32 i32 i32) (local $made anyref)
            (local.set $made (call $make (local.get 0)))
            (struct.get $list 0 (ref.cast (ref $list) (local.get $made)))
            (ref.test (ref $long) (local.get $made))
            (ref.test (ref $alone) (local.get $made))
            (struct.get $list 0 (call $typed (local.get 0)))))"#;
    stressed(config, |config| {
        let engine = Engine::new(config);
        let mut store = Store::new(&engine, ()).expect("a store");
        let made = instance(&mut store, &engine, &Linker::new(), maker);
        let mut linker = Linker::new();
        linker.instance(&store, "maker", made).expect("free names");
        let user = instance(&mut store, &engine, &linker, user);
        for n in 0..50 {
            let results = call(&mut store, user, "run", &[Val::I32(n)]).expect("it returns");
            assert_eq!(results, [n, 1, 0, n].map(Val::I32));
        }
    });
}

fn host_functions_take_and_give_references(config: &Config) {
    let text = r#"(module
        (type $box (struct (field (mut i32))))
        (import "host" "turn" (func $turn (param anyref) (result anyref)))
        (import "host" "i31" (func $i31 (param i32) (result (ref any))))
        (import "host" "churn" (func $churn (param i32) (result i32)))
        (func (export "garbage") (param $n i32)
            (loop (drop (struct.new $box (local.get $n)))
                (br_if 0 (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0)))))
        (func (export "run") (param i32) (result i32) (local $box (ref null $box))
            (local.set $box (struct.new $box (local.get 0)))
            (drop (call $churn (i32.const 20)))
            (local.set $box (ref.cast (ref $box) (call $turn (local.get $box))))
            (drop (call $churn (i32.const 20)))
            (i32.add (struct.get $box 0 (local.get $box)) (i31.get_s (ref.cast i31ref (call $i31 (local.get 0)))))))"#;
    stressed(config, |config| {
        let mut linker = Linker::new();
        linker
            .func(
                "host",
                "turn",
                |mut caller: Caller<'_, ()>, value: Option<AnyRef>| {
                    let object = value.and_then(|value| value.to_struct(&caller));
                    let object = object.expect("it is one");
                    let number = object.get(&caller, 0).expect("a field");
                    let number = number.i32().expect("an i32");
                    object
                        .set(&mut caller, 0, Val::I32(number * 2))
                        .expect("mutable");
                    value
                },
            )
            .expect("a new name");
        linker
            .func("host", "i31", |mut caller: Caller<'_, ()>, value: i32| {
                AnyRef::from_i31(&mut caller, -value)
            })
            .expect("a new name");
        linker
            .func("host", "churn", |mut caller: Caller<'_, ()>, count: i32| {
                caller.collect_garbage();
                let garbage = caller.export("garbage").and_then(|export| export.func());
                let garbage = garbage.expect("the guest exports it");
                garbage.call(&mut caller, &[Val::I32(count)]).map(|_| count)
            })
            .expect("a new name");
        let (mut store, instance) = guest(config, text, &linker, ());
        for n in [0, 1, 100, 0x3fff_ffff] {
            let results = call(&mut store, instance, "run", &[Val::I32(n)]).expect("it returns");
            assert_eq!(results, [Val::I32(n)]);
        }
    });
}

fn references_change_sides(config: &Config) {
    let text = r#"(module
        (type $box (struct (field i32)))
        (func (export "out") (param i32) (result externref) (extern.convert_any (struct.new $box (local.get 0))))
        (func (export "number") (param i32) (result externref) (extern.convert_any (ref.i31 (local.get 0))))
        (func (export "in") (param externref) (result anyref) (any.convert_extern (local.get 0)))
        (func (export "unbox") (param externref) (result i32)
            (struct.get $box 0 (ref.cast (ref $box) (any.convert_extern (local.get 0)))))
        (func (export "tests") (param externref) (result i32)
            (ref.test (ref eq) (any.convert_extern (local.get 0)))))"#;
    stressed(config, |config| {
        let (mut store, instance) = guest(config, text, &Linker::new(), ());
        let out = call(&mut store, instance, "out", &[Val::I32(7)]).expect("it returns");
        let Val::ExternRef(Some(reference)) = out[0] else {
            panic!("{out:?}")
        };
        assert!(reference.data(&store).is::<GuestObject>());
        assert!(reference.to_any().to_struct(&store).is_some());
        let results = call(&mut store, instance, "unbox", &out).expect("it returns");
        assert_eq!(results, [Val::I32(7)]);
        let number = call(&mut store, instance, "number", &[Val::I32(-7)]).expect("it returns");
        let Val::ExternRef(Some(reference)) = number[0] else {
            panic!("{number:?}")
        };
        assert!(reference.data(&store).is::<GuestObject>());
        assert_eq!(reference.to_any().i31(&store), Some(-7));
        let value = ExternRef::new(&mut store, "a value").expect("there is room");
        let inside = call(&mut store, instance, "in", &[value.into()]).expect("it returns");
        let inside = any(&inside[0]);
        assert_eq!(inside.ty(&store), HeapType::Abstract(AbstractHeapType::Any));
        assert!(inside.to_struct(&store).is_none() && inside.i31(&store).is_none());
        assert_eq!(inside.to_extern(), value);
        assert_eq!(
            inside.to_extern().data(&store).downcast_ref(),
            Some(&"a value")
        );
        for (value, is_eq) in [(out[0], 1), (number[0], 1), (value.into(), 0)] {
            let results = call(&mut store, instance, "tests", &[value]).expect("it returns");
            assert_eq!(results, [Val::I32(is_eq)]);
        }
        let trap = call(&mut store, instance, "unbox", &number).expect_err("it is no box");
        assert_eq!(trap.code(), Some(TrapCode::CastFailure));
    });
}

/// A value of the host that counts how many of its kind there are.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn objects_die_with_their_last_reference(config: &Config) {
    let text = r#"(module
        (rec (type $node (struct (field (mut (ref null $node))) (field externref))))
        (type $nodes (array (mut (ref null $node))))
        (global $g (export "g") (mut (ref null $node)) (ref.null $node))
        (global $a (mut (ref null $nodes)) (ref.null $nodes))
        (func (export "ring") (param externref) (local $first (ref null $node)) (local $second (ref null $node))
            (local.set $first (struct.new $node (ref.null $node) (local.get 0)))
            (local.set $second (struct.new $node (local.get $first) (ref.null extern)))
            (struct.set $node 0 (local.get $first) (local.get $second))
            (global.set $g (local.get $second)))
        (func (export "to_array") (param i32)
            (global.set $a (array.new $nodes (ref.null $node) (i32.const 70000)))
            (array.set $nodes (global.get $a) (local.get 0) (global.get $g))
            (global.set $g (ref.null $node)))
        (func (export "copy") (param i32)
            (array.copy $nodes $nodes (global.get $a) (i32.const 1) (global.get $a) (local.get 0) (i32.const 1))
            (array.set $nodes (global.get $a) (local.get 0) (ref.null $node)))
        (func (export "clear") (array.fill $nodes (global.get $a) (i32.const 0) (ref.null $node) (i32.const 70000)))
        (func (export "deep") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (call 4 (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
                (else (i32.const 0)))))"#;
    for stress in [false, true] {
        let config = config.clone().gc_stress(stress);
        let (mut store, instance) = guest(&config, text, &Linker::new(), ());
        let count = Arc::new(AtomicUsize::new(0));
        let scope = store.enter_scope();
        let value = ExternRef::new(&mut store, Counted::new(&count)).expect("there is room");
        call(&mut store, instance, "ring", &[value.into()]).expect("it returns");
        store.leave_scope(scope);
        let mut step = |name: &str, args: &[Val], left: usize| {
            if !name.is_empty() {
                call(&mut store, instance, name, args).expect("it returns");
            }
            store.collect_garbage();
            assert_eq!(count.load(Ordering::Relaxed), left, "after {name}");
        };
        step("", &[], 1);
        step("to_array", &[Val::I32(69_999)], 1);
        step("copy", &[Val::I32(69_999)], 1);
        step("clear", &[], 0);
        let heap = store.heap_stats();
        assert_eq!(heap.live_objects, 1, "{heap:?}");
        // A global of the host's keeps what is in it.
        let ty = GlobalType {
            content: ValType::ANYREF,
            mutable: true,
        };
        let scope = store.enter_scope();
        let value = ExternRef::new(&mut store, Counted::new(&count)).expect("there is room");
        let global = Global::new(&mut store, ty, value.to_any().into()).expect("its type");
        let ty = tiered::decode::types::TableType::new(
            RefType::ANYREF,
            tiered::decode::types::Limits { min: 2, max: None },
        );
        let table = tiered::Table::new(&mut store, ty, value.to_any().into()).expect("its type");
        store.leave_scope(scope);
        store.collect_garbage();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        global.set(&mut store, Val::AnyRef(None)).expect("its type");
        store.collect_garbage();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        for index in 0..2 {
            table
                .set(&mut store, index, Val::AnyRef(None))
                .expect("its type");
        }
        store.collect_garbage();
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}

fn exceptions_are_kept_by_objects_and_keep_objects(config: &Config) {
    let text = r#"(module
        (type $holder (struct (field (mut exnref))))
        (type $box (struct (field i32)))
        (type $exceptions (array (mut exnref)))
        (tag $a (param i32 anyref v128 externref (ref null $box)))
        (global $g (mut (ref null $holder)) (ref.null $holder))
        (global $all (mut (ref null $exceptions)) (ref.null $exceptions))
        (func $make (param i32) (result exnref)
            (block $h (result exnref)
                (try_table (catch_all_ref $h)
                    (throw $a (local.get 0) (struct.new $box (local.get 0)) (v128.const i64x2 1 2) (ref.null extern)
                        (struct.new $box (i32.add (local.get 0) (i32.const 1)))))
                (unreachable)))
        (func (export "keep") (param i32)
            (global.set $g (struct.new $holder (call $make (local.get 0))))
            (global.set $all (array.new $exceptions (call $make (i32.mul (local.get 0) (i32.const 2))) (i32.const 5))))
        (func (export "garbage") (param $n i32)
            (loop (drop (call $make (local.get $n)))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func $of (param exnref) (result i32) (local $second (ref null $box))
            (block $h (result i32 anyref v128 externref (ref null $box))
                (try_table (catch $a $h) (throw_ref (local.get 0))) (unreachable))
            (local.set $second)
            (drop)
            (drop)
            (struct.get $box 0 (ref.cast (ref $box)))
            (i32.add)
            (i32.add (struct.get $box 0 (local.get $second))))
        (func (export "sum") (result i32 i32)
            (call $of (struct.get $holder 0 (global.get $g)))
            (call $of (array.get $exceptions (global.get $all) (i32.const 4))))
        (func (export "caught") (param i32) (result exnref) (call $make (local.get 0)))
        (func (export "of") (param exnref) (result i32) (call $of (local.get 0))))"#;
    stressed(config, |config| {
        let (mut store, instance) = guest(config, text, &Linker::new(), ());
        call(&mut store, instance, "keep", &[Val::I32(10)]).expect("it returns");
        let made = call(&mut store, instance, "caught", &[Val::I32(5)]).expect("it returns");
        store.collect_garbage();
        call(&mut store, instance, "garbage", &[Val::I32(300)]).expect("it returns");
        store.collect_garbage();
        let results = call(&mut store, instance, "sum", &[]).expect("it returns");
        assert_eq!(results, [31, 61].map(Val::I32));
        let results = call(&mut store, instance, "of", &made).expect("it returns");
        assert_eq!(results, [Val::I32(16)]);
        let Val::ExnRef(Some(reference)) = made[0] else {
            panic!("{made:?}")
        };
        let kept = reference.keep(&mut store).expect("there is memory");
        let values = kept.exception(&store);
        let values = values.values();
        assert_eq!((values[0], values[3]), (Val::I32(5), Val::ExternRef(None)));
        let first = any(&values[1]).to_struct(&store).expect("it is one");
        assert_eq!(first.get(&store, 0).expect("a field"), Val::I32(5));
        kept.release(&mut store);
    });
}

fn a_full_heap_is_a_trap_that_the_store_survives(config: &Config) {
    let limits = Limits {
        gc_heap_bytes: 2 << 20,
        ..Limits::default()
    };
    let config = config.clone().limits(limits);
    let text = r#"(module
        (type $node (struct (field (ref null $node)) (field i64)))
        (type $bytes (array (mut i8)))
        (type $vectors (array (mut v128)))
        (func (export "list") (param $n i32) (result i32) (local $list (ref null $node)) (local $count i32)
            (loop $next
                (local.set $list (struct.new $node (local.get $list) (i64.const 1)))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (loop $next
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (br_if $next (i32.eqz (ref.is_null (local.tee $list (struct.get $node 0 (local.get $list)))))))
            (local.get $count))
        (func (export "bytes") (param i32) (result i32) (array.len (array.new_default $bytes (local.get 0))))
        (func (export "vectors") (param i32) (result i32)
            (array.len (array.new $vectors (v128.const i64x2 1 2) (local.get 0))))
        (func $deep (export "deep") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
                (else (i32.const 0)))))"#;
    let (mut store, instance) = guest(&config, text, &Linker::new(), ());
    let mut run =
        |name: &str, n: u32| call(&mut store, instance, name, &[Val::I32(n.cast_signed())]);
    for _ in 0..3 {
        assert_eq!(run("list", 20_000).expect("they fit"), [Val::I32(20_000)]);
        let trap = run("list", 1_000_000).expect_err("they don't");
        assert_eq!(trap.code(), Some(TrapCode::HeapExhausted));
        assert!(!trap.frames().is_empty());
        for (name, n) in [
            ("bytes", 3 << 20),
            ("bytes", u32::MAX),
            ("vectors", u32::MAX),
            ("vectors", 1 << 28),
        ] {
            let trap = run(name, n).expect_err("it is too large");
            assert_eq!(trap.code(), Some(TrapCode::ObjectTooLarge), "{name} {n}");
        }
        // Nothing is left of the references where stacks were.
        assert_eq!(run("deep", 500).expect("it returns"), [Val::I32(500)]);
        assert_eq!(run("bytes", 1 << 20).expect("it fits"), [Val::I32(1 << 20)]);
    }
    // A constant expression says so at instantiation.
    let engine = Engine::new(&config);
    let mut store = Store::new(&engine, ()).expect("a store");
    let large = r#"(module (type $bytes (array i8))
        (global (ref $bytes) (array.new_default $bytes (i32.const -1))))"#;
    match Linker::new().instantiate(&mut store, &module(&engine, large)) {
        Err(InstantiateError::Trap(trap)) => {
            assert_eq!(trap.code(), Some(TrapCode::ObjectTooLarge));
        }
        other => panic!("{other:?}"),
    }
}

fn long_arrays_end_when_the_guest_is_stopped(config: &Config) {
    let text = r#"(module
        (type $refs (array (mut anyref)))
        (type $words (array (mut i64)))
        (data $d "abcdefgh")
        (func (export "new") (param i32) (result i32) (array.len (array.new $refs (ref.i31 (i32.const 1)) (local.get 0))))
        (func (export "default") (param i32) (result i32) (array.len (array.new_default $words (local.get 0))))
        (func (export "fill") (param i32) (result i32) (local $a (ref null $words))
            (local.set $a (array.new_default $words (local.get 0)))
            (array.fill $words (local.get $a) (i32.const 0) (i64.const 7) (local.get 0))
            (array.copy $words $words (local.get $a) (i32.const 1) (local.get $a) (i32.const 0) (i32.sub (local.get 0) (i32.const 1)))
            (i32.wrap_i64 (array.get $words (local.get $a) (i32.sub (local.get 0) (i32.const 1))))))"#;
    let (mut store, instance) = guest(config, text, &Linker::new(), ());
    let elements = 1 << 20;
    // 8 MiB, of which a unit pays for 4 KiB.
    let pieces = elements * 8 / 4096;
    for (name, units) in [("new", pieces), ("default", pieces), ("fill", 3 * pieces)] {
        store.set_fuel(Some(units / 2));
        let args = [Val::I32(elements as i32)];
        let trap = call(&mut store, instance, name, &args).expect_err("it is too expensive");
        assert_eq!(trap.code(), Some(TrapCode::OutOfFuel), "{name}");
        store.collect_garbage();
        store.set_fuel(Some(units + 10));
        let results = call(&mut store, instance, name, &args).expect("it is paid for");
        let expected = if name == "fill" { 7 } else { elements as i32 };
        assert_eq!(results, [Val::I32(expected)], "{name}");
        assert!(
            store.fuel().is_some_and(|left| left <= 20),
            "{name}: {:?}",
            store.fuel()
        );
    }
    store.set_fuel(None);
    store.interrupt_handle().interrupt();
    let trap = call(&mut store, instance, "new", &[Val::I32(1 << 24)]).expect_err("it is stopped");
    assert_eq!(trap.code(), Some(TrapCode::Interrupted));
}

/// A value whose end is a panic, the first time.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            panic!("a destructor's panic");
        }
    }
}

fn a_destructor_that_panics_waits_for_the_host(config: &Config) {
    let text = r#"(module
        (type $box (struct (field i32)))
        (global $done (export "done") (mut i32) (i32.const 0))
        (func (export "run") (result i32) (local $n i32)
            (local.set $n (i32.const 100))
            (loop (drop (struct.new $box (local.get $n)))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (global.set $done (i32.const 1))
            (i32.const 5)))"#;
    let config = config.clone().gc_stress(true);
    let (mut store, instance) = guest(&config, text, &Linker::new(), ());
    let ends = Arc::new(AtomicUsize::new(0));
    // A stale word of a stack may keep one of them.
    let bombs: Vec<ExternRef> = (0..20)
        .map(|_| ExternRef::new(&mut store, Bomb(Arc::clone(&ends))).expect("there is room"))
        .collect();
    for bomb in bombs {
        bomb.release(&mut store);
    }
    let run = std::panic::AssertUnwindSafe(|| call(&mut store, instance, "run", &[]));
    let payload = std::panic::catch_unwind(run).expect_err("the destructor has panicked");
    assert_eq!(payload.downcast_ref(), Some(&"a destructor's panic"));
    let done = instance.global(&store, "done").expect("it is exported");
    assert_eq!(done.get(&store), Val::I32(1));
    let results = call(&mut store, instance, "run", &[]).expect("it returns");
    assert_eq!(results, [Val::I32(5)]);
}
