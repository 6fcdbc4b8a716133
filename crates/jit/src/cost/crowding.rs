//! How many instructions values live across that get no register.
//!
//! When all else has its place, the thorough allocator gives each value without a register a second chance: it compares it
//! with all that each of the registers holds meanwhile, also where the first comparison has told that it is taken. So a
//! value that lives across ten thousand instructions is compared with ten thousand others, and a body of 17 kB in which
//! twenty thousand values do took 2 s. Only a call ends that at once: it takes all registers.
//!
//! What gets a register is not known. If more values live in a block, on average, than there are registers, those beyond
//! count.
//!
//! *Invariant:* a value takes a time for each use that is logarithmic in the calls of a block, so counting is about linear.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, Function, Value};

use super::table;

/// Registers of a class that values of a body may have for long, about.
const REGISTERS: u64 = 10;

/// Where a value lives. Blocks are numbered from 1 on.
#[derive(Clone, Copy, Default)]
struct Life {
    /// The block that has it; 0 if it is made anew in each block, or not at all.
    from: u32,
    /// The last block that needs it, or the next one with a call.
    to: u32,
    /// The instruction in `from` up to which its life is counted.
    at: u32,
}

/// Values that have registers of one class.
struct Class {
    /// By block: instructions that values which are made there live across in it.
    inside: Vec<u64>,
    /// By block: how many more live at its begin than at that of the one before it.
    more: Vec<i64>,
}

/// Counts while the optimizer's work is counted.
pub(super) struct Crowding {
    of: SecondaryMap<Value, Life>,
    /// Integers; floats and vectors.
    classes: [Class; 2],
    /// By block: its instructions.
    sizes: Vec<u32>,
    /// By block: the first one from it on that has a call.
    next_call: Vec<u32>,
    /// The calls in the present block.
    calls: Vec<u32>,
}

impl Crowding {
    /// `place` is the number of a block in the layout, from 1 on.
    pub(super) fn new(func: &Function, place: &SecondaryMap<Block, u32>) -> Crowding {
        let most = func.layout.blocks().count();
        let mut next_call = vec![u32::MAX; most + 2];
        for block in func.layout.blocks() {
            let mut insts = func.layout.block_insts(block);
            if insts.any(|inst| func.dfg.insts[inst].opcode().is_call()) {
                next_call[place[block] as usize] = place[block];
            }
        }
        for number in (0..=most).rev() {
            next_call[number] = next_call[number].min(next_call[number + 1]);
        }
        let class = || Class {
            inside: vec![0; most + 2],
            more: vec![0; most + 3],
        };
        Crowding {
            of: table(func.dfg.num_values()),
            classes: [class(), class()],
            sizes: vec![0; most + 2],
            next_call,
            calls: Vec::new(),
        }
    }

    /// The next block begins.
    pub(super) fn begin(&mut self) {
        self.calls.clear();
    }

    /// An instruction is put into a block.
    pub(super) fn put(&mut self, place: u32) {
        self.sizes[place as usize] += 1;
    }

    /// The last one in the present block, `place`, is a call.
    pub(super) fn call(&mut self, place: u32) {
        self.calls.push(self.sizes[place as usize]);
    }

    /// A value is in this block from now on.
    pub(super) fn define(&mut self, value: Value, place: u32) {
        self.of[value] = Life {
            from: place,
            to: place,
            at: self.sizes[place as usize],
        };
    }

    /// It is needed in the block `place`, in loops which the value is not in up to `end`.
    pub(super) fn need(&mut self, func: &Function, value: Value, place: u32, end: u32) {
        let life = &mut self.of[value];
        if life.from == 0 {
            return;
        }
        let ty = func.dfg.value_type(value);
        let class = &mut self.classes[usize::from(ty.is_float() || ty.is_vector())];
        let (from, first) = (life.from as usize, life.to == life.from);
        let to = place.max(end).min(self.next_call[from]);
        if first && (to > life.from || place == life.from) {
            let now = self.sizes[from];
            // The calls of a block that is left are not at hand, nor do they matter: one ends the life there.
            let call = match place == life.from {
                true => self.calls.partition_point(|&call| call <= life.at),
                false => self.calls.len(),
            };
            let until = self.calls.get(call).map_or(now, |&call| call.min(now));
            class.inside[from] += u64::from(until.saturating_sub(life.at));
            // After a call it counts no more.
            life.at = if until < now { u32::MAX } else { now };
        }
        if to > life.to {
            class.more[life.to as usize + 1] += 1;
            class.more[to as usize + 1] -= 1;
            life.to = to;
        }
    }

    /// The instructions, for each value that has no register.
    pub(super) fn crowded(&self) -> u64 {
        let of_class = |class: &Class| {
            let mut live = 0i64;
            let each = (class.more.iter().zip(&class.inside).zip(&self.sizes)).map(
                |((more, &inside), &size)| {
                    live += more;
                    let size = u64::from(size);
                    let all = live.unsigned_abs().saturating_mul(size);
                    all.saturating_add(inside).saturating_sub(REGISTERS * size)
                },
            );
            each.fold(0, u64::saturating_add)
        };
        let [integers, others] = &self.classes;
        of_class(integers).saturating_add(of_class(others))
    }
}
