//! What a memory's type means for those who make it and for those who access it: the one place that both tiers ask.
//!
//! Three ways to find out that an access is out of bounds, from the cheapest on:
//!
//! | memory | offset and size together | check |
//! |---|---|---|
//! | 32 bits, pages of 64 KiB | within the guard | none: whatever the address, what is not in the memory faults |
//! | 64 bits, pages of 64 KiB | within the guard | the address is below the length; what lies behind the length faults |
//! | any | any | the end of the access, as a whole |
//!
//! * *Invariant:* this depends on what a module declares, apart from the limits of a size. An import matches only if it
//!   is declared alike, so code that was made by one module's plan is right for every memory that it comes to.
//! * *Invariant:* the first two rows stand on lengths that are whole pages of the host, and on [`GUARD_BYTES`] behind
//!   whatever a memory may grow to.

use tiered_decode::types::{IndexType, MemoryType};

use crate::vm::memory::GUARD_BYTES;
use crate::vm::pages::HOST_PAGE_BYTES;
use crate::vm::reservation::REACHABLE_BYTES;

/// The most bytes of address space that one memory asks for: half of what a process of x86-64 has.
pub(crate) const MOST_BYTES: u64 = 1 << 46;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    index: IndexType,
    page_log2: u8,
}

/// What must be known of an access before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: one that is out of bounds faults.
    None,
    /// That the address is below the length. One that is, and is out of bounds with its offset and size, faults.
    Address,
    /// That the address and this many bytes, whose sum may be more than 64 bits, are at most the length.
    End(u64),
    /// It is out of bounds whatever the address.
    Outside,
}

impl MemoryPlan {
    /// That of memories of type `ty`.
    #[must_use]
    pub const fn of(ty: &MemoryType) -> MemoryPlan {
        MemoryPlan {
            index: ty.index,
            page_log2: ty.page_log2,
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
            _ if end > GUARD_BYTES as u64 || !pages_of_host => Check::End(end),
            IndexType::I32 => Check::None,
            IndexType::I64 => Check::Address,
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
            (IndexType::I64, Check::Address),
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
