//! Random programs against a stack machine that is nothing but the spec's words and [`NumOp::eval`].
//!
//! A program is one function with locals of all number types, blocks, loops that end, branches with values, calls,
//! globals and a memory. Its results are what is left on the stack and all locals.
//!
//! *Invariant:* a program is made of bytes, one after another, so that a failing one shrinks.

#[path = "../../runtime/tests/deepen/mod.rs"]
mod deepen;

use std::sync::Arc;

use proptest::prelude::*;
use tiered_decode::Module;
use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::numeric::NumOp;
use tiered_decode::types::ValType;
use tiered_interp::Interpreter;
use tiered_interp::runtime::{Limits, Linker, Store, TrapCode, Val};

/// The number types, each with a global and a function that returns its second parameter.
const TYPES: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];

/// Parameters, then other locals, then the counters of loops by their depth.
const PARAMS: [ValType; 4] = TYPES;
const LOCALS: usize = 10;
const COUNTERS: usize = LOCALS;
const MAX_DEPTH: usize = 5;
const MEMORY: usize = 65536;

/// Instructions that one program may run, so that nested loops end soon.
const MAX_STEPS: u32 = 20_000;

fn local_type(local: usize) -> ValType {
    if local < LOCALS {
        TYPES[local % 4]
    } else {
        ValType::I32
    }
}

/// What the function leaves on the stack, under its locals.
const REST: [ValType; 2] = [ValType::F64, ValType::I32];

#[derive(Clone, Debug)]
enum Node {
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
const MASK: u64 = 0xfff;

fn program(bytes: &[u8], calls: bool) -> Vec<Node> {
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

/// How a body ended.
enum Flow {
    Next,
    Branch(u32),
    Return,
}

/// Why there is nothing to compare with.
#[derive(Debug, PartialEq)]
enum Stop {
    Trap(TrapCode),
    /// It takes too long.
    Unknown,
}

/// The reference: a stack, locals, globals and a memory.
struct Machine {
    stack: Vec<u64>,
    locals: [u64; LOCALS + MAX_DEPTH + 1],
    globals: [u64; 4],
    memory: Vec<u8>,
    steps: u32,
}

impl Machine {
    fn new(args: [u64; 4]) -> Machine {
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

    fn body(&mut self, nodes: &[Node]) -> Result<Flow, Stop> {
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

/// Writes programs in the text format, without names and without folding.
struct Writer {
    text: String,
}

impl Writer {
    fn types(&mut self, params: &[ValType], results: &[ValType]) {
        for (word, types) in [("param", params), ("result", results)] {
            let types: String = types.iter().map(|ty| format!(" {ty}")).collect();
            self.text += &format!(" ({word}{types})");
        }
        self.text += "\n";
    }

    fn body(&mut self, nodes: &[Node]) {
        nodes.iter().for_each(|node| self.node(node));
    }

    fn line(&mut self, line: &str) {
        self.text += line;
        self.text += "\n";
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Get(local) => self.line(&format!("local.get {local}")),
            Node::Set(local) => self.line(&format!("local.set {local}")),
            Node::Tee(local) => self.line(&format!("local.tee {local}")),
            Node::Const(ty, bits) => self.constant(*ty, *bits),
            Node::Num(op) => self.line(op.text()),
            Node::Load(op, offset) => {
                self.line(&format!("i32.const {MASK} i32.and {op} offset={offset}"));
            }
            Node::Store(op, offset) => self.line(&format!("{op} offset={offset}")),
            Node::GlobalGet(global) => self.line(&format!("global.get {global}")),
            Node::GlobalSet(global) => self.line(&format!("global.set {global}")),
            Node::Second(ty) => self.line(&format!("call {ty}")),
            Node::Swap => self.line("i32.const 0 call_indirect (type $swap)"),
            Node::Drop => self.line("drop"),
            Node::Select => self.line("select"),
            Node::Block(params, results, body) => {
                self.text += "block";
                self.types(params, results);
                self.body(body);
                self.line("end");
            }
            Node::If(params, results, then, other) => {
                self.text += "if";
                self.types(params, results);
                self.body(then);
                self.line("else");
                self.body(other);
                self.line("end");
            }
            Node::Loop(params, results, counter, times, body) => {
                self.line(&format!("i32.const {times} local.set {counter}"));
                self.text += "loop";
                self.types(params, results);
                self.body(body);
                self.line("end");
            }
            Node::Again(counter, depth) => self.line(&format!(
                "local.get {counter} i32.const 1 i32.sub local.tee {counter} i32.const 0 i32.gt_s br_if {depth}"
            )),
            Node::Br(depth) => self.line(&format!("br {depth}")),
            Node::BrIf(depth) => self.line(&format!("br_if {depth}")),
            Node::BrTable(targets, default) => {
                let targets: String = targets.iter().map(|target| format!("{target} ")).collect();
                self.line(&format!("br_table {targets}{default}"));
            }
            Node::Return => {
                self.locals();
                self.line("return");
            }
        }
    }

    /// By the bits, so that every NaN is told exactly.
    fn constant(&mut self, ty: ValType, bits: u64) {
        match ty {
            ValType::I32 => self.line(&format!("i32.const {}", bits as i32)),
            ValType::I64 => self.line(&format!("i64.const {}", bits.cast_signed())),
            ValType::F32 => {
                let value = f32::from_bits(bits as u32);
                let nan = nan(value.is_sign_negative(), bits & 0x007f_ffff);
                let text = if value.is_nan() {
                    nan
                } else {
                    format!("{value:?}")
                };
                self.line(&format!("f32.const {text}"));
            }
            _ => {
                let value = f64::from_bits(bits);
                let nan = nan(value.is_sign_negative(), bits & 0x000f_ffff_ffff_ffff);
                let text = if value.is_nan() {
                    nan
                } else {
                    format!("{value:?}")
                };
                self.line(&format!("f64.const {text}"));
            }
        }
    }

    fn locals(&mut self) {
        (0..LOCALS).for_each(|local| self.line(&format!("local.get {local}")));
    }
}

fn nan(negative: bool, payload: u64) -> String {
    let sign = if negative { "-" } else { "" };
    format!("{sign}nan:{payload:#x}")
}

fn text(program: &[Node]) -> String {
    let mut writer = Writer {
        text: String::from("(module (memory (export \"memory\") 1)\n"),
    };
    writer.line("(type $swap (func (param i32 i64) (result i64 i32)))");
    writer.line("(table funcref (elem $swap))");
    for ty in TYPES {
        writer.line(&format!(
            "(global (export \"{ty}\") (mut {ty}) ({ty}.const 0))"
        ));
        writer.line(&format!(
            "(func ${ty} (param {ty} {ty}) (result {ty}) local.get 1)"
        ));
    }
    writer.line("(func $swap (type $swap) local.get 1 local.get 0)");
    writer.text += "(func (export \"run\")";
    let results: Vec<_> = REST
        .into_iter()
        .chain((0..LOCALS).map(local_type))
        .collect();
    writer.types(&PARAMS, &results);
    let more: String = (4..LOCALS + MAX_DEPTH + 1)
        .map(|local| format!(" {}", local_type(local)))
        .collect();
    writer.line(&format!("(local{more})"));
    writer.text += "block";
    writer.types(&[], &REST);
    writer.body(program);
    writer.line("end");
    writer.locals();
    writer.line("))");
    // Calls name functions by type.
    writer
        .text
        .replace("call i", "call $i")
        .replace("call f", "call $f")
}

fn val(ty: ValType, bits: u64) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits.cast_signed()),
        ValType::F32 => Val::F32(bits as u32),
        _ => Val::F64(bits),
    }
}

/// Everything that can be seen of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    results: Vec<Val>,
    globals: Vec<Val>,
    memory: Vec<u8>,
}

fn expected(program: &[Node], args: [u64; 4]) -> Result<Seen, Stop> {
    let mut machine = Machine::new(args);
    let flow = machine.body(program)?;
    assert!(
        !matches!(flow, Flow::Branch(_)),
        "no branch leads to the function"
    );
    let rest = machine.stack[machine.stack.len() - REST.len()..]
        .iter()
        .zip(REST);
    let rest = rest.map(|(&bits, ty)| val(ty, bits));
    let locals = (0..LOCALS).map(|local| val(local_type(local), machine.locals[local]));
    Ok(Seen {
        results: rest.chain(locals).collect(),
        globals: machine
            .globals
            .iter()
            .zip(TYPES)
            .map(|(&bits, ty)| val(ty, bits))
            .collect(),
        memory: machine.memory,
    })
}

fn found(module: &Arc<Module>, args: [u64; 4]) -> Result<Seen, Stop> {
    let mut store =
        Store::with_tier(Interpreter::tier(), Limits::default(), ()).expect("a store has a stack");
    let instance = Linker::new()
        .instantiate(&mut store, module)
        .expect("it imports nothing");
    let args: Vec<Val> = args
        .into_iter()
        .zip(PARAMS)
        .map(|(bits, ty)| val(ty, bits))
        .collect();
    let run = instance.func(&store, "run").expect("it is exported");
    let results = run.call(&mut store, &args);
    let results = results.map_err(|trap| Stop::Trap(trap.code().expect("a trap of the spec")))?;
    let global = |ty: ValType| {
        instance
            .global(&store, &ty.to_string())
            .expect("it is exported")
            .get(&store)
    };
    let memory = instance.memory(&store, "memory").expect("it is exported");
    Ok(Seen {
        results,
        globals: TYPES.map(global).to_vec(),
        memory: memory.data(&store).to_vec(),
    })
}

/// Runs the program that `bytes` make, with `near` operands where instructions can name them, if that is said; a
/// difference, for people.
fn compare(
    bytes: &[u8],
    args: [u64; 4],
    calls: bool,
    near: Option<u32>,
) -> Result<(), TestCaseError> {
    let program = program(bytes, calls);
    let args = [
        args[0] & 0xffff_ffff,
        args[1],
        args[2] & 0xffff_ffff,
        args[3],
    ];
    let expected = expected(&program, args);
    if expected == Err(Stop::Unknown) {
        return Ok(());
    }
    let text = text(&program);
    let module = Module::new(text.clone().into_bytes());
    let module = module.map_err(|err| TestCaseError::fail(format!("{err}\n{text}")))?;
    let module = match near {
        Some(near) => deepen::deepen(&module, near),
        None => module,
    };
    let found = found(&Arc::new(module), args);
    let same = found == expected;
    prop_assert!(
        same,
        "of {:x?}: {} in\n{}",
        args,
        difference(&found, &expected),
        text
    );
    Ok(())
}

fn difference(found: &Result<Seen, Stop>, expected: &Result<Seen, Stop>) -> String {
    match (found, expected) {
        (Ok(found), Ok(expected)) => format!(
            "results {:x?}, not {:x?}; globals {:x?}, not {:x?}; memory {}",
            found.results,
            expected.results,
            found.globals,
            expected.globals,
            if found.memory == expected.memory {
                "the same"
            } else {
                "differs"
            },
        ),
        (Err(found), Err(expected)) => format!("{found:?}, not {expected:?}"),
        (Ok(_), Err(expected)) => format!("no {expected:?}"),
        (Err(found), Ok(_)) => format!("{found:?}"),
    }
}

fn args() -> impl Strategy<Value = [u64; 4]> {
    let arg = prop_oneof![
        0..8u64,
        any::<u64>(),
        Just(u64::MAX),
        Just(0x7ff4_0000_7fa0_0001)
    ];
    proptest::array::uniform4(arg)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..700)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn programs_without_calls(bytes in bytes(), args in args()) {
        compare(&bytes, args, false, None)?;
    }

    #[test]
    fn programs_with_calls(bytes in bytes(), args in args()) {
        compare(&bytes, args, true, None)?;
    }

    #[test]
    fn programs_far_up_on_the_stack(bytes in bytes(), args in args(), near in 0..24u32) {
        compare(&bytes, args, true, Some(near))?;
    }
}

/// Programs must not be so wild that they all trap or so tame that they have no loops.
#[test]
fn programs_are_worth_running() {
    let (mut finished, mut loops) = (0, 0);
    for seed in 0..300u64 {
        let mut state = seed;
        let mut byte = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let bytes: Vec<u8> = (0..600).map(|_| byte()).collect();
        let program = program(&bytes, true);
        loops += usize::from(format!("{program:?}").contains("Loop"));
        finished += usize::from(expected(&program, [1, 2, 3, 4]).is_ok());
    }
    println!("of 300 programs {finished} finish and {loops} have loops");
    assert!(finished > 100, "{finished} of 300 finish");
    assert!(loops > 150, "{loops} of 300 have loops");
}
