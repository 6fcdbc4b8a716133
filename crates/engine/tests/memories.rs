//! Every load and store of every kind of memory, first and second, at addresses and offsets around every boundary: the end of
//! the memory, that of the guard, of 32 and of 64 bits. Against the op's own row, in each mode of an engine.
//!
//! *Invariant:* an access that is not wholly within the memory traps where it stands and changes nothing.
//! *Invariant:* the effective address is the unsigned sum of address and offset, which does not wrap.

mod modes;

use std::fmt::Write;
use std::ops::Range;

use modes::in_all_modes;
use tiered::decode::index::FuncIdx;
use tiered::decode::memory::{LoadOp, StoreOp};
use tiered::decode::types::{IndexType, ValType};
use tiered::decode::vector::{V128, VecAccess};
use tiered::{Config, Engine, Func, Linker, Memory, Module, Store, Trap, TrapCode, Val};

in_all_modes! {
    memories_of_pages,
    memories_of_bytes,
    wide_memories_of_pages,
    wide_memories_of_bytes,
    wide_memories_that_stay_small,
    imports_lead_to_what_is_reserved_for_them,
    limits_hold_for_all_memories,
    compiled_loops_see_a_memory_grow,
    an_index_is_as_good_above_4_gib_as_below,
    large_segments_leave_those_of_other_memories,
}

/// Bytes behind a memory that an access may come to.
const GUARD: u64 = tiered_runtime::GUARD_BYTES as u64;

/// How many bytes on both sides of an access are looked at.
const AROUND: u64 = 32;

#[derive(Clone, Copy, Debug)]
enum Op {
    Load(LoadOp),
    Store(StoreOp),
    Vector(VecAccess, u8),
}

impl Op {
    fn all() -> Vec<Op> {
        let loads = LoadOp::ALL.iter().map(|&op| Op::Load(op));
        let stores = StoreOp::ALL.iter().map(|&op| Op::Store(op));
        let vectors = VecAccess::ALL.iter().flat_map(|&op| match op.lanes() {
            Some(lanes) => vec![Op::Vector(op, 0), Op::Vector(op, lanes - 1)],
            None => vec![Op::Vector(op, 0)],
        });
        loads.chain(stores).chain(vectors).collect()
    }

    fn size(self) -> u64 {
        let size = match self {
            Op::Load(op) => op.size(),
            Op::Store(op) => op.size(),
            Op::Vector(op, _) => op.size(),
        };
        size as u64
    }

    /// The type of the value that goes in and comes out.
    fn ty(self) -> ValType {
        match self {
            Op::Load(op) => op.result(),
            Op::Store(op) => op.param(),
            Op::Vector(..) => ValType::V128,
        }
    }

    /// The instruction on the memory `$m`; the address is in local 0, the value in local 1, and what is left on the stack
    /// is the result.
    fn text(self, offset: u64) -> String {
        let at = format!("$m offset={offset}");
        match self {
            Op::Load(op) => format!("({op} {at} (local.get 0))"),
            Op::Store(op) => format!("({op} {at} (local.get 0) (local.get 1)) (local.get 1)"),
            Op::Vector(op, lane) => {
                let lane = op.lanes().map(|_| lane.to_string()).unwrap_or_default();
                match (op.is_store(), op.lanes().is_some()) {
                    (true, _) => {
                        format!("({op} {at} {lane} (local.get 0) (local.get 1)) (local.get 1)")
                    }
                    (false, true) => format!("({op} {at} {lane} (local.get 0) (local.get 1))"),
                    (false, false) => format!("({op} {at} (local.get 0))"),
                }
            }
        }
    }

    /// What it gives for the value `bits`, where `memory` begins at the effective address; changes that if it stores.
    fn run(self, memory: &mut [u8], bits: u128) -> u128 {
        match self {
            Op::Load(op) => op.load(memory).into(),
            Op::Store(op) => {
                op.store(memory, bits as u64);
                bits
            }
            Op::Vector(op, lane) => match op.load(memory, V128::from_bits(bits), lane) {
                Some(loaded) => loaded.to_bits(),
                None => {
                    op.store(memory, V128::from_bits(bits), lane);
                    bits
                }
            },
        }
    }
}

fn val(ty: ValType, bits: u128) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits as i64),
        ValType::F32 => Val::F32(bits as u32),
        ValType::F64 => Val::F64(bits as u64),
        _ => Val::V128(bits),
    }
}

/// A kind of memory.
#[derive(Clone, Copy, Debug)]
struct Kind {
    index: IndexType,
    page_bytes: u64,
    /// The pages that it has, one after the other.
    pages: &'static [u64],
    /// It has a maximum, the last of these.
    is_bounded: bool,
    is_second: bool,
}

impl Kind {
    fn max(&self) -> Option<u64> {
        self.pages.last().copied().filter(|_| self.is_bounded)
    }

    /// As a number of the type of its addresses.
    fn wrap(&self, number: u64) -> u64 {
        match self.index {
            IndexType::I32 => number & 0xffff_ffff,
            IndexType::I64 => number,
        }
    }

    fn address(&self, address: u64) -> Val {
        match self.index {
            IndexType::I32 => Val::I32(address as i32),
            IndexType::I64 => Val::I64(address.cast_signed()),
        }
    }

    /// Offsets at which something begins or ends, all of them for few ops.
    fn offsets(&self, op: Op) -> Vec<u64> {
        let size = op.size();
        let mut offsets = vec![0, 7, GUARD - size, GUARD - size + 1, 0xffff_ffff];
        let is_plain = matches!(
            op,
            Op::Load(LoadOp::I32Load8U | LoadOp::I64Load)
                | Op::Store(StoreOp::I32Store8 | StoreOp::I64Store)
                | Op::Vector(VecAccess::V128Load | VecAccess::V128Store, _)
        );
        if is_plain {
            offsets.extend([1, 0xffff, GUARD - 1, GUARD, 0x7fff_ffff, 0x8000_0000]);
        }
        if self.index == IndexType::I64 {
            offsets.extend([0x1_0000_0000, 0u64.wrapping_sub(size), u64::MAX]);
            if is_plain {
                let near_the_end = 0u64.wrapping_sub(size + 1);
                offsets.extend([i64::MAX as u64, 1 << 63, near_the_end, 1 << 48]);
            }
        }
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    /// Addresses at which `size` bytes at `offset` are interesting in a memory of `length` bytes.
    fn addresses(&self, length: u64, offset: u64, size: u64) -> Vec<u64> {
        let edge = length.wrapping_sub(offset);
        let mut addresses = vec![
            0,
            edge.wrapping_sub(size + 1),
            edge.wrapping_sub(size),
            edge.wrapping_sub(size).wrapping_add(1),
            edge.wrapping_sub(1),
            edge,
            length.wrapping_sub(1),
            length,
            0u64.wrapping_sub(offset),
            0x8000_0000,
            1 << 32,
            (1 << 32) + 1,
            1 << 63,
            u64::MAX,
            u64::MAX - size,
        ];
        addresses.iter_mut().for_each(|at| *at = self.wrap(*at));
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

struct Case {
    op: Op,
    offset: u64,
    func: Func,
    /// The byte of the module where the access is.
    at: u32,
}

/// All cases of a kind of memory.
struct Grid {
    kind: Kind,
    store: Store<()>,
    memory: Memory,
    /// Another memory, if there is one: nothing changes it.
    other: Option<Memory>,
    cases: Vec<Case>,
    calls: u64,
}

/// The byte of the module where the access of a function's body is.
fn place(module: &Module, func: u32) -> u32 {
    let mut ops = module.body(FuncIdx(func)).expect("it is defined").ops();
    loop {
        let at = ops.original_position();
        let op = ops.read().expect("it is valid");
        let is_access = LoadOp::from_operator(&op).is_some()
            || StoreOp::from_operator(&op).is_some()
            || VecAccess::from_operator(&op).is_some();
        if is_access {
            return at as u32;
        }
    }
}

impl Grid {
    fn new(config: &Config, kind: Kind) -> Grid {
        let index = ValType::from(kind.index);
        let first = "(memory (export \"other\") 1)";
        let mut text = format!(
            "(module {} (memory $m (export \"memory\") {index} {} {} (pagesize {}))",
            if kind.is_second { first } else { "" },
            kind.pages[0],
            kind.max().map_or_else(String::new, |max| max.to_string()),
            kind.page_bytes
        );
        let all = || {
            Op::all()
                .into_iter()
                .flat_map(|op| kind.offsets(op).into_iter().map(move |at| (op, at)))
        };
        for (number, (op, offset)) in all().enumerate() {
            let ty = op.ty();
            // A mode that enters loops has entered this one before it comes to the access.
            let _ = write!(
                text,
                "(func (export \"{number}\") (param {index} {ty}) (result {ty}) (local $n i32)
                    (loop $again
                        (local.set $n (i32.add (local.get $n) (i32.const 1)))
                        (br_if $again (i32.lt_u (local.get $n) (i32.const 3))))
                    {})",
                op.text(offset)
            );
        }
        text.push(')');
        let engine = Engine::new(config);
        let module = Module::new(&engine, text).expect("it is valid");
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        let instance = Linker::new().instantiate(&mut store, &module);
        let instance = instance.expect("it imports nothing");
        let cases = (0..).zip(all()).map(|(number, (op, offset))| Case {
            op,
            offset,
            func: instance
                .func(&store, &number.to_string())
                .expect("it is exported"),
            at: place(&module, number),
        });
        let cases = cases.collect();
        Grid {
            kind,
            memory: instance.memory(&store, "memory").expect("it is exported"),
            other: instance.memory(&store, "other"),
            store,
            cases,
            calls: 0,
        }
    }

    fn run(&mut self, case: usize, address: u64) -> Result<(), String> {
        self.calls += 1;
        let Case {
            op,
            offset,
            func,
            at,
        } = self.cases[case];
        let (ty, size) = (op.ty(), op.size());
        let length = self.memory.data(&self.store).len() as u64;
        let odd = u128::from(2 * self.calls + 1);
        let bits = 0x8123_4567_89ab_cdef_1122_3344_5566_7788_u128.wrapping_mul(odd);
        let bits = if ty == ValType::V128 {
            bits
        } else {
            bits as u64 as u128
        };
        let bits = match ty {
            ValType::I32 | ValType::F32 => bits & 0xffff_ffff,
            _ => bits,
        };
        let start = u128::from(address) + u128::from(offset);
        let is_outside = start + u128::from(size) > u128::from(length);
        let window = window(start, size, length);
        let pattern = |at: usize| ((at as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8;
        let mut bytes: Vec<u8> = window.clone().map(pattern).collect();
        self.memory.data_mut(&mut self.store)[window.clone()].copy_from_slice(&bytes);
        let args = [self.kind.address(address), val(ty, bits)];
        let found = func.call(&mut self.store, &args);
        let found = found.map_err(|trap: Trap| {
            let place = trap.frames().first().and_then(|frame| frame.module_offset);
            (trap.code(), place)
        });
        let expected = if is_outside {
            Err((Some(TrapCode::MemoryOutOfBounds), Some(at)))
        } else {
            let begin = start as usize - window.start;
            Ok(vec![val(ty, op.run(&mut bytes[begin..], bits))])
        };
        let what = || format!("{op:?} offset={offset:#x} at {address:#x} of {length:#x} bytes");
        if found != expected {
            return Err(format!("{}: {found:x?}, not {expected:x?}", what()));
        }
        if self.memory.data(&self.store)[window] != bytes {
            return Err(format!("{}: it writes something else", what()));
        }
        Ok(())
    }
}

/// Where the memory is looked at: around the access, or its end, if that is behind it.
fn window(start: u128, size: u64, length: u64) -> Range<usize> {
    let end = (start + u128::from(size + AROUND)).min(length.into()) as u64;
    let begin = start.min(end.into()) as u64;
    begin.saturating_sub(AROUND) as usize..end as usize
}

fn check(config: &Config, kind: Kind) {
    let mut grid = Grid::new(config, kind);
    let mut wrong = Vec::new();
    for &pages in kind.pages {
        let more = pages - grid.memory.size(&grid.store);
        let grown = grid.memory.grow(&mut grid.store, more);
        grown.expect("address space is cheap");
        assert_eq!(
            grid.memory.data(&grid.store).len() as u64,
            pages * kind.page_bytes
        );
        for case in 0..grid.cases.len() {
            let Case { op, offset, .. } = grid.cases[case];
            for address in kind.addresses(pages * kind.page_bytes, offset, op.size()) {
                wrong.extend(grid.run(case, address).err());
            }
        }
    }
    if let Some(other) = grid.other {
        assert!(other.data(&grid.store).iter().all(|&byte| byte == 0));
    }
    let shown = wrong[..wrong.len().min(20)].join("\n");
    assert!(
        wrong.is_empty(),
        "{kind:?}: {} accesses are wrong:\n{shown}",
        wrong.len()
    );
    assert!(grid.calls > 5_000, "{}", grid.calls);
}

fn first_and_second(config: &Config, index: IndexType, page_bytes: u64, pages: &'static [u64]) {
    for is_second in [false, true] {
        let kind = Kind {
            index,
            page_bytes,
            pages,
            is_bounded: false,
            is_second,
        };
        check(config, kind);
    }
}

/// With a maximum that 32 bits can reach; one of them as long as that.
fn wide_memories_that_stay_small(config: &Config) {
    let kinds: [(u64, &[u64], bool); 3] = [
        (PAGE, &[1, 65_536], false),
        (PAGE, &[1, 2], true),
        (1, &[17, 0x1_0000_0000], true),
    ];
    for (page_bytes, pages, is_second) in kinds {
        let kind = Kind {
            index: IndexType::I64,
            page_bytes,
            pages,
            is_bounded: true,
            is_second,
        };
        check(config, kind);
    }
}

const PAGE: u64 = 1 << 16;

fn memories_of_pages(config: &Config) {
    first_and_second(config, IndexType::I32, PAGE, &[1, 65_536]);
}

fn memories_of_bytes(config: &Config) {
    first_and_second(config, IndexType::I32, 1, &[17, 5_000, 0xffff_ffff]);
}

fn wide_memories_of_pages(config: &Config) {
    first_and_second(config, IndexType::I64, PAGE, &[1, 65_537]);
}

fn wide_memories_of_bytes(config: &Config) {
    first_and_second(config, IndexType::I64, 1, &[17, 5_000, 0x1_0000_1003]);
}

/// Without the guards against speculation the checks are other instructions.
#[test]
fn without_spectre_guards() {
    let config = modes::config("jit", 0).spectre_guards(false);
    memories_of_pages(&config);
    memories_of_bytes(&config);
    wide_memories_of_pages(&config);
    wide_memories_of_bytes(&config);
    wide_memories_that_stay_small(&config);
}

/// What an importing module says of a memory's length is not what is reserved for it.
fn imports_lead_to_what_is_reserved_for_them(config: &Config) {
    const LENGTH: u64 = 2 * PAGE;
    for guards in [true, false] {
        let engine = Engine::new(&config.clone().spectre_guards(guards));
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        let owner = "(module (memory (export \"memory\") i64 2 3))";
        let owner = Module::new(&engine, owner).expect("it is valid");
        let owner = Linker::new().instantiate(&mut store, &owner);
        let mut linker = Linker::new();
        linker
            .instance(&store, "owner", owner.expect("it imports nothing"))
            .expect("its names are new");
        for max in ["", "3", "65536", "65537"] {
            let text = format!(
                r#"(module (import "owner" "memory" (memory i64 1 {max}))
                (func (export "load") (param i64) (result i64) (i64.load offset=16 (local.get 0)))
                (func (export "store") (param i64) (result i64)
                    (i64.store offset=16 (local.get 0) (i64.const 7)) (i64.const 7)))"#
            );
            let module = Module::new(&engine, text).expect("it is valid");
            let instance = linker.instantiate(&mut store, &module);
            let instance = instance.expect("it has its import");
            for name in ["store", "load"] {
                let func = instance.func(&store, name).expect("it is exported");
                let mut at = |address: u64| {
                    let args = [Val::I64(address.cast_signed())];
                    func.call(&mut store, &args).map_err(|trap| trap.code())
                };
                let inside = LENGTH - 24;
                let outside = [inside + 1, LENGTH, 1 << 32, (1 << 32) + 8, 1 << 36, 1 << 47];
                for _ in 0..3 {
                    assert_eq!(at(inside), Ok(vec![Val::I64(7)]), "{max} {name}");
                    for address in outside
                        .into_iter()
                        .chain([1 << 63, u64::MAX - 23, u64::MAX])
                    {
                        let found = at(address);
                        let trap = Err(Some(TrapCode::MemoryOutOfBounds));
                        assert_eq!(found, trap, "{max} {name} {address:#x}");
                    }
                }
            }
        }
    }
}

/// Of 64 bits or of bytes: what the store may have is what it may have together.
fn limits_hold_for_all_memories(config: &Config) {
    let engine = Engine::new(&config.clone().max_memory(3 * PAGE));
    let text = r#"(module
        (memory $a i64 1) (memory $b 1) (memory $c 100 (pagesize 1))
        (func (export "a") (param i64) (result i64) (memory.grow $a (local.get 0)))
        (func (export "b") (param i32) (result i32) (memory.grow $b (local.get 0)))
        (func (export "c") (param i32) (result i32) (memory.grow $c (local.get 0))))"#;
    let module = Module::new(&engine, text).expect("it is valid");
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new().instantiate(&mut store, &module);
    let instance = instance.expect("it is within the limit");
    let mut grow = |name: &str, by: Val| {
        let func = instance.func(&store, name).expect("it is exported");
        let grown = func.call(&mut store, &[by]).expect("it does not trap");
        grown[0]
    };
    assert_eq!(grow("a", Val::I64(1)), Val::I64(-1));
    assert_eq!(grow("a", Val::I64(i64::MIN)), Val::I64(-1));
    let left = PAGE as i32 - 100;
    assert_eq!(grow("c", Val::I32(left + 1)), Val::I32(-1));
    assert_eq!(grow("c", Val::I32(left)), Val::I32(100));
    assert_eq!(grow("c", Val::I32(1)), Val::I32(-1));
    assert_eq!(grow("b", Val::I32(1)), Val::I32(-1));
    assert_eq!(store.memory_bytes(), 3 * PAGE);
}

/// A length that was read in front of a loop is not the one in it.
fn compiled_loops_see_a_memory_grow(config: &Config) {
    for memory in ["i64 1", "i64 65536 (pagesize 1)"] {
        let engine = Engine::new(config);
        let text = format!(
            r#"(module
            (memory {memory})
            (func (export "run") (param $pages i64) (result i64)
                (local $at i64)
                (loop $again
                    (i64.store8 (local.get $at) (i64.const 1))
                    (local.set $at (i64.add (local.get $at) (i64.const 4096)))
                    (if (i64.eqz (i64.rem_u (local.get $at) (i64.const 65536)))
                        (then (drop (memory.grow (local.get $pages)))))
                    (br_if $again (i64.lt_u (local.get $at) (i64.const 655360))))
                (memory.size)))"#
        );
        let module = Module::new(&engine, text).expect("it is valid");
        let mut store = Store::new(&engine, ()).expect("a store has a stack");
        let instance = Linker::new().instantiate(&mut store, &module);
        let run = instance.expect("it imports nothing");
        let run = run.func(&store, "run").expect("it is exported");
        let page = if memory.contains("page") { 65_536 } else { 1 };
        let found = run.call(&mut store, &[Val::I64(page)]);
        assert_eq!(found.expect("it grows in time"), [Val::I64(11 * page)]);
        let again = run.call(&mut store, &[Val::I64(0)]);
        again.expect("it is long enough");
    }
}

/// Several accesses with one index, which comes from both sides of what 32 bits can say, and from outside, in one loop.
fn an_index_is_as_good_above_4_gib_as_below(config: &Config) {
    const LENGTH: u64 = (4 << 30) + 2 * PAGE;
    let text = format!(
        r#"(module
        (memory i64 {})
        (func (export "run") (param $at i64) (param $other i64) (param $rounds i32) (result i64)
            (local $sum i64) (local $swapped i64)
            (loop $again
                (i64.store offset=8 (local.get $at) (i64.add (local.get $at) (i64.const 3)))
                (if (i64.eqz (i64.load offset=8 (local.get $at))) (then (unreachable)))
                (i64.store (local.get $other) (i64.load offset=8 (local.get $at)))
                (local.set $sum (i64.add (local.get $sum)
                    (i64.add (i64.load (local.get $other)) (i64.load16_u offset=14 (local.get $at)))))
                (local.set $swapped (local.get $at))
                (local.set $at (local.get $other))
                (local.set $other (local.get $swapped))
                (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
            (local.get $sum)))"#,
        LENGTH / PAGE
    );
    const ROUNDS: i32 = 50;
    let engine = Engine::new(&config.clone().max_memory(LENGTH));
    let module = Module::new(&engine, text).expect("it is valid");
    let mut store = Store::new(&engine, ()).expect("a store has a stack");
    let instance = Linker::new().instantiate(&mut store, &module);
    let run = instance.expect("there is address space");
    let run = run.func(&store, "run").expect("it is exported");
    let inside = [0, 64, (4 << 30) - 16, (4 << 30) - 9, 4 << 30, LENGTH - 16];
    let outside = [
        LENGTH - 15,
        LENGTH,
        8 << 30,
        (8 << 30) + 64,
        1 << 63,
        u64::MAX - 15,
        u64::MAX,
    ];
    let mut run = |at: u64, other: u64| {
        let args = [at, other].map(|address| Val::I64(address.cast_signed()));
        let found = run.call(&mut store, &[args[0], args[1], Val::I32(ROUNDS)]);
        found.map_err(|trap| trap.code())
    };
    for at in inside {
        for other in inside.into_iter().filter(|&other| other.abs_diff(at) >= 16) {
            let sum = (at + other + 6).wrapping_mul(ROUNDS as u64 / 2);
            let found = run(at, other);
            assert_eq!(
                found,
                Ok(vec![Val::I64(sum.cast_signed())]),
                "{at:#x} {other:#x}"
            );
        }
        for other in outside {
            let trap = Err(Some(TrapCode::MemoryOutOfBounds));
            assert_eq!(run(at, other), trap, "{at:#x} {other:#x}");
            assert_eq!(run(other, at), trap, "{other:#x} {at:#x}");
        }
    }
}

/// Much data of the first memory is mapped, not copied, unless there is data of another one: both are there.
fn large_segments_leave_those_of_other_memories(config: &Config) {
    let large = "abcdefgh".repeat(160_000);
    for (index, other) in [
        ("i32", ""),
        ("i64", ""),
        ("i32", "(memory $n 1)"),
        ("i64", "(memory $n 1)"),
    ] {
        let segment = if other.is_empty() {
            ""
        } else {
            "(data (memory $n) (i32.const 7) \"x\")"
        };
        let text = format!(
            "(module (memory $m (export \"first\") {index} 20) {other}
                (data (memory $m) ({index}.const 8) \"{large}\") {segment}
                (data (memory $m) ({index}.const 9) \"B\")
                {})",
            if other.is_empty() {
                ""
            } else {
                "(export \"other\" (memory $n))"
            }
        );
        let engine = Engine::new(config);
        let module = Module::new(&engine, text).expect("it is valid");
        // The first instance copies all data.
        for _ in 0..3 {
            let mut store = Store::new(&engine, ()).expect("a store has a stack");
            let instance = Linker::new().instantiate(&mut store, &module);
            let instance = instance.expect("it imports nothing");
            let first = instance.memory(&store, "first").expect("it is exported");
            assert_eq!(&first.data(&store)[6..18], b"\0\0aBcdefghab");
            if let Some(other) = instance.memory(&store, "other") {
                assert_eq!(&other.data(&store)[6..9], b"\0x\0");
            }
        }
    }
}
