//! Every vector op and access over edge values, with its operands in the places that a translator knows, against the op's
//! own row.
//!
//! *Invariant:* a result is bit-equal to that of the row, a NaN too.
//!
//! A tier's tests include this as a module, and name the tier.

use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::types::ValType;
use tiered_decode::vector::{Relaxed, V128, VecAccess, VecOp, shuffle};
use tiered_runtime::code::Tier;
use tiered_runtime::{Instance, Limits, Linker, Store, Trap, TrapCode, Val};

/// Vectors whose lanes of every shape are edge values.
const VECTORS: [u128; 20] = [
    0,
    u128::MAX,
    0x8000_0000_0000_0000_8000_0000_0000_0000,
    0x7fff_ffff_7fff_ffff_8000_0000_8000_0001,
    0x8080_7f7f_8001_7fff_0100_00ff_fffe_0001,
    0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
    0x1f1e_1d1c_1b1a_1918_f7f6_f5f4_1312_1110,
    0x8f0f_8e0e_7f10_ff11_0102_0408_1020_4080,
    // Floats of 32 bits: 1, -1.5, 2.5, -0; NaNs and infinity; 2^31, -2^31 and their neighbours.
    0x3f80_0000_bfc0_0000_4020_0000_8000_0000,
    0x7fc0_0000_ffa0_0001_7f80_0000_ff80_0000,
    0x7fa0_beef_ffc0_0000_3f80_0001_0000_0001,
    0x4f00_0000_cf00_0000_4eff_ffff_cf00_0001,
    0x4f80_0000_4f7f_ffff_bf40_0000_3f00_0000,
    // Of 64 bits: the same.
    0x3ff8_0000_0000_0000_8000_0000_0000_0000,
    0x7ff4_0000_0000_0001_fff8_0000_0000_beef,
    0x7ff0_0000_0000_0000_fff0_0000_0000_0000,
    0x41e0_0000_0000_0000_c1e0_0000_0010_0000,
    0x41ef_ffff_fff0_0000_4004_0000_0000_0000,
    0x3ff0_0000_0000_0001_bff0_0000_0000_0001,
    0x0123_4567_89ab_cdef_fedc_ba98_7654_3210,
];

const SCALARS: [u64; 12] = [
    0,
    1,
    7,
    8,
    15,
    31,
    33,
    63,
    0x7fc0_0000,
    0xffa0_0001,
    u64::MAX,
    0x8000_0000_8000_0001,
];

/// Where the operands of an op are.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// In params.
    Params,
    /// As `Params`, but the operand with this number is the result of the instruction just before.
    Fresh(usize),
    /// All are constants.
    Constants,
    /// In a loop, in which integers may be in registers.
    Loop,
    /// The first two are one local that has just been set.
    Same,
}

fn decode(text: &str) -> Arc<Module> {
    let module = Module::new(text.as_bytes().to_vec());
    Arc::new(module.unwrap_or_else(|err| panic!("{err}\n{text}")))
}

fn val(ty: ValType, bits: u128) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64((bits as u64).cast_signed()),
        ValType::F32 => Val::F32(bits as u32),
        ValType::F64 => Val::F64(bits as u64),
        _ => Val::V128(bits),
    }
}

/// Only the bits that belong to the type.
fn clean(ty: ValType, bits: u128) -> u128 {
    match ty {
        ValType::I32 | ValType::F32 => bits & u128::from(u32::MAX),
        ValType::I64 | ValType::F64 => bits & u128::from(u64::MAX),
        _ => bits,
    }
}

/// An instruction that changes nothing and gives the value anew.
fn same(ty: ValType, value: &str) -> String {
    match ty {
        ValType::V128 => format!("(v128.or {value} (v128.const i64x2 0 0))"),
        ValType::F32 => format!("(f32.reinterpret_i32 (i32.reinterpret_f32 {value}))"),
        ValType::F64 => format!("(f64.reinterpret_i64 (i64.reinterpret_f64 {value}))"),
        ty => format!("({ty}.or {value} ({ty}.const 0))"),
    }
}

fn constant(ty: ValType, bits: u128) -> String {
    match ty {
        ValType::V128 => vector(bits),
        ValType::F32 => format!("(f32.reinterpret_i32 (i32.const {:#x}))", bits as u32),
        ValType::F64 => format!("(f64.reinterpret_i64 (i64.const {:#x}))", bits as u64),
        ty => format!("({ty}.const {bits:#x})"),
    }
}

fn vector(bits: u128) -> String {
    format!(
        "(v128.const i64x2 {:#x} {:#x})",
        bits as u64,
        (bits >> 64) as u64
    )
}

/// A function that is the op in this form; constants are `operands`.
fn func(op: VecOp, lane: &str, form: Form, operands: &[u128]) -> String {
    let types = op.params();
    let local = |i: usize| format!("(local.get {i})");
    let operand = |i: usize| match form {
        Form::Fresh(fresh) if fresh == i => same(types[i], &local(i)),
        Form::Same if i == 0 => format!("(local.tee $same {})", same(types[0], &local(0))),
        Form::Same if i == 1 => "(local.get $same)".to_owned(),
        Form::Constants => constant(types[i], operands[i]),
        _ => local(i),
    };
    let args: Vec<_> = (0..types.len()).map(operand).collect();
    let op_text = format!("({op} {lane} {})", args.join(" "));
    let body = match form {
        Form::Loop => format!(
            "(loop $again
                (local.set $r {op_text})
                (local.set $round (i32.add (local.get $round) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $round) (i32.const 3))))
            (local.get $r)"
        ),
        _ => op_text,
    };
    let params: String = types.iter().map(|ty| format!(" {ty}")).collect();
    let result = op.result();
    format!(
        "(func (export \"f\") (param{params}) (result {result})
            (local $r {result}) (local $round i32) (local $same v128)
            {body})"
    )
}

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(tier: &Arc<dyn Tier>, text: &str) -> Guest {
        let store = Store::with_tier(tier.clone(), Limits::default(), ());
        let mut store = store.expect("a store has a stack");
        let instance = Linker::new().instantiate(&mut store, &decode(text));
        let instance = instance.unwrap_or_else(|err| panic!("{err}\n{text}"));
        Guest { store, instance }
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let func = self.instance.func(&self.store, name);
        func.expect("it is exported").call(&mut self.store, args)
    }
}

/// `count` lists of operands for these types; no two values always meet.
fn operands(types: &[ValType], count: usize) -> impl Iterator<Item = Vec<u128>> {
    (0..count).map(move |i| {
        let operand = |(k, &ty): (usize, &ValType)| {
            let at = i + k * (i / VECTORS.len() + 1);
            match ty {
                ValType::V128 => VECTORS[at % VECTORS.len()],
                ty => clean(ty, SCALARS[at % SCALARS.len()].into()),
            }
        };
        types.iter().enumerate().map(operand).collect()
    })
}

/// Runs all vector ops that compute.
pub(crate) fn every_op(tier: &Arc<dyn Tier>) {
    for &op in VecOp::ALL {
        let types = op.params();
        let mut forms = vec![Form::Params, Form::Loop, Form::Constants];
        forms.extend((0..types.len()).map(Form::Fresh));
        if let [ValType::V128, ValType::V128, ..] = types {
            forms.push(Form::Same);
        }
        let lanes = op
            .lanes()
            .map_or(vec![0], |lanes| vec![0, lanes / 2, lanes - 1]);
        for form in forms {
            for &lane in &lanes {
                every_value(tier, op, form, lane);
            }
        }
    }
}

fn every_value(tier: &Arc<dyn Tier>, op: VecOp, form: Form, lane: u8) {
    let immediate = op.lanes().map(|_| lane.to_string()).unwrap_or_default();
    let types = op.params();
    let count = if types.len() == 1 { 20 } else { 60 };
    let mut guest = None;
    for (i, operands) in operands(types, count).enumerate() {
        let is_constant = matches!(form, Form::Constants);
        // Constants are part of the module, so a few have to do.
        if is_constant && i % 9 != 5 {
            continue;
        }
        let module = || format!("(module {})", func(op, &immediate, form, &operands));
        if is_constant {
            guest = None;
        }
        let guest = guest.get_or_insert_with(|| Guest::new(tier, &module()));
        let args: Vec<_> = types
            .iter()
            .zip(&operands)
            .map(|(&ty, &bits)| val(ty, bits))
            .collect();
        let mut seen = operands.clone();
        if let Form::Same = form {
            seen[1] = seen[0];
        }
        let expected = op.eval(&seen, lane, Relaxed::of_host());
        let found = guest
            .call("f", &args)
            .unwrap_or_else(|trap| panic!("{op}: {trap:?}"));
        assert_eq!(
            found,
            [val(op.result(), expected)],
            "{op} {lane} {form:?} of {seen:#034x?}"
        );
    }
}

/// Runs all vector ops so often that a frame of the host's stack for each would be too many.
pub(crate) fn long_loops(tier: &Arc<dyn Tier>, rounds: u32) {
    for &op in VecOp::ALL {
        let immediate = op.lanes().map(|_| "1").unwrap_or_default();
        let text = func(op, immediate, Form::Loop, &[]);
        let text = text.replace("(i32.const 3)", &format!("(i32.const {rounds})"));
        let mut guest = Guest::new(tier, &format!("(module {text})"));
        let operands = operands(op.params(), 8).last().expect("there are eight");
        let values = op.params().iter().zip(&operands);
        let args: Vec<_> = values.map(|(&ty, &bits)| val(ty, bits)).collect();
        let lane = u8::from(op.lanes().is_some());
        let expected = op.eval(&operands, lane, Relaxed::of_host());
        let found = guest.call("f", &args).expect("nothing traps");
        assert_eq!(found, [val(op.result(), expected)], "{op}");
    }
}

/// Runs `i8x16.shuffle` with several masks.
pub(crate) fn shuffles(tier: &Arc<dyn Tier>) {
    let masks: [[u8; 16]; 4] = [
        std::array::from_fn(|i| i as u8),
        std::array::from_fn(|i| 31 - i as u8),
        std::array::from_fn(|i| (i * 7 % 32) as u8),
        [16; 16],
    ];
    for mask in masks {
        let text: String = mask.iter().map(|i| format!(" {i}")).collect();
        let fresh = same(ValType::V128, "(local.get 0)");
        for (a, b) in [
            ("(local.get 0)", "(local.get 1)"),
            (&fresh, "(local.get 1)"),
        ] {
            let mut guest = Guest::new(
                tier,
                &format!(
                    "(module (func (export \"f\") (param v128 v128) (result v128)
                        (i8x16.shuffle{text} {a} {b})))"
                ),
            );
            for operands in operands(&[ValType::V128; 2], 40) {
                let [a, b] = [operands[0], operands[1]].map(V128::from_bits);
                let expected = shuffle(a, b, mask).to_bits();
                let args = [Val::V128(operands[0]), Val::V128(operands[1])];
                assert_eq!(
                    guest.call("f", &args).unwrap(),
                    [Val::V128(expected)],
                    "{mask:?}"
                );
            }
        }
    }
}

/// Runs all loads and stores: within the memory, at its end, and beyond.
pub(crate) fn every_access(tier: &Arc<dyn Tier>) {
    const END: usize = 65536;
    let memory: Vec<u8> = (0..END).map(|i| (i * 37 + i / 256 + 0x71) as u8).collect();
    for &op in VecAccess::ALL {
        let size = op.size();
        let lanes = op.lanes().map_or(vec![0], |lanes| vec![0, lanes - 1]);
        for lane in lanes {
            let mut guest = Guest::new(tier, &access_module(op, lane, &memory));
            for name in ["params", "fresh address", "fresh vector", "loop"] {
                for (address, offset) in [(0, 3), (1000, 3), (END - 3 - size, 3)] {
                    let at = address + offset;
                    let vector = V128::from_bits(VECTORS[(address + size) % VECTORS.len()]);
                    let args = [Val::I32(address as i32), Val::V128(vector.to_bits())];
                    let found = guest.call(name, &args).unwrap();
                    // A store's function gives what the memory holds then, and puts back what it held.
                    let expected = op.load(&memory[at..], vector, lane).unwrap_or_else(|| {
                        let mut bytes = [0; 16];
                        let held = &memory[at..END.min(at + 16)];
                        bytes[..held.len()].copy_from_slice(held);
                        op.store(&mut bytes, vector, lane);
                        let mut stored = [0; 16];
                        stored[..size].copy_from_slice(&bytes[..size]);
                        V128(stored)
                    });
                    assert_eq!(
                        found,
                        [Val::V128(expected.to_bits())],
                        "{op} {lane} {name} {at}"
                    );
                }
                for address in [END - 3 - size + 1, END, usize::MAX] {
                    let args = [Val::I32(address as u32 as i32), Val::V128(0)];
                    let trap = guest.call(name, &args).unwrap_err();
                    assert_eq!(
                        trap.code(),
                        Some(TrapCode::MemoryOutOfBounds),
                        "{op} {name}"
                    );
                }
            }
        }
    }
}

/// A memory, and functions that access it at their param plus 3.
fn access_module(op: VecAccess, lane: u8, memory: &[u8]) -> String {
    let immediate = op.lanes().map(|_| lane.to_string()).unwrap_or_default();
    let data: String = memory.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let access = |address: &str, vector: &str| {
        let vector = if op.is_store() || op.lanes().is_some() {
            vector
        } else {
            ""
        };
        format!("({op} offset=3 {immediate} {address} {vector})")
    };
    let (address, vector) = ("(local.get 0)", "(local.get 1)");
    let func = |name: &str, access: &str, is_loop: bool| {
        let set = if op.is_store() {
            access.to_owned()
        } else {
            format!("(local.set $r {access})")
        };
        let set = match is_loop {
            true => format!(
                "(loop $again {set}
                    (local.set $round (i32.add (local.get $round) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $round) (i32.const 3))))"
            ),
            false => set,
        };
        let load = match op.size() {
            1 => "(v128.load8_lane offset=3 0 (local.get 0) (v128.const i64x2 0 0))",
            2 => "(v128.load16_lane offset=3 0 (local.get 0) (v128.const i64x2 0 0))",
            4 => "(v128.load32_zero offset=3 (local.get 0))",
            8 => "(v128.load64_zero offset=3 (local.get 0))",
            _ => "(v128.load offset=3 (local.get 0))",
        };
        let store = match op.size() {
            1 => "(v128.store8_lane offset=3 0 (local.get 0) (local.get $held))",
            2 => "(v128.store16_lane offset=3 0 (local.get 0) (local.get $held))",
            4 => "(v128.store32_lane offset=3 0 (local.get 0) (local.get $held))",
            8 => "(v128.store64_lane offset=3 0 (local.get 0) (local.get $held))",
            _ => "(v128.store offset=3 (local.get 0) (local.get $held))",
        };
        let (before, behind) = match op.is_store() {
            true => (
                format!("(local.set $held {load})"),
                format!("(local.set $r {load}) {store}"),
            ),
            false => (String::new(), String::new()),
        };
        format!(
            "(func (export {name:?}) (param i32 v128) (result v128)
                (local $r v128) (local $held v128) (local $round i32)
                {before} {set} {behind} (local.get $r))"
        )
    };
    let fresh_address = same(ValType::I32, address);
    let fresh_vector = same(ValType::V128, vector);
    let funcs = [
        func("params", &access(address, vector), false),
        func("fresh address", &access(&fresh_address, vector), false),
        func("fresh vector", &access(address, &fresh_vector), false),
        func("loop", &access(address, vector), true),
    ];
    format!(
        "(module (memory 1) (data (i32.const 0) \"{data}\") {})",
        funcs.concat()
    )
}
