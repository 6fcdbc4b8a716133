//! Modules as compilers make them: locals, counted loops, branches that depend on comparisons, addresses with offsets.
//!
//! `wasm-smith` seldom makes these, and they are what the tiers have special instructions for. Every op of the tables of
//! numeric ops and memory accesses can come; no NaN's sign or payload can be seen, so that engines may be compared.
//!
//! *Invariant:* a counter in a global stops every program at the same place in every engine.

mod atomic;
mod memory;
mod reference;
mod wide;

use arbitrary::{Result, Unstructured};
use tiered::decode::numeric::NumOp;
use tiered::decode::types::ValType;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataCountSection, ElementSection, Elements, Encode,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    ImportSection, Instruction, Module, RefType, TableSection, TableType, TypeSection,
};

const TYPES: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];

/// The global that counts calls and iterations down; then one of each type.
const COUNTER: u32 = 0;

/// The name under which that global is exported.
pub(crate) const COUNTER_NAME: &str = "g0";

/// How many calls and iterations there may be.
const STEPS: i32 = 300;

/// How much of the language programs have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Many parameters and results, blocks that take and give several values, operands that wait below loops.
    pub(crate) wide: bool,
    /// Of those, none that wasmi 2.0.0 gets wrong: no block takes values, no jump table passes any on.
    pub(crate) for_wasmi: bool,
    /// References, several tables, and the instructions on tables and segments.
    pub(crate) references: bool,
    /// Tail calls.
    pub(crate) tail_calls: bool,
    /// A shared memory, atomic accesses, notifying and fences.
    pub(crate) atomics: bool,
}

impl Extent {
    /// Any extent.
    pub(crate) fn any(u: &mut Unstructured<'_>) -> Result<Extent> {
        Ok(Extent {
            wide: u.ratio(2, 3)?,
            for_wasmi: false,
            references: u.ratio(1, 2)?,
            tail_calls: u.ratio(1, 2)?,
            atomics: u.ratio(1, 3)?,
        })
    }

    /// The most parameters, results and further locals of a function.
    fn sizes(self, u: &mut Unstructured<'_>) -> Result<[usize; 3]> {
        if self.wide && u.ratio(1, 2)? {
            Ok([18, 14, 20])
        } else {
            Ok([6, 3, 8])
        }
    }
}

/// The type of a function.
#[derive(Clone, Debug)]
struct Sig {
    params: Vec<ValType>,
    results: Vec<ValType>,
}

fn encoder_type(ty: ValType) -> wasm_encoder::ValType {
    match ty {
        ValType::I32 => wasm_encoder::ValType::I32,
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        ValType::FUNCREF => wasm_encoder::ValType::FUNCREF,
        ValType::EXTERNREF => wasm_encoder::ValType::EXTERNREF,
        ValType::Ref(ty) => unreachable!("no program has {ty}"),
        ValType::V128 => wasm_encoder::ValType::V128,
    }
}

/// A valid module with functions, memories, a table of all functions and globals, everything exported.
pub(crate) fn module(u: &mut Unstructured<'_>, extent: Extent) -> Result<Vec<u8>> {
    let mut sigs = Vec::new();
    for _ in 0..u.int_in_range(2..=5)? {
        let [params, results, _] = extent.sizes(u)?;
        let params = some_types(u, params, extent)?;
        // Only functions with the same results can call one another in tail position.
        let results = if extent.tail_calls && !sigs.is_empty() && u.ratio(1, 2)? {
            let other: &Sig = u.choose(&sigs)?;
            other.results.clone()
        } else {
            some_types(u, results, extent)?
        };
        sigs.push(Sig { params, results });
    }
    let mut module = Module::new();
    let mut types = TypeSection::new();
    for sig in &sigs {
        let encoded =
            |types: &[ValType]| types.iter().map(|&ty| encoder_type(ty)).collect::<Vec<_>>();
        types
            .ty()
            .function(encoded(&sig.params), encoded(&sig.results));
    }
    // Type `sigs.len()` and later: blocks with parameters.
    let blocks = sigs.len() as u32;
    for ty in TYPES {
        types.ty().function([encoder_type(ty)], [encoder_type(ty)]);
    }
    module.section(&types);
    // Function `n` has the type `n`; the first is the host's.
    let mut imports = ImportSection::new();
    imports.import("host", "f", EntityType::Function(0));
    module.section(&imports);
    let mut funcs = FunctionSection::new();
    for ty in 1..blocks {
        funcs.function(ty);
    }
    module.section(&funcs);
    let count = u64::from(blocks);
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        minimum: count + 1,
        maximum: Some(count + 1),
        table64: false,
        shared: false,
    });
    if extent.references {
        reference::tables(&mut tables);
    }
    module.section(&tables);
    module.section(&memory::memories(extent));
    module.section(&globals());
    let mut exports = ExportSection::new();
    memory::exports(&mut exports, extent);
    for func in 1..blocks {
        exports.export(&format!("f{func}"), ExportKind::Func, func);
    }
    for global in 0..=4 {
        exports.export(&format!("g{global}"), ExportKind::Global, global);
    }
    if extent.references {
        reference::exports(&mut exports);
    }
    module.section(&exports);
    let mut elements = ElementSection::new();
    let items: Vec<u32> = (0..blocks).collect();
    elements.active(
        None,
        &ConstExpr::i32_const(0),
        Elements::Functions(items.into()),
    );
    if extent.references {
        reference::elements(&mut elements, blocks);
    }
    module.section(&elements);
    let data = extent.references.then(reference::data);
    if let Some(data) = &data {
        module.section(&DataCountSection { count: data.len() });
    }
    let mut code = CodeSection::new();
    for func in 1..sigs.len() {
        code.function(&Body::new(u, &sigs, func, extent)?.function()?);
    }
    module.section(&code);
    if let Some(data) = &data {
        module.section(data);
    }
    Ok(module.finish())
}

fn globals() -> GlobalSection {
    let mut globals = GlobalSection::new();
    let counter = ConstExpr::i32_const(STEPS);
    let inits = [
        (ValType::I32, counter),
        (ValType::I32, ConstExpr::i32_const(-1)),
        (ValType::I64, ConstExpr::i64_const(i64::MAX)),
        (ValType::F32, ConstExpr::f32_const(1.5.into())),
        (ValType::F64, ConstExpr::f64_const((-0.0).into())),
    ];
    for (ty, init) in inits {
        globals.global(
            GlobalType {
                val_type: encoder_type(ty),
                mutable: true,
                shared: false,
            },
            &init,
        );
    }
    globals
}

fn some_types(u: &mut Unstructured<'_>, most: usize, extent: Extent) -> Result<Vec<ValType>> {
    let ty = |u: &mut Unstructured<'_>| match extent.references && u.ratio(1, 8)? {
        true => reference::a_type(u),
        false => a_type(u),
    };
    (0..u.int_in_range(0..=most)?).map(|_| ty(u)).collect()
}

fn a_type(u: &mut Unstructured<'_>) -> Result<ValType> {
    // Integers are what addresses, conditions and counters are made of.
    Ok(*u.choose(&[
        ValType::I32,
        ValType::I32,
        ValType::I32,
        ValType::I64,
        ValType::I64,
        ValType::F32,
        ValType::F64,
    ])?)
}

/// Whether a result of this op can show the sign or the payload of a NaN.
fn shows_nans(op: NumOp) -> bool {
    matches!(
        op,
        NumOp::I32ReinterpretF32
            | NumOp::I64ReinterpretF64
            | NumOp::F32Copysign
            | NumOp::F64Copysign
    )
}

/// A function body that is being written.
struct Body<'a, 'u> {
    u: &'a mut Unstructured<'u>,
    sigs: &'a [Sig],
    sig: &'a Sig,
    extent: Extent,
    locals: Vec<ValType>,
    /// Locals that count loops; nothing else sets them.
    counters: Vec<u32>,
    /// What a branch to each enclosing label takes, innermost last.
    labels: Vec<Vec<ValType>>,
    /// How much may still be written.
    room: u32,
    bytes: Vec<u8>,
}

impl<'a, 'u> Body<'a, 'u> {
    fn new(
        u: &'a mut Unstructured<'u>,
        sigs: &'a [Sig],
        func: usize,
        extent: Extent,
    ) -> Result<Self> {
        let sig = &sigs[func];
        let mut locals = sig.params.clone();
        let [_, _, more] = extent.sizes(u)?;
        locals.extend(some_types(u, more, extent)?);
        let room = u.int_in_range(1..=120)?;
        let labels = vec![sig.results.clone()];
        Ok(Body {
            u,
            sigs,
            sig,
            extent,
            locals,
            counters: Vec::new(),
            labels,
            room,
            bytes: Vec::new(),
        })
    }

    /// Writes the whole body.
    fn function(mut self) -> Result<Function> {
        self.spend_step();
        self.statements(4)?;
        if self.extent.tail_calls && self.u.ratio(1, 2)? {
            self.tail_call(2)?;
        } else {
            for ty in self.sig.results.clone() {
                self.value(ty, 3)?;
            }
        }
        self.op(Instruction::End);
        let more = &self.locals[self.sig.params.len()..];
        let mut function = Function::new_with_locals_types(more.iter().map(|&ty| encoder_type(ty)));
        function.raw(self.bytes);
        Ok(function)
    }

    fn op(&mut self, op: Instruction<'_>) {
        op.encode(&mut self.bytes);
    }

    /// Traps when the counter is used up, else takes one from it.
    fn spend_step(&mut self) {
        self.op(Instruction::GlobalGet(COUNTER));
        self.op(Instruction::I32Eqz);
        self.op(Instruction::If(BlockType::Empty));
        self.op(Instruction::Unreachable);
        self.op(Instruction::End);
        self.op(Instruction::GlobalGet(COUNTER));
        self.op(Instruction::I32Const(1));
        self.op(Instruction::I32Sub);
        self.op(Instruction::GlobalSet(COUNTER));
    }

    /// Takes from the room; false when there is none.
    fn take(&mut self) -> bool {
        self.room = self.room.saturating_sub(1);
        self.room > 0
    }

    fn statements(&mut self, depth: u32) -> Result<()> {
        for _ in 0..self.u.int_in_range(0..=5)? {
            if !self.take() {
                break;
            }
            self.statement(depth)?;
        }
        Ok(())
    }

    /// Something that leaves the stack as it is.
    fn statement(&mut self, depth: u32) -> Result<()> {
        let nested = depth > 0;
        if self.extent.wide && nested && self.u.ratio(1, 5)? {
            return self.wide_statement(depth);
        }
        if self.extent.references && self.u.ratio(1, 6)? {
            return self.reference_statement(depth);
        }
        if self.extent.tail_calls && nested && self.u.ratio(1, 8)? {
            self.value(ValType::I32, depth)?;
            self.op(Instruction::If(BlockType::Empty));
            self.labels.push(Vec::new());
            self.tail_call(depth - 1)?;
            self.end_block();
            return Ok(());
        }
        if self.extent.atomics && self.u.ratio(1, 6)? {
            return self.atomic_statement(depth);
        }
        match self.u.int_in_range(0..=13)? {
            0..=3 => self.set_local(depth),
            4 => {
                let global = self.u.int_in_range(0..=3)?;
                self.value(TYPES[global], depth)?;
                self.op(Instruction::GlobalSet(global as u32 + 1));
                Ok(())
            }
            5 => self.store(depth),
            6 if nested => self.if_else(depth),
            7 | 8 if nested => self.counted_loop(depth),
            9 if nested => self.block(depth),
            10 => self.branch(depth),
            11 if nested => self.call(depth, None),
            12 => self.fill_or_copy(depth),
            _ => {
                let ty = a_type(self.u)?;
                self.value(ty, depth)?;
                self.op(Instruction::Drop);
                Ok(())
            }
        }
    }

    /// A local of a type, if there is one; those that count loops only for reading.
    fn local(&mut self, ty: ValType, write: bool) -> Result<Option<u32>> {
        let fits = |&index: &u32| {
            self.locals[index as usize] == ty && !(write && self.counters.contains(&index))
        };
        let fitting: Vec<u32> = (0..self.locals.len() as u32).filter(fits).collect();
        if fitting.is_empty() {
            Ok(None)
        } else {
            self.u.choose(&fitting).copied().map(Some)
        }
    }

    fn set_local(&mut self, depth: u32) -> Result<()> {
        let ty = a_type(self.u)?;
        self.value(ty, depth)?;
        match self.local(ty, true)? {
            Some(local) => self.op(Instruction::LocalSet(local)),
            None => self.op(Instruction::Drop),
        }
        Ok(())
    }

    fn if_else(&mut self, depth: u32) -> Result<()> {
        self.value(ValType::I32, depth)?;
        self.op(Instruction::If(BlockType::Empty));
        self.labels.push(Vec::new());
        self.statements(depth - 1)?;
        if self.u.arbitrary()? {
            self.op(Instruction::Else);
            self.statements(depth - 1)?;
        }
        self.end_block();
        Ok(())
    }

    fn end_block(&mut self) {
        self.labels.pop();
        self.op(Instruction::End);
    }

    fn block(&mut self, depth: u32) -> Result<()> {
        self.op(Instruction::Block(BlockType::Empty));
        self.labels.push(Vec::new());
        self.statements(depth - 1)?;
        self.end_block();
        Ok(())
    }

    /// A loop as a compiler has it: a local is counted, compared, and decides.
    fn counted_loop(&mut self, depth: u32) -> Result<()> {
        let wide = self.u.ratio(1, 4)?;
        let ty = if wide { ValType::I64 } else { ValType::I32 };
        let Some(local) = self.local(ty, true)? else {
            return Ok(());
        };
        let turns = self.u.int_in_range(1..=12)?;
        let up = self.u.arbitrary()?;
        let constant = |value: i32| match wide {
            true => Instruction::I64Const(value.into()),
            false => Instruction::I32Const(value),
        };
        self.op(constant(if up { 0 } else { turns }));
        self.op(Instruction::LocalSet(local));
        self.op(Instruction::Loop(BlockType::Empty));
        self.labels.push(Vec::new());
        self.counters.push(local);
        self.spend_step();
        self.statements(depth - 1)?;
        self.counters.pop();
        self.op(Instruction::LocalGet(local));
        self.op(constant(if up { 1 } else { -1 }));
        self.op(if wide {
            Instruction::I64Add
        } else {
            Instruction::I32Add
        });
        let tee = self.u.arbitrary()?;
        self.op(if tee {
            Instruction::LocalTee(local)
        } else {
            Instruction::LocalSet(local)
        });
        if !tee {
            self.op(Instruction::LocalGet(local));
        }
        self.op(constant(if up { turns } else { 0 }));
        let comparisons = match (wide, up) {
            (false, true) => [Instruction::I32Ne, Instruction::I32LtS, Instruction::I32LtU],
            (false, false) => [Instruction::I32Ne, Instruction::I32GtS, Instruction::I32GtU],
            (true, true) => [Instruction::I64Ne, Instruction::I64LtS, Instruction::I64LtU],
            (true, false) => [Instruction::I64Ne, Instruction::I64GtS, Instruction::I64GtU],
        };
        let comparison = self.u.choose(&comparisons)?.clone();
        self.op(comparison);
        self.op(Instruction::BrIf(0));
        self.end_block();
        Ok(())
    }

    /// A branch that is taken or not, to a label that takes nothing or to one that takes values.
    fn branch(&mut self, depth: u32) -> Result<()> {
        let label = self.u.choose_index(self.labels.len())?;
        let takes = self.labels[self.labels.len() - 1 - label].clone();
        for &ty in &takes {
            self.value(ty, depth.min(2))?;
        }
        if takes.is_empty() && self.u.ratio(1, 4)? {
            return self.branch_table(depth);
        }
        self.value(ValType::I32, depth)?;
        self.op(Instruction::BrIf(label as u32));
        takes.iter().for_each(|_| self.op(Instruction::Drop));
        Ok(())
    }

    /// A jump table within a block of its own, so that what follows it is reached.
    fn branch_table(&mut self, depth: u32) -> Result<()> {
        self.op(Instruction::Block(BlockType::Empty));
        self.labels.push(Vec::new());
        let empty = |label: &u32| self.labels[self.labels.len() - 1 - *label as usize].is_empty();
        let labels: Vec<u32> = (0..self.labels.len() as u32).filter(empty).collect();
        self.value(ValType::I32, depth.min(2))?;
        let mut targets = Vec::new();
        for _ in 0..self.u.int_in_range(0..=6)? {
            targets.push(*self.u.choose(&labels)?);
        }
        let default = if self.u.ratio(3, 4)? {
            0
        } else {
            *self.u.choose(&labels)?
        };
        self.op(Instruction::BrTable(targets.into(), default));
        self.end_block();
        Ok(())
    }

    /// A call; all results but one of type `wanted`, if that is asked for, are set to locals or dropped.
    fn call(&mut self, depth: u32, wanted: Option<ValType>) -> Result<()> {
        let gives = |sig: &Sig| wanted.is_none_or(|ty| sig.results.first() == Some(&ty));
        let callees: Vec<usize> = (0..self.sigs.len())
            .filter(|&callee| gives(&self.sigs[callee]))
            .collect();
        if callees.is_empty() {
            return wanted.map_or(Ok(()), |ty| self.value(ty, 0));
        }
        let callee = *self.u.choose(&callees)?;
        let (type_index, table_index) = (callee as u32, 0);
        let op = if self.call_operands(callee, depth)? {
            Instruction::CallIndirect {
                type_index,
                table_index,
            }
        } else {
            Instruction::Call(callee as u32)
        };
        self.op(op);
        let unwanted = usize::from(wanted.is_some());
        self.keep(&self.sigs[callee].results[unwanted..])
    }

    /// The end of the function in a call of one with the same results, itself perhaps.
    fn tail_call(&mut self, depth: u32) -> Result<()> {
        let fits = |callee: &usize| self.sigs[*callee].results == self.sig.results;
        let callees: Vec<usize> = (0..self.sigs.len()).filter(fits).collect();
        let callee = *self.u.choose(&callees)?;
        let (type_index, table_index) = (callee as u32, 0);
        let op = if self.call_operands(callee, depth)? {
            Instruction::ReturnCallIndirect {
                type_index,
                table_index,
            }
        } else {
            Instruction::ReturnCall(callee as u32)
        };
        self.op(op);
        Ok(())
    }

    /// The arguments of a call, and the index if it goes through the table, which this says.
    fn call_operands(&mut self, callee: usize, depth: u32) -> Result<bool> {
        let sigs = self.sigs;
        for &ty in &sigs[callee].params {
            self.value(ty, depth.saturating_sub(1))?;
        }
        if !self.u.ratio(1, 3)? {
            return Ok(false);
        }
        let right = self.u.ratio(7, 8)?;
        if right {
            self.op(Instruction::I32Const(callee as i32));
        } else {
            self.value(ValType::I32, 1)?;
        }
        Ok(true)
    }

    /// Takes values of these types from the stack, into locals where there are some.
    fn keep(&mut self, types: &[ValType]) -> Result<()> {
        for &ty in types.iter().rev() {
            match self.local(ty, true)? {
                Some(local) => self.op(Instruction::LocalSet(local)),
                None => self.op(Instruction::Drop),
            }
        }
        Ok(())
    }

    fn constant(&mut self, ty: ValType) -> Result<()> {
        let small = self.u.int_in_range(-3..=40)?;
        let edge = self.u.ratio(1, 4)?;
        match ty {
            ValType::I32 if edge => {
                let value = *self.u.choose(&[
                    i32::MIN,
                    i32::MAX,
                    0x7fff,
                    0x8000,
                    0xffff,
                    0x1_0000,
                    -0x8001,
                ])?;
                self.op(Instruction::I32Const(value));
            }
            ValType::I32 => self.op(Instruction::I32Const(small)),
            ValType::I64 if edge => {
                let value = *self.u.choose(&[
                    i64::MIN,
                    i64::MAX,
                    1 << 31,
                    1 << 32,
                    -(1 << 31),
                    0x7fff_ffff,
                ])?;
                self.op(Instruction::I64Const(value));
            }
            ValType::I64 => self.op(Instruction::I64Const(small.into())),
            ValType::F32 => {
                let value = if edge {
                    *self.u.choose(&[f32::INFINITY, -0.0, 2e9, 1e-40])?
                } else {
                    small as f32 / 2.0
                };
                self.op(Instruction::F32Const(value.into()));
            }
            _ => {
                let value = if edge {
                    *self.u.choose(&[f64::INFINITY, -0.0, 9e18, 1e-310])?
                } else {
                    f64::from(small) / 2.0
                };
                self.op(Instruction::F64Const(value.into()));
            }
        }
        Ok(())
    }

    /// An expression that leaves one value of type `ty`.
    fn value(&mut self, ty: ValType, depth: u32) -> Result<()> {
        if ty.is_ref() {
            return self.reference(ty, depth);
        }
        if depth == 0 || !self.take() {
            return match self.local(ty, false)? {
                Some(local) if self.u.ratio(2, 3)? => {
                    self.op(Instruction::LocalGet(local));
                    Ok(())
                }
                _ => self.constant(ty),
            };
        }
        let depth = depth - 1;
        match self.u.int_in_range(0..=17)? {
            0..=2 => match self.local(ty, false)? {
                Some(local) => {
                    self.op(Instruction::LocalGet(local));
                    Ok(())
                }
                None => self.constant(ty),
            },
            3 => self.constant(ty),
            4..=9 => self.numeric(ty, depth),
            10 => self.load(ty, depth),
            11 => self.select(ty, depth),
            12 => self.if_value(ty, depth),
            13 => self.block_value(ty, depth),
            14 => self.call(depth, Some(ty)),
            15 => {
                self.value(ty, depth)?;
                if let Some(local) = self.local(ty, true)? {
                    self.op(Instruction::LocalTee(local));
                }
                Ok(())
            }
            16 if ty == ValType::I32 && self.extent.references => self.table_number(depth),
            16 if ty == ValType::I32 => self.memory_size(),
            _ => {
                let global = TYPES
                    .iter()
                    .position(|&other| other == ty)
                    .unwrap_or_default() as u32
                    + 1;
                self.op(Instruction::GlobalGet(global));
                Ok(())
            }
        }
    }

    fn numeric(&mut self, ty: ValType, depth: u32) -> Result<()> {
        let fits = |op: &&NumOp| op.result() == ty && !shows_nans(**op);
        let mut ops: Vec<NumOp> = NumOp::ALL.iter().filter(fits).copied().collect();
        // What stops the program is seldom wanted.
        if self.u.ratio(7, 8)? {
            ops.retain(|op| !op.can_trap());
        }
        let op = *self.u.choose(&ops)?;
        for &param in op.params() {
            self.value(param, depth)?;
        }
        op.opcode().encode(&mut self.bytes);
        Ok(())
    }

    fn select(&mut self, ty: ValType, depth: u32) -> Result<()> {
        self.value(ty, depth)?;
        self.value(ty, depth)?;
        self.value(ValType::I32, depth)?;
        if self.u.arbitrary()? {
            self.op(Instruction::Select);
        } else {
            self.op(Instruction::TypedSelect(encoder_type(ty)));
        }
        Ok(())
    }

    fn if_value(&mut self, ty: ValType, depth: u32) -> Result<()> {
        self.value(ValType::I32, depth)?;
        self.op(Instruction::If(BlockType::Result(encoder_type(ty))));
        self.labels.push(vec![ty]);
        self.value(ty, depth)?;
        self.op(Instruction::Else);
        self.statements(depth.min(1))?;
        self.value(ty, depth)?;
        self.end_block();
        Ok(())
    }

    /// A block or a loop with a result, and perhaps with a parameter.
    fn block_value(&mut self, ty: ValType, depth: u32) -> Result<()> {
        let position = TYPES
            .iter()
            .position(|&other| other == ty)
            .unwrap_or_default();
        let with_param = BlockType::FunctionType((self.sigs.len() + position) as u32);
        match self.u.int_in_range(0..=2)? {
            0 => {
                self.op(Instruction::Block(BlockType::Result(encoder_type(ty))));
                self.labels.push(vec![ty]);
                self.statements(depth.min(2))?;
                self.value(ty, depth)?;
            }
            1 => {
                self.value(ty, depth)?;
                self.op(Instruction::Block(with_param));
                self.labels.push(vec![ty]);
                self.value(ValType::I32, depth)?;
                self.op(Instruction::BrIf(0));
            }
            _ => {
                self.value(ty, depth)?;
                self.op(Instruction::Loop(with_param));
                self.labels.push(vec![ty]);
                self.spend_step();
                if let Some(local) = self.local(ty, true)? {
                    self.op(Instruction::LocalTee(local));
                }
                self.value(ValType::I32, depth)?;
                self.op(Instruction::BrIf(0));
            }
        }
        self.end_block();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arbitrary::Unstructured;

    use super::{Extent, module};
    use crate::input::Random;

    #[test]
    fn programs_of_the_whole_language_are_valid() {
        let extent = Extent {
            wide: true,
            for_wasmi: false,
            references: true,
            tail_calls: true,
            atomics: true,
        };
        let mut random = Random(1);
        for number in 0..3000 {
            let bytes: Vec<u8> = (0..400).flat_map(|_| random.next().to_le_bytes()).collect();
            let program =
                module(&mut Unstructured::new(&bytes), extent).expect("there are bytes enough");
            let module = tiered::decode::Module::new(program);
            assert!(module.is_ok(), "{number}: {:?}", module.err());
        }
    }
}
