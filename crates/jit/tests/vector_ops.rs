//! Every vector op in compiled code over a grid of edge values, with its operands from wherever a compiler looks through,
//! against the op's own row.
//!
//! *Invariant:* a result is bit-equal to [`VecOp::eval`], a NaN too.
//!
//! Each function is a loop over records in memory, of the operands and the result, so it is called once. What is compiled
//! is for this processor, and for the least of all; relaxed ops have either meaning.

#[path = "vectors/module.rs"]
mod module;
#[path = "vectors/values.rs"]
mod values;

use std::collections::HashMap;
use std::fmt::Write;

use tiered_decode::types::ValType;
use tiered_decode::vector::{Relaxed, V128, VecOp};
use tiered_jit::{Config, Eager, Jit};
use tiered_runtime::{Limits, Linker, Store, Val};

use module::module;
use values::{Shape, vectors};

/// Bytes of a record: three operands and the result.
const RECORD: usize = 64;
const RESULT: usize = 48;

/// Where an operand comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The record.
    Loaded,
    /// The op's own first operand.
    First,
    /// The code.
    Const(V128),
    /// The record, the lanes negated.
    Negated,
    /// All lanes are the first of the record's.
    Splat,
}

/// What is done with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Stored,
    /// It decides.
    If,
    Select,
    Branch,
    Eqz,
}

#[derive(Clone, Debug)]
struct Case {
    op: VecOp,
    lane: u8,
    shape: Shape,
    sources: Vec<Source>,
    sink: Sink,
}

fn bits(ty: ValType, bytes: &[u8]) -> u128 {
    let bits = u128::from_le_bytes(bytes[..16].try_into().expect("a record"));
    match ty {
        ValType::I32 | ValType::F32 => bits & 0xffff_ffff,
        ValType::I64 | ValType::F64 => bits & u128::from(u64::MAX),
        _ => bits,
    }
}

/// The op that does this to all lanes of the shape.
fn named(shape: Shape, what: &str) -> VecOp {
    let text = format!("{}.{what}", shape.text());
    let found = VecOp::ALL.iter().find(|op| op.text() == text);
    *found.unwrap_or_else(|| panic!("there is no {text}"))
}

impl Case {
    /// The operand in the text format.
    fn operand(&self, index: usize) -> String {
        let ty = self.op.params()[index];
        let load = |at: usize| format!("({ty}.load offset={} (local.get $at))", 16 * at);
        match self.sources[index] {
            Source::Loaded => load(index),
            Source::First => load(0),
            Source::Negated => format!("({} {})", named(self.shape, "neg"), load(index)),
            Source::Splat => {
                let splat = named(self.shape, "splat");
                let scalar = splat.params()[0];
                format!(
                    "({splat} ({scalar}.load offset={} (local.get $at)))",
                    16 * index
                )
            }
            Source::Const(value) => {
                let bits = value.to_bits();
                let (low, high) = (bits as u64, bits >> 64);
                match ty {
                    ValType::I32 => format!("(i32.const {})", low as u32),
                    ValType::I64 => format!("(i64.const {low})"),
                    ValType::F32 => format!("(f32.reinterpret_i32 (i32.const {}))", low as u32),
                    ValType::F64 => format!("(f64.reinterpret_i64 (i64.const {low}))"),
                    _ => format!("(v128.const i64x2 {low} {high})"),
                }
            }
        }
    }

    /// The operand's bits.
    fn operand_bits(&self, index: usize, record: &[u8]) -> u128 {
        let ty = self.op.params()[index];
        let load = |at: usize| bits(ty, &record[16 * at..]);
        let through =
            |what, value| named(self.shape, what).eval(&[value], 0, Relaxed::DETERMINISTIC);
        match self.sources[index] {
            Source::Loaded => load(index),
            Source::First => load(0),
            Source::Negated => through("neg", load(index)),
            Source::Splat => {
                let scalar = named(self.shape, "splat").params()[0];
                through("splat", bits(scalar, &record[16 * index..]))
            }
            Source::Const(value) => bits(ty, &value.0),
        }
    }

    fn expected(&self, record: &[u8], relaxed: Relaxed) -> u128 {
        let indices = 0..self.op.params().len();
        let operands: Vec<u128> = indices.map(|at| self.operand_bits(at, record)).collect();
        let result = self.op.eval(&operands, self.lane, relaxed);
        let truth = result != 0;
        match self.sink {
            Sink::Stored => result,
            Sink::If | Sink::Select | Sink::Branch => {
                if truth {
                    7
                } else {
                    9
                }
            }
            Sink::Eqz => (!truth).into(),
        }
    }

    fn write(&self, text: &mut String) {
        let operands: Vec<String> = (0..self.op.params().len())
            .map(|at| self.operand(at))
            .collect();
        let lane = self.op.lanes().map(|_| self.lane.to_string());
        let value = format!(
            "({} {} {})",
            self.op,
            lane.unwrap_or_default(),
            operands.concat()
        );
        let value = match self.sink {
            Sink::Stored => value,
            Sink::Eqz => format!("(i32.eqz {value})"),
            Sink::If => {
                format!("(if (result i32) {value} (then (i32.const 7)) (else (i32.const 9)))")
            }
            Sink::Select => format!("(select (i32.const 7) (i32.const 9) {value})"),
            Sink::Branch => {
                format!("(block (result i32) (drop (br_if 0 (i32.const 7) {value})) (i32.const 9))")
            }
        };
        let _ = write!(
            text,
            "(func (param $count i32) (local $at i32) (loop
                ({}.store offset={RESULT} (local.get $at) {value})
                (local.set $at (i32.add (local.get $at) (i32.const {RECORD})))
                (br_if 0 (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))",
            self.op.result()
        );
    }
}

/// The cases of an op.
fn cases(op: VecOp) -> Vec<Case> {
    let shape = Shape::of_operands(op.text());
    let case = |sources: &[Source], sink, lane| Case {
        op,
        lane,
        shape,
        sources: sources.to_vec(),
        sink,
    };
    let count = op.params().len();
    let loaded = vec![Source::Loaded; count];
    if let Some(lanes) = op.lanes() {
        return (0..lanes)
            .map(|lane| case(&loaded, Sink::Stored, lane))
            .collect();
    }
    let mut cases = vec![case(&loaded, Sink::Stored, 0)];
    if op.result() == ValType::I32 {
        for sink in [Sink::If, Sink::Select, Sink::Branch, Sink::Eqz] {
            cases.push(case(&loaded, sink, 0));
        }
    }
    let constants = vectors(shape, 3);
    for index in 0..count {
        let mut with = |source| {
            let mut sources = loaded.clone();
            sources[index] = source;
            cases.push(case(&sources, Sink::Stored, 0));
        };
        // Zeros, a value, and the last edge: a NaN of floats.
        for constant in [0, 7, constants.len() - 1] {
            let constant = if constant == 0 {
                V128([0; 16])
            } else {
                constants[constant]
            };
            with(Source::Const(constant));
        }
        if op.params()[index] != ValType::V128 {
            continue;
        }
        with(Source::Negated);
        with(Source::Splat);
        if index > 0 && op.params()[0] == ValType::V128 {
            with(Source::First);
        }
    }
    if op.params().iter().all(|&ty| ty == ValType::V128) {
        for source in [Source::Negated, Source::Splat, Source::Const(constants[5])] {
            cases.push(case(&vec![source; count], Sink::Stored, 0));
        }
    }
    cases
}

/// The operands of all records of an op.
fn records(op: VecOp) -> Vec<Vec<V128>> {
    let shape = Shape::of_operands(op.text());
    let lists: Vec<Vec<V128>> = (op.params().iter().zip([3, 5, 7]))
        .map(|(&ty, step)| match ty {
            ValType::V128 => vectors(shape, step),
            ValType::I32 if shape == Shape::I8x16 => vectors(Shape::I32x4, step),
            ValType::I32 => [vectors(Shape::I8x16, step), vectors(Shape::I32x4, step)].concat(),
            ValType::I64 => vectors(Shape::I64x2, step),
            ValType::F32 => vectors(Shape::F32x4, step),
            _ => vectors(Shape::F64x2, step),
        })
        .collect();
    let mut records = vec![Vec::new()];
    for (index, list) in lists.iter().enumerate() {
        // Of three operands the last has fewer values, but all that are NaNs.
        let list = if index == 2 {
            &list[list.len() - 12..]
        } else {
            list
        };
        let extended = |record: &Vec<V128>| {
            let record = record.clone();
            list.iter()
                .map(move |&value| [&record[..], &[value]].concat())
                .collect::<Vec<_>>()
        };
        records = records.iter().flat_map(extended).collect();
    }
    records
}

/// What is wrong with these ops, for people.
fn wrong(config: &Config, ops: &[VecOp]) -> Vec<String> {
    let cases: Vec<Case> = ops.iter().copied().flat_map(cases).collect();
    let mut text = String::from(
        "(module (memory (export \"memory\") 24) (table (export \"cases\") funcref (elem",
    );
    for index in 0..cases.len() {
        let _ = write!(text, " {index}");
    }
    text.push_str("))");
    cases.iter().for_each(|case| case.write(&mut text));
    text.push(')');
    let module = module(text);
    let jit = Jit::new(config).expect("this machine can");
    let mut store = Store::with_tier(Eager::tier(&jit), Limits::default(), ()).expect("a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let table = instance.table(&store, "cases").expect("it is exported");
    let memory = instance.memory(&store, "memory").expect("it is exported");
    let mut inputs = HashMap::new();
    let mut wrong = Vec::new();
    for (index, case) in (0..).zip(&cases) {
        let records = inputs.entry(case.op).or_insert_with(|| records(case.op));
        let bytes = memory.data_mut(&mut store);
        for (record, operands) in bytes.chunks_mut(RECORD).zip(records.iter()) {
            record.fill(0);
            for (to, operand) in record.chunks_mut(16).zip(operands) {
                to.copy_from_slice(&operand.0);
            }
        }
        let Some(Val::FuncRef(Some(func))) = table.get(&store, index) else {
            panic!("element {index} is a function")
        };
        let count = i32::try_from(records.len()).expect("there is room");
        func.call(&mut store, &[Val::I32(count)])
            .expect("nothing traps");
        let bytes = memory.data(&store);
        for record in bytes.chunks(RECORD).take(records.len()) {
            let found = bits(case.op.result(), &record[RESULT..]);
            let expected = case.expected(record, config.relaxed);
            if found != expected {
                let operands: Vec<u128> = (0..case.op.params().len())
                    .map(|at| case.operand_bits(at, record))
                    .collect();
                wrong.push(format!(
                    "{case:?} of {operands:#034x?}: {found:#034x} but the row gives {expected:#034x}"
                ));
                break;
            }
        }
    }
    assert!(jit.code_bytes() > 0, "nothing is compiled");
    wrong
}

/// Checks the ops as code for this processor has them, and as code for any.
fn check(relaxed: Relaxed, ops: impl Fn(&VecOp) -> bool) {
    let ops: Vec<VecOp> = VecOp::ALL.iter().copied().filter(ops).collect();
    assert!(!ops.is_empty());
    // What fuses products is beyond the baseline.
    for baseline in [false, true]
        .into_iter()
        .take(if relaxed.is_fused() { 1 } else { 2 })
    {
        let config = Config {
            baseline,
            relaxed,
            ..Config::default()
        };
        let wrong = wrong(&config, &ops);
        let shown = wrong[..wrong.len().min(20)].join("\n");
        assert!(
            wrong.is_empty(),
            "{} cases are wrong, baseline: {baseline}\n{shown}",
            wrong.len()
        );
    }
}

/// Those of which the lanes of the operands are such.
fn check_shape(shape: Shape) {
    check(Relaxed::DETERMINISTIC, |op| {
        !op.is_relaxed() && Shape::of_operands(op.text()) == shape
    });
}

#[test]
fn ops_on_bytes_and_bits() {
    check_shape(Shape::I8x16);
}

#[test]
fn ops_on_16_bits() {
    check_shape(Shape::I16x8);
}

#[test]
fn ops_on_32_bits() {
    check_shape(Shape::I32x4);
}

#[test]
fn ops_on_64_bits() {
    check_shape(Shape::I64x2);
}

#[test]
fn ops_on_f32() {
    check_shape(Shape::F32x4);
}

#[test]
fn ops_on_f64() {
    check_shape(Shape::F64x2);
}

#[test]
fn relaxed_ops_deterministically() {
    check(Relaxed::DETERMINISTIC, |op| op.is_relaxed());
}

#[test]
fn relaxed_ops_natively() {
    check(Relaxed::native(false), |op| op.is_relaxed());
    check(Relaxed::of_host(), |op| op.is_relaxed());
}
