//! Exceptions and tags (the spec's sections 4.2.10 and 4.2.13), as running code sees them, and the memory they live in.
//!
//! ```text
//! exnref ─▶ [ descriptor | tag | payload … ]    the payload's slots as frames have them, one value behind the other
//! ```
//!
//! * *Invariant:* [`StoreCtx::new_exception`] alone makes exceptions. They never move, and live as long as anything leads
//!   to them.
//! * *Invariant:* a reference to an exception is in a slot of the value stack below where the innermost frame has its
//!   operands, on the native stack or in a register, in a global, a table or an element segment that was registered
//!   (`ExceptionRoot`), in another exception, in flight, or pinned for the host. So what a collection does not find
//!   there is dead.
//! * *Invariant:* what is found is found conservatively: any word that is an address within an exception keeps it. A stale
//!   word may keep one too long; none is freed too early.
//! * *Invariant:* the blocks that exceptions are in never take more than [`Limits::exception_bytes`], whatever is thrown.
//!
//! When there is a heap for all objects of the guest, exceptions become objects of it: blocks, marking and sweeping here go,
//! and the registered roots and the pins become the heap's. The layout, [`StoreCtx::new_exception`] and all that is above
//! them stay.
//!
//! [`Limits::exception_bytes`]: crate::Limits::exception_bytes

use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::TagIdx;
use tiered_decode::types::{self, FuncType, Registered, TopType, TypeId, ValType};

use crate::vm::frame::Slot;
use crate::vm::global::GlobalRecord;
use crate::vm::native_roots;
use crate::vm::store_ctx::StoreCtx;
use crate::vm::table::TableRecord;
use crate::vm::trap::TrapCode;

/// A tag of a store. Its address is its identity.
#[derive(Debug)]
pub struct TagRecord {
    ty: FuncType,
    id: TypeId,
    slots: u32,
    /// The store that the tag is of.
    ctx: NonNull<StoreCtx>,
    origin: TagOrigin,
}

/// Where a tag comes from; keeps the number of its type.
#[derive(Debug)]
pub(crate) enum TagOrigin {
    /// A module defines it.
    Module(Arc<Module>, TagIdx),
    /// The host does.
    Host(#[allow(dead_code, reason = "it keeps the type's number")] Registered),
}

impl TagRecord {
    /// A tag of the store with the context `ctx` for exceptions that carry the parameters of `ty`, whose number is `id`.
    pub(crate) fn new(
        ctx: NonNull<StoreCtx>,
        ty: FuncType,
        id: TypeId,
        origin: TagOrigin,
    ) -> TagRecord {
        TagRecord {
            slots: types::slots(&ty.params),
            ty,
            id,
            ctx,
            origin,
        }
    }

    /// The type's number.
    pub(crate) fn id(&self) -> TypeId {
        self.id
    }

    /// The type, without results.
    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// What the tag is called in the module that defines it. It may hold anything.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.origin {
            TagOrigin::Module(module, index) => module.tag_name(*index),
            TagOrigin::Host(_) => None,
        }
    }

    /// The slots of what an exception with this tag carries.
    #[inline]
    pub fn slots(&self) -> u32 {
        self.slots
    }
}

/// An exception. Its payload follows.
#[derive(Debug)]
#[repr(C)]
pub struct ExceptionObject {
    /// [`LIVE`], [`MARKED`], [`PINNED`], and above them the number of payload slots. Of a free cell: the next one, or 0.
    descriptor: Cell<usize>,
    tag: Cell<*const TagRecord>,
}

/// Set in the descriptor of an exception, and of nothing else.
const LIVE: usize = 1;
/// Set in the descriptor of an exception that a collection has found.
const MARKED: usize = 2;
/// Set in the descriptor of an exception that the host was given.
const PINNED: usize = 4;
const SLOTS_SHIFT: u32 = 8;

impl ExceptionObject {
    /// The offset of the tag's address, in bytes.
    pub const TAG: usize = std::mem::offset_of!(ExceptionObject, tag);
    /// The offset of the payload, in bytes.
    pub const PAYLOAD: usize = size_of::<ExceptionObject>();

    /// The exception that a reference with these bits leads to; `None` for null.
    #[inline]
    pub fn at(reference: Slot) -> Option<NonNull<ExceptionObject>> {
        NonNull::new(std::ptr::with_exposed_provenance_mut(reference as usize))
    }

    /// The bits of a reference to `this`.
    #[inline]
    pub fn reference(this: NonNull<ExceptionObject>) -> Slot {
        this.as_ptr().expose_provenance() as Slot
    }

    /// The tag.
    #[inline]
    pub fn tag(&self) -> *const TagRecord {
        self.tag.get()
    }

    /// Keeps the exception as long as its store: the host has a reference to it.
    ///
    /// # Safety
    /// `this` is an exception that lives.
    pub(crate) unsafe fn pin(this: NonNull<ExceptionObject>) {
        // SAFETY: the caller's promise; a tag lives as long as its store, and so does the store's context.
        let (object, ctx) = unsafe {
            let object = this.as_ref();
            (object, (*object.tag()).ctx.as_ref())
        };
        let descriptor = object.descriptor.get();
        if descriptor & PINNED == 0 {
            object.descriptor.set(descriptor | PINNED);
            ctx.exceptions.pinned.borrow_mut().push(this);
        }
    }

    /// The first slot of the payload, of which there are as many as the tag says.
    ///
    /// # Safety
    /// `this` is an exception that lives.
    #[inline]
    pub unsafe fn payload(this: NonNull<ExceptionObject>) -> NonNull<Slot> {
        // SAFETY: the payload follows, by `new_exception`.
        unsafe { this.add(1).cast() }
    }
}

/// A place that may hold references to exceptions, and stays as long as the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExceptionRoot {
    Global(NonNull<GlobalRecord>),
    Table(NonNull<TableRecord>),
    Element(NonNull<RefCell<Box<[Slot]>>>),
}

/// Whether values of the type may be references to exceptions.
pub(crate) fn holds_exceptions(ty: ValType) -> bool {
    matches!(ty, ValType::Ref(ty) if ty.top() == TopType::Exn)
}

/// Bytes of a block, which is aligned to as many.
const BLOCK_BYTES: usize = 16 << 10;
/// The smallest cell, as a power of two: descriptor, tag and two slots.
const LEAST_SHIFT: u32 = 5;
/// One for each power of two up to a whole block.
const CLASSES: usize = (BLOCK_BYTES.ilog2() - LEAST_SHIFT) as usize + 1;
/// Bytes that are allocated between two collections at least.
const LEAST_BETWEEN: usize = 256 << 10;

// Validation limits a type to 1000 parameters of two slots.
const _: () = assert!(ExceptionObject::PAYLOAD + 2000 * size_of::<Slot>() <= BLOCK_BYTES);

fn block_layout() -> Layout {
    Layout::from_size_align(BLOCK_BYTES, BLOCK_BYTES).expect("a power of two")
}

/// Memory for exceptions of one size.
#[derive(Clone, Copy, Debug)]
struct Block {
    start: NonNull<u8>,
    class: usize,
}

fn cell_bytes(class: usize) -> usize {
    1 << (LEAST_SHIFT as usize + class)
}

impl Block {
    fn cells(self) -> impl Iterator<Item = NonNull<ExceptionObject>> {
        let bytes = cell_bytes(self.class);
        // SAFETY: these are within the block.
        (0..BLOCK_BYTES / bytes).map(move |n| unsafe { self.start.add(n * bytes).cast() })
    }
}

/// Where a store's exceptions live.
#[derive(Debug)]
struct Space {
    /// By their addresses.
    blocks: Vec<Block>,
    /// The first free cell of each class, or 0; each leads to the next.
    free: [usize; CLASSES],
    /// Bytes allocated since the last collection, and how many there may be.
    since: usize,
    between: usize,
    /// The most bytes of all blocks.
    limit: u64,
    /// Bytes that the last collection has left.
    live: usize,
}

// SAFETY: blocks are the space's own; it goes with its store, which has one thread at a time.
unsafe impl Send for Space {}

impl Space {
    fn new(limit: u64) -> Space {
        Space {
            blocks: Vec::new(),
            free: [0; CLASSES],
            since: 0,
            between: LEAST_BETWEEN,
            limit,
            live: 0,
        }
    }

    /// A cell of the class, if one is free.
    #[inline]
    fn take(&mut self, class: usize) -> Option<NonNull<ExceptionObject>> {
        let cell = ExceptionObject::at(self.free[class] as Slot)?;
        // SAFETY: free cells lead to free cells.
        self.free[class] = unsafe { cell.as_ref() }.descriptor.get();
        self.since += cell_bytes(class);
        Some(cell)
    }

    /// Adds a block of free cells, if there may be one more.
    fn grow(&mut self, class: usize) -> Option<()> {
        let bytes = (self.blocks.len() as u64 + 1) * BLOCK_BYTES as u64;
        if bytes > self.limit {
            return None;
        }
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc(block_layout()) })?;
        start.expose_provenance();
        let block = Block { start, class };
        let at = self
            .blocks
            .partition_point(|known| known.start.addr() < start.addr());
        self.blocks.insert(at, block);
        for cell in block.cells() {
            // SAFETY: the cell is within the new block, which nobody else knows.
            unsafe { self.link(cell, class) };
        }
        Some(())
    }

    /// Makes a cell free.
    ///
    /// # Safety
    /// It is one of a block of the class, and nobody uses it.
    unsafe fn link(&mut self, cell: NonNull<ExceptionObject>, class: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            cell.write(ExceptionObject {
                descriptor: Cell::new(self.free[class]),
                tag: Cell::new(std::ptr::null()),
            });
        }
        self.free[class] = cell.as_ptr().expose_provenance();
    }

    /// The exception in which `address` is.
    fn find(&self, address: usize) -> Option<NonNull<ExceptionObject>> {
        let (first, last) = (self.blocks.first()?, self.blocks.last()?);
        let first = first.start.addr().get();
        if address < first || address >= last.start.addr().get() + BLOCK_BYTES {
            return None;
        }
        let start = address & !(BLOCK_BYTES - 1);
        let at = self
            .blocks
            .binary_search_by_key(&start, |block| block.start.addr().get());
        let block = self.blocks[at.ok()?];
        let offset = (address - start) & !(cell_bytes(block.class) - 1);
        // SAFETY: the cell is within the block.
        let cell: NonNull<ExceptionObject> = unsafe { block.start.add(offset).cast() };
        // SAFETY: all cells of a block have descriptors.
        let descriptor = unsafe { cell.as_ref() }.descriptor.get();
        (descriptor & LIVE != 0).then_some(cell)
    }

    /// Frees what is not marked, and takes the marks off the rest. Keeps one block of each class for what comes next, unless
    /// it is `all` that is to be had.
    fn sweep(&mut self, all: bool) {
        self.free = [0; CLASSES];
        self.since = 0;
        let mut live = 0;
        let mut has_empty = [all; CLASSES];
        let blocks = std::mem::take(&mut self.blocks);
        let kept = blocks.into_iter().filter(|&block| {
            let is_marked = |cell: NonNull<ExceptionObject>| {
                // SAFETY: all cells of a block have descriptors.
                unsafe { cell.as_ref() }.descriptor.get() & MARKED != 0
            };
            let is_empty = !block.cells().any(is_marked);
            if is_empty && std::mem::replace(&mut has_empty[block.class], true) {
                // SAFETY: `grow` allocated it; nothing leads to what is in it.
                unsafe { dealloc(block.start.as_ptr(), block_layout()) };
                return false;
            }
            for cell in block.cells() {
                if is_marked(cell) {
                    // SAFETY: as above.
                    let descriptor = unsafe { &cell.as_ref().descriptor };
                    descriptor.set(descriptor.get() & !MARKED);
                    live += cell_bytes(block.class);
                } else {
                    // SAFETY: nothing leads to it.
                    unsafe { self.link(cell, block.class) };
                }
            }
            true
        });
        let kept: Vec<Block> = kept.collect();
        self.blocks = kept;
        self.live = live;
        self.between = LEAST_BETWEEN.max(live);
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        for block in &self.blocks {
            // SAFETY: `grow` allocated it; the space goes with its store, after which nothing refers to it.
            unsafe { dealloc(block.start.as_ptr(), block_layout()) };
        }
    }
}

/// Finds what lives.
struct Marker<'a> {
    space: &'a Space,
    /// Exceptions whose payload is still to be looked at.
    pending: Vec<NonNull<ExceptionObject>>,
    /// Words that were looked at.
    words: usize,
}

impl Marker<'_> {
    #[inline]
    fn word(&mut self, word: usize) {
        self.words += 1;
        let Some(found) = self.space.find(word) else {
            return;
        };
        // SAFETY: what is found lives.
        let descriptor = unsafe { &found.as_ref().descriptor };
        if descriptor.get() & MARKED == 0 {
            descriptor.set(descriptor.get() | MARKED);
            self.pending.push(found);
        }
    }

    /// Looks at `count` words from `start` on.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn words(&mut self, start: *const usize, count: usize) {
        for at in 0..count {
            // SAFETY: the caller's promise. Nothing is assumed of a word that others may be said to own.
            self.word(unsafe { start.add(at).read_volatile() });
        }
    }

    fn root(&mut self, root: ExceptionRoot) {
        // SAFETY: records and segments live as long as the store, and change by cells only.
        unsafe {
            match root {
                ExceptionRoot::Global(global) => self.word(global.as_ref().get() as usize),
                ExceptionRoot::Table(table) => {
                    let table = table.as_ref();
                    for index in 0..table.len() {
                        self.word(table.get(index).unwrap_or(0) as usize);
                    }
                }
                ExceptionRoot::Element(items) => {
                    for &item in &**items.as_ref().borrow() {
                        self.word(item as usize);
                    }
                }
            }
        }
    }

    /// Looks at the payloads of all that was found, and of what they lead to.
    fn finish(&mut self) {
        while let Some(exception) = self.pending.pop() {
            // SAFETY: it lives, and its payload has as many slots as it says.
            unsafe {
                let slots = exception.as_ref().descriptor.get() >> SLOTS_SHIFT;
                self.words(ExceptionObject::payload(exception).as_ptr().cast(), slots);
            }
        }
    }
}

/// What a store has for exceptions.
#[derive(Debug)]
pub(crate) struct Exceptions {
    space: RefCell<Space>,
    roots: RefCell<Vec<ExceptionRoot>>,
    /// Given to the host.
    pinned: RefCell<Vec<NonNull<ExceptionObject>>>,
    /// In flight between two activations.
    thrown: Cell<Option<NonNull<ExceptionObject>>>,
    collections: Cell<u64>,
}

impl Exceptions {
    pub(crate) fn new(limit: u64) -> Exceptions {
        Exceptions {
            space: RefCell::new(Space::new(limit)),
            roots: RefCell::default(),
            pinned: RefCell::default(),
            thrown: Cell::new(None),
            collections: Cell::new(0),
        }
    }

    /// Adds a place that may hold references.
    pub(crate) fn add_root(&self, root: ExceptionRoot) {
        self.roots.borrow_mut().push(root);
    }

    /// Bytes of the blocks that exceptions are in.
    pub(crate) fn bytes(&self) -> u64 {
        (self.space.borrow().blocks.len() * BLOCK_BYTES) as u64
    }

    /// How often it was looked which exceptions live.
    pub(crate) fn collections(&self) -> u64 {
        self.collections.get()
    }
}

impl StoreCtx {
    /// Makes an exception with `tag`, whose payload the caller fills in before anything else runs. `end` is behind the
    /// operands of the innermost frame.
    ///
    /// # Errors
    /// [`TrapCode::ExceptionsExhausted`], if too many live.
    ///
    /// # Safety
    /// `tag` is one of the store's. No slot from `end` on holds a reference that is needed.
    #[inline]
    pub unsafe fn new_exception(
        &self,
        tag: NonNull<TagRecord>,
        end: *const Slot,
    ) -> Result<NonNull<ExceptionObject>, TrapCode> {
        // SAFETY: tags live as long as the store.
        let slots = unsafe { tag.as_ref() }.slots as usize;
        let bytes = ExceptionObject::PAYLOAD + slots * size_of::<Slot>();
        let class = bytes.next_power_of_two().ilog2().max(LEAST_SHIFT) - LEAST_SHIFT;
        let mut space = self.exceptions.space.borrow_mut();
        let cell = match space.take(class as usize) {
            Some(cell) => cell,
            None => {
                drop(space);
                // SAFETY: the caller's promise.
                unsafe { self.take_more(class as usize, end) }
                    .ok_or(TrapCode::ExceptionsExhausted)?
            }
        };
        // SAFETY: the cell is free, and large enough.
        unsafe {
            cell.write(ExceptionObject {
                descriptor: Cell::new(slots << SLOTS_SHIFT | LIVE),
                tag: Cell::new(tag.as_ptr()),
            });
        }
        self.forget_trace();
        Ok(cell)
    }

    /// A cell of the class, where none is known to be free.
    ///
    /// # Safety
    /// As for [`StoreCtx::new_exception`].
    #[cold]
    #[inline(never)]
    unsafe fn take_more(&self, class: usize, end: *const Slot) -> Option<NonNull<ExceptionObject>> {
        let take = || self.exceptions.space.borrow_mut().take(class);
        let is_due = {
            let space = self.exceptions.space.borrow();
            space.since >= space.between
        };
        if is_due {
            // SAFETY: the caller's promise.
            unsafe { self.collect_exceptions(end, false) };
            if let Some(cell) = take() {
                return Some(cell);
            }
        }
        if self.exceptions.space.borrow_mut().grow(class).is_some() {
            return take();
        }
        // Blocks of other sizes may become free.
        // SAFETY: the caller's promise.
        unsafe { self.collect_exceptions(end, true) };
        // To look again and again for the last free cells would take longer than anything else.
        let is_full = {
            let space = self.exceptions.space.borrow();
            space.live as u64 > space.limit - space.limit / 16
        };
        if is_full {
            return None;
        }
        take().or_else(|| {
            self.exceptions.space.borrow_mut().grow(class)?;
            take()
        })
    }

    /// Frees the exceptions that nothing leads to, and the memory of `all` that is free then.
    ///
    /// # Safety
    /// As for [`StoreCtx::new_exception`].
    #[cold]
    unsafe fn collect_exceptions(&self, end: *const Slot, all: bool) {
        let exceptions = &self.exceptions;
        exceptions.collections.set(exceptions.collections.get() + 1);
        let words = {
            let space = exceptions.space.borrow();
            let mut marker = Marker {
                space: &space,
                pending: Vec::new(),
                words: 0,
            };
            for &pinned in exceptions.pinned.borrow().iter() {
                marker.word(pinned.addr().get());
            }
            if let Some(thrown) = exceptions.thrown.get() {
                marker.word(thrown.addr().get());
            }
            for &root in exceptions.roots.borrow().iter() {
                marker.root(root);
            }
            let base = self.stack_base().as_ptr().cast_const();
            let slots = end.addr().saturating_sub(base.addr()) / size_of::<Slot>();
            // SAFETY: the stack can be read from its base to where the innermost frame ends; the native stack from here
            // to where the guest was entered.
            unsafe {
                marker.words(base.cast(), slots);
                native_roots::scan(self.native_top(), |start, count| {
                    marker.words(start, count);
                });
            }
            marker.finish();
            marker.words
        };
        let mut space = exceptions.space.borrow_mut();
        space.sweep(all);
        // Where there is much to look at, it is looked at less often.
        space.between = space.between.max(words * 2);
    }

    /// Keeps the exception that is in flight: what follows is [`Outcome::Threw`](crate::code::Outcome::Threw).
    #[inline]
    pub fn set_thrown(&self, exception: NonNull<ExceptionObject>) {
        self.exceptions.thrown.set(Some(exception));
    }

    /// Takes the exception that is in flight.
    ///
    /// # Panics
    /// If there is none, which is no state that [`Outcome::Threw`](crate::code::Outcome::Threw) leaves behind.
    #[inline]
    pub fn take_thrown(&self) -> NonNull<ExceptionObject> {
        let thrown = self.exceptions.thrown.take();
        thrown.expect("who says that an exception was thrown has kept it")
    }
}
