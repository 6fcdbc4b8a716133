//! Where an instruction finds its operands and leaves its result.
//!
//! A cell's first operand word has the fields `a` (16 bits at byte 8), `d` (16 bits at byte 10) and `b` (16 bits, or
//! an immediate of 32, at byte 12). What a field means is part of the handler: each combination of classes is a
//! handler of its own, so that no instruction tests where its operands are.
//!
//! *Invariant:* a result goes to the accumulator of its bank, except to a pinned local, which leaves it alone.
//! *Invariant:* a result in a pinned local is in the local's slot as well.

use tiered_decode::numeric::Value;
use tiered_decode::types::ValType;
use tiered_runtime::frame::Slot;
use tiered_runtime::wide::Wide as Vector;

use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Byte of the field `a`.
pub(crate) const A: usize = 8;
/// Byte of the field `d`.
pub(crate) const D: usize = 10;
/// Byte of the field `b`.
pub(crate) const B: usize = 12;

/// Which accumulator values of a type go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bank {
    Int,
    F32,
    F64,
    V128,
}

impl Bank {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Bank; 4] = [Bank::Int, Bank::F32, Bank::F64, Bank::V128];

    /// That of the values of type `ty`.
    #[inline]
    pub(crate) fn of(ty: ValType) -> Bank {
        match ty {
            ValType::I32 | ValType::I64 | ValType::Ref(_) => Bank::Int,
            ValType::F32 => Bank::F32,
            ValType::F64 => Bank::F64,
            ValType::V128 => Bank::V128,
        }
    }

    /// The slots of its values.
    #[inline]
    pub(crate) fn width(self) -> u32 {
        match self {
            Bank::Int | Bank::F32 | Bank::F64 => 1,
            Bank::V128 => 2,
        }
    }
}

/// The class of a source operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A slot of the frame.
    Slot,
    /// The accumulator of the value's bank.
    Acc,
    /// The first pinned local.
    L0,
    /// The second pinned local.
    L1,
    /// An immediate of 32 bits, sign-extended.
    Imm,
    /// A constant in the cell's third word.
    Wide,
}

/// The handlers of one instruction with given sources, by what becomes of the result: left in the accumulator,
/// stored to a slot as well, or put into the first or second pinned local.
pub(crate) type Family = [Handler; 4];

/// Index into a [`Family`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dest {
    Acc = 0,
    Slot = 1,
    L0 = 2,
    L1 = 3,
}

/// A type that has an accumulator.
pub(crate) trait Reg: Copy + 'static {
    const BANK: Bank;
    /// Where a result of this type goes that is to be in the pinned local 0: only integers are pinned.
    type ToL0: Dst;
    /// The same for pinned local 1.
    type ToL1: Dst;
    fn acc(regs: &Regs) -> Self;
    fn set_acc(self, regs: &mut Regs);
    /// The value with these bits; of no vector.
    fn of_word(word: Slot) -> Self;
    /// The bits; of no vector.
    fn word(self) -> Slot;
    /// Reads the value's slots.
    ///
    /// # Safety
    /// They are there.
    #[inline(always)]
    unsafe fn load(at: *const Slot) -> Self {
        // SAFETY: the caller's promise.
        Self::of_word(unsafe { *at })
    }
    /// Writes the value's slots.
    ///
    /// # Safety
    /// They are there.
    #[inline(always)]
    unsafe fn store(self, at: *mut Slot) {
        // SAFETY: the caller's promise.
        unsafe { *at = self.word() };
    }
    /// Calls `k` with the source that `class` stands for; never with an immediate.
    fn pick_a<K: WithSrc>(class: Class, k: K) -> K::Out;
    /// Calls `k` with the source that `class` stands for; never with a wide constant.
    fn pick_b<K: WithSrc>(class: Class, k: K) -> K::Out;
    /// Calls `k` with the source that `class` stands for.
    fn pick_any<K: WithSrc>(class: Class, k: K) -> K::Out {
        match class {
            Class::Wide => k.with::<Wide>(),
            other => Self::pick_b(other, k),
        }
    }
}

/// What to do with a source once its class is a type.
pub(crate) trait WithSrc {
    type Out;
    fn with<S: Src>(self) -> Self::Out;
}

/// A class of sources.
pub(crate) trait Src: 'static {
    /// The value of the operand whose field is at byte `AT`.
    ///
    /// # Safety
    /// The cell was written with this class there.
    unsafe fn read<V: Reg, const AT: usize>(regs: &Regs) -> V;

    /// Goes on behind a cell of two words and what this source needs besides.
    ///
    /// # Safety
    /// As [`Regs::next`].
    #[inline(always)]
    unsafe fn next(regs: Regs) -> Ended {
        // SAFETY: the caller's promise.
        unsafe { regs.next::<2>() }
    }
}

pub(crate) struct InSlot;
pub(crate) struct InAcc;
pub(crate) struct InL0;
pub(crate) struct InL1;
pub(crate) struct Imm;
pub(crate) struct Wide;
/// Zero; for addresses that are in the offset altogether.
pub(crate) struct Zero;

impl Src for InSlot {
    #[inline(always)]
    unsafe fn read<V: Reg, const AT: usize>(regs: &Regs) -> V {
        // SAFETY: the slot is within the frame, by the cell's promise.
        unsafe { V::load(regs.slot::<AT>()) }
    }
}

impl Src for InAcc {
    #[inline(always)]
    unsafe fn read<V: Reg, const AT: usize>(regs: &Regs) -> V {
        V::acc(regs)
    }
}

impl Src for InL0 {
    #[inline(always)]
    unsafe fn read<V: Reg, const AT: usize>(regs: &Regs) -> V {
        V::of_word(regs.l0)
    }
}

impl Src for InL1 {
    #[inline(always)]
    unsafe fn read<V: Reg, const AT: usize>(regs: &Regs) -> V {
        V::of_word(regs.l1)
    }
}

impl Src for Imm {
    #[inline(always)]
    unsafe fn read<V: Reg, const AT: usize>(regs: &Regs) -> V {
        // SAFETY: the cell has an immediate there.
        let immediate = unsafe { regs.u32::<AT>() }.cast_signed();
        V::of_word(i64::from(immediate).cast_unsigned())
    }
}

impl Src for Wide {
    #[inline(always)]
    unsafe fn read<V: Reg, const AT: usize>(regs: &Regs) -> V {
        // SAFETY: the cell has a third word.
        V::of_word(unsafe { regs.word::<2>() })
    }

    #[inline(always)]
    unsafe fn next(regs: Regs) -> Ended {
        // SAFETY: the cell has three words.
        unsafe { regs.next::<3>() }
    }
}

impl Src for Zero {
    #[inline(always)]
    unsafe fn read<V: Reg, const AT: usize>(_: &Regs) -> V {
        V::of_word(0)
    }
}

/// A class of results.
pub(crate) trait Dst: 'static {
    /// Puts `value` where the field `d` says.
    ///
    /// # Safety
    /// The cell was written with this class.
    unsafe fn write<V: Reg>(regs: &mut Regs, value: V);
}

pub(crate) struct ToAcc;
pub(crate) struct ToSlot;
pub(crate) struct ToL0;
pub(crate) struct ToL1;

impl Dst for ToAcc {
    #[inline(always)]
    unsafe fn write<V: Reg>(regs: &mut Regs, value: V) {
        value.set_acc(regs);
    }
}

impl Dst for ToSlot {
    #[inline(always)]
    unsafe fn write<V: Reg>(regs: &mut Regs, value: V) {
        value.set_acc(regs);
        // SAFETY: the slot is within the frame, by the cell's promise.
        unsafe { value.store(regs.slot::<D>()) };
    }
}

impl Dst for ToL0 {
    #[inline(always)]
    unsafe fn write<V: Reg>(regs: &mut Regs, value: V) {
        regs.l0 = value.word();
        // SAFETY: as above.
        unsafe { *regs.slot::<D>() = regs.l0 };
    }
}

impl Dst for ToL1 {
    #[inline(always)]
    unsafe fn write<V: Reg>(regs: &mut Regs, value: V) {
        regs.l1 = value.word();
        // SAFETY: as above.
        unsafe { *regs.slot::<D>() = regs.l1 };
    }
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Reg for $ty {
            const BANK: Bank = Bank::Int;
            type ToL0 = ToL0;
            type ToL1 = ToL1;
            #[inline(always)]
            fn acc(regs: &Regs) -> Self {
                Self::from_bits(regs.acc)
            }
            #[inline(always)]
            fn set_acc(self, regs: &mut Regs) {
                regs.acc = self.to_bits();
            }
            #[inline(always)]
            fn of_word(word: Slot) -> Self {
                Self::from_bits(word)
            }
            #[inline(always)]
            fn word(self) -> Slot {
                self.to_bits()
            }
            fn pick_a<K: WithSrc>(class: Class, k: K) -> K::Out {
                match class {
                    Class::Slot => k.with::<InSlot>(),
                    Class::Acc => k.with::<InAcc>(),
                    Class::L0 => k.with::<InL0>(),
                    Class::L1 => k.with::<InL1>(),
                    Class::Imm | Class::Wide => unreachable!("no constant is a first operand"),
                }
            }
            fn pick_b<K: WithSrc>(class: Class, k: K) -> K::Out {
                match class {
                    Class::Imm => k.with::<Imm>(),
                    other => Self::pick_a(other, k),
                }
            }
        }
    )*};
}

integers! { i32 u32 i64 u64 }

macro_rules! floats {
    ($($ty:ty: $bank:ident $acc:ident;)*) => {$(
        impl Reg for $ty {
            const BANK: Bank = Bank::$bank;
            type ToL0 = ToSlot;
            type ToL1 = ToSlot;
            #[inline(always)]
            fn acc(regs: &Regs) -> Self {
                regs.$acc
            }
            #[inline(always)]
            fn set_acc(self, regs: &mut Regs) {
                regs.$acc = self;
            }
            #[inline(always)]
            fn of_word(word: Slot) -> Self {
                Value::from_bits(word)
            }
            #[inline(always)]
            fn word(self) -> Slot {
                Value::to_bits(self)
            }
            fn pick_a<K: WithSrc>(class: Class, k: K) -> K::Out {
                match class {
                    Class::Slot => k.with::<InSlot>(),
                    Class::Acc => k.with::<InAcc>(),
                    Class::L0 | Class::L1 | Class::Imm | Class::Wide => {
                        unreachable!("floats are neither pinned nor immediate")
                    }
                }
            }
            fn pick_b<K: WithSrc>(class: Class, k: K) -> K::Out {
                Self::pick_a(class, k)
            }
        }
    )*};
}

floats! { f32: F32 acc_f32; f64: F64 acc_f64; }

impl Reg for Vector {
    const BANK: Bank = Bank::V128;
    type ToL0 = ToSlot;
    type ToL1 = ToSlot;
    #[inline(always)]
    fn acc(regs: &Regs) -> Self {
        regs.acc_v128
    }
    #[inline(always)]
    fn set_acc(self, regs: &mut Regs) {
        regs.acc_v128 = self;
    }
    fn of_word(_: Slot) -> Self {
        unreachable!("a vector is two words")
    }
    fn word(self) -> Slot {
        unreachable!("a vector is two words")
    }
    #[inline(always)]
    unsafe fn load(at: *const Slot) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Vector::from_slots(at) }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut Slot) {
        // SAFETY: the caller's promise.
        unsafe { self.to_slots(at) };
    }
    fn pick_a<K: WithSrc>(class: Class, k: K) -> K::Out {
        match class {
            Class::Slot => k.with::<InSlot>(),
            Class::Acc => k.with::<InAcc>(),
            Class::L0 | Class::L1 | Class::Imm | Class::Wide => {
                unreachable!("vectors are neither pinned nor immediate")
            }
        }
    }
    fn pick_b<K: WithSrc>(class: Class, k: K) -> K::Out {
        Self::pick_a(class, k)
    }
}

/// An instruction with its sources, by destination.
pub(crate) trait ByDest: 'static {
    /// The type of the result.
    type Result: Reg;
    /// The instruction with its destination.
    type To<T: Dst>: Op;
}

/// The handlers of `T`.
pub(crate) const fn family<T: ByDest>() -> &'static Family {
    const {
        &[
            exec::<T::To<ToAcc>> as Handler,
            exec::<T::To<ToSlot>> as Handler,
            exec::<T::To<<T::Result as Reg>::ToL0>> as Handler,
            exec::<T::To<<T::Result as Reg>::ToL1>> as Handler,
        ]
    }
}
