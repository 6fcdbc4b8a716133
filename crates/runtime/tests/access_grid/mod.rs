//! Every load and store at addresses and offsets around the edges of a memory, with the address and the value in every
//! place that a translator knows, against the op's own row.
//!
//! *Invariant:* an access that is not wholly within the memory traps and changes nothing.
//! *Invariant:* the effective address is the unsigned sum of address and offset, which does not wrap; a sum that the
//! program computes does.
//!
//! The same functions run while the memory has no page, one, two, and all that there can be. A tier's tests include this
//! as a module, and name the tier.

mod body;
mod cases;

use std::ops::Range;
use std::sync::Arc;

use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::types::ValType;
use tiered_runtime::code::Tier;
use tiered_runtime::{Limits, Linker, Memory, PAGE_BYTES, Store, Table, TrapCode, Val};

use body::{TYPES, module};
use cases::{Access, Case, PAGES, Place, Sink, addresses, cases};

/// How many bytes on both sides of an access are looked at: more than a wrong one could be off by a little.
const AROUND: u64 = 32;

/// The lengths of the memory, one after the other.
const LENGTHS: [u64; 4] = [0, 1, PAGES, 65536];

fn val(ty: ValType, bits: u64) -> Val {
    match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits.cast_signed()),
        ValType::F32 => Val::F32(bits as u32),
        _ => Val::F64(bits),
    }
}

/// The cases in a store.
struct Grid {
    store: Store<()>,
    table: Table,
    memory: Memory,
    calls: u64,
}

/// One call of a case.
struct Call<'a> {
    case: &'a Case,
    index: u64,
    address: u32,
    args: (u32, u32),
}

impl Grid {
    fn new(tier: Arc<dyn Tier>, cases: &[Case]) -> Grid {
        let mut store = Store::with_tier(tier, Limits::default(), ()).expect("a store has a stack");
        let instance = Linker::new()
            .instantiate(&mut store, &Arc::new(module(cases)))
            .expect("it imports nothing");
        Grid {
            table: instance.table(&store, "cases").expect("it is exported"),
            memory: instance.memory(&store, "memory").expect("it is exported"),
            store,
            calls: 0,
        }
    }

    fn length(&self) -> u64 {
        self.memory.size(&self.store) * PAGE_BYTES
    }

    /// The value that a case is called with: different for each call, so that a store that does nothing shows.
    fn value(&self, case: &Case) -> u64 {
        let odd = 2 * self.calls + 1;
        match case.access {
            Access::Store(_, Place::Const(bits)) => bits,
            _ if matches!(case.access.ty(), ValType::I64 | ValType::F64) => {
                0x8123_4567_89ab_cdefu64.wrapping_mul(odd)
            }
            _ => 0x89ab_cdefu64.wrapping_mul(odd) & 0xffff_ffff,
        }
    }

    /// Where the memory is looked at: around the access; its end, if that is behind it.
    fn window(&self, start: u64, size: u64) -> Range<usize> {
        let end = (start + size + AROUND).min(self.length());
        let begin = start.min(end).saturating_sub(AROUND);
        begin as usize..end as usize
    }

    /// Makes a call, with bytes all around that tell their places and have their sign bits set here and there, signaling
    /// NaNs among them.
    fn run(&mut self, call: &Call<'_>) -> Result<(), String> {
        self.calls += 1;
        let Call {
            case,
            address,
            args,
            ..
        } = *call;
        let Some(Val::FuncRef(Some(func))) = self.table.get(&self.store, call.index) else {
            panic!("element {} is a function", call.index)
        };
        let (ty, size, value) = (
            case.access.ty(),
            case.access.size() as u64,
            self.value(case),
        );
        let start = u64::from(address) + u64::from(case.offset);
        let window = self.window(start, size);
        let pattern = |at: usize| ((at as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8;
        let mut bytes: Vec<u8> = window.clone().map(pattern).collect();
        self.memory.data_mut(&mut self.store)[window.clone()].copy_from_slice(&bytes);
        let args = [
            Val::I32(args.0.cast_signed()),
            Val::I32(args.1.cast_signed()),
            val(ty, value),
        ];
        let found = func
            .call(&mut self.store, &args)
            .map_err(|trap| trap.code());
        let expected = if start + size > self.length() {
            Err(Some(TrapCode::MemoryOutOfBounds))
        } else {
            let at = start as usize - window.start;
            Ok(match case.access {
                Access::Load(op, _) => op.load(&bytes[at..]),
                Access::Store(op, _) => {
                    op.store(&mut bytes[at..], value);
                    value
                }
            })
        };
        let expected = expected.map(|bits| vec![val(ty, bits)]);
        let pages = self.memory.size(&self.store);
        if found != expected {
            return Err(format!(
                "{case:?} at {address:#x} of {pages} pages: {found:x?}, not {expected:x?}"
            ));
        }
        if self.memory.data(&self.store)[window] != bytes {
            return Err(format!(
                "{case:?} at {address:#x} of {pages} pages, {value:#x}: it writes something else"
            ));
        }
        Ok(())
    }

    /// Runs all cases in a memory of one length; what is wrong, for people.
    fn check(&mut self, cases: &[Case]) -> Vec<String> {
        let is_main = self.memory.size(&self.store) == PAGES;
        let length = self.length() as u32;
        let mut wrong = Vec::new();
        for (index, case) in (0..).zip(cases) {
            if !is_main && !case.is_plain() {
                continue;
            }
            for address in addresses(length, case.offset, case.access.size()) {
                for args in case.address.arguments(address) {
                    let call = Call {
                        case,
                        index,
                        address,
                        args,
                    };
                    wrong.extend(self.run(&call).err());
                }
            }
        }
        wrong
    }
}

fn check(tier: Arc<dyn Tier>, cases: &[Case]) {
    let mut grid = Grid::new(tier, cases);
    let mut wrong = Vec::new();
    for pages in LENGTHS {
        let more = pages - grid.memory.size(&grid.store);
        let grown = grid.memory.grow(&mut grid.store, more);
        grown.expect("address space is cheap");
        wrong.extend(grid.check(cases));
    }
    println!("{} functions, {} calls", cases.len(), grid.calls);
    let shown = wrong[..wrong.len().min(20)].join("\n");
    assert!(
        wrong.is_empty(),
        "{} accesses are wrong:\n{shown}",
        wrong.len()
    );
}

/// All loads in tiers of their own.
pub(crate) fn loads(tier: fn() -> Arc<dyn Tier>) {
    for ty in TYPES {
        let ops = LoadOp::ALL.iter().filter(|op| op.result() == ty);
        let sinks = [Sink::Return, Sink::Local, Sink::Under, Sink::Indirect];
        let accesses = ops.flat_map(|&op| sinks.map(|sink| Access::Load(op, sink)));
        check(tier(), &accesses.flat_map(cases).collect::<Vec<_>>());
    }
}

/// All stores in tiers of their own.
pub(crate) fn stores(tier: fn() -> Arc<dyn Tier>) {
    for ty in TYPES {
        let ops = StoreOp::ALL.iter().filter(|op| op.param() == ty);
        let constants: &[u64] = match ty {
            ValType::I32 => &[0, 0xffff_ffff, 0x8000_0000, 0x1234_5678],
            ValType::I64 => &[
                0,
                u64::MAX,
                0xffff_ffff_8000_0000,
                0x8000_0000,
                0x0123_4567_89ab_cdef,
            ],
            ValType::F32 => &[0, 0x7fa0_0001],
            _ => &[0, 0x7ff4_0000_0000_0001],
        };
        let places = [
            Place::Param,
            Place::Acc,
            Place::Tee,
            Place::Slot,
            Place::Pinned,
        ];
        let constants = constants.iter().copied().map(Place::Const);
        let places: Vec<Place> = places.into_iter().chain(constants).collect();
        let accesses =
            ops.flat_map(|&op| places.iter().map(move |&place| Access::Store(op, place)));
        check(tier(), &accesses.flat_map(cases).collect::<Vec<_>>());
    }
}
