//! Which functions the grid has, and where they reach.

use tiered_decode::memory::{LoadOp, StoreOp};
use tiered_decode::types::ValType;
use tiered_runtime::{GUARD_BYTES, PAGE_BYTES};

/// The length in pages that the constants are about: two, so that offsets of more than 16 bits are within bounds too.
pub(super) const PAGES: u64 = 2;
const LENGTH: u32 = (PAGES * PAGE_BYTES) as u32;

/// Up to here an offset may need no check: what lies behind a memory is that long.
const GUARD: u32 = GUARD_BYTES as u32;

const OFFSETS: &[u32] = &[
    0,
    8,
    0x7fff,
    0x8000,
    0xfffe,
    0xffff,
    0x1_0000,
    LENGTH - 8,
    LENGTH - 1,
    LENGTH,
    GUARD - 9,
    GUARD - 8,
    GUARD - 4,
    GUARD - 1,
    GUARD,
    GUARD + 1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_ffff,
];

/// The parts of a sum that are not the rest of the address.
const PARTS: &[u32] = &[0, 3, 0xffff_fff0];

/// The addresses at which `size` bytes with `offset` are interesting in a memory of `length` bytes, 4 GiB being 0.
pub(super) fn addresses(length: u32, offset: u32, size: usize) -> Vec<u32> {
    let edge = length.wrapping_sub(offset);
    let size = size as u32;
    let mut addresses = vec![
        0,
        1,
        edge.wrapping_sub(size).wrapping_sub(1),
        edge.wrapping_sub(size),
        edge.wrapping_sub(size).wrapping_add(1),
        edge.wrapping_sub(1),
        edge,
        0x8000_0000,
        0u32.wrapping_sub(offset),
        0xffff_ffff,
    ];
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Where the address is. A function has two parameters for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Param,
    Const(u32),
    /// The result of the op before.
    Acc,
    /// A local that was just set from the accumulator.
    Tee,
    /// Its own slot.
    Slot,
    Global,
    /// The sum of both parameters, of the first and a constant, of an accumulator and the second, of both in slots.
    Sum,
    SumConst(u32),
    ConstSum(u32),
    SumAcc,
    SumSlots,
    /// A sum that is kept in a local as well.
    SumTee,
    /// A pinned local; the sum of two.
    Pinned,
    PinnedSecond,
    PinnedSum,
}

impl Address {
    fn all(offset: u32, size: usize) -> Vec<Address> {
        use Address as A;
        let plain = [
            A::Param,
            A::Acc,
            A::Tee,
            A::Slot,
            A::Global,
            A::Sum,
            A::SumAcc,
        ];
        let more = [
            A::SumSlots,
            A::SumTee,
            A::Pinned,
            A::PinnedSecond,
            A::PinnedSum,
        ];
        let constants = addresses(LENGTH, offset, size).into_iter().map(A::Const);
        let sums = PARTS
            .iter()
            .flat_map(|&part| [A::SumConst(part), A::ConstSum(part)]);
        plain
            .into_iter()
            .chain(more)
            .chain(constants)
            .chain(sums)
            .collect()
    }

    pub(super) fn in_loop(self) -> bool {
        matches!(
            self,
            Address::Pinned | Address::PinnedSecond | Address::PinnedSum
        )
    }

    /// The arguments that make the address, if it is not in the function.
    pub(super) fn arguments(self, address: u32) -> Vec<(u32, u32)> {
        let rest = |part: u32| address.wrapping_sub(part);
        match self {
            Address::Const(constant) if constant == address => vec![(0, 0)],
            Address::Const(_) => vec![],
            Address::SumConst(part) | Address::ConstSum(part) => vec![(rest(part), 0)],
            Address::Sum
            | Address::SumAcc
            | Address::SumSlots
            | Address::SumTee
            | Address::PinnedSum => PARTS.iter().map(|&part| (rest(part), part)).collect(),
            Address::PinnedSecond => vec![(0, address)],
            _ => vec![(address, 0)],
        }
    }
}

/// Where a load's result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    Return,
    Local,
    /// Stays under the operands of another op.
    Under,
    /// An argument of another load.
    Indirect,
}

/// Where the value to store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Param,
    Const(u64),
    Acc,
    Tee,
    Slot,
    Pinned,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Load(LoadOp, Sink),
    Store(StoreOp, Place),
}

impl Access {
    pub(super) fn size(self) -> usize {
        match self {
            Access::Load(op, _) => op.size(),
            Access::Store(op, _) => op.size(),
        }
    }

    /// The type of the value.
    pub(super) fn ty(self) -> ValType {
        match self {
            Access::Load(op, _) => op.result(),
            Access::Store(op, _) => op.param(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) access: Access,
    pub(super) address: Address,
    pub(super) offset: u32,
}

pub(super) fn cases(access: Access) -> Vec<Case> {
    let mut cases = Vec::new();
    for &offset in OFFSETS {
        for address in Address::all(offset, access.size()) {
            cases.push(Case {
                access,
                address,
                offset,
            });
        }
    }
    cases
}

impl Case {
    /// One for each access and offset, in the plainest form, for the lengths of a memory that are rare.
    pub(super) fn is_plain(&self) -> bool {
        let plain_value = matches!(
            self.access,
            Access::Load(_, Sink::Return) | Access::Store(_, Place::Param)
        );
        plain_value && matches!(self.address, Address::Param | Address::Const(_))
    }
}
