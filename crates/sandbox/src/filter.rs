//! The filter program that the kernel runs at each system call: from a list of calls to instructions of classic BPF.
//!
//! * *Invariant:* what is not listed is refused with `ENOSYS`, which libraries take for an old kernel and work around.
//!
//! # Why so few instructions
//! When a filter is installed, the kernel runs it for every number there is, to know which calls need no look at their
//! arguments, and compiles it: a chain of comparisons, one for each call in the list, takes a tenth of a millisecond. So a
//! tree is searched, and there is one instruction for each outcome.

use seccompiler::{BpfProgram, sock_filter};

/// What the arguments of a call must be for it to be let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Anything.
    Free,
    /// The low 32 bits of this argument, as far as the mask goes, are one of the values.
    OneOf {
        argument: u32,
        mask: u32,
        values: Vec<u32>,
    },
    /// This argument is zero, in all its bits.
    Zero { argument: u32 },
}

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_ALU | BPF_AND | BPF_K`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_JMP | BPF_JGE | BPF_K`,
/// `BPF_RET | BPF_K`
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// `SECCOMP_RET_ALLOW`, `SECCOMP_RET_ERRNO` with `ENOSYS`, `SECCOMP_RET_KILL_PROCESS`
const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000 | libc::ENOSYS as u32;
const KILL: u32 = 0x8000_0000;

/// Where things are in `struct seccomp_data`, in bytes.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Where the search goes on, or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Allow,
    Refuse,
    /// The instruction with this index.
    At(usize),
    /// The check of the call with this index in the list.
    Check(usize),
}

/// The calls from a number on, up to the next such number.
#[derive(Clone, Copy, Debug)]
struct Range {
    from: u32,
    target: Target,
}

/// An instruction, with targets instead of distances.
struct Instruction {
    code: u16,
    k: u32,
    then: Target,
    otherwise: Target,
}

/// The program that lets through what `calls` lists by its number, on the processor `architecture` (`AUDIT_ARCH_…`).
pub(crate) fn program(architecture: u32, mut calls: Vec<(u32, Check)>) -> BpfProgram {
    calls.sort_by_key(|(number, _)| *number);
    let mut program = Program::default();
    program.push(LOAD, ARCHITECTURE);
    program.branch(IF_EQUAL, architecture, Target::At(3), Target::At(2));
    program.push(RETURN, KILL);
    program.push(LOAD, NUMBER);
    let first = program.search(&ranges(&calls));
    // One range alone is not searched.
    if program.code.len() == SEARCH {
        program.branch(IF_EQUAL, 0, first, first);
    }
    let checks = calls.iter().map(|(_, check)| program.check(check));
    let checks: Vec<_> = checks.collect();
    program.finish(&checks)
}

/// Where the search begins.
const SEARCH: usize = 4;

/// All numbers, in ranges with different targets next to each other.
fn ranges(calls: &[(u32, Check)]) -> Vec<Range> {
    let mut ranges = vec![Range {
        from: 0,
        target: Target::Refuse,
    }];
    for (index, (number, check)) in calls.iter().enumerate() {
        let target = match check {
            Check::Free => Target::Allow,
            _ => Target::Check(index),
        };
        // The last range begins after the number before, or with it where nothing lies in between.
        ranges.pop_if(|last| last.from == *number);
        let next = Target::Refuse;
        for (from, target) in [(*number, target), (number + 1, next)] {
            if ranges.last().is_none_or(|last| last.target != target) {
                ranges.push(Range { from, target });
            }
        }
    }
    ranges
}

/// A program in the making. Jumps only lead forward.
#[derive(Default)]
struct Program {
    code: Vec<Instruction>,
}

impl Program {
    fn push(&mut self, code: u16, k: u32) {
        let next = Target::At(self.code.len() + 1);
        self.branch(code, k, next, next);
    }

    fn branch(&mut self, code: u16, k: u32, then: Target, otherwise: Target) {
        self.code.push(Instruction {
            code,
            k,
            then,
            otherwise,
        });
    }

    /// Finds the range that the loaded number is in; where that begins.
    fn search(&mut self, ranges: &[Range]) -> Target {
        let at = self.code.len();
        match ranges {
            [range] => return range.target,
            // A single call among others.
            [before, call, after]
                if call.from + 1 == after.from && before.target == after.target =>
            {
                self.branch(IF_EQUAL, call.from, call.target, after.target);
            }
            _ => {
                // An even number below, so that a call and its surroundings stay together.
                let (below, above) = ranges.split_at((ranges.len() / 2).next_multiple_of(2) - 1);
                let from = above.first().map_or(0, |range| range.from);
                self.branch(IF_AT_LEAST, from, Target::Refuse, Target::Refuse);
                let otherwise = self.search(below);
                let then = self.search(above);
                self.code[at].then = then;
                self.code[at].otherwise = otherwise;
            }
        }
        Target::At(at)
    }

    /// Looks at the arguments; the index of its first instruction.
    fn check(&mut self, check: &Check) -> usize {
        let at = self.code.len();
        match check {
            Check::Free => {}
            Check::OneOf {
                argument,
                mask,
                values,
            } => {
                self.push(LOAD, low_word(*argument));
                if *mask != u32::MAX {
                    self.push(AND, *mask);
                }
                for (index, &value) in values.iter().enumerate() {
                    let otherwise = match index + 1 == values.len() {
                        true => Target::Refuse,
                        false => Target::At(self.code.len() + 1),
                    };
                    self.branch(IF_EQUAL, value, Target::Allow, otherwise);
                }
            }
            Check::Zero { argument } => {
                self.push(LOAD, low_word(*argument));
                self.branch(IF_EQUAL, 0, Target::At(at + 2), Target::Refuse);
                self.push(LOAD, low_word(*argument) + 4);
                self.branch(IF_EQUAL, 0, Target::Allow, Target::Refuse);
            }
        }
        at
    }

    /// Resolves the targets; `checks` are the first instructions of the checks.
    fn finish(mut self, checks: &[usize]) -> BpfProgram {
        let allow = self.code.len();
        self.push(RETURN, ALLOW);
        self.push(RETURN, REFUSE);
        let place = |target| match target {
            Target::Allow => allow,
            Target::Refuse => allow + 1,
            Target::At(at) => at,
            Target::Check(index) => checks[index],
        };
        let resolve = |(at, instruction): (usize, Instruction)| {
            let Instruction {
                code,
                k,
                then,
                otherwise,
            } = instruction;
            let over = |target| {
                // Lists are short; a test has all of them resolved.
                u8::try_from(place(target) - at - 1).expect("the program is as long as a jump")
            };
            let (jt, jf) = match code {
                IF_EQUAL | IF_AT_LEAST => (over(then), over(otherwise)),
                _ => (0, 0),
            };
            sock_filter { code, jt, jf, k }
        };
        self.code.into_iter().enumerate().map(resolve).collect()
    }
}

/// Where the low half of an argument is: first, on the processors that there are lists for.
fn low_word(argument: u32) -> u32 {
    ARGUMENTS + 8 * argument
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u32 = 0xc000_003e;

    /// A system call as the kernel shows it to a filter.
    #[derive(Clone, Copy)]
    struct Call {
        architecture: u32,
        number: u32,
        arguments: [u64; 6],
    }

    impl Call {
        fn new(number: u32) -> Call {
            Call {
                architecture: HERE,
                number,
                arguments: [0; 6],
            }
        }

        fn with(mut self, argument: usize, value: u64) -> Call {
            self.arguments[argument] = value;
            self
        }

        fn word(&self, at: u32) -> u32 {
            match at {
                NUMBER => self.number,
                ARCHITECTURE => self.architecture,
                _ => {
                    let at = (at - ARGUMENTS) as usize;
                    (self.arguments[at / 8] >> (at % 8 * 8)) as u32
                }
            }
        }
    }

    /// What the kernel makes of `call`.
    fn run(program: &[sock_filter], call: Call) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match code {
                LOAD => loaded = call.word(k),
                AND => loaded &= k,
                RETURN => return k,
                _ => {
                    let holds = match code {
                        IF_EQUAL => loaded == k,
                        IF_AT_LEAST => loaded >= k,
                        _ => panic!("no such instruction: {code:#x}"),
                    };
                    at += usize::from(if holds { jt } else { jf });
                }
            }
        }
    }

    #[test]
    fn exactly_what_is_listed_gets_through() {
        let listed = [0, 1, 2, 7, 8, 100, 439, 447];
        let calls = listed.iter().map(|&number| (number, Check::Free));
        // The order does not matter.
        let program = program(HERE, calls.rev().collect());
        for number in (0..1000).chain([u32::MAX, 1 << 30, (1 << 30) + 1]) {
            let expected = if listed.contains(&number) {
                ALLOW
            } else {
                REFUSE
            };
            assert_eq!(run(&program, Call::new(number)), expected, "{number}");
        }
        let foreign = Call {
            architecture: 0x4000_0003,
            ..Call::new(0)
        };
        assert_eq!(run(&program, foreign), KILL);
        assert_eq!(run(&super::program(HERE, vec![]), Call::new(0)), REFUSE);
        assert_eq!(run(&super::program(HERE, vec![]), foreign), KILL);
    }

    #[test]
    fn the_real_list_is_resolved() {
        let calls = crate::calls::calls(7, crate::Network::default());
        let program = program(HERE, calls.clone());
        for number in 0..1000 {
            let check = calls.iter().find(|(listed, _)| *listed == number);
            // No list of values has this one, and it is not zero.
            let call = (0..6).fold(Call::new(number), |call, at| call.with(at, 0x7777_7777));
            let expected = match check {
                Some((_, Check::Free)) => ALLOW,
                _ => REFUSE,
            };
            assert_eq!(run(&program, call), expected, "{number}");
        }
    }

    #[test]
    fn arguments_are_looked_at() {
        let one_of = Check::OneOf {
            argument: 1,
            mask: 0xff0f,
            values: vec![3, 5, 0x100],
        };
        let calls = vec![
            (9, Check::Zero { argument: 2 }),
            (8, one_of),
            (7, Check::Free),
        ];
        let program = program(HERE, calls);
        for (value, expected) in [
            (3, ALLOW),
            (5, ALLOW),
            (0x100, ALLOW),
            (0xf3, ALLOW),
            (0xabcd_0000_0000_0005, ALLOW),
            (0, REFUSE),
            (4, REFUSE),
            (0x103, REFUSE),
        ] {
            let call = Call::new(8).with(0, 3).with(1, value);
            assert_eq!(run(&program, call), expected, "{value:#x}");
        }
        for (value, expected) in [
            (0, ALLOW),
            (1, REFUSE),
            (1 << 32, REFUSE),
            (1 << 63, REFUSE),
        ] {
            let call = Call::new(9).with(1, 1).with(2, value);
            assert_eq!(run(&program, call), expected, "{value:#x}");
        }
    }
}
