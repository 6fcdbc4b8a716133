//! Instructions that fill and copy much: they are done in pieces, pay for each, and see what stops the guest.

mod modes;

use modes::in_all_modes;
use tiered::{
    Caller, Config, Engine, Instance, InterruptHandle, Linker, Memory, Module, Store, TrapCode,
};

in_all_modes! {
    fuel_ends_a_large_instruction_before_its_work,
    an_interrupt_ends_a_large_instruction,
    what_is_paid_for_is_done,
    pieces_that_overlap_are_copied_as_one,
    elements_that_overlap_are_copied_as_one,
    short_ranges_are_moved_as_long_ones_are,
}

const MIB: u32 = 1 << 20;

/// A guest with 16 MiB of memory, a table, and the instructions, whose counts are given.
fn large(config: &Config) -> (Store<Option<InterruptHandle>>, Instance) {
    let text = r#"(module
        (import "host" "stop" (func $stop))
        (memory (export "memory") 256) (table $table 400000 funcref) (data $data "abc")
        (elem declare func $f) (elem $elements func $f $f) (func $f)
        (func (export "fill") (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))
        (func (export "copy") (param i32 i32 i32)
            (memory.copy (local.get 0) (local.get 1) (local.get 2)))
        (func (export "table_fill") (param i32)
            (table.fill $table (i32.const 0) (ref.func $f) (local.get 0)))
        (func (export "table_copy") (param i32 i32 i32)
            (table.copy $table $table (local.get 0) (local.get 1) (local.get 2)))
        (func (export "set") (param i32) (table.set $table (local.get 0) (ref.func $f)))
        (func (export "is_set") (param i32) (result i32)
            (i32.eqz (ref.is_null (table.get $table (local.get 0)))))
        (func (export "stop_and_fill") (param i32)
            (call $stop) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))
        (func (export "stop_and_copy") (param i32)
            (call $stop) (memory.copy (i32.const 1) (i32.const 2) (local.get 0)))
        (func (export "stop_and_fill_table") (param i32)
            (call $stop) (table.fill $table (i32.const 0) (ref.func $f) (local.get 0))))"#;
    let mut linker: Linker<Option<InterruptHandle>> = Linker::new();
    let stop = |caller: Caller<'_, Option<InterruptHandle>>| {
        if let Some(handle) = caller.data() {
            handle.interrupt();
        }
    };
    linker.func("host", "stop", stop).expect("a new name");
    let engine = Engine::new(config);
    let module = Module::new(&engine, text).expect("it is valid");
    let mut store = Store::new(&engine, None).expect("there is memory");
    let instance = linker.instantiate(&mut store, &module);
    (store, instance.expect("it can be linked"))
}

fn memory(store: &Store<Option<InterruptHandle>>, instance: Instance) -> Memory {
    let memory = instance.memory(store, "memory");
    memory.expect("it is exported")
}

fn call(
    (store, instance): &mut (Store<Option<InterruptHandle>>, Instance),
    name: &str,
    args: &[u32],
) -> Result<(), TrapCode> {
    let args: Vec<tiered::Val> = args
        .iter()
        .map(|&arg| tiered::Val::I32(arg.cast_signed()))
        .collect();
    let func = instance.func(&*store, name).expect("it is exported");
    match func.call(store, &args) {
        Ok(_) => Ok(()),
        Err(trap) => Err(trap.code().expect("no host function fails")),
    }
}

fn fuel_ends_a_large_instruction_before_its_work(config: &Config) {
    let config = config.clone().fuel(Some(100));
    for (name, count) in [("fill", 8 * MIB), ("table_fill", 400_000)] {
        let mut guest = large(&config);
        assert_eq!(
            call(&mut guest, name, &[count]),
            Err(TrapCode::OutOfFuel),
            "{name}"
        );
        assert_eq!(guest.0.fuel(), Some(0));
        let memory = memory(&guest.0, guest.1);
        assert!(
            memory.data(&guest.0).iter().all(|&byte| byte == 0),
            "{name}"
        );
    }
    let mut guest = large(&config);
    let copied = call(&mut guest, "copy", &[0, 1, 8 * MIB]);
    assert_eq!(copied, Err(TrapCode::OutOfFuel));
}

fn an_interrupt_ends_a_large_instruction(config: &Config) {
    for (name, count) in [
        ("stop_and_fill", 8 * MIB),
        ("stop_and_copy", 8 * MIB),
        ("stop_and_fill_table", 400_000),
    ] {
        let mut guest = large(config);
        *guest.0.data_mut() = Some(guest.0.interrupt_handle());
        assert_eq!(
            call(&mut guest, name, &[count]),
            Err(TrapCode::Interrupted),
            "{name}"
        );
        let memory = memory(&guest.0, guest.1);
        assert!(
            memory.data(&guest.0).iter().all(|&byte| byte == 0),
            "{name}"
        );
    }
}

fn what_is_paid_for_is_done(config: &Config) {
    let mut guest = large(&config.clone().fuel(Some(10_000)));
    let length = 5 * MIB + 4097;
    assert_eq!(call(&mut guest, "fill", &[length]), Ok(()));
    assert_eq!(guest.0.fuel(), Some(10_000 - u64::from(length) / 4096));
    let memory = memory(&guest.0, guest.1);
    let (filled, rest) = memory.data(&guest.0).split_at(length as usize);
    assert!(filled.iter().all(|&byte| byte == 1) && rest.iter().all(|&byte| byte == 0));
}

fn pieces_that_overlap_are_copied_as_one(config: &Config) {
    let mut guest = large(config);
    let memory = memory(&guest.0, guest.1);
    let mut number = 1u32;
    for byte in memory.data_mut(&mut guest.0) {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (number >> 24) as u8;
    }
    let mut expected = memory.data(&guest.0).to_vec();
    for distance in [1, 4095, MIB - 1, MIB, MIB + 1, 3 * MIB] {
        for (to, from) in [(0, distance), (distance, 0)] {
            let length = 3 * MIB + 5;
            assert_eq!(call(&mut guest, "copy", &[to, from, length]), Ok(()));
            expected.copy_within(from as usize..(from + length) as usize, to as usize);
            assert!(memory.data(&guest.0) == expected, "{from} to {to}");
        }
    }
}

fn elements_that_overlap_are_copied_as_one(config: &Config) {
    let mut guest = large(config);
    let mut expected = vec![false; 400_000];
    for at in (0..400_000).step_by(777) {
        assert_eq!(call(&mut guest, "set", &[at as u32]), Ok(()));
        expected[at] = true;
    }
    for (to, from) in [(0, 1), (5, 0), (131_073, 0), (0, 131_071)] {
        let length = 262_200;
        assert_eq!(call(&mut guest, "table_copy", &[to, from, length]), Ok(()));
        expected.copy_within(from as usize..(from + length) as usize, to as usize);
    }
    let is_set = guest
        .1
        .typed_func::<i32, i32>(&guest.0, "is_set")
        .expect("it is exported");
    for at in (0..400_000).step_by(37) {
        let is_set = is_set.call(&mut guest.0, at as i32).expect("it is there");
        assert_eq!(is_set == 1, expected[at], "{at}");
    }
}

/// Counts that a program says and those that it computes, at either end of the memory and beyond, between memories and
/// within one, with every overlap of a few bytes.
fn short_ranges_are_moved_as_long_ones_are(config: &Config) {
    const COUNTS: [u32; 21] = [
        0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 4095, 4096,
    ];
    let mut text = String::from(
        "(module (memory (export \"memory\") 1 1) (memory $other (export \"other\") 1 1)",
    );
    for n in COUNTS {
        text.push_str(&format!(
            r#"(func (export "fill {n}") (param i32 i32)
                (memory.fill (local.get 0) (i32.const 0x1a5) (i32.const {n})))
            (func (export "copy {n}") (param i32 i32)
                (memory.copy (local.get 0) (local.get 1) (i32.const {n})))
            (func (export "cross {n}") (param i32 i32)
                (memory.copy $other 0 (local.get 0) (local.get 1) (i32.const {n})))"#
        ));
    }
    text.push_str(
        r#"(func (export "fill") (param i32 i32 i32)
            (memory.fill (local.get 0) (i32.const 0x1a5) (local.get 2)))
        (func (export "copy") (param i32 i32 i32)
            (memory.copy (local.get 0) (local.get 1) (local.get 2)))
        (func (export "cross") (param i32 i32 i32)
            (memory.copy $other 0 (local.get 0) (local.get 1) (local.get 2))))"#,
    );
    let engine = Engine::new(config);
    let module = Module::new(&engine, text.into_bytes()).expect("it is valid");
    let mut store = Store::new(&engine, None).expect("there is memory");
    let instance = Linker::new().instantiate(&mut store, &module);
    let mut guest = (store, instance.expect("it can be linked"));
    let memories = ["memory", "other"].map(|name| {
        let memory = guest.1.memory(&guest.0, name);
        memory.expect("it is exported")
    });
    let mut model = [pattern(1), pattern(2)];
    for (memory, bytes) in memories.iter().zip(&model) {
        memory.data_mut(&mut guest.0).copy_from_slice(bytes);
    }
    for count in COUNTS {
        let end = PAGE - count;
        let places = [
            (100, 100),
            (100, 101),
            (101, 100),
            (100, 113),
            (120, 100),
            (end, 0),
            (0, end),
            (end + 1, 0),
            (0, end + 1),
            (PAGE, PAGE),
            (u32::MAX, 0),
            (0, u32::MAX),
        ];
        for (to, from) in places {
            for op in ["fill", "copy", "cross"] {
                let expected = expect(&mut model, op, to, from, count);
                let said = call(&mut guest, &format!("{op} {count}"), &[to, from]);
                assert_eq!(said.is_ok(), expected, "{op} {to} {from} {count}");
                let computed = call(&mut guest, op, &[to, from, count]);
                expect(&mut model, op, to, from, count);
                assert_eq!(computed, said, "{op} {to} {from} {count}");
                for (memory, bytes) in memories.iter().zip(&model) {
                    assert!(memory.data(&guest.0) == bytes, "{op} {to} {from} {count}");
                }
            }
        }
    }
}

const PAGE: u32 = 65536;

/// Bytes that differ from their neighbours.
fn pattern(seed: u32) -> Vec<u8> {
    let bytes = (0..PAGE).map(|at| (at.wrapping_mul(0x9e37_79b1).rotate_left(seed) >> 24) as u8);
    bytes.collect()
}

/// What an instruction does to two memories; whether it does not trap.
fn expect(memories: &mut [Vec<u8>; 2], op: &str, to: u32, from: u32, count: u32) -> bool {
    let within = |start: u32| u64::from(start) + u64::from(count) <= u64::from(PAGE);
    if !within(to) || op != "fill" && !within(from) {
        return false;
    }
    let (to, from, count) = (to as usize, from as usize, count as usize);
    match op {
        "fill" => memories[0][to..][..count].fill(0xa5),
        "copy" => memories[0].copy_within(from..from + count, to),
        _ => {
            let bytes = memories[0][from..][..count].to_vec();
            memories[1][to..][..count].copy_from_slice(&bytes);
        }
    }
    true
}
