//! Inputs made of seeds: each is a module of the spec's scripts that was changed a little.
//!
//! Half of the changes keep a valid module valid: an op becomes another of the same type, a constant another constant. The
//! others take no notice of what they change: bits, pieces of the dictionary, pieces of other seeds.

use tiered::decode::Module;
use tiered::decode::atomic::AtomicOp;
use tiered::decode::index::FuncIdx;
use tiered::decode::memory::{LoadOp, StoreOp};
use tiered::decode::numeric::NumOp;
use tiered::decode::opcode::Opcode;
use tiered::decode::wasmparser::Operator;
use tiered::decode::wide::WideOp;

use crate::input::Random;
use crate::{dictionary, seeds};

/// The most changes of one input.
const MOST_CHANGES: u64 = 6;

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Mutator {
    /// Changes these modules.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn new(seeds: Vec<Vec<u8>>) -> Mutator {
        assert!(!seeds.is_empty(), "there is nothing to change");
        let words = dictionary::entries().into_iter();
        let words = words.map(|entry| entry.bytes).collect();
        Mutator { seeds, words }
    }

    /// Changes the modules of the spec's scripts: all that tiered accepts, or all there are.
    #[must_use]
    pub fn of_scripts(accepted: bool) -> Mutator {
        let all = seeds::all();
        if !accepted {
            return Mutator::new(all);
        }
        let accepted = seeds::accepted(&all);
        Mutator::new(accepted.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// The input of a number, which depends on `seed`, `number` and the seeds alone.
    #[must_use]
    pub fn input(&self, seed: u64, number: u64) -> Vec<u8> {
        let mut random = Random(Random(seed).next() ^ number.wrapping_mul(0xa076_1d64_78bd_642f));
        let mut bytes = self.seeds[below(&mut random, self.seeds.len())].clone();
        let wild = random.one_in(2);
        for _ in 0..=random.next() % MOST_CHANGES {
            if wild {
                self.change(&mut bytes, &mut random);
            } else {
                exchange(&mut bytes, &mut random);
            }
        }
        bytes.truncate(2 * seeds::MOST);
        bytes
    }

    /// As [`Mutator::input`], but none of the changes keeps a valid module valid on purpose, and there may be none.
    #[must_use]
    pub fn changed(&self, seed: u64, number: u64) -> Vec<u8> {
        let mut random = Random(Random(seed).next() ^ number.wrapping_mul(0xa076_1d64_78bd_642f));
        let mut bytes = self.seeds[below(&mut random, self.seeds.len())].clone();
        for _ in 0..random.next() % MOST_CHANGES {
            self.change(&mut bytes, &mut random);
        }
        bytes.truncate(2 * seeds::MOST);
        bytes
    }

    /// One change behind the magic number, which decides how an input is read.
    fn change(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let begin = bytes.len().min(8);
        let at = begin + below(random, bytes.len() - begin + 1);
        let word = &self.words[below(random, self.words.len())];
        match random.next() % 6 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (random.next() % 8);
                }
            }
            1 => drop(bytes.splice(at..at, word.iter().copied())),
            2 => {
                let end = bytes.len().min(at + word.len());
                bytes.splice(at..end, word.iter().copied());
            }
            3 => {
                let end = bytes.len().min(at + below(random, 16));
                bytes.drain(at..end);
            }
            4 => {
                let other = &self.seeds[below(random, self.seeds.len())];
                let from = below(random, other.len());
                let to = other.len().min(from + 1 + below(random, 64));
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                // The rest of another module, from a place as far into it.
                let other = &self.seeds[below(random, self.seeds.len())];
                bytes.truncate(at);
                bytes.extend(other.iter().skip(at));
            }
        }
    }
}

/// A number below `count`, or 0.
fn below(random: &mut Random, count: usize) -> usize {
    (random.next() % count.max(1) as u64) as usize
}

/// Exchanges an op for another of the same type and length, or the value of a constant, if the module is valid and binary.
fn exchange(bytes: &mut [u8], random: &mut Random) {
    if !bytes.starts_with(b"\0asm") {
        return;
    }
    let Ok(module) = Module::new(bytes.to_vec()) else {
        return;
    };
    let bodies: Vec<FuncIdx> = (0..module.funcs().len() as u32)
        .map(FuncIdx)
        .filter(|&func| module.body(func).is_some())
        .collect();
    let Some(&func) = bodies.get(below(random, bodies.len())) else {
        return;
    };
    let body = module.body(func).expect("it has one");
    let ops = body.ops().into_iter_with_offsets().flatten();
    let changeable: Vec<(usize, Change)> = ops
        .filter_map(|(op, at)| Some((at as usize, Change::of(&op)?)))
        .collect();
    if let Some((at, change)) = changeable.get(below(random, changeable.len())) {
        change.make(&mut bytes[*at..], random);
    }
}

/// How an op can be changed and stay valid.
enum Change {
    /// Into one of these.
    Opcodes(Vec<Opcode>),
    /// An integer behind the opcode, as a LEB128 of at most this many bytes; the last has no room for all its bits.
    Integer(usize),
    /// Bytes behind the opcode.
    Float(usize),
}

impl Change {
    fn of(op: &Operator<'_>) -> Option<Change> {
        match op {
            Operator::I32Const { .. } => return Some(Change::Integer(5)),
            Operator::I64Const { .. } => return Some(Change::Integer(10)),
            Operator::F32Const { .. } => return Some(Change::Float(4)),
            Operator::F64Const { .. } => return Some(Change::Float(8)),
            _ => {}
        }
        if let Some(op) = NumOp::from_operator(op) {
            let alike = NumOp::ALL.iter().filter(|other| {
                (other.params(), other.result()) == (op.params(), op.result())
                    && other.opcode().prefix() == op.opcode().prefix()
            });
            return Some(Change::Opcodes(alike.map(|op| op.opcode()).collect()));
        }
        if let Some(op) = WideOp::from_operator(op) {
            let alike = WideOp::ALL
                .iter()
                .filter(|other| other.params() == op.params());
            return Some(Change::Opcodes(alike.map(|op| op.opcode()).collect()));
        }
        // The alignment is the natural one.
        if let Some((op, _)) = AtomicOp::from_operator(op) {
            let alike = AtomicOp::ALL.iter().filter(|other| {
                (other.ty(), other.size()) == (op.ty(), op.size())
                    && other.kind().operands() == op.kind().operands()
                    && other.kind().has_result() == op.kind().has_result()
            });
            return Some(Change::Opcodes(alike.map(|op| op.opcode()).collect()));
        }
        // The alignment may be the natural one at most.
        if let Some((op, _)) = LoadOp::from_operator(op) {
            let alike = LoadOp::ALL.iter().filter(|other| {
                other.result() == op.result() && other.natural_align() >= op.natural_align()
            });
            return Some(Change::Opcodes(alike.map(|op| op.opcode()).collect()));
        }
        let (op, _) = StoreOp::from_operator(op)?;
        let alike = StoreOp::ALL.iter().filter(|other| {
            other.param() == op.param() && other.natural_align() >= op.natural_align()
        });
        Some(Change::Opcodes(alike.map(|op| op.opcode()).collect()))
    }

    fn make(&self, op: &mut [u8], random: &mut Random) {
        match self {
            Change::Opcodes(opcodes) => {
                let mut bytes = Vec::new();
                opcodes[below(random, opcodes.len())].encode(&mut bytes);
                op[..bytes.len()].copy_from_slice(&bytes);
            }
            Change::Integer(longest) => {
                let len = 1 + op[1..].iter().take_while(|byte| **byte >= 0x80).count();
                if len < *longest {
                    for byte in &mut op[1..=len] {
                        *byte = *byte & 0x80 | random.next() as u8 & 0x7f;
                    }
                }
            }
            Change::Float(len) => {
                let bits = random.next().to_le_bytes();
                op[1..=*len].copy_from_slice(&bits[..*len]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds() -> Vec<Vec<u8>> {
        let text = r#"(module (memory 1 1 shared) (func (param i32 f64) (result i64)
            (i32.store8 offset=3 (local.get 0) (i32.add (i32.const 70) (i32.load16_s (local.get 0))))
            (i64.atomic.store8 (local.get 0) (i64.atomic.rmw16.sub_u offset=8 (local.get 0) (i64.const 5)))
            (i64.trunc_sat_f64_u (f64.mul (local.get 1) (f64.const 3)))))"#;
        let module = Module::new(text.as_bytes().to_vec()).expect("it is valid");
        vec![module.bytes().to_vec(), text.as_bytes().to_vec()]
    }

    #[test]
    fn an_exchange_keeps_a_module_valid() {
        let seed = seeds().swap_remove(0);
        let mut different = 0;
        for number in 0..500 {
            let (mut bytes, mut random) = (seed.clone(), Random(number));
            for _ in 0..5 {
                exchange(&mut bytes, &mut random);
            }
            let decoded = Module::new(bytes.clone());
            assert!(decoded.is_ok(), "number {number}: {}", decoded.unwrap_err());
            different += usize::from(bytes != seed);
        }
        assert!(different > 490, "{different}");
    }

    #[test]
    fn an_input_depends_on_its_seed_and_number_alone() {
        let mutator = Mutator::new(seeds());
        let inputs = |seed| (0..100).map(move |number| (seed, number));
        let made = |seed| -> Vec<_> { inputs(seed).map(|(s, n)| mutator.input(s, n)).collect() };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
    }
}
