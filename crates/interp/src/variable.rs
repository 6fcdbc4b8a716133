//! Copies between slots and registers, and global variables.

use std::marker::PhantomData;

use tiered_runtime::GlobalRecord;
use tiered_runtime::frame::Slot;
use tiered_runtime::wide::Wide;

use crate::operand::D;
use crate::operand::{
    A, B, Bank, ByDest, Class, Dest, Dst, Family, Reg, Src, ToL0, ToL1, WithSrc, family,
};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// A slot, and no accumulator.
struct SlotOnly;

impl Dst for SlotOnly {
    #[inline(always)]
    unsafe fn write<V: Reg>(regs: &mut Regs, value: V) {
        // SAFETY: the slot is within the frame, by the cell's promise.
        unsafe { value.store(regs.slot::<D>()) };
    }
}

/// `d = b`
struct CopyOp<V, S, T>(PhantomData<(V, S, T)>);

impl<V: Reg, S: Src, T: Dst> Op for CopyOp<V, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let value = S::read::<V, B>(&regs);
            T::write(&mut regs, value);
            regs.next::<2>()
        }
    }
}

/// `d = constant`, of 64 bits.
struct ConstOp<T>(PhantomData<T>);

impl<T: Dst> Op for ConstOp<T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let value = regs.word::<2>();
            T::write(&mut regs, value);
            regs.next::<3>()
        }
    }
}

/// Copies two slots, whose indices are at the bytes 8 and 12, to two neighbors from `d` on.
struct CopyPair;

impl Op for CopyPair {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; neither source is a target.
        unsafe {
            let (first, second) = (*regs.slot::<8>(), *regs.slot::<12>());
            let to = regs.slot::<D>();
            *to = first;
            *to.add(1) = second;
            regs.next::<2>()
        }
    }
}

/// Copies slots from `a` on to those from `d` on, which may overlap: as many as `b` says.
struct CopyMany;

impl Op for CopyMany {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let count = regs.u32::<B>() as usize;
            std::ptr::copy(regs.slot::<A>(), regs.slot::<D>(), count);
            regs.next::<2>()
        }
    }
}

/// As [`CopyMany`], for slots anywhere: those of the indices at the bytes 8 and 12, as many as the third word says.
struct CopyFar;

impl Op for CopyFar {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let count = regs.word::<2>() as usize;
            std::ptr::copy(regs.far_slot::<8>(), regs.far_slot::<12>(), count);
            regs.next::<3>()
        }
    }
}

/// The handler that copies slots anywhere.
pub(crate) const COPY_FAR: Handler = exec::<CopyFar>;

/// The handler that copies many slots.
pub(crate) const COPY_MANY: Handler = exec::<CopyMany>;

/// The handler that copies two slots.
pub(crate) const COPY_PAIR: Handler = exec::<CopyPair>;

struct PickCopy<V>(Dest, PhantomData<V>);

impl<V: Reg> WithSrc for PickCopy<V> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        match self.0 {
            Dest::Acc | Dest::Slot => exec::<CopyOp<V, S, SlotOnly>>,
            Dest::L0 => exec::<CopyOp<V, S, ToL0>>,
            Dest::L1 => exec::<CopyOp<V, S, ToL1>>,
        }
    }
}

/// As [`PickCopy`], of what is not pinned.
struct PickSlotCopy<V>(PhantomData<V>);

impl<V: Reg> WithSrc for PickSlotCopy<V> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<CopyOp<V, S, SlotOnly>>
    }
}

/// The handler that copies a value of class `class` to a slot or a pinned local; no accumulator changes.
pub(crate) fn copy_handler(bank: Bank, class: Class, to: Dest) -> Handler {
    match bank {
        Bank::Int => Slot::pick_b(class, PickCopy::<Slot>(to, PhantomData)),
        Bank::F32 => f32::pick_b(class, PickCopy::<f32>(to, PhantomData)),
        Bank::F64 => f64::pick_b(class, PickCopy::<f64>(to, PhantomData)),
        Bank::V128 => Wide::pick_b(class, PickSlotCopy::<Wide>(PhantomData)),
    }
}

/// The handler that puts a constant of 64 bits into a slot or a pinned local; no accumulator changes.
pub(crate) fn const_handler(to: Dest) -> Handler {
    match to {
        Dest::Acc | Dest::Slot => exec::<ConstOp<SlotOnly>>,
        Dest::L0 => exec::<ConstOp<ToL0>>,
        Dest::L1 => exec::<ConstOp<ToL1>>,
    }
}

/// Where the value of a global is.
trait Location: 'static {
    /// The value, for a cell whose third word says where in the instance to begin.
    unsafe fn of(regs: &Regs) -> *mut Slot;
}

/// In the instance.
struct Defined;
/// In a record whose address the instance has.
struct Imported;

impl Location for Defined {
    #[inline(always)]
    unsafe fn of(regs: &Regs) -> *mut Slot {
        // SAFETY: the translator wrote the cell.
        unsafe { regs.in_instance::<Slot, 2>() }
    }
}

impl Location for Imported {
    #[inline(always)]
    unsafe fn of(regs: &Regs) -> *mut Slot {
        // SAFETY: the translator wrote the cell; globals live as long as the store.
        unsafe {
            (**regs.in_instance::<*const GlobalRecord, 2>())
                .value
                .as_ptr()
                .cast()
        }
    }
}

/// `global.get`: the third word says where the global is.
struct GlobalGetOp<V, G, T>(PhantomData<(V, G, T)>);

impl<V: Reg, G: Location, T: Dst> Op for GlobalGetOp<V, G, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for this place and these classes.
        unsafe {
            let value = V::load(G::of(&regs));
            T::write(&mut regs, value);
            regs.next::<3>()
        }
    }
}

struct GlobalGetOf<V, G>(PhantomData<(V, G)>);

impl<V: Reg, G: Location> ByDest for GlobalGetOf<V, G> {
    type Result = V;
    type To<T: Dst> = GlobalGetOp<V, G, T>;
}

/// The handlers of `global.get`.
pub(crate) fn global_get_family(bank: Bank, imported: bool) -> &'static Family {
    match (bank, imported) {
        (Bank::Int, false) => family::<GlobalGetOf<Slot, Defined>>(),
        (Bank::F32, false) => family::<GlobalGetOf<f32, Defined>>(),
        (Bank::F64, false) => family::<GlobalGetOf<f64, Defined>>(),
        (Bank::V128, false) => family::<GlobalGetOf<Wide, Defined>>(),
        (Bank::Int, true) => family::<GlobalGetOf<Slot, Imported>>(),
        (Bank::F32, true) => family::<GlobalGetOf<f32, Imported>>(),
        (Bank::F64, true) => family::<GlobalGetOf<f64, Imported>>(),
        (Bank::V128, true) => family::<GlobalGetOf<Wide, Imported>>(),
    }
}

/// `global.set`: the value is in the field `b`, the third word says where the global is.
struct GlobalSetOp<V, G, S>(PhantomData<(V, G, S)>);

impl<V: Reg, G: Location, S: Src> Op for GlobalSetOp<V, G, S> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let value = S::read::<V, B>(&regs);
            value.store(G::of(&regs));
            regs.next::<3>()
        }
    }
}

struct PickGlobalSet<V, G>(PhantomData<(V, G)>);

impl<V: Reg, G: Location> WithSrc for PickGlobalSet<V, G> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<GlobalSetOp<V, G, S>>
    }
}

fn global_set_to<G: Location>(bank: Bank, class: Class) -> Handler {
    match bank {
        Bank::Int => Slot::pick_b(class, PickGlobalSet::<Slot, G>(PhantomData)),
        Bank::F32 => f32::pick_b(class, PickGlobalSet::<f32, G>(PhantomData)),
        Bank::F64 => f64::pick_b(class, PickGlobalSet::<f64, G>(PhantomData)),
        Bank::V128 => Wide::pick_b(class, PickGlobalSet::<Wide, G>(PhantomData)),
    }
}

/// The handler of `global.set` with a value of class `class`.
pub(crate) fn global_set_handler(bank: Bank, class: Class, imported: bool) -> Handler {
    if imported {
        global_set_to::<Imported>(bank, class)
    } else {
        global_set_to::<Defined>(bank, class)
    }
}
