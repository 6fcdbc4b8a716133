//! Whatever a guest may do wrong is its trap, wherever the memory comes from and whoever else is running: no fault of a
//! guest's is taken for a bug.

mod modes;

use modes::in_all_modes;
use tiered::{Caller, Config, Engine, Instance, Linker, Module, Store, Trap, TrapCode, Val};

/// How often each function is called: enough to be compiled in each mode that compiles.
const CALLS: usize = 12;

/// Bytes of a page.
const PAGE: u32 = 64 << 10;

/// Bytes behind the memory that an offset may lead to without a check.
const GUARD: u64 = tiered_runtime::GUARD_BYTES as u64;

/// Has a memory, and functions that reach all places of it, for itself and for others.
const OWNER: &str = r#"(module
    (memory (export "memory") 1 4)
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))
    (func (export "size") (result i32) (memory.size))
    (func (export "load") (param i32) (result i64) (i64.load8_u (local.get 0))))"#;

/// Imports the memory, and adds accesses of all sizes at all sorts of offsets.
fn user() -> String {
    let mut text = String::from(
        r#"(module
        (import "owner" "memory" (memory 1 4))
        (import "owner" "load" (func $load (param i32) (result i64)))
        (type $none (func)) (type $other (func (param i32)))
        (table 4 8 funcref) (elem (i32.const 0) $nothing)
        (func $nothing)
        (func (export "there") (param i32) (drop (call $load (local.get 0))))
        (func (export "call") (param i32) (call_indirect (type $none) (local.get 0)))
        (func (export "call as another") (param i32) (call_indirect (type $other) (i32.const 0) (local.get 0)))
        (func (export "get") (param i32) (drop (table.get (local.get 0))))
        (func (export "set") (param i32) (table.set (local.get 0) (ref.null func)))
        (func (export "grow table") (drop (table.grow (ref.null func) (i32.const 1))))
        (func (export "div") (param i32) (drop (i32.div_s (i32.const -2147483648) (local.get 0))))
        (func (export "rem") (param i32) (drop (i64.rem_u (i64.const 1) (i64.extend_i32_s (local.get 0)))))
        (func (export "trunc") (param i32) (drop (i32.trunc_f32_s (f32.reinterpret_i32 (local.get 0)))))
        (func (export "unreachable") (param i32) (unreachable))
        "#,
    );
    for offset in OFFSETS {
        for (size, load, store) in [
            (1, "i32.load8_u", "i32.store8"),
            (2, "i64.load16_s", "i64.store16"),
            (4, "f32.load", "f32.store"),
            (8, "i64.load", "i64.store"),
        ] {
            let ty = &load[..3];
            text.push_str(&format!(
                r#"(func (export "load {size} {offset}") (param i32) (drop ({load} offset={offset} (local.get 0))))
                (func (export "store {size} {offset}") (param i32)
                    ({store} offset={offset} (local.get 0) ({ty}.const 0)))"#,
            ));
        }
    }
    text.push(')');
    text
}

/// None, such that need no check because of the guard, such that just do, and the largest.
const OFFSETS: [u64; 6] = [0, 5, GUARD - 8, GUARD, 1 << 31, u32::MAX as u64];

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text.as_bytes().to_vec()).expect("it is valid")
}

fn call<T>(
    store: &mut Store<T>,
    instance: Instance,
    name: &str,
    args: &[Val],
) -> Result<Vec<Val>, Trap> {
    let func = instance.func(store, name).expect("it is exported");
    func.call(store, args)
}

struct Guests<T: 'static> {
    store: Store<T>,
    owner: Instance,
    user: Instance,
}

impl<T: 'static> Guests<T> {
    fn new(engine: &Engine, data: T) -> Guests<T> {
        let mut store = Store::new(engine, data).expect("a store has a stack");
        let mut linker = Linker::new();
        let owner = linker.instantiate(&mut store, &module(engine, OWNER));
        let owner = owner.expect("it imports nothing");
        linker
            .instance(&store, "owner", owner)
            .expect("its names are new");
        let user = linker.instantiate(&mut store, &module(engine, &user()));
        Guests {
            user: user.expect("it has its imports"),
            store,
            owner,
        }
    }

    /// Calls a function of the user's again and again; it always ends like this.
    fn check(&mut self, name: &str, address: u32, expected: Option<TrapCode>) {
        for _ in 0..CALLS {
            let args = [Val::I32(address.cast_signed())];
            let result = call(&mut self.store, self.user, name, &args);
            let found = result
                .err()
                .map(|trap| trap.code().expect("a trap of the spec"));
            assert_eq!(found, expected, "{name} at {address:#x}");
        }
    }

    fn check_accesses(&mut self, pages: u32) {
        let length = u64::from(pages * PAGE);
        for offset in OFFSETS {
            for size in [1, 2, 4, 8] {
                let last = (length - size).checked_sub(offset);
                let edges = last.map_or(vec![0], |last| vec![0, last, last + 1, last + size]);
                for start in edges.into_iter().chain([1 << 31, 0xffff_fff8, 0xffff_ffff]) {
                    let is_outside = start + offset + size > length;
                    let expected = is_outside.then_some(TrapCode::MemoryOutOfBounds);
                    for op in ["load", "store"] {
                        self.check(&format!("{op} {size} {offset}"), start as u32, expected);
                    }
                }
            }
        }
        let outside = Some(TrapCode::MemoryOutOfBounds);
        self.check("there", pages * PAGE - 1, None);
        self.check("there", pages * PAGE, outside);
        self.check("there", u32::MAX, outside);
    }
}

/// With guards against speculation, by which the code of checks is another, and without.
fn guarded_and_not(config: &Config) -> [Guests<()>; 2] {
    [true, false].map(|guards| {
        let config = config.clone().spectre_guards(guards);
        Guests::new(&Engine::new(&config), ())
    })
}

fn accesses_trap_at_the_end_of_a_memory(config: &Config) {
    for mut guests in guarded_and_not(config) {
        for pages in 1..=4 {
            let size = call(&mut guests.store, guests.owner, "size", &[]);
            assert_eq!(size.expect("it returns"), [Val::I32(pages)]);
            guests.check_accesses(pages as u32);
            let grown = call(&mut guests.store, guests.owner, "grow", &[]);
            let before = if pages < 4 { pages } else { -1 };
            assert_eq!(grown.expect("it returns"), [Val::I32(before)]);
        }
    }
}

fn tables_and_numbers_trap(config: &Config) {
    use TrapCode::*;
    for mut guests in guarded_and_not(config) {
        for length in 4..=6 {
            guests.check("call", 0, None);
            guests.check("call", length - 1, Some(UninitializedElement));
            guests.check("get", length - 1, None);
            guests.check("set", length - 1, None);
            for outside in [length, length + 1, 1 << 20, 1 << 29, 1 << 31, u32::MAX] {
                guests.check("call", outside, Some(UndefinedElement));
                guests.check("get", outside, Some(TableOutOfBounds));
                guests.check("set", outside, Some(TableOutOfBounds));
            }
            let grown = call(&mut guests.store, guests.user, "grow table", &[]);
            grown.expect("it returns");
        }
        guests.check("call as another", 0, Some(IndirectCallTypeMismatch));
        guests.check("div", 0, Some(IntegerDivideByZero));
        guests.check("div", u32::MAX, Some(IntegerOverflow));
        guests.check("rem", 0, Some(IntegerDivideByZero));
        guests.check("trunc", 0x7fc0_0000, Some(InvalidConversionToInteger));
        guests.check("trunc", 0x4f80_0000, Some(IntegerOverflow));
        guests.check("unreachable", 0, Some(Unreachable));
    }
}

/// A guest of one store calls the host, which runs a guest of another: each traps in its own store, in turn.
fn each_store_traps_by_itself(config: &Config) {
    let engine = Engine::new(config);
    let inner = Guests::new(&engine, ());
    let mut linker = Linker::new();
    let run = |mut caller: Caller<'_, Guests<()>>, address: i32| {
        let inner = caller.data_mut();
        inner.check(
            "load 4 0",
            address.cast_unsigned(),
            Some(TrapCode::MemoryOutOfBounds),
        );
        inner.check("load 4 0", 0, None);
    };
    linker.func("host", "run", run).expect("its name is new");
    let text = r#"(module (import "host" "run" (func $run (param i32))) (memory 3)
        (func (export "f") (param i32)
            (call $run (local.get 0)) (drop (i32.load (local.get 0)))))"#;
    let mut store = Store::new(&engine, inner).expect("a store has a stack");
    let outer = linker.instantiate(&mut store, &module(&engine, text));
    let outer = outer.expect("it has its imports");
    for _ in 0..CALLS {
        for (pages, expected) in [(1, None), (3, Some(TrapCode::MemoryOutOfBounds))] {
            let address = Val::I32((pages * PAGE).cast_signed());
            let result = call(&mut store, outer, "f", &[address]);
            assert_eq!(result.err().and_then(|trap| trap.code()), expected);
        }
    }
}

in_all_modes! {
    accesses_trap_at_the_end_of_a_memory,
    tables_and_numbers_trap,
    each_store_traps_by_itself,
}
