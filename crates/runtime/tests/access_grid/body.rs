//! A module with a function for each case, and a memory without pages at first.

use std::borrow::Cow;

use tiered_decode::Module;
use tiered_decode::types::ValType;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, Ieee32, Ieee64, InstructionSink,
    MemorySection, MemoryType, RefType, TableSection, TableType, TypeSection, ValType as WasmType,
};

use super::cases::{Access, Address, Case, Place, Sink};

fn wasm_type(ty: ValType) -> WasmType {
    match ty {
        ValType::I32 => WasmType::I32,
        ValType::I64 => WasmType::I64,
        ValType::F32 => WasmType::F32,
        ValType::F64 => WasmType::F64,
        other => unreachable!("no access has {other}"),
    }
}

/// The parameters that make the address, the value, then locals.
const FIRST: u32 = 0;
const SECOND: u32 = 1;
const VALUE: u32 = 2;
const COPY: u32 = 3;
const RESULT: u32 = 4;

/// Writes the body of a case: `(param i32 i32 T) (result T)`; a store gives its value back.
struct Body {
    case: Case,
    code: Vec<u8>,
}

impl Body {
    fn write(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    fn address(&mut self) {
        let address = self.case.address;
        let mut write = self.write();
        match address {
            Address::Param | Address::Pinned => write.local_get(FIRST),
            Address::PinnedSecond => write.local_get(SECOND),
            Address::Const(address) => write.i32_const(address.cast_signed()),
            Address::Acc => write.local_get(FIRST).i32_const(0).i32_or(),
            Address::Tee => self
                .write()
                .local_get(FIRST)
                .i32_const(0)
                .i32_or()
                .local_tee(COPY),
            Address::Slot => write.local_get(FIRST).block(BlockType::Empty).end(),
            Address::Global => write.local_get(FIRST).global_set(0).global_get(0),
            Address::Sum | Address::PinnedSum => write.local_get(FIRST).local_get(SECOND).i32_add(),
            Address::SumConst(part) => self
                .write()
                .local_get(FIRST)
                .i32_const(part.cast_signed())
                .i32_add(),
            Address::ConstSum(part) => self
                .write()
                .i32_const(part.cast_signed())
                .local_get(FIRST)
                .i32_add(),
            Address::SumAcc => self
                .write()
                .local_get(FIRST)
                .i32_const(0)
                .i32_xor()
                .local_get(SECOND)
                .i32_add(),
            Address::SumSlots => self
                .write()
                .local_get(FIRST)
                .local_get(SECOND)
                .block(BlockType::Empty)
                .end()
                .i32_add(),
            Address::SumTee => self
                .write()
                .local_get(FIRST)
                .local_get(SECOND)
                .i32_add()
                .local_tee(COPY),
        };
    }

    fn same(&mut self, ty: ValType) {
        match ty {
            ValType::I32 => self.write().i32_const(0).i32_or(),
            ValType::I64 => self.write().i64_const(0).i64_or(),
            ValType::F32 => self.write().i32_reinterpret_f32().f32_reinterpret_i32(),
            _ => self.write().i64_reinterpret_f64().f64_reinterpret_i64(),
        };
    }

    fn value(&mut self, ty: ValType, place: Place) {
        match place {
            Place::Param | Place::Pinned => {
                self.write().local_get(VALUE);
            }
            Place::Const(bits) => {
                match ty {
                    ValType::I32 => self.write().i32_const(bits as i32),
                    ValType::I64 => self.write().i64_const(bits.cast_signed()),
                    ValType::F32 => self.write().f32_const(Ieee32::new(bits as u32)),
                    _ => self.write().f64_const(Ieee64::new(bits)),
                };
            }
            Place::Acc => {
                self.write().local_get(VALUE);
                self.same(ty);
            }
            Place::Tee => {
                self.write().local_get(VALUE);
                self.same(ty);
                self.write().local_tee(RESULT);
            }
            Place::Slot => {
                self.write().local_get(VALUE).block(BlockType::Empty).end();
            }
        }
    }

    /// The op with its alignment, which says nothing, and its offset.
    fn access(&mut self, opcode: tiered_decode::opcode::Opcode) {
        opcode.encode(&mut self.code);
        self.code.push(0);
        let mut rest = self.case.offset;
        while rest >= 0x80 {
            self.code.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.code.push(rest as u8);
    }

    fn access_and_sink(&mut self) {
        let ty = self.case.access.ty();
        match self.case.access {
            Access::Store(op, place) => {
                self.address();
                self.value(ty, place);
                self.access(op.opcode());
                self.write().local_get(VALUE);
            }
            Access::Load(op, sink) => {
                self.address();
                self.access(op.opcode());
                match sink {
                    Sink::Return => {}
                    Sink::Local => {
                        self.write().local_set(RESULT).local_get(RESULT);
                    }
                    Sink::Under => {
                        self.write().local_get(VALUE);
                        self.same(ty);
                        self.write().drop();
                    }
                    Sink::Indirect => {
                        self.write().local_tee(RESULT).global_set(1).global_get(1);
                        self.write().local_set(VALUE).local_get(RESULT);
                    }
                }
            }
        }
    }

    fn function(mut self) -> Function {
        let ty = wasm_type(self.case.access.ty());
        let pinned_value = matches!(self.case.access, Access::Store(_, Place::Pinned));
        if self.case.address.in_loop() || pinned_value {
            self.write().loop_(BlockType::Result(ty));
            let (most, then) = match (pinned_value, self.case.address) {
                (true, Address::PinnedSecond) => (SECOND, VALUE),
                (true, _) => (VALUE, FIRST),
                (false, Address::PinnedSecond) => (FIRST, SECOND),
                _ => (FIRST, SECOND),
            };
            for (local, times) in [(most, 12), (then, 8)] {
                for _ in 0..times {
                    self.write().local_get(local).drop();
                }
            }
            self.access_and_sink();
            self.write().end();
        } else {
            self.access_and_sink();
        }
        self.write().end();
        let mut function = Function::new_with_locals_types([WasmType::I32, ty]);
        function.raw(self.code);
        function
    }
}

/// The types with a global each, from 1 on: an `i32` for addresses is the first.
pub(super) const TYPES: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];

pub(super) fn module(cases: &[Case]) -> Module {
    let ty = wasm_type(cases[0].access.ty());
    let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
    let (mut code, mut globals) = (CodeSection::new(), GlobalSection::new());
    types
        .ty()
        .function([WasmType::I32, WasmType::I32, ty], [ty]);
    let zero = match ty {
        WasmType::I32 => ConstExpr::i32_const(0),
        WasmType::I64 => ConstExpr::i64_const(0),
        WasmType::F32 => ConstExpr::f32_const(Ieee32::new(0)),
        _ => ConstExpr::f64_const(Ieee64::new(0)),
    };
    for (val_type, init) in [(WasmType::I32, ConstExpr::i32_const(0)), (ty, zero)] {
        globals.global(
            GlobalType {
                val_type,
                mutable: true,
                shared: false,
            },
            &init,
        );
    }
    for &case in cases {
        functions.function(0);
        code.function(
            &Body {
                case,
                code: Vec::new(),
            }
            .function(),
        );
    }
    let (mut tables, mut elements) = (TableSection::new(), ElementSection::new());
    let minimum = cases.len() as u64;
    let element_type = RefType::FUNCREF;
    tables.table(TableType {
        element_type,
        table64: false,
        minimum,
        maximum: None,
        shared: false,
    });
    let all: Vec<u32> = (0..cases.len() as u32).collect();
    elements.active(
        None,
        &ConstExpr::i32_const(0),
        Elements::Functions(Cow::Owned(all)),
    );
    let (mut memories, mut exports) = (MemorySection::new(), ExportSection::new());
    memories.memory(MemoryType {
        minimum: 0,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    exports
        .export("cases", ExportKind::Table, 0)
        .export("memory", ExportKind::Memory, 0);
    let mut module = wasm_encoder::Module::new();
    module.section(&types).section(&functions).section(&tables);
    module
        .section(&memories)
        .section(&globals)
        .section(&exports);
    module.section(&elements).section(&code);
    Module::new(module.finish()).expect("the module is valid")
}
