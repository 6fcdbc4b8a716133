//! A look ahead over a body: which loops make calls, and which locals they use most.
//!
//! The registers `l0` and `l1` hold locals within a *region*: an outermost loop without calls. They are loaded at its
//! entry; nothing in it can overwrite them but the instructions that set those locals; behind it the locals' slots
//! are as good. Innermost loops of a region keep the address of their header in a register too.
//!
//! # Why weights
//! The locals of inner loops are used more often than those of outer ones: each level counts [`WEIGHT`] times as much.

use tiered_decode::types::ValType;
use tiered_decode::wasmparser::{Operator, OperatorsReader, Result};

/// How much more a use counts for each loop around it within the region.
const WEIGHT: u64 = 8;

/// What the translator does at a loop's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoopPlan {
    /// The loop is innermost and makes no calls.
    pub(crate) head: bool,
    /// The loop is a region.
    pub(crate) region: bool,
    /// The locals that the region pins.
    pub(crate) pins: [Option<u32>; 2],
}

struct Loop {
    parent: Option<usize>,
    depth: u32,
    calls: bool,
    innermost: bool,
    uses: std::ops::Range<usize>,
}

/// One plan for each loop, in the order of their `loop` instructions.
pub(crate) fn plan(body: &[u8], ops: OperatorsReader<'_>, local_types: &[ValType]) -> Result<Vec<LoopPlan>> {
    const LOOP: u8 = 0x03;
    if !body.contains(&LOOP) {
        return Ok(Vec::new());
    }
    let (loops, uses) = scan(ops)?;
    let calls = |index: Option<usize>| index.is_none_or(|index| loops[index].calls);
    let mut counts = vec![0; local_types.len()];
    let plans = loops.iter().map(|this| {
        let region = !this.calls && calls(this.parent);
        LoopPlan {
            head: this.innermost && !this.calls,
            region,
            pins: if region { most_used(&uses[this.uses.clone()], this.depth, local_types, &mut counts) } else { [None; 2] },
        }
    });
    Ok(plans.collect())
}

/// The loops, and the uses of locals within them: the local and the number of loops around the use.
fn scan(mut ops: OperatorsReader<'_>) -> Result<(Vec<Loop>, Vec<(u32, u32)>)> {
    let mut loops: Vec<Loop> = Vec::new();
    let mut uses = Vec::new();
    // For each open block, its loop if it is one.
    let mut blocks: Vec<Option<usize>> = Vec::new();
    let mut innermost: Option<usize> = None;
    while !ops.eof() {
        match ops.read()? {
            Operator::Loop { .. } => {
                let depth = innermost.map_or(0, |parent| {
                    loops[parent].innermost = false;
                    loops[parent].depth + 1
                });
                let start = uses.len();
                loops.push(Loop { parent: innermost, depth, calls: false, innermost: true, uses: start..start });
                innermost = Some(loops.len() - 1);
                blocks.push(innermost);
            }
            Operator::Block { .. } | Operator::If { .. } => blocks.push(None),
            Operator::End => {
                if let Some(Some(ended)) = blocks.pop() {
                    loops[ended].uses.end = uses.len();
                    innermost = loops[ended].parent;
                    if let (Some(parent), true) = (innermost, loops[ended].calls) {
                        loops[parent].calls = true;
                    }
                }
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } => {
                if let Some(innermost) = innermost {
                    loops[innermost].calls = true;
                }
            }
            Operator::LocalGet { local_index } | Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                if let Some(innermost) = innermost {
                    uses.push((local_index, loops[innermost].depth));
                }
            }
            _ => {}
        }
    }
    Ok((loops, uses))
}

/// The two integer locals used most. `counts` is all zeros before and after.
fn most_used(uses: &[(u32, u32)], depth: u32, types: &[ValType], counts: &mut [u64]) -> [Option<u32>; 2] {
    let float = |local: u32| matches!(types[local as usize], ValType::F32 | ValType::F64);
    for &(local, at) in uses {
        if !float(local) {
            let weight = WEIGHT.saturating_pow((at - depth).min(6));
            counts[local as usize] = counts[local as usize].saturating_add(weight);
        }
    }
    let mut best = [(0, None), (0, None)];
    for &(local, _) in uses {
        let count = std::mem::take(&mut counts[local as usize]);
        if count > best[0].0 {
            best = [(count, Some(local)), best[0]];
        } else if count > best[1].0 {
            best[1] = (count, Some(local));
        }
    }
    best.map(|(count, local)| local.filter(|_| count > 1))
}
