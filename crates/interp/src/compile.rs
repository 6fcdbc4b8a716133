//! From a validated body to the stream of cells that the handlers run.
//!
//! One pass over the ops, after a look ahead at the loops ([`scan`]). Operands are not copied when they are pushed:
//! the stack ([`stack`]) remembers where each is, and the instruction that takes it names that place. Results go to
//! an accumulator first; whoever needs them elsewhere changes the producer's destination ([`emit`]).
//!
//! * *Invariant:* at every label each operand is in its own slot, and nothing is known of the accumulators. So a
//!   frame at a loop header is complete without registers.
//! * *Invariant:* the bytecode depends on the module alone, so all its instances share it; translating again gives as
//!   many words for each instruction, from which the byte of the module is found when a back trace needs it
//!   ([`offsets_of`]).
//! * *Invariant:* in front of a loop's header stands the address of its [`LoopCode`], and a back edge knows what an
//!   iteration costs.
//!
//! # Why no table of places
//! Back traces are rare and functions many: translating one function again costs less than keeping a table for all.

mod any_memory;
mod atomic;
mod cost;
mod dump;
mod emit;
mod exception;
mod far;
mod ops;
mod reference;
mod scan;
mod stack;
mod unreachable;
mod vector;
mod visit;

use std::cell::Cell;
use std::collections::HashMap;
use std::ptr::NonNull;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::types::ValType;
use tiered_decode::wasmparser;
use tiered_runtime::code::{FuncCode, LoopCode};
use tiered_runtime::frame::FrameLayout;
use tiered_runtime::module_code::{Bytecode, ModuleCode};
use tiered_runtime::vmctx::StoreCtx;

use crate::call::{HUGE_FRAME, HUGE_FRAME_WORDS, LARGE_FRAME, zero_handler};
use crate::control::{
    JUMP, RETURN_NOTHING, UNREACHABLE, loop_entry, return_handler, table_handler,
};
use crate::exec::enter_loop;
use crate::numeric::{ConditionFamily, condition_handlers};
use crate::operand::{Bank, Class, Dest};
use crate::regs::Handler;
use crate::trampoline::ENTER;

use cost::{LoopSite, OpenLoop, Weight};
pub(crate) use dump::dump;
use emit::{Immediates, fields};
use exception::Regions;
use scan::LoopPlan;
use stack::OperandStack;

/// What a translation needs room for, besides what it returns: code, relocations, types of locals.
type Buffers = (Vec<u64>, Vec<u32>, Vec<ValType>);

thread_local! {
    /// Those of the last translation: pages that the kernel need not clear again.
    static BUFFERS: Cell<Buffers> = const { Cell::new((Vec::new(), Vec::new(), Vec::new())) };
}

/// Buffers that are larger than this are given back.
const MAX_KEPT_WORDS: usize = 1 << 20;

/// The most words that a body's code may have, and how many more for each of its bytes: the code of a hostile
/// body could otherwise be large out of all proportion. Ordinary code needs half a word a byte.
const MIN_WORDS: usize = 4 << 10;
const WORDS_PER_BYTE: usize = 16;

/// Operands that a branch takes along are copied one by one up to this number.
const MAX_SINGLE_COPIES: u32 = 3;

/// Why a function can't be translated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Error {
    /// The frame has more slots than any may have, or the code is out of all proportion to the body.
    TooLarge,
    /// The body can't be read, which validation excludes unless the bytes have changed.
    Unreadable,
}

impl From<wasmparser::Error> for Error {
    fn from(_: wasmparser::Error) -> Error {
        Error::Unreadable
    }
}

/// Translates `func` and makes it enter the bytecode, whose address this gives; `None` if it can't be translated.
pub(crate) fn translate(func: &FuncCode) -> Option<NonNull<u64>> {
    let set = func.set()?;
    let mut translator = Translator::run(func, false).ok()?;
    let trampoline = func.module_code()?.entry_points().trampoline;
    if let (Some(at), Some(trampoline_of)) = (translator.trampoline, trampoline) {
        let code = trampoline_of(func).map_or(std::ptr::null_mut(), |code| code.code().as_ptr());
        translator.code[at as usize] = code.expose_provenance() as u64;
    }
    let bytecode = translator.finish(func);
    translator.recycle();
    let code = set.add_bytecode(func, bytecode).words().cast::<u64>();
    // SAFETY: the code runs the function, and the function's owner keeps it.
    unsafe { func.set_bytecode(crate::exec::entry_points().bytecode, code.as_ptr()) };
    Some(code)
}

/// The bytes of the module whose instructions are at `bytes` of the bytecode of `func`.
fn offsets_of(func: &FuncCode, bytes: &[usize]) -> Vec<Option<u32>> {
    let Ok(translator) = Translator::run(func, true) else {
        return vec![None; bytes.len()];
    };
    let first = translator.first_word();
    let marks = translator.marks.unwrap_or_default();
    let offset_of = |&byte: &usize| {
        let word = (byte / 8).saturating_sub(first);
        let behind = marks.partition_point(|&(at, _)| at <= word as u32);
        Some(marks[behind.checked_sub(1)?].1)
    };
    bytes.iter().map(offset_of).collect()
}

/// A place in the code that branches lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label {
    /// The cell is known.
    Bound(u32),
    /// It is not; the words that are to become its address form a chain.
    Unbound(Option<u32>),
}

impl Label {
    fn is_used(self) -> bool {
        matches!(self, Label::Unbound(Some(_)))
    }
}

/// The kind of a control frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The body itself.
    Body,
    Block,
    /// A loop, and which one in the order of the body.
    Loop(u32),
    If,
    Else,
    TryTable,
    /// The body of a `try`.
    Try,
    /// A handler of one.
    Catch,
}

/// A control frame: the spec's appendix "Validation Algorithm".
struct Control<'m> {
    kind: Kind,
    /// Operands below the block's parameters.
    base: u32,
    params: &'m [ValType],
    results: &'m [ValType],
    /// Where branches to this frame go.
    label: Label,
    /// Where the condition of an `if` goes when it is false, or what a handler does not take.
    otherwise: Label,
    /// The block could be entered.
    entered: bool,
    /// Where what is thrown in it goes, if the function has a handler for it.
    pad: Option<u32>,
    /// What none of the handlers so far takes comes to `otherwise`.
    catches: bool,
}

impl<'m> Control<'m> {
    /// What a branch to this frame takes along.
    fn branch_types(&self) -> &'m [ValType] {
        if matches!(self.kind, Kind::Loop(_)) {
            self.params
        } else {
            self.results
        }
    }
}

/// What a cell can become part of.
#[derive(Clone, Copy)]
pub(crate) enum Fusable {
    /// A condition, which can become a branch.
    Condition(&'static ConditionFamily),
    /// A sum of addresses, which can become part of a load.
    Sum(Class, Class),
}

/// The last cell, if it can become part of the next instruction.
#[derive(Clone, Copy)]
pub(crate) struct Last {
    at: u32,
    end: u32,
    fields: u64,
    fusable: Fusable,
}

/// A condition, ready to be a branch.
#[derive(Clone, Copy)]
struct Test {
    family: &'static ConditionFamily,
    fields: u64,
}

impl Test {
    fn negated(self) -> Test {
        Test {
            family: (self.family.not)(),
            fields: self.fields,
        }
    }
}

/// How a branch gets to its target.
#[derive(Clone, Copy)]
enum Route {
    Forward = 0,
    Back = 1,
    BackToHead = 2,
}

/// The state of a translation.
pub(crate) struct Translator<'m> {
    module_code: &'m ModuleCode,
    module: &'m Module,
    /// The function's code is for stores that count fuel.
    metered: bool,
    code: Vec<u64>,
    /// The most words there may be.
    max_words: usize,
    relocations: Vec<u32>,
    layout: FrameLayout,
    local_types: Vec<ValType>,
    stack: OperandStack,
    control: Vec<Control<'m>>,
    plans: Vec<LoopPlan>,
    /// The loops that were reached, and those of them that are open.
    loop_codes: Vec<LoopSite>,
    open_loops: Vec<OpenLoop>,
    weight: Weight,
    /// Calls written so far.
    calls: u32,
    /// The functions of the module that they call directly, as often as they are called.
    callees: Vec<FuncIdx>,
    /// The word that is to have the address of a trampoline.
    trampoline: Option<u32>,
    /// The loops begun so far.
    loops: u32,
    regions: Regions,
    /// The locals in `l0` and `l1`.
    pins: [Option<u32>; 2],
    /// Which of the spare slots for single operands comes next.
    next_spare: u32,
    last: Option<Last>,
    /// The cell that was just written and has a result: its place and its end.
    produced: Option<(u32, u32)>,
    reachable: bool,
    /// Blocks begun since the code became unreachable.
    skipped: u32,
    /// Where each cell comes from, if that is asked for: its place and the instruction's byte in the module.
    marks: Option<Vec<(u32, u32)>>,
    offset: u32,
}

impl<'m> Translator<'m> {
    /// Translates the body of `func`.
    fn run(func: &'m FuncCode, mark: bool) -> Result<Translator<'m>, Error> {
        let module_code = func.module_code().ok_or(Error::Unreadable)?;
        let mut translator = Translator::new(module_code, func.index, func.is_metered())?;
        translator.marks = mark.then(Vec::new);
        translator.translate_body(func.index)?;
        Ok(translator)
    }

    fn translate_body(&mut self, func: FuncIdx) -> Result<(), Error> {
        let body = self.module.body(func).ok_or(Error::Unreadable)?;
        self.begin();
        let mut ops = body.ops();
        while !ops.eof() {
            self.offset = ops.original_position() as u32;
            if self.reachable {
                self.mark();
                ops.visit_operator(self)??;
                self.check_size()?;
            } else {
                self.skip(&ops.read()?)?;
            }
        }
        Ok(())
    }

    fn new(
        module_code: &'m ModuleCode,
        func: FuncIdx,
        metered: bool,
    ) -> Result<Translator<'m>, Error> {
        let module: &'m Module = module_code.module();
        let body = module.body(func).ok_or(Error::Unreadable)?;
        let ty = module.func_type(func);
        let (code, relocations, mut local_types) = BUFFERS.take();
        local_types.extend(&ty.params);
        for (count, ty) in body.locals() {
            local_types.extend(std::iter::repeat_n(ty, count as usize));
        }
        let plans = scan::plan(body.bytes(), body.ops(), &local_types)?;
        let layout = FrameLayout::of(ty.params.len(), &local_types);
        let body_frame = Control {
            kind: Kind::Body,
            base: 0,
            params: &[],
            results: &ty.results,
            label: Label::Unbound(None),
            otherwise: Label::Unbound(None),
            entered: true,
            pad: None,
            catches: false,
        };
        Ok(Translator {
            module_code,
            module,
            metered,
            code,
            max_words: MIN_WORDS + body.len() * WORDS_PER_BYTE,
            relocations,
            stack: OperandStack::new(local_types.len(), layout.operands()),
            layout,
            local_types,
            control: vec![body_frame],
            plans,
            loop_codes: Vec::new(),
            open_loops: Vec::new(),
            weight: Weight::default(),
            calls: 0,
            callees: Vec::new(),
            trampoline: None,
            loops: 0,
            regions: Regions::default(),
            pins: [None; 2],
            next_spare: 0,
            last: None,
            produced: None,
            reachable: true,
            skipped: 0,
            marks: None,
            offset: 0,
        })
    }

    /// Keeps the buffers for the next translation of this thread.
    fn recycle(mut self) {
        self.code.clear();
        self.relocations.clear();
        self.local_types.clear();
        if self.code.capacity() <= MAX_KEPT_WORDS {
            BUFFERS.set((self.code, self.relocations, self.local_types));
        }
    }

    /// Writes what a call begins with.
    fn begin(&mut self) {
        if self.module_code.entry_points().trampoline.is_some() {
            self.emit_handler(ENTER);
            self.trampoline = Some(self.here());
            self.code.push(0);
        }
        let zeroed = self.layout.zeroed();
        if !zeroed.is_empty() {
            let count = zeroed.len() as u32;
            self.emit(zero_handler(count), fields(zeroed.start, 0, count));
        }
    }

    /// Where the first word of the code will be: behind a cell of its own if the frame is large.
    fn first_word(&self) -> usize {
        let end = self.stack.max_end;
        // One more operand would not be near.
        if !FrameLayout::is_near(end + 1) {
            HUGE_FRAME_WORDS
        } else {
            usize::from(end > StoreCtx::MAX_SHALLOW_SLOTS)
        }
    }

    /// Writes that cell.
    fn push_first(&self, words: &mut Vec<u64>) {
        let address = |handler: Handler| (handler as *const ()).expose_provenance() as u64;
        let slots = self.layout.slots(self.stack.max_end);
        match (self.first_word(), slots) {
            (HUGE_FRAME_WORDS, Some(slots)) => words.extend([address(HUGE_FRAME), slots.into()]),
            (1, _) => words.push(address(LARGE_FRAME)),
            _ => {}
        }
    }

    /// The finished bytecode, relocated to where it stays.
    fn finish(&self, func: &FuncCode) -> Bytecode {
        let shift = self.first_word();
        let mut words = Vec::with_capacity(self.code.len() + shift);
        self.push_first(&mut words);
        words.extend_from_slice(&self.code);
        let mut bytecode = Bytecode::new(words.into(), offsets_of);
        let start: NonNull<u64> = bytecode.words().cast();
        let base = start.as_ptr().expose_provenance() as u64;
        // SAFETY: relocations and loops are at words of the code, which nobody runs yet.
        unsafe {
            let word = |at: u32| start.add(at as usize + shift);
            for &at in &self.relocations {
                word(at).write(base + (word(at).read() + shift as u64) * 8);
            }
            let of_site = |site: &LoopSite| {
                let range = (word(site.header), word(site.end));
                LoopCode::new(func, range, enter_loop(), site.offset, site.cost)
            };
            let loops: Box<[LoopCode]> = self.loop_codes.iter().map(of_site).collect();
            for (site, of) in self.loop_codes.iter().zip(&loops) {
                let address = std::ptr::from_ref(of).expose_provenance() as u64;
                word(site.header - 1).write(address);
            }
            bytecode.set_loops(loops);
            bytecode.set_pads(&self.regions.pads(shift));
            bytecode.set_calls(self.calls, self.callees.clone());
        }
        func.set_cost(self.call_cost());
        bytecode
    }

    fn mark(&mut self) {
        let (here, offset) = (self.here(), self.offset);
        if let Some(marks) = &mut self.marks {
            marks.push((here, offset));
        }
    }

    /// The last cell was taken back; what is written in its place comes from the present instruction.
    fn mark_again(&mut self) {
        let here = self.here();
        if let Some(marks) = &mut self.marks {
            while marks.last().is_some_and(|&(at, _)| at >= here) {
                marks.pop();
            }
        }
        self.mark();
    }

    fn push_control(
        &mut self,
        kind: Kind,
        block: wasmparser::BlockType,
        label: Label,
        otherwise: Label,
    ) {
        let (params, results) = self.module.block_type(block);
        let base = self.stack.height() - params.len() as u32;
        let pad = self.control.last().and_then(|frame| frame.pad);
        self.control.push(Control {
            kind,
            base,
            params,
            results,
            label,
            otherwise,
            entered: true,
            pad,
            catches: false,
        });
    }

    fn op_block(&mut self, block: wasmparser::BlockType) {
        self.settle_all();
        self.push_control(
            Kind::Block,
            block,
            Label::Unbound(None),
            Label::Unbound(None),
        );
    }

    fn op_loop(&mut self, block: wasmparser::BlockType) {
        self.settle_all();
        self.stack.forget_held();
        let ordinal = self.loops;
        self.loops += 1;
        let plan = self.plans[ordinal as usize];
        if plan.region {
            self.pins = plan.pins;
        }
        let pins = if plan.region { plan.pins } else { [None; 2] };
        let slot = |pin: Option<u32>| pin.map_or(0, |index| self.layout.local(index));
        let count = pins.iter().flatten().count();
        self.emit(
            loop_entry(plan.head, count),
            fields(slot(pins[0]), slot(pins[1]), 0),
        );
        // The address of the loop's code comes here.
        self.code.push(0);
        self.begin_loop();
        self.last = None;
        self.produced = None;
        let header = Label::Bound(self.here());
        self.push_control(Kind::Loop(ordinal), block, header, Label::Unbound(None));
    }

    fn op_if(&mut self, block: wasmparser::BlockType) {
        let test = self.pop_test().negated();
        self.settle_all();
        let mut otherwise = Label::Unbound(None);
        self.emit_test(&test, Route::Forward, 0, &mut otherwise);
        self.push_control(Kind::If, block, Label::Unbound(None), otherwise);
    }

    fn op_else(&mut self) {
        let Some(mut frame) = self.control.pop() else {
            return;
        };
        if self.reachable {
            self.settle_all();
            self.emit_jump(Route::Forward, 0, &mut frame.label);
        }
        self.bind(frame.otherwise);
        frame.otherwise = Label::Unbound(None);
        frame.kind = Kind::Else;
        self.stack.truncate(frame.base);
        self.stack.push_slots(frame.params);
        self.stack.forget_held();
        self.reachable = frame.entered;
        self.control.push(frame);
    }

    fn op_end(&mut self) -> Result<(), Error> {
        let kind = self.control.last().map(|frame| frame.kind);
        if kind == Some(Kind::Catch) && self.reachable {
            // The results come to stand where what was caught is.
            self.leave_to(0);
            self.reachable = false;
        }
        let Some(mut frame) = self.control.pop() else {
            return Ok(());
        };
        if let Kind::Loop(ordinal) = frame.kind {
            self.end_loop();
            if self.plans[ordinal as usize].region {
                self.pins = [None; 2];
                self.last = None;
            }
            return Ok(());
        }
        match frame.kind {
            Kind::TryTable | Kind::Try => self.end_region(&mut frame)?,
            Kind::Catch => self.end_handlers(&mut frame),
            _ => {}
        }
        self.end_block(&frame);
        if frame.kind == Kind::Body && self.reachable {
            self.mark();
            self.emit_return(frame.results);
        }
        Ok(())
    }

    /// Goes on behind the end of a block that is no loop.
    fn end_block(&mut self, frame: &Control<'m>) {
        let merges = frame.label.is_used() || frame.otherwise.is_used();
        if merges {
            if self.reachable {
                self.settle_all();
            }
            self.bind(frame.otherwise);
            self.bind(frame.label);
            self.stack.truncate(frame.base);
            self.stack.push_slots(frame.results);
            self.stack.forget_held();
            self.reachable = true;
        }
    }

    /// The frame that a branch of depth `depth` leads to: its index.
    fn target(&self, depth: u32) -> usize {
        self.control.len() - 1 - depth as usize
    }

    fn route(&self, target: usize) -> Route {
        match self.control[target].kind {
            Kind::Loop(ordinal) if self.plans[ordinal as usize].head => Route::BackToHead,
            Kind::Loop(_) => Route::Back,
            _ => Route::Forward,
        }
    }

    fn op_br(&mut self, depth: u32) {
        let target = self.target(depth);
        if self.control[target].kind == Kind::Body {
            return self.op_return();
        }
        self.settle_many(self.control[target].branch_types().len() as u32);
        self.move_to(target);
        self.jump_to(target);
        self.set_unreachable();
    }

    fn jump_to(&mut self, target: usize) {
        let route = self.route(target);
        let cost = self.back_edge_cost(target);
        let mut label = self.control[target].label;
        self.emit_jump(route, cost, &mut label);
        self.control[target].label = label;
    }

    /// Has many operands that a branch takes along be in their slots, from where one cell moves them.
    fn settle_many(&mut self, count: u32) {
        if count > MAX_SINGLE_COPIES {
            self.settle_from(self.stack.height() - count);
        }
    }

    /// Writes copies that put the top operands where the target has them; the stack stays as it is. Many operands are
    /// in their slots ([`Translator::settle_many`]).
    fn move_to(&mut self, target: usize) {
        let frame = &self.control[target];
        let (base, count) = (frame.base, frame.branch_types().len() as u32);
        let from = self.stack.height() - count;
        if from == base {
            return self.settle_from(from);
        }
        if count > MAX_SINGLE_COPIES {
            return self.emit_move_down(from, base);
        }
        let mut behind = self.stack.end_below(base);
        for height in from..from + count {
            let operand = self.stack.operand(height);
            let width = operand.ty.slots();
            let slot = FrameLayout::place(behind, width);
            self.emit_copy(operand, height, Dest::Slot, slot);
            behind = slot + width;
        }
    }

    fn op_br_if(&mut self, depth: u32) {
        let test = self.pop_test();
        self.branch_if(&test, depth);
    }

    /// Branches if `test` holds, with the top operands.
    fn branch_if(&mut self, test: &Test, depth: u32) {
        let target = self.target(depth);
        let route = self.route(target);
        let frame = &self.control[target];
        let (base, count) = (frame.base, frame.branch_types().len() as u32);
        let from = self.stack.height() - count;
        let mut label = frame.label;
        if count == 0 || from == base {
            self.settle_from(from);
            let cost = self.back_edge_cost(target);
            self.emit_test(test, route, cost, &mut label);
            self.control[target].label = label;
            return;
        }
        self.settle_many(count);
        let mut over = Label::Unbound(None);
        let otherwise = test.negated();
        self.emit_test(&otherwise, Route::Forward, 0, &mut over);
        self.move_to(target);
        self.jump_to(target);
        self.bind(over);
    }

    fn op_br_table(&mut self, table: &wasmparser::BrTable<'_>) -> Result<(), Error> {
        let index = self.pop_source(Immediates::No);
        let mut depths = Vec::with_capacity(table.len() as usize + 1);
        for depth in table.targets() {
            depths.push(depth?);
        }
        depths.push(table.default());
        let default = self.target(table.default());
        let count = self.control[default].branch_types().len() as u32;
        let from = self.stack.height() - count;
        self.settle_from(from);
        self.emit(
            table_handler(index.class),
            fields(index.field, 0, depths.len() as u32 - 1),
        );
        // Targets that need copies or budget get a piece of code of their own behind the table.
        let mut pieces: Vec<(usize, Label)> = Vec::new();
        let mut piece_of: HashMap<usize, usize> = HashMap::new();
        for depth in depths {
            let target = self.target(depth);
            let direct = matches!(self.route(target), Route::Forward)
                && (count == 0 || from == self.control[target].base);
            if direct {
                let mut label = self.control[target].label;
                self.emit_label(&mut label);
                self.control[target].label = label;
                continue;
            }
            let piece = *piece_of.entry(target).or_insert_with(|| {
                pieces.push((target, Label::Unbound(None)));
                pieces.len() - 1
            });
            let mut label = pieces[piece].1;
            self.emit_label(&mut label);
            pieces[piece].1 = label;
        }
        for (target, label) in pieces {
            self.bind(label);
            self.stack.forget_held();
            self.move_to(target);
            self.jump_to(target);
            self.check_size()?;
        }
        self.set_unreachable();
        Ok(())
    }

    fn op_return(&mut self) {
        let results = self.control[0].results;
        self.emit_return(results);
        self.set_unreachable();
    }

    /// Writes a return with the top operands.
    fn emit_return(&mut self, results: &[ValType]) {
        let header = self.layout.header();
        match results {
            [] => self.emit(RETURN_NOTHING, fields(header, 0, 0)),
            &[ty] => {
                let immediates = if Bank::of(ty) == Bank::Int {
                    Immediates::Slot
                } else {
                    Immediates::No
                };
                let source = self.pop_source(immediates);
                self.emit(
                    return_handler(Bank::of(ty), source.class),
                    fields(header, 0, source.field),
                );
            }
            many => {
                let from = self.stack.height() - many.len() as u32;
                self.settle_from(from);
                self.emit_return_many(from);
            }
        }
    }

    fn op_unreachable(&mut self) {
        self.emit_handler(UNREACHABLE);
        self.set_unreachable();
    }

    /// Takes the top operand off as a condition: true unless it is zero.
    fn pop_test(&mut self) -> Test {
        let last = self.last;
        if let Some(Last {
            fusable: Fusable::Condition(family),
            ..
        }) = last
            && let Some(last) = self.fuse()
        {
            return Test {
                family,
                fields: last.fields,
            };
        }
        let source = self.pop_source(Immediates::No);
        let family =
            condition_handlers::<tiered_decode::numeric::ops::I32Ne>(source.class, Class::Imm);
        Test {
            family,
            fields: fields(source.field, 0, 0),
        }
    }

    /// Writes a branch; one that leads back takes `cost` off the account of work.
    fn emit_test(&mut self, test: &Test, route: Route, cost: u16, label: &mut Label) {
        let fields = test.fields | u64::from(cost) << 16;
        self.emit(test.family.branch[route as usize], fields);
        self.emit_label(label);
    }

    fn emit_jump(&mut self, route: Route, cost: u16, label: &mut Label) {
        self.emit(JUMP[route as usize], fields(0, cost.into(), 0));
        self.emit_label(label);
    }
}
