//! A store's heap, and what keeps its objects alive: see the contract of `tiered-heap`.
//!
//! ```text
//! precise:       the embedder's handles | tables | globals of instances and of the host | element segments
//!                the exception in flight
//! conservative:  the value stack, from its base to where the next frame would begin
//!                the native stack, from the registers that were just saved to where the host entered the guest first
//!                both stacks of each coroutine that does not run, and those that a running one was resumed from
//! ```
//!
//! A value of the host is an object that stands for it, so it dies with the last reference to that.
//!
//! * *Invariant:* a collection happens only in what allocates here, and in [`StoreCtx::collect`]. Both need the store, from
//!   the host, or the end of the innermost frame, from a tier.
//! * *Invariant:* references to functions are none of the heap's: what holds only those is not looked at.
//! * *Invariant:* a guest and the host functions that it calls, and those that these call, are on one native stack, unless one
//!   of them goes on in a coroutine (`crate::vm::coroutine`).

use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use tiered_decode::index::{ElemIdx, GlobalIdx};
use tiered_decode::types::{RefType, TopType, ValType};
use tiered_heap::{
    AllocError, Descriptor, ExternTable, Heap, HeapConfig, HeapStats, Liveness, Marker, ObjectRef,
    Root, RootSet, Roots, Scope, ScopedRoots,
};

use crate::vm::frame::Slot;
use crate::vm::gc::Descriptors;
use crate::vm::global::GlobalRecord;
use crate::vm::native_stack;
use crate::vm::registers;
use crate::vm::store_ctx::StoreCtx;
use crate::vm::table::TableRecord;
use crate::vm::trap::TrapCode;
use crate::vm::vmctx::VmCtx;

/// A value that the host has given to a store.
pub(crate) type HostBox = Box<dyn Any + Send + Sync>;

/// The heap of a store, and what is known of those who refer to it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct References {
    heap: Heap,
    descriptors: RefCell<Descriptors>,
    handles: RefCell<RootSet>,
    values: RefCell<ExternTable<HostBox>>,
    records: RefCell<Records>,
    /// What a destructor of a value of the host has panicked with while guest code ran, through which no panic goes.
    panic: RefCell<Option<Panic>>,
}

/// What somebody has panicked with.
type Panic = Box<dyn Any + Send>;

/// What of a store may hold references to objects, beside stacks and handles.
#[derive(Debug, Default)]
struct Records {
    tables: Vec<NonNull<TableRecord>>,
    /// Globals of the host.
    globals: Vec<NonNull<GlobalRecord>>,
    instances: Vec<NonNull<VmCtx>>,
}

/// Whether a reference of this type may be one to an object of the heap.
fn may_be_object(ty: RefType) -> bool {
    match ty.top() {
        TopType::Func => false,
        TopType::Extern | TopType::Any | TopType::Exn => true,
    }
}

/// As [`may_be_object`], for any value.
fn may_hold_object(ty: ValType) -> bool {
    match ty {
        ValType::Ref(ty) => may_be_object(ty),
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128 => false,
    }
}

impl References {
    /// Where the heap's cursors are, in bytes.
    pub(crate) const CURSORS: usize = std::mem::offset_of!(References, heap) + Heap::CURSORS;

    pub(crate) fn new(config: HeapConfig) -> References {
        References {
            heap: Heap::new(config),
            descriptors: RefCell::default(),
            handles: RefCell::default(),
            values: RefCell::default(),
            records: RefCell::default(),
            panic: RefCell::default(),
        }
    }

    /// The descriptors of the store's types.
    pub(crate) fn descriptors(&self) -> RefMut<'_, Descriptors> {
        self.descriptors.borrow_mut()
    }

    /// Takes what a destructor of a value of the host has panicked with while guest code ran.
    #[inline]
    pub(crate) fn take_panic(&self) -> Option<Panic> {
        self.panic.borrow_mut().take()
    }

    /// Adds a table, which the store keeps until it ends.
    pub(crate) fn add_table(&self, table: NonNull<TableRecord>) {
        // SAFETY: the store keeps it.
        if may_be_object(unsafe { table.as_ref() }.ty().element) {
            self.records.borrow_mut().tables.push(table);
        }
    }

    /// Adds a global of the host, which the store keeps until it ends.
    pub(crate) fn add_global(&self, global: NonNull<GlobalRecord>) {
        // SAFETY: the store keeps it.
        if may_hold_object(unsafe { global.as_ref() }.ty().content) {
            self.records.borrow_mut().globals.push(global);
        }
    }

    /// Adds an instance, which the store keeps until it ends.
    pub(crate) fn add_instance(&self, instance: NonNull<VmCtx>) {
        // SAFETY: the store keeps it.
        let module = unsafe { instance.as_ref() }.module();
        let defined = module.imported_globals() as usize..;
        let in_globals = module.globals()[defined]
            .iter()
            .any(|ty| may_hold_object(ty.content));
        let in_elements = module.elements().iter().any(|e| may_be_object(e.ty));
        if in_globals || in_elements {
            self.records.borrow_mut().instances.push(instance);
        }
    }

    /// Another stack goes on, which has other scopes.
    pub(crate) fn exchange_scopes(&self, scopes: &mut ScopedRoots) {
        self.handles.borrow_mut().exchange_scopes(scopes);
    }

    /// Begins a scope of handles.
    pub(crate) fn enter_scope(&self) -> Scope {
        self.handles.borrow().enter()
    }

    /// Ends a scope: the handles that were made in it stand for nothing any more.
    pub(crate) fn leave_scope(&self, scope: Scope) {
        self.handles.borrow_mut().leave(scope);
    }

    /// A handle of the innermost scope.
    pub(crate) fn add_handle(&self, reference: Slot) -> Result<Root, AllocError> {
        self.handles.borrow_mut().add(reference)
    }

    /// A handle until it is released.
    pub(crate) fn keep_handle(&self, reference: Slot) -> Result<Root, AllocError> {
        self.handles.borrow_mut().keep(reference)
    }

    pub(crate) fn release_handle(&self, handle: Root) {
        self.handles.borrow_mut().release(handle);
    }

    /// The reference that a handle stands for; `None` once that is over.
    pub(crate) fn of_handle(&self, handle: Root) -> Option<Slot> {
        self.handles.borrow().get(handle)
    }

    /// How many values of the host there are.
    pub(crate) fn host_values(&self) -> usize {
        self.values.borrow().len()
    }

    /// The value that an object stands for. It is boxed, so it stays where it is until a collection finds the object dead,
    /// or the store ends.
    ///
    /// # Safety
    /// `object` is the address of an extern object of this heap.
    pub(crate) unsafe fn host_value(&self, object: Slot) -> Option<NonNull<dyn Any + Send + Sync>> {
        let values = self.values.borrow();
        // SAFETY: the caller's promise; an object without a value is never given out.
        let value = unsafe { values.get(ObjectRef::from_address(object as usize)) };
        value.map(|value| NonNull::from(&**value))
    }

    /// A guest that was refused room for an object has ended: the next shortage is worth a collection.
    #[cold]
    pub(crate) fn refused_has_ended(&self) {
        self.heap.refused_has_ended();
    }

    pub(crate) fn stats(&self) -> HeapStats {
        self.heap.stats()
    }
}

impl StoreCtx {
    /// An object that stands for `value`, by the host.
    pub(crate) fn new_extern(&self, value: HostBox) -> Result<ObjectRef, AllocError> {
        let references = &self.references;
        let mut roots = StoreRoots::of_host(self);
        // SAFETY: the descriptor is static. It stands for nothing until `attach`, which collections sweep.
        let object = unsafe { references.heap.alloc(Descriptor::of_extern(), &mut roots) };
        roots.go_on();
        let object = object?;
        // SAFETY: as above.
        unsafe { references.values.borrow_mut().attach(object, value)? };
        Ok(object)
    }

    /// A structure, by the host, whose fields are to be written at once; the bits of a reference.
    ///
    /// # Safety
    /// The descriptor is one of this store's, of a structure type. What is needed is where a collection finds it while the
    /// host runs.
    pub(crate) unsafe fn new_object_by_host(
        &self,
        descriptor: NonNull<Descriptor>,
    ) -> Result<Slot, AllocError> {
        let mut roots = StoreRoots::of_host(self);
        // SAFETY: the caller's promise; descriptors live as long as the store.
        let object = unsafe { self.references.heap.alloc(descriptor, &mut roots) };
        roots.go_on();
        Ok(object?.bits())
    }

    /// An array, by the host, as [`StoreCtx::new_object_by_host`].
    ///
    /// # Safety
    /// As there, but that the descriptor is of an array type.
    pub(crate) unsafe fn new_array_by_host(
        &self,
        descriptor: NonNull<Descriptor>,
        length: u32,
    ) -> Result<Slot, AllocError> {
        let mut roots = StoreRoots::of_host(self);
        let heap = &self.references.heap;
        // SAFETY: as above.
        let array = unsafe { heap.alloc_array(descriptor, length, &mut roots) };
        roots.go_on();
        Ok(array?.bits())
    }

    /// A structure, an exception or an extern object, by a tier; its fields hold anything.
    ///
    /// # Safety
    /// The descriptor is one of this store's, of no array type. No slot from `end` on holds a reference that is needed.
    #[inline]
    pub(crate) unsafe fn new_object(
        &self,
        descriptor: NonNull<Descriptor>,
        end: *const Slot,
    ) -> Result<ObjectRef, TrapCode> {
        let mut roots = StoreRoots::of_tier(self, end);
        // SAFETY: the caller's promise; descriptors live as long as the store.
        let object = unsafe { self.references.heap.alloc(descriptor, &mut roots) };
        roots.keep_panic();
        object.map_err(trap_code)
    }

    /// An array, by a tier; its elements hold anything.
    ///
    /// # Safety
    /// As [`StoreCtx::new_object`], but that the descriptor is of an array type.
    pub(crate) unsafe fn new_array(
        &self,
        descriptor: NonNull<Descriptor>,
        length: u32,
        end: *const Slot,
    ) -> Result<ObjectRef, TrapCode> {
        let mut roots = StoreRoots::of_tier(self, end);
        // SAFETY: as above.
        let array = unsafe {
            self.references
                .heap
                .alloc_array(descriptor, length, &mut roots)
        };
        roots.keep_panic();
        array.map_err(trap_code)
    }

    /// Collects now, by the host.
    pub(crate) fn collect(&self) {
        let mut roots = StoreRoots::of_host(self);
        self.references.heap.collect(&mut roots);
        roots.go_on();
    }
}

/// What a guest is told that has no room for an object.
#[cold]
fn trap_code(error: AllocError) -> TrapCode {
    match error {
        AllocError::TooLarge { .. } => TrapCode::ObjectTooLarge,
        _ => TrapCode::HeapExhausted,
    }
}

/// All that keeps objects of a store alive.
struct StoreRoots<'a> {
    ctx: &'a StoreCtx,
    /// Where the value stack is free.
    free: *const Slot,
    /// What a destructor of a value of the host has panicked with.
    panic: Option<Panic>,
}

impl<'a> StoreRoots<'a> {
    /// While the host runs, be it in a host function.
    fn of_host(ctx: &'a StoreCtx) -> StoreRoots<'a> {
        StoreRoots {
            ctx,
            free: ctx.free.get().as_ptr(),
            panic: None,
        }
    }

    /// While guest code runs, whose frames end at `end`.
    #[inline]
    fn of_tier(ctx: &'a StoreCtx, end: *const Slot) -> StoreRoots<'a> {
        StoreRoots {
            ctx,
            free: end,
            panic: None,
        }
    }

    /// A destructor's panic goes on when the guest has come back to the host.
    #[inline]
    fn keep_panic(self) {
        if let Some(payload) = self.panic {
            self.ctx.references.panic.replace(Some(payload));
        }
    }

    /// A destructor's panic goes on once the heap is whole.
    fn go_on(self) {
        if let Some(payload) = self.panic {
            resume_unwind(payload);
        }
    }

    fn trace_records(&self, marker: &mut Marker<'_>) {
        let records = self.ctx.references.records.borrow();
        // SAFETY: records and instances live as long as the store.
        unsafe {
            for table in &records.tables {
                table.as_ref().for_each(|slot| marker.reference(slot));
            }
            for global in &records.globals {
                marker.reference(global.as_ref().get() as Slot);
            }
            for instance in &records.instances {
                trace_instance(instance.as_ref(), marker);
            }
        }
    }

    fn trace_stacks(&self, marker: &mut Marker<'_>) {
        self.ctx.coroutines.each_aside(|values, native| {
            // SAFETY: the value stack of one that does not run is in use up to there, and the native one from there on.
            unsafe { trace_stack(marker, values, native) };
        });
        let top = self.ctx.native_top();
        if top == 0 {
            return;
        }
        registers::with_saved(|stack| {
            assert!(
                cfg!(miri) || native_stack::is_one_stack(stack, top, self.ctx.coroutines.bounds()),
                "a host function calls the guest on another stack than its own"
            );
            let base = self.ctx.stack_base().as_ptr().cast_const();
            // SAFETY: the value stack is readable from its base on; from the stack pointer to the frame that entered the
            // guest, the native stack is in use.
            unsafe { trace_stack(marker, base..self.free, stack..top) };
        });
    }
}

/// Shows what of both stacks is in use.
///
/// # Safety
/// It can be read.
unsafe fn trace_stack(marker: &mut Marker<'_>, values: Range<*const Slot>, native: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { marker.range(values.start, values.end) };
    if cfg!(miri) {
        return;
    }
    let word = std::ptr::with_exposed_provenance::<u64>;
    let (start, end) = (native.start.next_multiple_of(8), native.end & !7);
    // SAFETY: the caller's promise.
    unsafe { marker.range(word(start), word(end)) };
}

fn trace_instance(instance: &VmCtx, marker: &mut Marker<'_>) {
    let module = instance.module();
    let imported = module.imported_globals();
    for (index, ty) in (0..).zip(module.globals()) {
        if index >= imported && may_hold_object(ty.content) {
            // SAFETY: records live as long as the store.
            let value = unsafe { instance.global(GlobalIdx(index)).as_ref() }.get();
            marker.reference(value as Slot);
        }
    }
    for (index, element) in (0..).zip(module.elements()) {
        if may_be_object(element.ty) {
            for &slot in &*instance.element(ElemIdx(index)).borrow() {
                marker.reference(slot);
            }
        }
    }
}

// SAFETY: the module says where references may be; each place is looked at.
unsafe impl Roots for StoreRoots<'_> {
    fn trace(&mut self, marker: &mut Marker<'_>) {
        self.ctx.references.handles.borrow().trace(marker);
        self.trace_records(marker);
        marker.reference(self.ctx.in_flight.reference());
        self.trace_stacks(marker);
    }

    fn finalize(&mut self, live: &Liveness<'_>) {
        let values = &self.ctx.references.values;
        // A panic ends the sweep behind the value that it comes from, so there is an end.
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| values.borrow_mut().sweep(live)))
        {
            self.panic.get_or_insert(payload);
        }
    }
}
