//! How many values live at the begin of each block, all together.
//!
//! Both allocators look at each of them for each branch to the block: a body of 28 kB in which 2,000 branches leave the same
//! blocks took the one that makes a single pass 3 s, a jump table of 235,000 targets past which 512 values live took the
//! thorough one 3 s. What lives is not the same for both: to the thorough one it is what is needed later, so also what the
//! next round of a loop needs; to the other it is all that an instruction further down in its order of blocks needs.
//!
//! *Invariant:* a value takes a fixed time for each use, so counting is linear in the uses.

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, Function, Opcode, Value};

use super::table;

/// From the block that has a value to the last that needs it, by number.
#[derive(Clone, Copy, Default)]
struct Span {
    from: u32,
    to: u32,
}

/// Spans over numbered blocks.
struct Spans {
    /// Of what was defined last, by value.
    of: SecondaryMap<Value, Span>,
    /// By block: how many more live at its begin than at that of the one before it.
    more: Vec<i64>,
}

impl Spans {
    fn new(values: usize, blocks: usize) -> Spans {
        Spans {
            of: table(values),
            more: vec![0; blocks + 2],
        }
    }

    fn define(&mut self, value: Value, at: u32) {
        self.of[value] = Span { from: at, to: at };
    }

    /// Makes the span of a value longer. What is made anew in each block has none.
    fn extend(&mut self, value: Value, to: u32) {
        let span = &mut self.of[value];
        if span.from > 0 && to > span.to {
            self.more[span.to as usize + 1] += 1;
            self.more[to as usize + 1] -= 1;
            span.to = to;
        }
    }

    /// Values that live at the begin of a block, times the weight of that block by number.
    fn sum(&self, weight: impl Fn(usize) -> u64) -> u64 {
        let mut live = 0i64;
        let each = self.more.iter().enumerate().map(|(number, more)| {
            live += more;
            live.unsigned_abs().saturating_mul(weight(number))
        });
        each.fold(0, u64::saturating_add)
    }
}

/// The numbers of blocks are from 1 on.
pub(super) struct Liveness {
    /// By number in the layout: that in the order of the allocators.
    order: Vec<u32>,
    /// By number in that order: the branches to the block.
    branches: Vec<u64>,
    /// Those of them that are targets of jump tables.
    targets: Vec<u64>,
    /// In the layout, with the loops around a use.
    needed: Spans,
    /// In the order of the allocators.
    spanned: Spans,
}

impl Liveness {
    /// `place` is the number of a block in the layout, from 1 on.
    pub(super) fn new(
        func: &Function,
        domtree: &DominatorTree,
        place: &SecondaryMap<Block, u32>,
    ) -> Liveness {
        let blocks = domtree.cfg_postorder();
        let most = func.layout.blocks().count();
        let mut order = vec![0; most + 2];
        for (number, &block) in (1..).zip(blocks.iter().rev()) {
            order[place[block] as usize] = number;
        }
        let (mut branches, mut targets) = (vec![0; most + 2], vec![0; most + 2]);
        let dfg = &func.dfg;
        for &block in blocks {
            let Some(last) = func.layout.last_inst(block) else {
                continue;
            };
            let data = &dfg.insts[last];
            for call in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
                let target = place[call.block(&dfg.value_lists)];
                let number = order[target as usize] as usize;
                branches[number] += 1;
                targets[number] += u64::from(data.opcode() == Opcode::BrTable);
            }
        }
        Liveness {
            order,
            branches,
            targets,
            needed: Spans::new(dfg.num_values(), most),
            spanned: Spans::new(dfg.num_values(), most),
        }
    }

    /// A value is in the block of this number in the layout from now on.
    pub(super) fn define(&mut self, value: Value, place: u32) {
        self.needed.define(value, place);
        self.spanned.define(value, self.order[place as usize]);
    }

    /// It is needed in the block `place`, in loops which the value is not in up to `end`.
    pub(super) fn need(&mut self, value: Value, place: u32, end: u32) {
        self.needed.extend(value, place.max(end));
        self.spanned.extend(value, self.order[place as usize]);
    }

    /// Values that live at the begin of blocks.
    pub(super) fn live(&self) -> u64 {
        self.needed.sum(|_| 1)
    }

    /// The same for each branch to a block beyond the first.
    pub(super) fn branched(&self) -> u64 {
        let number = |place: usize| self.order.get(place).map_or(0, |&number| number as usize);
        self.needed
            .sum(|place| self.branches[number(place)].saturating_sub(1))
    }

    /// Values in the order of the blocks, for each branch to the block and once more.
    pub(super) fn spanned(&self) -> u64 {
        self.spanned
            .sum(|number| 1 + self.branches.get(number).copied().unwrap_or(0))
    }

    /// The same for each target of a jump table alone.
    pub(super) fn tabled(&self) -> u64 {
        self.spanned
            .sum(|number| self.targets.get(number).copied().unwrap_or(0))
    }
}
