//! What the generated host functions do: the same in every engine.

use std::hash::{DefaultHasher, Hash, Hasher};

use tiered::decode::types::ValType;

use crate::event::Value;
use crate::input::Random;

/// The host's side of one program.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    random: Random,
    /// Depends on everything that host functions were given so far.
    pub(crate) seen: u64,
    /// How often host functions were called.
    pub(crate) calls: u32,
}

impl Host {
    /// A host whose answers depend on `seed` and on what it is given.
    pub(crate) fn new(seed: u64) -> Host {
        Host {
            random: Random(seed),
            seen: 0,
            calls: 0,
        }
    }

    /// The results of the imported function of number `index`; `None` if it is to trap.
    pub(crate) fn answer(
        &mut self,
        index: usize,
        args: &[Value],
        results: &[ValType],
    ) -> Option<Vec<Value>> {
        self.calls += 1;
        let mut hasher = DefaultHasher::new();
        (self.seen, index).hash(&mut hasher);
        args.iter()
            .for_each(|arg| arg.canonical().hash(&mut hasher));
        self.seen = hasher.finish();
        let mut random = Random(self.random.next() ^ self.seen);
        if random.one_in(40) {
            return None;
        }
        Some(
            results
                .iter()
                .map(|&ty| Value::random(ty, &mut random))
                .collect(),
        )
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.random.one_in(n)
    }

    /// Values of these types.
    pub(crate) fn values(&mut self, types: &[ValType]) -> Vec<Value> {
        types
            .iter()
            .map(|&ty| Value::random(ty, &mut self.random))
            .collect()
    }
}
