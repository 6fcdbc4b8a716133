//! Casts: `ref.test`, `ref.cast`, and branches on casts. What has to be looked at is a [`CastTest`]; each kind of test is a
//! handler of its own.
//!
//! A cell names the reference in its field `a`, and has one word more, in which each kind of test has what it compares
//! with: the third, or the fourth of a branch.
//!
//! * *Invariant:* a descriptor depends on the store, so a cell has where its address is in the instance.

use std::marker::PhantomData;

use tiered_decode::index::TypeIdx;
use tiered_runtime::TrapCode;
use tiered_runtime::code::FuncRecord;
use tiered_runtime::frame::Slot;
use tiered_runtime::gc::{self, CastTest, DESCRIPTOR, Descriptor, SHORT_DISPLAY, What};
use tiered_runtime::module_code::ModuleCode;
use tiered_runtime::vmctx::VmCtx;

use super::place;
use crate::control::{Back, BackToHead, Forward, Target};
use crate::numeric::ConditionFamily;
use crate::operand::{A, ByDest, Class, Dst, Family, Reg, Src, WithSrc, family};
use crate::regs::{Ended, Handler, Op, Regs, exec, keep_apart};

/// A kind of test.
trait Test: 'static {
    /// Whether the reference, which is not null, passes; `word` is the cell's.
    ///
    /// # Safety
    /// The reference is one that the test was made for, and the cell has this kind of word.
    unsafe fn passes(regs: &Regs, reference: Slot, word: u64) -> bool;
}

/// All references, or none: the word is 1, or 0.
struct Any;
/// `i31`; nothing is in the word.
struct I31;
/// Objects of some kinds, whose bits are in the word; bit [`I31_BIT`] is for `i31`.
struct Kinds;
/// Objects of the very type whose descriptor's place is in the word.
struct Final;
/// Objects of that type or a subtype: the upper half of the word is where the display of their own descriptor has it.
struct Shallow;
/// As [`Shallow`], for types that not all displays have a place for.
struct Deep;
/// Functions of the type whose number is in the word, or of a subtype of it; the upper half is the type's index.
struct Func;

const I31_BIT: u32 = 8;

/// The descriptor of the object at `reference`.
///
/// # Safety
/// It is an object.
#[inline(always)]
unsafe fn descriptor(reference: Slot) -> *const Descriptor {
    // SAFETY: objects begin with their descriptor's address.
    unsafe { *place(reference, DESCRIPTOR).cast::<*const Descriptor>() }
}

/// The descriptor whose address is at the offset in the lower half of `word`.
///
/// # Safety
/// The translator wrote the word for the instance's module.
#[inline(always)]
unsafe fn wanted(regs: &Regs, word: u64) -> *const Descriptor {
    // SAFETY: the instance has the address there.
    unsafe { *regs.instance().byte_add(word as u32 as usize).cast() }
}

impl Test for Any {
    #[inline(always)]
    unsafe fn passes(_: &Regs, _: Slot, word: u64) -> bool {
        word != 0
    }
}

impl Test for I31 {
    #[inline(always)]
    unsafe fn passes(_: &Regs, reference: Slot, _: u64) -> bool {
        reference & 1 != 0
    }
}

impl Test for Kinds {
    #[inline(always)]
    unsafe fn passes(_: &Regs, reference: Slot, word: u64) -> bool {
        if reference & 1 != 0 {
            return word >> I31_BIT & 1 != 0;
        }
        // SAFETY: what is no `i31` is an object; descriptors live as long as the store.
        let kind = unsafe {
            *descriptor(reference)
                .byte_add(Descriptor::KIND)
                .cast::<u8>()
        };
        word >> kind & 1 != 0
    }
}

impl Test for Final {
    #[inline(always)]
    unsafe fn passes(regs: &Regs, reference: Slot, word: u64) -> bool {
        // SAFETY: as above, and by the caller's promise.
        reference & 1 == 0 && unsafe { descriptor(reference) == wanted(regs, word) }
    }
}

impl Test for Shallow {
    #[inline(always)]
    unsafe fn passes(regs: &Regs, reference: Slot, word: u64) -> bool {
        if reference & 1 != 0 {
            return false;
        }
        // SAFETY: as above; all displays have that place.
        unsafe {
            let above = descriptor(reference).byte_add((word >> 32) as usize);
            *above.cast::<*const Descriptor>() == wanted(regs, word)
        }
    }
}

impl Test for Deep {
    #[inline(always)]
    unsafe fn passes(regs: &Regs, reference: Slot, word: u64) -> bool {
        if reference & 1 != 0 {
            return false;
        }
        let not_null = |descriptor: *const Descriptor| {
            // SAFETY: as above; no descriptor is at address zero.
            unsafe { std::ptr::NonNull::new_unchecked(descriptor.cast_mut()) }
        };
        // SAFETY: as above.
        unsafe {
            let (own, wanted) = (descriptor(reference), wanted(regs, word));
            Descriptor::is_subtype(not_null(own), not_null(wanted))
        }
    }
}

impl Test for Func {
    #[inline(always)]
    unsafe fn passes(regs: &Regs, reference: Slot, word: u64) -> bool {
        let record = place(reference, 0).cast_const().cast::<FuncRecord>();
        // SAFETY: references to functions are addresses of records, filled in.
        unsafe {
            (*record).sig().number() == word as u32
                || is_subtype(regs.instance(), reference, (word >> 32) as u32)
        }
    }
}

/// # Safety
/// The reference is to a function; `ty` is an index of a type of the instance's module.
#[cold]
#[inline(never)]
unsafe fn is_subtype(instance: *const VmCtx, reference: Slot, ty: u32) -> bool {
    // SAFETY: the registers have the address of the instance whose code runs; the caller's promise.
    unsafe { gc::func_matches(VmCtx::borrow(instance), reference, TypeIdx(ty)) }
}

/// Whether a reference passes, which may be null: then it is as `NULL` says.
#[inline(always)]
unsafe fn holds<C: Test, const NULL: bool>(regs: &Regs, reference: Slot, word: u64) -> bool {
    if reference == 0 {
        return NULL;
    }
    // SAFETY: the caller's promise.
    unsafe { C::passes(regs, reference, word) }
}

/// What of a test is asked for.
trait Sense: 'static {
    /// Whether the test is to pass.
    const PASSES: bool;
    type Not: Sense;
}

struct Passes;
struct Fails;

impl Sense for Passes {
    const PASSES: bool = true;
    type Not = Fails;
}

impl Sense for Fails {
    const PASSES: bool = false;
    type Not = Passes;
}

/// `d = a passes`, or does not.
struct TestOp<C, const NULL: bool, I, S, T>(PhantomData<(C, I, S, T)>);

impl<C: Test, const NULL: bool, I: Sense, S: Src, T: Dst> Op for TestOp<C, NULL, I, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let reference = S::read::<Slot, A>(&regs);
            let passes = holds::<C, NULL>(&regs, reference, regs.word::<2>());
            T::write(&mut regs, i32::from(passes == I::PASSES));
            regs.next::<3>()
        }
    }
}

struct TestOf<C, const NULL: bool, I, S>(PhantomData<(C, I, S)>);

impl<C: Test, const NULL: bool, I: Sense, S: Src> ByDest for TestOf<C, NULL, I, S> {
    type Result = i32;
    type To<T: Dst> = TestOp<C, NULL, I, S, T>;
}

/// Branches if `a` passes, or does not.
struct Branch<C, const NULL: bool, I, S, T>(PhantomData<(C, I, S, T)>);

impl<C: Test, const NULL: bool, I: Sense, S: Src, T: Target> Op for Branch<C, NULL, I, S, T> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let reference = S::read::<Slot, A>(&regs);
            let passes = holds::<C, NULL>(&regs, reference, regs.word::<3>());
            if passes == I::PASSES {
                keep_apart();
                T::go::<2>(regs)
            } else {
                regs.next::<4>()
            }
        }
    }
}

/// `d = a`, which must pass.
struct CastOp<C, const NULL: bool, S, T>(PhantomData<(C, S, T)>);

impl<C: Test, const NULL: bool, S: Src, T: Dst> Op for CastOp<C, NULL, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let reference = S::read::<Slot, A>(&regs);
            if !holds::<C, NULL>(&regs, reference, regs.word::<2>()) {
                return regs.trap(TrapCode::CastFailure);
            }
            T::write(&mut regs, reference);
            regs.next::<3>()
        }
    }
}

struct CastOf<C, const NULL: bool, S>(PhantomData<(C, S)>);

impl<C: Test, const NULL: bool, S: Src> ByDest for CastOf<C, NULL, S> {
    type Result = Slot;
    type To<T: Dst> = CastOp<C, NULL, S, T>;
}

fn test_family<C: Test, const NULL: bool, I: Sense, S: Src>() -> &'static ConditionFamily {
    const {
        &ConditionFamily {
            value: family::<TestOf<C, NULL, I, S>>(),
            branch: [
                exec::<Branch<C, NULL, I, S, Forward>> as Handler,
                exec::<Branch<C, NULL, I, S, Back>> as Handler,
                exec::<Branch<C, NULL, I, S, BackToHead>> as Handler,
            ],
            not: test_family::<C, NULL, I::Not, S>,
        }
    }
}

/// The handlers of a test with a given source.
pub(crate) struct CastFamily {
    /// As a condition: `ref.test`, and branches.
    pub(crate) test: &'static ConditionFamily,
    /// `ref.cast`.
    pub(crate) cast: &'static Family,
    /// The word more that each cell has.
    pub(crate) word: u64,
}

struct Pick<C, const NULL: bool>(u64, PhantomData<C>);

impl<C: Test, const NULL: bool> WithSrc for Pick<C, NULL> {
    type Out = CastFamily;
    fn with<S: Src>(self) -> CastFamily {
        CastFamily {
            test: test_family::<C, NULL, Passes, S>(),
            cast: family::<CastOf<C, NULL, S>>(),
            word: self.0,
        }
    }
}

fn pick<C: Test>(null: bool, word: u64, a: Class) -> CastFamily {
    match null {
        true => Slot::pick_a(a, Pick::<C, true>(word, PhantomData)),
        false => Slot::pick_a(a, Pick::<C, false>(word, PhantomData)),
    }
}

/// The handlers of `test` with a reference of class `a`.
pub(crate) fn handlers(code: &ModuleCode, test: &CastTest, a: Class) -> CastFamily {
    let place = |ty: TypeIdx| {
        let at = code.layout().descriptor(ty);
        u64::from(at.cast_unsigned())
    };
    let null = test.null;
    match test.what {
        What::Always => pick::<Any>(null, 1, a),
        What::Never => pick::<Any>(null, 0, a),
        What::I31 => pick::<I31>(null, 0, a),
        What::Kinds { i31, kinds } => {
            let word = u64::from(i31) << I31_BIT | u64::from(kinds.bits());
            pick::<Kinds>(null, word, a)
        }
        What::Final { ty } => pick::<Final>(null, place(ty), a),
        What::Depth { ty, depth } if (depth as usize) < SHORT_DISPLAY => {
            let at = Descriptor::DISPLAY + size_of::<*const Descriptor>() * depth as usize;
            pick::<Shallow>(null, place(ty) | (at as u64) << 32, a)
        }
        What::Depth { ty, .. } => pick::<Deep>(null, place(ty), a),
        What::Func { ty, .. } => {
            let id = code.type_id(ty).number();
            pick::<Func>(null, u64::from(id) | u64::from(ty.0) << 32, a)
        }
    }
}
