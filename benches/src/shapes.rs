//! Programs of forty shapes: nests of loops, bodies from a few instructions to thousands, calls from none to hundreds
//! in an iteration, trees of calls, one long call of the host's or thousands of short ones.
//!
//! *Invariant:* a shape gives the same bytes on every machine.
//! *Invariant:* the better of interpreting all and compiling all takes 20 to 300 ms of a processor of 2023: `entries`
//! and `turns` were found by trying.

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

use crate::generated::{Choice, INTS, assemble, straight};

/// How a program is built, and how long it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Loops in one another.
    pub depth: u32,
    /// Turns of each loop but the outermost, for each turn of the one around.
    pub inner: u32,
    /// Statements in the innermost loop, of some seven instructions each.
    pub body: u32,
    /// Functions called one after the other in the innermost loop, all different.
    pub calls: u32,
    /// Functions that each of those calls, and so on.
    pub fan_out: u32,
    /// Levels of functions: those of the last call no others.
    pub levels: u32,
    /// Statements in each function.
    pub leaf: u32,
    /// Calls of `run` by the host.
    pub entries: u32,
    /// Turns of the outermost loop in each of them.
    pub turns: u32,
}

impl Shape {
    /// What tells it from the others.
    pub fn name(&self) -> String {
        let Shape {
            depth,
            inner,
            body,
            calls,
            fan_out,
            levels,
            leaf,
            entries,
            ..
        } = self;
        let mut name = format!("{depth} loops");
        if *depth > 1 {
            name += &format!(" of {inner}");
        }
        name += &format!(", body {body}");
        if *calls > 0 {
            name += &format!(", {calls} calls of {leaf}");
        }
        if *levels > 1 {
            name += &format!(", tree {fan_out}^{}", levels - 1);
        }
        if *entries > 1 {
            name += ", many entries";
        }
        name
    }

    /// The module, with `run: [i32] -> [i32]`: its argument is the outermost loop's turns, at least 1.
    pub fn module(&self, seed: u32) -> Vec<u8> {
        let mut choice = Choice::new(seed);
        let mut bodies = Vec::new();
        if self.calls > 0 {
            for level in (0..self.levels).rev() {
                for index in 0..self.calls {
                    bodies.push(self.callee(level, index, &mut choice));
                }
            }
        }
        bodies.push(self.run(&mut choice));
        assemble(&bodies)
    }

    /// The index of a function: the deepest level comes first.
    fn func(&self, level: u32, index: u32) -> u32 {
        (self.levels - 1 - level) * self.calls + index % self.calls
    }

    fn callee(&self, level: u32, index: u32, choice: &mut Choice) -> Function {
        let mut function = Function::new([(INTS, ValType::I32)]);
        let mut code = function.instructions();
        for _ in 0..self.leaf {
            straight(&mut code, choice);
        }
        if level + 1 < self.levels {
            for callee in 0..self.fan_out {
                call(
                    &mut code,
                    self.func(level + 1, index * self.fan_out + callee),
                );
            }
        }
        result(&mut code);
        function
    }

    fn run(&self, choice: &mut Choice) -> Function {
        // After the parameter and the locals of statements, a counter for each loop.
        let counters = INTS + 1;
        let mut function = Function::new([(INTS + self.depth, ValType::I32)]);
        let mut code = function.instructions();
        for level in 0..self.depth {
            match level {
                0 => code.local_get(0),
                _ => code.i32_const(self.inner as i32),
            };
            code.local_set(counters + level).loop_(BlockType::Empty);
        }
        // Nothing is the same in each turn, so nothing can be taken out of the loops.
        let innermost = counters + self.depth - 1;
        code.local_get(0)
            .local_get(innermost)
            .i32_add()
            .local_set(0);
        for _ in 0..self.body {
            straight(&mut code, choice);
        }
        for index in 0..self.calls {
            call(&mut code, self.func(0, index));
        }
        for level in (0..self.depth).rev() {
            code.local_get(counters + level).i32_const(1).i32_sub();
            code.local_tee(counters + level).br_if(0).end();
        }
        result(&mut code);
        function
    }
}

/// Returns what depends on every statement.
fn result(code: &mut InstructionSink<'_>) {
    code.local_get(0);
    for local in 1..INTS {
        code.i32_const(5).i32_rotl().local_get(local).i32_xor();
    }
    code.end();
}

/// Calls a function with a local, and mixes the result into another.
fn call(code: &mut InstructionSink<'_>, func: u32) {
    code.local_get(0)
        .call(func)
        .local_get(1)
        .i32_add()
        .local_set(1);
    // The next call gets another argument.
    code.local_get(0).i32_const(1).i32_add().local_set(0);
}

const fn row(nest: [u32; 3], calls: [u32; 4], entries: u32, turns: u32) -> Shape {
    let [depth, inner, body] = nest;
    let [calls, fan_out, levels, leaf] = calls;
    Shape {
        depth,
        inner,
        body,
        calls,
        fan_out,
        levels,
        leaf,
        entries,
        turns,
    }
}

const NO_CALLS: [u32; 4] = [0, 0, 1, 0];

/// The shapes: loops, turns of inner ones and body; calls, fan-out, levels and statements of the functions; calls from
/// the host and turns for each.
#[rustfmt::skip]
pub const SHAPES: [Shape; 40] = [
    // Loops alone.
    row([1, 1, 1], NO_CALLS, 1, 49_000_000),
    row([1, 1, 8], NO_CALLS, 1, 65_000_000),
    row([1, 1, 60], NO_CALLS, 1, 16_000_000),
    row([1, 1, 400], NO_CALLS, 1, 390_000),
    row([2, 10, 1], NO_CALLS, 1, 54_000_000),
    row([2, 1_000, 8], NO_CALLS, 1, 41_000),
    row([2, 100, 60], NO_CALLS, 1, 78_000),
    row([2, 3, 400], NO_CALLS, 1, 870_000),
    row([3, 100, 1], NO_CALLS, 1, 16_000),
    row([3, 10, 8], NO_CALLS, 1, 1_500_000),
    row([3, 4, 60], NO_CALLS, 1, 230_000),
    row([5, 6, 4], NO_CALLS, 1, 150_000),
    // Big bodies, few turns.
    row([1, 1, 2_000], NO_CALLS, 1, 26_000),
    row([1, 1, 8_000], NO_CALLS, 1, 400),
    row([2, 20, 3_000], NO_CALLS, 1, 9_000),
    row([1, 1, 2_000], [200, 1, 1, 40], 1, 600),
    // Loops with calls.
    row([1, 1, 1], [1, 0, 1, 1], 1, 99_000_000),
    row([1, 1, 1], [4, 0, 1, 4], 1, 5_500_000),
    row([1, 1, 8], [32, 0, 1, 1], 1, 2_100_000),
    row([1, 1, 1], [400, 0, 1, 1], 1, 5_100),
    row([1, 1, 1], [400, 0, 1, 20], 1, 770),
    row([2, 10, 2], [3, 0, 1, 2], 1, 4_700_000),
    row([2, 100, 30], [8, 0, 1, 8], 1, 33_000),
    row([2, 10, 1], [150, 0, 1, 4], 1, 51_000),
    row([3, 8, 4], [2, 0, 1, 60], 1, 25_000),
    row([1, 1, 1], [1_500, 0, 1, 6], 1, 890),
    // Trees of calls.
    row([1, 1, 1], [1, 1, 6, 2], 1, 2_700_000),
    row([1, 1, 1], [2, 2, 5, 1], 1, 1_000_000),
    row([1, 1, 4], [8, 2, 4, 4], 1, 1_200_000),
    row([1, 1, 1], [64, 2, 3, 2], 1, 50_000),
    row([1, 1, 1], [16, 4, 4, 3], 1, 78_000),
    row([2, 5, 1], [400, 3, 3, 10], 1, 45),
    row([2, 50, 2], [3, 4, 3, 1], 1, 30_000),
    row([1, 1, 1], [300, 1, 3, 8], 1, 200),
    // Many short calls from the host.
    row([1, 1, 4], NO_CALLS, 2_700_000, 20),
    row([2, 10, 8], NO_CALLS, 3_200_000, 5),
    row([1, 1, 2], [6, 2, 2, 3], 400_000, 4),
    row([1, 1, 1], [500, 2, 2, 4], 1_000, 1),
    row([3, 6, 2], [2, 0, 1, 2], 71_000, 3),
    row([1, 1, 500], [10, 0, 1, 30], 560_000, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_a_valid_module_of_its_own() {
        let mut names = std::collections::BTreeSet::new();
        for (seed, shape) in (0..).zip(SHAPES) {
            let module = tiered_decode::Module::new(shape.module(seed));
            assert!(
                module.is_ok(),
                "{}: {}",
                shape.name(),
                module.err().unwrap()
            );
            assert!(names.insert(shape.name()), "{} twice", shape.name());
        }
    }
}
