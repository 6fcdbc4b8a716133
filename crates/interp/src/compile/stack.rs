//! The operand stack while a body is translated: where each operand is, instead of a copy of it.
//!
//! * *Invariant:* an operand in [`Place::Acc`] is in the accumulator of its bank and nowhere else; its producer is
//!   known, and can be told at any time to leave the value in the operand's slot as well.
//! * *Invariant:* an accumulator holds at most what [`Held`] says: an operand's value, a local's, or nothing of use.
//! * *Invariant:* operands below `settled` are in their slots.

use tiered_decode::types::ValType;

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
    pub(crate) place: Place,
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
    /// The operand with so many below it.
    Operand(u32),
    /// The value of a local.
    Local(u32),
}

/// The bank of a type.
pub(crate) fn bank(ty: ValType) -> Bank {
    match ty {
        ValType::F32 => Bank::F32,
        ValType::F64 => Bank::F64,
        _ => Bank::Int,
    }
}

/// The operands, and what the accumulators hold.
#[derive(Default)]
pub(crate) struct OperandStack {
    operands: Vec<Operand>,
    /// One for each operand.
    links: Vec<Option<Link>>,
    /// For each local, the topmost operand that was pushed as its value, unless all such are in their slots.
    topmost: Vec<Option<u32>>,
    held: [Option<Held>; 3],
    settled: u32,
    /// The most operands there ever were.
    pub(crate) max_height: u32,
}

impl OperandStack {
    pub(crate) fn new(locals: usize) -> OperandStack {
        OperandStack {
            topmost: vec![None; locals],
            ..OperandStack::default()
        }
    }

    pub(crate) fn height(&self) -> u32 {
        self.operands.len() as u32
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
        self.held = [None; 3];
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
            _ => None,
        });
        self.operands.push(Operand { ty, place });
        self.max_height = self.max_height.max(height + 1);
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
        let slot = |&ty: &ValType| Operand {
            ty,
            place: Place::Slot,
        };
        self.operands.extend(types.iter().map(slot));
        self.links.resize(self.operands.len(), None);
        self.max_height = self.max_height.max(self.height());
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
