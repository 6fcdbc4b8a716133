//! What an embedder does with stores: references, globals, tables and memories of the host, handles of the wrong store,
//! threads, and the end of a store.

mod forwarding;
mod guest;
mod modes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forwarding::forwarding;
use guest::{call, guest, module};
use modes::in_all_modes;
use tiered::decode::types::{GlobalType, Limits as Size, MemoryType, RefType, TableType, ValType};
use tiered::{
    AllocError, AnyStore, Caller, Config, Engine, Exception, Extern, ExternRef, Func, Global,
    Instance, LimitError, Linker, Memory, SetError, Store, Table, Trap, TrapCode, Val,
};

in_all_modes! {
    references_of_the_host,
    globals_tables_and_memories_of_the_host,
    handles_of_another_store_panic,
    a_foreign_reference_from_a_host_function_panics,
    stores_move_between_threads,
    one_linker_serves_many_stores,
    a_store_drops_what_it_owns,
    values_of_the_host_die_with_their_last_reference,
    values_live_as_long_as_a_stack_has_them,
    values_live_as_long_as_exceptions_carry_them,
    handles_end_with_their_scope,
    a_full_heap_is_an_error,
}

fn references_of_the_host(config: &Config) {
    let mut linker: Linker<Option<ExternRef>> = Linker::new();
    linker
        .func(
            "host",
            "keep",
            |mut caller: Caller<'_, Option<ExternRef>>, value: Option<ExternRef>| {
                let kept = value.map(|value| value.keep(&mut caller)).transpose()?;
                Ok::<_, LimitError>(std::mem::replace(caller.data_mut(), kept))
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
    let text = ExternRef::new(&mut store, String::from("a value")).expect("there is room");
    let number = ExternRef::new(&mut store, 7u64).expect("there is room");
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
    let value = ExternRef::new(&mut store, 1).expect("there is room");
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
    let witness = Arc::new(());
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, Arc::clone(&witness)).expect("a store has a stack");
    let in_closure = Arc::clone(&witness);
    Func::wrap(&mut store, move |_: Caller<'_, Arc<()>>| {
        drop(Arc::clone(&in_closure))
    });
    ExternRef::new(&mut store, Arc::clone(&witness)).expect("there is room");
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

/// A value of the host that counts how many of its kind there are, and has a number: what is freed too early becomes
/// another's at once.
struct Counted(Arc<AtomicUsize>, i32);

impl Counted {
    fn new(count: &Arc<AtomicUsize>, number: i32) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count), number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The number of a value, -1 for null.
fn number_of(store: &AnyStore, value: Option<ExternRef>) -> i32 {
    value.map_or(-1, |value| {
        let value = value.data(store).downcast_ref::<Counted>();
        value.expect("it is one").1
    })
}

/// Imports `host.new`, which makes a value with a number, and `host.check`, which compares it.
fn making(count: &Arc<AtomicUsize>) -> Linker<()> {
    let mut linker = Linker::new();
    let count = Arc::clone(count);
    let new = move |mut caller: Caller<'_, ()>, number: i32| {
        ExternRef::new(&mut caller, Counted::new(&count, number)).map(Some)
    };
    linker.func("host", "new", new).expect("a new name");
    let check = |caller: Caller<'_, ()>, value: Option<ExternRef>, number: i32| {
        assert_eq!(number_of(&caller, value), number);
    };
    linker.func("host", "check", check).expect("a new name");
    linker
}

/// Whatever holds a reference keeps the value alive, until the last one is gone.
fn values_of_the_host_die_with_their_last_reference(config: &Config) {
    let text = r#"(module
        (import "host" "new" (func $new (param i32) (result externref)))
        (table $t (export "t") 4 externref) (global $g (export "g") (mut externref) (ref.null extern))
        (table $of_funcs 1 funcref) (global $n (mut i64) (i64.const 0))
        (func (export "to_table") (table.set $t (i32.const 1) (call $new (i32.const 0))))
        (func (export "to_global") (global.set $g (call $new (i32.const 0))))
        (func (export "grow") (drop (table.grow $t (call $new (i32.const 0)) (i32.const 3))))
        (func (export "copy") (table.copy $t $t (i32.const 3) (i32.const 1) (i32.const 1)))
        (func (export "clear") (param i32) (table.set $t (local.get 0) (ref.null extern)))
        (func (export "clear_global") (global.set $g (ref.null extern)))
        (func (export "lose") (param $n i32)
            (loop (drop (call $new (i32.const 0))) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    for stress in [false, true] {
        let count = Arc::new(AtomicUsize::new(0));
        let config = config.clone().gc_stress(stress);
        let (mut store, instance) = guest(&config, text, &making(&count), ());
        let mut step = |name: &str, args: &[Val], left: usize| {
            call(&mut store, instance, name, args).expect("it does not trap");
            store.collect_garbage();
            assert_eq!(count.load(Ordering::Relaxed), left, "after {name}");
            assert_eq!(store.host_values(), left, "after {name}");
        };
        step("lose", &[Val::I32(100)], 0);
        step("to_table", &[], 1);
        step("to_global", &[], 2);
        step("to_global", &[], 2);
        step("copy", &[], 2);
        step("clear", &[Val::I32(1)], 2);
        step("clear", &[Val::I32(3)], 1);
        step("grow", &[], 2);
        step("clear", &[Val::I32(4)], 2);
        step("clear_global", &[], 1);
        step("clear", &[Val::I32(5)], 1);
        step("clear", &[Val::I32(6)], 0);
        // A handle of the host keeps it, too, and so do a table and a global of the host.
        let handle = ExternRef::new(&mut store, Counted::new(&count, 0)).expect("there is room");
        let ty = GlobalType {
            content: ValType::EXTERNREF,
            mutable: true,
        };
        let global = Global::new(&mut store, ty, handle.into()).expect("the type");
        let size = Size { min: 2, max: None };
        let ty = TableType::new(RefType::EXTERNREF, size);
        let table = Table::new(&mut store, ty, handle.into()).expect("within the limits");
        handle.release(&mut store);
        handle.release(&mut store);
        let null = Val::ExternRef(None);
        for (is_global, left) in [(true, 1), (false, 0)] {
            if is_global {
                global.set(&mut store, null).expect("the type");
            } else {
                table.set(&mut store, 0, null).expect("the type");
                table.set(&mut store, 1, null).expect("the type");
            }
            store.collect_garbage();
            assert_eq!(count.load(Ordering::Relaxed), left);
        }
        let stats = store.heap_stats();
        assert!(stats.collections >= 14, "{stats:?}");
        assert_eq!((stats.live_objects, stats.live_bytes), (0, 0));
    }
}

/// A value that only a local, an operand or a register of some frame has, interpreted or compiled, lives on while others are made.
fn values_live_as_long_as_a_stack_has_them(config: &Config) {
    let text = r#"(module
        (import "host" "new" (func $new (param i32) (result externref)))
        (import "host" "check" (func $check (param externref i32)))
        (import "host" "again" (func $again (param externref i32) (result externref)))
        (global $next (mut i32) (i32.const 100)) (global $returned (mut i32) (i32.const 0))
        (func $deep (export "deep") (param $n i32) (result externref)
            (local $a externref) (local $number i32) (local $b externref)
            (global.set $next (i32.add (global.get $next) (i32.const 1)))
            (local.set $number (global.get $next))
            (local.set $a (call $new (local.get $number)))
            (if (local.get $n) (then
                (if (i32.rem_u (local.get $n) (i32.const 3))
                    (then
                        (local.set $b (call $deep (i32.sub (local.get $n) (i32.const 1))))
                        (call $check (local.get $b) (global.get $returned)))
                    (else
                        (local.set $b (call $again (call $new (i32.const 99)) (i32.sub (local.get $n) (i32.const 1))))
                        (call $check (local.get $b) (i32.const 99))))))
            (call $check (local.get $a) (local.get $number))
            (global.set $returned (local.get $number))
            (local.get $a))
        (func (export "run") (param $n i32) (result i32)
            (local $kept externref) (local $last externref) (local $number i32)
            (local.set $kept (call $new (i32.const 7)))
            (local.set $number (i32.const -1))
            (loop
                (call $check (local.get $last) (local.get $number))
                (local.set $last (call $deep (i32.const 5)))
                (local.set $number (global.get $returned))
                (call $new (i32.const 8)) (call $new (i32.const 9))
                (call $check (i32.const 9)) (call $check (i32.const 8))
                (call $check (local.get $kept) (i32.const 7))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $n)))"#;
    let count = Arc::new(AtomicUsize::new(0));
    let mut linker = making(&count);
    let again = |mut caller: Caller<'_, ()>, value: Option<ExternRef>, n: i32| {
        let Some(Extern::Func(deep)) = caller.export("deep") else {
            return Err(Trap::message("no such export"));
        };
        let inner = deep.call(&mut caller, &[Val::I32(n)])?;
        let [Val::ExternRef(inner)] = inner[..] else {
            unreachable!("that is its type")
        };
        assert!(number_of(&caller, inner) > 100);
        assert_eq!(number_of(&caller, value), 99);
        Ok(value)
    };
    linker.func("host", "again", again).expect("a new name");
    let config = config.clone().gc_stress(true);
    let (mut store, instance) = guest(&config, text, &linker, ());
    let found = call(&mut store, instance, "run", &[Val::I32(40)]);
    assert_eq!(found.expect("it does not trap"), [Val::I32(0)]);
    // Nine values an iteration, and one.
    assert_eq!(store.heap_stats().collections, 40 * 9 + 1);
    store.collect_garbage();
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// In flight, caught, thrown again, thrown by the host, and come to the host.
fn values_live_as_long_as_exceptions_carry_them(config: &Config) {
    let text = r#"(module
        (import "host" "new" (func $new (param i32) (result externref)))
        (import "host" "check" (func $check (param externref i32)))
        (import "host" "throw" (func $throw))
        (tag $t (export "t") (param externref))
        (global $e (export "e") (mut exnref) (ref.null exn))
        (func $thrower (export "thrower") (throw $t (call $new (i32.const 5))))
        (func $lose (drop (call $new (i32.const 1))) (drop (call $new (i32.const 2))))
        (func (export "run") (param $n i32)
            (loop
                (block $caught (result externref exnref)
                    (try_table (catch_ref $t $caught) (call $thrower)) (unreachable))
                (global.set $e) (drop)
                (call $lose)
                (block $caught (result externref)
                    (try_table (catch $t $caught) (throw_ref (global.get $e))) (unreachable))
                (call $lose) (i32.const 5) (call $check)
                (block $caught (result externref)
                    (try_table (catch $t $caught) (call $throw)) (unreachable))
                (call $lose) (i32.const 6) (call $check)
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (global.set $e (ref.null exn))))"#;
    let count = Arc::new(AtomicUsize::new(0));
    let mut linker = making(&count);
    let in_host = Arc::clone(&count);
    let throw = move |mut caller: Caller<'_, ()>| -> Result<(), Trap> {
        let value = ExternRef::new(&mut caller, Counted::new(&in_host, 6)).map_err(Trap::host)?;
        let Some(Extern::Tag(tag)) = caller.export("t") else {
            return Err(Trap::message("no such tag"));
        };
        let exception = Exception::new(&caller, tag, [value.into()]);
        Err(exception.map_err(Trap::host)?.into())
    };
    linker.func("host", "throw", throw).expect("a new name");
    let config = config.clone().gc_stress(true);
    let (mut store, instance) = guest(&config, text, &linker, ());
    call(&mut store, instance, "run", &[Val::I32(30)]).expect("it does not trap");
    // Eight values an iteration, and two exceptions.
    assert_eq!(store.heap_stats().collections, 30 * 10);
    store.collect_garbage();
    assert_eq!(count.load(Ordering::Relaxed), 0);

    let scope = store.enter_scope();
    let trap = call(&mut store, instance, "thrower", &[]).expect_err("nobody catches it");
    store.collect_garbage();
    assert_eq!(count.load(Ordering::Relaxed), 1);
    let exception = trap.exception().expect("it is one");
    let [Val::ExternRef(Some(value))] = exception.values() else {
        panic!("{exception}");
    };
    assert_eq!(number_of(&store, Some(*value)), 5);
    store.leave_scope(scope);
    store.collect_garbage();
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

fn handles_end_with_their_scope(config: &Config) {
    let count = Arc::new(AtomicUsize::new(0));
    let mut linker: Linker<Vec<ExternRef>> = Linker::new();
    linker
        .func(
            "host",
            "note",
            |mut caller: Caller<'_, Vec<ExternRef>>, value: Option<ExternRef>| {
                let value = value.expect("it is one");
                let kept = value.keep(&mut caller)?;
                assert_eq!(kept, value);
                caller.data_mut().extend([value, kept]);
                Ok::<(), LimitError>(())
            },
        )
        .expect("a new name");
    let text = r#"(module (import "host" "note" (func $note (param externref)))
        (func (export "f") (param externref) (result externref) (call $note (local.get 0)) (local.get 0)))"#;
    let (mut store, instance) = guest(config, text, &linker, Vec::new());
    let scope = store.enter_scope();
    let value = ExternRef::new(&mut store, Counted::new(&count, 0)).expect("there is room");
    let found = call(&mut store, instance, "f", &[value.into()]).expect("it does not trap");
    assert_eq!(found, [Val::from(value)]);
    store.leave_scope(scope);
    store.collect_garbage();
    assert_eq!(count.load(Ordering::Relaxed), 1, "one handle is kept");
    let [passed, kept] = store.data()[..] else {
        unreachable!("the host function was called once")
    };
    assert!(kept.data(&store).is::<Counted>());
    let ended = [value, passed].map(|handle| {
        let data = catch_unwind(AssertUnwindSafe(|| handle.data(&store).is::<Counted>()));
        data.expect_err("its scope has ended")
            .downcast_ref::<String>()
            .map_or("", |text| text)
            .to_owned()
    });
    let after = "a reference was used after the end of its scope, and was not kept";
    assert_eq!(ended, [after, after]);
    kept.release(&mut store);
    store.collect_garbage();
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

/// The guest is told, and what it held is dropped; the store works on.
fn a_full_heap_is_an_error(config: &Config) {
    let text = r#"(module
        (import "host" "new" (func $new (param i32) (result externref)))
        (table $t (export "t") 100000 externref)
        (func (export "fill") (param $n i32)
            (loop
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (table.set $t (local.get $n) (call $new (local.get $n)))
                (br_if 0 (local.get $n))))
        (func (export "clear") (table.fill $t (i32.const 0) (ref.null extern) (i32.const 100000))))"#;
    let count = Arc::new(AtomicUsize::new(0));
    let config = config.clone().max_gc_heap(64 << 10);
    let (mut store, instance) = guest(&config, text, &making(&count), ());
    for _ in 0..2 {
        let trap = call(&mut store, instance, "fill", &[Val::I32(100_000)]);
        let trap = trap.expect_err("there is no room");
        let Some(LimitError::Heap(AllocError::Full { limit: 65536 })) = trap.downcast_ref() else {
            panic!("{trap}");
        };
        assert!(count.load(Ordering::Relaxed) > 4000);
        call(&mut store, instance, "clear", &[]).expect("it does not trap");
        store.collect_garbage();
        assert_eq!(count.load(Ordering::Relaxed), 0);
        call(&mut store, instance, "fill", &[Val::I32(4000)]).expect("there is room");
    }
}
