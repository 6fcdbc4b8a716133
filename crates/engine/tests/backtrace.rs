//! Back traces: which function, and which byte of the module, for every kind of trap and through every kind of call.
//!
//! The bytes are looked up in the module: a trap stands at the opcode of the instruction that trapped, and every frame
//! around it at that of its call.

mod modes;

use modes::in_all_modes;
use tiered::decode::index::FuncIdx;
use tiered::{
    Caller, Config, Engine, Extern, Instance, Linker, Module, Store, Trap, TrapCode, Val,
};

in_all_modes! {
    a_trap_stands_at_its_instruction,
    of_stores_to_one_place_the_first_traps,
    what_became_an_operand_traps_where_it_stood,
    one_of_two_operands_in_blocks_that_change_places_traps_where_it_stood,
    a_return_address_behind_the_last_instruction_is_still_the_call,
    frames_have_names_or_numbers,
    frames_go_through_the_host_and_other_instances,
    deep_traces_are_cut_off,
    the_innermost_and_the_outermost_frames_are_kept,
    hostile_names_are_shown_escaped_and_short,
    an_overflow_and_spent_fuel_have_frames,
    what_the_host_calls_itself_has_no_frames,
    an_exit_has_no_frames,
}

/// The byte of the only instruction of function `func` whose name in the binary parser begins with `name`.
fn byte_of(module: &Module, func: u32, name: &str) -> u32 {
    let found = bytes_of(module, func, name);
    assert_eq!(found.len(), 1, "one {name} in function {func}");
    found[0]
}

/// The bytes of all such instructions.
fn bytes_of(module: &Module, func: u32, name: &str) -> Vec<u32> {
    let body = module.body(FuncIdx(func)).expect("the function has a body");
    let mut ops = body.ops();
    let mut found = Vec::new();
    while !ops.eof() {
        let offset = ops.original_position() as u32;
        let op = ops.read().expect("the module is valid");
        if format!("{op:?}").starts_with(name) {
            found.push(offset);
        }
    }
    found
}

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text.as_bytes().to_vec()).unwrap_or_else(|err| panic!("{err}\n{text}"))
}

fn trap<T>(store: &mut Store<T>, instance: Instance, name: &str, args: &[Val]) -> Trap {
    let func = instance
        .func(store, name)
        .unwrap_or_else(|| panic!("{name} is exported"));
    func.call(store, args).expect_err("it traps")
}

/// A frame as index, name and byte.
type Seen<'a> = (u32, Option<&'a str>, Option<u32>);

fn seen(trap: &Trap) -> Vec<Seen<'_>> {
    let frames = trap.frames().iter();
    frames
        .map(|frame| (frame.func_index, frame.func_name(), frame.module_offset))
        .collect()
}

/// A body of `(param $p i32)` with `$x`, `$y` and a float, what it traps with for 0, and at which instruction.
const TRAPS: &[(&str, TrapCode, &str)] = &[
    ("(unreachable)", TrapCode::Unreachable, "Unreachable"),
    (
        "(nop) (block (block (if (i32.eqz (local.get $p)) (then (unreachable)))))",
        TrapCode::Unreachable,
        "Unreachable",
    ),
    (
        "(drop (i32.div_u (i32.const 1) (local.get $p)))",
        TrapCode::IntegerDivideByZero,
        "I32DivU",
    ),
    (
        "(local.set $x (i32.add (local.get $p) (i32.const 5))) (local.set $y (i32.rem_s (local.get $x) (local.get $p)))",
        TrapCode::IntegerDivideByZero,
        "I32RemS",
    ),
    (
        "(drop (i64.div_s (i64.const 0x8000000000000000) (i64.sub (i64.extend_i32_s (local.get $p)) (i64.const 1))))",
        TrapCode::IntegerOverflow,
        "I64DivS",
    ),
    (
        "(loop (local.set $x (i32.add (local.get $x) (i32.const 1)))
            (local.set $y (i32.div_s (local.get $x) (i32.sub (i32.const 20) (local.get $x))))
            (br_if 0 (i32.lt_s (local.get $x) (i32.const 100))))",
        TrapCode::IntegerDivideByZero,
        "I32DivS",
    ),
    (
        "(drop (i32.trunc_f64_s (f64.div (local.get $f) (f64.const 0))))",
        TrapCode::InvalidConversionToInteger,
        "I32TruncF64S",
    ),
    (
        "(drop (i64.trunc_f32_u (f32.const -1.5)))",
        TrapCode::IntegerOverflow,
        "I64TruncF32U",
    ),
    (
        "(drop (i32.load (i32.const -4)))",
        TrapCode::MemoryOutOfBounds,
        "I32Load ",
    ),
    (
        "(drop (i32.load16_u offset=8 (i32.add (local.get $p) (i32.sub (local.get $p) (i32.const 1)))))",
        TrapCode::MemoryOutOfBounds,
        "I32Load16U",
    ),
    (
        "(local.set $x (i32.const -9)) (local.set $f (f64.load (i32.add (local.get $p) (local.get $x))))",
        TrapCode::MemoryOutOfBounds,
        "F64Load",
    ),
    (
        "(i64.store (i32.const 65529) (i64.const 0x123456789))",
        TrapCode::MemoryOutOfBounds,
        "I64Store",
    ),
    (
        "(f32.store offset=4294967295 (local.get $p) (f32.const 1))",
        TrapCode::MemoryOutOfBounds,
        "F32Store",
    ),
    (
        "(memory.fill (i32.const 1) (local.get $p) (i32.const 65536))",
        TrapCode::MemoryOutOfBounds,
        "MemoryFill",
    ),
    (
        "(memory.copy (i32.const 1) (local.get $p) (i32.const 65536))",
        TrapCode::MemoryOutOfBounds,
        "MemoryCopy",
    ),
    (
        "(memory.init $d (local.get $p) (i32.const 1) (i32.const 3))",
        TrapCode::MemoryOutOfBounds,
        "MemoryInit",
    ),
    (
        "(drop (table.get $t (i32.const 9)))",
        TrapCode::TableOutOfBounds,
        "TableGet",
    ),
    (
        "(table.set $t (i32.const 9) (ref.null func))",
        TrapCode::TableOutOfBounds,
        "TableSet",
    ),
    (
        "(table.fill $t (i32.const 9) (ref.null func) (i32.const 1))",
        TrapCode::TableOutOfBounds,
        "TableFill",
    ),
    (
        "(table.copy $t $t (local.get $p) (i32.const 9) (i32.const 1))",
        TrapCode::TableOutOfBounds,
        "TableCopy",
    ),
    (
        "(table.init $t $e (local.get $p) (i32.const 9) (i32.const 1))",
        TrapCode::TableOutOfBounds,
        "TableInit",
    ),
    (
        "(call_indirect (i32.const 9))",
        TrapCode::UndefinedElement,
        "CallIndirect",
    ),
    (
        "(call_indirect (i32.add (local.get $p) (i32.const 1)))",
        TrapCode::UninitializedElement,
        "CallIndirect",
    ),
    (
        "(drop (i32.add (local.get $p) (call_indirect (param i64) (result i32) (i64.const 1) (local.get $p))))",
        TrapCode::IndirectCallTypeMismatch,
        "CallIndirect",
    ),
    (
        "(i32.const 7) (local.get $p) (call $same (i32.const 3)) (drop) (i32.div_u) (drop)",
        TrapCode::IntegerDivideByZero,
        "I32DivU",
    ),
    (
        "(br_if 0 (i32.ne (local.get $p) (i32.const 0))) (select (i32.const 1) (i32.const 2) (local.get $p)) (drop) (unreachable)",
        TrapCode::Unreachable,
        "Unreachable",
    ),
];

fn a_trap_stands_at_its_instruction(config: &Config) {
    let engine = Engine::new(config);
    for (body, code, op) in TRAPS {
        let text = format!(
            "(module
            (memory 1) (data $d \"12\") (table $t 2 funcref) (elem (table $t) (i32.const 0) func $same) (elem $e func $same)
            (func $same (param i32) (result i32) (local.get 0))
            (func $f (export \"f\") (param $p i32) (local $x i32) (local $y i32) (local $f f64) {body})
            (func $g (export \"g\") (param i32) (local i64)
                (local.set 1 (i64.const 1)) (call $f (local.get 0)) (drop (i64.add (local.get 1) (local.get 1))))
            (func $h (export \"h\") (param $p i32)
                (loop (call $g (local.get $p)) (br_if 0 (local.get $p)))))"
        );
        let module = module(&engine, &text);
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        let instance = Linker::new()
            .instantiate(&mut store, &module)
            .expect("it imports nothing");
        let expected = [
            (1, Some("f"), Some(byte_of(&module, 1, op))),
            (2, Some("g"), Some(byte_of(&module, 2, "Call"))),
            (3, Some("h"), Some(byte_of(&module, 3, "Call"))),
        ];
        // The second time all functions have been translated.
        for _ in 0..2 {
            let found = trap(&mut store, instance, "h", &[Val::I32(0)]);
            assert_eq!(found.code(), Some(*code), "{body}");
            assert_eq!(seen(&found), expected, "{body}");
            let found = trap(&mut store, instance, "f", &[Val::I32(0)]);
            assert_eq!(seen(&found), expected[..1], "{body}");
        }
    }
}

/// Bodies of `(param $p i32)` that store to one place again and again, and the instruction.
const STORES: &[(&str, &str)] = &[
    (
        "(i32.store (local.get $p) (i32.const 1)) (i32.store (local.get $p) (i32.const 2))
            (i32.store (local.get $p) (i32.const 3))",
        "I32Store",
    ),
    (
        "(i64.store8 offset=7 (local.get $p) (i64.const 1)) (global.set $g (i32.const 5))
            (i64.store8 offset=7 (local.get $p) (i64.const 2))",
        "I64Store8",
    ),
    (
        "(f64.store offset=0x8000000 (local.get $p) (f64.const 1)) (f64.store offset=0x8000000 (local.get $p) (f64.const 2))",
        "F64Store",
    ),
    (
        "(table.set $t (local.get $p) (ref.null func)) (table.set $t (local.get $p) (ref.func $f))",
        "TableSet",
    ),
    (
        "(v128.store (local.get $p) (v128.const i64x2 1 2)) (v128.store (local.get $p) (v128.const i64x2 3 4))",
        "V128Store",
    ),
    (
        "(v128.store32_lane 1 (local.get $p) (v128.const i64x2 1 2)) (v128.store32_lane 2 (local.get $p) (v128.const i64x2 3 4))",
        "V128Store32Lane",
    ),
    (
        "(i32.store (local.get $p) (i32.const 1))
            (if (i32.load (i32.const 0)) (then (i32.store (local.get $p) (i32.const 2))))
            (i32.store (local.get $p) (i32.const 3))",
        "I32Store",
    ),
];

/// Bodies of `(param $p i32)` whose machine code reads memory in the instruction that uses it, and the op that traps.
const FOLDED: &[(&str, &str)] = &[
    (
        "(global.set $g (i32.add (global.get $g) (i32.load (local.get $p))))",
        "I32Load",
    ),
    (
        "(i32.store (local.get $p) (i32.add (i32.load (local.get $p)) (i32.const 3)))",
        "I32Load",
    ),
    (
        "(i32.store offset=8 (local.get $p) (i32.const 1)) (i64.store (local.get $p) (i64.xor (i64.load (local.get $p)) (i64.const 3)))",
        "I32Store",
    ),
    (
        "(i64.store (i32.const 0) (i64.const 1)) (i64.store (local.get $p) (i64.xor (i64.load (local.get $p)) (i64.const 3)))",
        "I64Load",
    ),
    (
        "(if (i32.lt_u (global.get $g) (i32.load (local.get $p))) (then (global.set $g (i32.const 9))))",
        "I32Load",
    ),
    (
        "(global.set $v (i32x4.add (global.get $v) (v128.load (local.get $p))))",
        "V128Load",
    ),
    (
        "(global.set $v (v128.load16_lane 3 (local.get $p) (global.get $v)))",
        "V128Load16Lane",
    ),
    (
        "(global.set $f (f64.mul (global.get $f) (f64.load offset=16 (local.get $p))))",
        "F64Load",
    ),
    (
        "(global.set $g (i32.div_u (i32.const 700) (i32.load (local.get $p))))",
        "I32Load",
    ),
    (
        "(drop (i32.div_u (i32.load (i32.const 16)) (i32.load (local.get $p))))
            (drop (i32.rem_u (i32.const 7) (i32.load (local.get $p))))",
        "I32DivU",
    ),
    (
        "(global.set $r (select (result funcref) (table.get $t (local.get $p)) (ref.func $f) (global.get $g)))",
        "TableGet",
    ),
    (
        "(global.set $r (select (result funcref) (table.get $t (local.get $p)) (ref.func $f) (f64.eq (global.get $f) (f64.const 2))))",
        "TableGet",
    ),
    (
        "(global.set $r (select (result funcref) (table.get $t (local.get $p)) (ref.func $f) (f64.ne (global.get $f) (f64.const 2))))",
        "TableGet",
    ),
    (
        "(global.set $r (select (result funcref) (ref.func $f) (table.get $t (local.get $p)) (f64.eq (global.get $f) (f64.const 0))))",
        "TableGet",
    ),
];

fn what_became_an_operand_traps_where_it_stood(config: &Config) {
    let engine = Engine::new(config);
    for (body, op) in FOLDED {
        let text = format!(
            "(module (memory 1) (table $t 2 funcref) (elem declare func $f)
            (global $g (mut i32) (i32.const 0)) (global $f (mut f64) (f64.const 0)) (global $r (mut funcref) (ref.null func))
            (global $v (mut v128) (v128.const i64x2 0 0))
            (func $f (export \"f\") (param $p i32) {body}))"
        );
        let module = module(&engine, &text);
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        let instance = Linker::new()
            .instantiate(&mut store, &module)
            .expect("it imports nothing");
        let first = bytes_of(&module, 0, op)[0];
        let argument = if *op == "I32DivU" { 32 } else { -64 };
        for _ in 0..2 {
            let found = trap(&mut store, instance, "f", &[Val::I32(argument)]);
            assert_eq!(seen(&found), [(0, Some("f"), Some(first))], "{body}");
        }
    }
}

/// The optimizer makes the guards of the elements' addresses anew, and the lengths become operands of theirs; the code of the
/// second block comes first.
fn one_of_two_operands_in_blocks_that_change_places_traps_where_it_stood(config: &Config) {
    let engine = Engine::new(config);
    let text = r#"(module
        (type $array (array (mut f64))) (type $struct (struct (field (mut f64))))
        (global $null (mut (ref null $array)) (ref.null $array))
        (func (export "get") (param $first i32) (param $index i32) (result f64) (local $array (ref null $array))
            (local.set $array (global.get $null))
            (drop (struct.new_default $struct))
            (if (local.get $first) (then (return (array.get $array (local.get $array) (local.get $index)))))
            (array.get $array (local.get $array) (local.get $first))))"#;
    let module = module(&engine, text);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let places = bytes_of(&module, 0, "ArrayGet");
    for (first, place) in [(1, places[0]), (0, places[1])] {
        for _ in 0..2 {
            let found = trap(&mut store, instance, "get", &[Val::I32(first), Val::I32(5)]);
            assert_eq!(seen(&found), [(0, Some("get"), Some(place))], "{first}");
        }
    }
}

fn of_stores_to_one_place_the_first_traps(config: &Config) {
    let engine = Engine::new(config);
    for (body, op) in STORES {
        let text = format!(
            "(module (memory 1) (table $t 2 funcref) (global $g (mut i32) (i32.const 0)) (elem declare func $f)
            (func $f (export \"f\") (param $p i32) {body}))"
        );
        let module = module(&engine, &text);
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        let instance = Linker::new()
            .instantiate(&mut store, &module)
            .expect("it imports nothing");
        let first = bytes_of(&module, 0, op)[0];
        for _ in 0..2 {
            let found = trap(&mut store, instance, "f", &[Val::I32(-9)]);
            assert_eq!(seen(&found), [(0, Some("f"), Some(first))], "{body}");
        }
    }
}

fn a_return_address_behind_the_last_instruction_is_still_the_call(config: &Config) {
    let engine = Engine::new(config);
    let text = r#"(module
        (func $trap unreachable)
        (func $last (call $trap))
        (func $loop (loop (call $last)))
        (func $indirect (call_indirect (i32.const 0)))
        (table funcref (elem $loop))
        (func (export "run") (block (if (i32.const 1) (then (call $indirect))))))"#;
    let module = module(&engine, text);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let found = trap(&mut store, instance, "run", &[]);
    let byte = |func, op| Some(byte_of(&module, func, op));
    let expected = [
        (0, Some("trap"), byte(0, "Unreachable")),
        (1, Some("last"), byte(1, "Call")),
        (2, Some("loop"), byte(2, "Call")),
        (3, Some("indirect"), byte(3, "CallIndirect")),
        (4, Some("run"), byte(4, "Call")),
    ];
    assert_eq!(seen(&found), expected);
}

fn frames_have_names_or_numbers(config: &Config) {
    let engine = Engine::new(config);
    let text = r#"(module $the_module
        (func (unreachable))
        (func (export "exported") (call 0))
        (func $named (export "other") (call 1)))"#;
    let module = module(&engine, text);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let found = trap(&mut store, instance, "other", &[]);
    let names: Vec<_> = found
        .frames()
        .iter()
        .map(|frame| frame.func_name())
        .collect();
    assert_eq!(names, [None, Some("exported"), Some("named")]);
    assert!(
        found
            .frames()
            .iter()
            .all(|frame| frame.module_name() == Some("the_module"))
    );
    let at = |func, op| format!("{:#8x}", byte_of(&module, func, op));
    let expected = format!(
        "   0: {} - the_module!<function 0>\n   1: {} - the_module!exported\n   2: {} - the_module!named",
        at(0, "Unreachable"),
        at(1, "Call"),
        at(2, "Call"),
    );
    assert_eq!(found.backtrace().to_string(), expected);
    assert_eq!(found.to_string(), "unreachable");
}

/// Guest, host, guest of another instance, host that fails: all guest frames, innermost first.
fn frames_go_through_the_host_and_other_instances(config: &Config) {
    let engine = Engine::new(config);
    let outer = module(
        &engine,
        r#"(module $outer
        (import "host" "back" (func $back (param i32)))
        (import "inner" "run" (func $run (param i32)))
        (func $call_host (export "call_host") (param i32) (call $back (local.get 0)))
        (func (export "call_inner") (param i32) (call $run (local.get 0)))
        (func (export "start") (param i32) (call $call_host (local.get 0))))"#,
    );
    let inner = module(
        &engine,
        r#"(module $inner
        (import "host" "fail" (func $fail))
        (func $deeper (param i32) (if (local.get 0) (then (call $fail))) (unreachable))
        (func (export "run") (param i32) (call $deeper (local.get 0))))"#,
    );
    let mut linker: Linker<()> = Linker::new();
    linker
        .func(
            "host",
            "back",
            |mut caller: Caller<'_, ()>, how: i32| -> Result<(), Trap> {
                let Some(Extern::Func(func)) = caller.export("call_inner") else {
                    return Err(Trap::message("no such export"));
                };
                func.call(&mut caller, &[Val::I32(how)]).map(|_| ())
            },
        )
        .expect("a new name");
    linker
        .func("host", "fail", |_: Caller<'_, ()>| -> Result<(), Trap> {
            Err(Trap::message("no more"))
        })
        .expect("a new name");
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = linker
        .instantiate(&mut store, &inner)
        .expect("it has its imports");
    linker
        .instance(&store, "inner", instance)
        .expect("a new name");
    let instance = linker
        .instantiate(&mut store, &outer)
        .expect("it has its imports");
    for (how, op, text) in [(0, "Unreachable", "unreachable"), (1, "Call", "no more")] {
        let found = trap(&mut store, instance, "start", &[Val::I32(how)]);
        assert_eq!(found.to_string(), text);
        let expected = [
            (1, Some("deeper"), Some(byte_of(&inner, 1, op))),
            (2, Some("run"), Some(byte_of(&inner, 2, "Call"))),
            (3, Some("call_inner"), Some(byte_of(&outer, 3, "Call"))),
            (2, Some("call_host"), Some(byte_of(&outer, 2, "Call"))),
            (4, Some("start"), Some(byte_of(&outer, 4, "Call"))),
        ];
        assert_eq!(seen(&found), expected, "{text}");
        let modules: Vec<_> = found
            .frames()
            .iter()
            .map(|frame| frame.module_name())
            .collect();
        let [i, o] = [Some("inner"), Some("outer")];
        assert_eq!(modules, [i, i, o, o, o], "{text}");
    }
}

fn deep_traces_are_cut_off(config: &Config) {
    const NATIVE_STACK: usize = 256 << 20;
    let engine = Engine::new(&config.clone().max_native_stack(NATIVE_STACK));
    let text = r#"(module (func $f (export "f") (param i32)
        (if (i32.eqz (local.get 0)) (then (unreachable)))
        (call $f (i32.sub (local.get 0) (i32.const 1)))))"#;
    let module = module(&engine, text);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let found = trap(&mut store, instance, "f", &[Val::I32(10)]);
    assert_eq!(found.frames().len(), 11);
    // Compiled frames lie on the host's own stack.
    let deep = || trap(&mut store, instance, "f", &[Val::I32(100_000)]);
    let found = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(NATIVE_STACK + (1 << 20));
        let thread = thread.spawn_scoped(scope, deep).expect("there is room");
        thread.join().expect("the thread is well")
    });
    assert_eq!(found.code(), Some(TrapCode::Unreachable));
    assert!(
        (20..1000).contains(&found.frames().len()),
        "{}",
        found.frames().len()
    );
    assert_eq!(
        found.frames()[0].module_offset,
        Some(byte_of(&module, 0, "Unreachable"))
    );
    assert_eq!(
        found.frames()[1].module_offset,
        Some(byte_of(&module, 0, "Call"))
    );
}

/// The same frames in all tiers, with what is left out of them.
fn the_innermost_and_the_outermost_frames_are_kept(config: &Config) {
    let engine = Engine::new(config);
    let text = r#"(module
        (func $f (export "f") (param i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (call $g (i32.sub (local.get 0) (i32.const 1))))
        (func $g (param i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (call $f (i32.sub (local.get 0) (i32.const 1))) (nop)))"#;
    let module = module(&engine, text);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    for (depth, left_out) in [(47, 0), (48, 0), (63, 0), (64, 1), (65, 2), (500, 437)] {
        // The second time in the code that the first was compiled to.
        for _ in 0..2 {
            let found = trap(&mut store, instance, "f", &[Val::I32(depth)]);
            let count = depth as usize + 1 - left_out as usize;
            assert_eq!(
                (found.frames().len(), found.frames_left_out()),
                (count, left_out),
                "{depth}"
            );
            for (at, frame) in found.frames().iter().enumerate() {
                let number = at as u64 + if at < 48 { 0 } else { left_out };
                let func = (depth as u64 - number) % 2;
                let op = if at == 0 { "Unreachable" } else { "Call" };
                let place = (frame.func_index as u64, frame.module_offset);
                assert_eq!(
                    place,
                    (func, Some(byte_of(&module, func as u32, op))),
                    "{at}"
                );
            }
            let shown = found.backtrace().to_string();
            let more = match left_out {
                0 => None,
                1 => Some("\n      … 1 frame more\n  49: ".to_owned()),
                n => Some(format!("\n      … {n} frames more\n{:>4}: ", 48 + n)),
            };
            match more {
                Some(more) => assert!(shown.contains(&more), "{shown}"),
                None => assert!(!shown.contains("more"), "{shown}"),
            }
            assert_eq!(shown.lines().count(), count + usize::from(left_out > 0));
        }
    }
}

/// However long names are and whatever is in them, a trap takes little memory and is little text.
fn hostile_names_are_shown_escaped_and_short(config: &Config) {
    let engine = Engine::new(config);
    let evil = r"\1b[2J\e2\80\ae\c2\9b\0a\cc\81";
    let long = "n".repeat(1_000_000);
    let text = format!(
        r#"(module (@name "{evil}{long}")
            (func $f (@name "{evil}{long}") (param i32) (result i32)
                (if (local.get 0) (then (drop (call $f (i32.sub (local.get 0) (i32.const 1))))))
                unreachable)
            (func (export "f") (drop (call $f (i32.const 100)))))"#
    );
    let module = module(&engine, &text);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    for _ in 0..2 {
        let found = trap(&mut store, instance, "f", &[]);
        let name = r"\u{1b}[2J\u{202e}\u{9b}\n\u{301}nnnn";
        for shown in [
            found.backtrace().to_string(),
            format!("{found:?}"),
            format!("{:?}", tiered::Error::from(found)),
        ] {
            assert!(shown.len() < 64 * 1200, "{} bytes", shown.len());
            assert!(shown.contains(&format!(" - {name}")), "{shown}");
            assert!(shown.contains(&format!("!{name}")), "{shown}");
            assert!(shown.contains("… 38 frames more"), "{shown}");
            let hidden = |c: char| c != '\n' && c.is_control() || c == '\u{202e}' || c == '\u{301}';
            assert!(!shown.contains(hidden), "{shown:?}");
            // No name begins a line.
            assert!(shown.lines().all(|line| !line.starts_with('n')), "{shown}");
        }
    }
}

fn an_overflow_and_spent_fuel_have_frames(config: &Config) {
    let engine = Engine::new(&config.clone().max_stack(64 << 10));
    let text = r#"(module
        (func $f (export "recurse") (result i32) (i32.add (call $f) (i32.const 1)))
        (func $nothing)
        (func $loop (loop (br 0)))
        (func (export "loop") (call $loop))
        (func (export "calls") (call $nothing) (call 2)))"#;
    let module = module(&engine, text);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let found = trap(&mut store, instance, "recurse", &[]);
    assert_eq!(found.code(), Some(TrapCode::StackOverflow));
    assert!(
        found
            .frames()
            .iter()
            .all(|frame| frame.module_offset == Some(byte_of(&module, 0, "Call")))
    );
    store.set_fuel(Some(100));
    let found = trap(&mut store, instance, "loop", &[]);
    assert_eq!(found.code(), Some(TrapCode::OutOfFuel));
    let indices: Vec<_> = seen(&found).iter().map(|&(index, ..)| index).collect();
    assert_eq!(indices, [2, 3]);
    assert_eq!(
        found.frames()[1].module_offset,
        Some(byte_of(&module, 3, "Call"))
    );
    store.set_fuel(Some(0));
    let found = trap(&mut store, instance, "loop", &[]);
    assert_eq!(
        seen(&found),
        [(3, Some("loop"), Some(byte_of(&module, 3, "Call")))],
        "at the call"
    );
}

fn what_the_host_calls_itself_has_no_frames(config: &Config) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let fail = tiered::Func::wrap(&mut store, |_: Caller<'_, ()>| -> Result<(), Trap> {
        Err(Trap::new(TrapCode::Unreachable))
    });
    let found = fail.call(&mut store, &[]).expect_err("it fails");
    assert_eq!(found.frames(), []);
    assert_eq!(found.backtrace().to_string(), "");
}

fn an_exit_has_no_frames(config: &Config) {
    let engine = Engine::new(config);
    let module = module(
        &engine,
        r#"(module (import "h" "exit" (func $exit)) (func (export "f") (call $exit)))"#,
    );
    let mut linker: Linker<()> = Linker::new();
    linker
        .func("h", "exit", |_: Caller<'_, ()>| -> Result<(), Trap> {
            Err(Trap::exit(3))
        })
        .expect("a new name");
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("it has its imports");
    let found = trap(&mut store, instance, "f", &[]);
    assert_eq!(
        (found.exit_code(), found.code(), found.frames().len()),
        (Some(3), None, 0)
    );
    assert_eq!(found.to_string(), "exit with code 3");
}
