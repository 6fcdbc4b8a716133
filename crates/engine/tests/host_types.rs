//! Host functions and tags whose types a module has defined: in recursion groups, as subtypes, and what is said of those that
//! differ though they are written alike.

mod guest;
mod modes;

use std::sync::Arc;

use guest::{call, guest, module};
use modes::in_all_modes;
use tiered::decode::types::{FuncType, ValType};
use tiered::{
    Caller, Config, Engine, Exception, Func, HostType, HostTypeError, Instance, Linker, Store, Tag,
    Trap, TrapCode, Val,
};

in_all_modes! {
    functions_of_recursion_groups_are_called_in_every_way,
    functions_of_subtypes_are_of_the_types_above,
    exceptions_with_tags_of_recursion_groups_change_sides,
    a_result_of_a_type_written_alike_is_refused,
}

/// A host function's type by its import.
fn import_type(module: &tiered::Module, name: &str) -> HostType {
    let import = module.imports().iter().find(|import| &*import.name == name);
    let id = module.import_type_id(import.expect("it is imported"));
    HostType::of_module(id.expect("it is a function or a tag")).expect("the module is there")
}

fn int(store: &mut Store<()>, instance: Instance, name: &str, arg: i32) -> i32 {
    let results = call(store, instance, name, &[Val::I32(arg)]);
    let results = results.unwrap_or_else(|trap| panic!("{name}({arg}): {trap:?}"));
    results[0].i32().expect("an i32")
}

/// Answers its first argument and one more.
fn next(_: Caller<'_, ()>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    results[0] = Val::I32(args[0].i32().expect("an i32") + 1);
    Ok(())
}

const VISIT: &str = r#"(module
    (rec
        (type $visit (func (param i32 (ref null $node)) (result i32)))
        (type $node (struct (field (ref null $visit)) (field i32))))
    (import "host" "visit" (func $visit (type $visit)))
    (export "visit" (func $visit))
    (table $t funcref (elem $visit))
    (func (export "call") (param i32) (result i32) (local $i i32)
        (loop $l
            (local.set 0 (call $visit (local.get 0) (ref.null $node)))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50))))
        (local.get 0))
    (func (export "table") (param i32) (result i32)
        (call_indirect (type $visit) (local.get 0) (ref.null $node) (i32.const 0)))
    (func (export "field") (param i32) (result i32) (local $node (ref $node))
        (local.set $node (struct.new $node (ref.func $visit) (i32.const 7)))
        (call_ref $visit (local.get 0) (local.get $node) (struct.get $node 0 (local.get $node))))
    (func (export "tail") (param i32) (result i32)
        (return_call $visit (local.get 0) (ref.null $node)))
    (func (export "is") (param i32) (result i32)
        (ref.test (ref $visit) (table.get $t (i32.const 0)))))"#;

fn functions_of_recursion_groups_are_called_in_every_way(config: &Config) {
    let engine = Engine::new(config);
    let module = module(&engine, VISIT);
    let ty = import_type(&module, "visit");
    let mut store = Store::new(&engine, ()).expect("a store");
    let mut by_name = Linker::<()>::new();
    by_name
        .func_new("host", "visit", ty.clone(), next)
        .expect("a free name");
    let func = Func::new(&mut store, ty.clone(), next);
    assert_eq!(
        (func.type_id(&store), func.ty(&store)),
        (ty.id(), ty.func_type().clone())
    );
    let mut by_handle = Linker::<()>::new();
    by_handle
        .define("host", "visit", func)
        .expect("a free name");
    for linker in [by_name, by_handle] {
        let instance = linker.instantiate(&mut store, &module).expect("it links");
        for n in [0, 41] {
            assert_eq!(int(&mut store, instance, "call", n), n + 50);
            for name in ["table", "field", "tail"] {
                assert_eq!(int(&mut store, instance, name, n), n + 1, "{name}");
            }
        }
        assert_eq!(int(&mut store, instance, "is", 0), 1);
        let exported = instance.func(&store, "visit").expect("it is exported");
        assert_eq!(exported.type_id(&store), ty.id());
        assert_eq!(int(&mut store, instance, "call", 1), 51);
    }
    // The same parameters and results, written alone, are of another type.
    let alone = HostType::from(ty.func_type().clone());
    assert_ne!(alone.id(), ty.id());
    let mut linker = Linker::<()>::new();
    linker
        .func_new("host", "visit", alone, next)
        .expect("a free name");
    let error = linker
        .instantiate(&mut store, &module)
        .expect_err("it differs");
    let text = error.to_string();
    let end = ": the expected type is number 0 of 2 in its recursion group, the found one is alone in its recursion group";
    assert!(text.ends_with(end), "{text}");
}

fn functions_of_subtypes_are_of_the_types_above(config: &Config) {
    let text = r#"(module
        (type $base (sub (func (param i32) (result i32))))
        (type $derived (sub $base (func (param i32) (result i32))))
        (type $alone (func (param i32) (result i32)))
        (import "host" "f" (func $f (type $derived)))
        (table $t funcref (elem $f))
        (func (export "above") (param i32) (result i32)
            (call_indirect (type $base) (local.get 0) (i32.const 0)))
        (func (export "itself") (param i32) (result i32)
            (call_indirect (type $derived) (local.get 0) (i32.const 0)))
        (func (export "alone") (param i32) (result i32)
            (call_indirect (type $alone) (local.get 0) (i32.const 0))))"#;
    let engine = Engine::new(config);
    let module = module(&engine, text);
    let mut linker = Linker::<()>::new();
    linker
        .func_new("host", "f", import_type(&module, "f"), next)
        .expect("a free name");
    let mut store = Store::new(&engine, ()).expect("a store");
    let instance = linker.instantiate(&mut store, &module).expect("it links");
    for n in 0..30 {
        assert_eq!(int(&mut store, instance, "above", n), n + 1);
        assert_eq!(int(&mut store, instance, "itself", n), n + 1);
    }
    let trap = call(&mut store, instance, "alone", &[Val::I32(1)]).expect_err("another type");
    assert_eq!(trap.code(), Some(TrapCode::IndirectCallTypeMismatch));
    // The type above is not enough for the import.
    let base = HostType::of_module(module.types().ids()[0]).expect("the module is there");
    let mut linker = Linker::<()>::new();
    linker
        .func_new("host", "f", base, next)
        .expect("a free name");
    let error = linker
        .instantiate(&mut store, &module)
        .expect_err("it differs");
    let text = error.to_string();
    let end = ": the expected type is alone in its recursion group and a subtype of (func [i32] -> [i32]) and not final, \
               the found one is alone in its recursion group and not final";
    assert!(text.ends_with(end), "{text}");
}

fn exceptions_with_tags_of_recursion_groups_change_sides(config: &Config) {
    let text = r#"(module
        (rec (type $thrown (func (param i32))) (type $other (func (param i64))))
        (import "host" "tag" (tag $tag (type $thrown)))
        (import "host" "throw" (func $throw (param i32)))
        (func (export "catch") (param i32) (result i32)
            (block $h (result i32)
                (try_table (catch $tag $h) (call $throw (local.get 0)))
                (i32.const -1)))
        (func (export "throw") (param i32) (throw $tag (local.get 0))))"#;
    let engine = Engine::new(config);
    let module = module(&engine, text);
    let ty = import_type(&module, "tag");
    let mut store = Store::new(&engine, ()).expect("a store");
    let tag = Tag::with_type(&mut store, ty.clone()).expect("it has no results");
    assert_eq!(
        (tag.type_id(&store), tag.ty(&store)),
        (ty.id(), ty.func_type().clone())
    );
    let linker = |tag: Tag| {
        let mut linker = Linker::<()>::new();
        linker.define("host", "tag", tag).expect("a free name");
        let throw = move |caller: Caller<'_, ()>, n: i32| -> Result<(), Exception> {
            Err(Exception::new(&caller, tag, [Val::I32(n)]).expect("the tag has an i32"))
        };
        linker.func("host", "throw", throw).expect("a free name");
        linker
    };
    let linked = linker(tag)
        .instantiate(&mut store, &module)
        .expect("it links");
    for n in 0..30 {
        assert_eq!(int(&mut store, linked, "catch", n), n);
    }
    let trap = call(&mut store, linked, "throw", &[Val::I32(5)]).expect_err("nobody catches it");
    let exception = trap.exception().expect("it is one");
    assert_eq!(
        (exception.tag(), exception.values()),
        (tag, &[Val::I32(5)][..])
    );
    let alone = Tag::new(&mut store, [ValType::I32]);
    let error = linker(alone)
        .instantiate(&mut store, &module)
        .expect_err("it differs");
    let text = error.to_string();
    assert!(
        text.contains("expected tag [i32], found tag [i32]: the expected type is number 0 of 2"),
        "{text}"
    );
    let wrong = Tag::with_type(&mut store, FuncType::new([], [ValType::I32]));
    assert_eq!(wrong, Err(HostTypeError::Results));
}

fn a_result_of_a_type_written_alike_is_refused(config: &Config) {
    let text = r#"(module
        (rec (type $a (struct (field i32))) (type $b (struct (field i32))))
        (import "host" "give" (func $give (param (ref $a)) (result (ref $b))))
        (func (export "run") (param i32) (result i32)
            (struct.get $b 0 (call $give (struct.new $a (local.get 0))))))"#;
    let mut linker = Linker::<()>::new();
    let engine = Engine::new(config);
    let module = module(&engine, text);
    let ty = import_type(&module, "give");
    let give = |_: Caller<'_, ()>, args: &[Val], results: &mut [Val]| {
        results[0] = args[0];
        Ok(())
    };
    linker
        .func_new("host", "give", ty, give)
        .expect("a free name");
    let mut store = Store::new(&engine, ()).expect("a store");
    let instance = linker.instantiate(&mut store, &module).expect("it links");
    let trap = call(&mut store, instance, "run", &[Val::I32(1)]).expect_err("it is of type $a");
    let text = trap.to_string();
    let end = ": the expected type referred to is number 1 of 2 in its recursion group, the found one is number 0 of 2 in its recursion group";
    assert!(text.ends_with(end), "{text}");
}

/// What is written alike to the end differs in what it refers to.
#[test]
fn what_is_imported_is_told_apart() {
    let provider = r#"(module
        (type $inner (struct (field i64)))
        (type $outer (struct (field (ref null $inner))))
        (global (export "g") (ref null $outer) (ref.null none))
        (table (export "t") 1 (ref null $outer)))"#;
    let (mut store, given) = guest(&Config::new(), provider, &Linker::new(), ());
    for import in ["(global (ref null $outer))", "(table 1 (ref null $outer))"] {
        let name = if import.starts_with("(global") {
            "g"
        } else {
            "t"
        };
        let text = format!(
            r#"(module
            (type $inner (struct (field f64)))
            (type $outer (struct (field (ref null $inner))))
            (import "p" "{name}" {import}))"#
        );
        let mut linker = Linker::<()>::new();
        linker.instance(&store, "p", given).expect("free names");
        let importer = tiered::decode::Module::new(text.into_bytes()).expect("it is valid");
        let error = linker
            .instantiate(&mut store, &Arc::new(importer))
            .expect_err("it differs");
        let text = error.to_string();
        let end =
            ": the types that the expected type referred to and the found one refer to differ";
        assert!(text.ends_with(end), "{text}");
    }
}

#[test]
fn a_type_that_is_no_functions_or_gone_is_refused() {
    let engine = Engine::new(&Config::new());
    let module = module(
        &engine,
        "(module (rec (type (struct (field i32))) (type (func (param f32 f32 f32 f64)))))",
    );
    let ids = module.types().ids().to_vec();
    assert_eq!(
        HostType::of_module(ids[0]).expect_err("a structure"),
        HostTypeError::NotFunc
    );
    let kept = HostType::of_module(ids[1]).expect("a function");
    drop(module);
    HostType::of_module(ids[1]).expect("it is kept");
    drop(kept);
    let gone = HostType::of_module(ids[1]).map(|ty| ty.func_type().clone());
    // Another module of this process may have the number by now, which a test beside this one would.
    assert!(gone.is_err() || gone.is_ok_and(|ty| ty.params.len() != 4));
}
