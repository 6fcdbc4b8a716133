//! Where everything of an instance stands, counted in bytes from its [`VmCtx`]: what compiled code is made of.
//!
//! ```text
//! vmctx ─▶ [ VmCtx | sigs | descriptors | imported funcs | tables | memories | tags | imported globals | globals | host funcs | funcs ]
//!                    u32    pointers                                                                    records
//! ```
//!
//! * *Invariant:* the offsets depend on the module alone, so code made of them serves every instance of the module.
//! * *Invariant:* what an instance allocates itself stands in these arrays as a record; what it imports, and its tables,
//!   memories and tags, as a pointer to one. Pointers never change. The records of host functions that an instance imports
//!   are its own, too.

use tiered_decode::Module;
use tiered_decode::index::{FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TagIdx, TypeIdx};

use crate::vm::code::{FuncCode, FuncRecord};
use crate::vm::global::GlobalRecord;
use crate::vm::vmctx::VmCtx;

/// Offsets of the fields that compiled code reads and writes, in bytes.
pub mod offsets {
    use std::mem::offset_of;

    use crate::vm::code::{FuncCode, FuncRecord};
    use crate::vm::exception::ExceptionObject;
    use crate::vm::global::GlobalRecord;
    use crate::vm::memory::MemoryRecord;
    use crate::vm::table::TableRecord;
    use crate::vm::vmctx::{StoreCtx, VmCtx};

    /// [`VmCtx`]: the address of the [`StoreCtx`].
    pub const VMCTX_STORE: i32 = offset_of!(VmCtx, store) as i32;
    /// [`VmCtx`]: the first byte of memory 0.
    pub const VMCTX_MEMORY_BASE: i32 = offset_of!(VmCtx, memory_base) as i32;
    /// [`VmCtx`]: the address of the word with the lowest native stack pointer that is allowed.
    pub const VMCTX_STACK_GUARD: i32 = offset_of!(VmCtx, stack_guard) as i32;
    /// [`VmCtx`]: the address of the page that can't be read once the guest is to stop.
    pub const VMCTX_POLL: i32 = offset_of!(VmCtx, poll) as i32;
    /// [`VmCtx`]: the address of the first [`FuncCode`] of those that the module defines.
    pub const VMCTX_FUNCS: i32 = offset_of!(VmCtx, funcs) as i32;
    /// [`VmCtx`]: [`EntryPoints::builtins`](crate::vm::code::EntryPoints::builtins).
    pub const VMCTX_BUILTINS: i32 = offset_of!(VmCtx, builtins) as i32;
    /// [`FuncCode`]: the entry point of compiled callers.
    pub const FUNC_NATIVE: i32 = FuncCode::NATIVE as i32;
    /// [`FuncRecord`]: the address of the [`FuncCode`].
    pub const RECORD_CODE: i32 = FuncRecord::CODE as i32;
    /// [`FuncRecord`]: the address of the instance.
    pub const RECORD_INSTANCE: i32 = FuncRecord::INSTANCE as i32;
    /// [`FuncRecord`]: the number of the type, 32 bits.
    pub const RECORD_SIG: i32 = FuncRecord::SIG as i32;
    /// [`StoreCtx`]: the account of work, 32 bits.
    pub const STORE_WORK: i32 = offset_of!(StoreCtx, work) as i32;
    /// [`StoreCtx`]: the calling instance.
    pub const STORE_CALLER: i32 = offset_of!(StoreCtx, caller) as i32;
    /// [`StoreCtx`]: the first free slot.
    pub const STORE_FREE: i32 = offset_of!(StoreCtx, free) as i32;
    /// [`ExceptionObject`]: the address of the tag's record.
    pub const EXCEPTION_TAG: i32 = ExceptionObject::TAG as i32;
    /// [`ExceptionObject`]: the first slot of the payload.
    pub const EXCEPTION_PAYLOAD: i32 = ExceptionObject::PAYLOAD as i32;
    /// [`StoreCtx`]: how compiled code comes to where it leaves for another tier, 8 bits.
    pub const STORE_ARRIVAL: i32 = offset_of!(StoreCtx, arrival) as i32;
    /// [`GlobalRecord`]: the value's slot.
    pub const GLOBAL_VALUE: i32 = offset_of!(GlobalRecord, value) as i32;
    /// [`TableRecord`]: the address of the elements.
    pub const TABLE_BASE: i32 = TableRecord::BASE as i32;
    /// [`TableRecord`]: the number of elements, 64 bits.
    pub const TABLE_LENGTH: i32 = TableRecord::LENGTH as i32;
    /// [`MemoryRecord`]: the address of byte 0.
    pub const MEMORY_BASE: i32 = MemoryRecord::BASE as i32;
    /// [`MemoryRecord`]: the length in bytes, 64 bits.
    pub const MEMORY_LENGTH: i32 = MemoryRecord::LENGTH as i32;
    /// [`MemoryRecord`]: the greatest address of what is reserved, all ones
    /// ([`Reach::Recorded`](crate::vm::plan::Reach::Recorded)), 64 bits.
    pub const MEMORY_MASK: i32 = MemoryRecord::MASK as i32;
}

/// Where a function's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FuncPlace {
    /// The record's address is at this offset.
    Imported(i32),
    /// The record itself is at this offset.
    Defined(i32),
}

/// Where a global's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalPlace {
    /// The record's address is at this offset.
    Imported(i32),
    /// The record itself is at this offset.
    Defined(i32),
}

/// The places of one module's instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmLayout {
    counts: Counts,
    sigs: usize,
    descriptors: usize,
    imported_funcs: usize,
    tables: usize,
    memories: usize,
    tags: usize,
    imported_globals: usize,
    globals: usize,
    host_funcs: usize,
    funcs: usize,
    size: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    types: u32,
    descriptors: u32,
    imported_funcs: u32,
    funcs: u32,
    tables: u32,
    memories: u32,
    tags: u32,
    imported_globals: u32,
    globals: u32,
}

const POINTER: usize = size_of::<*const ()>();

/// Instances begin at multiples of this, so that the low bits of their addresses are free.
pub(crate) const ALIGN: usize = 64;

impl VmLayout {
    /// The layout of instances of `module`.
    ///
    /// # Panics
    /// If an instance needs 2 GiB or more, which the limits of validation exclude.
    #[must_use]
    pub fn new(module: &Module) -> VmLayout {
        let defined_globals = module.globals().len() - module.imported_globals() as usize;
        let defined_funcs = module.funcs().len() - module.imported_funcs() as usize;
        let mut end = size_of::<VmCtx>();
        let mut array = |count: usize, size: usize, align: usize| {
            let start = end.next_multiple_of(align);
            end = start + count * size;
            start
        };
        let sigs = array(module.types().len(), size_of::<u32>(), size_of::<u32>());
        let described = match module.types().has_objects() {
            true => module.types().len(),
            false => 0,
        };
        let mut pointers = |count: usize| array(count, POINTER, POINTER);
        let descriptors = pointers(described);
        let imported_funcs = pointers(module.imported_funcs() as usize);
        let tables = pointers(module.tables().len());
        let memories = pointers(module.memories().len());
        let tags = pointers(module.tags().len());
        let imported_globals = pointers(module.imported_globals() as usize);
        let globals = array(
            defined_globals,
            size_of::<GlobalRecord>(),
            align_of::<GlobalRecord>(),
        );
        let mut records = |count| array(count, size_of::<FuncRecord>(), align_of::<FuncRecord>());
        let host_funcs = records(module.imported_funcs() as usize);
        let funcs = records(defined_funcs);
        assert!(i32::try_from(end).is_ok(), "an instance is below 2 GiB");
        VmLayout {
            counts: Counts {
                types: module.types().len() as u32,
                descriptors: described as u32,
                imported_funcs: module.imported_funcs(),
                funcs: module.funcs().len() as u32,
                tables: module.tables().len() as u32,
                memories: module.memories().len() as u32,
                tags: module.tags().len() as u32,
                imported_globals: module.imported_globals(),
                globals: module.globals().len() as u32,
            },
            sigs,
            descriptors,
            imported_funcs,
            tables,
            memories,
            tags,
            imported_globals,
            globals,
            host_funcs,
            funcs,
            size: end,
        }
    }

    /// That of an instance which has nothing: what host functions run on.
    pub(crate) fn of_nothing() -> VmLayout {
        let end = size_of::<VmCtx>();
        VmLayout {
            counts: Counts::default(),
            sigs: end,
            descriptors: end,
            imported_funcs: end,
            tables: end,
            memories: end,
            tags: end,
            imported_globals: end,
            globals: end,
            host_funcs: end,
            funcs: end,
            size: end,
        }
    }

    pub(crate) fn has_type(&self, ty: TypeIdx) -> bool {
        ty.0 < self.counts.types
    }

    pub(crate) fn has_descriptor(&self, ty: TypeIdx) -> bool {
        ty.0 < self.counts.descriptors
    }

    pub(crate) fn has_func(&self, index: FuncIdx) -> bool {
        index.0 < self.counts.funcs
    }

    pub(crate) fn has_table(&self, index: TableIdx) -> bool {
        index.0 < self.counts.tables
    }

    pub(crate) fn has_memory(&self, index: MemoryIdx) -> bool {
        index.0 < self.counts.memories
    }

    pub(crate) fn has_tag(&self, index: TagIdx) -> bool {
        index.0 < self.counts.tags
    }

    pub(crate) fn has_global(&self, index: GlobalIdx) -> bool {
        index.0 < self.counts.globals
    }

    /// Bytes of an instance.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The store's number for type `ty`, 32 bits.
    #[must_use]
    pub fn sig(&self, ty: TypeIdx) -> i32 {
        (self.sigs + ty.index() * size_of::<u32>()) as i32
    }

    /// The address of the [`Descriptor`](crate::gc::Descriptor) of type `ty`, which is a structure or an array; null for a
    /// function.
    #[must_use]
    pub fn descriptor(&self, ty: TypeIdx) -> i32 {
        debug_assert!(self.has_descriptor(ty), "the module has objects");
        (self.descriptors + ty.index() * POINTER) as i32
    }

    /// The record of the function at `index` of the module's index space.
    #[must_use]
    pub fn func(&self, index: FuncIdx) -> FuncPlace {
        match index.0.checked_sub(self.counts.imported_funcs) {
            None => FuncPlace::Imported((self.imported_funcs + index.index() * POINTER) as i32),
            Some(defined) => {
                FuncPlace::Defined((self.funcs + defined as usize * size_of::<FuncRecord>()) as i32)
            }
        }
    }

    /// For an import: where the address of its record is, and where the record is if it is a host function.
    pub(crate) fn import(&self, index: FuncIdx) -> (FuncPlace, i32) {
        let own = self.host_funcs + index.index() * size_of::<FuncRecord>();
        (self.func(index), own as i32)
    }

    /// Where the [`FuncCode`] of a function that the module defines is, from [`offsets::VMCTX_FUNCS`] on; `None` for an
    /// import.
    #[must_use]
    pub fn func_code(&self, index: FuncIdx) -> Option<i32> {
        let defined = index.0.checked_sub(self.counts.imported_funcs)?;
        Some((defined as usize * size_of::<FuncCode>()) as i32)
    }

    /// The address of the table's record.
    #[must_use]
    pub fn table(&self, index: TableIdx) -> i32 {
        (self.tables + index.index() * POINTER) as i32
    }

    /// The address of the memory's record.
    #[must_use]
    pub fn memory(&self, index: MemoryIdx) -> i32 {
        (self.memories + index.index() * POINTER) as i32
    }

    /// The address of the tag's record.
    #[must_use]
    pub fn tag(&self, index: TagIdx) -> i32 {
        (self.tags + index.index() * POINTER) as i32
    }

    /// The record of the global at `index` of the module's index space.
    #[must_use]
    pub fn global(&self, index: GlobalIdx) -> GlobalPlace {
        match index.0.checked_sub(self.counts.imported_globals) {
            None => GlobalPlace::Imported((self.imported_globals + index.index() * POINTER) as i32),
            Some(defined) => GlobalPlace::Defined(
                (self.globals + defined as usize * size_of::<GlobalRecord>()) as i32,
            ),
        }
    }

    /// The first record of a function that the module defines, and their number.
    pub(crate) fn defined_funcs(&self) -> (i32, usize) {
        let count = (self.size - self.funcs) / size_of::<FuncRecord>();
        (self.funcs as i32, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All arrays of an instance of a module with two of everything.
    #[test]
    fn nothing_overlaps() {
        let text = r#"(module
            (import "a" "f" (func)) (import "a" "g" (func (param i32)))
            (import "a" "t" (table 1 funcref)) (import "a" "m" (memory 1))
            (import "a" "x" (global i32)) (import "a" "y" (global i64))
            (table 1 externref) (global i32 (i32.const 1)) (global f64 (f64.const 1))
            (func) (func (param i32)))"#;
        let module = Module::new(text.as_bytes().to_vec()).expect("it is valid");
        let layout = VmLayout::new(&module);
        let func = |index| match layout.func(FuncIdx(index)) {
            FuncPlace::Imported(at) => (at, POINTER),
            FuncPlace::Defined(at) => (at, size_of::<FuncRecord>()),
        };
        let global = |index| match layout.global(GlobalIdx(index)) {
            GlobalPlace::Imported(at) => (at, POINTER),
            GlobalPlace::Defined(at) => (at, size_of::<GlobalRecord>()),
        };
        let mut places = vec![(0, size_of::<VmCtx>())];
        places.extend((0..2).map(|index| (layout.sig(TypeIdx(index)), size_of::<u32>())));
        places.extend((0..4).map(func));
        places.extend((0..2).map(|index| (layout.table(TableIdx(index)), POINTER)));
        places.push((layout.memory(MemoryIdx(0)), POINTER));
        places.extend((0..4).map(global));
        places.sort_unstable();
        for pair in places.windows(2) {
            assert!(
                pair[0].0 as usize + pair[0].1 <= pair[1].0 as usize,
                "{places:?}"
            );
        }
        let (at, size) = places[places.len() - 1];
        assert_eq!(at as usize + size, layout.size());
        assert_eq!(layout.defined_funcs(), (func(2).0, 2));
    }
}
