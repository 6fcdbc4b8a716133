//! Vector instructions without access to memory: a generic handler for each number and kind of operands.
//!
//! What an instruction computes is its row in `tiered_decode::vector`; here is only where operands come from.
//!
//! *Invariant:* a vector goes between slots and registers in one piece.
//! *Invariant:* whatever the [`Machine`], the bits are those that the row gives.

mod access;
mod intrinsics;
mod machine;

use std::marker::PhantomData;

use tiered_decode::memory::MemoryInt;
use tiered_decode::vector::{
    V128, VecBinary, VecExtract, VecOp, VecReplace, VecShift, VecSplat, VecTernary, VecTest,
    VecUnary, shuffle,
};
use tiered_runtime::wide::Wide;

use crate::operand::{A, B, ByDest, Class, Dst, Family, Reg, Src, WithSrc};
use crate::regs::{Ended, Op, Regs};

pub(crate) use access::{
    const_family, load_family, load_lane_family, store_handler, store_lane_handler,
};
use machine::{Baseline, Fma, Level, Machine, Sse41, vector_family};

/// The vector as lanes.
#[inline(always)]
pub(crate) fn lanes<L: MemoryInt<Bytes = [u8; 16]>>(vector: Wide) -> L {
    L::from_bytes(vector.bytes())
}

/// The lanes as a vector.
#[inline(always)]
pub(crate) fn wide<L: MemoryInt<Bytes = [u8; 16]>>(lanes: L) -> Wide {
    Wide::from_bytes(lanes.to_bytes())
}

/// An instruction with one operand.
trait One: 'static {
    type A: Reg;
    type R: Reg;
    type M: Machine;
    fn eval(a: Self::A) -> Self::R;
}

/// An instruction with a vector and another operand.
trait Two: 'static {
    type B: Reg;
    type M: Machine;
    fn eval(a: Wide, b: Self::B) -> Wide;
}

/// An instruction of a table's row `O`, on the machine `M`.
struct Row<O, M>(PhantomData<(O, M)>);
/// As [`Row`]: the group of a row is part of its type, so that each has an implementation of its own.
struct TestRow<O, M>(PhantomData<(O, M)>);
struct SplatRow<O, M>(PhantomData<(O, M)>);
struct ShiftRow<O, M>(PhantomData<(O, M)>);

impl<O: VecUnary + 'static, M: Machine> One for Row<O, M> {
    type A = Wide;
    type R = Wide;
    type M = M;
    #[inline(always)]
    fn eval(a: Wide) -> Wide {
        match M::unary(O::OP, O::IS_NATIVE, a) {
            Some(value) => value,
            None => wide(O::eval(lanes(a))),
        }
    }
}

impl<O: VecTest + 'static, M: Machine> One for TestRow<O, M> {
    type A = Wide;
    type R = i32;
    type M = M;
    #[inline(always)]
    fn eval(a: Wide) -> i32 {
        match M::test(O::OP, a) {
            Some(value) => value,
            None => O::eval(lanes(a)),
        }
    }
}

impl<O: VecSplat<X: Reg> + 'static, M: Machine> One for SplatRow<O, M> {
    type A = O::X;
    type R = Wide;
    type M = M;
    #[inline(always)]
    fn eval(x: O::X) -> Wide {
        wide(O::eval(x))
    }
}

impl<O: VecBinary + 'static, M: Machine> Two for Row<O, M> {
    type B = Wide;
    type M = M;
    #[inline(always)]
    fn eval(a: Wide, b: Wide) -> Wide {
        match M::binary(O::OP, O::IS_NATIVE, a, b) {
            Some(value) => value,
            None => wide(O::eval(lanes(a), lanes(b))),
        }
    }
}

impl<O: VecShift + 'static, M: Machine> Two for ShiftRow<O, M> {
    type B = u32;
    type M = M;
    #[inline(always)]
    fn eval(a: Wide, n: u32) -> Wide {
        wide(O::eval(lanes(a), n))
    }
}

/// `d = op a`
struct OneOp<O, S, T>(PhantomData<(O, S, T)>);

impl<O: One, S: Src, T: Dst> Op for OneOp<O, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let value = O::eval(S::read::<O::A, A>(&regs));
            T::write(&mut regs, value);
            regs.next::<2>()
        }
    }
}

struct OneOf<O, S>(PhantomData<(O, S)>);

impl<O: One, S: Src> ByDest for OneOf<O, S> {
    type Result = O::R;
    type To<T: Dst> = OneOp<O, S, T>;
}

struct PickOne<O>(PhantomData<O>);

impl<O: One> WithSrc for PickOne<O> {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        vector_family::<OneOf<O, S>, O::M>()
    }
}

fn one<O: One>(a: Class) -> &'static Family {
    O::A::pick_a(a, PickOne::<O>(PhantomData))
}

/// `d = a op b`
struct TwoOp<O, L, R, T>(PhantomData<(O, L, R, T)>);

impl<O: Two, L: Src, R: Src, T: Dst> Op for TwoOp<O, L, R, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let value = O::eval(L::read::<Wide, A>(&regs), R::read::<O::B, B>(&regs));
            T::write(&mut regs, value);
            regs.next::<2>()
        }
    }
}

struct TwoOf<O, L, R>(PhantomData<(O, L, R)>);

impl<O: Two, L: Src, R: Src> ByDest for TwoOf<O, L, R> {
    type Result = Wide;
    type To<T: Dst> = TwoOp<O, L, R, T>;
}

struct PickLeft<O>(Class, PhantomData<O>);
struct PickRight<O, L>(PhantomData<(O, L)>);

impl<O: Two> WithSrc for PickLeft<O> {
    type Out = &'static Family;
    fn with<L: Src>(self) -> &'static Family {
        O::B::pick_b(self.0, PickRight::<O, L>(PhantomData))
    }
}

impl<O: Two, L: Src> WithSrc for PickRight<O, L> {
    type Out = &'static Family;
    fn with<R: Src>(self) -> &'static Family {
        vector_family::<TwoOf<O, L, R>, O::M>()
    }
}

fn two<O: Two>(a: Class, b: Class) -> &'static Family {
    Wide::pick_a(a, PickLeft::<O>(b, PhantomData))
}

/// Byte of the field `c`: a slot, in the third word of a cell.
const C: usize = 16;

/// `d = op a b c`
struct ThreeOp<O, M, X, Y, Z, T>(PhantomData<(O, M, X, Y, Z, T)>);

impl<O: VecTernary, M, X: Src, Y: Src, Z: Src, T: Dst> Op for ThreeOp<O, M, X, Y, Z, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let a = X::read::<Wide, A>(&regs);
            let b = Y::read::<Wide, B>(&regs);
            let c = Z::read::<Wide, C>(&regs);
            T::write(&mut regs, wide(O::eval(lanes(a), lanes(b), lanes(c))));
            regs.next::<3>()
        }
    }
}

struct ThreeOf<O, M, X, Y, Z>(PhantomData<(O, M, X, Y, Z)>);

impl<O, M, X, Y, Z> ByDest for ThreeOf<O, M, X, Y, Z>
where
    O: VecTernary + 'static,
    M: Machine,
    X: Src,
    Y: Src,
    Z: Src,
{
    type Result = Wide;
    type To<T: Dst> = ThreeOp<O, M, X, Y, Z, T>;
}

struct PickFirst<O, M>(Class, Class, PhantomData<(O, M)>);
struct PickSecond<O, M, X>(Class, PhantomData<(O, M, X)>);
struct PickThird<O, M, X, Y>(PhantomData<(O, M, X, Y)>);

impl<O: VecTernary + 'static, M: Machine> WithSrc for PickFirst<O, M> {
    type Out = &'static Family;
    fn with<X: Src>(self) -> &'static Family {
        Wide::pick_a(self.0, PickSecond::<O, M, X>(self.1, PhantomData))
    }
}

impl<O: VecTernary + 'static, M: Machine, X: Src> WithSrc for PickSecond<O, M, X> {
    type Out = &'static Family;
    fn with<Y: Src>(self) -> &'static Family {
        Wide::pick_a(self.0, PickThird::<O, M, X, Y>(PhantomData))
    }
}

impl<O: VecTernary + 'static, M: Machine, X: Src, Y: Src> WithSrc for PickThird<O, M, X, Y> {
    type Out = &'static Family;
    fn with<Z: Src>(self) -> &'static Family {
        vector_family::<ThreeOf<O, M, X, Y, Z>, M>()
    }
}

fn three<O: VecTernary + 'static, M: Machine>(classes: [Class; 3]) -> &'static Family {
    let [a, b, c] = classes;
    Wide::pick_a(a, PickFirst::<O, M>(b, c, PhantomData))
}

/// `d = lane of a`, which the field `b` names.
struct ExtractOp<O, S, T>(PhantomData<(O, S, T)>);

impl<O: VecExtract<R: Reg>, S: Src, T: Dst> Op for ExtractOp<O, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let a = S::read::<Wide, A>(&regs);
            let value = O::eval(lanes(a), regs.u16::<B>() as u8);
            T::write(&mut regs, value);
            regs.next::<2>()
        }
    }
}

struct ExtractOf<O, S>(PhantomData<(O, S)>);

impl<O: VecExtract<R: Reg> + 'static, S: Src> ByDest for ExtractOf<O, S> {
    type Result = O::R;
    type To<T: Dst> = ExtractOp<O, S, T>;
}

struct PickExtract<O>(PhantomData<O>);

impl<O: VecExtract<R: Reg> + 'static> WithSrc for PickExtract<O> {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        vector_family::<ExtractOf<O, S>, Baseline>()
    }
}

/// Byte of a lane's number where the field `b` is a slot.
const LANE: usize = 14;

/// `d = a with lane = b`
struct ReplaceOp<O, L, R, T>(PhantomData<(O, L, R, T)>);

impl<O: VecReplace<X: Reg>, L: Src, R: Src, T: Dst> Op for ReplaceOp<O, L, R, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let (a, x) = (L::read::<Wide, A>(&regs), R::read::<O::X, B>(&regs));
            let value = O::eval(lanes(a), x, regs.u16::<LANE>() as u8);
            T::write(&mut regs, wide(value));
            regs.next::<2>()
        }
    }
}

struct ReplaceOf<O, L, R>(PhantomData<(O, L, R)>);

impl<O: VecReplace<X: Reg> + 'static, L: Src, R: Src> ByDest for ReplaceOf<O, L, R> {
    type Result = Wide;
    type To<T: Dst> = ReplaceOp<O, L, R, T>;
}

struct PickReplaced<O>(Class, PhantomData<O>);
struct PickReplacement<O, L>(PhantomData<(O, L)>);

impl<O: VecReplace<X: Reg> + 'static> WithSrc for PickReplaced<O> {
    type Out = &'static Family;
    fn with<L: Src>(self) -> &'static Family {
        O::X::pick_a(self.0, PickReplacement::<O, L>(PhantomData))
    }
}

impl<O: VecReplace<X: Reg> + 'static, L: Src> WithSrc for PickReplacement<O, L> {
    type Out = &'static Family;
    fn with<R: Src>(self) -> &'static Family {
        vector_family::<ReplaceOf<O, L, R>, Baseline>()
    }
}

/// `d = bytes of a and b`, which the third and fourth word name.
struct ShuffleOp<M, L, R, T>(PhantomData<(M, L, R, T)>);

impl<M: Machine, L: Src, R: Src, T: Dst> Op for ShuffleOp<M, L, R, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            let (a, b) = (L::read::<Wide, A>(&regs), R::read::<Wide, B>(&regs));
            let indices = Wide::from_slots(regs.pc.add(2));
            let value = match M::shuffle(a, b, indices) {
                Some(value) => value,
                None => wide(shuffle(V128(a.bytes()), V128(b.bytes()), indices.bytes())),
            };
            T::write(&mut regs, value);
            regs.next::<4>()
        }
    }
}

struct ShuffleOf<M, L, R>(PhantomData<(M, L, R)>);

impl<M: Machine, L: Src, R: Src> ByDest for ShuffleOf<M, L, R> {
    type Result = Wide;
    type To<T: Dst> = ShuffleOp<M, L, R, T>;
}

struct PickShuffled<M>(Class, PhantomData<M>);
struct PickShuffledWith<M, L>(PhantomData<(M, L)>);

impl<M: Machine> WithSrc for PickShuffled<M> {
    type Out = &'static Family;
    fn with<L: Src>(self) -> &'static Family {
        Wide::pick_a(self.0, PickShuffledWith::<M, L>(PhantomData))
    }
}

impl<M: Machine, L: Src> WithSrc for PickShuffledWith<M, L> {
    type Out = &'static Family;
    fn with<R: Src>(self) -> &'static Family {
        vector_family::<ShuffleOf<M, L, R>, M>()
    }
}

/// The handlers of an instruction with one vector, of class `a`.
pub(crate) fn unary_family<O: VecUnary + 'static>(a: Class) -> &'static Family {
    match machine::level() {
        Level::Baseline => one::<Row<O, Baseline>>(a),
        Level::Sse41 | Level::Fma => one::<Row<O, Sse41>>(a),
    }
}

/// The handlers of an instruction that makes an integer of a vector of class `a`.
pub(crate) fn test_family<O: VecTest + 'static>(a: Class) -> &'static Family {
    match machine::level() {
        Level::Baseline => one::<TestRow<O, Baseline>>(a),
        Level::Sse41 | Level::Fma => one::<TestRow<O, Sse41>>(a),
    }
}

/// The handlers of an instruction that makes a vector of a scalar of class `a`.
pub(crate) fn splat_family<O: VecSplat<X: Reg> + 'static>(a: Class) -> &'static Family {
    match machine::level() {
        Level::Baseline => one::<SplatRow<O, Baseline>>(a),
        Level::Sse41 | Level::Fma => one::<SplatRow<O, Sse41>>(a),
    }
}

/// The handlers of an instruction with two vectors, of the classes `a` and `b`.
pub(crate) fn binary_family<O: VecBinary + 'static>(a: Class, b: Class) -> &'static Family {
    match machine::level() {
        Level::Baseline => two::<Row<O, Baseline>>(a, b),
        Level::Sse41 | Level::Fma => two::<Row<O, Sse41>>(a, b),
    }
}

/// The handlers of a shift of a vector of class `a` by a count of class `n`.
pub(crate) fn shift_family<O: VecShift + 'static>(a: Class, n: Class) -> &'static Family {
    match machine::level() {
        Level::Baseline => two::<ShiftRow<O, Baseline>>(a, n),
        Level::Sse41 | Level::Fma => two::<ShiftRow<O, Sse41>>(a, n),
    }
}

/// The handlers of an instruction with three vectors.
///
/// # Panics
/// If a product is to be rounded once on an x86-64 processor that can't: no [`Relaxed`](tiered_decode::vector::Relaxed)
/// of such a host asks for it. A library's would be calls, behind which a handler is no jump.
pub(crate) fn ternary_family<O: VecTernary + 'static>(classes: [Class; 3]) -> &'static Family {
    if const { O::IS_NATIVE && is_product(O::OP) && cfg!(target_arch = "x86_64") } {
        assert_eq!(machine::level(), Level::Fma, "{}", O::OP);
        return three::<O, Fma>(classes);
    }
    match machine::level() {
        Level::Baseline => three::<O, Baseline>(classes),
        Level::Sse41 | Level::Fma => three::<O, Sse41>(classes),
    }
}

/// Whether the native meaning of an instruction is a product that is rounded once.
const fn is_product(op: VecOp) -> bool {
    use VecOp as V;
    matches!(
        op,
        V::F32x4RelaxedMadd | V::F32x4RelaxedNmadd | V::F64x2RelaxedMadd | V::F64x2RelaxedNmadd
    )
}

/// The handlers that take a lane out of a vector of class `a`.
pub(crate) fn extract_family<O: VecExtract<R: Reg> + 'static>(a: Class) -> &'static Family {
    Wide::pick_a(a, PickExtract::<O>(PhantomData))
}

/// The handlers that put a scalar of class `x` into a vector of class `a`.
pub(crate) fn replace_family<O: VecReplace<X: Reg> + 'static>(
    a: Class,
    x: Class,
) -> &'static Family {
    Wide::pick_a(a, PickReplaced::<O>(x, PhantomData))
}

/// The handlers of `i8x16.shuffle`.
pub(crate) fn shuffle_family(a: Class, b: Class) -> &'static Family {
    match machine::level() {
        Level::Baseline => Wide::pick_a(a, PickShuffled::<Baseline>(b, PhantomData)),
        Level::Sse41 | Level::Fma => Wide::pick_a(a, PickShuffled::<Sse41>(b, PhantomData)),
    }
}
