//! Vector instructions: constants, loads and stores of whole vectors.

use std::marker::PhantomData;

use tiered_runtime::TrapCode;
use tiered_runtime::wide::Wide;

use crate::memory::within;
use crate::operand::{A, B, ByDest, Class, D, Dst, Family, Reg, Src, WithSrc, Zero, family};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Bytes of a vector.
const BYTES: usize = 16;

/// `d = constant`, whose two words are the third and the fourth of the cell.
struct ConstOp<T>(PhantomData<T>);

impl<T: Dst> Op for ConstOp<T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let value = Wide::from_slots(regs.pc.add(2));
            T::write(&mut regs, value);
            regs.next::<4>()
        }
    }
}

struct ConstOf;

impl ByDest for ConstOf {
    type Result = Wide;
    type To<T: Dst> = ConstOp<T>;
}

/// `d = load(a + offset)`
struct LoadOp<S, T>(PhantomData<(S, T)>);

impl<S: Src, T: Dst> Op for LoadOp<S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes; the bytes are within the memory.
        unsafe {
            let address = S::read::<u32, A>(&regs);
            match within(&regs, address, regs.u32::<B>(), BYTES) {
                Some(bytes) => {
                    T::write(&mut regs, Wide::read(bytes));
                    regs.next::<2>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

struct LoadOf<S>(PhantomData<S>);

impl<S: Src> ByDest for LoadOf<S> {
    type Result = Wide;
    type To<T: Dst> = LoadOp<S, T>;
}

/// `store(a + offset) = d`, where the field `d` is a source.
struct StoreOp<S, V>(PhantomData<(S, V)>);

impl<S: Src, V: Src> Op for StoreOp<S, V> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let address = S::read::<u32, A>(&regs);
            let value = V::read::<Wide, D>(&regs);
            match within(&regs, address, regs.u32::<B>(), BYTES) {
                Some(bytes) => {
                    value.write(bytes);
                    regs.next::<2>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

struct PickLoad;
struct PickStore(Class);
struct PickStored<S>(PhantomData<S>);

impl WithSrc for PickLoad {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        family::<LoadOf<S>>()
    }
}

impl WithSrc for PickStore {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        Wide::pick_a(self.0, PickStored::<S>(PhantomData))
    }
}

impl<S: Src> WithSrc for PickStored<S> {
    type Out = Handler;
    fn with<V: Src>(self) -> Handler {
        exec::<StoreOp<S, V>>
    }
}

/// The handlers of `v128.const`.
pub(crate) fn const_family() -> &'static Family {
    family::<ConstOf>()
}

/// The handlers of `v128.load` from an address of class `a`; [`Class::Imm`] if the address is in the offset.
pub(crate) fn load_family(a: Class) -> &'static Family {
    match a {
        Class::Imm => family::<LoadOf<Zero>>(),
        class => u32::pick_a(class, PickLoad),
    }
}

/// The handler of `v128.store` to an address of class `a`, [`Class::Imm`] if it is in the offset, of a value of class
/// `value`.
pub(crate) fn store_handler(a: Class, value: Class) -> Handler {
    match a {
        Class::Imm => PickStore(value).with::<Zero>(),
        class => u32::pick_a(class, PickStore(value)),
    }
}
