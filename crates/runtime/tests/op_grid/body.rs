//! A module with a function for each case.
//!
//! *Invariant:* each function computes one op; which operands it takes as constants is part of the function.

use std::borrow::Cow;

use tiered_decode::Module;
use tiered_decode::types::ValType;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, Ieee32, Ieee64, InstructionSink, MemArg,
    MemArgTarget, MemorySection, MemoryType, RefType, TableSection, TableType, TypeSection,
    ValType as WasmType,
};

use super::cases::{Around, Case, Place, Sink};

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
pub(crate) const TYPES: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];

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
            Place::Memory => {
                let at = Body::memory(index, ty);
                self.write().i32_const(0);
                match ty {
                    ValType::I32 => self.write().i32_load(at),
                    ValType::I64 => self.write().i64_load(at),
                    ValType::F32 => self.write().f32_load(at),
                    _ => self.write().f64_load(at),
                };
            }
            Place::First => {
                self.write().local_get(0);
            }
            Place::Negated if ty == ValType::F32 => {
                self.write().local_get(index).f32_neg();
            }
            Place::Negated => {
                self.write().local_get(index).f64_neg();
            }
        }
    }

    /// Where an operand lies in memory.
    fn memory(index: u32, ty: ValType) -> MemArg {
        MemArg {
            offset: 16 + 8 * u64::from(index),
            align: if matches!(ty, ValType::I32 | ValType::F32) {
                2
            } else {
                3
            },
            target: MemArgTarget::Memory(0),
            ordering: None,
        }
    }

    /// Puts operands into memory. The call is to keep a compiler from knowing what is there.
    fn prepare(&mut self) {
        let in_memory = |index: &u32| self.case.places[*index as usize] == Place::Memory;
        let indices: Vec<u32> = (0..self.arity()).filter(in_memory).collect();
        for &index in &indices {
            let ty = self.case.op.params()[index as usize];
            let at = Body::memory(index, ty);
            self.write().i32_const(0).local_get(index);
            match ty {
                ValType::I32 => self.write().i32_store(at),
                ValType::I64 => self.write().i64_store(at),
                ValType::F32 => self.write().f32_store(at),
                _ => self.write().f64_store(at),
            };
        }
        if !indices.is_empty() {
            self.write().call(NOTHING);
        }
    }

    fn op(&mut self) {
        self.prepare();
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
pub(super) fn module(cases: &[Case]) -> Module {
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
