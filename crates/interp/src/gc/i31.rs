//! `i31`: numbers of 31 bits as references, which are no objects.

use std::marker::PhantomData;

use tiered_runtime::TrapCode;
use tiered_runtime::frame::Slot;
use tiered_runtime::gc;

use crate::operand::{A, ByDest, Class, Dst, Family, Reg, Src, WithSrc, family};
use crate::regs::{Ended, Op, Regs};

/// What an instruction makes of its operand.
trait Convert: 'static {
    type A: Reg;
    type R: Reg;
    fn convert(a: Self::A) -> Result<Self::R, TrapCode>;
}

/// `ref.i31`
struct Make;
/// `i31.get_s`
struct GetSigned;
/// `i31.get_u`
struct GetUnsigned;

impl Convert for Make {
    type A = u32;
    type R = Slot;
    #[inline(always)]
    fn convert(a: u32) -> Result<Slot, TrapCode> {
        Ok(gc::from_i31(a))
    }
}

impl Convert for GetSigned {
    type A = Slot;
    type R = i32;
    #[inline(always)]
    fn convert(a: Slot) -> Result<i32, TrapCode> {
        match a {
            0 => Err(TrapCode::NullI31Reference),
            a => Ok(gc::i31_get_s(a)),
        }
    }
}

impl Convert for GetUnsigned {
    type A = Slot;
    type R = u32;
    #[inline(always)]
    fn convert(a: Slot) -> Result<u32, TrapCode> {
        match a {
            0 => Err(TrapCode::NullI31Reference),
            a => Ok(gc::i31_get_u(a)),
        }
    }
}

/// `d = convert(a)`
struct ConvertOp<O, S, T>(PhantomData<(O, S, T)>);

impl<O: Convert, S: Src, T: Dst> Op for ConvertOp<O, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes.
        unsafe {
            match O::convert(S::read::<O::A, A>(&regs)) {
                Ok(value) => {
                    T::write(&mut regs, value);
                    regs.next::<2>()
                }
                Err(code) => regs.trap(code),
            }
        }
    }
}

struct ConvertOf<O, S>(PhantomData<(O, S)>);

impl<O: Convert, S: Src> ByDest for ConvertOf<O, S> {
    type Result = O::R;
    type To<T: Dst> = ConvertOp<O, S, T>;
}

struct Pick<O>(PhantomData<O>);

impl<O: Convert> WithSrc for Pick<O> {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        family::<ConvertOf<O, S>>()
    }
}

/// The handlers of `ref.i31` with a number of class `a`.
pub(crate) fn make_family(a: Class) -> &'static Family {
    u32::pick_a(a, Pick::<Make>(PhantomData))
}

/// The handlers of `i31.get_s`, or `i31.get_u`, with a reference of class `a`.
pub(crate) fn get_family(signed: bool, a: Class) -> &'static Family {
    match signed {
        true => Slot::pick_a(a, Pick::<GetSigned>(PhantomData)),
        false => Slot::pick_a(a, Pick::<GetUnsigned>(PhantomData)),
    }
}
