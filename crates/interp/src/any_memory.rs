//! Loads and stores of any memory: of those that are not the first one, of addresses of 64 bits, of those that threads share.
//! One generic handler for each shape, over the rows of `tiered_decode::memory` and `tiered_decode::vector`.
//!
//! All operands are in slots: field `a` is the address, `d` the result or what is stored, `b` a vector whose lane is
//! loaded, with the lane's number in its upper half. The cell's third word is the offset, the fourth says where the
//! instance has the memory's record.
//!
//! * *Invariant:* an address of 32 bits is zero-extended in its slot, as all that has 32 bits; so one handler serves both.
//! * *Invariant:* the bytes of a memory that threads share are accessed by relaxed atomics ([`Threads`]).
//! * *Invariant:* an access is compared with the length as a whole, without wrapping, and made at an address that depends on
//!   the comparison by arithmetic: a processor that mistakes its outcome comes to nothing else than this memory.

use std::marker::PhantomData;

use tiered_decode::memory::{Load, MemoryInt, Store};
use tiered_decode::vector::{VecLoad, VecLoadLane, VecStoreLane};
use tiered_runtime::shared_bytes;
use tiered_runtime::speculation::masked;
use tiered_runtime::wide::Wide;
use tiered_runtime::{MemoryRecord, TrapCode};

use crate::operand::{A, B, ByDest, D, Dst, Family, Reg, family};
use crate::regs::{Ended, Handler, Op, Regs, exec};
use crate::vector::{lanes, wide};

/// Words of a cell.
const WORDS: usize = 4;

/// Byte of a lane's number.
const LANE: usize = B + 2;

/// The host address of `size` bytes at the address in the slot of the field `a` plus the cell's offset, if they are
/// within the cell's memory.
#[inline(always)]
unsafe fn within(regs: &Regs, size: usize) -> Option<*mut u8> {
    // SAFETY: the translator wrote the cell; records live as long as the instance.
    unsafe {
        let record: *const MemoryRecord = *regs.in_instance::<*const MemoryRecord, 3>();
        let length = (*record).len() as u64;
        let start = (*regs.slot::<A>()).checked_add(regs.word::<2>())?;
        let end = start.checked_add(size as u64)?;
        let base = (*record).base().as_ptr();
        // At least one byte: the start is below the length.
        (end <= length).then(|| base.add(masked(start, length) as usize))
    }
}

/// Who else accesses the memory, and so how it is accessed.
trait Access: 'static {
    /// Reads what memory holds at `bytes`.
    ///
    /// # Safety
    /// These bytes are within a memory of this kind; so below.
    unsafe fn read<M: MemoryInt>(bytes: *const u8) -> M;
    /// Writes to memory at `bytes`.
    unsafe fn write<M: MemoryInt>(bytes: *mut u8, value: M);
    /// Writes a vector, in one piece where that can be.
    unsafe fn write_vector(bytes: *mut u8, value: Wide);
}

/// Nobody: the memory is the thread's own.
struct Alone;

/// Other threads.
struct Threads;

impl Access for Alone {
    #[inline(always)]
    unsafe fn read<M: MemoryInt>(bytes: *const u8) -> M {
        // SAFETY: these bytes can be read, by the caller's promise; an array of bytes needs no alignment.
        M::from_bytes(unsafe { *bytes.cast::<M::Bytes>() })
    }

    #[inline(always)]
    unsafe fn write<M: MemoryInt>(bytes: *mut u8, value: M) {
        // SAFETY: as above.
        unsafe { *bytes.cast::<M::Bytes>() = value.to_bytes() };
    }

    #[inline(always)]
    unsafe fn write_vector(bytes: *mut u8, value: Wide) {
        // SAFETY: as above.
        unsafe { value.write(bytes) };
    }
}

impl Access for Threads {
    #[inline(always)]
    unsafe fn read<M: MemoryInt>(bytes: *const u8) -> M {
        let mut value = M::Bytes::default();
        // SAFETY: these bytes can be read, by the caller's promise, and whoever writes to them does it as here or in compiled
        // code.
        unsafe { shared_bytes::read(bytes, value.as_mut()) };
        M::from_bytes(value)
    }

    #[inline(always)]
    unsafe fn write<M: MemoryInt>(bytes: *mut u8, value: M) {
        // SAFETY: as above.
        unsafe { shared_bytes::write(bytes, value.to_bytes().as_ref()) };
    }

    #[inline(always)]
    unsafe fn write_vector(bytes: *mut u8, value: Wide) {
        // SAFETY: as above.
        unsafe { shared_bytes::write(bytes, &value.bytes()) };
    }
}

/// An instruction whose result is made of what is loaded.
trait Loaded: 'static {
    type Mem: MemoryInt;
    type R: Reg;
    unsafe fn result(regs: &Regs, value: Self::Mem) -> Self::R;
}

/// An instruction that stores what it makes of its operand.
trait Stored: 'static {
    type Mem: MemoryInt;
    unsafe fn value(regs: &Regs) -> Self::Mem;
}

struct Scalar<O>(PhantomData<O>);
struct Vector<O>(PhantomData<O>);
struct Lane<O>(PhantomData<O>);
struct WholeVector<X>(PhantomData<X>);

impl<O: Load<R: Reg> + 'static> Loaded for Scalar<O> {
    type Mem = O::Mem;
    type R = O::R;
    #[inline(always)]
    unsafe fn result(_: &Regs, value: O::Mem) -> O::R {
        O::extend(value)
    }
}

impl<O: VecLoad + 'static> Loaded for Vector<O> {
    type Mem = O::Mem;
    type R = Wide;
    #[inline(always)]
    unsafe fn result(_: &Regs, value: O::Mem) -> Wide {
        wide(O::extend(value))
    }
}

impl<O: VecLoadLane + 'static> Loaded for Lane<O> {
    type Mem = O::Mem;
    type R = Wide;
    #[inline(always)]
    unsafe fn result(regs: &Regs, value: O::Mem) -> Wide {
        // SAFETY: the translator wrote the cell.
        let (vector, lane) = unsafe { (Wide::load(regs.slot::<B>()), regs.u16::<LANE>()) };
        wide(O::insert(lanes(vector), value, lane as u8))
    }
}

impl<O: Store<A: Reg> + 'static> Stored for Scalar<O> {
    type Mem = O::Mem;
    #[inline(always)]
    unsafe fn value(regs: &Regs) -> O::Mem {
        // SAFETY: the translator wrote the cell.
        O::wrap(unsafe { O::A::load(regs.slot::<D>()) })
    }
}

impl<O: VecStoreLane + 'static> Stored for Lane<O> {
    type Mem = O::Mem;
    #[inline(always)]
    unsafe fn value(regs: &Regs) -> O::Mem {
        // SAFETY: the translator wrote the cell.
        let (vector, lane) = unsafe { (Wide::load(regs.slot::<D>()), regs.u16::<LANE>()) };
        O::extract(lanes(vector), lane as u8)
    }
}

/// `d = load(a + offset)`
struct LoadOp<O, X, T>(PhantomData<(O, X, T)>);

impl<O: Loaded, X: Access, T: Dst> Op for LoadOp<O, X, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; the bytes are within the memory.
        unsafe {
            match within(&regs, O::Mem::SIZE) {
                Some(bytes) => {
                    let value = O::result(&regs, X::read(bytes));
                    T::write(&mut regs, value);
                    regs.next::<WORDS>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

struct LoadOf<O, X>(PhantomData<(O, X)>);

impl<O: Loaded, X: Access> ByDest for LoadOf<O, X> {
    type Result = O::R;
    type To<T: Dst> = LoadOp<O, X, T>;
}

/// `store(a + offset) = d`
struct StoreOp<O, X>(PhantomData<(O, X)>);

impl<O: Stored, X: Access> Op for StoreOp<O, X> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            match within(&regs, O::Mem::SIZE) {
                Some(bytes) => {
                    X::write(bytes, O::value(&regs));
                    regs.next::<WORDS>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

/// As [`StoreOp`], of a vector, which goes in one piece.
impl<X: Access> Op for WholeVector<X> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            match within(&regs, size_of::<Wide>()) {
                Some(bytes) => {
                    X::write_vector(bytes, Wide::load(regs.slot::<D>()));
                    regs.next::<WORDS>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

/// The handlers of a load from a memory that threads share, or do not.
pub(crate) const fn load_family<O: Load<R: Reg> + 'static>(shared: bool) -> &'static Family {
    match shared {
        true => family::<LoadOf<Scalar<O>, Threads>>(),
        false => family::<LoadOf<Scalar<O>, Alone>>(),
    }
}

/// The handlers of a load of a vector.
pub(crate) const fn vector_load_family<O: VecLoad + 'static>(shared: bool) -> &'static Family {
    match shared {
        true => family::<LoadOf<Vector<O>, Threads>>(),
        false => family::<LoadOf<Vector<O>, Alone>>(),
    }
}

/// The handlers of a load into a lane.
pub(crate) const fn load_lane_family<O: VecLoadLane + 'static>(shared: bool) -> &'static Family {
    match shared {
        true => family::<LoadOf<Lane<O>, Threads>>(),
        false => family::<LoadOf<Lane<O>, Alone>>(),
    }
}

/// The handler of a store.
pub(crate) const fn store_handler<O: Store<A: Reg> + 'static>(shared: bool) -> Handler {
    match shared {
        true => exec::<StoreOp<Scalar<O>, Threads>>,
        false => exec::<StoreOp<Scalar<O>, Alone>>,
    }
}

/// The handler of a store of a lane.
pub(crate) const fn store_lane_handler<O: VecStoreLane + 'static>(shared: bool) -> Handler {
    match shared {
        true => exec::<StoreOp<Lane<O>, Threads>>,
        false => exec::<StoreOp<Lane<O>, Alone>>,
    }
}

/// The handler of a store of a vector.
pub(crate) const fn vector_store_handler(shared: bool) -> Handler {
    match shared {
        true => exec::<WholeVector<Threads>>,
        false => exec::<WholeVector<Alone>>,
    }
}
