//! Numeric instructions: one generic handler for all unary ones, one for all binary ones, one for all comparisons.
//!
//! What an instruction computes is its row in `tiered_decode::numeric`; here is only where operands come from.
//!
//! *Invariant:* a NaN has the bits that the row says: those of the first operand that is one.
//!
//! # Why float arithmetic is written for the machine
//! SSE keeps the first operand's NaN, as the row does, so the row's tests would be for nothing. But the compiler takes
//! the operands of an addition or a multiplication in any order ([`arithmetic`]): in assembly they have one. That costs
//! a load of its own where the second operand is in a slot; testing for NaNs would cost two instructions everywhere.

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod arithmetic;

use std::marker::PhantomData;

use tiered_decode::numeric::{Binary, NumOp, NumericTrap, Unary, ops};

use crate::control::{Back, BackToHead, Branch, Forward};
use crate::operand::{A, B, ByDest, Class, Dst, Family, Reg, Src, WithSrc, family};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// `d = op a`
struct UnaryOp<O, S, T>(PhantomData<(O, S, T)>);

impl<O: Unary<A: Reg, R: Reg>, S: Src, T: Dst> Op for UnaryOp<O, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            match O::eval(S::read::<O::A, A>(&regs)) {
                Ok(value) => {
                    T::write(&mut regs, value);
                    regs.next::<2>()
                }
                Err(trap) => regs.trap(trap.into()),
            }
        }
    }
}

struct UnaryOf<O, S>(PhantomData<(O, S)>);

impl<O: Unary<A: Reg, R: Reg> + 'static, S: Src> ByDest for UnaryOf<O, S> {
    type Result = O::R;
    type To<T: Dst> = UnaryOp<O, S, T>;
}

/// The row's result.
#[inline(always)]
fn evaluate<O: Binary>(a: O::A, b: O::B) -> Result<O::R, NumericTrap> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if let Some(result) = arithmetic::evaluate::<O>(a, b) {
        return Ok(result);
    }
    O::eval(a, b)
}

/// `d = a op b`
struct BinaryOp<O, L, R, T>(PhantomData<(O, L, R, T)>);

impl<O: Binary<A: Reg, B: Reg, R: Reg>, L: Src, R: Src, T: Dst> Op for BinaryOp<O, L, R, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            match evaluate::<O>(L::read::<O::A, A>(&regs), R::read::<O::B, B>(&regs)) {
                Ok(value) => {
                    T::write(&mut regs, value);
                    R::next(regs)
                }
                Err(trap) => regs.trap(trap.into()),
            }
        }
    }
}

struct BinaryOf<O, L, R>(PhantomData<(O, L, R)>);

impl<O: Binary<A: Reg, B: Reg, R: Reg> + 'static, L: Src, R: Src> ByDest for BinaryOf<O, L, R> {
    type Result = O::R;
    type To<T: Dst> = BinaryOp<O, L, R, T>;
}

/// Something with two operands that is true or false: a comparison, or a bit test.
pub(crate) trait Condition: 'static {
    type A: Reg;
    type B: Reg;
    /// The operands may be exchanged.
    const COMMUTES: bool;
    /// True when this is false.
    type Not: Condition<A = Self::A, B = Self::B>;
    /// The instruction's own result.
    fn value(a: Self::A, b: Self::B) -> i32;
    fn holds(a: Self::A, b: Self::B) -> bool;
}

/// `d = condition(a, b)`
struct ConditionOp<C, L, R, T>(PhantomData<(C, L, R, T)>);

impl<C: Condition, L: Src, R: Src, T: Dst> Op for ConditionOp<C, L, R, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let value = C::value(L::read::<C::A, A>(&regs), R::read::<C::B, B>(&regs));
            T::write(&mut regs, value);
            regs.next::<2>()
        }
    }
}

struct ConditionOf<C, L, R>(PhantomData<(C, L, R)>);

impl<C: Condition, L: Src, R: Src> ByDest for ConditionOf<C, L, R> {
    type Result = i32;
    type To<T: Dst> = ConditionOp<C, L, R, T>;
}

/// The handlers of a condition with given sources.
pub(crate) struct ConditionFamily {
    /// As an instruction with a result.
    pub(crate) value: &'static Family,
    /// As a branch that is taken if the condition holds: forward, to a loop's header, to the innermost loop's.
    pub(crate) branch: [Handler; 3],
    /// The opposite condition.
    pub(crate) not: fn() -> &'static ConditionFamily,
}

fn condition_family<C: Condition, L: Src, R: Src>() -> &'static ConditionFamily {
    const {
        &ConditionFamily {
            value: family::<ConditionOf<C, L, R>>(),
            branch: [
                exec::<Branch<C, L, R, Forward>> as Handler,
                exec::<Branch<C, L, R, Back>> as Handler,
                exec::<Branch<C, L, R, BackToHead>> as Handler,
            ],
            not: condition_family::<C::Not, L, R>,
        }
    }
}

/// The opposite of a condition that has no opposite instruction.
pub(crate) struct Negated<C>(PhantomData<C>);

impl<C: Condition> Condition for Negated<C> {
    const COMMUTES: bool = C::COMMUTES;
    type A = C::A;
    type B = C::B;
    type Not = Truth<C>;
    #[inline(always)]
    fn value(a: C::A, b: C::B) -> i32 {
        i32::from(!C::holds(a, b))
    }
    #[inline(always)]
    fn holds(a: C::A, b: C::B) -> bool {
        !C::holds(a, b)
    }
}

/// Whether a condition holds, where the instruction's own result may be something else than 0 or 1.
pub(crate) struct Truth<C>(PhantomData<C>);

impl<C: Condition> Condition for Truth<C> {
    const COMMUTES: bool = C::COMMUTES;
    type A = C::A;
    type B = C::B;
    type Not = Negated<C>;
    #[inline(always)]
    fn value(a: C::A, b: C::B) -> i32 {
        i32::from(C::holds(a, b))
    }
    #[inline(always)]
    fn holds(a: C::A, b: C::B) -> bool {
        C::holds(a, b)
    }
}

/// The operands of a binary instruction of integers may be exchanged.
pub(crate) const fn commutes(op: NumOp) -> bool {
    use NumOp as N;
    matches!(
        op,
        N::I32Add
            | N::I32Mul
            | N::I32And
            | N::I32Or
            | N::I32Xor
            | N::I32Eq
            | N::I32Ne
            | N::I64Add
            | N::I64Mul
            | N::I64And
            | N::I64Or
            | N::I64Xor
            | N::I64Eq
            | N::I64Ne
    )
}

macro_rules! conditions {
    ($($name:ident not $not:ty;)*) => {
        $(
            impl Condition for ops::$name {
                const COMMUTES: bool = commutes(<ops::$name as Binary>::OP);
                type A = <ops::$name as Binary>::A;
                type B = <ops::$name as Binary>::B;
                type Not = $not;
                #[inline(always)]
                fn value(a: Self::A, b: Self::B) -> i32 {
                    <ops::$name as Binary>::eval(a, b).map_or(0, |value| value as i32)
                }
                #[inline(always)]
                fn holds(a: Self::A, b: Self::B) -> bool {
                    Self::value(a, b) != 0
                }
            }
        )*

        /// Calls `k` with a condition.
        pub(crate) fn condition(op: NumOp, k: impl WithCondition) {
            match op {
                $(NumOp::$name => k.with::<ops::$name>(),)*
                _ => unreachable!("no condition"),
            }
        }

        /// The instruction is a condition.
        pub(crate) const fn is_condition(op: NumOp) -> bool {
            matches!(op, $(NumOp::$name)|*)
        }
    };
}

/// What to do with an instruction once it is a type.
pub(crate) trait WithCondition {
    fn with<C: Condition>(self);
}

conditions! {
    I32Eq not ops::I32Ne;   I32Ne not ops::I32Eq;
    I32LtS not ops::I32GeS; I32GeS not ops::I32LtS;
    I32LtU not ops::I32GeU; I32GeU not ops::I32LtU;
    I32GtS not ops::I32LeS; I32LeS not ops::I32GtS;
    I32GtU not ops::I32LeU; I32LeU not ops::I32GtU;
    I64Eq not ops::I64Ne;   I64Ne not ops::I64Eq;
    I64LtS not ops::I64GeS; I64GeS not ops::I64LtS;
    I64LtU not ops::I64GeU; I64GeU not ops::I64LtU;
    I64GtS not ops::I64LeS; I64LeS not ops::I64GtS;
    I64GtU not ops::I64LeU; I64LeU not ops::I64GtU;
    F32Eq not ops::F32Ne;   F32Ne not ops::F32Eq;
    F32Lt not Negated<ops::F32Lt>; F32Gt not Negated<ops::F32Gt>;
    F32Le not Negated<ops::F32Le>; F32Ge not Negated<ops::F32Ge>;
    F64Eq not ops::F64Ne;   F64Ne not ops::F64Eq;
    F64Lt not Negated<ops::F64Lt>; F64Gt not Negated<ops::F64Gt>;
    F64Le not Negated<ops::F64Le>; F64Ge not Negated<ops::F64Ge>;
    I32And not Negated<ops::I32And>;
}

struct PickUnary<O>(PhantomData<O>);

impl<O: Unary<A: Reg, R: Reg> + 'static> WithSrc for PickUnary<O> {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        family::<UnaryOf<O, S>>()
    }
}

/// The handlers of a unary instruction with a source of class `a`.
pub(crate) fn unary_family<O: Unary<A: Reg, R: Reg> + 'static>(a: Class) -> &'static Family {
    O::A::pick_a(a, PickUnary::<O>(PhantomData))
}

struct PickLeft<O>(Class, PhantomData<O>);
struct PickRight<O, L>(PhantomData<(O, L)>);

impl<O: Binary<A: Reg, B: Reg, R: Reg> + 'static> WithSrc for PickLeft<O> {
    type Out = &'static Family;
    fn with<L: Src>(self) -> &'static Family {
        O::B::pick_any(self.0, PickRight::<O, L>(PhantomData))
    }
}

impl<O: Binary<A: Reg, B: Reg, R: Reg> + 'static, L: Src> WithSrc for PickRight<O, L> {
    type Out = &'static Family;
    fn with<R: Src>(self) -> &'static Family {
        family::<BinaryOf<O, L, R>>()
    }
}

/// The handlers of a binary instruction with sources of the classes `a` and `b`.
pub(crate) fn binary_family<O: Binary<A: Reg, B: Reg, R: Reg> + 'static>(
    a: Class,
    b: Class,
) -> &'static Family {
    O::A::pick_a(a, PickLeft::<O>(b, PhantomData))
}

struct PickConditionLeft<C>(Class, PhantomData<C>);
struct PickConditionRight<C, L>(PhantomData<(C, L)>);

impl<C: Condition> WithSrc for PickConditionLeft<C> {
    type Out = &'static ConditionFamily;
    fn with<L: Src>(self) -> &'static ConditionFamily {
        C::B::pick_b(self.0, PickConditionRight::<C, L>(PhantomData))
    }
}

impl<C: Condition, L: Src> WithSrc for PickConditionRight<C, L> {
    type Out = &'static ConditionFamily;
    fn with<R: Src>(self) -> &'static ConditionFamily {
        condition_family::<C, L, R>()
    }
}

/// The handlers of a condition with sources of the classes `a` and `b`.
pub(crate) fn condition_handlers<C: Condition>(a: Class, b: Class) -> &'static ConditionFamily {
    C::A::pick_a(a, PickConditionLeft::<C>(b, PhantomData))
}
