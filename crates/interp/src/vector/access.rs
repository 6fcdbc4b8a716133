//! Constants of vectors, and loads and stores: one generic handler for each shape, over the rows of
//! `tiered_decode::vector`.
//!
//! Addresses are as in `memory.rs`.

use std::marker::PhantomData;

use tiered_decode::memory::MemoryInt;
use tiered_decode::vector::{VecLoad, VecLoadLane, VecStoreLane};
use tiered_runtime::TrapCode;
use tiered_runtime::wide::Wide;

use super::{lanes, wide};

use crate::memory::within;
use crate::operand::{A, B, ByDest, Class, D, Dst, Family, Reg, Src, WithSrc, Zero, family};
use crate::regs::{Ended, Handler, Op, Regs, exec};

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

/// Reads what memory holds at `bytes`.
#[inline(always)]
unsafe fn read<M: MemoryInt>(bytes: *const u8) -> M {
    // SAFETY: these bytes can be read, by the caller's promise; an array of bytes needs no alignment.
    M::from_bytes(unsafe { *bytes.cast::<M::Bytes>() })
}

/// `d = load(a + offset)`
struct LoadOp<O, S, T>(PhantomData<(O, S, T)>);

impl<O: VecLoad, S: Src, T: Dst> Op for LoadOp<O, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes; the bytes are within the memory.
        unsafe {
            let address = S::read::<u32, A>(&regs);
            match within(&regs, address, regs.u32::<B>(), O::Mem::SIZE) {
                Some(bytes) => {
                    T::write(&mut regs, wide(O::extend(read(bytes))));
                    regs.next::<2>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

struct LoadOf<O, S>(PhantomData<(O, S)>);

impl<O: VecLoad + 'static, S: Src> ByDest for LoadOf<O, S> {
    type Result = Wide;
    type To<T: Dst> = LoadOp<O, S, T>;
}

/// Byte of the slot of a vector in the third word of a cell.
const VECTOR: usize = 16;
/// Byte of a lane's number in the third word of a cell.
const LANE: usize = 18;

/// `d = vector with lane = load(a + offset)`
struct LoadLaneOp<O, S, V, T>(PhantomData<(O, S, V, T)>);

impl<O: VecLoadLane, S: Src, V: Src, T: Dst> Op for LoadLaneOp<O, S, V, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let address = S::read::<u32, A>(&regs);
            match within(&regs, address, regs.u32::<B>(), O::Mem::SIZE) {
                Some(bytes) => {
                    let vector = V::read::<Wide, VECTOR>(&regs);
                    let lane = regs.u16::<LANE>() as u8;
                    let value = O::insert(lanes(vector), read(bytes), lane);
                    T::write(&mut regs, wide(value));
                    regs.next::<3>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

struct LoadLaneOf<O, S, V>(PhantomData<(O, S, V)>);

impl<O: VecLoadLane + 'static, S: Src, V: Src> ByDest for LoadLaneOf<O, S, V> {
    type Result = Wide;
    type To<T: Dst> = LoadLaneOp<O, S, V, T>;
}

/// `store(a + offset) = lane of vector`
struct StoreLaneOp<O, S, V>(PhantomData<(O, S, V)>);

impl<O: VecStoreLane, S: Src, V: Src> Op for StoreLaneOp<O, S, V> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let address = S::read::<u32, A>(&regs);
            let vector = V::read::<Wide, VECTOR>(&regs);
            match within(&regs, address, regs.u32::<B>(), O::Mem::SIZE) {
                Some(bytes) => {
                    let value = O::extract(lanes(vector), regs.u16::<LANE>() as u8);
                    *bytes.cast::<<O::Mem as MemoryInt>::Bytes>() = value.to_bytes();
                    regs.next::<3>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
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
            match within(&regs, address, regs.u32::<B>(), size_of::<Wide>()) {
                Some(bytes) => {
                    value.write(bytes);
                    regs.next::<2>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

struct PickLoad<O>(PhantomData<O>);

impl<O: VecLoad + 'static> WithSrc for PickLoad<O> {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        family::<LoadOf<O, S>>()
    }
}

struct PickStore(Class);
struct PickStored<S>(PhantomData<S>);

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

struct PickLoadLane<O>(Class, PhantomData<O>);
struct PickLoadedLane<O, S>(PhantomData<(O, S)>);

impl<O: VecLoadLane + 'static> WithSrc for PickLoadLane<O> {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        Wide::pick_a(self.0, PickLoadedLane::<O, S>(PhantomData))
    }
}

impl<O: VecLoadLane + 'static, S: Src> WithSrc for PickLoadedLane<O, S> {
    type Out = &'static Family;
    fn with<V: Src>(self) -> &'static Family {
        family::<LoadLaneOf<O, S, V>>()
    }
}

struct PickStoreLane<O>(Class, PhantomData<O>);
struct PickStoredLane<O, S>(PhantomData<(O, S)>);

impl<O: VecStoreLane + 'static> WithSrc for PickStoreLane<O> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        Wide::pick_a(self.0, PickStoredLane::<O, S>(PhantomData))
    }
}

impl<O: VecStoreLane + 'static, S: Src> WithSrc for PickStoredLane<O, S> {
    type Out = Handler;
    fn with<V: Src>(self) -> Handler {
        exec::<StoreLaneOp<O, S, V>>
    }
}

/// Calls `k` with the source of an address of class `a`; [`Class::Imm`] if the address is in the offset.
fn pick_address<K: WithSrc>(a: Class, k: K) -> K::Out {
    match a {
        Class::Imm => k.with::<Zero>(),
        class => u32::pick_a(class, k),
    }
}

/// The handlers of `v128.const`.
pub(crate) fn const_family() -> &'static Family {
    family::<ConstOf>()
}

/// The handlers of a load from an address of class `a`, as in [`pick_address`].
pub(crate) fn load_family<O: VecLoad + 'static>(a: Class) -> &'static Family {
    pick_address(a, PickLoad::<O>(PhantomData))
}

/// The handler of `v128.store` to an address of class `a`, as in [`pick_address`], of a value of class `value`.
pub(crate) fn store_handler(a: Class, value: Class) -> Handler {
    pick_address(a, PickStore(value))
}

/// The handlers of a load from an address of class `a`, as in [`pick_address`], into a lane of a vector of class
/// `vector`.
pub(crate) fn load_lane_family<O: VecLoadLane + 'static>(
    a: Class,
    vector: Class,
) -> &'static Family {
    pick_address(a, PickLoadLane::<O>(vector, PhantomData))
}

/// The handler of a store to an address of class `a`, as in [`pick_address`], of a lane of a vector of class `vector`.
pub(crate) fn store_lane_handler<O: VecStoreLane + 'static>(a: Class, vector: Class) -> Handler {
    pick_address(a, PickStoreLane::<O>(vector, PhantomData))
}
