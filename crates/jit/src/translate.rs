//! From a validated body to Cranelift's intermediate form, from the function's start or from one of its loops.
//!
//! One pass over the ops. Operands are Cranelift values on a stack of our own; locals are variables of Cranelift's
//! front end, which finds out where their values meet. What a branch takes along goes through variables too, the
//! *carriers*: one for each place and type, set right before a branch and read right behind its label ([`carrier`]).
//!
//! * *Invariant:* code is relative to the instance alone: there is no address in it, and nothing to relocate. So it serves
//!   every instance of the module, and could stand anywhere.
//! * *Invariant:* every instruction carries the byte of the module that it comes from: traps and back traces have no
//!   other source.
//! * *Invariant:* a value of type `i8` on the operand stack is a comparison's result. [`Translator::pop`] makes an `i32`
//!   of it, a branch takes it as it is.
//! * *Invariant:* a loop can be entered from a frame of the first tier: see [`resume`].
//! * *Invariant:* time and memory are bounded by a multiple of the body, not by products of what is in it. What would
//!   not be compiled is not translated to its end: it is given up as soon as what there is so far is too much
//!   ([`Translator::check_memory`]).
//!
//! # Why no second validator
//! The values carry their types, labels carry theirs, and behind an unconditional branch only the nesting of blocks is
//! looked at.

mod access;
mod atomic;
mod bounds;
mod bulk;
mod call;
mod carrier;
mod cast;
mod control;
mod exception;
mod field;
mod memory;
mod object;
mod resume;
mod table;
mod variable;
mod vector;
mod visit;

#[cfg(test)]
mod tests;

use cranelift_codegen::ir::types::{F32, F64, I8, I8X16, I32, I64};
use cranelift_codegen::ir::{
    self, GlobalValueData, InstBuilder, MemFlagsData, SourceLoc, StackSlotData, StackSlotKind,
    Type, UserFuncName, Value,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use tiered_decode::index::{FuncIdx, TagIdx, TypeIdx};
use tiered_decode::module::{BodyHints, FuncBody};
use tiered_decode::types::ValType;
use tiered_decode::vector::Relaxed;
use tiered_decode::{Module, wasmparser};
use tiered_runtime::frame::FrameLayout;
use tiered_runtime::layout::{VmLayout, offsets};
use tiered_runtime::native_stack;

use crate::abi::{clif_type, loop_signature, results_in_memory, signature};
use crate::cost::{Work, is_translatable};
use crate::error::CompileError;

use access::Access;
use bounds::Reached;
use call::Callees;
use carrier::{Carriers, Variables};
use control::Frame;
use exception::Pads;
use resume::Resume;

/// A body has at most this many bytes: more takes Cranelift seconds.
const MAX_BODY_BYTES: usize = 2 << 20;

/// There are at most this many values: more virtual registers than this and the register allocator refuses.
const MAX_VALUES: usize = 1 << 21;

/// There are at most this many locals: Cranelift takes time that grows with the square of those that a loop carries.
const MAX_LOCALS: usize = 4_000;

/// Values times locals are at most this: all that a loop only seems to carry is taken out of a list of the loop's, which
/// takes a time that grows with the list, each time.
const MAX_CARRIED: usize = 1 << 31;

/// There are at most this many blocks: the front end clears a set of all blocks at each `br_table`.
const MAX_BLOCKS: usize = 1 << 17;

/// Loops are nested at most this deep: Cranelift looks at all loops around an instruction.
const MAX_OPEN_LOOPS: u32 = 1000;

/// What compiling takes is looked at again when there are this many more values and instructions, at least.
const ESTIMATE_EACH: usize = 4096;

/// Where compiled code is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// At the function's start, with its arguments.
    Start,
    /// At the header of a loop, with a frame of the first tier.
    Loop {
        /// The byte of the `loop` instruction, from the start of the module.
        offset: u32,
    },
}

/// What to translate.
#[derive(Clone, Copy)]
pub(crate) struct Job<'m> {
    /// The module.
    pub(crate) module: &'m Module,
    /// The function.
    pub(crate) func: FuncIdx,
    /// Where it is entered.
    pub(crate) entry: Entry,
    /// Count fuel.
    pub(crate) metered: bool,
    /// [`Config::spectre_guards`](crate::Config::spectre_guards).
    pub(crate) spectre_guards: bool,
    /// [`Config::relaxed`](crate::Config::relaxed).
    pub(crate) relaxed: Relaxed,
    /// Bytes of memory that the compile may be foreseen to take.
    pub(crate) bytes: usize,
}

/// What is known of a body once it is translated.
#[derive(Debug)]
pub(crate) struct Translated {
    /// The types of all functions that it calls, each once.
    pub(crate) callees: Vec<TypeIdx>,
    /// It calls itself, directly.
    pub(crate) calls_itself: bool,
    /// How many definitions of variables the front end had room for.
    pub(crate) definitions: usize,
}

/// What a body calls.
#[derive(Clone, Copy, Default)]
struct Calls {
    /// Functions that return to it.
    any: bool,
    /// Itself, directly, whether or not it returns to it.
    itself: bool,
}

impl Calls {
    /// Looks through the body of `func`.
    fn of(body: &FuncBody<'_>, func: FuncIdx) -> Result<Calls, CompileError> {
        let mut calls = Calls::default();
        let mut ops = body.ops();
        while !ops.eof() {
            match ops.read().map_err(unreadable)? {
                wasmparser::Operator::Call { function_index } => {
                    calls.any = true;
                    calls.itself |= function_index == func.0;
                }
                wasmparser::Operator::CallIndirect { .. }
                | wasmparser::Operator::CallRef { .. } => calls.any = true,
                // Nothing of the function is left while the callee runs.
                wasmparser::Operator::ReturnCall { function_index } => {
                    calls.itself |= function_index == func.0;
                }
                _ => {}
            }
        }
        Ok(calls)
    }
}

/// Translates a body into `func`, which is empty.
///
/// If this panics, `context` must not be used again.
pub(crate) fn translate(
    job: &Job<'_>,
    isa: &dyn TargetIsa,
    context: &mut FunctionBuilderContext,
    func: &mut ir::Function,
) -> Result<Translated, CompileError> {
    let translated = translate_body(job, isa, context, func);
    if translated.is_err() {
        // It still has what the translation left behind, and nothing else clears it.
        *context = FunctionBuilderContext::new();
    }
    translated
}

fn translate_body(
    job: &Job<'_>,
    isa: &dyn TargetIsa,
    context: &mut FunctionBuilderContext,
    func: &mut ir::Function,
) -> Result<Translated, CompileError> {
    let body = job.module.body(job.func).ok_or(CompileError::NoBody)?;
    if body.len() > MAX_BODY_BYTES {
        return Err(CompileError::TooLarge);
    }
    let ty = job.module.func_type(job.func);
    func.name = UserFuncName::user(0, job.func.0);
    func.signature = match job.entry {
        Entry::Start => signature(ty)?,
        Entry::Loop { .. } => loop_signature(ty)?,
    };
    declare_stack_limit(func);
    let mut translator = Translator::new(job, isa, FunctionBuilder::new(func, context));
    let calls = Calls::of(&body, job.func)?;
    translator.has_calls = calls.any;
    translator.begin(job, &body)?;
    if calls.any {
        pad_frame(translator.builder.func, &translator.frame);
    }
    translator.run(&body)?;
    if let Some(resume) = &translator.resume
        && !resume.is_entered()
    {
        return Err(resume::NO_LOOP);
    }
    translator.builder.finalize(isa.frontend_config());
    Ok(Translated {
        definitions: translator.variables.definitions(),
        callees: translator.callees.into_types(),
        calls_itself: calls.itself,
    })
}

/// Has the function's first instructions compare the stack pointer with the word that the instance leads to.
fn declare_stack_limit(func: &mut ir::Function) {
    let flags = func.dfg.mem_flags.insert_unchecked(MemFlagsData::trusted());
    let vmctx = func.create_global_value(GlobalValueData::VMContext);
    let mut load = |base, offset: i32| {
        func.create_global_value(GlobalValueData::Load {
            base,
            offset: offset.into(),
            global_type: I64,
            flags,
        })
    };
    let guard = load(vmctx, offsets::VMCTX_STACK_GUARD);
    let limit = load(guard, 0);
    func.stack_limit = Some(limit);
}

/// Gives a frame that may hold little the size that the depth of recursion asks for ([`native_stack`]): there may be
/// many locals that are never live at a call. Small frames are left as they are, for they have few.
fn pad_frame(func: &mut ir::Function, frame: &FrameLayout) {
    /// A return address and a frame pointer, which every frame has.
    const OWN_BYTES: u32 = 16;
    let bytes = native_stack::least_frame(frame.operands());
    if bytes > OWN_BYTES {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes - OWN_BYTES, 3);
        func.create_sized_stack_slot(slot);
    }
}

fn unreadable<E>(_: E) -> CompileError {
    CompileError::Unsupported("a body that can't be read")
}

/// The state of a translation.
struct Translator<'a, 'm> {
    /// The frame that the first tier would have.
    frame: FrameLayout,
    module: &'m Module,
    isa: &'a dyn TargetIsa,
    layout: VmLayout,
    builder: FunctionBuilder<'a>,
    access: Access,
    /// The instance.
    vmctx: Value,
    /// The store's context.
    store: Value,
    /// Byte 0 of memory 0, if there is one.
    memory_base: Option<Value>,
    /// Where the results go, if not into registers.
    results: Option<Value>,
    result_count: usize,
    variables: Variables,
    locals: Vec<carrier::Carrier>,
    carriers: Carriers,
    reached: Reached,
    stack: Vec<Value>,
    control: Vec<Frame<'m>>,
    /// How many of these are loops.
    open_loops: u32,
    /// Parameters of the `if`s that are open, for their `else`.
    kept: Vec<Value>,
    pads: Pads,
    callees: Callees,
    /// Room for the arguments of a call.
    arguments: Vec<Value>,
    metered: bool,
    spectre_guards: bool,
    relaxed: Relaxed,
    /// [`Job::bytes`].
    bytes: usize,
    /// How many values and instructions there are when it is looked next at what compiling them takes.
    next_estimate: usize,
    /// The body calls functions.
    has_calls: bool,
    /// There was a vector on the stack.
    has_vectors: bool,
    /// The loop that is to be entered, if any.
    resume: Option<Resume>,
    reachable: bool,
    /// Blocks begun since the code became unreachable.
    skipped: u32,
    /// The stores so far that can trap.
    stores: u32,
    /// The byte of the present instruction.
    offset: u32,
    /// Which branches are likely.
    hints: BodyHints<'m>,
}

impl<'a, 'm> Translator<'a, 'm> {
    fn new(
        job: &Job<'m>,
        isa: &'a dyn TargetIsa,
        mut builder: FunctionBuilder<'a>,
    ) -> Translator<'a, 'm> {
        let access = Access::new(builder.func);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let vmctx = builder.block_params(entry)[0];
        let in_memory = results_in_memory(job.module.func_type(job.func));
        let results = builder.block_params(entry).last().copied();
        let results = results.filter(|_| in_memory);
        // What is never used of these leaves no instruction behind.
        let mut load = |offset: i32| builder.ins().load(I64, access.fixed, vmctx, offset);
        let store = load(offsets::VMCTX_STORE);
        let has_memory = !job.module.memories().is_empty();
        let memory_base = has_memory.then(|| load(offsets::VMCTX_MEMORY_BASE));
        Translator {
            frame: FrameLayout::new(0, 0),
            module: job.module,
            isa,
            layout: VmLayout::new(job.module),
            builder,
            access,
            vmctx,
            store,
            memory_base,
            results,
            result_count: job.module.func_type(job.func).results.len(),
            variables: Variables::default(),
            locals: Vec::new(),
            carriers: Carriers::default(),
            reached: Reached::default(),
            stack: Vec::new(),
            control: Vec::new(),
            open_loops: 0,
            kept: Vec::new(),
            pads: Pads::default(),
            callees: Callees::default(),
            arguments: Vec::new(),
            metered: job.metered,
            spectre_guards: job.spectre_guards,
            relaxed: job.relaxed,
            bytes: job.bytes,
            next_estimate: 0,
            has_calls: false,
            has_vectors: false,
            resume: None,
            reachable: true,
            skipped: 0,
            stores: 0,
            offset: 0,
            hints: job.module.branch_hints(job.func),
        }
    }

    /// Declares the locals and goes to where the ops begin.
    fn begin(&mut self, job: &Job<'m>, body: &FuncBody<'m>) -> Result<(), CompileError> {
        let ty = job.module.func_type(job.func);
        self.control.push(Frame::body(&ty.results));
        let mut types = ty.params.to_vec();
        for (count, ty) in body.locals() {
            types.extend(std::iter::repeat_n(ty, count as usize));
        }
        if types.len() > MAX_LOCALS {
            return Err(CompileError::TooLarge);
        }
        for &ty in &types {
            self.declare_local(ty)?;
        }
        self.frame = FrameLayout::of(ty.params.len(), &types);
        match job.entry {
            Entry::Start => self.set_locals(ty.params.len()),
            Entry::Loop { offset } => self.begin_resume(body, offset, ty.params.len())?,
        }
        Ok(())
    }

    fn declare_local(&mut self, ty: ValType) -> Result<(), CompileError> {
        let local = self.variables.declare(&mut self.builder, clif_type(ty)?);
        self.locals.push(local);
        Ok(())
    }

    /// Gives the locals the values that a call starts with.
    fn set_locals(&mut self, params: usize) {
        // Five types at most: the zeros are found by looking.
        let mut zeros: Vec<(Type, Value)> = Vec::with_capacity(5);
        let entry = self.builder.current_block();
        for index in 0..self.locals.len() {
            let ty = self.locals[index].ty();
            let value = if index < params {
                let params = entry.map_or(&[][..], |entry| self.builder.block_params(entry));
                params[index + 2]
            } else if let Some(&(_, zero)) = zeros.iter().find(|&&(known, _)| known == ty) {
                zero
            } else {
                let zero = self.zero(ty);
                zeros.push((ty, zero));
                zero
            };
            self.variables
                .set(&mut self.builder, &mut self.locals[index], value);
        }
    }

    fn zero(&mut self, ty: Type) -> Value {
        match ty {
            F32 => self.builder.ins().f32const(0.0),
            F64 => self.builder.ins().f64const(0.0),
            I8X16 => self.vector(0),
            I32 | I64 => self.builder.ins().iconst(ty, 0),
            other => unreachable!("no local is of type {other}"),
        }
    }

    fn run(&mut self, body: &FuncBody<'m>) -> Result<(), CompileError> {
        let mut ops = body.ops();
        while !ops.eof() {
            self.offset = ops.original_position() as u32;
            if self.reachable {
                self.builder.set_srcloc(SourceLoc::new(self.offset));
                ops.visit_operator(self).map_err(unreadable)??;
                self.check_proportion()?;
            } else {
                self.skip(&ops.read().map_err(unreadable)?)?;
            }
        }
        Ok(())
    }

    /// No single instruction adds much, so it is enough to look behind each. A stack that is deeper than what the
    /// interpreter's instructions reach is left to it: that many values at once take a compiler too long.
    fn check_proportion(&mut self) -> Result<(), CompileError> {
        let dfg = &self.builder.func.dfg;
        // With vectors, as if all were: the interpreter is asked rather too early than too late.
        let width = if self.has_vectors { 2 } else { 1 };
        let end = self.frame.operands() + self.stack.len() as u32 * width;
        let small = FrameLayout::is_near(end + 1)
            && self.frame.slots(end).is_some()
            && dfg.num_values() <= MAX_VALUES
            && dfg.num_values() * self.locals.len() <= MAX_CARRIED
            && dfg.num_blocks() <= MAX_BLOCKS
            && self.kept.len() <= MAX_VALUES
            && self.open_loops <= MAX_OPEN_LOOPS;
        if !small {
            return Err(CompileError::TooLarge);
        }
        self.check_memory(0)
    }

    /// Gives up if this has taken its part of the memory already, with room for `more` values in lists, or if compiling
    /// what there is takes too much.
    fn check_memory(&mut self, more: usize) -> Result<(), CompileError> {
        let (dfg, definitions) = (&self.builder.func.dfg, self.variables.definitions());
        if !is_translatable(dfg, definitions, more, self.bytes) {
            return Err(CompileError::TooLarge);
        }
        let made = dfg.num_values() + dfg.num_insts();
        if made >= self.next_estimate {
            self.next_estimate = made + made / 8 + ESTIMATE_EACH;
            self.check_targets(0)?;
        }
        Ok(())
    }

    /// Gives up if a jump table of this many targets takes too much: it is the one instruction that is longer than others.
    fn check_targets(&self, targets: u32) -> Result<(), CompileError> {
        let (dfg, definitions) = (&self.builder.func.dfg, self.variables.definitions());
        let work = Work {
            targets: targets.into(),
            ..Work::so_far(dfg, definitions)
        };
        if work.may_be_compiled(self.bytes) {
            Ok(())
        } else {
            Err(CompileError::TooLarge)
        }
    }

    /// An instruction that can't be reached: only the nesting of blocks matters.
    fn skip(&mut self, op: &wasmparser::Operator<'_>) -> Result<(), CompileError> {
        use wasmparser::Operator;
        match op {
            Operator::Loop { .. }
            | Operator::Block { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. } => {
                self.skipped += 1;
            }
            Operator::Catch { tag_index } if self.skipped == 0 => {
                self.builder.set_srcloc(SourceLoc::new(self.offset));
                self.op_catch(Some(TagIdx(*tag_index)))?;
                self.check_proportion()?;
            }
            Operator::CatchAll if self.skipped == 0 => {
                self.builder.set_srcloc(SourceLoc::new(self.offset));
                self.op_catch(None)?;
                self.check_proportion()?;
            }
            Operator::Delegate { relative_depth } if self.skipped == 0 => {
                self.builder.set_srcloc(SourceLoc::new(self.offset));
                self.op_delegate(*relative_depth)?;
                self.check_proportion()?;
            }
            Operator::Else if self.skipped == 0 => {
                self.builder.set_srcloc(SourceLoc::new(self.offset));
                self.op_else();
            }
            Operator::End if self.skipped == 0 => {
                self.builder.set_srcloc(SourceLoc::new(self.offset));
                self.op_end()?;
                self.check_proportion()?;
            }
            Operator::End | Operator::Delegate { .. } => self.skipped -= 1,
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.has_vectors |= self.builder.func.dfg.value_type(value).is_vector();
        self.stack.push(value);
    }

    /// Takes the top operand off, a comparison's result as it is.
    fn pop_condition(&mut self) -> Value {
        self.stack.pop().expect("a valid body has its operands")
    }

    /// Takes the top operand off.
    fn pop(&mut self) -> Value {
        let value = self.pop_condition();
        self.widened(value)
    }

    /// The value as one that WebAssembly has.
    fn widened(&mut self, value: Value) -> Value {
        if self.builder.func.dfg.value_type(value) == I8 {
            self.builder.ins().uextend(I32, value)
        } else {
            value
        }
    }

    /// Makes values that WebAssembly has of the operands from `from` on.
    fn widen_from(&mut self, from: usize) {
        for index in from..self.stack.len() {
            self.stack[index] = self.widened(self.stack[index]);
        }
    }

    /// Loads 64 bits that never change.
    fn fixed(&mut self, base: Value, offset: i32) -> Value {
        self.builder
            .ins()
            .load(I64, self.access.fixed, base, offset)
    }

    /// Takes the top operand off and makes 64 bits of it.
    fn pop_u32(&mut self) -> Value {
        let value = self.pop();
        self.builder.ins().uextend(I64, value)
    }
}
