//! What Cranelift is told of each kind of memory that compiled code reads or writes.
//!
//! * *Invariant:* two accesses of different regions never meet at one address.
//! * *Invariant:* `fixed` is for what never changes while an instance lives and can be read from the function's start
//!   on: Cranelift moves such loads to wherever it likes, out of loops above all.

use std::borrow::Cow;

use cranelift_codegen::ir::{AliasRegionData, Endianness, Function, MemFlagsData};

use crate::trap;

use super::Translator;

/// Flags for each kind of access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// Pointers of an instance and what they lead to that never changes.
    pub(super) fixed: MemFlagsData,
    /// As `fixed`, but it can only be read where it is read: behind a check.
    pub(super) checked: MemFlagsData,
    /// The bytes of a memory.
    pub(super) memory: MemFlagsData,
    /// The length of a memory.
    pub(super) memory_length: MemFlagsData,
    /// A global that can be set.
    pub(super) global: MemFlagsData,
    /// A table's base and length.
    pub(super) table: MemFlagsData,
    /// The elements of a table, behind a check.
    pub(super) element: MemFlagsData,
    /// The entry point of a function, and what leads to it.
    pub(super) code: MemFlagsData,
    /// The type of a function that may be null.
    pub(super) sig: MemFlagsData,
    /// Fields of the store's context.
    pub(super) store: MemFlagsData,
    /// Slots of a frame of the first tier, which is only there until something else runs.
    pub(super) frame: MemFlagsData,
    /// The poll page.
    pub(super) poll: MemFlagsData,
}

impl Access {
    pub(super) fn new(func: &mut Function) -> Access {
        let mut next = 0;
        let mut region = |description: &'static str, flags: MemFlagsData| {
            let region = func.dfg.alias_regions.insert(AliasRegionData {
                user_id: next,
                description: Cow::Borrowed(description),
            });
            next += 1;
            flags.with_alias_region(Some(region))
        };
        let plain = MemFlagsData::trusted();
        let checked = region("fixed", plain.with_readonly());
        let code = region("function", plain);
        Access {
            fixed: checked.with_can_move(),
            checked,
            memory: region(
                "memory",
                MemFlagsData::new()
                    .with_endianness(Endianness::Little)
                    .with_trap_code(Some(trap::MEMORY_OUT_OF_BOUNDS)),
            ),
            memory_length: region("memory length", plain),
            global: region("global", plain),
            table: region("table", plain),
            element: region("element", plain),
            code,
            sig: code.with_trap_code(Some(trap::UNINITIALIZED_ELEMENT)),
            store: region("store", plain),
            frame: region("frame", plain),
            poll: region("poll", plain).with_trap_code(Some(trap::INTERRUPT)),
        }
    }
}

impl Translator<'_, '_> {
    /// `flags` for a load that may trap, at this point of the body.
    pub(super) fn of_load(&self, flags: MemFlagsData) -> MemFlagsData {
        let reason = flags.trap_code();
        flags.with_trap_code(reason.map(|reason| trap::behind_stores(reason, self.stores)))
    }

    /// `flags` for a store that may trap, at this point of the body.
    pub(super) fn of_store(&mut self, flags: MemFlagsData) -> MemFlagsData {
        let flags = self.of_load(flags);
        self.stores = self.stores.wrapping_add(1);
        flags
    }
}
