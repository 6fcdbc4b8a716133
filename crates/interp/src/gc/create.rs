//! New objects whose size is known when they are translated: `struct.new`, `struct.new_default`, `array.new_fixed`.
//!
//! A cell takes the next free cell of its size class by itself, as compiled code does; what comes when there is none, and what
//! is too large for that, is a call. Field `b` is the slot of the first operand, which may be far; the operands are one
//! run of slots. The other words are those of [`Recipe`].

use std::marker::PhantomData;

use tiered_decode::index::TypeIdx;
use tiered_runtime::TrapCode;
use tiered_runtime::frame::Slot;
use tiered_runtime::gc::{
    self, ARRAY_ELEMENTS, ARRAY_LENGTH, Cursors, DESCRIPTOR, Descriptor, SizeClass, Storage,
    StructLayout,
};
use tiered_runtime::vmctx::{StoreCtx, VmCtx};
use tiered_runtime::wide::Wide;

use super::{answer, failure, place};
use crate::exec::RaiseTrap;
use crate::operand::{B, ByDest, Dst, Family, family};
use crate::regs::{Ended, Op, Regs};

/// Words of a cell.
const WORDS: usize = 6;

/// Where a structure has its first field.
const FIELDS: usize = 8;

/// Byte of where the instance has the descriptor.
const PLACE: usize = 16;
/// Byte of the slot at which the frame's operands end.
const END: usize = 20;
/// Bytes of where the store's context has the cursor and the limit of the size class.
const CURSOR: usize = 24;
const LIMIT: usize = 28;
/// Byte of what is the shape's.
const OF_SHAPE: usize = 32;
/// Byte of the index of the type.
const TYPE: usize = 40;
/// Byte of the size of the class's cells.
const CELL: usize = 44;

/// What kind of object is made, and of what.
trait Shape: 'static {
    /// Memory for the object of `cell`, in which nothing is written but its descriptor and a length.
    ///
    /// # Safety
    /// The translator wrote the cell for the instance's module; `end` is where the frame's operands end.
    unsafe fn allocate(ctx: &VmCtx, cell: Cell, end: *const Slot) -> Result<Slot, TrapCode>;

    /// Writes all of it but the descriptor.
    ///
    /// # Safety
    /// There is room for an object of the cell's type.
    unsafe fn fill(regs: &Regs, object: Slot);
}

/// A structure of `N` fields of eight bytes.
struct Words<const N: usize>;
/// Any structure; the fifth word has the address of its [`StructLayout`].
struct Fields;
/// A structure of zeros; the fifth word has the address of its layout.
struct Zeros;
/// An array whose elements are stored as `E`; the fifth word has its length.
struct Elements<E>(PhantomData<E>);

/// The address of a cell.
#[derive(Clone, Copy)]
struct Cell(*const u64);

impl Cell {
    /// The 32 bits at byte `AT`.
    unsafe fn u32<const AT: usize>(self) -> u32 {
        // SAFETY: the cell is at least that long.
        unsafe { *self.0.byte_add(AT).cast() }
    }
}

impl<const N: usize> Shape for Words<N> {
    unsafe fn allocate(ctx: &VmCtx, cell: Cell, end: *const Slot) -> Result<Slot, TrapCode> {
        // SAFETY: the caller's promise; the type is a structure.
        unsafe { gc::new_struct(ctx, TypeIdx(cell.u32::<TYPE>()), end) }
    }

    #[inline(always)]
    unsafe fn fill(regs: &Regs, object: Slot) {
        // SAFETY: the operands are in these slots, and the fields one behind the other.
        unsafe {
            let (from, to) = (regs.far_slot::<B>(), place(object, FIELDS).cast::<Slot>());
            for at in 0..N {
                *to.add(at) = *from.add(at);
            }
        }
    }
}

impl Shape for Fields {
    unsafe fn allocate(ctx: &VmCtx, cell: Cell, end: *const Slot) -> Result<Slot, TrapCode> {
        // SAFETY: the caller's promise; the type is a structure.
        unsafe { gc::new_struct(ctx, TypeIdx(cell.u32::<TYPE>()), end) }
    }

    #[inline(always)]
    unsafe fn fill(regs: &Regs, object: Slot) {
        // SAFETY: the layout lives as long as the module; the operands are one run of slots.
        unsafe {
            let layout = regs.pointer::<StructLayout, 4>();
            let mut from = regs.far_slot::<B>().cast_const();
            for &(offset, storage) in (*layout).fields() {
                let at = place(object, offset as usize);
                match storage {
                    Storage::I8 => I8::put(at, 0, from),
                    Storage::I16 => I16::put(at, 0, from),
                    Storage::W32 => W32::put(at, 0, from),
                    Storage::W64 | Storage::Reference => W64::put(at, 0, from),
                    Storage::V128 => {
                        V128::put(at, 0, from);
                        from = from.add(1);
                    }
                }
                from = from.add(1);
            }
        }
    }
}

impl Shape for Zeros {
    unsafe fn allocate(ctx: &VmCtx, cell: Cell, end: *const Slot) -> Result<Slot, TrapCode> {
        // SAFETY: the caller's promise; the type is a structure.
        unsafe { gc::new_struct(ctx, TypeIdx(cell.u32::<TYPE>()), end) }
    }

    #[inline(always)]
    unsafe fn fill(regs: &Regs, object: Slot) {
        // SAFETY: the layout lives as long as the module. A structure's size is a multiple of eight bytes.
        unsafe {
            let size = (*regs.pointer::<StructLayout, 4>()).size() as usize;
            for at in (FIELDS..size).step_by(size_of::<Slot>()) {
                // Else the compiler makes a call of it, for which all registers are saved.
                place(object, at).cast::<Slot>().write_volatile(0);
            }
        }
    }
}

/// How elements are stored.
trait Element: 'static {
    /// Slots of an operand.
    const SLOTS: usize;
    /// Writes what the slots from `from` on have as element `index` from `to` on.
    ///
    /// # Safety
    /// There is room for it.
    unsafe fn put(to: *mut u8, index: usize, from: *const Slot);
}

struct I8;
struct I16;
struct W32;
struct W64;
struct V128;

macro_rules! elements {
    ($($name:ident: $ty:ty;)*) => {$(
        impl Element for $name {
            const SLOTS: usize = 1;
            #[inline(always)]
            unsafe fn put(to: *mut u8, index: usize, from: *const Slot) {
                // SAFETY: the caller's promise; what is no vector is aligned by its size.
                unsafe { to.cast::<$ty>().add(index).write(*from as $ty) };
            }
        }
    )*};
}

elements! { I8: u8; I16: u16; W32: u32; W64: u64; }

impl Element for V128 {
    const SLOTS: usize = 2;
    #[inline(always)]
    unsafe fn put(to: *mut u8, index: usize, from: *const Slot) {
        // SAFETY: the caller's promise.
        unsafe { Wide::from_slots(from).write(to.add(index * size_of::<Wide>())) };
    }
}

impl<E: Element> Shape for Elements<E> {
    unsafe fn allocate(ctx: &VmCtx, cell: Cell, end: *const Slot) -> Result<Slot, TrapCode> {
        // SAFETY: the caller's promise; the type is an array.
        unsafe {
            let (ty, length) = (TypeIdx(cell.u32::<TYPE>()), cell.u32::<OF_SHAPE>());
            gc::new_array(ctx, ty, length, end)
        }
    }

    #[inline(always)]
    unsafe fn fill(regs: &Regs, object: Slot) {
        // SAFETY: the operands are one run of slots, as many as there are elements.
        unsafe {
            let length = regs.word::<4>() as u32;
            place(object, ARRAY_LENGTH).cast::<u32>().write(length);
            let from = regs.far_slot::<B>().cast_const();
            let elements = place(object, ARRAY_ELEMENTS);
            for at in 0..length as usize {
                E::put(elements, at, from.add(at * E::SLOTS));
            }
        }
    }
}

/// Takes the next cell of the size class.
struct Bump<O, T>(PhantomData<(O, T)>);

impl<O: Shape, T: Dst> Op for Bump<O, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; the cells from a class's cursor to its limit are free.
        unsafe {
            let ctx = std::ptr::from_ref(regs.ctx()).expose_provenance() as Slot;
            let cursor = place(ctx, regs.u32::<CURSOR>() as usize).cast::<usize>();
            let limit = place(ctx, regs.u32::<LIMIT>() as usize).cast::<usize>();
            let object = *cursor;
            let next = object + regs.u32::<CELL>() as usize;
            if next > *limit {
                return regs.become_op::<Allocate<O, T>>();
            }
            *cursor = next;
            let object = object as Slot;
            let descriptor = regs
                .instance()
                .byte_add(regs.u32::<PLACE>() as usize)
                .cast::<*const Descriptor>();
            place(object, DESCRIPTOR)
                .cast::<*const Descriptor>()
                .write(*descriptor);
            O::fill(&regs, object);
            T::write(&mut regs, object);
            regs.next::<WORDS>()
        }
    }
}

struct BumpOf<O>(PhantomData<O>);

impl<O: Shape> ByDest for BumpOf<O> {
    type Result = Slot;
    type To<T: Dst> = Bump<O, T>;
}

/// Has the heap make room.
struct Allocate<O, T>(PhantomData<(O, T)>);

impl<O: Shape, T: Dst> Op for Allocate<O, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let end = regs.fp.add(regs.u32::<END>() as usize);
            let made = allocate::<O>(regs.instance(), Cell(regs.pc), end);
            if let Some(number) = failure(made) {
                regs.acc = number;
                return regs.become_op::<RaiseTrap>();
            }
            O::fill(&regs, made);
            T::write(&mut regs, made);
            regs.next::<WORDS>()
        }
    }
}

#[inline(never)]
unsafe fn allocate<O: Shape>(instance: *const VmCtx, cell: Cell, end: *const Slot) -> u64 {
    // SAFETY: the registers have the address of the instance whose code runs; the caller's promise.
    unsafe { answer(O::allocate(VmCtx::borrow(instance), cell, end)) }
}

struct AllocateOf<O>(PhantomData<O>);

impl<O: Shape> ByDest for AllocateOf<O> {
    type Result = Slot;
    type To<T: Dst> = Allocate<O, T>;
}

/// How an object is made: the handlers, and the words of the cell behind the fields.
pub(crate) struct Recipe {
    pub(crate) family: &'static Family,
    pub(crate) words: [u64; WORDS - 2],
}

/// What is known of a new object besides its shape.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    /// The index of its type, and where an instance has the descriptor.
    pub(crate) ty: TypeIdx,
    pub(crate) place: i32,
    /// The slot at which the frame's operands end.
    pub(crate) end: u32,
}

fn recipe<O: Shape>(site: Site, size: usize, of_shape: u64) -> Recipe {
    let class = gc::inline_class(size);
    let family = match class {
        Some(_) => family::<BumpOf<O>>(),
        None => family::<AllocateOf<O>>(),
    };
    let place_of = |offset: fn(SizeClass) -> usize| {
        let cursors = StoreCtx::CURSORS as usize;
        class.map_or(0, |class| (cursors + offset(class)) as u32)
    };
    let halves = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Recipe {
        family,
        words: [
            halves(site.place.cast_unsigned(), site.end),
            halves(
                place_of(Cursors::cursor_offset),
                place_of(Cursors::limit_offset),
            ),
            of_shape,
            halves(site.ty.0, class.map_or(0, |class| class.size() as u32)),
        ],
    }
}

/// `struct.new`
pub(crate) fn new_struct(site: Site, layout: &StructLayout) -> Recipe {
    let size = layout.size() as usize;
    let address = std::ptr::from_ref(layout).expose_provenance() as u64;
    let are_words = layout
        .fields()
        .iter()
        .all(|(_, storage)| matches!(storage, Storage::W64 | Storage::Reference));
    match layout.fields().len() {
        0 => recipe::<Words<0>>(site, size, address),
        1 if are_words => recipe::<Words<1>>(site, size, address),
        2 if are_words => recipe::<Words<2>>(site, size, address),
        3 if are_words => recipe::<Words<3>>(site, size, address),
        4 if are_words => recipe::<Words<4>>(site, size, address),
        _ => recipe::<Fields>(site, size, address),
    }
}

/// `struct.new_default` of a small structure; `None` if zeroing it is to be paid for.
pub(crate) fn new_struct_default(site: Site, layout: &StructLayout) -> Option<Recipe> {
    /// Bytes of the largest structure that is zeroed here.
    const MOST: usize = 1024;
    let size = layout.size() as usize;
    let address = std::ptr::from_ref(layout).expose_provenance() as u64;
    (size <= MOST).then(|| recipe::<Zeros>(site, size, address))
}

/// `array.new_fixed`
pub(crate) fn new_array_fixed(site: Site, element: Storage, length: u32) -> Recipe {
    let size = gc::array_size(element, length).unwrap_or(usize::MAX);
    let length = u64::from(length);
    match element {
        Storage::I8 => recipe::<Elements<I8>>(site, size, length),
        Storage::I16 => recipe::<Elements<I16>>(site, size, length),
        Storage::W32 => recipe::<Elements<W32>>(site, size, length),
        Storage::W64 | Storage::Reference => recipe::<Elements<W64>>(site, size, length),
        Storage::V128 => recipe::<Elements<V128>>(site, size, length),
    }
}
