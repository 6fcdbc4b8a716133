//! An instance, as running code sees it: the spec's module instance (section 4.2.5).
//!
//! * *Invariant:* a [`VmCtx`] and every record it leads to are allocated once, never moved, and freed with the store.
//!   Running code holds plain addresses of them.
//! * *Invariant:* they change only through cells, so shared references to them may exist at any time.
//! * *Invariant:* [`VmCtx::borrow`] is the one place where the address that running code holds becomes a reference.
//! * *Invariant:* what an instance has for each function of its module is zero until it is asked for, in memory that
//!   the host gives as zero: an instance costs what it uses.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::{
    DataIdx, ElemIdx, FuncIdx, GlobalIdx, MemoryIdx, TableIdx, TagIdx, TypeIdx,
};
use tiered_decode::types::TypeId;

use crate::vm::code::{FuncCode, FuncRecord};
use crate::vm::exception::{ExceptionRoot, TagRecord, holds_exceptions};
use crate::vm::frame::Slot;
use crate::vm::global::GlobalRecord;
use crate::vm::guard::Guard;
use crate::vm::layout::{ALIGN, FuncPlace, GlobalPlace, VmLayout};
use crate::vm::memory::{self, MemoryBounds, MemoryRecord};
use crate::vm::module_code::{CodeSet, ModuleCode};
use crate::vm::table::TableRecord;

pub use crate::vm::store_ctx::{Arrival, StoreCtx};

/// See the module.
///
/// Behind it, in the same allocation, stand the arrays that [`VmLayout`] describes.
#[repr(C, align(64))]
pub struct VmCtx {
    /// The store that the instance lives in.
    pub store: NonNull<StoreCtx>,
    /// The first byte of memory 0; no address of anything if there is none.
    pub memory_base: Cell<NonNull<u8>>,
    /// The bounds of memory 0; [`memory::no_memory`] if there is none.
    memory_bounds: NonNull<MemoryBounds>,
    /// The functions that the module defines, one behind the other, in the code that the instance uses: that which
    /// counts fuel if the store does.
    pub(crate) funcs: Cell<*const FuncCode>,
    /// The store's [`Guard`], which begins with the limit of the native stack.
    pub(crate) stack_guard: NonNull<Guard>,
    /// The guard's page.
    pub(crate) poll: NonNull<u8>,
    /// [`EntryPoints::builtins`](crate::vm::code::EntryPoints::builtins).
    pub(crate) builtins: *const u8,
    /// This instance, with the right to reach the arrays behind it.
    whole: NonNull<u8>,
    /// As the module's code has it: what is looked up often is found here.
    layout: VmLayout,
    /// `None` for the instance that host functions run on.
    code: Option<Arc<ModuleCode>>,
    elements: Box<[RefCell<Box<[Slot]>>]>,
    dropped_data: Box<[Cell<bool>]>,
    exported_memory: Option<NonNull<MemoryRecord>>,
    /// Some record of a function was filled in.
    filled: Cell<bool>,
}

const _: () = assert!(align_of::<VmCtx>() == ALIGN);

/// What an instance is made of.
pub(crate) struct VmCtxParts<'a> {
    pub(crate) store: &'a StoreCtx,
    pub(crate) code: &'a Arc<ModuleCode>,
    pub(crate) imported_funcs: &'a [ImportedFunc],
    pub(crate) tables: &'a [NonNull<TableRecord>],
    pub(crate) memories: &'a [NonNull<MemoryRecord>],
    pub(crate) tags: &'a [NonNull<TagRecord>],
    pub(crate) imported_globals: &'a [NonNull<GlobalRecord>],
    pub(crate) exported_memory: Option<NonNull<MemoryRecord>>,
}

/// A function that an instance imports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ImportedFunc {
    /// One that is in the store.
    Record(NonNull<FuncRecord>),
    /// A host function, to run on this instance of the store's.
    Host(NonNull<FuncCode>, NonNull<VmCtx>),
}

/// Owns an instance.
#[derive(Debug)]
pub(crate) struct OwnedVmCtx(NonNull<VmCtx>);

/// From this size on an instance has pages of its own, which the host gives as zeros at no cost.
const OWN_PAGES_FROM: usize = 64 << 10;

fn allocation(size: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(size, ALIGN).expect("an instance is below 2 GiB")
}

fn allocate_zeroed(size: usize) -> NonNull<u8> {
    let whole = if size < OWN_PAGES_FROM {
        // SAFETY: an instance has a size.
        unsafe { std::alloc::alloc_zeroed(allocation(size)) }
    } else {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let map = unsafe { mmap_anonymous(std::ptr::null_mut(), size, protection, flags) };
        map.map_or(std::ptr::null_mut(), <*mut _>::cast)
    };
    NonNull::new(whole).unwrap_or_else(|| std::alloc::handle_alloc_error(allocation(size)))
}

/// # Safety
/// `whole` is of [`allocate_zeroed`] with this size, and nobody uses it any more.
unsafe fn deallocate(whole: *mut u8, size: usize) {
    if size < OWN_PAGES_FROM {
        // SAFETY: the caller's promise.
        unsafe { std::alloc::dealloc(whole, allocation(size)) };
    } else {
        // SAFETY: the caller's promise.
        let unmapped = unsafe { rustix::mm::munmap(whole.cast(), size) };
        debug_assert!(unmapped.is_ok(), "the kernel knows its own mapping");
    }
}

impl OwnedVmCtx {
    /// An instance whose own globals are zero.
    pub(crate) fn new(parts: &VmCtxParts<'_>) -> OwnedVmCtx {
        let module = parts.code.module();
        let memory_bounds = match parts.memories.first() {
            // SAFETY: records live as long as the store.
            Some(memory) => unsafe { memory.as_ref() }.bounds(),
            None => memory::no_memory(),
        };
        let owned = OwnedVmCtx::allocate(parts.store, *parts.code.layout(), |head| VmCtx {
            // SAFETY: bounds are part of a record, or of the program.
            memory_base: Cell::new(unsafe { memory_bounds.as_ref() }.base),
            memory_bounds,
            elements: module
                .elements()
                .iter()
                .map(|_| RefCell::default())
                .collect(),
            dropped_data: module.data().iter().map(|_| Cell::new(false)).collect(),
            code: Some(Arc::clone(parts.code)),
            exported_memory: parts.exported_memory,
            ..head
        });
        // SAFETY: nobody else knows the instance yet.
        unsafe { owned.0.as_ref().fill(parts) };
        owned
    }

    /// The instance that host functions of a store run on.
    pub(crate) fn for_host(store: &StoreCtx) -> OwnedVmCtx {
        OwnedVmCtx::allocate(store, VmLayout::of_nothing(), |head| head)
    }

    fn allocate(
        store: &StoreCtx,
        layout: VmLayout,
        with: impl FnOnce(VmCtx) -> VmCtx,
    ) -> OwnedVmCtx {
        let whole = allocate_zeroed(layout.size());
        let head = whole.cast::<VmCtx>();
        let value = VmCtx {
            store: NonNull::from(store),
            memory_base: Cell::new(NonNull::dangling()),
            memory_bounds: memory::no_memory(),
            funcs: Cell::new(std::ptr::null()),
            stack_guard: NonNull::from(&*store.guard),
            poll: store.guard.poll(),
            builtins: store.entry_points().builtins,
            whole,
            layout,
            code: None,
            elements: Box::default(),
            dropped_data: Box::default(),
            exported_memory: None,
            filled: Cell::new(false),
        };
        // SAFETY: the allocation is large enough and aligned; nobody else knows it yet.
        unsafe { head.write(with(value)) };
        OwnedVmCtx(head)
    }

    pub(crate) fn as_ptr(&self) -> NonNull<VmCtx> {
        self.0
    }
}

impl Drop for OwnedVmCtx {
    fn drop(&mut self) {
        // SAFETY: `allocate` made and wrote it. The arrays hold nothing to drop. An instance goes with its store,
        // after which nothing refers to it.
        unsafe {
            let size = self.0.as_ref().layout.size();
            self.0.drop_in_place();
            deallocate(self.0.as_ptr().cast(), size);
        }
    }
}

impl VmCtx {
    /// Writes the arrays, but for the records of functions, which are zero until they are asked for.
    ///
    /// # Safety
    /// Nobody else knows the instance yet.
    unsafe fn fill(&self, parts: &VmCtxParts<'_>) {
        let (layout, module) = (parts.code.layout(), parts.code.module());
        self.use_code(parts.store.is_metered());
        // SAFETY: the layout gives each of these a place of its own in the allocation.
        unsafe {
            for (index, sig) in (0..).zip(module.types().ids()) {
                self.at(layout.sig(TypeIdx(index))).write(*sig);
            }
            for (index, record) in (0..).zip(parts.tables) {
                self.at(layout.table(TableIdx(index))).write(*record);
            }
            for (index, record) in (0..).zip(parts.memories) {
                self.at(layout.memory(MemoryIdx(index))).write(*record);
            }
            for (index, record) in (0..).zip(parts.tags) {
                self.at(layout.tag(TagIdx(index))).write(*record);
            }
            for (index, func) in (0..).zip(parts.imported_funcs) {
                let (FuncPlace::Imported(at), own) = layout.import(FuncIdx(index)) else {
                    unreachable!("imports come first")
                };
                let record = match *func {
                    ImportedFunc::Record(record) => record,
                    ImportedFunc::Host(code, instance) => {
                        let record: NonNull<FuncRecord> = self.at(own);
                        record.as_ref().fill(code, instance);
                        record
                    }
                };
                self.at(at).write(record);
            }
            for (index, ty) in (0..).zip(module.globals()) {
                match layout.global(GlobalIdx(index)) {
                    GlobalPlace::Imported(at) => {
                        self.at(at).write(parts.imported_globals[index as usize]);
                    }
                    GlobalPlace::Defined(at) => self.at(at).write(GlobalRecord::new(*ty, 0)),
                }
            }
        }
    }

    /// Says where references to exceptions may be that the instance has itself.
    pub(crate) fn add_exception_roots(&self) {
        let (module, exceptions) = (self.module(), &self.store().exceptions);
        let imported = module.imported_globals() as usize;
        for (index, ty) in module.globals().iter().enumerate().skip(imported) {
            if holds_exceptions(ty.content) {
                let global = self.global(GlobalIdx(index as u32));
                exceptions.add_root(ExceptionRoot::Global(global));
            }
        }
        for (segment, items) in module.elements().iter().zip(&self.elements) {
            if holds_exceptions(segment.ty.into()) {
                exceptions.add_root(ExceptionRoot::Element(NonNull::from(items)));
            }
        }
    }

    /// Uses the code that counts fuel, or that which does not, for all calls from now on.
    pub(crate) fn use_code(&self, metered: bool) {
        let Some(code) = &self.code else {
            return;
        };
        let set = code.set(metered);
        self.funcs.set(set.funcs().as_ptr());
        let layout = code.layout();
        let (first, count) = layout.defined_funcs();
        let records = NonNull::slice_from_raw_parts(self.at::<FuncRecord>(first), count);
        // SAFETY: the layout has that many records there, zero or filled in; they change by cells only.
        let filled = unsafe { records.as_ref() }.iter().zip(set.funcs());
        // An instance that is being made has none, and would rather not read all of them.
        if self.filled.get() {
            for (record, func) in filled.filter(|(record, _)| record.is_filled()) {
                record.fill(NonNull::from(func), self.address());
            }
        }
    }

    /// The place at an offset of the layout.
    #[inline(always)]
    fn at<T>(&self, offset: i32) -> NonNull<T> {
        // SAFETY: the layout gives offsets within the allocation only.
        unsafe { self.whole.byte_offset(offset as isize).cast() }
    }

    /// The reference for the address that running code holds.
    ///
    /// # Safety
    /// `ctx` is the address of an instance of a store that outlives `'a`.
    #[inline(always)]
    pub unsafe fn borrow<'a>(ctx: *const VmCtx) -> &'a VmCtx {
        // SAFETY: instances are never moved and freed with the store, and change through cells only.
        unsafe { &*ctx }
    }

    /// The bounds of memory 0, which stay where they are as long as the store; of length 0 if there is no memory.
    #[inline(always)]
    pub fn memory_bounds(&self) -> NonNull<MemoryBounds> {
        self.memory_bounds
    }

    /// The store's context.
    #[inline(always)]
    pub fn store(&self) -> &StoreCtx {
        // SAFETY: the store frees its instances before its context.
        unsafe { self.store.as_ref() }
    }

    /// The code of the module that this is an instance of.
    ///
    /// # Panics
    /// If it is the one that host functions run on; so do all that follow.
    pub fn code(&self) -> &Arc<ModuleCode> {
        self.code.as_ref().expect("host functions have no module")
    }

    /// The code that the instance uses now.
    pub fn set(&self) -> &CodeSet {
        self.code().set(self.store().is_metered())
    }

    /// The module that this is an instance of.
    pub fn module(&self) -> &Arc<Module> {
        self.code().module()
    }

    fn address(&self) -> NonNull<VmCtx> {
        self.whole.cast()
    }

    /// The record of the function at `index` of the module's index space, filled in.
    ///
    /// # Panics
    /// If the module has no such function; so do the other index spaces below.
    pub fn func(&self, index: FuncIdx) -> NonNull<FuncRecord> {
        assert!(self.layout.has_func(index));
        match self.layout.func(index) {
            // SAFETY: `fill` wrote a pointer there.
            FuncPlace::Imported(at) => unsafe { self.at(at).read() },
            FuncPlace::Defined(at) => {
                let place: NonNull<FuncRecord> = self.at(at);
                // SAFETY: the layout has a record there, zero or filled in.
                let record = unsafe { place.as_ref() };
                if !record.is_filled() {
                    let func = self.set().func(index).expect("the module defines it");
                    record.fill(NonNull::from(func), self.address());
                    self.filled.set(true);
                }
                place
            }
        }
    }

    /// The table at `index`.
    pub fn table(&self, index: TableIdx) -> NonNull<TableRecord> {
        assert!(self.layout.has_table(index));
        // SAFETY: `fill` wrote a pointer there.
        unsafe { self.at(self.layout.table(index)).read() }
    }

    /// The memory at `index`.
    #[inline]
    pub fn memory(&self, index: MemoryIdx) -> NonNull<MemoryRecord> {
        assert!(self.layout.has_memory(index));
        // SAFETY: `fill` wrote a pointer there.
        unsafe { self.at(self.layout.memory(index)).read() }
    }

    /// The tag at `index`.
    pub fn tag(&self, index: TagIdx) -> NonNull<TagRecord> {
        assert!(self.layout.has_tag(index));
        // SAFETY: `fill` wrote a pointer there.
        unsafe { self.at(self.layout.tag(index)).read() }
    }

    /// The global at `index`.
    pub fn global(&self, index: GlobalIdx) -> NonNull<GlobalRecord> {
        assert!(self.layout.has_global(index));
        match self.layout.global(index) {
            // SAFETY: `fill` wrote a pointer there.
            GlobalPlace::Imported(at) => unsafe { self.at(at).read() },
            GlobalPlace::Defined(at) => self.at(at),
        }
    }

    /// The store's number for the type at `index`.
    pub fn sig(&self, index: TypeIdx) -> TypeId {
        assert!(self.layout.has_type(index));
        // SAFETY: `fill` wrote it there.
        unsafe { self.at(self.layout.sig(index)).read() }
    }

    /// The memory exported as `memory`.
    pub(crate) fn exported_memory(&self) -> Option<NonNull<MemoryRecord>> {
        self.exported_memory
    }

    /// The references of element segment `index`; empty once it is dropped.
    pub(crate) fn element(&self, index: ElemIdx) -> &RefCell<Box<[Slot]>> {
        &self.elements[index.index()]
    }

    /// The bytes of data segment `index`; empty once it is dropped.
    pub(crate) fn data(&self, index: DataIdx) -> &[u8] {
        if self.dropped_data[index.index()].get() {
            return &[];
        }
        let module = self.module();
        module.data_bytes(&module.data()[index.index()])
    }

    pub(crate) fn drop_data(&self, index: DataIdx) {
        self.dropped_data[index.index()].set(true);
    }
}

impl std::fmt::Debug for VmCtx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VmCtx")
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}
