//! A heap: allocation and collection.
//!
//! Allocation takes the next cell of its class's run ([`Cursors`]). When the run ends, the next one is looked for: in the
//! block at hand, in a block that is not swept yet, in a free block. Before that it is decided whether to collect.
//!
//! * *Invariant:* there is a collection only within a call that is given roots, so never within the inline path.
//! * *Invariant:* what fails leaves a heap that can be used. A panic of the roots leaves one whose marks are cleared before
//!   the next collection.
//! * *Invariant:* collections for lack of room are paid for: one is made only if a 64th of the limit was allocated since the
//!   last, with what there is no room for, so a program with a full heap does not spend all its time on them. Refusals pay,
//!   too, for whoever was refused may have ended since, with all it had: the first pays for one collection, and each that they
//!   have paid for doubles the price of the next. So between two 64ths, `n` refusals make no more than log2 `n` collections and
//!   one, besides one each time that the heap is told of such an end ([`Heap::refused_has_ended`]).

use std::cell::{Ref, RefCell};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use tiered_pages::Errno;

use crate::class::{BLOCK_BYTES, CLASSES, SizeClass};
use crate::cursors::Cursors;
use crate::descriptor::{Descriptor, Kind};
use crate::error::AllocError;
use crate::layout::{ARRAY_LENGTH, DESCRIPTOR, array_size};
use crate::mark::{MarkStack, Marker};
use crate::object::ObjectRef;
use crate::roots::Roots;
use crate::space::{NO_BLOCK, Space};
use crate::sweep::Live;

/// Which part of the limit has to be allocated between two collections for lack of room.
const FULL_STEP: usize = 64;

/// How a heap is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeapConfig {
    /// The most bytes of objects, in whole blocks of 64 KiB. So much address space is reserved, once there is an object,
    /// and a sixtieth for what is known about it. If the host has less, up to half of what it has, which is the limit then.
    pub limit: usize,
    /// At least this many bytes are allocated between collections, unless the limit is in the way; and at least as many as
    /// were alive after the last one.
    pub min_interval: usize,
    /// How many objects may wait to be traced, a word each. If there are more, marking takes longer.
    pub mark_stack: usize,
    /// Collect at every allocation, so that what is not rooted is found out.
    pub stress: bool,
    /// Fill freed cells with [`POISON`](crate::POISON), and have marking panic when it finds a reference to one.
    pub poison: bool,
}

impl Default for HeapConfig {
    fn default() -> HeapConfig {
        HeapConfig {
            limit: 4 << 30,
            min_interval: 32 << 20,
            mark_stack: 1 << 20,
            stress: false,
            poison: false,
        }
    }
}

/// What a heap has done, and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapStats {
    /// How many collections there were.
    pub collections: u64,
    /// Bytes of all cells that were ever allocated.
    pub allocated_bytes: u64,
    /// Bytes of the cells that were alive after the last collection.
    pub live_bytes: u64,
    /// How many objects those were.
    pub live_objects: u64,
    /// Bytes of the blocks that hold objects now, dead ones and free cells among them.
    pub occupied_bytes: u64,
    /// Bytes of free blocks that are kept for the next objects.
    pub retained_bytes: u64,
    /// The time that collections took, together.
    pub pause_total: Duration,
    /// The longest collection.
    pub pause_max: Duration,
}

/// The blocks from which a class allocates.
#[derive(Clone, Copy, Debug)]
struct ClassBlocks {
    /// The block with the present run.
    current: u32,
    /// The cell behind that run.
    next_cell: u32,
    /// The first and last of a list of blocks with free cells, which may be unswept.
    first: u32,
    last: u32,
}

impl ClassBlocks {
    const NONE: ClassBlocks = ClassBlocks {
        current: NO_BLOCK,
        next_cell: 0,
        first: NO_BLOCK,
        last: NO_BLOCK,
    };
}

#[derive(Debug)]
struct State {
    config: HeapConfig,
    space: Space,
    classes: [ClassBlocks; CLASSES],
    stack: MarkStack,
    /// A marking has begun and not come to its end.
    is_marking: bool,
    /// Bytes of the runs taken since the last collection.
    since: usize,
    /// Bytes of all runs ever taken, without what was left of them.
    taken: u64,
    refusals: Refusals,
    stats: HeapStats,
}

/// Allocations that were refused for lack of room, which pay for collections.
#[derive(Clone, Copy, Debug)]
struct Refusals {
    /// How many nothing was made of yet.
    count: u64,
    /// How many pay for a collection.
    price: u64,
    /// Whether what is to be allocated counts as if it was.
    has_credit: bool,
}

impl Refusals {
    const NONE: Refusals = Refusals {
        count: 0,
        price: 1,
        has_credit: true,
    };
    /// A collection is paid for.
    const PAID: Refusals = Refusals {
        count: 1,
        ..Refusals::NONE
    };

    fn add(&mut self) {
        self.count += 1;
        self.has_credit = false;
    }

    /// Takes what a collection costs, if there is so much.
    fn pay(&mut self) -> bool {
        let is_paid = self.count >= self.price;
        if is_paid {
            self.count = 0;
            self.price = self.price.saturating_mul(2);
        }
        is_paid
    }
}

/// A heap. See the [crate](crate).
#[derive(Debug)]
#[repr(C)]
pub struct Heap {
    cursors: Cursors,
    state: RefCell<State>,
}

impl Heap {
    /// Where a heap has its [`Cursors`], in bytes from its start.
    pub const CURSORS: usize = std::mem::offset_of!(Heap, cursors);

    /// A heap without objects. It takes nothing of the host before the first one.
    #[must_use]
    pub fn new(config: HeapConfig) -> Heap {
        Heap {
            cursors: Cursors::new(),
            state: RefCell::new(State {
                space: Space::new(config.limit, config.poison),
                classes: [ClassBlocks::NONE; CLASSES],
                stack: MarkStack::new(config.mark_stack),
                is_marking: false,
                since: 0,
                taken: 0,
                refusals: Refusals::NONE,
                stats: HeapStats::default(),
                config,
            }),
        }
    }

    /// What compiled code allocates from.
    #[must_use]
    pub fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Allocates a struct, an exception or an extern object. Its fields hold anything: they are to be written before the
    /// next call that is given roots.
    ///
    /// # Errors
    /// See [`AllocError`].
    ///
    /// # Safety
    /// The descriptor is none of an array type, and exists until a collection has found the object dead, or the heap is
    /// gone.
    #[inline]
    pub unsafe fn alloc(
        &self,
        descriptor: NonNull<Descriptor>,
        roots: &mut dyn Roots,
    ) -> Result<ObjectRef, AllocError> {
        // SAFETY: by the caller's promise.
        let ty = unsafe { descriptor.as_ref() };
        debug_assert_ne!(ty.kind(), Kind::Array);
        let address = self.alloc_bytes(ty.size() as usize, roots)?;
        // SAFETY: the cell is as large as the type says, and nobody else's.
        unsafe { Ok(Heap::begin(address, descriptor)) }
    }

    /// Allocates an array of `length` elements. They hold anything, as fields do.
    ///
    /// # Errors
    /// See [`AllocError`].
    ///
    /// # Safety
    /// The descriptor is one of an array type, and exists until a collection has found the object dead, or the heap is
    /// gone.
    pub unsafe fn alloc_array(
        &self,
        descriptor: NonNull<Descriptor>,
        length: u32,
        roots: &mut dyn Roots,
    ) -> Result<ObjectRef, AllocError> {
        // SAFETY: by the caller's promise.
        let ty = unsafe { descriptor.as_ref() };
        debug_assert_eq!(ty.kind(), Kind::Array);
        let Some(size) = array_size(ty.element(), length) else {
            return Err(self.too_large(u64::MAX));
        };
        let address = self.alloc_bytes(size, roots)?;
        // SAFETY: as above.
        unsafe {
            let object = Heap::begin(address, descriptor);
            object.at(ARRAY_LENGTH).cast::<u32>().write(length);
            Ok(object)
        }
    }

    /// Makes a cell an object.
    ///
    /// # Safety
    /// The cell was just taken, and is large enough for the type.
    #[inline]
    unsafe fn begin(address: usize, descriptor: NonNull<Descriptor>) -> ObjectRef {
        // SAFETY: the cell is the caller's; with its first word it is an object.
        unsafe {
            let object = ObjectRef::from_address(address);
            let word = object.at(DESCRIPTOR).cast::<*const Descriptor>();
            word.write(descriptor.as_ptr());
            object
        }
    }

    #[inline]
    fn alloc_bytes(&self, size: usize, roots: &mut dyn Roots) -> Result<usize, AllocError> {
        match SizeClass::of(size) {
            Some(class) => match self.cursors.bump(class) {
                Some(address) => Ok(address),
                None => self.alloc_slow(Request::Cell(class), roots),
            },
            None => self.alloc_slow(Request::Blocks(size.div_ceil(BLOCK_BYTES)), roots),
        }
    }

    #[cold]
    fn too_large(&self, size: u64) -> AllocError {
        let limit = self.state.borrow().space.capacity_bytes() as u64;
        AllocError::TooLarge { size, limit }
    }

    /// Finds a cell where the cursors have none, or blocks; collects if it is time, or if there is none.
    #[cold]
    fn alloc_slow(&self, request: Request, roots: &mut dyn Roots) -> Result<usize, AllocError> {
        let bytes = request.bytes();
        let (is_due, capacity) = {
            let state = self.exclusive();
            let is_due = state.config.stress || state.since >= state.interval();
            (is_due, state.space.capacity_bytes())
        };
        if bytes > capacity {
            return Err(self.too_large(bytes as u64));
        }
        if is_due {
            self.collect_now(roots);
        }
        let mut found = self.take(request);
        // A collection that was just made can't be repeated with any profit.
        if !matches!(found, Ok(Some(_))) && !is_due && self.exclusive().pays_for_room(bytes) {
            self.collect_now(roots);
            found = self.take(request);
        }
        let state = &mut *self.exclusive();
        match found {
            Ok(Some(address)) => return Ok(address),
            Ok(None) | Err(_) => state.refusals.add(),
        }
        // The host may have given less than it was asked for.
        let limit = state.space.capacity_bytes();
        Err(match found {
            Err(errno) => AllocError::Host(errno),
            Ok(_) if bytes > limit => AllocError::TooLarge {
                size: bytes as u64,
                limit: limit as u64,
            },
            Ok(_) => AllocError::Full {
                limit: limit as u64,
            },
        })
    }

    /// Whoever was refused room has ended, and all that they had may be dead: the next time that there is none, the heap is
    /// collected. Being told so for nothing costs a collection.
    pub fn refused_has_ended(&self) {
        self.exclusive().refusals = Refusals::PAID;
    }

    fn take(&self, request: Request) -> Result<Option<usize>, Errno> {
        let mut state = self.exclusive();
        match request {
            Request::Blocks(count) => state.take_large(count),
            Request::Cell(class) => {
                let found = state.refill(&self.cursors, class)?;
                Ok(found.then(|| self.cursors.bump(class)).flatten())
            }
        }
    }

    /// Collects now.
    pub fn collect(&self, roots: &mut dyn Roots) {
        self.collect_now(roots);
        self.exclusive().refusals = Refusals::NONE;
    }

    fn collect_now(&self, roots: &mut dyn Roots) {
        let begin = Instant::now();
        {
            let state = &mut *self.exclusive();
            state.prepare(&self.cursors);
            let mut marker = Marker::new(&state.space, &mut state.stack);
            roots.trace(&mut marker);
            marker.finish();
            state.reclaim();
        }
        // Its own values' destructors may panic: the heap is complete by now.
        roots.finalize(&Liveness(self.state.borrow()));
        let pause = begin.elapsed();
        let stats = &mut self.exclusive().stats;
        stats.pause_total += pause;
        stats.pause_max = stats.pause_max.max(pause);
    }

    fn exclusive(&self) -> std::cell::RefMut<'_, State> {
        let state = self.state.try_borrow_mut();
        state.expect("a heap is not used within its own collection")
    }

    /// Gives all pages of free blocks back to the host: for a heap that will not be used for some time.
    pub fn release_unused(&self) {
        self.exclusive().space.give_back(0);
    }

    /// What the heap has done and holds. Collections also count while they run.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        let state = self.state.borrow();
        HeapStats {
            allocated_bytes: state.taken - self.cursors.left() as u64,
            occupied_bytes: state.space.occupied_bytes() as u64,
            retained_bytes: state.space.retained_bytes() as u64,
            ..state.stats
        }
    }

    /// The object that an address is in. It may be one that the next collection would find dead.
    #[must_use]
    pub fn object_at(&self, address: u64) -> Option<ObjectRef> {
        let state = self.state.borrow();
        let cell = state.space.cell_at(address as usize)?;
        let start = state.space.cell_address(cell);
        let is_given_out = SizeClass::of(state.space.info(cell.block).size.get() as usize)
            .is_none_or(|class| {
                let run = self.cursors.run(class);
                !(run.cursor.get()..run.limit.get()).contains(&start)
            });
        let is_object = state.space.is_allocated(cell) && is_given_out;
        // SAFETY: the cell is allocated and not ahead of the cursor, so an object is there.
        is_object.then(|| unsafe { ObjectRef::from_address(start) })
    }

    /// Looks for anything that contradicts the heap's invariants: for tests.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn verify(&self) -> Result<(), String> {
        self.state.borrow().space.verify(&self.cursors)
    }
}

/// What is to be allocated.
#[derive(Clone, Copy, Debug)]
enum Request {
    Cell(SizeClass),
    Blocks(usize),
}

impl Request {
    fn bytes(self) -> usize {
        match self {
            Request::Cell(class) => class.size(),
            Request::Blocks(count) => count.saturating_mul(BLOCK_BYTES),
        }
    }
}

impl State {
    /// How many bytes are allocated between two collections.
    fn interval(&self) -> usize {
        self.config.min_interval.max(self.stats.live_bytes as usize)
    }

    /// Whether a collection to make room for this many bytes is paid for. Takes what was paid.
    fn pays_for_room(&mut self, bytes: usize) -> bool {
        let pays = |bytes: usize| bytes.saturating_mul(FULL_STEP) >= self.space.capacity_bytes();
        if pays(self.since) {
            self.refusals = Refusals::NONE;
            return true;
        }
        self.refusals.has_credit && pays(self.since + bytes) || self.refusals.pay()
    }

    fn count(&mut self, bytes: usize) {
        self.since += bytes;
        self.taken += bytes as u64;
    }

    fn take_large(&mut self, count: usize) -> Result<Option<usize>, Errno> {
        let Some(block) = self.space.take(count)? else {
            return Ok(None);
        };
        self.space.make_large(block, count);
        self.count(count * BLOCK_BYTES);
        Ok(Some(self.space.address(block)))
    }

    /// Gives a class its next run; whether there is one.
    fn refill(&mut self, cursors: &Cursors, class: SizeClass) -> Result<bool, Errno> {
        debug_assert_eq!(cursors.run(class).left(), 0);
        loop {
            let blocks = self.classes[class.number()];
            if blocks.current != NO_BLOCK {
                let block = blocks.current as usize;
                if let Some((start, end)) = self.space.free_run(block, blocks.next_cell as usize) {
                    self.take_run(cursors, class, block, start, end);
                    return Ok(true);
                }
            }
            let blocks = &mut self.classes[class.number()];
            blocks.next_cell = 0;
            blocks.current = blocks.first;
            if blocks.first != NO_BLOCK {
                let block = blocks.first as usize;
                blocks.first = self.space.info(block).next.replace(NO_BLOCK);
                self.space.sweep(block);
                continue;
            }
            let Some(block) = self.space.take(1)? else {
                return Ok(false);
            };
            self.space.make_cells(block, class);
            self.classes[class.number()].current = block as u32;
        }
    }

    /// Makes free cells of a class's current block its run; only one of them if each allocation is to collect.
    fn take_run(
        &mut self,
        cursors: &Cursors,
        class: SizeClass,
        block: usize,
        start: usize,
        end: usize,
    ) {
        let end = match self.config.stress {
            true => start + 1,
            false => end,
        };
        self.space.set_allocated(block, start..end, true);
        self.classes[class.number()].next_cell = end as u32;
        let first = self.space.address(block);
        let run = cursors.run(class);
        run.cursor.set(first + start * class.size());
        run.limit.set(first + end * class.size());
        self.count((end - start) * class.size());
    }

    /// Before marking: nothing is given out any more, everything is swept, no mark is set.
    fn prepare(&mut self, cursors: &Cursors) {
        for number in 0..CLASSES {
            self.return_run(cursors, SizeClass::new(number));
        }
        self.classes = [ClassBlocks::NONE; CLASSES];
        if std::mem::replace(&mut self.is_marking, true) {
            self.space.clear_marks();
        } else {
            self.space.sweep_all();
        }
    }

    /// Makes the cells that are left of a run free again.
    fn return_run(&mut self, cursors: &Cursors, class: SizeClass) {
        let run = cursors.run(class);
        let (left, block) = (run.left(), self.classes[class.number()].current);
        let (start, end) = (run.cursor.replace(0), run.limit.replace(0));
        if left == 0 {
            return;
        }
        let first = self.space.address(block as usize);
        let cells = (start - first) / class.size()..(end - first) / class.size();
        self.space.set_allocated(block as usize, cells, false);
        if self.space.poisons() {
            self.space.fill_with_poison(start, left);
        }
        self.taken -= left as u64;
    }

    /// After marking: frees what was not marked.
    fn reclaim(&mut self) {
        self.is_marking = false;
        let classes = &mut self.classes;
        let live = self.space.reclaim(|space, class, block| {
            let blocks = &mut classes[class.number()];
            space.info(block).next.set(NO_BLOCK);
            match blocks.last {
                NO_BLOCK => blocks.first = block as u32,
                last => space.info(last as usize).next.set(block as u32),
            }
            blocks.last = block as u32;
        });
        self.since = 0;
        let Live { bytes, objects } = live;
        self.stats.collections += 1;
        self.stats.live_bytes = bytes as u64;
        self.stats.live_objects = objects as u64;
        // The program will need as much before the next collection.
        let keep = self.interval();
        self.space.give_back(keep);
    }
}

/// Says which objects a collection has found alive.
#[derive(Debug)]
pub struct Liveness<'a>(Ref<'a, State>);

impl Liveness<'_> {
    /// Whether the object that this address was given to is alive. What is not an address in the heap is.
    #[must_use]
    pub fn is_alive(&self, object: u64) -> bool {
        let space = &self.0.space;
        let offset = (object as usize).wrapping_sub(space.base());
        if offset / BLOCK_BYTES >= space.used() {
            return true;
        }
        let cell = space.cell_at(object as usize);
        cell.is_some_and(|cell| space.is_allocated(cell))
    }
}
