//! Every vector access in compiled code, at addresses and offsets around the edges of a memory, against the op's own row.
//!
//! *Invariant:* an access that is not wholly within the memory traps and changes nothing.
//! *Invariant:* the effective address is the unsigned sum of address and offset, which does not wrap.

#[path = "vectors/module.rs"]
mod module;

use std::fmt::Write;

use tiered_decode::vector::{V128, VecAccess};
use tiered_jit::{Config, Eager, Jit};
use tiered_runtime::{Limits, Linker, Memory, PAGE_BYTES, Store, Table, TrapCode, Val};

use module::module;

/// What an access is made with: below what it goes to.
const OPERAND: usize = 16;
/// Where a load's result is stored.
const RESULT: usize = 32;
/// All of the above.
const RESERVED: usize = 48;

/// The lengths of the memory in pages, one after the other.
const LENGTHS: [u64; 3] = [1, 2, 65536];

/// The guard behind a memory bounds those that end within it; any other is compared.
const OFFSETS: [u32; 11] = [
    0,
    1,
    7,
    16,
    0xffff,
    0x1ff_fff0,
    0x1ff_fff1,
    0x200_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];

/// Where the vector that is stored, or gets a lane, comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Loaded,
    Const,
    /// An op on other lanes makes it.
    Made,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    op: VecAccess,
    lane: u8,
    offset: u32,
    source: Source,
}

const CONSTANT: u128 = 0xf0e1_d2c3_b4a5_9687_7869_5a4b_3c2d_1e0f;

fn takes_vector(op: VecAccess) -> bool {
    op.is_store() || op.lanes().is_some()
}

impl Case {
    fn write(&self, text: &mut String) {
        let loaded = format!("(v128.load (i32.const {OPERAND}))");
        let vector = match self.source {
            _ if !takes_vector(self.op) => String::new(),
            Source::Loaded => loaded,
            Source::Const => format!("(v128.const i64x2 {} {})", CONSTANT as u64, CONSTANT >> 64),
            Source::Made => format!("(i64x2.add {loaded} (v128.const i64x2 0 0))"),
        };
        let lane = self.op.lanes().map(|_| self.lane.to_string());
        let access = format!(
            "({} offset={} {} (local.get 0) {vector})",
            self.op,
            self.offset,
            lane.unwrap_or_default()
        );
        let body = if self.op.is_store() {
            access
        } else {
            format!("(i32.const {RESULT}) {access} (v128.store)")
        };
        let _ = write!(text, "(func (param i32) {body})");
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &op in VecAccess::ALL {
        let lanes = op.lanes().unwrap_or(1);
        for lane in 0..lanes {
            // All lanes at one offset, the first and the last at all of them.
            let edge = lane == 0 || lane == lanes - 1;
            for &offset in if edge { &OFFSETS[..] } else { &OFFSETS[2..3] } {
                for source in [Source::Loaded, Source::Const, Source::Made] {
                    if matches!(source, Source::Loaded) || takes_vector(op) && offset == 7 {
                        cases.push(Case {
                            op,
                            lane,
                            offset,
                            source,
                        });
                    }
                }
            }
        }
    }
    cases
}

/// Addresses at which accesses of `size` bytes begin and end around the edges of a memory of `length` bytes.
fn addresses(length: u64, offset: u32, size: u64) -> Vec<u32> {
    let ends = [
        length - 1,
        length,
        length + 1,
        length + size,
        length + 2 * size,
    ];
    let starts = ends.map(|end| end.checked_sub(size + u64::from(offset)));
    let starts = starts.into_iter().flatten();
    let others = [
        0,
        1,
        RESERVED as u64 + 5,
        0x7fff_fff0,
        0x8000_0000,
        0xffff_fff0,
        0xffff_ffff,
    ];
    let all = starts
        .chain(others)
        .filter_map(|start| u32::try_from(start).ok());
    all.collect()
}

/// Writes what the memory has at `at` to where it stands in `bytes`: the reserved bytes, and those from `begin` on.
fn write_at(bytes: &mut [u8], begin: usize, at: usize, what: &[u8]) {
    for (at, &byte) in (at..).zip(what) {
        if at < RESERVED {
            bytes[at] = byte;
        }
        if at >= begin && at - begin < bytes.len() - RESERVED {
            bytes[RESERVED + at - begin] = byte;
        }
    }
}

struct Grid {
    store: Store<()>,
    table: Table,
    memory: Memory,
    calls: usize,
}

impl Grid {
    fn new(config: &Config, cases: &[Case]) -> Grid {
        let mut text = String::from(
            "(module (memory (export \"memory\") 1) (table (export \"cases\") funcref (elem",
        );
        for index in 0..cases.len() {
            let _ = write!(text, " {index}");
        }
        text.push_str("))");
        cases.iter().for_each(|case| case.write(&mut text));
        text.push(')');
        let jit = Jit::new(config).expect("this machine can");
        let mut store =
            Store::with_tier(Eager::tier(&jit), Limits::default(), ()).expect("a stack");
        let instance = Linker::new()
            .instantiate(&mut store, &module(text))
            .expect("it imports nothing");
        Grid {
            table: instance.table(&store, "cases").expect("it is exported"),
            memory: instance.memory(&store, "memory").expect("it is exported"),
            store,
            calls: 0,
        }
    }

    /// Makes a call; what is wrong, for people.
    fn run(&mut self, case: Case, index: u64, address: u32, operand: V128) -> Result<(), String> {
        self.calls += 1;
        let Some(Val::FuncRef(Some(func))) = self.table.get(&self.store, index) else {
            panic!("element {index} is a function")
        };
        let (size, length) = (
            case.op.size() as u64,
            self.memory.size(&self.store) * PAGE_BYTES,
        );
        let start = u64::from(address) + u64::from(case.offset);
        // What is looked at: the reserved bytes, and those around the access or before the end.
        let end = (start + size + 32).min(length) as usize;
        let begin = (start.min(end as u64) as usize).saturating_sub(64);
        let pattern = |at: usize| ((at as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8;
        let data = self.memory.data_mut(&mut self.store);
        for at in (0..RESERVED).chain(begin..end) {
            data[at] = pattern(at);
        }
        data[OPERAND..][..16].copy_from_slice(&operand.0);
        let vector = match case.source {
            Source::Const => V128::from_bits(CONSTANT),
            _ => operand,
        };
        // The reserved bytes, and those around the access, of which some may be the same.
        let read = |data: &[u8]| [&data[..RESERVED], &data[begin..end]].concat();
        let mut bytes = read(data);
        let expected = if start + size > length {
            Err(Some(TrapCode::MemoryOutOfBounds))
        } else {
            let at = start as usize;
            match case.op.load(&data[at..], vector, case.lane) {
                Some(result) => write_at(&mut bytes, begin, RESULT, &result.0),
                None => {
                    let mut stored = vec![0; case.op.size()];
                    case.op.store(&mut stored, vector, case.lane);
                    write_at(&mut bytes, begin, at, &stored);
                }
            }
            Ok(vec![])
        };
        let found = func.call(&mut self.store, &[Val::I32(address.cast_signed())]);
        let found = found.map_err(|trap| trap.code());
        if found != expected {
            return Err(format!(
                "{case:?} at {address:#x}: {found:?}, not {expected:?}"
            ));
        }
        if read(self.memory.data(&self.store)) != bytes {
            return Err(format!("{case:?} at {address:#x}: other bytes are there"));
        }
        Ok(())
    }
}

#[test]
fn vectors_are_loaded_and_stored_within_the_memory_alone() {
    let cases = cases();
    for (baseline, spectre_guards) in [(false, true), (true, false)] {
        let config = Config {
            baseline,
            spectre_guards,
            ..Config::default()
        };
        let mut grid = Grid::new(&config, &cases);
        let mut wrong = Vec::new();
        for pages in LENGTHS {
            let more = pages - grid.memory.size(&grid.store);
            let grown = grid.memory.grow(&mut grid.store, more);
            grown.expect("address space is cheap");
            for (index, &case) in (0..).zip(&cases) {
                let length = pages * PAGE_BYTES;
                for address in addresses(length, case.offset, case.op.size() as u64) {
                    let operand =
                        V128::from_bits(CONSTANT.wrapping_mul(2 * grid.calls as u128 + 1));
                    wrong.extend(grid.run(case, index, address, operand).err());
                }
            }
        }
        let shown = wrong[..wrong.len().min(20)].join("\n");
        assert!(
            wrong.is_empty(),
            "{} accesses are wrong:\n{shown}",
            wrong.len()
        );
        assert!(grid.calls > 10_000, "{}", grid.calls);
    }
}
