//! Modules as compilers make them: locals, counted loops, branches that depend on comparisons, addresses with offsets.
//!
//! `wasm-smith` seldom makes these, and they are what the tiers have special instructions for. Every op of the tables of
//! numeric ops and memory accesses can come; no NaN's sign or payload can be seen, so that engines may be compared.
//!
//! *Invariant:* a counter in a global stops every program at the same place in every engine.

mod atomic;
mod call;
mod cast;
mod control;
mod count;
mod exception;
mod memory;
mod object;
mod reference;
mod sections;
mod types;
mod wide;

use arbitrary::{Result, Unstructured};
use tiered::decode::numeric::NumOp;
use wasm_encoder::{BlockType, CodeSection, Encode, Function, Instruction, ValType as Ty};

use sections::Globals;
use types::{NUMBERS, Sig, Types, a_number, number};

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
    /// References to functions of a known type, and calls of them.
    pub(crate) function_references: bool,
    /// Tags, exceptions that are thrown and caught, and references to them.
    pub(crate) exceptions: bool,
    /// Structures, arrays and integers of 31 bits, and casts. Only with `references`.
    pub(crate) objects: bool,
    /// Counts how often each of [`count::COUNTED`] is executed, in exported globals.
    pub(crate) counts: bool,
}

impl Extent {
    /// Any extent.
    pub(crate) fn any(u: &mut Unstructured<'_>) -> Result<Extent> {
        let extent = Extent {
            wide: u.ratio(2, 3)?,
            references: u.ratio(1, 2)?,
            tail_calls: u.ratio(1, 2)?,
            atomics: u.ratio(1, 3)?,
            function_references: u.ratio(1, 2)?,
            exceptions: u.ratio(1, 3)?,
            ..Extent::default()
        };
        Ok(Extent {
            objects: extent.references && u.ratio(2, 3)?,
            ..extent
        })
    }

    /// Without what wasmi does not know or gets wrong.
    #[cfg(feature = "oracle")]
    pub(crate) fn for_wasmi(self) -> Extent {
        Extent {
            for_wasmi: true,
            atomics: false,
            function_references: false,
            exceptions: false,
            objects: false,
            ..self
        }
    }

    /// The most parameters, results and further locals of a function.
    fn sizes(self, u: &mut Unstructured<'_>) -> Result<[usize; 3]> {
        if self.wide && u.ratio(1, 2)? {
            Ok([18, 14, 20])
        } else {
            Ok([6, 3, 8])
        }
    }

    /// Whether there are types of references at all.
    fn has_references(self) -> bool {
        self.references || self.function_references || self.exceptions
    }
}

/// A valid module with functions, memories, a table of all functions and globals, everything exported.
pub(crate) fn module(u: &mut Unstructured<'_>, extent: Extent) -> Result<Vec<u8>> {
    let types = Types::any(u, extent)?;
    let tags = exception::some_tags(u, &types, extent)?;
    let globals = Globals::new(&types, extent);
    let program = Program {
        types: &types,
        tags: &tags,
        globals: &globals,
        extent,
    };
    let mut code = CodeSection::new();
    for func in 1..types.sigs.len() {
        code.function(&Body::new(u, program, func)?.function()?);
    }
    Ok(program.module(&code))
}

/// What all bodies of a module know.
#[derive(Clone, Copy)]
struct Program<'a> {
    types: &'a Types,
    /// What exceptions of each tag carry.
    tags: &'a [Vec<Ty>],
    globals: &'a Globals,
    extent: Extent,
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

/// What a local is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// To be read as a value of a type.
    Get,
    /// To be set to a value of a type.
    Set,
    /// To be set to a value of a type, and to leave it.
    Tee,
}

/// A function body that is being written.
struct Body<'a, 'u> {
    u: &'a mut Unstructured<'u>,
    types: &'a Types,
    tags: &'a [Vec<Ty>],
    globals: &'a Globals,
    sig: &'a Sig,
    extent: Extent,
    locals: Vec<Ty>,
    /// Locals that count loops; nothing else sets them.
    counters: Vec<u32>,
    /// What a branch to each enclosing label takes, innermost last.
    labels: Vec<Vec<Ty>>,
    /// How much may still be written.
    room: u32,
    bytes: Vec<u8>,
}

impl<'a, 'u> Body<'a, 'u> {
    fn new(u: &'a mut Unstructured<'u>, program: Program<'a>, func: usize) -> Result<Self> {
        let Program {
            types,
            tags,
            globals,
            extent,
        } = program;
        let sig = &types.sigs[func];
        let mut locals = sig.params.clone();
        let [_, _, more] = extent.sizes(u)?;
        locals.extend(types.some(u, more, true)?);
        let room = u.int_in_range(1..=120)?;
        let labels = vec![sig.results.clone()];
        Ok(Body {
            u,
            types,
            tags,
            globals,
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
            for &ty in &self.sig.results {
                self.value(ty, 3)?;
            }
        }
        self.op(Instruction::End);
        let more = &self.locals[self.sig.params.len()..];
        let mut function = Function::new_with_locals_types(more.iter().copied());
        function.raw(self.bytes);
        Ok(function)
    }

    fn op(&mut self, op: Instruction<'_>) {
        if self.extent.counts {
            self.count_executed(&op);
        }
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
        if self.extent.objects && self.u.ratio(1, 4)? {
            return self.object_statement(depth);
        }
        if self.extent.references && self.u.ratio(1, 6)? {
            return self.reference_statement(depth);
        }
        if self.extent.exceptions && nested && self.u.ratio(1, 6)? {
            return self.exception_statement(depth);
        }
        if self.extent.tail_calls && nested && self.u.ratio(1, 8)? {
            return self.if_tail_call(depth);
        }
        if self.extent.atomics && self.u.ratio(1, 6)? {
            return self.atomic_statement(depth);
        }
        match self.u.int_in_range(0..=13)? {
            0..=3 => self.set_local(depth),
            4 => {
                let global = self.u.int_in_range(0..=3)?;
                self.value(NUMBERS[global], depth)?;
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
                let ty = a_number(self.u)?;
                self.value(ty, depth)?;
                self.op(Instruction::Drop);
                Ok(())
            }
        }
    }

    /// A local for a use, if there is one; those that count loops only for reading.
    fn local(&mut self, ty: Ty, way: Use) -> Result<Option<u32>> {
        let fits = |&index: &u32| {
            let local = self.locals[index as usize];
            let fits = match way {
                Use::Get => self.types.is_sub(local, ty),
                Use::Set => self.types.is_sub(ty, local),
                Use::Tee => local == ty,
            };
            fits && (way == Use::Get || !self.counters.contains(&index))
        };
        let fitting: Vec<u32> = (0..self.locals.len() as u32).filter(fits).collect();
        if fitting.is_empty() {
            Ok(None)
        } else {
            self.u.choose(&fitting).copied().map(Some)
        }
    }

    fn set_local(&mut self, depth: u32) -> Result<()> {
        let ty = a_number(self.u)?;
        self.value(ty, depth)?;
        self.keep(&[ty])
    }

    /// Takes values of these types from the stack, into locals where there are some.
    fn keep(&mut self, types: &[Ty]) -> Result<()> {
        for &ty in types.iter().rev() {
            match self.local(ty, Use::Set)? {
                Some(local) => self.op(Instruction::LocalSet(local)),
                None => self.op(Instruction::Drop),
            }
        }
        Ok(())
    }

    fn constant(&mut self, ty: Ty) -> Result<()> {
        let small = self.u.int_in_range(-3..=40)?;
        let edge = self.u.ratio(1, 4)?;
        match ty {
            Ty::I32 if edge => {
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
            Ty::I32 => self.op(Instruction::I32Const(small)),
            Ty::I64 if edge => {
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
            Ty::I64 => self.op(Instruction::I64Const(small.into())),
            Ty::F32 => {
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
    fn value(&mut self, ty: Ty, depth: u32) -> Result<()> {
        if let Ty::Ref(ty) = ty {
            return self.reference(ty, depth);
        }
        if depth == 0 || !self.take() {
            return match self.local(ty, Use::Get)? {
                Some(local) if self.u.ratio(2, 3)? => {
                    self.op(Instruction::LocalGet(local));
                    Ok(())
                }
                _ => self.constant(ty),
            };
        }
        let depth = depth - 1;
        if self.extent.objects && self.u.ratio(1, 4)? {
            return self.number_of_object(ty, depth);
        }
        match self.u.int_in_range(0..=17)? {
            0..=2 => match self.local(ty, Use::Get)? {
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
            13 if self.extent.exceptions && self.u.ratio(1, 2)? => self.try_value(ty, depth),
            13 => self.block_value(ty, depth),
            14 => self.call(depth, Some(ty)),
            15 => {
                self.value(ty, depth)?;
                if let Some(local) = self.local(ty, Use::Tee)? {
                    self.op(Instruction::LocalTee(local));
                }
                Ok(())
            }
            16 if ty == Ty::I32 && self.extent.references => self.table_number(depth),
            16 if ty == Ty::I32 => self.memory_size(),
            _ => {
                let position = NUMBERS.iter().position(|&other| other == ty);
                let global = position.unwrap_or_default() as u32 + 1;
                self.op(Instruction::GlobalGet(global));
                Ok(())
            }
        }
    }

    fn values(&mut self, types: &[Ty], depth: u32) -> Result<()> {
        types.iter().try_for_each(|&ty| self.value(ty, depth))
    }

    fn numeric(&mut self, ty: Ty, depth: u32) -> Result<()> {
        let fits = |op: &&NumOp| number(op.result()) == ty && !shows_nans(**op);
        let mut ops: Vec<NumOp> = NumOp::ALL.iter().filter(fits).copied().collect();
        // What stops the program is seldom wanted.
        if self.u.ratio(7, 8)? {
            ops.retain(|op| !op.can_trap());
        }
        let op = *self.u.choose(&ops)?;
        for &param in op.params() {
            self.value(number(param), depth)?;
        }
        op.opcode().encode(&mut self.bytes);
        Ok(())
    }

    fn select(&mut self, ty: Ty, depth: u32) -> Result<()> {
        self.value(ty, depth)?;
        self.value(ty, depth)?;
        self.value(Ty::I32, depth)?;
        if !matches!(ty, Ty::Ref(_)) && self.u.arbitrary()? {
            self.op(Instruction::Select);
        } else {
            self.op(Instruction::TypedSelect(ty));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
