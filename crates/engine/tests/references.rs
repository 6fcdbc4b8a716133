//! Typed references to functions: calls of them, branches on null, tables and globals of them, and what the host may give.

mod modes;

use modes::in_all_modes;
use tiered::decode::types::{CompositeKind, FuncType, HeapType, RefType, ValType};
use tiered::{
    Caller, Config, Engine, Func, Global, Instance, Linker, Module, Store, Table, Trap, TrapCode,
    Val,
};

in_all_modes! {
    references_are_called_in_loops,
    a_null_is_not_called,
    branches_on_null,
    tables_and_globals_of_typed_references,
    references_to_other_instances_and_the_host,
    the_host_gives_what_the_type_says,
    tail_calls_of_references,
}

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(config: &Config, text: &str) -> Guest {
        let engine = Engine::new(config);
        let module =
            Module::new(&engine, text.to_owned()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut store = Store::new(&engine, ()).expect("there is memory");
        let instance = Linker::new().instantiate(&mut store, &module);
        Guest {
            store,
            instance: instance.expect("it links"),
        }
    }

    fn func(&self, name: &str) -> Func {
        self.instance.func(&self.store, name).expect("exported")
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let func = self.func(name);
        func.call(&mut self.store, args)
    }

    fn i32(&mut self, name: &str, arg: i32) -> i32 {
        let results = self.call(name, &[Val::I32(arg)]).expect("no trap");
        results[0].i32().expect("an i32")
    }

    /// The trap of a call, and the byte of the instruction where it happened.
    fn trap(&mut self, name: &str) -> (Option<TrapCode>, Option<u8>) {
        let trap = self.call(name, &[]).expect_err("it traps");
        let opcode = trap.frames().first().and_then(|frame| {
            let offset = frame.module_offset? as usize;
            frame.module.bytes().get(offset).copied()
        });
        (trap.code(), opcode)
    }
}

fn references_are_called_in_loops(config: &Config) {
    let text = r#"(module
        (type $unary (func (param i32) (result i32)))
        (type $wide (func (param i64 v128 f32) (result f32 v128 i64)))
        (elem declare func $double $inc $swap)
        (func $double (type $unary) (i32.shl (local.get 0) (i32.const 1)))
        (func $inc (type $unary) (i32.add (local.get 0) (i32.const 1)))
        (func $swap (type $wide) (local.get 2) (local.get 1) (local.get 0))
        ;; Locals that can't be null, set before they are read; others are kept in registers where nothing is called.
        (func (export "run") (param $n i32) (result i32)
            (local $f (ref $unary)) (local $g (ref null $unary)) (local $sum i32) (local $i i32)
            (local.set $f (ref.func $double)) (local.set $g (ref.func $inc))
            (loop $next
                (local.set $sum (i32.add (local.get $sum)
                    (call_ref $unary (local.get $i)
                        (select (result (ref null $unary)) (local.get $f) (local.get $g)
                            (i32.and (local.get $i) (i32.const 1))))))
                (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                    (local.get $n))))
            (local.get $sum))
        (func (export "wide") (param i32) (result i32)
            (call_ref $wide (i64.const -3) (v128.const i32x4 1 2 3 4) (f32.const 1.5) (ref.func $swap))
            (drop) (i32x4.extract_lane 2) (local.set 0) (drop) (local.get 0)))"#;
    let mut guest = Guest::new(config, text);
    let expected = (0..1000)
        .map(|i| if i & 1 == 1 { i * 2 } else { i + 1 })
        .sum();
    assert_eq!(guest.i32("run", 1000), expected);
    assert_eq!(guest.i32("wide", 0), 3);
}

fn a_null_is_not_called(config: &Config) {
    let text = r#"(module
        (type $f (func (param i32) (result i32)))
        (func (export "call") (result i32) (nop) (call_ref $f (i32.const 1) (ref.null $f)))
        (func (export "check") (result i32) (drop (ref.as_non_null (ref.null $f))) (i32.const 1))
        (func (export "in_loop") (result i32) (local $f (ref null $f)) (local $i i32)
            (local.set $f (ref.func $id))
            (loop $next
                (local.set $i (call_ref $f (i32.add (local.get $i) (i32.const 1)) (local.get $f)))
                (if (i32.eq (local.get $i) (i32.const 500)) (then (local.set $f (ref.null $f))))
                (drop (ref.as_non_null (local.get $f)))
                (br $next))
            (unreachable))
        (elem declare func $id)
        (func $id (type $f) (local.get 0)))"#;
    let mut guest = Guest::new(config, text);
    for (name, code, opcode) in [
        ("call", TrapCode::NullFunctionReference, 0x14),
        ("check", TrapCode::NullReference, 0xd4),
        ("in_loop", TrapCode::NullReference, 0xd4),
    ] {
        assert_eq!(guest.trap(name), (Some(code), Some(opcode)), "{name}");
    }
}

fn branches_on_null(config: &Config) {
    let text = r#"(module
        (type $f (func (param i32) (result i32)))
        (elem declare func $inc)
        (func $inc (type $f) (i32.add (local.get 0) (i32.const 1)))
        (func $some (param i32) (result (ref null $f))
            (if (result (ref null $f)) (i32.rem_u (local.get 0) (i32.const 3))
                (then (ref.func $inc)) (else (ref.null $f))))
        ;; With operands below that the branch takes along, at another height.
        (func (export "null") (param $n i32) (result i32)
            (block $none (result i32)
                (i32.const 9)
                (i32.add (local.get $n) (i32.const 100))
                (br_on_null $none (call $some (local.get $n)))
                (call_ref $f)
                (i32.add)))
        (func (export "non_null") (param $n i32) (result i32)
            (block $some (result i32 (ref $f))
                (i32.const 7)
                (i32.add (local.get $n) (i32.const 50))
                (br_on_non_null $some (call $some (local.get $n)))
                (return (i32.sub)))
            (call_ref $f))
        (func (export "in_loops") (param $n i32) (result i32)
            (local $i i32) (local $sum i32) (local $r (ref null $f))
            (loop $all
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (local.set $r (call $some (local.get $i)))
                (block $done
                    (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
                    (local.set $sum (call_ref $f (local.get $sum) (br_on_null $all (local.get $r))))
                    (br $all)
                    (unreachable)))
            (local.get $sum)))"#;
    let mut guest = Guest::new(config, text);
    for n in 0..9 {
        let is_some = n % 3 != 0;
        assert_eq!(
            guest.i32("null", n),
            if is_some { 9 + n + 101 } else { n + 100 }
        );
        assert_eq!(
            guest.i32("non_null", n),
            if is_some { n + 51 } else { 7 - (n + 50) }
        );
    }
    let counted = (1..600).filter(|i| i % 3 != 0).count();
    assert_eq!(guest.i32("in_loops", 600), counted as i32);
}

fn tables_and_globals_of_typed_references(config: &Config) {
    let text = r#"(module
        (type $f (func (result i32)))
        (type $g (func (result i64)))
        (table $t (export "t") 3 (ref $f) (ref.func $one))
        (table $any 4 funcref)
        (elem (table $any) (i32.const 0) (ref $f) (ref.func $two))
        (elem (table $t) (i32.const 1) (ref $f) (ref.func $two) )
        (global $r (export "r") (mut (ref $f)) (ref.func $two))
        (global (export "null") (ref null $f) (ref.null $f))
        (func $one (type $f) (i32.const 1))
        (func $two (type $f) (i32.const 2))
        (func (export "sum") (param i32) (result i32)
            (i32.add (call_indirect $t (type $f) (local.get 0))
                (i32.add (call_ref $f (table.get $t (i32.const 2))) (call_ref $f (global.get $r)))))
        (func (export "grow") (param i32) (result i32)
            (drop (table.grow $t (ref.func $two) (i32.const 2)))
            (call_indirect $t (type $f) (local.get 0)))
        (func (export "other") (result i64) (call_indirect $t (type $g) (i32.const 0)))
        (func (export "hole") (result i32) (call_indirect $any (type $f) (i32.const 3))))"#;
    let mut guest = Guest::new(config, text);
    assert_eq!(guest.i32("sum", 0), 1 + 1 + 2);
    assert_eq!(guest.i32("sum", 1), 2 + 1 + 2);
    assert_eq!(guest.i32("grow", 4), 2);
    assert_eq!(
        guest.trap("other").0,
        Some(TrapCode::IndirectCallTypeMismatch)
    );
    assert_eq!(guest.trap("hole").0, Some(TrapCode::UninitializedElement));
    let global = guest
        .instance
        .export(&guest.store, "null")
        .and_then(tiered::Extern::global);
    let global = global.expect("it is exported");
    assert_eq!(global.get(&guest.store), Val::FuncRef(None));
    assert_eq!(
        global.ty(&guest.store).to_string(),
        "(ref null (func [] -> [i32]))"
    );
}

fn references_to_other_instances_and_the_host(config: &Config) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, ()).expect("there is memory");
    let mut linker: Linker<()> = Linker::new();
    linker
        .func("host", "triple", |_: Caller<'_, ()>, n: i32| n * 3)
        .expect("a new name")
        .func("host", "same", |f: Func| f)
        .expect("a new name");
    let giver = r#"(module
        (type $f (func (param i32) (result i32)))
        (import "host" "triple" (func $triple (type $f)))
        (memory 1)
        (elem declare func $triple $load)
        (data (i32.const 8) "\2a")
        (func $load (type $f) (i32.load8_u (local.get 0)))
        (func (export "get") (param i32) (result (ref $f))
            (if (result (ref $f)) (local.get 0) (then (ref.func $triple)) (else (ref.func $load)))))"#;
    let taker = r#"(module
        (type $f (func (param i32) (result i32)))
        (import "giver" "get" (func $get (param i32) (result (ref $f))))
        (import "host" "same" (func $same (param (ref func)) (result (ref func))))
        (memory 1) (data (i32.const 8) "\01")
        (func (export "run") (param $n i32) (result i32) (local $sum i32)
            (loop $next
                (local.set $sum (i32.add (local.get $sum)
                    (call_ref $f (i32.const 8) (call $get (i32.and (local.get $n) (i32.const 1))))))
                (local.set $sum (i32.add (local.get $sum) (i32.load8_u (i32.const 8))))
                (drop (call $same (call $get (i32.const 0))))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)))"#;
    for (name, text) in [("giver", giver), ("taker", taker)] {
        let module = Module::new(&engine, text).unwrap_or_else(|error| panic!("{error}"));
        let instance = linker.instantiate(&mut store, &module);
        let instance = instance.unwrap_or_else(|error| panic!("{error}"));
        linker.instance(&store, name, instance).expect("a new name");
        if name == "taker" {
            let run = instance.func(&store, "run").expect("exported");
            let results = run.call(&mut store, &[Val::I32(100)]).expect("no trap");
            assert_eq!(results, [Val::I32(50 * 24 + 50 * 42 + 100)]);
        }
    }
}

fn the_host_gives_what_the_type_says(config: &Config) {
    let text = r#"(module
        (type $f (func (param i32) (result i32)))
        (type $other (func))
        (global (export "g") (mut (ref null $f)) (ref.null $f))
        (table (export "t") 1 (ref null $f))
        (func (export "inc") (type $f) (i32.add (local.get 0) (i32.const 1)))
        (func (export "other") (type $other))
        (func (export "call") (param i32 (ref $f)) (result i32) (call_ref $f (local.get 0) (local.get 1)))
        (func (export "non_null") (param (ref func)) (result funcref) (local.get 0)))"#;
    let mut guest = Guest::new(config, text);
    let (inc, other, call) = (guest.func("inc"), guest.func("other"), guest.func("call"));
    let called = call.call(&mut guest.store, &[Val::I32(4), inc.into()]);
    assert_eq!(called.expect("of the type"), [Val::I32(5)]);
    for wrong in [
        other.into(),
        Val::FuncRef(None),
        Val::ExternRef(None),
        Val::I32(0),
    ] {
        let refused = call.call(&mut guest.store, &[Val::I32(4), wrong]);
        let message = refused.expect_err("of another type").to_string();
        assert!(message.contains("(ref (func [i32] -> [i32]))"), "{message}");
    }
    // A function of the host of the very type, and one of another.
    let ty = FuncType::new([ValType::I32], [ValType::I32]);
    let host = Func::new(&mut guest.store, ty, |_: Caller<'_, ()>, args, results| {
        results[0] = Val::I32(args[0].i32().unwrap_or_default() * 10);
        Ok(())
    });
    let called = call.call(&mut guest.store, &[Val::I32(4), host.into()]);
    assert_eq!(called.expect("of the type"), [Val::I32(40)]);
    let export = |guest: &Guest, name| guest.instance.export(&guest.store, name).expect("exported");
    let global: Global = export(&guest, "g").global().expect("a global");
    assert!(global.set(&mut guest.store, other.into()).is_err());
    assert!(global.set(&mut guest.store, host.into()).is_ok());
    let table: Table = export(&guest, "t").table().expect("a table");
    assert!(table.set(&mut guest.store, 0, other.into()).is_err());
    assert!(table.set(&mut guest.store, 0, inc.into()).is_ok());
    assert_eq!(table.grow(&mut guest.store, 1, other.into()), None);
    // Results of the host are looked at, too: one that must not be null has to be set.
    let Some(Val::FuncRef(Some(inc_again))) = table.get(&guest.store, 0) else {
        panic!("it was set")
    };
    assert_eq!(inc_again, inc);
    let of_inc = call.ty(&guest.store).params[1];
    let ValType::Ref(reference) = of_inc else {
        panic!("a reference")
    };
    assert!(matches!(
        reference.heap(),
        HeapType::Concrete(CompositeKind::Func, _)
    ));
    assert!(!reference.is_nullable() && of_inc.matches(RefType::FUNCREF.into()));
    let lazy = FuncType::new([], [of_inc]);
    let lazy = Func::new(&mut guest.store, lazy, |_: Caller<'_, ()>, _, _| Ok(()));
    let error = lazy
        .call(&mut guest.store, &[])
        .expect_err("nothing was set");
    assert!(
        error
            .to_string()
            .contains("a host function returned nullfuncref for"),
        "{error}"
    );
    // Rust types: a parameter may be wider than what is given, a result narrower than what is wanted.
    let non_null = guest.func("non_null");
    let typed = non_null
        .typed::<Func, Option<Func>>(&guest.store)
        .expect("they fit");
    assert_eq!(
        typed.call(&mut guest.store, inc).expect("no trap"),
        Some(inc)
    );
    assert!(
        non_null
            .typed::<Option<Func>, Option<Func>>(&guest.store)
            .is_err()
    );
    assert!(non_null.typed::<Func, Func>(&guest.store).is_err());
}

fn tail_calls_of_references(config: &Config) {
    let text = r#"(module
        (type $f (func (param i32 i64) (result i64)))
        (elem declare func $even $odd)
        (func $even (type $f)
            (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call_ref $f (i32.sub (local.get 0) (i32.const 1))
                (i64.add (local.get 1) (i64.const 1)) (ref.func $odd)))
        (func $odd (type $f)
            (if (i32.eqz (local.get 0)) (then (return (i64.const -1))))
            (return_call_ref $f (i32.sub (local.get 0) (i32.const 1))
                (i64.add (local.get 1) (i64.const 1)) (ref.func $even)))
        (func (export "run") (param i32) (result i32)
            (i32.wrap_i64 (call_ref $f (local.get 0) (i64.const 0) (ref.func $even))))
        (func (export "null") (result i64)
            (return_call_ref $f (i32.const 1) (i64.const 1) (ref.null $f))))"#;
    let mut guest = Guest::new(config, text);
    assert_eq!(guest.i32("run", 100_000), 100_000);
    assert_eq!(guest.i32("run", 100_001), -1);
    assert_eq!(guest.trap("null").0, Some(TrapCode::NullFunctionReference));
}

#[test]
fn imports_match_by_type() {
    let engine = Engine::new(&Config::new());
    let giver = r#"(module
        (type $f (func (param i32)))
        (func $f (export "f") (type $f))
        (global (export "const") (ref $f) (ref.func $f))
        (global (export "var") (mut (ref $f)) (ref.func $f))
        (table (export "t") 1 (ref null $f)))"#;
    let module = Module::new(&engine, giver).expect("it is valid");
    let check = |import: &str| {
        let mut store = Store::new(&engine, ()).expect("there is memory");
        let mut linker: Linker<()> = Linker::new();
        let instance = linker.instantiate(&mut store, &module).expect("it links");
        linker.instance(&store, "m", instance).expect("a new name");
        let text = format!(
            "(module (type $f (func (param i32))) (type $g (func)) (import \"m\" {import}))"
        );
        let module = Module::new(&engine, text).unwrap_or_else(|error| panic!("{error}"));
        linker
            .instantiate(&mut store, &module)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for fits in [
        r#""f" (func (type $f))"#,
        r#""const" (global (ref $f))"#,
        r#""const" (global (ref null $f))"#,
        r#""const" (global funcref)"#,
        r#""var" (global (mut (ref $f)))"#,
        r#""t" (table 1 (ref null $f))"#,
    ] {
        assert_eq!(check(fits), Ok(()), "{fits}");
    }
    for differs in [
        r#""f" (func (type $g))"#,
        r#""const" (global (ref $g))"#,
        r#""const" (global externref)"#,
        r#""var" (global (mut (ref null $f)))"#,
        r#""var" (global (mut funcref))"#,
        r#""t" (table 1 funcref)"#,
        r#""t" (table 1 (ref null $g))"#,
    ] {
        let error = check(differs).expect_err("it does not fit");
        assert!(error.contains("incompatible import"), "{error}");
    }
}
