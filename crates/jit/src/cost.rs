//! What compiling takes, foreseen from Cranelift's intermediate code.
//!
//! Time and memory go to what can be counted ([`Work`]): instructions, blocks, what branches carry. Some things grow faster
//! than the body:
//!
//! * The register allocator joins all values that branches carry to each other into one *bundle*: it adds one value after
//!   the other to what the bundle has, and it looks at all of a bundle whenever it splits it, which it does at loops. A
//!   local that is set in a thousand places of a nest of blocks is such a bundle. Where that would take most of the time,
//!   the allocator that makes a single pass is taken: its code is slower by half, but it takes as long as the body is large.
//!   For each value that lives where a block begins it also looks through all that branches carry, from the last value on
//!   that it has split: two thousand branches that carry 40 values each took 5 s. How many it will split is not foreseen:
//!   where it might take longer than [`MOST_SCANNING`] without, a single pass is taken.
//! * The optimizer copies what is computed along a nest of conditions, and looks at all loops around an instruction, for
//!   each of these at those in between ([`elaboration`]).
//! * The trampolines of functions with hundreds of parameters and results ([`trampolines`]).
//! * Both allocators look at all values that live at the begin of a block, for each branch to it ([`liveness`]).
//! * The register allocator compares each value that got no register with all that each register holds while the value
//!   lives ([`crowding`]). Where that takes most of the time, a single pass is taken.
//! * The front end makes a value for each local that a loop may carry, and takes most of them back; the optimizer has room
//!   for all.
//!
//! What takes too long or too much memory even so is not compiled.
//!
//! * *Invariant:* to count takes a time that is linear in the intermediate code.
//! * *Invariant:* what is counted decides; no clock is read, so the same body gets the same code on every machine.
//! * *Invariant:* what is compiled is foreseen to take no more than [`MOST_TIME`] and [`MOST_BYTES`].
//!
//! # How the estimates were made
//! Twenty kinds of generated bodies (loops after and in one another, nests of blocks and conditions, jump tables, straight
//! code, calls, types of many values, with 1 to 100 locals) and the largest functions of a program of 20 MB were compiled
//! both ways on a machine of 2025, and random bodies of the fuzz target `compile_cost` beside other work. The memory of those
//! that take over 8 MiB was within three times of what is foreseen. The time was within three times too, but for straight code
//! that repeats itself, which takes a fourth, and for two thousand branches and more past which many values live that the
//! allocator does not split: one body in some thousands took up to six times as long, 0.9 seconds. Thousands of branches
//! back to one loop take up to eleven times as long, 1.0 seconds beside other work: there the allocator looks through what
//! they carry about as often as [`Work::scans`] can be. The example `cost` prints both.
//! Structures and casts were counted, but not timed.
//! Vectors are counted as Cranelift has them, casts between lanes and all: that is about as many instructions as the machine
//! has for them.

mod crowding;
mod elaboration;
#[cfg(test)]
mod kinds;
mod liveness;
mod trampolines;

use std::time::Duration;

use cranelift_codegen::entity::{EntityRef, EntitySet, SecondaryMap};
use cranelift_codegen::ir::{self, Block, InstructionData, Opcode, Value, ValueDef};
use cranelift_codegen::packed_option::PackedOption;

pub(crate) use trampolines::{Trampolines, allocator as trampoline_allocator};

/// The longest time that a compile may be foreseen to take: no function is worth more of a thread.
pub const MOST_TIME: Duration = Duration::from_millis(700);

/// The most memory that a compile may be foreseen to take, in bytes.
pub const MOST_BYTES: usize = 256 << 20;

/// Of the memory that a compile may take, translating may take the part that is one over this.
const TRANSLATION_PART: usize = 3;

/// What a definition of a variable takes there: four bytes in a table that has room for up to twice as many.
const DEFINITION_BYTES: usize = 6;

/// The thorough allocator may take this long whatever takes the time.
const UNNOTICED: Duration = Duration::from_millis(30);

/// The thorough allocator may take this long if it splits no value, as it does where there are many.
const MOST_SCANNING: Duration = Duration::from_millis(500);

/// What of a body takes time and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Instructions.
    pub insts: u64,
    /// Blocks.
    pub blocks: u64,
    /// Parameters of blocks, and arguments of branches.
    pub carried: u64,
    /// Of these the parameters of blocks.
    pub params: u64,
    /// Targets of jump tables.
    pub targets: u64,
    /// Arguments of calls.
    pub passed: u64,
    /// For each bundle the square of its parameters, all together.
    pub merges: u64,
    /// For each bundle its parameters, times those of them that are of loops, all together.
    pub splits: u64,
    /// Instructions without effects that the optimizer puts into more than one block, each as often as it does beyond the
    /// first.
    pub copies: u64,
    /// Loops that the optimizer looks at around operands, and around these: up to the square of their depth for each
    /// instruction.
    pub loops: u64,
    /// Blocks that the optimizer looks at from an instruction up to where its operands are.
    pub dominators: u64,
    /// Numbers of values, also of those that the front end made and took back.
    pub values: u64,
    /// Definitions of variables that the front end had room for.
    pub definitions: u64,
    /// Values that live at the begin of blocks, all together.
    pub live: u64,
    /// The same for each branch to the block beyond the first.
    pub branched: u64,
    /// The same as the allocator of a single pass sees it, for each branch to the block and once more.
    pub spanned: u64,
    /// That for each target of a jump table alone, which takes it longer.
    pub tabled: u64,
    /// Instructions that values live across that get no register, all together.
    pub crowded: u64,
}

/// How registers are allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// As well as it can be done.
    Thorough,
    /// In a single pass.
    SinglePass,
}

/// What a compile is foreseen to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Time of a core of a server of 2025.
    pub time: Duration,
    /// Bytes of memory while it takes place.
    pub bytes: usize,
    /// How it is done.
    pub allocator: Allocator,
}

impl Estimate {
    fn is_within(&self, time: Duration, bytes: usize) -> bool {
        self.time <= time && self.bytes <= bytes
    }
}

impl Work {
    /// What is known of a body of which a part is translated: no number is larger than it will be.
    pub(crate) fn so_far(dfg: &ir::DataFlowGraph, definitions: usize) -> Work {
        Work {
            insts: dfg.num_insts() as u64,
            values: dfg.num_values() as u64,
            definitions: definitions as u64,
            ..Work::default()
        }
    }

    /// Counts: first what takes little to count. The rest if it goes on after that, else nothing.
    pub(crate) fn of(
        func: &ir::Function,
        definitions: usize,
        goes_on: impl FnOnce(&Work) -> bool,
    ) -> Option<Work> {
        let mut work = Work::in_order(func, definitions);
        if !goes_on(&work) {
            return None;
        }
        let elaboration = elaboration::counts(func);
        work.copies = elaboration.copies;
        work.loops = elaboration.loops;
        work.dominators = elaboration.dominators;
        (work.live, work.branched) = (elaboration.live, elaboration.branched);
        (work.spanned, work.tabled) = (elaboration.spanned, elaboration.tabled);
        work.crowded = elaboration.crowded;
        Some(work)
    }

    /// Counts what can be counted block by block, in the order of the layout.
    fn in_order(func: &ir::Function, definitions: usize) -> Work {
        let mut work = Work {
            values: func.dfg.num_values() as u64,
            definitions: definitions as u64,
            ..Work::default()
        };
        let mut bundles = Bundles::new(func.dfg.num_values());
        let mut place: SecondaryMap<Block, u32> = SecondaryMap::new();
        for (at, block) in (1..).zip(func.layout.blocks()) {
            place[block] = at;
            func.dfg
                .block_params(block)
                .iter()
                .for_each(|&param| bundles.sizes[param].params = 1);
        }
        for block in func.layout.blocks() {
            work.blocks += 1;
            work.params += func.dfg.block_params(block).len() as u64;
            for inst in func.layout.block_insts(block) {
                work.insts += 1;
                work.count(func, inst, &mut bundles, |target| {
                    place[target] <= place[block]
                });
            }
        }
        work.carried += work.params;
        (work.merges, work.splits) = bundles.sums();
        work
    }

    fn count(
        &mut self,
        func: &ir::Function,
        inst: ir::Inst,
        bundles: &mut Bundles,
        leads_back: impl Fn(Block) -> bool,
    ) {
        let dfg = &func.dfg;
        let data = &dfg.insts[inst];
        if let InstructionData::BranchTable { table, .. } = data {
            self.targets += dfg.jump_tables[*table].all_branches().len() as u64;
        }
        if let Some(first) = goes_over(dfg, data) {
            bundles.join_source(dfg, first, dfg.first_result(inst));
        }
        if data.opcode().is_call() {
            self.passed += dfg.inst_args(inst).len() as u64;
        }
        for call in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
            let target = call.block(&dfg.value_lists);
            let params = dfg.block_params(target);
            for (arg, &param) in call.args(&dfg.value_lists).zip(params) {
                self.carried += 1;
                if leads_back(target) {
                    bundles.of_loop(param);
                }
                if let Some(arg) = arg.as_value() {
                    bundles.join_source(dfg, arg, param);
                }
            }
        }
    }

    /// What it takes to compile this with no more than `bytes` of memory; `None` if that can't be done, or takes too long.
    #[must_use]
    pub fn estimate(&self, bytes: usize) -> Option<Estimate> {
        self.estimate_with(bytes, &Trampolines::default())
    }

    /// As [`Work::estimate`], with so much left over that trampolines can be made, too.
    pub(crate) fn estimate_with(&self, bytes: usize, others: &Trampolines) -> Option<Estimate> {
        let most_time = MOST_TIME.checked_sub(others.time())?;
        let most_bytes = bytes.min(MOST_BYTES).checked_sub(others.bytes())?;
        let [thorough, single_pass] = self.choices();
        let linear = self.thorough_ns().0;
        let in_proportion = thorough.time <= UNNOTICED.max(3 * Duration::from_nanos(linear))
            && Duration::from_nanos(linear.saturating_add(self.scans(self.live))) <= MOST_SCANNING;
        let wanted = if in_proportion && thorough.is_within(most_time, most_bytes) {
            thorough
        } else {
            single_pass
        };
        Some(wanted).filter(|estimate| estimate.is_within(most_time, most_bytes))
    }

    /// Whether a body of which this is a part may be compiled with no more than `bytes` of memory.
    pub(crate) fn may_be_compiled(&self, bytes: usize) -> bool {
        let bytes = bytes.min(MOST_BYTES);
        let mut choices = self.choices().into_iter();
        choices.any(|estimate| estimate.is_within(MOST_TIME, bytes))
    }

    /// What it takes with either allocator, the thorough one first.
    fn choices(&self) -> [Estimate; 2] {
        let choices = [
            (
                Allocator::Thorough,
                self.thorough_ns().1,
                self.thorough_bytes(),
            ),
            (
                Allocator::SinglePass,
                self.single_pass_ns(),
                self.single_pass_bytes(),
            ),
        ];
        choices.map(|(allocator, ns, bytes)| Estimate {
            time: Duration::from_nanos(ns),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            allocator,
        })
    }

    /// The time of the thorough allocator and all else: what is in proportion to the body, and all.
    fn thorough_ns(&self) -> (u64, u64) {
        let linear =
            900 * self.insts + 1_200 * self.carried + 700 * self.targets + 600 * self.passed;
        let linear = linear.saturating_add(self.optimizer_ns(2_000));
        let linear = linear.saturating_add(self.live.saturating_mul(30));
        let linear = linear.saturating_add(self.branched.saturating_mul(15));
        // A fourth: of generated bodies it is nearly all, of programs often a hundredth.
        let linear = linear.saturating_add(self.scans(self.live) / 4);
        let in_a_block = self.carried / self.blocks.max(1) + 1;
        let merging = (self.merges / 10).saturating_mul(3 * in_a_block);
        let splitting = self.splits.saturating_mul(19);
        let beyond = merging.saturating_add(splitting);
        let beyond = beyond.saturating_add(self.scans(self.live.min(2 * self.params)));
        let beyond = beyond.saturating_add(self.chances());
        (linear, linear.saturating_add(beyond))
    }

    /// For each parameter of a block, and for a number of values where a block begins, the allocator looks through what branches
    /// carry from the last value on that it had split.
    fn scans(&self, live: u64) -> u64 {
        let args = self.carried - self.params;
        live.saturating_add(self.params).saturating_mul(args) / 2
    }

    /// Values without a register are compared with what registers hold. That takes longer once more is to be looked up than
    /// there is in caches.
    fn chances(&self) -> u64 {
        let compared = self.insts.saturating_add(self.copies);
        let beyond_caches = compared.saturating_sub(20_000).min(70_000);
        self.crowded.saturating_mul(50 + beyond_caches / 400)
    }

    fn single_pass_ns(&self) -> u64 {
        let in_blocks = 450 * self.insts + 1_000 * self.blocks + 400 * self.passed;
        let linear = in_blocks + 250 * self.carried + 700 * self.targets;
        let linear = linear.saturating_add(self.optimizer_ns(700));
        let linear = linear.saturating_add(self.spanned.saturating_mul(7));
        linear.saturating_add(self.tabled.saturating_mul(6))
    }

    /// What the optimizer takes out of proportion, and what its copies take, each so long.
    fn optimizer_ns(&self, copy: u64) -> u64 {
        let looking = self.loops.saturating_mul(2).saturating_add(self.dominators);
        let looking = looking.saturating_add(60 * self.values + 3 * self.definitions);
        looking.saturating_add(self.copies.saturating_mul(copy))
    }

    fn thorough_bytes(&self) -> u64 {
        let body = 500 * self.insts + 700 * self.carried + 1_200 * self.blocks;
        let body = body + 1_900 * self.targets + 600 * self.passed;
        let body = body.saturating_add(self.live.saturating_mul(30));
        // Each part that is split off a bundle is a copy of what is left, and kept to the end.
        let body = body.saturating_add(self.merges.saturating_mul(6));
        self.whole_bytes(body.saturating_add(self.copies.saturating_mul(900)))
    }

    fn single_pass_bytes(&self) -> u64 {
        let body = 400 * self.insts + 150 * self.carried + 600 * self.blocks;
        let body = body + 1_100 * self.targets + 400 * self.passed;
        self.whole_bytes(body.saturating_add(self.copies.saturating_mul(600)))
    }

    /// With the tables that have a place for each value; the front end's are gone by then.
    fn whole_bytes(&self, body: u64) -> u64 {
        let body = body.saturating_add(100 * self.values);
        body.max(TRANSLATION_PART as u64 * DEFINITION_BYTES as u64 * self.definitions)
    }
}

/// Whether a translation may go on that has come so far, with room for `definitions` of variables and `more` values in
/// lists, if the compile may take `bytes`.
pub(crate) fn is_translatable(
    dfg: &ir::DataFlowGraph,
    definitions: usize,
    more: usize,
    bytes: usize,
) -> bool {
    // What is made in a vector that grows is there twice for a moment.
    let lists = 4 * dfg.value_lists.capacity() + 8 * more;
    let made = 16 * dfg.num_values() + 64 * dfg.num_insts() + DEFINITION_BYTES * definitions;
    lists + made <= bytes.min(MOST_BYTES) / TRANSLATION_PART
}

/// The operand whose place the result of an instruction has. An instruction of this machine puts its result where its
/// first operand was; a cast from vector to vector is none.
fn goes_over(dfg: &ir::DataFlowGraph, data: &InstructionData) -> Option<Value> {
    match *data {
        InstructionData::Binary {
            args: [first, _], ..
        }
        | InstructionData::TernaryImm8 {
            args: [first, _], ..
        }
        | InstructionData::Ternary {
            opcode: Opcode::Fma,
            args: [first, ..],
        } => Some(first),
        InstructionData::LoadNoOffset {
            opcode: Opcode::Bitcast,
            arg,
            ..
        } if dfg.value_type(arg).is_vector() => Some(arg),
        _ => None,
    }
}

/// A table with `of` places, made at once: one that grows takes up to three times the memory.
fn table<K: EntityRef, V: Clone + Default>(of: usize) -> SecondaryMap<K, V> {
    let mut table = SecondaryMap::with_capacity(of);
    table.resize(of);
    table
}

/// What counts of a set of values.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Parameters of blocks.
    params: u32,
    /// Those of loops.
    of_loops: u32,
    /// Values less one.
    joined: u32,
}

/// Sets of values, joined two at a time.
struct Bundles {
    /// Leads to another of the set, at last to the one that stands for it, which leads nowhere.
    next: SecondaryMap<Value, PackedOption<Value>>,
    /// Of those that stand for a set.
    sizes: SecondaryMap<Value, Size>,
    /// Constants that another was joined with.
    joined: EntitySet<Value>,
    /// Parameters of loops.
    of_loop: EntitySet<Value>,
}

impl Bundles {
    /// For this many values.
    fn new(values: usize) -> Bundles {
        Bundles {
            next: table(values),
            sizes: table(values),
            joined: EntitySet::with_capacity(values),
            of_loop: EntitySet::with_capacity(values),
        }
    }

    fn find(&mut self, mut of: Value) -> Value {
        while let Some(next) = self.next[of].expand() {
            // Halves the way for the next time.
            if self.next[next].is_some() {
                self.next[of] = self.next[next];
            }
            of = next;
        }
        of
    }

    /// `source` goes to `value`. A constant goes to many that have nothing to do with each other, and is joined with one.
    fn join_source(&mut self, dfg: &ir::DataFlowGraph, source: Value, value: Value) {
        let source = dfg.resolve_aliases(source);
        let is_constant = match dfg.value_def(source) {
            ValueDef::Result(inst, _) => dfg.inst_args(inst).is_empty(),
            _ => false,
        };
        if !is_constant || self.joined.insert(source) {
            self.join(source, value);
        }
    }

    fn join(&mut self, a: Value, b: Value) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return;
        }
        let (small, large) = if self.sizes[a].joined < self.sizes[b].joined {
            (a, b)
        } else {
            (b, a)
        };
        self.next[small] = large.into();
        let added = self.sizes[small];
        let size = &mut self.sizes[large];
        size.params += added.params;
        size.of_loops += added.of_loops;
        size.joined += added.joined + 1;
    }

    /// A parameter is one of a loop.
    fn of_loop(&mut self, param: Value) {
        if self.of_loop.insert(param) {
            let set = self.find(param);
            self.sizes[set].of_loops += 1;
        }
    }

    /// [`Work::merges`] and [`Work::splits`].
    fn sums(&self) -> (u64, u64) {
        let (mut merges, mut splits) = (0u64, 0u64);
        for (value, size) in self.sizes.iter() {
            if self.next[value].is_none() {
                let params = u64::from(size.params);
                merges = merges.saturating_add(params * params);
                splits = splits.saturating_add(params * u64::from(size.of_loops));
            }
        }
        (merges, splits)
    }
}

#[cfg(test)]
mod tests;
