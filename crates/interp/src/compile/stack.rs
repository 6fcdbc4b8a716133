//! The operand stack while a body is translated: where each operand is, instead of a copy of it.
//!
//! * *Invariant:* an operand in [`Place::Acc`] is in the accumulator of its bank and nowhere else; its producer is
//!   known, and can be told at any time to leave the value in the operand's slot as well.
//! * *Invariant:* an accumulator holds at most what [`Held`] says: an operand's value, a local's, or nothing of use.
//! * *Invariant:* operands below `settled` are in their slots.
//! * *Invariant:* the slot of an operand depends on the types of those below it, so it is the same on all ways to a label.

use tiered_decode::types::ValType;

use tiered_runtime::frame::FrameLayout;

use crate::operand::{Bank, Family};

/// An instruction whose destination can still be changed.
#[derive(Clone, Copy)]
pub(crate) struct Producer {
    /// The word of its cell.
    pub(crate) at: u32,
    pub(crate) family: &'static Family,
}

/// Where an operand is.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// It is the value of a local.
    Local(u32),
    /// It is a constant.
    Const(u64),
    /// It is in its own slot.
    Slot,
    /// It is in the accumulator.
    Acc(Producer),
}

/// An operand.
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) ty: ValType,
    /// Its own slot, the first of two if it is a vector.
    pub(crate) slot: u32,
    pub(crate) place: Place,
}

impl Operand {
    /// The slot behind its own.
    #[inline]
    fn end(&self) -> u32 {
        self.slot + self.ty.slots()
    }
}

/// Links an operand that was pushed as the value of a local to the one before it of the same local.
#[derive(Clone, Copy)]
struct Link {
    local: u32,
    previous: Option<u32>,
}

/// What an accumulator holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Nothing,
    /// The operand that has this number of others below it.
    Operand(u32),
    /// The value of a local.
    Local(u32),
}

/// The operands, and what the accumulators hold.
#[derive(Default)]
pub(crate) struct OperandStack {
    operands: Vec<Operand>,
    /// One for each operand.
    links: Vec<Option<Link>>,
    /// For each local, the topmost operand that was pushed as its value, unless all such are in their slots.
    topmost: Vec<Option<u32>>,
    held: [Option<Held>; Bank::ALL.len()],
    settled: u32,
    /// Where the slots of operands begin.
    first: u32,
    /// The slot behind the highest operand there ever was.
    pub(crate) max_end: u32,
}

impl OperandStack {
    /// An empty stack above `locals` locals, whose operands have the slots from `first` on.
    pub(crate) fn new(locals: usize, first: u32) -> OperandStack {
        OperandStack {
            topmost: vec![None; locals],
            first,
            max_end: first,
            ..OperandStack::default()
        }
    }

    pub(crate) fn height(&self) -> u32 {
        self.operands.len() as u32
    }

    /// The slot behind the top operand.
    #[inline]
    pub(crate) fn end(&self) -> u32 {
        self.operands.last().map_or(self.first, Operand::end)
    }

    /// The slot behind the operand that has `height - 1` below it.
    pub(crate) fn end_below(&self, height: u32) -> u32 {
        let below = height.checked_sub(1);
        below.map_or(self.first, |below| self.operand(below).end())
    }

    /// The slot that an operand of type `ty` has if it is pushed next.
    #[inline]
    pub(crate) fn next_slot(&self, ty: ValType) -> u32 {
        FrameLayout::place(self.end(), ty.slots())
    }

    /// The operands from `from` on.
    pub(crate) fn from(&self, from: u32) -> &[Operand] {
        &self.operands[from as usize..]
    }

    pub(crate) fn settled(&self) -> u32 {
        self.settled
    }

    pub(crate) fn set_settled(&mut self) {
        self.settled = self.height();
    }

    pub(crate) fn operand(&self, height: u32) -> Operand {
        self.operands[height as usize]
    }

    pub(crate) fn held(&self, bank: Bank) -> Held {
        self.held[bank as usize].unwrap_or(Held::Nothing)
    }

    pub(crate) fn hold(&mut self, bank: Bank, held: Held) {
        self.held[bank as usize] = Some(held);
    }

    /// At a label: nothing is known of the accumulators.
    pub(crate) fn forget_held(&mut self) {
        self.held = [None; Bank::ALL.len()];
    }

    /// The local `index` gets another value.
    pub(crate) fn forget_local(&mut self, index: u32) {
        for held in &mut self.held {
            if *held == Some(Held::Local(index)) {
                *held = None;
            }
        }
    }

    pub(crate) fn push(&mut self, ty: ValType, place: Place) {
        let height = self.height();
        for held in &mut self.held {
            if *held == Some(Held::Operand(height)) {
                *held = None;
            }
        }
        self.links.push(match place {
            Place::Local(local) => {
                let previous = self.topmost[local as usize].replace(height);
                Some(Link { local, previous })
            }
            Place::Const(_) | Place::Slot | Place::Acc(_) => None,
        });
        let slot = self.next_slot(ty);
        self.operands.push(Operand { ty, slot, place });
        self.max_end = self.max_end.max(slot + ty.slots());
    }

    /// Takes the top operand off; what an accumulator holds of it stays known until the next push.
    pub(crate) fn pop(&mut self) -> Operand {
        let operand = self.operands.pop().expect("validation counts the operands");
        let height = self.height();
        if let Some(Some(Link { local, previous })) = self.links.pop() {
            let topmost = &mut self.topmost[local as usize];
            if *topmost == Some(height) {
                *topmost = previous;
            }
        }
        self.settled = self.settled.min(height);
        operand
    }

    pub(crate) fn truncate(&mut self, height: u32) {
        while let Some(link) = self
            .links
            .iter()
            .skip(height as usize)
            .rposition(Option::is_some)
        {
            let keep = height as usize + link;
            self.links.truncate(keep + 1);
            self.operands.truncate(keep + 1);
            self.pop();
        }
        self.links.truncate(height as usize);
        self.operands.truncate(height as usize);
        self.settled = self.settled.min(self.height());
    }

    /// Pushes operands that are in their slots, on top of others that are.
    pub(crate) fn push_slots(&mut self, types: &[ValType]) {
        let height = self.height();
        for held in &mut self.held {
            if matches!(*held, Some(Held::Operand(other)) if other >= height) {
                *held = None;
            }
        }
        for &ty in types {
            let slot = self.next_slot(ty);
            let place = Place::Slot;
            self.operands.push(Operand { ty, slot, place });
        }
        self.links.resize(self.operands.len(), None);
        self.max_end = self.max_end.max(self.end());
        self.settled = self.height();
    }

    /// The operand at `height` is in its slot now.
    pub(crate) fn settle(&mut self, height: u32) {
        self.operands[height as usize].place = Place::Slot;
    }

    /// The operands that are the value of local `index`, from the top down; the caller settles them all.
    pub(crate) fn take_operands_of(&mut self, index: u32) -> Vec<u32> {
        let mut heights = Vec::new();
        let mut next = self.topmost[index as usize].take();
        while let Some(height) = next {
            if matches!(self.operand(height).place, Place::Local(_)) {
                heights.push(height);
            }
            next = self.links[height as usize].and_then(|link| link.previous);
        }
        heights
    }
}
