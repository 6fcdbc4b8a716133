//! Copies between slots and registers, and global variables.

use std::marker::PhantomData;

use tiered_runtime::GlobalRecord;
use tiered_runtime::frame::Slot;

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
        unsafe { *regs.slot::<D>() = value.to_bits() };
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

/// The handler that copies a value of class `class` to a slot or a pinned local; no accumulator changes.
pub(crate) fn copy_handler(bank: Bank, class: Class, to: Dest) -> Handler {
    match bank {
        Bank::Int => Slot::pick_b(class, PickCopy::<Slot>(to, PhantomData)),
        Bank::F32 => f32::pick_b(class, PickCopy::<f32>(to, PhantomData)),
        Bank::F64 => f64::pick_b(class, PickCopy::<f64>(to, PhantomData)),
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

/// `global.get`: the global's address is in the third word.
struct GlobalGetOp<V, T>(PhantomData<(V, T)>);

impl<V: Reg, T: Dst> Op for GlobalGetOp<V, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; globals live as long as the store.
        unsafe {
            let value = (*regs.pointer::<GlobalRecord, 2>()).value.get();
            T::write(&mut regs, V::from_bits(value));
            regs.next::<3>()
        }
    }
}

struct GlobalGetOf<V>(PhantomData<V>);

impl<V: Reg> ByDest for GlobalGetOf<V> {
    type Result = V;
    type To<T: Dst> = GlobalGetOp<V, T>;
}

/// The handlers of `global.get`.
pub(crate) fn global_get_family(bank: Bank) -> &'static Family {
    match bank {
        Bank::Int => family::<GlobalGetOf<Slot>>(),
        Bank::F32 => family::<GlobalGetOf<f32>>(),
        Bank::F64 => family::<GlobalGetOf<f64>>(),
    }
}

/// `global.set`: the value is in the field `b`, the global's address in the third word.
struct GlobalSetOp<V, S>(PhantomData<(V, S)>);

impl<V: Reg, S: Src> Op for GlobalSetOp<V, S> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let value = S::read::<V, B>(&regs).to_bits();
            (*regs.pointer::<GlobalRecord, 2>()).value.set(value);
            regs.next::<3>()
        }
    }
}

struct PickGlobalSet<V>(PhantomData<V>);

impl<V: Reg> WithSrc for PickGlobalSet<V> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<GlobalSetOp<V, S>>
    }
}

/// The handler of `global.set` with a value of class `class`.
pub(crate) fn global_set_handler(bank: Bank, class: Class) -> Handler {
    match bank {
        Bank::Int => Slot::pick_b(class, PickGlobalSet::<Slot>(PhantomData)),
        Bank::F32 => f32::pick_b(class, PickGlobalSet::<f32>(PhantomData)),
        Bank::F64 => f64::pick_b(class, PickGlobalSet::<f64>(PhantomData)),
    }
}
