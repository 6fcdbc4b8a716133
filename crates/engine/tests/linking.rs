//! Modules and what they get from one another: names, types, order of instantiation, shared memories, tables and
//! globals, calls from one instance to another, and the limits that a store sets to all of them together.

mod modes;

use modes::in_all_modes;
use tiered::decode::types::{Limits as Size, MemoryType, RefType, TableType};
use tiered::{
    Caller, Config, Engine, Extern, Instance, InstantiateError, LimitError, Limits, Linker, Memory,
    Module, PAGE_BYTES, Store, Table, Trap, TrapCode, Val,
};

in_all_modes! {
    unknown_imports_are_named,
    imports_must_match,
    the_number_of_imports_is_checked,
    definitions_replace_earlier_ones_if_allowed,
    exports_of_exports,
    each_instance_has_its_own_memory,
    traps_of_other_instances_leave_everything_in_order,
    memories_tables_and_globals_are_shared,
    constant_expressions_see_imported_globals,
    what_active_segments_wrote_stays,
    nothing_happens_before_all_imports_match,
    instances_that_failed_live_on,
    start_functions_run_once_and_see_everything,
    memory_is_limited,
    memories_end_at_4_gib,
    tables_are_limited,
    counts_are_limited,
    refused_things_cost_nothing,
    limits_are_each_stores_own,
}

/// A linker and a store to put one module after the other into.
struct World {
    engine: Engine,
    linker: Linker<Vec<i32>>,
    store: Store<Vec<i32>>,
}

impl World {
    fn new(config: &Config) -> World {
        let engine = Engine::new(config);
        let store = Store::new(&engine, Vec::new()).expect("a store has a stack");
        World {
            engine,
            linker: Linker::new(),
            store,
        }
    }

    fn try_add(&mut self, text: &str) -> Result<Instance, InstantiateError> {
        let module = Module::new(&self.engine, text.as_bytes().to_vec());
        let module = module.unwrap_or_else(|err| panic!("{err}\n{text}"));
        self.linker.instantiate(&mut self.store, &module)
    }

    /// Instantiates a module and gives its exports the name `name`.
    fn add(&mut self, name: &str, text: &str) -> Instance {
        let instance = self
            .try_add(text)
            .unwrap_or_else(|err| panic!("{name}: {err}"));
        self.linker
            .instance(&self.store, name, instance)
            .expect("a new name");
        instance
    }

    fn call(&mut self, instance: Instance, name: &str, args: &[i32]) -> Result<Vec<Val>, Trap> {
        let args: Vec<Val> = args.iter().copied().map(Val::I32).collect();
        let func = instance
            .func(&self.store, name)
            .unwrap_or_else(|| panic!("{name} is exported"));
        func.call(&mut self.store, &args)
    }

    fn i32(&mut self, instance: Instance, name: &str, args: &[i32]) -> i32 {
        match self.call(instance, name, args) {
            Ok(results) => results[0].i32().expect("an integer"),
            Err(trap) => panic!("{name}: {trap:?}"),
        }
    }
}

fn unknown_imports_are_named(config: &Config) {
    let mut world = World::new(config);
    world.add(
        "a",
        r#"(module (func (export "known")) (memory (export "memory") 1))"#,
    );
    for (import, expected) in [
        (
            r#"(import "b" "f" (func (param i32) (result i64 f32)))"#,
            r#"unknown import "b" "f": func [i32] -> [i64 f32]"#,
        ),
        (
            r#"(import "a" "g" (global (mut i64)))"#,
            r#"unknown import "a" "g": global (mut i64)"#,
        ),
        (
            r#"(import "a" "t" (table 1 2 externref))"#,
            r#"unknown import "a" "t": table 1 2 externref"#,
        ),
        (
            r#"(import "" "" (memory 3))"#,
            r#"unknown import "" "": memory 3"#,
        ),
        (
            r#"(import "a" "known" (func)) (import "a\00\n" "x" (func))"#,
            r#"unknown import "a\0\n" "x": func [] -> []"#,
        ),
    ] {
        let error = world
            .try_add(&format!("(module {import})"))
            .expect_err("nobody has it");
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, InstantiateError::UnknownImport { .. }));
    }
}

fn imports_must_match(config: &Config) {
    let mut world = World::new(config);
    world.add(
        "a",
        r#"(module
        (func (export "func") (param i32) (result i64) (i64.const 0))
        (global (export "const") i32 (i32.const 0)) (global (export "var") (mut i32) (i32.const 0))
        (memory (export "memory") 2 5) (table (export "table") 2 5 funcref) (table (export "open") 2 funcref))"#,
    );
    let mut problems = Vec::new();
    for (import, found) in [
        (r#""func" (func (param i32) (result i64))"#, None),
        (
            r#""func" (func (param i32))"#,
            Some("expected func [i32] -> [], found func [i32] -> [i64]"),
        ),
        (
            r#""func" (memory 1)"#,
            Some("expected memory 1, found func [i32] -> [i64]"),
        ),
        (r#""const" (global i32)"#, None),
        (
            r#""const" (global (mut i32))"#,
            Some("expected global (mut i32), found global i32"),
        ),
        (
            r#""var" (global i32)"#,
            Some("expected global i32, found global (mut i32)"),
        ),
        (
            r#""var" (global (mut i64))"#,
            Some("expected global (mut i64), found global (mut i32)"),
        ),
        (r#""memory" (memory 2 5)"#, None),
        (r#""memory" (memory 0)"#, None),
        (r#""memory" (memory 1 6)"#, None),
        (
            r#""memory" (memory 3 5)"#,
            Some("expected memory 3 5, found memory 2 5"),
        ),
        (
            r#""memory" (memory 2 4)"#,
            Some("expected memory 2 4, found memory 2 5"),
        ),
        (r#""table" (table 2 5 funcref)"#, None),
        (r#""table" (table 0 funcref)"#, None),
        (
            r#""table" (table 2 5 externref)"#,
            Some("expected table 2 5 externref, found table 2 5 funcref"),
        ),
        (
            r#""table" (table 3 funcref)"#,
            Some("expected table 3 funcref, found table 2 5 funcref"),
        ),
        (
            r#""open" (table 0 9 funcref)"#,
            Some("expected table 0 9 funcref, found table 2 funcref"),
        ),
    ] {
        let result = world.try_add(&format!(r#"(module (import "a" {import}))"#));
        let name = &import[..import[1..].find('"').expect("a name") + 2];
        let expected = found.map(|found| format!(r#"incompatible import "a" {name}: {found}"#));
        let text = result.err().map(|error| error.to_string());
        if text != expected {
            problems.push(format!("{import}: {text:?}, not {expected:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    // What counts is the size of today, not that of the type.
    let memory =
        world.try_add(r#"(module (import "a" "memory" (memory 1)) (export "memory" (memory 0)))"#);
    let memory = memory
        .expect("it matches")
        .memory(&world.store, "memory")
        .expect("it is exported");
    assert_eq!(memory.grow(&mut world.store, 1), Some(2));
    world
        .try_add(r#"(module (import "a" "memory" (memory 3 5)))"#)
        .expect("it has grown");
}

fn the_number_of_imports_is_checked(config: &Config) {
    let mut world = World::new(config);
    let a = world.add("a", r#"(module (func (export "f")))"#);
    let f = Extern::Func(a.func(&world.store, "f").expect("f"));
    let text = r#"(module (import "a" "f" (func)) (import "a" "f" (func)))"#;
    let module = Module::new(&world.engine, text.as_bytes().to_vec()).expect("it is valid");
    for (given, expected) in [(vec![], 0), (vec![f], 1), (vec![f, f, f], 3)] {
        let error = Instance::new(&mut world.store, &module, &given).expect_err("not two");
        assert_eq!(
            error.to_string(),
            format!("the module has 2 imports, {expected} were given")
        );
    }
    Instance::new(&mut world.store, &module, &[f, f]).expect("two");
}

fn definitions_replace_earlier_ones_if_allowed(config: &Config) {
    let mut world = World::new(config);
    world.linker.allow_shadowing(true);
    let text = r#"(module (import "a" "f" (func $f (result i32))) (func (export "f") (result i32) (call $f)))"#;
    world
        .linker
        .func("a", "f", |_: Caller<'_, Vec<i32>>| 1)
        .expect("a new name");
    assert!(world.linker.is_defined("a", "f"));
    assert!(!world.linker.is_defined("a", "g") && !world.linker.is_defined("b", "f"));
    let first = world.try_add(text).expect("it has its import");
    let copy = world.linker.clone();
    world
        .linker
        .func("a", "f", |_: Caller<'_, Vec<i32>>| 2)
        .expect("a new name");
    let second = world.try_add(text).expect("it has its import");
    world.add(
        "a",
        r#"(module (func (export "f") (result i32) (i32.const 3)))"#,
    );
    let third = world.try_add(text).expect("it has its import");
    world.linker = copy;
    let fourth = world.try_add(text).expect("it has its import");
    let found = [first, second, third, fourth].map(|instance| world.i32(instance, "f", &[]));
    assert_eq!(found, [1, 2, 3, 1]);
}

fn exports_of_exports(config: &Config) {
    let mut world = World::new(config);
    let a = world.add(
        "a",
        r#"(module (memory (export "m") 1) (table (export "t") 1 funcref) (global (export "g") (mut i32) (i32.const 7))
        (func (export "f") (result i32) (global.get 0)))"#,
    );
    let b = world.add(
        "b",
        r#"(module (import "a" "m" (memory 1)) (import "a" "t" (table 1 funcref))
        (import "a" "g" (global (mut i32))) (import "a" "f" (func (result i32)))
        (export "m2" (memory 0)) (export "t2" (table 0)) (export "g2" (global 0)) (export "f2" (func 0)) (export "f3" (func 0)))"#,
    );
    for (in_a, in_b) in [
        ("m", "m2"),
        ("t", "t2"),
        ("g", "g2"),
        ("f", "f2"),
        ("f", "f3"),
    ] {
        assert_eq!(
            a.export(&world.store, in_a),
            b.export(&world.store, in_b),
            "{in_a}"
        );
        assert!(a.export(&world.store, in_a).is_some());
    }
    let names: Vec<&str> = b.exports(&world.store).map(|(name, _)| name).collect();
    assert_eq!(names, ["m2", "t2", "g2", "f2", "f3"]);
    let module = b.module(&world.store);
    assert_eq!(module.exports().len(), 5);
    assert_eq!(world.i32(b, "f2", &[]), 7);
}

/// Each instance has its own memory, with its own number at address 0, or none.
const FIRST: &str = r#"(module
    (import "second" "number" (func $second (result i32)))
    (import "none" "through" (func $none (result i32)))
    (import "host" "note" (func $note))
    (import "table" "t" (table 4 funcref))
    (type $int (func (result i32)))
    (memory (export "memory") 1) (data (i32.const 0) "\01")
    (elem (i32.const 0) func $number)
    (func $number (export "number") (result i32) (i32.load (i32.const 0)))
    (func (export "direct") (result i32)
        (i32.store (i32.const 8) (i32.const 100))
        (i32.add (i32.mul (call $second) (i32.load (i32.const 8))) (i32.load (i32.const 0))))
    (func (export "through_none") (result i32)
        (i32.add (i32.mul (call $none) (i32.const 100)) (call $number)))
    (func (export "indirect") (param i32) (result i32)
        (i32.add (i32.mul (call_indirect (type $int) (local.get 0)) (i32.const 100)) (i32.load (i32.const 0))))
    (func (export "in_a_loop") (param $n i32) (result i32) (local $sum i32)
        (loop
            (local.set $sum (i32.add (local.get $sum) (call $second)))
            (local.set $sum (i32.add (local.get $sum) (i32.mul (i32.const 100) (i32.load (i32.const 0)))))
            (call $note)
            (local.set $sum (i32.add (local.get $sum)
                (i32.mul (i32.const 10000) (call_indirect (type $int) (i32.and (local.get $n) (i32.const 1))))))
            (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "count") (result i32) (i32.load (i32.const 4))))"#;

const SECOND: &str = r#"(module
    (import "table" "t" (table 4 funcref))
    (memory (export "memory") 1) (data (i32.const 0) "\02")
    (elem (i32.const 1) func $number $back)
    (func $number (export "number") (result i32) (i32.load (i32.const 0)))
    (func $back (result i32)
        (i32.add (i32.mul (call_indirect (result i32) (i32.const 0)) (i32.const 10)) (i32.load (i32.const 0))))
    (func (export "count") (result i32) (i32.load (i32.const 4))))"#;

const NONE: &str = r#"(module
    (import "second" "number" (func $second (result i32)))
    (func (export "through") (result i32) (i32.add (call $second) (i32.const 50))))"#;

fn three(config: &Config) -> (World, Instance, Instance) {
    let mut world = World::new(config);
    world
        .linker
        .func("host", "note", |mut caller: Caller<'_, Vec<i32>>| {
            let number = caller
                .memory()
                .map_or(-1, |memory| i32::from(memory.data(&caller)[0]));
            caller.data_mut().push(number);
        })
        .expect("a new name");
    world.add("table", r#"(module (table (export "t") 4 funcref))"#);
    let second = world.add("second", SECOND);
    world.add("none", NONE);
    let first = world.add("first", FIRST);
    (world, first, second)
}

fn each_instance_has_its_own_memory(config: &Config) {
    let (mut world, first, second) = three(config);
    assert_eq!(world.i32(first, "number", &[]), 1);
    assert_eq!(world.i32(second, "number", &[]), 2);
    assert_eq!(world.i32(first, "direct", &[]), 201);
    assert_eq!(world.i32(first, "through_none", &[]), 5201);
    assert_eq!(world.i32(first, "indirect", &[0]), 101);
    assert_eq!(world.i32(first, "indirect", &[1]), 201);
    assert_eq!(world.i32(first, "indirect", &[2]), 1201);
    let trap = world
        .call(first, "indirect", &[3])
        .expect_err("nothing is there");
    assert_eq!(trap.code(), Some(TrapCode::UninitializedElement));
    // Five turns: the second's number, the first's, and in turn the second's and the first's.
    assert_eq!(
        world.i32(first, "in_a_loop", &[5]),
        5 * 2 + 500 + 10_000 * (2 + 1 + 2 + 1 + 2)
    );
    assert_eq!(world.i32(first, "count", &[]), 5);
    assert_eq!(world.i32(second, "count", &[]), 0);
    assert_eq!(
        world.store.data(),
        &[1; 5],
        "the host sees its caller's memory"
    );
}

fn traps_of_other_instances_leave_everything_in_order(config: &Config) {
    let (mut world, first, second) = three(config);
    let trapping = world.add(
        "trapping",
        r#"(module (import "table" "t" (table 4 funcref)) (memory 1) (elem (i32.const 3) func $f)
        (func $f (result i32) (i32.store (i32.const 0) (i32.const 77)) (unreachable)))"#,
    );
    assert_eq!(trapping.exports(&world.store).count(), 0);
    for _ in 0..3 {
        let trap = world
            .call(first, "indirect", &[3])
            .expect_err("it traps in the third instance");
        assert_eq!(trap.code(), Some(TrapCode::Unreachable));
        assert_eq!(world.i32(first, "indirect", &[2]), 1201);
        assert_eq!(world.i32(second, "number", &[]), 2);
    }
}

fn memories_tables_and_globals_are_shared(config: &Config) {
    let mut world = World::new(config);
    let owner = world.add(
        "owner",
        r#"(module
        (memory (export "memory") 1 3) (table (export "t") 1 4 funcref) (global (export "g") (mut i64) (i64.const 5))
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "table_size") (result i32) (table.size 0))
        (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))
        (func (export "get") (result i32) (i32.wrap_i64 (global.get 0))))"#,
    );
    let user = world.add(
        "user",
        r#"(module
        (import "owner" "memory" (memory 1)) (import "owner" "t" (table 1 funcref)) (import "owner" "g" (global (mut i64)))
        (func $five (result i32) (i32.const 55))
        (elem declare func $five)
        (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
        (func (export "size") (result i32) (memory.size))
        (func (export "grow_table") (result i32) (table.grow 0 (ref.func $five) (i32.const 2)))
        (func (export "set") (param i32) (global.set 0 (i64.extend_i32_s (local.get 0)))))"#,
    );
    world
        .call(user, "store", &[8, -9])
        .expect("within the memory");
    assert_eq!(world.i32(owner, "load", &[8]), -9);
    world
        .call(user, "store", &[70_000, 1])
        .expect_err("not yet within the memory");
    assert_eq!(world.i32(owner, "grow", &[1]), 1);
    world
        .call(user, "store", &[70_000, 1])
        .expect("within the memory");
    assert_eq!(
        (
            world.i32(user, "size", &[]),
            world.i32(owner, "load", &[70_000])
        ),
        (2, 1)
    );
    assert_eq!(world.i32(owner, "grow", &[2]), -1);
    assert_eq!(world.i32(user, "grow_table", &[]), 1);
    assert_eq!(world.i32(owner, "table_size", &[]), 3);
    assert_eq!(
        world.i32(owner, "call", &[2]),
        55,
        "a function of the other instance"
    );
    assert_eq!(world.i32(user, "grow_table", &[]), -1);
    world.call(user, "set", &[-3]).expect("it is mutable");
    assert_eq!(world.i32(owner, "get", &[]), -3);
    let global = owner.global(&world.store, "g").expect("it is exported");
    global
        .set(&mut world.store, Val::I64(99))
        .expect("it is mutable");
    assert_eq!(world.i32(owner, "get", &[]), 99);
    let memory = owner
        .memory(&world.store, "memory")
        .expect("it is exported");
    memory.data_mut(&mut world.store)[8] = 1;
    assert_eq!(world.i32(owner, "load", &[8]), -255);
}

fn constant_expressions_see_imported_globals(config: &Config) {
    let mut world = World::new(config);
    world.add(
        "a",
        r#"(module (global (export "offset") i32 (i32.const 12)) (global (export "f") funcref (ref.func 0))
        (func (export "seven") (result i32) (i32.const 7)))"#,
    );
    let b = world.add(
        "b",
        r#"(module (import "a" "offset" (global i32)) (import "a" "f" (global funcref))
        (memory 1) (data (global.get 0) "\2a") (table 20 funcref) (elem (global.get 0) funcref (global.get 1) (ref.null func))
        (global $copy i32 (global.get 0))
        (func (export "byte") (result i32) (i32.load8_u (global.get $copy)))
        (func (export "call") (result i32) (call_indirect (result i32) (i32.const 12))))"#,
    );
    assert_eq!(
        (world.i32(b, "byte", &[]), world.i32(b, "call", &[])),
        (42, 7)
    );
}

/// A memory and a table that outlive instances that fail, and a module that fails in the given way.
fn after_failure(config: &Config, rest: &str) -> (String, [u8; 4], [bool; 4]) {
    let mut world = World::new(config);
    let owner = world.add(
        "owner",
        r#"(module (memory (export "memory") 1) (table (export "t") 4 funcref))"#,
    );
    let text = format!(
        r#"(module (import "owner" "memory" (memory 1)) (import "owner" "t" (table 4 funcref)) (func $f) {rest})"#
    );
    let error = world.try_add(&text).expect_err("it fails");
    let memory = owner
        .memory(&world.store, "memory")
        .expect("it is exported");
    let bytes = memory.data(&world.store)[..4]
        .try_into()
        .expect("four bytes");
    let table = owner.table(&world.store, "t").expect("it is exported");
    let set = [0, 1, 2, 3].map(|index| table.get(&world.store, index) != Some(Val::FuncRef(None)));
    (error.to_string(), bytes, set)
}

fn what_active_segments_wrote_stays(config: &Config) {
    let (no, yes) = (false, true);
    for (rest, error, bytes, set) in [
        (
            r#"(data (i32.const 0) "\01\02") (data (i32.const 65535) "\03\04") (data (i32.const 2) "\05") (elem (i32.const 1) $f $f)"#,
            "out of bounds memory access",
            [1, 2, 0, 0],
            [no, yes, yes, no],
        ),
        (
            r#"(elem (i32.const 0) $f) (elem (i32.const 3) $f $f) (elem (i32.const 2) $f) (data (i32.const 0) "\01")"#,
            "out of bounds table access",
            [0; 4],
            [yes, no, no, no],
        ),
        (
            r#"(data (i32.const 65537) "")"#,
            "out of bounds memory access",
            [0; 4],
            [no; 4],
        ),
        (
            r#"(elem (i32.const -1))"#,
            "out of bounds table access",
            [0; 4],
            [no; 4],
        ),
        (
            r#"(data (i32.const 0) "\09") (elem (i32.const 0) $f)
            (func $s (i32.store8 (i32.const 1) (i32.const 8)) (unreachable)) (start $s)"#,
            "unreachable",
            [9, 8, 0, 0],
            [yes, no, no, no],
        ),
    ] {
        assert_eq!(
            after_failure(config, rest),
            (error.to_owned(), bytes, set),
            "{rest}"
        );
    }
}

fn nothing_happens_before_all_imports_match(config: &Config) {
    let mut world = World::new(config);
    let owner = world.add("owner", r#"(module (memory (export "memory") 1))"#);
    let text = r#"(module (import "owner" "memory" (memory 1)) (import "owner" "missing" (func))
        (data (i32.const 0) "\01") (func $s (i32.store (i32.const 4) (i32.const 1))) (start $s))"#;
    world.try_add(text).expect_err("an import is missing");
    let text = text.replace(r#""missing" (func)"#, r#""memory" (func)"#);
    world
        .try_add(&text)
        .expect_err("an import is something else");
    let memory = owner
        .memory(&world.store, "memory")
        .expect("it is exported");
    assert_eq!(memory.data(&world.store)[..8], [0; 8]);
}

/// A function of an instance that failed is in a table and can be called: the instance is there.
fn instances_that_failed_live_on(config: &Config) {
    let mut world = World::new(config);
    let owner = world.add(
        "owner",
        r#"(module (table (export "t") 4 funcref)
        (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0))))"#,
    );
    let text = r#"(module (import "owner" "t" (table 4 funcref)) (memory 1) (data (i32.const 0) "\2a")
        (elem (i32.const 2) $f) (func $f (result i32) (i32.load (i32.const 0)))
        (func $s (unreachable)) (start $s))"#;
    let error = world.try_add(text).expect_err("its start function traps");
    let InstantiateError::Trap(trap) = error else {
        panic!("{error}")
    };
    assert_eq!(trap.code(), Some(TrapCode::Unreachable));
    assert_eq!(trap.frames()[0].func_index, 1);
    assert_eq!(world.i32(owner, "call", &[2]), 42);
}

fn start_functions_run_once_and_see_everything(config: &Config) {
    let mut world = World::new(config);
    world.linker.allow_shadowing(true);
    world
        .linker
        .func(
            "host",
            "note",
            |mut caller: Caller<'_, Vec<i32>>, value: i32| {
                let byte = caller
                    .memory()
                    .map_or(-1, |memory| i32::from(memory.data(&caller)[3]));
                caller.data_mut().extend([value, byte]);
            },
        )
        .expect("a new name");
    let text = r#"(module (import "host" "note" (func $note (param i32)))
        (memory (export "memory") 1) (data (i32.const 3) "\07") (table funcref (elem $five)) (global $g i32 (i32.const 6))
        (func $five (result i32) (i32.const 5))
        (func $s (call $note (i32.add (call_indirect (result i32) (i32.const 0)) (global.get $g)))) (start $s))"#;
    world.try_add(text).expect("it has its import");
    assert_eq!(world.store.data(), &[11, 7]);
    let text = r#"(module (import "host" "start" (func $s)) (start $s))"#;
    world
        .linker
        .func("host", "start", |mut caller: Caller<'_, Vec<i32>>| {
            caller.data_mut().push(1)
        })
        .expect("a new name");
    world.try_add(text).expect("it has its import");
    assert_eq!(
        world.store.data(),
        &[11, 7, 1],
        "an import can be the start function"
    );
    world
        .linker
        .func(
            "host",
            "start",
            |_: Caller<'_, Vec<i32>>| -> Result<(), Trap> { Err(Trap::exit(4)) },
        )
        .expect("a new name");
    match world.try_add(text).expect_err("it ends the program") {
        InstantiateError::Trap(trap) => assert_eq!(trap.exit_code(), Some(4)),
        other => panic!("{other}"),
    }
}

fn memory_is_limited(config: &Config) {
    let mut world = World::new(&config.clone().limits(Limits {
        memory_bytes: 5 * PAGE_BYTES + 100,
        ..Limits::default()
    }));
    let text = r#"(module (memory (export "memory") 2)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "size") (result i32) (memory.size)))"#;
    let first = world.try_add(text).expect("two pages");
    assert_eq!(world.i32(first, "grow", &[2]), 2);
    assert_eq!(world.i32(first, "grow", &[2]), -1);
    let error = world.try_add(text).expect_err("one page is left");
    assert_eq!(
        error.to_string(),
        "memory of 131072 bytes exceeds the limit of 327780 bytes"
    );
    assert_eq!(world.i32(first, "grow", &[1]), 4);
    assert_eq!(world.i32(first, "grow", &[1]), -1);
    assert_eq!(world.i32(first, "grow", &[0]), 5);
    assert_eq!(world.i32(first, "size", &[]), 5);
    let memory = first
        .memory(&world.store, "memory")
        .expect("it is exported");
    assert_eq!(memory.grow(&mut world.store, 1), None);
    assert_eq!(world.store.memory_bytes(), 5 * PAGE_BYTES);
}

fn memories_end_at_4_gib(config: &Config) {
    let mut world = World::new(config);
    let text = r#"(module (memory 65535 65536)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "last") (result i32) (i32.store8 (i32.const -1) (i32.const 9)) (i32.load8_u (i32.const -1))))"#;
    let instance = world.try_add(text).expect("address space is cheap");
    world.call(instance, "last", &[]).expect_err("not yet");
    assert_eq!(world.i32(instance, "grow", &[2]), -1);
    assert_eq!(world.i32(instance, "grow", &[-1]), -1);
    assert_eq!(world.i32(instance, "grow", &[1]), 65535);
    assert_eq!(world.i32(instance, "grow", &[1]), -1);
    assert_eq!(world.i32(instance, "last", &[]), 9);
}

fn tables_are_limited(config: &Config) {
    let mut world = World::new(&config.clone().limits(Limits {
        table_elements: 100,
        ..Limits::default()
    }));
    let text = r#"(module (table (export "t") 40 funcref) (table 10 externref)
        (func (export "grow") (param i32) (result i32) (table.grow 0 (ref.null func) (local.get 0)))
        (func (export "grow_other") (param i32) (result i32) (table.grow 1 (ref.null extern) (local.get 0))))"#;
    let first = world.try_add(text).expect("fifty elements");
    assert_eq!(world.i32(first, "grow", &[51]), -1);
    assert_eq!(world.i32(first, "grow", &[-1]), -1);
    assert_eq!(world.i32(first, "grow", &[20]), 40);
    let error = world
        .try_add(text)
        .expect_err("thirty are left")
        .to_string();
    assert_eq!(
        error,
        "table of 40 elements exceeds the limit of 100 elements"
    );
    assert_eq!(world.i32(first, "grow_other", &[30]), 10);
    assert_eq!(world.i32(first, "grow_other", &[1]), -1);
    let table = first.table(&world.store, "t").expect("it is exported");
    assert_eq!(table.grow(&mut world.store, 1, Val::FuncRef(None)), None);
}

fn counts_are_limited(config: &Config) {
    let limits = Limits {
        instances: 2,
        memories: 1,
        tables: 1,
        ..Limits::default()
    };
    let mut world = World::new(&config.clone().limits(limits));
    world
        .try_add("(module (memory 1) (table 1 funcref))")
        .expect("the first of each");
    assert_eq!(
        world
            .try_add("(module (memory 1))")
            .expect_err("two memories")
            .to_string(),
        "more than 1 memories"
    );
    assert_eq!(
        world
            .try_add("(module (table 1 funcref))")
            .expect_err("two tables")
            .to_string(),
        "more than 1 tables"
    );
    world.try_add("(module)").expect("the second instance");
    let error = world.try_add("(module)").expect_err("a third instance");
    assert_eq!(error.to_string(), "more than 2 instances");
    assert!(matches!(
        error,
        InstantiateError::Limit(LimitError::Count { limit: 2, .. })
    ));
}

/// What could not be made is not held against the store.
fn refused_things_cost_nothing(config: &Config) {
    let limits = Limits {
        memories: 1,
        tables: 1,
        memory_bytes: 4 * PAGE_BYTES,
        table_elements: 40,
        ..Limits::default()
    };
    let mut world = World::new(&config.clone().limits(limits));
    let memory = MemoryType::new(Size { min: 1, max: None });
    let table = TableType::new(RefType::FUNCREF, Size { min: 10, max: None });
    let null = Val::FuncRef(None);
    let the_memory = Memory::new(&mut world.store, memory).expect("the first");
    let the_table = Table::new(&mut world.store, table, null).expect("the first");
    for _ in 0..10 {
        Memory::new(&mut world.store, memory).expect_err("a second memory");
        Table::new(&mut world.store, table, null).expect_err("a second table");
    }
    assert_eq!(world.store.memory_bytes(), PAGE_BYTES);
    assert_eq!(the_memory.grow(&mut world.store, 3), Some(1));
    assert_eq!(the_table.grow(&mut world.store, 30, null), Some(10));
}

fn limits_are_each_stores_own(config: &Config) {
    let engine = Engine::new(&config.clone().max_memory(2 * PAGE_BYTES));
    let module = Module::new(&engine, "(module (memory 2))").expect("it is valid");
    for _ in 0..3 {
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        Linker::new()
            .instantiate(&mut store, &module)
            .expect("two pages each");
        Linker::new()
            .instantiate(&mut store, &module)
            .expect_err("and no more");
    }
}
