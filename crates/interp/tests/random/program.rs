//! Programs, made of bytes, one after another.

use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::numeric::NumOp;
use tiered_decode::types::ValType;

/// The number types, each with a global and a function that returns its second parameter.
pub(super) const TYPES: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];

/// Parameters, then other locals, then the counters of loops by their depth.
pub(super) const PARAMS: [ValType; 4] = TYPES;
pub(super) const LOCALS: usize = 10;
pub(super) const COUNTERS: usize = LOCALS;
pub(super) const MAX_DEPTH: usize = 5;

pub(super) fn local_type(local: usize) -> ValType {
    if local < LOCALS {
        TYPES[local % 4]
    } else {
        ValType::I32
    }
}

/// What the function leaves on the stack, under its locals.
pub(super) const REST: [ValType; 2] = [ValType::F64, ValType::I32];

#[derive(Clone, Debug)]
pub(super) enum Node {
    Get(usize),
    Set(usize),
    Tee(usize),
    Const(ValType, u64),
    Num(NumOp),
    /// The address is masked, so that it is within the memory.
    Load(LoadOp, u32),
    Store(StoreOp, u32),
    GlobalGet(usize),
    GlobalSet(usize),
    /// Calls the function of this type that returns its second parameter.
    Second(usize),
    /// Calls the function `(i32, i64) -> (i64, i32)` through the table.
    Swap,
    Drop,
    Select,
    Block(Vec<ValType>, Vec<ValType>, Vec<Node>),
    If(Vec<ValType>, Vec<ValType>, Vec<Node>, Vec<Node>),
    /// With parameters and results, a counter and its first value.
    Loop(Vec<ValType>, Vec<ValType>, usize, u32, Vec<Node>),
    /// Counts down, and goes on with the loop at this depth unless that is the end.
    Again(usize, u32),
    Br(u32),
    BrIf(u32),
    BrTable(Vec<u32>, u32),
    /// Pushes all locals and returns.
    Return,
}

/// An open block: what a branch to it takes along, and its counter if it is a loop.
struct Label {
    branch: Vec<ValType>,
    counter: Option<usize>,
}

/// Makes programs out of bytes.
struct Maker<'a> {
    bytes: std::slice::Iter<'a, u8>,
    labels: Vec<Label>,
    calls: bool,
    nodes: usize,
}

fn index_of(ty: ValType) -> usize {
    TYPES
        .iter()
        .position(|&other| other == ty)
        .expect("a number type")
}

impl Maker<'_> {
    fn byte(&mut self) -> usize {
        self.bytes.next().map_or(0, |&byte| usize::from(byte))
    }

    fn below(&mut self, end: usize) -> usize {
        self.byte() % end
    }

    fn ty(&mut self) -> ValType {
        TYPES[self.below(4)]
    }

    fn bits(&mut self, ty: ValType) -> u64 {
        const INTERESTING: [u64; 12] = [
            0,
            1,
            u64::MAX,
            2,
            0x8000_0000,
            0x7fff_ffff,
            1 << 63,
            0xffff_ffff,
            0x3ff8_0000_0000_0000,
            0x3fc0_0000,
            0x4060_0000_0000_0000,
            0x4060_0000,
        ];
        let bits = match self.below(16) {
            index @ ..12 => INTERESTING[index],
            _ => (self.byte() as u64).wrapping_mul(0x0101_0101_0101_0101),
        };
        match ty {
            ValType::I32 | ValType::F32 => bits & 0xffff_ffff,
            _ => bits,
        }
    }

    fn local(&mut self, ty: ValType) -> usize {
        let first = index_of(ty);
        first + 4 * self.below((LOCALS - first).div_ceil(4))
    }

    fn push(&mut self, ty: ValType, stack: &mut Vec<ValType>, out: &mut Vec<Node>) {
        out.push(match self.below(8) {
            0 | 1 => Node::Const(ty, self.bits(ty)),
            2 => Node::GlobalGet(index_of(ty)),
            _ => Node::Get(self.local(ty)),
        });
        stack.push(ty);
    }

    /// Makes the stack end with these types, by pushing them unless it does.
    fn have(&mut self, types: &[ValType], stack: &mut Vec<ValType>, out: &mut Vec<Node>) {
        if !stack.ends_with(types) {
            for &ty in types {
                self.push(ty, stack, out);
            }
        }
    }

    /// The same, and takes them off.
    fn take(&mut self, types: &[ValType], stack: &mut Vec<ValType>, out: &mut Vec<Node>) {
        self.have(types, stack, out);
        stack.truncate(stack.len() - types.len());
    }

    fn types(&mut self) -> Vec<ValType> {
        (0..[0, 0, 1, 1, 2, 3][self.below(6)])
            .map(|_| self.ty())
            .collect()
    }

    /// A body that makes `results` of `params`, with `label` around it.
    fn body(&mut self, params: &[ValType], results: &[ValType], label: Label) -> Vec<Node> {
        let again = label.counter;
        self.labels.push(label);
        let (mut stack, mut out) = (params.to_vec(), Vec::new());
        for _ in 0..4 + self.below(16) {
            if self.nodes == 0 {
                break;
            }
            self.nodes -= 1;
            if !self.node(&mut stack, &mut out) {
                // What follows can't be reached, and validation lets it have any operands.
                if self.below(2) == 0 {
                    out.extend([Node::Const(ValType::I32, 1), Node::Drop]);
                }
                self.labels.pop();
                return out;
            }
        }
        if let Some(counter) = again {
            self.have(params, &mut stack, &mut out);
            out.push(Node::Again(counter, 0));
        }
        let same = stack
            .iter()
            .zip(results)
            .take_while(|(a, b)| a == b)
            .count();
        for ty in stack.drain(same..).rev() {
            out.push(if self.below(2) == 0 {
                Node::Drop
            } else {
                Node::Set(self.local(ty))
            });
        }
        for &ty in &results[same..] {
            self.push(ty, &mut stack, &mut out);
        }
        self.labels.pop();
        out
    }

    /// One more instruction with what it needs; false if it leaves the block.
    fn node(&mut self, stack: &mut Vec<ValType>, out: &mut Vec<Node>) -> bool {
        match self.below(32) {
            0..10 => {
                let mut op = NumOp::ALL[(self.byte() << 8 | self.byte()) % NumOp::ALL.len()];
                if op.can_trap() && self.below(8) > 0 {
                    op = NumOp::I32Add;
                }
                self.take(op.params(), stack, out);
                out.push(Node::Num(op));
                stack.push(op.result());
            }
            10..12 => {
                let ty = self.ty();
                self.push(ty, stack, out);
            }
            12..16 => {
                let ty = self.ty();
                self.have(&[ty], stack, out);
                let ty = stack.pop().expect("it is there");
                let local = self.local(ty);
                if self.below(2) == 0 {
                    out.push(Node::Set(local));
                } else {
                    out.push(Node::Tee(local));
                    stack.push(ty);
                }
            }
            16 => {
                let ty = self.ty();
                self.take(&[ty], stack, out);
                out.push(Node::Drop);
            }
            17 | 18 => {
                let ty = self.ty();
                self.take(&[ty, ty, ValType::I32], stack, out);
                out.push(Node::Select);
                stack.push(ty);
            }
            19 => {
                let op = LoadOp::ALL[self.below(LoadOp::ALL.len())];
                self.take(&[ValType::I32], stack, out);
                out.push(Node::Load(op, self.byte() as u32));
                stack.push(op.result());
            }
            20 => {
                let op = StoreOp::ALL[self.below(StoreOp::ALL.len())];
                self.take(&[ValType::I32], stack, out);
                // The address is masked before the value is there.
                out.push(Node::Const(ValType::I32, MASK));
                out.push(Node::Num(NumOp::I32And));
                self.push(op.param(), stack, out);
                stack.pop();
                out.push(Node::Store(op, self.byte() as u32));
            }
            21 => {
                let ty = self.ty();
                self.take(&[ty], stack, out);
                out.push(Node::GlobalSet(index_of(ty)));
            }
            22 if self.calls => {
                let ty = self.ty();
                self.take(&[ty, ty], stack, out);
                out.push(Node::Second(index_of(ty)));
                stack.push(ty);
            }
            23 if self.calls => {
                self.take(&[ValType::I32, ValType::I64], stack, out);
                out.push(Node::Swap);
                stack.extend([ValType::I64, ValType::I32]);
            }
            24..29 if self.labels.len() < MAX_DEPTH => self.nested(stack, out),
            29.. => return self.branch(stack, out),
            _ => {
                let ty = self.ty();
                self.push(ty, stack, out);
            }
        }
        true
    }

    fn nested(&mut self, stack: &mut Vec<ValType>, out: &mut Vec<Node>) {
        let (mut params, results) = (self.types(), self.types());
        if self.below(2) == 0 {
            // What happens to be on top of the stack.
            params = stack[stack.len().saturating_sub(params.len())..].to_vec();
        }
        let label = |branch: &[ValType], counter| Label {
            branch: branch.to_vec(),
            counter,
        };
        match self.below(4) {
            0 => {
                self.take(&params, stack, out);
                let body = self.body(&params, &results, label(&results, None));
                out.push(Node::Block(params, results.clone(), body));
            }
            1 => {
                let with_condition: Vec<_> = params.iter().copied().chain([ValType::I32]).collect();
                self.take(&with_condition, stack, out);
                let then = self.body(&params, &results, label(&results, None));
                let other = self.body(&params, &results, label(&results, None));
                out.push(Node::If(params, results.clone(), then, other));
            }
            _ => {
                self.take(&params, stack, out);
                let counter = COUNTERS + self.labels.len();
                let times = 1 + self.below(5) as u32;
                let body = self.body(&params, &results, label(&params, Some(counter)));
                out.push(Node::Loop(params, results.clone(), counter, times, body));
            }
        }
        stack.extend(results);
    }

    fn branch(&mut self, stack: &mut Vec<ValType>, out: &mut Vec<Node>) -> bool {
        let depth = self.below(self.labels.len());
        let label = &self.labels[self.labels.len() - 1 - depth];
        let (branch, counter) = (label.branch.clone(), label.counter);
        let outermost = depth + 1 == self.labels.len();
        let depth = depth as u32;
        if let Some(counter) = counter {
            self.have(&branch, stack, out);
            out.push(Node::Again(counter, depth));
            return true;
        }
        if outermost {
            // Most programs should not end before they have begun.
            if self.below(4) == 0 {
                self.have(&REST, stack, out);
                out.push(Node::Return);
                return false;
            }
            return true;
        }
        match self.below(8) {
            0 => {
                self.have(&branch, stack, out);
                out.push(Node::Br(depth));
                false
            }
            1 => {
                let last = self.labels.len() as u32 - 1;
                let fits = |&depth: &u32| {
                    let label = &self.labels[(last - depth) as usize];
                    depth < last && label.counter.is_none() && label.branch == branch
                };
                let fitting: Vec<u32> = (0..last).filter(fits).collect();
                let count = self.below(4);
                let targets = (0..count)
                    .map(|_| fitting[self.below(fitting.len())])
                    .collect();
                let with_index: Vec<_> = branch.iter().copied().chain([ValType::I32]).collect();
                self.take(&with_index, stack, out);
                out.push(Node::BrTable(targets, depth));
                false
            }
            _ => {
                let with_condition: Vec<_> = branch.iter().copied().chain([ValType::I32]).collect();
                self.have(&with_condition, stack, out);
                stack.pop();
                out.push(Node::BrIf(depth));
                true
            }
        }
    }
}

/// Addresses are masked by this; with an offset of a byte they stay within the memory.
pub(super) const MASK: u64 = 0xfff;

pub(super) fn program(bytes: &[u8], calls: bool) -> Vec<Node> {
    let mut maker = Maker {
        bytes: bytes.iter(),
        labels: Vec::new(),
        calls,
        nodes: 200,
    };
    let label = Label {
        branch: REST.to_vec(),
        counter: None,
    };
    maker.body(&[], &REST, label)
}
