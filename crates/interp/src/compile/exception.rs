//! Regions with handlers: `try_table`, and the `try` of modules made before it, which becomes the same.
//!
//! A *region* is the code of such a block's body, which stands in one piece; its *pad* follows it. A `try` differs in where
//! its handlers are, behind its body, and in that they may throw on what they have caught: so the reference to it is an
//! operand that no instruction but `rethrow` sees, below all others of the handler.
//!
//! * *Invariant:* all that is thrown directly in a control frame goes to [`Control::pad`](super::Control::pad).
//! * *Invariant:* that hidden operand is in a slot of its own like any other, so a frame in a handler is complete at each
//!   loop header.

use tiered_decode::index::TagIdx;
use tiered_decode::types::ValType;
use tiered_decode::wasmparser::{BlockType, Catch, TryTable};

use crate::call::RELOAD;
use crate::exception::{CATCH, KEEP, THROW, THROW_ON, THROW_REF, UNPACK};

use super::emit::fields;
use super::far::runs;
use super::{Control, Error, Kind, Label, Route, Translator};

/// The most operands that all clauses of a body may bring, and how many more for each of its bytes: a clause of three
/// bytes could bring a thousand.
const MIN_CAUGHT: usize = 1 << 20;
const CAUGHT_PER_BYTE: usize = 64;

/// The type that a reference to an exception has on the stack.
const REFERENCE: ValType = ValType::I64;

/// A region with a pad.
#[derive(Clone, Copy, Debug)]
struct Region {
    /// Where what is thrown in it by the function itself goes.
    label: Label,
    /// The word at which a callee's exception comes in, once it is known.
    landing: Option<u32>,
    /// There is a call in it.
    has_calls: bool,
}

/// All regions of a body.
#[derive(Default)]
pub(super) struct Regions {
    all: Vec<Region>,
    /// From which word on what is thrown goes to which of them, if to any; ascending.
    borders: Vec<(u32, Option<u32>)>,
    /// The clauses of the `try_table`s that are open.
    clauses: Vec<Vec<Catch>>,
    /// Operands that clauses have brought.
    caught: usize,
}

impl Regions {
    /// What [`Bytecode::set_pads`](tiered_runtime::module_code::Bytecode::set_pads) takes of code that begins at word
    /// `shift`.
    pub(super) fn pads(&self, shift: usize) -> Box<[(u32, Option<u32>)]> {
        let word = |at: u32| at + shift as u32;
        let landing = |region: u32| self.all[region as usize].landing.map(word);
        let borders = self.borders.iter();
        borders
            .map(|&(at, region)| (word(at), region.and_then(landing)))
            .collect()
    }
}

impl Translator<'_> {
    fn pad(&self) -> Option<u32> {
        self.control.last().and_then(|frame| frame.pad)
    }

    /// What comes now calls a function.
    pub(super) fn note_call(&mut self) {
        if let Some(region) = self.pad() {
            self.regions.all[region as usize].has_calls = true;
        }
    }

    /// What comes now is directly in the region `pad`.
    fn border(&mut self, pad: Option<u32>) {
        let here = self.here();
        self.last = None;
        self.produced = None;
        match self.regions.borders.last_mut() {
            Some(last) if last.0 == here => last.1 = pad,
            _ => self.regions.borders.push((here, pad)),
        }
    }

    /// Begins a block whose body is a region.
    fn begin_region(&mut self, kind: Kind, block: BlockType) {
        self.settle_all();
        let region = self.regions.all.len() as u32;
        self.regions.all.push(Region {
            label: Label::Unbound(None),
            landing: None,
            has_calls: false,
        });
        self.border(Some(region));
        self.push_control(kind, block, Label::Unbound(None), Label::Unbound(None));
        if let Some(frame) = self.control.last_mut() {
            frame.pad = Some(region);
        }
    }

    pub(super) fn op_try_table(&mut self, table: TryTable) {
        self.begin_region(Kind::TryTable, table.ty);
        self.regions.clauses.push(table.catches);
    }

    pub(super) fn op_try(&mut self, block: BlockType) {
        self.begin_region(Kind::Try, block);
    }

    /// Ends the region of `frame`, behind whose body this is; whether there is a pad, which begins here then. `pad` is that
    /// of the frame around.
    fn begin_pad(&mut self, frame: &Control<'_>, pad: Option<u32>) -> bool {
        self.border(pad);
        let Some(region) = frame.pad.filter(|_| self.has_pad(frame)) else {
            return false;
        };
        let Region {
            label, has_calls, ..
        } = self.regions.all[region as usize];
        if has_calls {
            self.regions.all[region as usize].landing = Some(self.here());
            self.emit(RELOAD, fields(self.layout.header(), 0, 0));
        }
        self.bind(label);
        true
    }

    /// Something may be thrown in the region of `frame`.
    fn has_pad(&self, frame: &Control<'_>) -> bool {
        frame.pad.is_some_and(|region| {
            let region = &self.regions.all[region as usize];
            region.has_calls || region.label.is_used()
        })
    }

    /// As [`Translator::begin_pad`], at the end of the block, which what leaves the body jumps to. The code is unreachable
    /// behind the pad.
    fn begin_last_pad(&mut self, frame: &mut Control<'_>, pad: Option<u32>) -> bool {
        if self.reachable && self.has_pad(frame) {
            self.settle_all();
            self.emit_jump(Route::Forward, 0, &mut frame.label);
        }
        let has_pad = self.begin_pad(frame, pad);
        self.reachable &= !has_pad;
        has_pad
    }

    /// Throws the exception in the accumulator on to the region `pad`, or out of the function.
    fn throw_on(&mut self, pad: Option<u32>) {
        match pad {
            Some(region) => {
                let mut label = self.regions.all[region as usize].label;
                self.emit_jump(Route::Forward, 0, &mut label);
                self.regions.all[region as usize].label = label;
            }
            None => self.emit(THROW_ON, fields(self.layout.header(), 0, 0)),
        }
    }

    fn tag_offset(&self, tag: TagIdx) -> u64 {
        u64::try_from(self.module_code.layout().tag(tag)).unwrap_or(0)
    }

    /// Goes to `otherwise` unless the exception has the tag.
    fn emit_catch(&mut self, tag: TagIdx, otherwise: &mut Label) {
        self.emit(CATCH, fields(0, 0, 0));
        self.code.push(self.tag_offset(tag));
        self.emit_label(otherwise);
    }

    /// Pushes what an exception with the tag carries.
    fn push_payload(&mut self, tag: TagIdx) -> Result<(), Error> {
        let module = self.module;
        let params = &module.tag_type(tag).params;
        self.regions.caught += params.len();
        if self.regions.caught > MIN_CAUGHT + self.max_words * CAUGHT_PER_BYTE {
            return Err(Error::TooLarge);
        }
        let mut next = 0;
        let values = params.iter().map(|ty| {
            let from = next;
            next += ty.slots();
            (from, ty.slots())
        });
        let runs = runs(values, self.stack.end());
        self.stack.push_slots(params);
        for run in runs {
            self.emit(UNPACK, fields(0, 0, run.to));
            self.code
                .push(u64::from(run.from) | u64::from(run.count) << 32);
        }
        self.check_size()
    }

    /// Pushes the reference to the exception in the accumulator.
    fn push_reference(&mut self) {
        let slot = self.stack.next_slot(REFERENCE);
        self.emit(KEEP, fields(0, 0, slot));
        self.stack.push_slots(&[REFERENCE]);
    }

    /// A `try_table` whose body has ended has these clauses: writes its pad.
    fn emit_clauses(
        &mut self,
        clauses: &[Catch],
        base: u32,
        pad: Option<u32>,
    ) -> Result<(), Error> {
        for clause in clauses {
            self.stack.truncate(base);
            self.stack.forget_held();
            let mut otherwise = Label::Unbound(None);
            let (tag, reference, depth) = match *clause {
                Catch::One { tag, label } => (Some(tag), false, label),
                Catch::OneRef { tag, label } => (Some(tag), true, label),
                Catch::All { label } => (None, false, label),
                Catch::AllRef { label } => (None, true, label),
            };
            if let Some(tag) = tag {
                self.emit_catch(TagIdx(tag), &mut otherwise);
                self.push_payload(TagIdx(tag))?;
            }
            if reference {
                self.push_reference();
            }
            self.leave_to(depth);
            self.check_size()?;
            if tag.is_none() {
                self.stack.truncate(base);
                return Ok(());
            }
            self.bind(otherwise);
        }
        self.stack.truncate(base);
        self.throw_on(pad);
        Ok(())
    }

    /// Branches, and leaves the stack as it is.
    pub(super) fn leave_to(&mut self, depth: u32) {
        let target = self.target(depth);
        if self.control[target].kind == Kind::Body {
            let results = self.control[0].results;
            return self.emit_return(results);
        }
        self.settle_many(self.control[target].branch_types().len() as u32);
        self.move_to(target);
        self.jump_to(target);
    }

    /// The end of a `try_table`, or of a `try` without handlers, whose frame is closed.
    pub(super) fn end_region(&mut self, frame: &mut Control<'_>) -> Result<(), Error> {
        let clauses = match frame.kind {
            Kind::TryTable => self.regions.clauses.pop().unwrap_or_default(),
            _ => Vec::new(),
        };
        let pad = self.pad();
        if self.begin_last_pad(frame, pad) {
            self.emit_clauses(&clauses, frame.base, pad)?;
        }
        Ok(())
    }

    /// The end of a `try` whose exceptions go where those go that are thrown in the frame of depth `depth`.
    pub(super) fn op_delegate(&mut self, depth: u32) {
        let Some(mut frame) = self.control.pop() else {
            return;
        };
        let (pad, to) = (self.pad(), self.control[self.target(depth)].pad);
        if self.begin_last_pad(&mut frame, pad) {
            self.throw_on(to);
        }
        self.end_block(&frame);
    }

    /// A handler of a `try` begins: for exceptions with the tag, or for all that have come this far.
    pub(super) fn op_catch(&mut self, tag: Option<TagIdx>) -> Result<(), Error> {
        if self.reachable {
            self.leave_to(0);
        }
        let Some(mut frame) = self.control.pop() else {
            return Ok(());
        };
        let pad = self.pad();
        if frame.kind == Kind::Try {
            frame.catches = self.begin_pad(&frame, pad);
        } else if frame.catches {
            self.bind(frame.otherwise);
        }
        self.reachable = frame.catches;
        self.skipped = 0;
        frame.kind = Kind::Catch;
        frame.pad = pad;
        frame.otherwise = Label::Unbound(None);
        self.stack.truncate(frame.base);
        self.stack.forget_held();
        if self.reachable {
            frame.catches = tag.is_some();
            if let Some(tag) = tag {
                self.emit_catch(tag, &mut frame.otherwise);
            }
            self.push_reference();
            if let Some(tag) = tag {
                self.push_payload(tag)?;
            }
        }
        self.control.push(frame);
        Ok(())
    }

    /// The end of the last handler of a `try`, whose frame is closed.
    pub(super) fn end_handlers(&mut self, frame: &mut Control<'_>) {
        if frame.catches {
            let otherwise = std::mem::replace(&mut frame.otherwise, Label::Unbound(None));
            self.bind(otherwise);
            self.throw_on(self.pad());
        }
    }

    /// What is thrown here by the function itself goes to a pad: writes its address.
    fn emit_pad(&mut self, pad: Option<u32>) {
        if let Some(region) = pad {
            let mut label = self.regions.all[region as usize].label;
            self.emit_label(&mut label);
            self.regions.all[region as usize].label = label;
        }
    }

    pub(super) fn op_throw(&mut self, tag: TagIdx) {
        let module = self.module;
        let ty = module.tag_type(tag);
        let from = self.stack.height() - ty.params.len() as u32;
        self.settle_from(from);
        let frame = self.call_frame(from, ty);
        let pad = self.pad();
        self.emit(
            THROW[usize::from(pad.is_some())],
            fields(self.layout.header(), 0, frame.slot),
        );
        self.code.push(self.tag_offset(tag));
        self.emit_pad(pad);
        self.set_unreachable();
    }

    pub(super) fn op_throw_ref(&mut self) {
        let top = self.stack.height() - 1;
        self.settle(top);
        self.throw_operand(top);
    }

    /// Throws what the handler of depth `depth` has caught.
    pub(super) fn op_rethrow(&mut self, depth: u32) {
        let base = self.control[self.target(depth)].base;
        self.throw_operand(base);
    }

    fn throw_operand(&mut self, height: u32) {
        let pad = self.pad();
        self.emit(
            THROW_REF[usize::from(pad.is_some())],
            fields(self.layout.header(), 0, self.operand_slot(height)),
        );
        self.emit_pad(pad);
        self.set_unreachable();
    }
}
