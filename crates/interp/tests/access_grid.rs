//! Every load and store at addresses and offsets around the edges of a memory, with the address and the value in every
//! place that the translator knows, against the op's own row.
//!
//! *Invariant:* an access that is not wholly within the memory traps and changes nothing.
//! *Invariant:* the effective address is the unsigned sum of address and offset, which does not wrap; a sum that the
//! program computes does.

use std::borrow::Cow;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::types::ValType;
use tiered_interp::Interpreter;
use tiered_interp::runtime::{Limits, Linker, Memory, PAGE_BYTES, Store, Table, TrapCode, Val};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, Ieee32, Ieee64, InstructionSink,
    MemorySection, MemoryType, RefType, TableSection, TableType, TypeSection, ValType as WasmType,
};

/// Two pages, so that offsets of more than 16 bits are within bounds too.
const PAGES: u64 = 2;
const LENGTH: u32 = (PAGES * PAGE_BYTES) as u32;

const OFFSETS: &[u32] = &[
    0,
    8,
    0x7fff,
    0x8000,
    0xfffe,
    0xffff,
    0x1_0000,
    LENGTH - 8,
    LENGTH - 1,
    LENGTH,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_ffff,
];

/// The parts of a sum that are not the rest of the address.
const PARTS: &[u32] = &[0, 3, 0xffff_fff0];

/// The addresses at which `size` bytes with `offset` are interesting.
fn addresses(offset: u32, size: usize) -> Vec<u32> {
    let edge = LENGTH.wrapping_sub(offset);
    let size = size as u32;
    let mut addresses = vec![
        0,
        1,
        edge.wrapping_sub(size).wrapping_sub(1),
        edge.wrapping_sub(size),
        edge.wrapping_sub(size).wrapping_add(1),
        edge.wrapping_sub(1),
        edge,
        0x8000_0000,
        0u32.wrapping_sub(offset),
        0xffff_ffff,
    ];
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Where the address is. A function has two parameters for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    Param,
    Const(u32),
    /// The result of the op before.
    Acc,
    /// A local that was just set from the accumulator.
    Tee,
    /// Its own slot.
    Slot,
    Global,
    /// The sum of both parameters, of the first and a constant, of an accumulator and the second, of both in slots.
    Sum,
    SumConst(u32),
    ConstSum(u32),
    SumAcc,
    SumSlots,
    /// A sum that is kept in a local as well.
    SumTee,
    /// A pinned local; the sum of two.
    Pinned,
    PinnedSecond,
    PinnedSum,
}

impl Address {
    fn all(offset: u32, size: usize) -> Vec<Address> {
        use Address as A;
        let plain = [
            A::Param,
            A::Acc,
            A::Tee,
            A::Slot,
            A::Global,
            A::Sum,
            A::SumAcc,
        ];
        let more = [
            A::SumSlots,
            A::SumTee,
            A::Pinned,
            A::PinnedSecond,
            A::PinnedSum,
        ];
        let constants = addresses(offset, size).into_iter().map(A::Const);
        let sums = PARTS
            .iter()
            .flat_map(|&part| [A::SumConst(part), A::ConstSum(part)]);
        plain
            .into_iter()
            .chain(more)
            .chain(constants)
            .chain(sums)
            .collect()
    }

    fn in_loop(self) -> bool {
        matches!(
            self,
            Address::Pinned | Address::PinnedSecond | Address::PinnedSum
        )
    }

    /// The arguments that make the address, if it is not in the function.
    fn arguments(self, address: u32) -> Vec<(u32, u32)> {
        let rest = |part: u32| address.wrapping_sub(part);
        match self {
            Address::Const(constant) if constant == address => vec![(0, 0)],
            Address::Const(_) => vec![],
            Address::SumConst(part) | Address::ConstSum(part) => vec![(rest(part), 0)],
            Address::Sum
            | Address::SumAcc
            | Address::SumSlots
            | Address::SumTee
            | Address::PinnedSum => PARTS.iter().map(|&part| (rest(part), part)).collect(),
            Address::PinnedSecond => vec![(0, address)],
            _ => vec![(address, 0)],
        }
    }
}

/// Where a load's result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Return,
    Local,
    /// Stays under the operands of another op.
    Under,
    /// An argument of another load.
    Indirect,
}

/// Where the value to store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Param,
    Const(u64),
    Acc,
    Tee,
    Slot,
    Pinned,
}

#[derive(Clone, Copy, Debug)]
enum Access {
    Load(LoadOp, Sink),
    Store(StoreOp, Place),
}

impl Access {
    fn size(self) -> usize {
        match self {
            Access::Load(op, _) => op.size(),
            Access::Store(op, _) => op.size(),
        }
    }

    /// The type of the value.
    fn ty(self) -> ValType {
        match self {
            Access::Load(op, _) => op.result(),
            Access::Store(op, _) => op.param(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    access: Access,
    address: Address,
    offset: u32,
}

fn cases(access: Access) -> Vec<Case> {
    let mut cases = Vec::new();
    for &offset in OFFSETS {
        for address in Address::all(offset, access.size()) {
            cases.push(Case {
                access,
                address,
                offset,
            });
        }
    }
    cases
}

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
    fn access(&mut self, opcode: tiered_decode::numeric::Opcode) {
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
const TYPES: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];

fn module(cases: &[Case]) -> Module {
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
        minimum: PAGES,
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

fn val(ty: ValType, bits: u64) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits.cast_signed()),
        ValType::F32 => Val::F32(bits as u32),
        _ => Val::F64(bits),
    }
}

/// The cases in a store, and what their memory is to be.
struct Grid {
    store: Store<()>,
    table: Table,
    memory: Memory,
    expected: Vec<u8>,
}

impl Grid {
    fn new(cases: &[Case]) -> Grid {
        let mut store =
            Store::new(Interpreter::tier(), Limits::default(), ()).expect("a store has a stack");
        let instance = Linker::new()
            .instantiate(&mut store, &Arc::new(module(cases)))
            .expect("it imports nothing");
        let memory = instance.memory(&store, "memory").expect("it is exported");
        // Bytes that tell their places and have their sign bits set here and there, signaling NaNs among them.
        let expected: Vec<u8> = (0..LENGTH)
            .map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8)
            .collect();
        memory.data_mut(&mut store).copy_from_slice(&expected);
        let table = instance.table(&store, "cases").expect("it is exported");
        Grid {
            store,
            table,
            memory,
            expected,
        }
    }

    /// Runs a case at one address.
    fn run(
        &mut self,
        index: u64,
        case: &Case,
        value: u64,
        address: u32,
        args: (u32, u32),
    ) -> Result<(), String> {
        let Some(Val::FuncRef(Some(func))) = self.table.get(&self.store, index) else {
            panic!("element {index} is a function")
        };
        let ty = case.access.ty();
        let args = [
            Val::I32(args.0.cast_signed()),
            Val::I32(args.1.cast_signed()),
            val(ty, value),
        ];
        let found = func
            .call(&mut self.store, &args)
            .map_err(|trap| trap.code());
        let start = u64::from(address) + u64::from(case.offset);
        let within = start + case.access.size() as u64 <= u64::from(LENGTH);
        let expected = match case.access {
            _ if !within => Err(Some(TrapCode::MemoryOutOfBounds)),
            Access::Load(op, _) => Ok(op.load(&self.expected[start as usize..])),
            Access::Store(op, _) => {
                op.store(&mut self.expected[start as usize..], value);
                Ok(value)
            }
        };
        let expected = expected.map(|bits| vec![val(ty, bits)]);
        if found != expected {
            return Err(format!(
                "{case:?} at {address:#x}: {found:x?}, not {expected:x?}"
            ));
        }
        if matches!(case.access, Access::Store(..))
            && self.memory.data(&self.store) != self.expected
        {
            return Err(format!(
                "{case:?} at {address:#x} of {value:#x} writes something else"
            ));
        }
        Ok(())
    }
}

fn check(cases: &[Case]) {
    let mut grid = Grid::new(cases);
    let (mut calls, mut wrong) = (0, Vec::new());
    for (index, case) in (0..).zip(cases) {
        for address in addresses(case.offset, case.access.size()) {
            for args in case.address.arguments(address) {
                // Different for each call, so that a store that does nothing shows.
                calls += 1;
                let value = match case.access {
                    Access::Store(_, Place::Const(bits)) => bits,
                    _ if case.access.ty() == ValType::I64 || case.access.ty() == ValType::F64 => {
                        0x8123_4567_89ab_cdefu64.wrapping_mul(2 * calls + 1)
                    }
                    _ => 0x89ab_cdefu64.wrapping_mul(2 * calls + 1) & 0xffff_ffff,
                };
                wrong.extend(grid.run(index, case, value, address, args).err());
            }
        }
    }
    println!("{} functions, {calls} calls", cases.len());
    let shown = wrong[..wrong.len().min(20)].join("\n");
    assert!(
        wrong.is_empty(),
        "{} accesses are wrong:\n{shown}",
        wrong.len()
    );
}

#[test]
fn loads() {
    for ty in TYPES {
        let ops = LoadOp::ALL.iter().filter(|op| op.result() == ty);
        let sinks = [Sink::Return, Sink::Local, Sink::Under, Sink::Indirect];
        let accesses = ops.flat_map(|&op| sinks.map(|sink| Access::Load(op, sink)));
        check(&accesses.flat_map(cases).collect::<Vec<_>>());
    }
}

#[test]
fn stores() {
    for ty in TYPES {
        let ops = StoreOp::ALL.iter().filter(|op| op.param() == ty);
        let constants: &[u64] = match ty {
            ValType::I32 => &[0, 0xffff_ffff, 0x8000_0000, 0x1234_5678],
            ValType::I64 => &[
                0,
                u64::MAX,
                0xffff_ffff_8000_0000,
                0x8000_0000,
                0x0123_4567_89ab_cdef,
            ],
            ValType::F32 => &[0, 0x7fa0_0001],
            _ => &[0, 0x7ff4_0000_0000_0001],
        };
        let places = [
            Place::Param,
            Place::Acc,
            Place::Tee,
            Place::Slot,
            Place::Pinned,
        ];
        let constants = constants.iter().copied().map(Place::Const);
        let places: Vec<Place> = places.into_iter().chain(constants).collect();
        let accesses =
            ops.flat_map(|&op| places.iter().map(move |&place| Access::Store(op, place)));
        check(&accesses.flat_map(cases).collect::<Vec<_>>());
    }
}
