//! A look ahead over a body: which loops make calls, and which locals they use most.
//!
//! The registers `l0` and `l1` hold locals within a *region*: an outermost loop without calls. They are loaded at its
//! entry; nothing in it can overwrite them but the instructions that set those locals; behind it the locals' slots
//! are as good. Innermost loops of a region keep the address of their header in a register too.
//!
//! # Why weights
//! The locals of inner loops are used more often than those of outer ones: each level counts [`WEIGHT`] times as much.

use tiered_decode::types::ValType;
use tiered_decode::wasmparser::{
    self, BlockType, OperatorsReader, Result, TryTable, VisitOperator, VisitSimdOperator,
};

use crate::operand::Bank;

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
pub(crate) fn plan(
    body: &[u8],
    ops: OperatorsReader<'_>,
    local_types: &[ValType],
) -> Result<Vec<LoopPlan>> {
    const LOOP: u8 = 0x03;
    if !body.contains(&LOOP) {
        return Ok(Vec::new());
    }
    let Scan { loops, uses, .. } = scan(ops)?;
    let calls = |index: Option<usize>| index.is_none_or(|index| loops[index].calls);
    let mut counts = vec![0; local_types.len()];
    let plans = loops.iter().map(|this| {
        let region = !this.calls && calls(this.parent);
        LoopPlan {
            head: this.innermost && !this.calls,
            region,
            pins: if region {
                most_used(
                    &uses[this.uses.clone()],
                    this.depth,
                    local_types,
                    &mut counts,
                )
            } else {
                [None; 2]
            },
        }
    });
    Ok(plans.collect())
}

fn scan(mut ops: OperatorsReader<'_>) -> Result<Scan> {
    let mut scan = Scan::default();
    while !ops.eof() {
        ops.visit_operator(&mut scan)?;
    }
    Ok(scan)
}

/// What is known of the loops so far.
#[derive(Default)]
struct Scan {
    loops: Vec<Loop>,
    /// The uses of locals within loops: the local and the number of loops around the use.
    uses: Vec<(u32, u32)>,
    /// For each open block, its loop if it is one.
    blocks: Vec<Option<usize>>,
    innermost: Option<usize>,
}

impl Scan {
    fn begin_loop(&mut self) {
        let depth = self.innermost.map_or(0, |parent| {
            self.loops[parent].innermost = false;
            self.loops[parent].depth + 1
        });
        let start = self.uses.len();
        let parent = self.innermost;
        self.loops.push(Loop {
            parent,
            depth,
            calls: false,
            innermost: true,
            uses: start..start,
        });
        self.innermost = Some(self.loops.len() - 1);
        self.blocks.push(self.innermost);
    }

    fn end(&mut self) {
        let Some(Some(ended)) = self.blocks.pop() else {
            return;
        };
        self.loops[ended].uses.end = self.uses.len();
        self.innermost = self.loops[ended].parent;
        if let (Some(parent), true) = (self.innermost, self.loops[ended].calls) {
            self.loops[parent].calls = true;
        }
    }

    fn call(&mut self) {
        if let Some(innermost) = self.innermost {
            self.loops[innermost].calls = true;
        }
    }

    fn use_local(&mut self, local: u32) {
        if let Some(innermost) = self.innermost {
            let Loop { calls, depth, .. } = self.loops[innermost];
            // A loop with calls is in no region.
            if !calls {
                self.uses.push((local, depth));
            }
        }
    }
}

/// Methods that do nothing, for all instructions but those that matter here.
macro_rules! ignored {
    (one visit_block $($rest:tt)*) => {};
    (one visit_loop $($rest:tt)*) => {};
    (one visit_if $($rest:tt)*) => {};
    (one visit_end $($rest:tt)*) => {};
    (one visit_try_table $($rest:tt)*) => {};
    (one visit_try $($rest:tt)*) => {};
    (one visit_delegate $($rest:tt)*) => {};
    (one visit_throw $($rest:tt)*) => {};
    (one visit_throw_ref $($rest:tt)*) => {};
    (one visit_rethrow $($rest:tt)*) => {};
    (one visit_call $($rest:tt)*) => {};
    (one visit_call_indirect $($rest:tt)*) => {};
    (one visit_call_ref $($rest:tt)*) => {};
    (one visit_local_get $($rest:tt)*) => {};
    (one visit_local_set $($rest:tt)*) => {};
    (one visit_local_tee $($rest:tt)*) => {};
    (one $visit:ident $($ty:ty),*) => {
        fn $visit(&mut self $(, _: $ty)*) {}
    };
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($arity:tt)*) )*) => {
        $( ignored! { one $visit $($($ty),*)? } )*
    };
}

impl<'a> VisitOperator<'a> for Scan {
    type Output = ();

    wasmparser::for_each_visit_operator!(ignored);

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = ()>> {
        Some(self)
    }

    fn visit_block(&mut self, _: BlockType) {
        self.blocks.push(None);
    }

    fn visit_if(&mut self, _: BlockType) {
        self.blocks.push(None);
    }

    fn visit_loop(&mut self, _: BlockType) {
        self.begin_loop();
    }

    // What comes to a pad finds nothing in registers, as behind a call.
    fn visit_try_table(&mut self, _: TryTable) {
        self.call();
        self.blocks.push(None);
    }

    fn visit_try(&mut self, _: BlockType) {
        self.call();
        self.blocks.push(None);
    }

    fn visit_delegate(&mut self, _: u32) {
        self.end();
    }

    fn visit_throw(&mut self, _: u32) {
        self.call();
    }

    fn visit_throw_ref(&mut self) {
        self.call();
    }

    fn visit_rethrow(&mut self, _: u32) {
        self.call();
    }

    fn visit_end(&mut self) {
        self.end();
    }

    fn visit_call(&mut self, _: u32) {
        self.call();
    }

    fn visit_call_indirect(&mut self, _: u32, _: u32) {
        self.call();
    }

    fn visit_call_ref(&mut self, _: u32) {
        self.call();
    }

    fn visit_local_get(&mut self, local: u32) {
        self.use_local(local);
    }

    fn visit_local_set(&mut self, local: u32) {
        self.use_local(local);
    }

    fn visit_local_tee(&mut self, local: u32) {
        self.use_local(local);
    }
}

impl VisitSimdOperator<'_> for Scan {
    wasmparser::for_each_visit_simd_operator!(ignored);
}

/// The two integer locals used most. `counts` is all zeros before and after.
fn most_used(
    uses: &[(u32, u32)],
    depth: u32,
    types: &[ValType],
    counts: &mut [u64],
) -> [Option<u32>; 2] {
    let is_int = |local: u32| Bank::of(types[local as usize]) == Bank::Int;
    for &(local, at) in uses {
        if is_int(local) {
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
