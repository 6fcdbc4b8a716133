//! Every numeric op over a grid of edge values, with its operands and its result in every place that the translator
//! knows, against the op's own row.
//!
//! *Invariant:* a result is bit-equal to [`NumOp::eval`]; a NaN is one of those that the spec allows for the operands.
//! *Invariant:* each function computes one op; which operands it takes as constants is part of the function.

use std::borrow::Cow;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::numeric::NumOp;
use tiered_decode::types::ValType;
use tiered_interp::Interpreter;
use tiered_interp::runtime::{Func, Limits, Linker, Store, Trap, TrapCode, Val};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, Ieee32, Ieee64, InstructionSink, MemArg,
    MemArgTarget, MemorySection, MemoryType, RefType, TableSection, TableType, TypeSection,
    ValType as WasmType,
};

/// Integers around the borders of all widths, and what an immediate of 32 bits can and can't hold.
const I32: &[u64] = &[
    0,
    1,
    0xffff_ffff,
    0x8000_0000,
    0x7fff_ffff,
    0x8000_0001,
    2,
    7,
    31,
    32,
    33,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x0123_4567,
    0xfedc_ba98,
];
const I32_FEW: &[u64] = &[0, 1, 0xffff_ffff, 0x8000_0000, 31, 0x1_0000];

const I64: &[u64] = &[
    0,
    1,
    u64::MAX,
    1 << 63,
    (1 << 63) - 1,
    (1 << 63) + 1,
    2,
    7,
    31,
    63,
    64,
    65,
    0x80,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0xffff_ffff_8000_0000,
    0xffff_ffff_7fff_ffff,
    0x0123_4567_89ab_cdef,
];
const I64_FEW: &[u64] = &[0, 1, u64::MAX, 1 << 63, 0x8000_0000, 0xffff_ffff];

/// The numbers that float ops are tried on, with their neighbors.
const FLOATS: &[f64] = &[
    0.0,
    0.5,
    1.0,
    1.5,
    2.5,
    3.5,
    255.0,
    2_147_483_648.0,
    4_294_967_296.0,
    9_223_372_036_854_775_808.0,
    18_446_744_073_709_551_616.0,
];
const F32_FEW: &[u64] = &[
    0,
    0x8000_0000,
    0x3fc0_0000,
    0xff80_0000,
    0x7fa0_0001,
    0x4f00_0000,
];
const F64_FEW: &[u64] = &[
    0,
    1 << 63,
    0x3ff8_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff4_0000_0000_0001,
    0x41e0_0000_0000_0000,
];

/// All edge values of a type, as bits.
fn grid(ty: ValType) -> Vec<u64> {
    match ty {
        ValType::I32 => I32.to_vec(),
        ValType::I64 => I64.to_vec(),
        ValType::F32 => {
            let both = |bits: u32| [u64::from(bits), u64::from(bits ^ 0x8000_0000)];
            let special = [
                1,
                0x007f_ffff,
                0x0080_0000,
                0x7f7f_ffff,
                0x7f80_0000,
                0x7fc0_0000,
                0x7fc0_1234,
                0x7f80_0001,
                0x7fbf_ffff,
            ];
            let finite = FLOATS.iter().flat_map(|&value| {
                let value = value as f32;
                let next = if value > 2.0 {
                    vec![value.next_down(), value.next_up()]
                } else {
                    vec![]
                };
                std::iter::once(value).chain(next).map(f32::to_bits)
            });
            finite.chain(special).flat_map(both).collect()
        }
        ValType::F64 => {
            let both = |bits: u64| [bits, bits ^ 1 << 63];
            let special = [
                1,
                0x000f_ffff_ffff_ffff,
                0x0010_0000_0000_0000,
                0x7fef_ffff_ffff_ffff,
                0x7ff0_0000_0000_0000,
                0x7ff8_0000_0000_0000,
                0x7ff8_0000_0000_1234,
                0x7ff0_0000_0000_0001,
                0x7ff7_ffff_ffff_ffff,
                0x47f0_0000_0000_0000,
                0x36a0_0000_0000_0000,
            ];
            let finite = FLOATS.iter().flat_map(|&value| {
                let next = if value > 2.0 {
                    vec![value.next_down(), value.next_up()]
                } else {
                    vec![]
                };
                std::iter::once(value).chain(next).map(f64::to_bits)
            });
            finite.chain(special).flat_map(both).collect()
        }
        other => unreachable!("no numeric op takes {other}"),
    }
}

/// A few edge values of a type, for the places where there are many combinations.
fn few(ty: ValType) -> &'static [u64] {
    match ty {
        ValType::I32 => I32_FEW,
        ValType::I64 => I64_FEW,
        ValType::F32 => F32_FEW,
        ValType::F64 => F64_FEW,
        other => unreachable!("no numeric op takes {other}"),
    }
}

/// Where an operand is when the op takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A parameter; a pinned one, if the function has a loop.
    Param,
    Const(u64),
    /// The result of the op before.
    Acc,
    /// A local that was just set from the accumulator.
    Tee,
    /// The operand's own slot.
    Slot,
    /// The result of a call.
    Call,
    /// A global.
    Global,
}

const PLACES: &[Place] = &[
    Place::Param,
    Place::Acc,
    Place::Tee,
    Place::Slot,
    Place::Call,
    Place::Global,
];

/// What becomes of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Return,
    /// To a local, and from there.
    Local,
    /// To a local while it stays an operand.
    Tee,
    /// To the local that is the first operand.
    First,
    /// To a global, and from there.
    Global,
    /// Stays under the operands of another op of its type.
    Under,
    /// The second argument of a call.
    Argument,
    /// The value of a branch that leaves operands behind.
    Branch,
    /// One of the values of a `select`.
    Selected,
    /// Into memory, and from there.
    Memory,
    /// Conditions, for results that are `i32`: 1 if the result is not zero.
    BrIf,
    BrIfEqz,
    BrIfValue,
    BackEdge,
    BackEdgeOfCalls,
    If,
    Select,
    Eqz,
    EqzEqz,
    BrTable,
}

const SINKS: &[Sink] = &[
    Sink::Return,
    Sink::Local,
    Sink::Tee,
    Sink::First,
    Sink::Global,
    Sink::Under,
    Sink::Argument,
    Sink::Branch,
    Sink::Selected,
    Sink::Memory,
    Sink::BrIf,
    Sink::BrIfEqz,
    Sink::BrIfValue,
    Sink::BackEdge,
    Sink::BackEdgeOfCalls,
    Sink::If,
    Sink::Select,
    Sink::Eqz,
    Sink::EqzEqz,
    Sink::BrTable,
];

impl Sink {
    fn is_condition(self) -> bool {
        SINKS.iter().position(|&sink| sink == self)
            >= SINKS.iter().position(|&sink| sink == Sink::BrIf)
    }

    /// What the function returns for a result.
    fn outcome(self, result: u64) -> u64 {
        match self {
            Sink::Eqz => u64::from(result == 0),
            Sink::BrTable => result.min(2),
            _ if self.is_condition() => u64::from(result != 0),
            _ => result,
        }
    }

    fn fits(self, op: NumOp) -> bool {
        match self {
            Sink::First => op.params()[0] == op.result(),
            _ => !self.is_condition() || op.result() == ValType::I32,
        }
    }
}

/// What is around the op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Nothing,
    /// A loop without calls in which the first operand is used most, and then the second.
    FirstPinned,
    /// The other way round.
    SecondPinned,
    /// A loop in which the result is used most.
    ResultPinned,
    /// Two loops; the inner one is run through twice for each of the outer one.
    Nested,
    /// A loop that makes calls.
    Calls,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    op: NumOp,
    places: [Place; 2],
    around: Around,
    sink: Sink,
    all_values: bool,
}

impl Case {
    fn new(op: NumOp, a: Place, b: Place, around: Around, sink: Sink) -> Case {
        Case {
            op,
            places: [a, b],
            around,
            sink,
            all_values: false,
        }
    }

    fn on_all_values(mut self) -> Case {
        self.all_values = true;
        self
    }

    /// The values of the op's operand `index`.
    fn values(&self, index: usize) -> Vec<u64> {
        let ty = self.op.params()[index];
        match self.places[index] {
            Place::Const(bits) => vec![bits],
            _ if self.all_values => grid(ty),
            _ => few(ty).to_vec(),
        }
    }
}

/// All cases of an op.
fn cases(op: NumOp) -> Vec<Case> {
    let mut cases = Vec::new();
    let sinks = || SINKS.iter().copied().filter(|sink| sink.fits(op));
    let arounds = [
        Around::FirstPinned,
        Around::SecondPinned,
        Around::ResultPinned,
        Around::Nested,
        Around::Calls,
    ];
    let mut push = |a, b, around, sink| cases.push(Case::new(op, a, b, around, sink));
    if let &[a] = op.params() {
        let constants = grid(a).into_iter().map(Place::Const);
        for place in PLACES.iter().copied().chain(constants) {
            push(place, Place::Param, Around::Nothing, Sink::Return);
        }
        for sink in sinks() {
            push(Place::Param, Place::Param, Around::Nothing, sink);
            push(Place::Acc, Place::Param, Around::Nothing, sink);
            push(Place::Const(few(a)[2]), Place::Param, Around::Nothing, sink);
            for around in arounds {
                push(Place::Param, Place::Param, around, sink);
            }
        }
        return cases.into_iter().map(Case::on_all_values).collect();
    }
    let &[a, b] = op.params() else {
        unreachable!("an op has one operand or two")
    };
    for left in PLACES {
        for right in PLACES {
            push(*left, *right, Around::Nothing, Sink::Return);
        }
    }
    for &left in few(a) {
        for right in PLACES {
            push(Place::Const(left), *right, Around::Nothing, Sink::Return);
        }
        for &right in few(b) {
            push(
                Place::Const(left),
                Place::Const(right),
                Around::Nothing,
                Sink::Return,
            );
        }
    }
    for &right in few(b) {
        for left in PLACES {
            push(*left, Place::Const(right), Around::Nothing, Sink::Return);
        }
    }
    for sink in sinks() {
        push(Place::Param, Place::Param, Around::Nothing, sink);
        push(Place::Acc, Place::Param, Around::Nothing, sink);
        push(Place::Param, Place::Const(few(b)[2]), Around::Nothing, sink);
        push(Place::Const(few(a)[1]), Place::Acc, Around::Nothing, sink);
        for around in arounds {
            push(Place::Param, Place::Param, around, sink);
        }
        push(
            Place::Param,
            Place::Const(few(b)[1]),
            Around::FirstPinned,
            sink,
        );
        push(Place::Acc, Place::Param, Around::SecondPinned, sink);
        push(Place::Param, Place::Acc, Around::SecondPinned, sink);
    }
    let all = |a, b| Case::new(op, a, b, Around::Nothing, Sink::Return).on_all_values();
    cases.push(all(Place::Param, Place::Param));
    cases.extend(
        grid(b)
            .into_iter()
            .map(|bits| all(Place::Param, Place::Const(bits))),
    );
    cases
}

fn wasm_type(ty: ValType) -> WasmType {
    match ty {
        ValType::I32 => WasmType::I32,
        ValType::I64 => WasmType::I64,
        ValType::F32 => WasmType::F32,
        ValType::F64 => WasmType::F64,
        other => unreachable!("no numeric op takes {other}"),
    }
}

/// The four types, in the order in which the module has a global and a function for each.
const TYPES: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];

fn type_index(ty: ValType) -> u32 {
    TYPES
        .iter()
        .position(|&other| other == ty)
        .expect("a number type") as u32
}

/// The first functions of the module: for each type one that returns its second parameter.
const SECOND: u32 = 0;
/// Then one that does nothing.
const NOTHING: u32 = 4;
/// Then the cases.
const CASES: u32 = 5;

/// Writes the body of a case.
///
/// The locals: the operands, as many for copies of them, three of the result's type, three to count with.
struct Body {
    case: Case,
    code: Vec<u8>,
}

impl Body {
    fn new(case: Case) -> Body {
        Body {
            case,
            code: Vec::new(),
        }
    }

    fn arity(&self) -> u32 {
        self.case.op.params().len() as u32
    }

    fn result_type(&self) -> WasmType {
        wasm_type(self.case.op.result())
    }

    /// The local for a copy of an operand.
    fn tee(&self, operand: u32) -> u32 {
        self.arity() + operand
    }

    fn result(&self) -> u32 {
        2 * self.arity()
    }

    fn other(&self) -> u32 {
        self.result() + 1
    }

    fn copy(&self) -> u32 {
        self.result() + 2
    }

    fn count(&self) -> u32 {
        self.result() + 3
    }

    fn outer(&self) -> u32 {
        self.result() + 4
    }

    fn turn(&self) -> u32 {
        self.result() + 5
    }

    fn write(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    fn constant(&mut self, ty: ValType, bits: u64) {
        match ty {
            ValType::I32 => self.write().i32_const(bits as i32),
            ValType::I64 => self.write().i64_const(bits.cast_signed()),
            ValType::F32 => self.write().f32_const(Ieee32::new(bits as u32)),
            _ => self.write().f64_const(Ieee64::new(bits)),
        };
    }

    /// An op that leaves the value as it is.
    fn same(&mut self, ty: ValType) {
        match ty {
            ValType::I32 => self.write().i32_const(0).i32_or(),
            ValType::I64 => self.write().i64_const(0).i64_or(),
            ValType::F32 => self.write().i32_reinterpret_f32().f32_reinterpret_i32(),
            _ => self.write().i64_reinterpret_f64().f64_reinterpret_i64(),
        };
    }

    fn operand(&mut self, index: u32) {
        let ty = self.case.op.params()[index as usize];
        let tee = self.tee(index);
        let of_type = type_index(ty);
        match self.case.places[index as usize] {
            Place::Param => {
                self.write().local_get(index);
            }
            Place::Const(bits) => self.constant(ty, bits),
            Place::Acc => {
                self.write().local_get(index);
                self.same(ty);
            }
            Place::Tee => {
                self.write().local_get(index);
                self.same(ty);
                self.write().local_tee(tee);
            }
            Place::Slot => {
                self.write().local_get(index).block(BlockType::Empty).end();
            }
            Place::Call => {
                self.constant(ty, 0);
                self.write().local_get(index).call(SECOND + of_type);
            }
            Place::Global => {
                self.write()
                    .local_get(index)
                    .global_set(of_type)
                    .global_get(of_type);
            }
        }
    }

    fn op(&mut self) {
        for index in 0..self.arity() {
            self.operand(index);
        }
        self.case.op.opcode().encode(&mut self.code);
    }

    /// The op, and what is to become of its result; leaves the function's result.
    fn op_and_sink(&mut self) {
        let ty = self.case.op.result();
        let of_type = type_index(ty);
        let block = BlockType::Result(self.result_type());
        let (result, other, turn) = (self.result(), self.other(), self.turn());
        match self.case.sink {
            Sink::Return => self.op(),
            Sink::Local => {
                self.op();
                self.write().local_set(result).local_get(result);
            }
            Sink::Tee => {
                self.op();
                self.write()
                    .local_tee(result)
                    .local_set(other)
                    .local_get(other);
            }
            Sink::First => {
                self.write().local_get(0).local_set(other);
                self.op();
                self.write()
                    .local_set(0)
                    .local_get(0)
                    .local_get(other)
                    .local_set(0);
            }
            Sink::Global => {
                self.op();
                self.write().global_set(of_type).global_get(of_type);
            }
            Sink::Under => {
                self.op();
                self.write().local_get(other);
                self.same(ty);
                self.write().drop();
            }
            Sink::Argument => {
                self.constant(ty, 0);
                self.op();
                self.write().call(SECOND + of_type);
            }
            Sink::Branch => {
                self.write().block(block).i32_const(5);
                self.op();
                self.write().br(0).end();
            }
            Sink::Selected => {
                self.op();
                self.write().local_get(other).i32_const(1).select();
            }
            Sink::Memory => {
                self.write().i32_const(0);
                self.op();
                let at = |align| MemArg {
                    offset: 8,
                    align,
                    target: MemArgTarget::Memory(0),
                    ordering: None,
                };
                match ty {
                    ValType::I32 => self.write().i32_store(at(2)).i32_const(0).i32_load(at(2)),
                    ValType::I64 => self.write().i64_store(at(3)).i32_const(0).i64_load(at(3)),
                    ValType::F32 => self.write().f32_store(at(2)).i32_const(0).f32_load(at(2)),
                    _ => self.write().f64_store(at(3)).i32_const(0).f64_load(at(3)),
                };
            }
            Sink::BrIf | Sink::BrIfEqz => {
                let eqz = self.case.sink == Sink::BrIfEqz;
                self.write()
                    .i32_const(i32::from(!eqz))
                    .local_set(turn)
                    .block(BlockType::Empty);
                self.op();
                if eqz {
                    self.write().i32_eqz();
                }
                self.write()
                    .br_if(0)
                    .i32_const(i32::from(eqz))
                    .local_set(turn)
                    .end()
                    .local_get(turn);
            }
            Sink::BrIfValue => {
                self.write().block(block).i32_const(9).i32_const(1);
                self.op();
                self.write().br_if(0).drop().drop().i32_const(0).end();
            }
            Sink::BackEdge | Sink::BackEdgeOfCalls => {
                self.write()
                    .i32_const(0)
                    .local_set(turn)
                    .block(BlockType::Empty);
                self.write().loop_(BlockType::Empty);
                self.write()
                    .local_get(turn)
                    .i32_const(1)
                    .i32_add()
                    .local_tee(turn);
                self.write().i32_const(2).i32_eq().br_if(1);
                if self.case.sink == Sink::BackEdgeOfCalls {
                    self.write().call(NOTHING);
                }
                self.op();
                self.write().br_if(0).i32_const(0).local_set(turn);
                self.write()
                    .end()
                    .end()
                    .local_get(turn)
                    .i32_const(1)
                    .i32_shr_u();
            }
            Sink::If => {
                self.op();
                self.write()
                    .if_(block)
                    .i32_const(1)
                    .else_()
                    .i32_const(0)
                    .end();
            }
            Sink::Select => {
                self.write().i32_const(1).i32_const(0);
                self.op();
                self.write().select();
            }
            Sink::Eqz => {
                self.op();
                self.write().i32_eqz();
            }
            Sink::EqzEqz => {
                self.op();
                self.write().i32_eqz().i32_eqz();
            }
            Sink::BrTable => {
                let empty = BlockType::Empty;
                self.write()
                    .block(empty)
                    .block(empty)
                    .block(empty)
                    .block(empty);
                self.op();
                self.write().br_table(vec![0, 1], 2).end();
                self.write()
                    .i32_const(0)
                    .local_set(turn)
                    .br(2)
                    .end()
                    .i32_const(1)
                    .local_set(turn)
                    .br(1);
                self.write()
                    .end()
                    .i32_const(2)
                    .local_set(turn)
                    .end()
                    .local_get(turn);
            }
        }
    }

    /// Uses a local `times` times, so that it is pinned before others.
    fn use_local(&mut self, index: u32, times: usize) {
        for _ in 0..times {
            self.write().local_get(index).drop();
        }
    }

    /// The back edge that is taken once.
    fn twice(&mut self, count: u32) {
        self.write()
            .local_get(count)
            .i32_const(1)
            .i32_add()
            .local_tee(count);
        self.write().i32_const(2).i32_lt_u().br_if(0).end();
    }

    fn function(mut self) -> Function {
        let (result, copy, count, outer) = (self.result(), self.copy(), self.count(), self.outer());
        let second = self.arity() - 1;
        if self.case.around == Around::Nothing {
            self.op_and_sink();
        } else {
            if self.case.around == Around::Nested {
                self.write()
                    .loop_(BlockType::Empty)
                    .i32_const(0)
                    .local_set(count);
            }
            self.write().loop_(BlockType::Empty);
            match self.case.around {
                Around::SecondPinned => {
                    self.use_local(second, 12);
                    self.use_local(0, 8);
                }
                Around::ResultPinned => {
                    self.use_local(result, 12);
                    self.use_local(0, 8);
                }
                Around::Calls => {
                    self.write().call(NOTHING);
                }
                _ => {
                    self.use_local(0, 12);
                    self.use_local(second, 8);
                }
            }
            self.op_and_sink();
            self.write()
                .local_set(result)
                .local_get(result)
                .local_set(copy);
            self.twice(count);
            if self.case.around == Around::Nested {
                self.twice(outer);
            }
            let read = if self.case.around == Around::ResultPinned {
                copy
            } else {
                result
            };
            self.write().local_get(read);
        }
        self.write().end();
        let params = self.case.op.params().iter().map(|&ty| wasm_type(ty));
        let own = [self.result_type(); 3]
            .into_iter()
            .chain([WasmType::I32; 3]);
        let mut function = Function::new_with_locals_types(params.chain(own));
        function.raw(self.code);
        function
    }
}

/// A module with a function for each case, all in its table.
fn module(cases: &[Case]) -> Module {
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    let mut globals = GlobalSection::new();
    for ty in TYPES {
        let wasm = wasm_type(ty);
        functions.function(types.len());
        types.ty().function([wasm, wasm], [wasm]);
        let mut second = Function::new([]);
        second.instructions().local_get(1).end();
        code.function(&second);
        let zero = match ty {
            ValType::I32 => ConstExpr::i32_const(0),
            ValType::I64 => ConstExpr::i64_const(0),
            ValType::F32 => ConstExpr::f32_const(Ieee32::new(0)),
            _ => ConstExpr::f64_const(Ieee64::new(0)),
        };
        let ty = GlobalType {
            val_type: wasm,
            mutable: true,
            shared: false,
        };
        globals.global(ty, &zero);
    }
    functions.function(types.len());
    types.ty().function([], []);
    let mut nothing = Function::new([]);
    nothing.instructions().end();
    code.function(&nothing);
    let mut last_op = None;
    for case in cases {
        if last_op != Some(case.op) {
            let params = case.op.params().iter().map(|&ty| wasm_type(ty));
            types.ty().function(params, [wasm_type(case.op.result())]);
            last_op = Some(case.op);
        }
        functions.function(types.len() - 1);
        code.function(&Body::new(*case).function());
    }
    let (mut tables, mut elements) = (TableSection::new(), ElementSection::new());
    let count = cases.len() as u64;
    let table = TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: count,
        maximum: Some(count),
        shared: false,
    };
    tables.table(table);
    let all: Vec<u32> = (CASES..).take(cases.len()).collect();
    elements.active(
        None,
        &ConstExpr::i32_const(0),
        Elements::Functions(Cow::Owned(all)),
    );
    let (mut memories, mut exports) = (MemorySection::new(), ExportSection::new());
    let memory = MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    memories.memory(memory);
    exports.export("cases", ExportKind::Table, 0);
    let mut module = wasm_encoder::Module::new();
    module.section(&types).section(&functions).section(&tables);
    module
        .section(&memories)
        .section(&globals)
        .section(&exports);
    module.section(&elements).section(&code);
    Module::new(module.finish()).expect("the module is valid")
}

fn val(ty: ValType, bits: u64) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits.cast_signed()),
        ValType::F32 => Val::F32(bits as u32),
        _ => Val::F64(bits),
    }
}

fn bits(val: Val) -> u64 {
    match val {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        Val::F32(bits) => u64::from(bits),
        Val::F64(bits) => bits,
        other => unreachable!("no numeric op gives {other:?}"),
    }
}

/// What bits of a float say of it being a NaN.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nan {
    No,
    Canonical,
    Quiet,
    Signaling,
}

fn nan(ty: ValType, bits: u64) -> Nan {
    let (exponent, quiet, payload) = match ty {
        ValType::F32 => (0x7f80_0000, 1 << 22, (1 << 22) - 1),
        ValType::F64 => (0x7ff0_0000_0000_0000, 1 << 51, (1 << 51) - 1),
        _ => return Nan::No,
    };
    match (
        bits & exponent == exponent,
        bits & quiet != 0,
        bits & payload,
    ) {
        (true, true, 0) => Nan::Canonical,
        (true, true, _) => Nan::Quiet,
        (true, false, 1..) => Nan::Signaling,
        _ => Nan::No,
    }
}

/// These change the sign or nothing, so the bits of a NaN are told exactly.
fn keeps_nans(op: NumOp) -> bool {
    let text = op.text();
    ["abs", "neg", "copysign"]
        .iter()
        .any(|name| text.ends_with(name))
        || text.contains("reinterpret")
}

/// The spec's section 4.3.3, "NaN Propagation".
fn agrees(op: NumOp, operands: &[u64], expected: u64, found: u64) -> bool {
    if expected == found {
        return true;
    }
    let class = nan(op.result(), expected);
    if class == Nan::No || keeps_nans(op) {
        return false;
    }
    let is_plain =
        |(&bits, &ty): (&u64, &ValType)| matches!(nan(ty, bits), Nan::No | Nan::Canonical);
    let canonical = operands.iter().zip(op.params()).all(is_plain);
    match nan(op.result(), found) {
        Nan::Canonical => true,
        Nan::Quiet => !canonical,
        _ => false,
    }
}

/// Runs a case on all its values; the first that is wrong, for people.
fn run(case: &Case, func: Func, store: &mut Store<()>) -> Result<u64, String> {
    let params = case.op.params();
    let firsts = case.values(0);
    let seconds = if params.len() == 2 {
        case.values(1)
    } else {
        vec![0]
    };
    let mut calls = 0;
    for &first in &firsts {
        for &second in &seconds {
            let operands = &[first, second][..params.len()];
            let args: Vec<Val> = operands
                .iter()
                .zip(params)
                .map(|(&bits, &ty)| val(ty, bits))
                .collect();
            let found = func.call(store, &args).map(|results| bits(results[0]));
            let found = found.map_err(|trap: Trap| trap.code());
            let expected = case.op.eval(operands);
            let agree = match (expected, found) {
                (Ok(expected), Ok(found)) if case.sink.is_condition() => {
                    case.sink.outcome(expected) == found
                }
                (Ok(expected), Ok(found)) => agrees(case.op, operands, expected, found),
                (Err(expected), Err(found)) => found == Some(TrapCode::from(expected)),
                _ => false,
            };
            if !agree {
                return Err(format!(
                    "{case:?} of {operands:#x?}: {found:x?} but the row gives {expected:x?}"
                ));
            }
            calls += 1;
        }
    }
    Ok(calls)
}

fn check(ops: impl Iterator<Item = NumOp>) {
    let cases: Vec<Case> = ops.flat_map(cases).collect();
    let module = Arc::new(module(&cases));
    let mut store =
        Store::new(Interpreter::tier(), Limits::default(), ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, &module)
        .expect("it imports nothing");
    let table = instance.table(&store, "cases").expect("it is exported");
    let mut calls = 0;
    let mut wrong = Vec::new();
    for (index, case) in (0..).zip(&cases) {
        let Some(Val::FuncRef(Some(func))) = table.get(&store, index) else {
            panic!("element {index} is a function")
        };
        match run(case, func, &mut store) {
            Ok(more) => calls += more,
            Err(problem) => wrong.push(problem),
        }
    }
    println!("{} functions, {calls} calls", cases.len());
    let shown = wrong[..wrong.len().min(20)].join("\n");
    assert!(
        wrong.is_empty(),
        "{} cases are wrong:\n{shown}",
        wrong.len()
    );
}

/// The ops with `arity` operands, of which the first is of type `ty`.
fn ops(arity: usize, ty: ValType) -> impl Iterator<Item = NumOp> {
    let all = NumOp::ALL.iter().copied();
    all.filter(move |op| op.params().len() == arity && op.params()[0] == ty)
}

#[test]
fn unary_ops() {
    check(TYPES.into_iter().flat_map(|ty| ops(1, ty)));
}

#[test]
fn binary_ops_of_i32() {
    check(ops(2, ValType::I32));
}

#[test]
fn binary_ops_of_i64() {
    check(ops(2, ValType::I64));
}

#[test]
fn binary_ops_of_f32() {
    check(ops(2, ValType::F32));
}

#[test]
fn binary_ops_of_f64() {
    check(ops(2, ValType::F64));
}

#[test]
fn the_tests_above_have_every_op() {
    let counts = TYPES.map(|ty| ops(1, ty).count() + ops(2, ty).count());
    assert_eq!(counts.iter().sum::<usize>(), NumOp::ALL.len());
}
