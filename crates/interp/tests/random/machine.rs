//! The reference: a stack machine that is nothing but the spec's words and `NumOp::eval`.

use tiered_decode::numeric::NumOp;
use tiered_interp::runtime::TrapCode;

use super::program::{LOCALS, MASK, MAX_DEPTH, Node};

/// Instructions that one program may run, so that nested loops end soon.
const MAX_STEPS: u32 = 20_000;

const MEMORY: usize = 65536;

/// How a body ended.
pub(super) enum Flow {
    Next,
    Branch(u32),
    Return,
}

/// Why there is nothing to compare with.
#[derive(Debug, PartialEq)]
pub(super) enum Stop {
    Trap(TrapCode),
    /// It takes too long.
    Unknown,
}

/// The reference: a stack, locals, globals and a memory.
pub(super) struct Machine {
    pub(super) stack: Vec<u64>,
    pub(super) locals: [u64; LOCALS + MAX_DEPTH + 1],
    pub(super) globals: [u64; 4],
    pub(super) memory: Vec<u8>,
    steps: u32,
}

impl Machine {
    pub(super) fn new(args: [u64; 4]) -> Machine {
        let mut locals = [0; LOCALS + MAX_DEPTH + 1];
        locals[..4].copy_from_slice(&args);
        Machine {
            stack: Vec::new(),
            locals,
            globals: [0; 4],
            memory: vec![0; MEMORY],
            steps: 0,
        }
    }

    fn pop(&mut self) -> u64 {
        self.stack.pop().expect("the maker counts operands")
    }

    fn keep(&mut self, height: usize, count: usize) {
        let from = self.stack.len() - count;
        self.stack.drain(height..from);
    }

    pub(super) fn body(&mut self, nodes: &[Node]) -> Result<Flow, Stop> {
        for node in nodes {
            match self.node(node)? {
                Flow::Next => {}
                left => return Ok(left),
            }
        }
        Ok(Flow::Next)
    }

    fn block(&mut self, params: usize, results: usize, body: &[Node]) -> Result<Flow, Stop> {
        let height = self.stack.len() - params;
        Ok(match self.body(body)? {
            Flow::Branch(0) => {
                self.keep(height, results);
                Flow::Next
            }
            Flow::Branch(depth) => Flow::Branch(depth - 1),
            other => other,
        })
    }

    fn numeric(&mut self, op: NumOp) -> Result<(), Stop> {
        let at = self.stack.len() - op.params().len();
        let operands = self.stack.split_off(at);
        let result = op.eval(&operands).map_err(|trap| Stop::Trap(trap.into()))?;
        self.stack.push(result);
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<Flow, Stop> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Stop::Unknown);
        }
        match node {
            Node::Get(local) => self.stack.push(self.locals[*local]),
            Node::Set(local) => self.locals[*local] = self.pop(),
            Node::Tee(local) => self.locals[*local] = *self.stack.last().expect("an operand"),
            Node::Const(_, bits) => self.stack.push(*bits),
            Node::Num(op) => self.numeric(*op)?,
            Node::Load(op, offset) => {
                let at = (self.pop() & MASK) as usize + *offset as usize;
                self.stack.push(op.load(&self.memory[at..]));
            }
            Node::Store(op, offset) => {
                let value = self.pop();
                let at = self.pop() as usize + *offset as usize;
                op.store(&mut self.memory[at..], value);
            }
            Node::GlobalGet(global) => self.stack.push(self.globals[*global]),
            Node::GlobalSet(global) => self.globals[*global] = self.pop(),
            Node::Second(_) => {
                let second = self.pop();
                self.pop();
                self.stack.push(second);
            }
            Node::Swap => {
                let (second, first) = (self.pop(), self.pop());
                self.stack.extend([second, first]);
            }
            Node::Drop => {
                self.pop();
            }
            Node::Select => {
                let (condition, second, first) = (self.pop(), self.pop(), self.pop());
                self.stack.push(if condition != 0 { first } else { second });
            }
            Node::Block(params, results, body) => {
                return self.block(params.len(), results.len(), body);
            }
            Node::If(params, results, then, other) => {
                let arm = if self.pop() != 0 { then } else { other };
                return self.block(params.len(), results.len(), arm);
            }
            Node::Loop(params, _, counter, times, body) => {
                self.locals[*counter] = u64::from(*times);
                let height = self.stack.len() - params.len();
                loop {
                    match self.body(body)? {
                        Flow::Branch(0) => self.keep(height, params.len()),
                        Flow::Branch(depth) => return Ok(Flow::Branch(depth - 1)),
                        other => return Ok(other),
                    }
                }
            }
            Node::Again(counter, depth) => {
                let left = (self.locals[*counter] as i32).wrapping_sub(1);
                self.locals[*counter] = u64::from(left.cast_unsigned());
                if left > 0 {
                    return Ok(Flow::Branch(*depth));
                }
            }
            Node::Br(depth) => return Ok(Flow::Branch(*depth)),
            Node::BrIf(depth) => {
                if self.pop() != 0 {
                    return Ok(Flow::Branch(*depth));
                }
            }
            Node::BrTable(targets, default) => {
                let index = self.pop() as usize;
                return Ok(Flow::Branch(*targets.get(index).unwrap_or(default)));
            }
            Node::Return => return Ok(Flow::Return),
        }
        Ok(Flow::Next)
    }
}
