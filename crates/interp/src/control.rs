//! Branches, loop headers, returns, selection.

use std::marker::PhantomData;

use tiered_runtime::TrapCode;
use tiered_runtime::frame::Slot;
use tiered_runtime::speculation::clamped;
use tiered_runtime::wide::Wide;

use crate::exec::LoopSpent;
use crate::numeric::Condition;
use crate::operand::{A, B, Bank, ByDest, Class, D, Dst, Family, Reg, Src, WithSrc, family};
use crate::regs::{Ended, Handler, Op, Regs, exec, keep_apart};

/// Where a taken branch goes.
pub(crate) trait Target: 'static {
    /// Goes there; the target is in word `WORD` of the cell if it is in the cell at all.
    ///
    /// # Safety
    /// The cell was written for this kind of target.
    unsafe fn go<const WORD: usize>(regs: Regs) -> Ended;
}

/// To a later place in the code.
pub(crate) struct Forward;
/// To a loop's header: takes work off the account.
pub(crate) struct Back;
/// To the header of the innermost loop, which is in a register.
pub(crate) struct BackToHead;

impl Target for Forward {
    #[inline(always)]
    unsafe fn go<const WORD: usize>(regs: Regs) -> Ended {
        // SAFETY: the target is a cell.
        unsafe { regs.jump(regs.pointer::<u64, WORD>()) }
    }
}

impl Target for Back {
    #[inline(always)]
    unsafe fn go<const WORD: usize>(regs: Regs) -> Ended {
        // SAFETY: the target is a loop's header.
        unsafe { back(regs, regs.pointer::<u64, WORD>()) }
    }
}

impl Target for BackToHead {
    #[inline(always)]
    unsafe fn go<const WORD: usize>(regs: Regs) -> Ended {
        let head = std::ptr::with_exposed_provenance(regs.head.to_bits() as usize);
        // SAFETY: the loop's own header put its address there, and nothing else in the loop sets it.
        unsafe { back(regs, head) }
    }
}

/// Goes to a loop's header; the field `d` of the cell is what that takes off the account of work.
#[inline(always)]
unsafe fn back(mut regs: Regs, header: *const u64) -> Ended {
    // SAFETY: the translator wrote the cell; the header is a cell, too.
    unsafe {
        let work = &regs.ctx().work;
        let left = work.get().wrapping_sub(i32::from(regs.u16::<D>()));
        work.set(left);
        regs.pc = header;
        if left < 0 {
            regs.become_op::<LoopSpent>()
        } else {
            regs.dispatch()
        }
    }
}

/// Branches if a condition holds.
pub(crate) struct Branch<C, L, R, T>(PhantomData<(C, L, R, T)>);

impl<C: Condition, L: Src, R: Src, T: Target> Op for Branch<C, L, R, T> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            if C::holds(L::read::<C::A, A>(&regs), R::read::<C::B, B>(&regs)) {
                keep_apart();
                T::go::<2>(regs)
            } else {
                regs.next::<3>()
            }
        }
    }
}

/// Branches always.
pub(crate) struct Jump<T>(PhantomData<T>);

impl<T: Target> Op for Jump<T> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe { T::go::<2>(regs) }
    }
}

/// `br_table`: an index of class `S`, the number of targets but the default, the targets.
struct BranchTable<S>(PhantomData<S>);

impl<S: Src> Op for BranchTable<S> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell with one target more than its number says.
        unsafe {
            let index = S::read::<u32, A>(&regs);
            let index = clamped(index.into(), regs.u32::<B>().into());
            let target = *regs.pc.add(2 + index as usize);
            regs.jump(std::ptr::with_exposed_provenance(target as usize))
        }
    }
}

/// A loop's entry: three words, then the header that back edges lead to.
///
/// `HEAD`: the loop is innermost and without calls, its header's address goes to a register. `PINS`: how many locals
/// are loaded into registers, whose slots are in the fields `a` and `d`. The third word has the address of the loop's
/// [`LoopCode`](tiered_runtime::code::LoopCode), for code that comes by a back edge and looks at the word before the
/// header.
struct LoopEntry<const HEAD: bool, const PINS: usize>;

impl<const HEAD: bool, const PINS: usize> Op for LoopEntry<HEAD, PINS> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            if HEAD {
                regs.head = f64::from_bits(regs.pc.add(3).expose_provenance() as u64);
            }
            if PINS > 0 {
                regs.l0 = *regs.slot::<A>();
            }
            if PINS > 1 {
                regs.l1 = *regs.slot::<D>();
            }
            regs.next::<3>()
        }
    }
}

/// Leaves the function: reads the header at the slot that the field `AT` names.
#[inline(always)]
unsafe fn caller<const AT: usize>(mut regs: Regs) -> Regs {
    // SAFETY: the header is in the frame; whoever made the call wrote it.
    unsafe {
        let header = regs.slot::<AT>();
        regs.pc = std::ptr::with_exposed_provenance(*header as usize);
        regs.fp = std::ptr::with_exposed_provenance_mut(*header.add(1) as usize);
    }
    regs
}

/// Returns nothing.
struct Return0;

impl Op for Return0 {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the caller left a cell to go on with.
        unsafe { caller::<A>(regs).dispatch() }
    }
}

/// Returns one value, in the frame's first slot and the accumulator.
struct Return1<V, S>(PhantomData<(V, S)>);

impl<V: Reg, S: Src> Op for Return1<V, S> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; the header is read before the result can overwrite it.
        unsafe {
            let value = S::read::<V, B>(&regs);
            let result = regs.fp;
            regs = caller::<A>(regs);
            value.store(result);
            value.set_acc(&mut regs);
            regs.dispatch()
        }
    }
}

/// Returns several values, in the frame's first slots.
struct ReturnMany;

impl Op for ReturnMany {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; the header is read before the results can overwrite it, and the
        // results stand above where they go.
        unsafe {
            let (to, from) = (regs.fp, regs.slot::<D>());
            let count = regs.u32::<B>() as usize;
            let regs = caller::<A>(regs);
            std::ptr::copy(from, to, count);
            regs.dispatch()
        }
    }
}

/// As [`ReturnMany`], with results anywhere: the slot of the first is in the third word.
struct ReturnFar;

impl Op for ReturnFar {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let (to, from) = (regs.fp, regs.far_slot::<16>());
            let count = regs.u32::<B>() as usize;
            let regs = caller::<A>(regs);
            std::ptr::copy(from, to, count);
            regs.dispatch()
        }
    }
}

/// `unreachable`
struct Unreachable;

impl Op for Unreachable {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: nothing is needed.
        unsafe { regs.trap(TrapCode::Unreachable) }
    }
}

/// `d = a`, which must not be null.
struct AsNonNull<S, T>(PhantomData<(S, T)>);

impl<S: Src, T: Dst> Op for AsNonNull<S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let reference = S::read::<Slot, A>(&regs);
            if reference == 0 {
                return regs.trap(TrapCode::NullReference);
            }
            T::write(&mut regs, reference);
            regs.next::<2>()
        }
    }
}

struct AsNonNullOf<S>(PhantomData<S>);

impl<S: Src> ByDest for AsNonNullOf<S> {
    type Result = Slot;
    type To<T: Dst> = AsNonNull<S, T>;
}

struct PickAsNonNull;

impl WithSrc for PickAsNonNull {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        family::<AsNonNullOf<S>>()
    }
}

/// The handlers of `ref.as_non_null` with a source of class `a`.
pub(crate) fn non_null_family(a: Class) -> &'static Family {
    Slot::pick_a(a, PickAsNonNull)
}

/// Byte of the first value of a selection.
const IF_TRUE: usize = 16;
/// Byte of the second value of a selection.
const IF_FALSE: usize = 20;

/// `d = if a != 0 { v } else { w }`, on whole slots.
struct SelectOp<C, V, W, T>(PhantomData<(C, V, W, T)>);

impl<C: Src, V: Src, W: Src, T: Dst> Op for SelectOp<C, V, W, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let condition = C::read::<i32, A>(&regs) != 0;
            let (v, w) = (
                V::read::<Slot, IF_TRUE>(&regs),
                W::read::<Slot, IF_FALSE>(&regs),
            );
            T::write(&mut regs, std::hint::select_unpredictable(condition, v, w));
            regs.next::<3>()
        }
    }
}

struct SelectOf<C, V, W>(PhantomData<(C, V, W)>);

impl<C: Src, V: Src, W: Src> ByDest for SelectOf<C, V, W> {
    type Result = Slot;
    type To<T: Dst> = SelectOp<C, V, W, T>;
}

struct PickSelect(Class, Class);
struct PickSelectTrue<C>(Class, PhantomData<C>);
struct PickSelectFalse<C, V>(PhantomData<(C, V)>);

impl WithSrc for PickSelect {
    type Out = &'static Family;
    fn with<C: Src>(self) -> &'static Family {
        Slot::pick_b(self.0, PickSelectTrue::<C>(self.1, PhantomData))
    }
}

impl<C: Src> WithSrc for PickSelectTrue<C> {
    type Out = &'static Family;
    fn with<V: Src>(self) -> &'static Family {
        Slot::pick_b(self.0, PickSelectFalse::<C, V>(PhantomData))
    }
}

impl<C: Src, V: Src> WithSrc for PickSelectFalse<C, V> {
    type Out = &'static Family;
    fn with<W: Src>(self) -> &'static Family {
        family::<SelectOf<C, V, W>>()
    }
}

/// The handlers of a selection by a condition of class `c` between values of the classes `v` and `w`.
pub(crate) fn select_family(c: Class, v: Class, w: Class) -> &'static Family {
    Slot::pick_a(c, PickSelect(v, w))
}

/// `d = if a != 0 { v } else { w }`, on vectors.
struct SelectVectorOp<C, V, W, T>(PhantomData<(C, V, W, T)>);

impl<C: Src, V: Src, W: Src, T: Dst> Op for SelectVectorOp<C, V, W, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let condition = C::read::<i32, A>(&regs) != 0;
            let (v, w) = (
                V::read::<Wide, IF_TRUE>(&regs),
                W::read::<Wide, IF_FALSE>(&regs),
            );
            T::write(&mut regs, if condition { v } else { w });
            regs.next::<3>()
        }
    }
}

struct SelectVectorOf<C, V, W>(PhantomData<(C, V, W)>);

impl<C: Src, V: Src, W: Src> ByDest for SelectVectorOf<C, V, W> {
    type Result = Wide;
    type To<T: Dst> = SelectVectorOp<C, V, W, T>;
}

struct PickSelectVector(Class, Class);
struct PickVectorTrue<C>(Class, PhantomData<C>);
struct PickVectorFalse<C, V>(PhantomData<(C, V)>);

impl WithSrc for PickSelectVector {
    type Out = &'static Family;
    fn with<C: Src>(self) -> &'static Family {
        Wide::pick_a(self.0, PickVectorTrue::<C>(self.1, PhantomData))
    }
}

impl<C: Src> WithSrc for PickVectorTrue<C> {
    type Out = &'static Family;
    fn with<V: Src>(self) -> &'static Family {
        Wide::pick_a(self.0, PickVectorFalse::<C, V>(PhantomData))
    }
}

impl<C: Src, V: Src> WithSrc for PickVectorFalse<C, V> {
    type Out = &'static Family;
    fn with<W: Src>(self) -> &'static Family {
        family::<SelectVectorOf<C, V, W>>()
    }
}

/// As [`select_family`], for vectors.
pub(crate) fn select_vector_family(c: Class, v: Class, w: Class) -> &'static Family {
    u32::pick_a(c, PickSelectVector(v, w))
}

struct PickTable;

impl WithSrc for PickTable {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<BranchTable<S>>
    }
}

/// The handler of a `br_table` with an index of class `a`.
pub(crate) fn table_handler(a: Class) -> Handler {
    u32::pick_a(a, PickTable)
}

struct PickReturn<V>(PhantomData<V>);

impl<V: Reg> WithSrc for PickReturn<V> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<Return1<V, S>>
    }
}

/// The handler that returns one value of class `class`.
pub(crate) fn return_handler(bank: Bank, class: Class) -> Handler {
    match bank {
        Bank::Int => Slot::pick_b(class, PickReturn::<Slot>(PhantomData)),
        Bank::F32 => f32::pick_b(class, PickReturn::<f32>(PhantomData)),
        Bank::F64 => f64::pick_b(class, PickReturn::<f64>(PhantomData)),
        Bank::V128 => Wide::pick_b(class, PickReturn::<Wide>(PhantomData)),
    }
}

/// The handler that returns nothing.
pub(crate) const RETURN_NOTHING: Handler = exec::<Return0>;
/// The handler that returns several values.
pub(crate) const RETURN_MANY: Handler = exec::<ReturnMany>;
/// The handler that returns several values from anywhere.
pub(crate) const RETURN_FAR: Handler = exec::<ReturnFar>;
/// The handler of `unreachable`.
pub(crate) const UNREACHABLE: Handler = exec::<Unreachable>;
/// The handler of a jump: forward, to a loop's header, to the innermost loop's.
pub(crate) const JUMP: [Handler; 3] = [
    exec::<Jump<Forward>>,
    exec::<Jump<Back>>,
    exec::<Jump<BackToHead>>,
];

/// The handler of a loop's entry.
pub(crate) fn loop_entry(head: bool, pins: usize) -> Handler {
    match (head, pins) {
        (false, 0) => exec::<LoopEntry<false, 0>>,
        (false, 1) => exec::<LoopEntry<false, 1>>,
        (false, _) => exec::<LoopEntry<false, 2>>,
        (true, 0) => exec::<LoopEntry<true, 0>>,
        (true, 1) => exec::<LoopEntry<true, 1>>,
        (true, _) => exec::<LoopEntry<true, 2>>,
    }
}
