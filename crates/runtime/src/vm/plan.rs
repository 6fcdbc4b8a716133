//! What a memory's type means for those who make it and for those who access it: the one place that both tiers ask.
//!
//! Three ways to find out that an access is out of bounds, from the cheapest on:
//!
//! | memory | offset and size together | check |
//! |---|---|---|
//! | 32 bits, pages of 64 KiB | within the guard | none: whatever the address, what is not in the memory faults |
//! | 64 bits, pages of 64 KiB | within the guard | the address is within the reservation; what lies behind the length faults |
//! | any | any | the end of the access, as a whole |
//!
//! A reservation is a power of two of bytes, of which the address of an access is a few low bits: its [`Reach`]. They are
//! known beforehand for memories that never become longer than 4 GiB; for others they are in the memory's record.
//!
//! * *Invariant:* this depends on what a module declares. Code that was made by one module's plan is right for every memory
//!   that it comes to: an import matches only if it is declared alike, and no longer than the importing module says.
//! * *Invariant:* the first two rows stand on lengths that are whole pages of the host, and on [`GUARD_BYTES`] behind
//!   whatever a memory may grow to.

use tiered_decode::types::{IndexType, MemoryType};

use crate::vm::memory::GUARD_BYTES;
use crate::vm::pages::HOST_PAGE_BYTES;
use crate::vm::reservation::REACHABLE_BYTES;

/// The most bytes of address space that one memory asks for: half of what a process of x86-64 has.
pub(crate) const MOST_BYTES: u64 = 1 << 46;

/// See the module. Two that differ may be of one memory: each module has its own, by what it declares.
#[derive(Clone, Copy, Debug)]
pub struct MemoryPlan {
    index: IndexType,
    page_log2: u8,
    reach: Reach,
}

/// How much of the address space behind a memory's base is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// 4 GiB: what 32 bits can say.
    Bits32,
    /// A power of two of bytes, 4 GiB or more. The greatest number below is in the memory's record, and never changes.
    Recorded,
}

/// What must be known of an access before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: one that is out of bounds faults.
    None,
    /// That the address is within the memory's [`Reach`]. One that is, and is out of bounds with its offset and size, faults.
    Reach,
    /// That the address and this many bytes, whose sum may be more than 64 bits, are at most the length.
    End(u64),
    /// It is out of bounds whatever the address.
    Outside,
}

impl MemoryPlan {
    /// That of memories of type `ty`.
    #[must_use]
    pub const fn of(ty: &MemoryType) -> MemoryPlan {
        let reach = match (ty.index, ty.limits.max) {
            (IndexType::I32, _) => Reach::Bits32,
            (IndexType::I64, Some(max)) if max <= REACHABLE_BYTES as u64 >> ty.page_log2 => {
                Reach::Bits32
            }
            (IndexType::I64, _) => Reach::Recorded,
        };
        MemoryPlan {
            index: ty.index,
            page_log2: ty.page_log2,
            reach,
        }
    }

    /// Which addresses lead to what is reserved for the memory.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether an access at this offset from an address within the [`Reach`] is at most as far behind it as the guard is
    /// long.
    #[must_use]
    pub const fn is_near(offset: u64, size: usize) -> bool {
        match offset.checked_add(size as u64) {
            Some(end) => end <= GUARD_BYTES as u64,
            None => false,
        }
    }

    /// The type of addresses.
    #[must_use]
    pub const fn index(&self) -> IndexType {
        self.index
    }

    /// The binary logarithm of the bytes of a page.
    #[must_use]
    pub const fn page_log2(&self) -> u8 {
        self.page_log2
    }

    /// What must be known of an access of `size` bytes at `offset` from an address.
    #[must_use]
    pub fn check(&self, offset: u64, size: usize) -> Check {
        let Some(end) = offset.checked_add(size as u64) else {
            return Check::Outside;
        };
        let pages_of_host = (1usize << self.page_log2).is_multiple_of(HOST_PAGE_BYTES);
        match self.index {
            _ if !MemoryPlan::is_near(offset, size) || !pages_of_host => Check::End(end),
            IndexType::I32 => Check::None,
            IndexType::I64 => Check::Reach,
        }
    }

    /// The most pages that there can be: what the instructions can say.
    pub(crate) fn max_pages(&self) -> u64 {
        match self.index {
            IndexType::I32 => ((1 << 32) >> self.page_log2).min(u64::from(u32::MAX)),
            IndexType::I64 => u64::MAX >> self.page_log2,
        }
    }

    /// The bytes of `pages` pages, if 64 bits can count them.
    pub(crate) fn bytes(&self, pages: u64) -> Option<u64> {
        pages.checked_mul(1 << self.page_log2)
    }

    /// How much address space to ask for, where a memory may have `max` pages and its store `limit` bytes.
    pub(crate) fn reservation(&self, max: Option<u64>, limit: u64) -> usize {
        match self.index {
            IndexType::I32 => REACHABLE_BYTES,
            IndexType::I64 => {
                let most = max.and_then(|max| self.bytes(max)).unwrap_or(u64::MAX);
                most.min(limit).min(MOST_BYTES) as usize
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiered_decode::types::Limits;

    fn plan(index: IndexType, page_log2: u8) -> MemoryPlan {
        let limits = Limits { min: 0, max: None };
        MemoryPlan::of(&MemoryType {
            index,
            page_log2,
            ..MemoryType::new(limits)
        })
    }

    #[test]
    fn an_access_within_the_guard_needs_less() {
        const GUARD: u64 = GUARD_BYTES as u64;
        let near = [
            (IndexType::I32, Check::None),
            (IndexType::I64, Check::Reach),
        ];
        for (index, check) in near {
            let (pages, bytes) = (plan(index, 16), plan(index, 0));
            for (offset, size) in [(0, 1), (0, 16), (GUARD - 8, 8), (GUARD - 1, 1)] {
                assert_eq!(pages.check(offset, size), check);
                assert_eq!(bytes.check(offset, size), Check::End(offset + size as u64));
            }
            for (offset, size) in [(GUARD - 7, 8), (GUARD, 1), (u64::MAX - 16, 16)] {
                assert_eq!(pages.check(offset, size), Check::End(offset + size as u64));
                assert_eq!(bytes.check(offset, size), Check::End(offset + size as u64));
            }
            for (offset, size) in [(u64::MAX, 1), (u64::MAX - 14, 16)] {
                assert_eq!(pages.check(offset, size), Check::Outside);
                assert_eq!(bytes.check(offset, size), Check::Outside);
            }
        }
    }

    #[test]
    fn what_stays_within_32_bits_has_their_reach() {
        let reach = |index, page_log2, max| {
            let limits = Limits { min: 0, max };
            let ty = MemoryType {
                index,
                page_log2,
                ..MemoryType::new(limits)
            };
            let plan = MemoryPlan::of(&ty);
            let taken = plan.reservation(max, 1 << 40);
            assert!(plan.reach() == Reach::Recorded || taken <= REACHABLE_BYTES);
            plan.reach()
        };
        for max in [None, Some(0), Some(1 << 16)] {
            assert_eq!(reach(IndexType::I32, 16, max), Reach::Bits32);
        }
        for (page_log2, most) in [(16, 1 << 16), (0, 1 << 32)] {
            let wide = |max| reach(IndexType::I64, page_log2, max);
            assert_eq!(wide(Some(0)), Reach::Bits32);
            assert_eq!(wide(Some(most)), Reach::Bits32);
            assert_eq!(wide(Some(most + 1)), Reach::Recorded);
            assert_eq!(wide(Some(u64::MAX)), Reach::Recorded);
            assert_eq!(wide(None), Reach::Recorded);
        }
    }

    #[test]
    fn sizes_end_where_the_instructions_do() {
        assert_eq!(plan(IndexType::I32, 16).max_pages(), 1 << 16);
        assert_eq!(plan(IndexType::I32, 0).max_pages(), u64::from(u32::MAX));
        assert_eq!(plan(IndexType::I64, 16).max_pages(), (1 << 48) - 1);
        assert_eq!(plan(IndexType::I64, 0).max_pages(), u64::MAX);
        assert_eq!(plan(IndexType::I64, 16).bytes(1 << 48), None);
    }

    #[test]
    fn what_is_asked_for_is_what_may_be_had() {
        let wide = plan(IndexType::I64, 16);
        assert_eq!(wide.reservation(Some(3), 1 << 40), 3 << 16);
        assert_eq!(wide.reservation(None, 1 << 36), 1 << 36);
        assert_eq!(wide.reservation(Some(1 << 48), u64::MAX), 1 << 46);
        assert_eq!(
            plan(IndexType::I32, 16).reservation(Some(1), 1 << 16),
            4 << 30
        );
    }
}
