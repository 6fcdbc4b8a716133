//! What Cranelift's optimizer takes where blocks and loops are deep in one another.
//!
//! It takes all instructions without effects out of the blocks, and puts each back right before what needs its result,
//! once for each block that does and is not behind another one that did (*elaboration*). So what is computed step by step
//! along a chain of conditions, and needed on the other side of each, is copied for each: a body of 60 kB became 4.5
//! million instructions. Where to put one, it finds out by looking at the loops around each operand, and for each of these
//! at those in between: the square of the depth. And what it finds computed already it keeps by the block where that could
//! be first, which it looks for from the present block up.
//!
//! * *Invariant:* this counts what elaboration does with the body as it is. What the optimizer simplifies before that is
//!   counted too high.
//! * *Invariant:* counting ends when there are [`MOST_COPIES`] times as many copies as instructions, so it takes a time
//!   that is linear in the intermediate code.

use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::{EntitySet, SecondaryMap};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::{Block, Function, Inst, InstructionData, Opcode, Value, ValueDef};

use super::crowding::Crowding;
use super::liveness::Liveness;
use super::table;

/// How many copies of each instruction are counted, over the whole body. More is too much, whatever it is.
const MOST_COPIES: u64 = 16;

/// And this many more.
const MORE_COPIES: u64 = 4096;

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Instructions that are put somewhere a second time, and so on.
    pub(super) copies: u64,
    /// Loops that are looked at.
    pub(super) loops: u64,
    /// Blocks that are looked at.
    pub(super) dominators: u64,
    /// Values that live at the begin of blocks, the same for each further branch, and as the allocator of a single pass sees
    /// it: [`Liveness`].
    pub(super) live: u64,
    pub(super) branched: u64,
    pub(super) spanned: u64,
    pub(super) tabled: u64,
    /// Instructions that values without a register live across: [`Crowding`].
    pub(super) crowded: u64,
}

/// A loop around the present block.
#[derive(Clone, Copy)]
struct Around {
    /// The places of its header and of the last block that goes back there.
    first: u32,
    last: u32,
    /// How many blocks dominate its header.
    hoist_depth: u32,
}

impl Around {
    fn contains(&self, place: u32) -> bool {
        (self.first..=self.last).contains(&place)
    }
}

/// What is next.
enum Step {
    /// This value is needed.
    Value(Value),
    /// The operands of this instruction are there.
    Placed(Inst, Value),
}

struct Elaboration<'a> {
    func: &'a Function,
    /// For each block its number in the layout, from 1, and that of the last one that goes back to it.
    place: SecondaryMap<Block, u32>,
    last: SecondaryMap<Block, u32>,
    /// By place: how many loops are around it.
    depths: Vec<u32>,
    /// By value: the place where it was put, or 0 if it can't be seen from here.
    seen: SecondaryMap<Value, u32>,
    /// By value: the number of blocks that dominate where it could be first, and one.
    available: SecondaryMap<Value, u32>,
    /// By instruction: it was put somewhere.
    placed: EntitySet<Inst>,
    /// By the number of dominating blocks: what was put there.
    scopes: Vec<Vec<Value>>,
    around: Vec<Around>,
    steps: Vec<Step>,
    liveness: Liveness,
    crowding: Crowding,
    counts: Counts,
    most: u64,
}

/// Counts.
pub(super) fn counts(func: &Function) -> Counts {
    let cfg = ControlFlowGraph::with_function(func);
    let domtree = DominatorTree::with_function(func, &cfg);
    let mut elaboration = Elaboration::new(func, &domtree);
    let Some(entry) = func.layout.entry_block() else {
        return Counts::default();
    };
    // Blocks to go to, each with the number of those that dominate it.
    let mut open = vec![(entry, 0)];
    while let Some((block, depth)) = open.pop() {
        if elaboration.block(block, depth).is_none() {
            break;
        }
        // In the order of the optimizer, which leaves a loop once it is through with what is in it.
        let from = open.len();
        open.extend(domtree.children(block).map(|child| (child, depth + 1)));
        open[from..].reverse();
    }
    Counts {
        live: elaboration.liveness.live(),
        branched: elaboration.liveness.branched(),
        spanned: elaboration.liveness.spanned(),
        tabled: elaboration.liveness.tabled(),
        crowded: elaboration.crowding.crowded(),
        ..elaboration.counts
    }
}

impl<'a> Elaboration<'a> {
    fn new(func: &'a Function, domtree: &DominatorTree) -> Elaboration<'a> {
        let mut place: SecondaryMap<Block, u32> = SecondaryMap::new();
        let mut count = 0;
        for (at, block) in (1..).zip(func.layout.blocks()) {
            place[block] = at;
            count = at as usize;
        }
        let (mut last, mut insts): (SecondaryMap<Block, u32>, u64) = (SecondaryMap::new(), 0);
        for block in func.layout.blocks() {
            for inst in func.layout.block_insts(block) {
                insts += 1;
                let dfg = &func.dfg;
                let data = &dfg.insts[inst];
                for call in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
                    let target = call.block(&dfg.value_lists);
                    if place[target] <= place[block] {
                        last[target] = last[target].max(place[block]);
                    }
                }
            }
        }
        let mut elaboration = Elaboration {
            liveness: Liveness::new(func, domtree, &place),
            crowding: Crowding::new(func, &place),
            func,
            depths: vec![0; count + 2],
            place,
            last,
            seen: table(func.dfg.num_values()),
            available: table(func.dfg.num_values()),
            placed: EntitySet::with_capacity(func.dfg.num_insts()),
            scopes: Vec::new(),
            around: Vec::new(),
            steps: Vec::new(),
            counts: Counts::default(),
            most: MOST_COPIES * insts + MORE_COPIES,
        };
        elaboration.set_depths();
        elaboration
    }

    fn set_depths(&mut self) {
        let mut ends = vec![0; self.depths.len()];
        let mut depth = 0;
        for block in self.func.layout.blocks() {
            let (place, last) = (self.place[block], self.last[block]);
            if last > 0 {
                depth += 1;
                ends[last as usize] += 1;
            }
            self.depths[place as usize] = depth;
            depth -= ends[place as usize];
        }
    }

    /// Puts all that this block needs, whose dominators were the last blocks; nothing if that is too much.
    fn block(&mut self, block: Block, depth: u32) -> Option<()> {
        for value in self.scopes.drain(depth as usize..).flatten() {
            self.seen[value] = 0;
        }
        self.scopes.push(Vec::new());
        let place = self.place[block];
        while self
            .around
            .last()
            .is_some_and(|around| !around.contains(place))
        {
            self.around.pop();
        }
        if self.last[block] > 0 {
            self.around.push(Around {
                first: place,
                last: self.last[block],
                hoist_depth: depth.saturating_sub(1),
            });
        }
        self.counts.loops += u64::from(self.depths[place as usize]);
        self.crowding.begin();
        for &param in self.func.dfg.block_params(block) {
            self.available[param] = depth;
            self.define(param, place);
        }
        for inst in self.func.layout.block_insts(block) {
            if is_pure(self.func, inst) {
                self.find(inst, depth);
                continue;
            }
            for value in self.func.dfg.inst_values(inst) {
                self.steps.push(Step::Value(value));
                self.elaborate(place)?;
                self.need(value, place);
            }
            self.crowding.put(place);
            if self.func.dfg.insts[inst].opcode().is_call() {
                self.crowding.call(place);
            }
            for &result in self.func.dfg.inst_results(inst) {
                self.available[result] = depth;
                self.define(result, place);
            }
        }
        Some(())
    }

    /// Looks for the block where the result of `inst`, which is `depth` deep, could be first.
    fn find(&mut self, inst: Inst, depth: u32) {
        let dfg = &self.func.dfg;
        let args = dfg.inst_args(inst).iter();
        let first = args.map(|&arg| self.available[dfg.resolve_aliases(arg)]);
        let first = first.max().unwrap_or(0);
        self.available[dfg.first_result(inst)] = first;
        self.counts.dominators += u64::from(depth.saturating_sub(first));
    }

    /// Takes all steps.
    fn elaborate(&mut self, place: u32) -> Option<()> {
        while let Some(step) = self.steps.pop() {
            let dfg = &self.func.dfg;
            match step {
                Step::Value(value) => {
                    let value = dfg.resolve_aliases(value);
                    if self.seen[value] > 0 {
                        continue;
                    }
                    let ValueDef::Result(inst, _) = dfg.value_def(value) else {
                        continue;
                    };
                    let args = dfg.inst_args(inst);
                    // A constant is made anew in each block anyway.
                    if args.is_empty() || !is_pure(self.func, inst) {
                        continue;
                    }
                    self.steps.push(Step::Placed(inst, value));
                    // The first is placed first.
                    self.steps
                        .extend(args.iter().rev().map(|&arg| Step::Value(arg)));
                }
                Step::Placed(inst, value) => {
                    // Something may need it twice.
                    if self.seen[value] == 0 {
                        self.put(inst, value, place);
                    }
                }
            }
            if self.counts.copies > self.most {
                self.counts.copies = u64::MAX;
                return None;
            }
        }
        Some(())
    }

    /// Puts an instruction into the present block, or before a loop around it of which no operand is.
    fn put(&mut self, inst: Inst, value: Value, place: u32) {
        self.counts.copies += u64::from(!self.placed.insert(inst));
        let mut level = 0;
        for &arg in self.func.dfg.inst_args(inst) {
            let at = self.place_of(arg);
            let common = self.around.partition_point(|around| around.contains(at));
            let (common, depth) = (common as u64, u64::from(self.depths[at as usize]));
            // From the outermost on, each is looked for from the operand's up.
            self.counts.loops += (common + 1) * depth - common * common.saturating_sub(1) / 2;
            level = level.max(common as usize);
        }
        let (scope, place) = match self.around.get(level) {
            Some(around) => (around.hoist_depth as usize, around.first.saturating_sub(1)),
            None => (self.scopes.len() - 1, place),
        };
        let place = place.max(1);
        self.seen[value] = place;
        self.scopes[scope].push(value);
        for &arg in self.func.dfg.inst_args(inst) {
            self.need(arg, place);
        }
        self.crowding.put(place);
        self.define(value, place);
    }

    fn define(&mut self, value: Value, place: u32) {
        self.liveness.define(value, place);
        self.crowding.define(value, place);
    }

    /// A value is needed in the block `place`, and as long as the loops around the present block last that it is not in.
    fn need(&mut self, value: Value, place: u32) {
        let at = self.place_of(value);
        let common = self.around.partition_point(|around| around.contains(at));
        let around = self.around.get(common);
        let end = around.filter(|around| around.contains(place));
        let end = end.map_or(0, |around| around.last);
        let value = self.func.dfg.resolve_aliases(value);
        self.liveness.need(value, place, end);
        self.crowding.need(self.func, value, place, end);
    }

    /// Where a value is.
    fn place_of(&self, value: Value) -> u32 {
        let dfg = &self.func.dfg;
        let value = dfg.resolve_aliases(value);
        let block = match dfg.value_def(value) {
            _ if self.seen[value] > 0 => return self.seen[value],
            ValueDef::Result(inst, _) => self.func.layout.inst_block(inst),
            ValueDef::Param(block, _) => Some(block),
            ValueDef::Union(..) => None,
        };
        block.map_or(1, |block| self.place[block])
    }
}

/// Whether the optimizer takes an instruction out of its block: it has one result and no effect.
fn is_pure(func: &Function, inst: Inst) -> bool {
    let (dfg, data) = (&func.dfg, &func.dfg.insts[inst]);
    let opcode = data.opcode();
    if dfg.inst_results(inst).len() != 1 {
        return false;
    }
    if let InstructionData::Load {
        opcode: Opcode::Load,
        flags,
        ..
    } = *data
    {
        let flags = dfg.mem_flags[flags];
        return flags.readonly() && flags.notrap() && flags.can_move();
    }
    !(opcode.can_load()
        || opcode.can_store()
        || opcode.can_trap()
        || opcode.is_call()
        || opcode.is_branch()
        || opcode.is_terminator()
        || opcode.other_side_effects())
}
