//! What Cranelift is told of each kind of memory that compiled code reads or writes.
//!
//! * *Invariant:* two accesses of different regions never meet at one address.
//! * *Invariant:* `fixed` is for what never changes while an instance lives and can be read from the function's start
//!   on: Cranelift moves such loads to wherever it likes, out of loops above all.

use std::borrow::Cow;

use cranelift_codegen::ir::{AliasRegionData, Endianness, Function, MemFlagsData, TrapCode};

use crate::trap;

use super::Translator;

/// Flags for each kind of access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// Pointers of an instance and what they lead to that never changes.
    pub(super) fixed: MemFlagsData,
    /// As `fixed`, but it can only be read where it is read: behind a check.
    pub(super) checked: MemFlagsData,
    /// The bytes of a memory: by [`Translator::memory_load`] and [`Translator::memory_store`].
    memory: MemFlagsData,
    /// The length of a memory.
    pub(super) memory_length: MemFlagsData,
    /// A global that can be set.
    pub(super) global: MemFlagsData,
    /// A table's base and length.
    pub(super) table: MemFlagsData,
    /// The elements of a table, behind a check: by [`Translator::element_load`] and [`Translator::element_store`].
    element: MemFlagsData,
    /// The entry point of a function, and what leads to it.
    pub(super) code: MemFlagsData,
    /// The type of a function that may be null.
    pub(super) sig: MemFlagsData,
    /// The code of a function that may be null.
    pub(super) called: MemFlagsData,
    /// Fields of the store's context.
    pub(super) store: MemFlagsData,
    /// Slots of a frame of the first tier, which is only there until something else runs.
    pub(super) frame: MemFlagsData,
    /// The poll page.
    pub(super) poll: MemFlagsData,
    /// Fields and elements of objects that are known to be there. For others: [`Translator::field_load`] and so on.
    pub(super) object: MemFlagsData,
    /// What an object has in front of these, which never changes: its type's descriptor, an array's length. It can only be
    /// read where it is read.
    pub(super) header: MemFlagsData,
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
            called: code.with_trap_code(Some(trap::NULL_FUNCTION_REFERENCE)),
            store: region("store", plain),
            frame: region("frame", plain),
            poll: region("poll", plain).with_trap_code(Some(trap::INTERRUPT)),
            object: region("object", plain),
            header: region("header", plain),
        }
    }
}

/// How the guest's own data is accessed at this point of the body: each store that may trap has another code than the one
/// before it ([`trap::behind_stores`]).
impl Translator<'_, '_> {
    /// A load from a memory.
    pub(super) fn memory_load(&self) -> MemFlagsData {
        self.coded(self.access.memory)
    }

    /// A store to a memory.
    pub(super) fn memory_store(&mut self) -> MemFlagsData {
        let flags = self.memory_load();
        self.stores = self.stores.wrapping_add(1);
        flags
    }

    /// A load of a table's element, which has the trap `outside` if the check leaves it to the access.
    pub(super) fn element_load(&self, outside: TrapCode) -> MemFlagsData {
        let code = self.spectre_guards.then_some(outside);
        self.coded(self.access.element.with_trap_code(code))
    }

    /// A store to a table's element.
    pub(super) fn element_store(&mut self, outside: TrapCode) -> MemFlagsData {
        let flags = self.element_load(outside);
        self.stores = self.stores.wrapping_add(1);
        flags
    }

    /// A load of a field, which traps if there is no object.
    pub(super) fn field_load(&self) -> MemFlagsData {
        let code = Some(trap::NULL_STRUCTURE_REFERENCE);
        self.coded(self.access.object.with_trap_code(code))
    }

    /// A store to a field, as [`Translator::field_load`].
    pub(super) fn field_store(&mut self) -> MemFlagsData {
        let flags = self.field_load();
        self.stores = self.stores.wrapping_add(1);
        flags
    }

    /// A load of an array's element, which traps if the check leaves it to the access.
    pub(super) fn item_load(&self) -> MemFlagsData {
        let code = self.spectre_guards.then_some(trap::ARRAY_OUT_OF_BOUNDS);
        self.coded(self.access.object.with_trap_code(code))
    }

    /// A store to an array's element, as [`Translator::item_load`].
    pub(super) fn item_store(&mut self) -> MemFlagsData {
        let flags = self.item_load();
        self.stores = self.stores.wrapping_add(1);
        flags
    }

    fn coded(&self, flags: MemFlagsData) -> MemFlagsData {
        let reason = flags.trap_code();
        flags.with_trap_code(reason.map(|reason| trap::behind_stores(reason, self.stores)))
    }
}
