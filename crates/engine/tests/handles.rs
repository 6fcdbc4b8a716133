//! What an embedder does with stores: references, globals, tables and memories of the host, handles of the wrong store,
//! threads, and the end of a store.

mod forwarding;
mod guest;
mod modes;

use std::panic::{AssertUnwindSafe, catch_unwind};

use forwarding::forwarding;
use guest::{call, guest, module};
use modes::in_all_modes;
use tiered::decode::types::{GlobalType, Limits as Size, MemoryType, RefType, TableType, ValType};
use tiered::{
    Caller, Config, Engine, ExternRef, Func, Global, Instance, Linker, Memory, SetError, Store,
    Table, TrapCode, Val,
};

in_all_modes! {
    references_of_the_host,
    globals_tables_and_memories_of_the_host,
    handles_of_another_store_panic,
    a_foreign_reference_from_a_host_function_panics,
    stores_move_between_threads,
    one_linker_serves_many_stores,
    a_store_drops_what_it_owns,
}

fn references_of_the_host(config: &Config) {
    let mut linker: Linker<Option<ExternRef>> = Linker::new();
    linker
        .func(
            "host",
            "keep",
            |mut caller: Caller<'_, Option<ExternRef>>, value: Option<ExternRef>| {
                std::mem::replace(caller.data_mut(), value)
            },
        )
        .expect("a new name");
    let text = r#"(module
        (import "host" "keep" (func $keep (param externref) (result externref)))
        (table (export "t") 2 externref) (global $g (export "g") (mut externref) (ref.null extern))
        (func (export "f") (param externref) (result externref)
            (table.set (i32.const 1) (local.get 0)) (global.set $g (local.get 0))
            (call $keep (table.get (i32.const 1)))))"#;
    let (mut store, instance) = guest(config, text, &linker, None);
    let text = ExternRef::new(&mut store, String::from("a value"));
    let number = ExternRef::new(&mut store, 7u64);
    let f = instance
        .typed_func::<Option<ExternRef>, Option<ExternRef>>(&store, "f")
        .expect("the type");
    assert_eq!(
        f.call(&mut store, Some(text)).expect("it does not trap"),
        None
    );
    assert_eq!(
        f.call(&mut store, Some(number)).expect("it does not trap"),
        Some(text)
    );
    assert_eq!(
        text.data(&store)
            .downcast_ref::<String>()
            .map(String::as_str),
        Some("a value")
    );
    assert_eq!(number.data(&store).downcast_ref(), Some(&7u64));
    let table = instance.table(&store, "t").expect("it is exported");
    assert_eq!(table.get(&store, 0), Some(Val::ExternRef(None)));
    assert_eq!(table.get(&store, 1), Some(Val::ExternRef(Some(number))));
    assert_eq!(table.get(&store, 2), None);
    let global = instance.global(&store, "g").expect("it is exported");
    assert_eq!(global.get(&store), Val::from(number));
    assert_eq!(
        f.call(&mut store, None).expect("it does not trap"),
        Some(number)
    );
}

fn globals_tables_and_memories_of_the_host(config: &Config) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let mut ty = GlobalType {
        content: ValType::I64,
        mutable: true,
    };
    let global = Global::new(&mut store, ty, Val::I64(-5)).expect("the type");
    assert_eq!(global.set(&mut store, Val::I64(6)), Ok(()));
    assert_eq!(global.set(&mut store, Val::I32(6)), Err(SetError::Type));
    assert_eq!(global.get(&store), Val::I64(6));
    assert_eq!(
        Global::new(&mut store, ty, Val::F64(0)),
        Err(SetError::Type)
    );
    ty.mutable = false;
    let constant = Global::new(&mut store, ty, Val::I64(1)).expect("the type");
    assert_eq!(
        constant.set(&mut store, Val::I64(6)),
        Err(SetError::Immutable)
    );
    assert_eq!(
        (constant.get(&store), constant.ty(&store)),
        (Val::I64(1), ty)
    );

    let func = Func::wrap(&mut store, |_: Caller<'_, ()>| 5i32);
    let size = Size {
        min: 2,
        max: Some(3),
    };
    let ty = TableType::new(RefType::FUNCREF, size);
    let table = Table::new(&mut store, ty, Val::FuncRef(None)).expect("within the limits");
    assert_eq!(table.set(&mut store, 1, func.into()), Ok(()));
    assert_eq!(
        table.set(&mut store, 2, func.into()),
        Err(SetError::OutOfBounds)
    );
    assert_eq!(
        table.set(&mut store, 0, Val::ExternRef(None)),
        Err(SetError::Type)
    );
    assert_eq!(table.grow(&mut store, 1, func.into()), Some(2));
    assert_eq!(table.grow(&mut store, 1, func.into()), None);
    assert_eq!(table.grow(&mut store, 0, Val::I32(0)), None);
    assert_eq!(table.size(&store), 3);
    assert_eq!(
        [0, 1, 2].map(|index| table.get(&store, index)),
        [
            Some(Val::FuncRef(None)),
            Some(func.into()),
            Some(func.into())
        ]
    );
    assert_eq!(
        table.ty(&store).limits,
        Size {
            min: 3,
            max: Some(3)
        }
    );

    let ty = MemoryType::new(Size {
        min: 1,
        max: Some(2),
    });
    let memory = Memory::new(&mut store, ty).expect("within the limits");
    memory.data_mut(&mut store)[65535] = 9;
    assert_eq!(memory.grow(&mut store, 1), Some(1));
    assert_eq!(memory.grow(&mut store, 1), None);
    assert_eq!(
        (memory.size(&store), memory.data(&store).len()),
        (2, 131_072)
    );
    assert_eq!(memory.data(&store)[65535..65537], [9, 0]);
    assert_eq!(store.memory_bytes(), 131_072);
}

/// Takes what a use gives, if it gives something.
fn look<T>(_: T) {}

fn handles_of_another_store_panic(config: &Config) {
    let text = r#"(module (func (export "f") (param funcref externref)) (table (export "t") 1 funcref)
        (memory (export "m") 1) (global (export "g") (mut funcref) (ref.null func)))"#;
    let (mut store, instance) = guest(config, text, &Linker::new(), ());
    let (mut other, in_other) = guest(config, text, &Linker::new(), ());
    let (func, table) = (
        instance.func(&store, "f").expect("f"),
        instance.table(&store, "t").expect("t"),
    );
    let (memory, global) = (
        instance.memory(&store, "m").expect("m"),
        instance.global(&store, "g").expect("g"),
    );
    let value = ExternRef::new(&mut store, 1);
    let null = [Val::FuncRef(None), Val::ExternRef(None)];
    type Use<'a> = Box<dyn FnMut(&mut Store<()>) + 'a>;
    let mut uses: Vec<(&str, Use<'_>)> = Vec::new();
    uses.push(("a function's type", Box::new(|other| look(func.ty(other)))));
    uses.push(("a call", Box::new(|other| look(func.call(other, &null)))));
    uses.push((
        "a typed function",
        Box::new(|other| look(func.typed::<(), ()>(other))),
    ));
    uses.push((
        "an export",
        Box::new(|other| look(instance.export(other, "f"))),
    ));
    uses.push((
        "the exports",
        Box::new(|other| assert_eq!(instance.exports(other).count(), 4)),
    ));
    uses.push(("a module", Box::new(|other| look(instance.module(other)))));
    uses.push((
        "a table's size",
        Box::new(|other| assert_eq!(table.size(other), 1)),
    ));
    uses.push((
        "a table's element",
        Box::new(|other| look(table.get(other, 0))),
    ));
    uses.push((
        "a table's growth",
        Box::new(|other| look(table.grow(other, 1, null[0]))),
    ));
    uses.push((
        "a memory's size",
        Box::new(|other| assert_eq!(memory.size(other), 1)),
    ));
    uses.push((
        "a memory's bytes",
        Box::new(|other| assert_eq!(memory.data(other).len(), 65536)),
    ));
    uses.push((
        "a memory's bytes to change",
        Box::new(|other| memory.data_mut(other)[0] = 1),
    ));
    uses.push((
        "a global's value",
        Box::new(|other| look(global.get(other))),
    ));
    uses.push((
        "a host value",
        Box::new(|other| look(value.data(other).is::<i32>())),
    ));
    let foreign = [Val::from(func), Val::from(value)];
    uses.push((
        "a function as an argument",
        Box::new(move |other| {
            look(
                in_other
                    .func(other, "f")
                    .expect("f")
                    .call(other, &[foreign[0], null[1]]),
            );
        }),
    ));
    uses.push((
        "a host value as an argument",
        Box::new(move |other| {
            look(
                in_other
                    .func(other, "f")
                    .expect("f")
                    .call(other, &[null[0], foreign[1]]),
            );
        }),
    ));
    uses.push((
        "a function in a table",
        Box::new(move |other| {
            look(
                in_other
                    .table(other, "t")
                    .expect("t")
                    .set(other, 0, foreign[0]),
            );
        }),
    ));
    uses.push((
        "a function in a global",
        Box::new(move |other| {
            look(
                in_other
                    .global(other, "g")
                    .expect("g")
                    .set(other, foreign[0]),
            );
        }),
    ));
    uses.push((
        "an import",
        Box::new(move |other| {
            let engine = Engine::new(config);
            let module = module(
                &engine,
                r#"(module (import "a" "f" (func (param funcref externref))))"#,
            );
            look(Instance::new(other, &module, &[func.into()]));
        }),
    ));
    for (name, mut using) in uses {
        let panic = catch_unwind(AssertUnwindSafe(|| using(&mut other))).expect_err(name);
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        assert!(
            text.is_some_and(|text| text.contains("another store")),
            "{name}"
        );
    }
    // Nothing has changed, and the store goes on.
    assert_eq!(
        call(&mut other, in_other, "f", &null).expect("the store can be used"),
        []
    );
    assert_eq!(
        in_other.table(&other, "t").expect("t").get(&other, 0),
        Some(Val::FuncRef(None))
    );
}

fn a_foreign_reference_from_a_host_function_panics(config: &Config) {
    let (store, instance) = guest(
        config,
        r#"(module (func (export "f")))"#,
        &Linker::new(),
        (),
    );
    let foreign = instance.func(&store, "f").expect("f");
    let mut linker: Linker<()> = Linker::new();
    linker
        .func("host", "f", move |_: Caller<'_, ()>| Some(foreign))
        .expect("a new name");
    let text = r#"(module (import "host" "f" (func $f (result funcref)))
        (func (export "f") (result i32) (ref.is_null (call $f))) (func (export "fine")))"#;
    let (mut other, instance) = guest(config, text, &linker, ());
    catch_unwind(AssertUnwindSafe(|| call(&mut other, instance, "f", &[])))
        .expect_err("it is of another store");
    call(&mut other, instance, "fine", &[]).expect("the store can be used");
}

fn stores_move_between_threads(config: &Config) {
    fn assert_send<T: Send>(_: &T) {}
    let text = r#"(module (import "host" "count" (func $count))
        (memory (export "memory") 1) (global $g (mut i32) (i32.const 0)) (table 1 funcref)
        (func (export "f") (param i32) (result i32)
            (loop (call $count) (global.set $g (i32.add (global.get $g) (i32.const 1)))
                (i32.store (i32.const 0) (global.get $g))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (if (i32.gt_u (global.get $g) (i32.const 60)) (then (unreachable)))
            (global.get $g)))"#;
    let mut linker: Linker<Vec<u32>> = Linker::new();
    linker
        .func("host", "count", |mut caller: Caller<'_, Vec<u32>>| {
            caller.data_mut()[0] += 1
        })
        .expect("a new name");
    let (store, instance) = guest(config, text, &linker, vec![0]);
    assert_send(&store);
    let mut store = Some(store);
    for turn in 1..=5 {
        let mut moved = store.take().expect("it came back");
        let thread = std::thread::spawn(move || {
            let found = call(&mut moved, instance, "f", &[Val::I32(10)]).expect("it does not trap");
            assert_eq!(found, [Val::I32(10 * turn)]);
            moved
        });
        store = Some(thread.join().expect("the thread is well"));
    }
    let mut store = store.expect("it came back");
    let trap = std::thread::scope(|scope| {
        let call = || call(&mut store, instance, "f", &[Val::I32(20)]).expect_err("it traps");
        scope.spawn(call).join().expect("the thread is well")
    });
    assert_eq!(trap.code(), Some(TrapCode::Unreachable));
    let memory = instance.memory(&store, "memory").expect("it is exported");
    assert_eq!(memory.data(&store)[0], 70);
    assert_eq!(store.into_data(), [70]);
}

fn one_linker_serves_many_stores(config: &Config) {
    let engine = Engine::new(config);
    let mut linker: Linker<u32> = Linker::new();
    linker
        .func("host", "f", |mut caller: Caller<'_, u32>| {
            *caller.data_mut() += 1;
            *caller.data()
        })
        .expect("a new name");
    let module = module(&engine, &forwarding("", "i32", 0));
    let stores = std::thread::scope(|scope| {
        let run = |start: u32| {
            let (engine, linker, module) = (&engine, &linker, &module);
            scope.spawn(move || {
                let mut store = Store::new(engine, start).expect("a store has a stack");
                let instance = linker
                    .instantiate(&mut store, module)
                    .expect("it has its imports");
                (0..100).for_each(|_| {
                    drop(call(&mut store, instance, "f", &[]).expect("it does not trap"))
                });
                store.into_data()
            })
        };
        let threads: Vec<_> = (0..4).map(|index| run(1000 * index)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the thread is well"))
            .collect::<Vec<_>>()
    });
    assert_eq!(stores, [100, 1100, 2100, 3100]);
}

/// Host functions own values: they go with the store.
fn a_store_drops_what_it_owns(config: &Config) {
    use std::sync::Arc;
    let witness = Arc::new(());
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, Arc::clone(&witness)).expect("a store has a stack");
    let in_closure = Arc::clone(&witness);
    Func::wrap(&mut store, move |_: Caller<'_, Arc<()>>| {
        drop(Arc::clone(&in_closure))
    });
    ExternRef::new(&mut store, Arc::clone(&witness));
    let mut linker = Linker::new();
    let in_linker = Arc::clone(&witness);
    linker
        .func("host", "f", move |_: Caller<'_, Arc<()>>| {
            drop(Arc::clone(&in_linker))
        })
        .expect("a new name");
    linker
        .instantiate(&mut store, &module(&engine, &forwarding("", "", 0)))
        .expect("it has its imports");
    assert_eq!(Arc::strong_count(&witness), 5);
    drop(linker);
    assert_eq!(
        Arc::strong_count(&witness),
        5,
        "the store still has the function"
    );
    drop(store);
    assert_eq!(Arc::strong_count(&witness), 1);
}
