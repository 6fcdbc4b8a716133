//! Writing cells: operands to fields, results to destinations, labels to addresses.
//!
//! *Invariant:* a cell that is taken back ([`Translator::fuse`]) is the last one, and its result is an operand that
//! nothing has used.

use tiered_decode::types::ValType;
use tiered_runtime::frame::FrameLayout;

use crate::operand::{Bank, Class, Dest, Family};
use crate::regs::Handler;
use crate::variable::{COPY_PAIR, const_handler, copy_handler};

use super::far::{PASSING, is_far};
use super::stack::{Held, Operand, Place, Producer};
use super::{Error, Fusable, Label, Last, Translator};

/// A source, as a cell has it: the class is in the handler, the field in the cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) class: Class,
    /// A slot, or the bits of an immediate.
    pub(crate) field: u32,
    /// The bits of a constant that is a word of its own.
    pub(crate) bits: u64,
}

impl Source {
    pub(crate) const ZERO: Source = Source {
        class: Class::Imm,
        field: 0,
        bits: 0,
    };

    pub(crate) fn slot(slot: u32) -> Source {
        Source {
            class: Class::Slot,
            field: slot,
            bits: 0,
        }
    }

    fn register(class: Class) -> Source {
        Source {
            class,
            field: 0,
            bits: 0,
        }
    }
}

/// Which constants a cell can have as an immediate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Immediates {
    /// None.
    No,
    /// Those whose 64 bits are the sign extension of 32: the reader takes the whole slot.
    Slot,
    /// Those whose type's bits are: the reader takes a value of the operand's type.
    Typed,
    /// Those, and all others in a word of their own.
    Wide,
}

/// The operand word of a cell: the fields `a`, `d` and `b`.
pub(crate) fn fields(a: u32, d: u32, b: u32) -> u64 {
    u64::from(a & 0xffff) | u64::from(d & 0xffff) << 16 | u64::from(b) << 32
}

/// The immediate that stands for `bits`, if it is one.
fn immediate(bits: u64, ty: ValType, allowed: Immediates) -> Option<u32> {
    let extended = i64::from(bits as i32).cast_unsigned();
    let fits = match allowed {
        Immediates::No => false,
        Immediates::Slot => extended == bits,
        Immediates::Typed | Immediates::Wide => extended == bits || ty == ValType::I32,
    };
    (fits && (Bank::of(ty) == Bank::Int || allowed == Immediates::Slot)).then_some(bits as u32)
}

impl Translator<'_> {
    /// The place of the next cell.
    pub(crate) fn here(&self) -> u32 {
        self.code.len() as u32
    }

    pub(crate) fn emit_handler(&mut self, handler: Handler) {
        self.code
            .push((handler as *const ()).expose_provenance() as u64);
    }

    /// Writes a cell of a handler and one word of fields.
    pub(crate) fn emit(&mut self, handler: Handler, fields: u64) {
        self.emit_handler(handler);
        self.code.push(fields);
    }

    /// Writes the address of something that lives as long as the module's code.
    pub(crate) fn emit_address<T>(&mut self, address: *const T) {
        self.code.push(address.expose_provenance() as u64);
    }

    /// The slot of the operand at `height`.
    pub(crate) fn operand_slot(&self, height: u32) -> u32 {
        self.stack.operand(height).slot
    }

    /// The class and field of `operand` at `height` as it stands.
    fn present_source(&self, operand: Operand, height: u32) -> Option<Source> {
        let held = self.stack.held(Bank::of(operand.ty));
        Some(match operand.place {
            Place::Local(index) if self.pins[0] == Some(index) => Source::register(Class::L0),
            Place::Local(index) if self.pins[1] == Some(index) => Source::register(Class::L1),
            Place::Local(index) if held == Held::Local(index) => Source::register(Class::Acc),
            Place::Local(index) => Source::slot(self.layout.local(index)),
            Place::Slot if held == Held::Operand(height) => Source::register(Class::Acc),
            Place::Slot => Source::slot(operand.slot),
            Place::Acc(_) => Source::register(Class::Acc),
            Place::Const(_) => return None,
        })
    }

    /// A source for `operand`, which was at `height`; writes a copy for a constant that is not `allowed`.
    pub(crate) fn source(&mut self, operand: Operand, height: u32, allowed: Immediates) -> Source {
        if let Some(source) = self.present_source(operand, height) {
            return self.near_source(source, Bank::of(operand.ty).width());
        }
        let Place::Const(bits) = operand.place else {
            unreachable!("only constants have no source")
        };
        if let Some(field) = immediate(bits, operand.ty, allowed) {
            return Source {
                class: Class::Imm,
                field,
                bits: 0,
            };
        }
        if allowed == Immediates::Wide {
            return Source {
                class: Class::Wide,
                field: 0,
                bits,
            };
        }
        let slot = self.near_slot(operand.slot, 1);
        self.emit_const(bits, Dest::Slot, slot);
        Source::slot(slot)
    }

    /// Takes the top operand off and gives a source for it.
    pub(crate) fn pop_source(&mut self, allowed: Immediates) -> Source {
        let operand = self.stack.pop();
        let height = self.stack.height();
        self.source(operand, height, allowed)
    }

    /// Takes the top operand off, which is no vector, and gives a source to be read as a whole slot, whatever its type.
    pub(crate) fn pop_whole_slot(&mut self) -> Source {
        let top = self.stack.height() - 1;
        let operand = self.stack.operand(top);
        if Bank::of(operand.ty) == Bank::Int {
            return self.pop_source(Immediates::Slot);
        }
        if let Place::Acc(_) = operand.place {
            self.settle(top);
        }
        self.stack.pop();
        match operand.place {
            Place::Local(index) => Source::slot(self.layout.local(index)),
            Place::Const(_) => self.source(operand, top, Immediates::Slot),
            Place::Slot | Place::Acc(_) => {
                let source = Source::slot(operand.slot);
                self.near_source(source, 1)
            }
        }
    }

    fn emit_const(&mut self, bits: u64, to: Dest, slot: u32) {
        if is_far(slot) {
            self.emit_const(bits, to, PASSING);
            return self.emit_far_copy(PASSING, slot, 1);
        }
        if let Some(field) = immediate(bits, ValType::I64, Immediates::Slot) {
            self.emit(
                copy_handler(Bank::Int, Class::Imm, to),
                fields(0, slot, field),
            );
        } else {
            self.emit(const_handler(to), fields(0, slot, 0));
            self.code.push(bits);
        }
    }

    /// Writes a copy of `operand`, which is or was at `height`, to `slot`, the slot of a pinned local for the other
    /// destinations. No accumulator changes.
    pub(crate) fn emit_copy(&mut self, operand: Operand, height: u32, to: Dest, slot: u32) {
        if let Place::Const(bits) = operand.place {
            return self.emit_const(bits, to, slot);
        }
        let Some(source) = self.present_source(operand, height) else {
            unreachable!("only constants have no source")
        };
        if source.class == Class::Slot && source.field == slot && to == Dest::Slot {
            return;
        }
        if to == Dest::Slot && (is_far(slot) || source.is_far()) {
            return self.emit_copy_to_far(Bank::of(operand.ty), source, slot);
        }
        let source = self.near_source(source, Bank::of(operand.ty).width());
        self.emit(
            copy_handler(Bank::of(operand.ty), source.class, to),
            fields(0, slot, source.field),
        );
    }

    /// Makes the producer put its result elsewhere.
    fn redirect(&mut self, producer: Producer, to: Dest, slot: u32) {
        let at = producer.at as usize;
        self.code[at] = (producer.family[to as usize] as *const ()).expose_provenance() as u64;
        self.code[at + 1] = self.code[at + 1] & !(0xffff << 16) | u64::from(slot & 0xffff) << 16;
    }

    /// Makes the operand at `height` be in its slot.
    pub(crate) fn settle(&mut self, height: u32) {
        let operand = self.stack.operand(height);
        let slot = operand.slot;
        match operand.place {
            Place::Slot => {}
            Place::Acc(producer) if !is_far(slot) => self.redirect(producer, Dest::Slot, slot),
            Place::Acc(_) | Place::Local(_) | Place::Const(_) => {
                self.emit_copy(operand, height, Dest::Slot, slot);
            }
        }
        self.stack.settle(height);
    }

    /// Makes all operands from `from` on be in their slots.
    pub(crate) fn settle_from(&mut self, from: u32) {
        let mut height = from;
        while height < self.stack.height() {
            if height + 1 < self.stack.height() && self.settle_pair(height) {
                height += 2;
            } else {
                self.settle(height);
                height += 1;
            }
        }
    }

    /// Copies two locals of one slot each with one cell, if that is what the operands at `height` and above it are.
    fn settle_pair(&mut self, height: u32) -> bool {
        let source = |height: u32| {
            let operand = self.stack.operand(height);
            let source = self.present_source(operand, height);
            source.filter(|source| {
                let is_local = matches!(operand.place, Place::Local(_));
                source.class == Class::Slot && is_local && operand.ty.slots() == 1
            })
        };
        let (Some(first), Some(second)) = (source(height), source(height + 1)) else {
            return false;
        };
        let slot = self.operand_slot(height);
        if !FrameLayout::is_near(slot + 2) {
            return false;
        }
        self.emit(COPY_PAIR, fields(first.field, slot, second.field));
        self.stack.settle(height);
        self.stack.settle(height + 1);
        true
    }

    /// Makes all operands be in their slots.
    pub(crate) fn settle_all(&mut self) {
        self.settle_from(self.stack.settled());
        self.stack.set_settled();
    }

    /// Saves the operand that the accumulator of `bank` alone has, before it gets another value.
    pub(crate) fn save_acc(&mut self, bank: Bank) {
        if let Held::Operand(height) = self.stack.held(bank)
            && height < self.stack.height()
            && matches!(self.stack.operand(height).place, Place::Acc(_))
        {
            self.settle(height);
        }
    }

    /// Writes a cell with a result of type `ty`, which becomes the top operand.
    pub(crate) fn define(
        &mut self,
        ty: ValType,
        family: &'static Family,
        fields: u64,
        extra: &[u64],
    ) {
        let bank = Bank::of(ty);
        self.save_acc(bank);
        let at = self.here();
        self.emit(family[Dest::Acc as usize], fields);
        self.code.extend_from_slice(extra);
        let height = self.stack.height();
        self.stack.push(ty, Place::Acc(Producer { at, family }));
        self.stack.hold(bank, Held::Operand(height));
        self.last = None;
        self.produced = Some((at, self.here()));
    }

    /// As [`Translator::define`], for a result that may become part of the next instruction.
    pub(crate) fn define_fusable(
        &mut self,
        ty: ValType,
        family: &'static Family,
        fields: u64,
        word: Option<u64>,
        fusable: Fusable,
    ) {
        self.define(ty, family, fields, word.as_slice());
        self.last = self.produced.map(|(at, end)| Last {
            at,
            end,
            fields,
            word,
            fusable,
        });
    }

    /// The last cell, if it made the top operand: takes the operand off and the cell back.
    pub(crate) fn fuse(&mut self) -> Option<Last> {
        let last = self.last?;
        let top = self.stack.height().checked_sub(1)?;
        let Place::Acc(producer) = self.stack.operand(top).place else {
            return None;
        };
        if producer.at != last.at || last.end != self.here() {
            return None;
        }
        self.stack.pop();
        self.code.truncate(last.at as usize);
        self.last = None;
        self.produced = None;
        self.mark_again();
        Some(last)
    }

    /// Puts the value of the top operand, which stays, into local `index`.
    pub(crate) fn set_local(&mut self, index: u32) {
        let top = self.stack.height() - 1;
        let operand = self.stack.operand(top);
        if matches!(operand.place, Place::Local(same) if same == index) {
            return;
        }
        for height in self.stack.take_operands_of(index) {
            self.settle(height);
        }
        let slot = self.layout.local(index);
        let to = match () {
            () if self.pins[0] == Some(index) => Dest::L0,
            () if self.pins[1] == Some(index) => Dest::L1,
            () => Dest::Slot,
        };
        let bank = Bank::of(operand.ty);
        let last = self.last_cell();
        match operand.place {
            Place::Acc(producer) if last == Some(producer.at) => {
                self.redirect(producer, to, slot);
                self.stack.forget_local(index);
                let held = if to == Dest::Slot {
                    Held::Local(index)
                } else {
                    Held::Nothing
                };
                self.stack.hold(bank, held);
            }
            _ => {
                self.emit_copy(operand, top, to, slot);
                self.stack.forget_local(index);
                if let (Place::Acc(_), Dest::Slot) = (operand.place, to) {
                    self.stack.hold(bank, Held::Local(index));
                }
            }
        }
        self.stack.pop();
        self.stack.push(operand.ty, Place::Local(index));
    }

    /// The place of the last cell, if it is that of a producer that was just written.
    fn last_cell(&self) -> Option<u32> {
        self.produced
            .filter(|&(_, end)| end == self.here())
            .map(|(at, _)| at)
    }

    /// Writes a word that is to become the address of `label`.
    pub(crate) fn emit_label(&mut self, label: &mut Label) {
        let at = self.here();
        self.relocations.push(at);
        match label {
            Label::Bound(target) => self.code.push(u64::from(*target)),
            Label::Unbound(chain) => {
                self.code.push(u64::from(chain.map_or(u32::MAX, |at| at)));
                *chain = Some(at);
            }
        }
    }

    /// The place of the next cell is what `label` stands for.
    pub(crate) fn bind(&mut self, label: Label) {
        let target = u64::from(self.here());
        let Label::Unbound(mut chain) = label else {
            return;
        };
        let mut first = self.here();
        while let Some(at) = chain {
            first = at;
            let word = std::mem::replace(&mut self.code[at as usize], target);
            chain = u32::try_from(word).ok().filter(|&next| next != u32::MAX);
        }
        // What comes before a label is no longer all that may have happened before what comes after it.
        self.last = None;
        self.produced = None;
        self.skipped_from(first);
    }

    /// Checks that the frame is not larger than any may be, and the code not out of all proportion.
    pub(crate) fn check_size(&self) -> Result<(), Error> {
        let fits = self.layout.slots(self.stack.max_end).is_some();
        if fits && self.code.len() <= self.max_words {
            Ok(())
        } else {
            Err(Error::TooLarge)
        }
    }
}
