//! Loads and stores: one generic handler each, over the rows of `tiered_decode::memory`.
//!
//! The effective address is the sum of a 32-bit address and a 32-bit offset in 64 bits, so it can't wrap; it is
//! checked against the length of the memory.
//!
//! A processor that mistakes the outcome of that check comes to inaccessible pages, as long as the sum stays
//! within what is reserved for the memory. Where it may not, [`MASK_ADDRESS`] goes before the access.

use std::marker::PhantomData;

use tiered_decode::memory::{Load, MemoryInt, Store};
use tiered_runtime::TrapCode;
use tiered_runtime::speculation::masked;

use crate::operand::{A, B, ByDest, Class, D, Dst, Family, Imm, Reg, Src, WithSrc, Zero, family};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// The host address of `size` bytes at `address` plus `offset`, if they are within the memory.
#[inline(always)]
pub(crate) unsafe fn within(
    regs: &Regs,
    address: u32,
    offset: u32,
    size: usize,
) -> Option<*mut u8> {
    let start = u64::from(address) + u64::from(offset);
    // SAFETY: bounds live as long as the instance.
    let bounds = unsafe { &*regs.mem };
    let is_within = start + size as u64 <= bounds.length();
    // SAFETY: `start` is within the memory.
    is_within.then(|| unsafe { bounds.base.as_ptr().add(start as usize) })
}

/// Traps if the address in the slot of the field `a` plus the offset in the field `b` is beyond 32 bits, where no memory
/// is. Else writes it to the slot again, such that it depends on that: whatever a processor does in advance does it with
/// an address that is not too large.
struct MaskAddress;

impl Op for MaskAddress {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        const REACHABLE: u64 = 1 << 32;
        // SAFETY: the translator wrote the cell; the slot is within the frame.
        unsafe {
            let slot = regs.slot::<A>();
            let address = *slot & 0xffff_ffff;
            let end = REACHABLE - u64::from(regs.u32::<B>());
            if address >= end {
                return regs.trap(TrapCode::MemoryOutOfBounds);
            }
            *slot = masked(address, end);
            regs.next::<2>()
        }
    }
}

/// The handler that goes before an access whose offset is not covered by the guard.
pub(crate) const MASK_ADDRESS: Handler = exec::<MaskAddress>;

/// `d = load(a + offset)`
struct LoadOp<O, S, T>(PhantomData<(O, S, T)>);

impl<O: Load<R: Reg>, S: Src, T: Dst> Op for LoadOp<O, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes; the bytes are within the memory.
        unsafe {
            let address = S::read::<u32, A>(&regs);
            match within(&regs, address, regs.u32::<B>(), O::Mem::SIZE) {
                Some(bytes) => {
                    let value = O::Mem::from_bytes(*bytes.cast::<<O::Mem as MemoryInt>::Bytes>());
                    T::write(&mut regs, O::extend(value));
                    regs.next::<2>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

struct LoadOf<O, S>(PhantomData<(O, S)>);

impl<O: Load<R: Reg> + 'static, S: Src> ByDest for LoadOf<O, S> {
    type Result = O::R;
    type To<T: Dst> = LoadOp<O, S, T>;
}

/// `d = load((a + b) + offset)`, with a sum that wraps and an offset of 16 bits.
struct LoadIndexedOp<O, L, R, T>(PhantomData<(O, L, R, T)>);

/// Byte of the offset of an indexed load.
const INDEXED_OFFSET: usize = 14;

impl<O: Load<R: Reg>, L: Src, R: Src, T: Dst> Op for LoadIndexedOp<O, L, R, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let address = L::read::<u32, A>(&regs).wrapping_add(R::read::<u32, B>(&regs));
            match within(
                &regs,
                address,
                u32::from(regs.u16::<INDEXED_OFFSET>()),
                O::Mem::SIZE,
            ) {
                Some(bytes) => {
                    let value = O::Mem::from_bytes(*bytes.cast::<<O::Mem as MemoryInt>::Bytes>());
                    T::write(&mut regs, O::extend(value));
                    regs.next::<2>()
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

struct LoadIndexedOf<O, L, R>(PhantomData<(O, L, R)>);

impl<O: Load<R: Reg> + 'static, L: Src, R: Src> ByDest for LoadIndexedOf<O, L, R> {
    type Result = O::R;
    type To<T: Dst> = LoadIndexedOp<O, L, R, T>;
}

/// `store(a + offset) = d`, where the field `d` is a source; an immediate stands in the cell's third word.
struct StoreOp<O, S, V>(PhantomData<(O, S, V)>);

impl<O: Store<A: Reg>, S: Src, V: Stored> Op for StoreOp<O, S, V> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let address = S::read::<u32, A>(&regs);
            let value = O::wrap(V::value::<O::A>(&regs));
            match within(&regs, address, regs.u32::<B>(), O::Mem::SIZE) {
                Some(bytes) => {
                    *bytes.cast::<<O::Mem as MemoryInt>::Bytes>() = value.to_bytes();
                    V::next(regs)
                }
                None => regs.trap(TrapCode::MemoryOutOfBounds),
            }
        }
    }
}

/// A class of values to store.
trait Stored: 'static {
    unsafe fn value<V: Reg>(regs: &Regs) -> V;
    unsafe fn next(regs: Regs) -> Ended;
}

struct Plain<S>(PhantomData<S>);
struct Immediate;

impl<S: Src> Stored for Plain<S> {
    #[inline(always)]
    unsafe fn value<V: Reg>(regs: &Regs) -> V {
        // SAFETY: the translator wrote the cell for this class.
        unsafe { S::read::<V, D>(regs) }
    }
    #[inline(always)]
    unsafe fn next(regs: Regs) -> Ended {
        // SAFETY: the cell has two words.
        unsafe { regs.next::<2>() }
    }
}

impl Stored for Immediate {
    #[inline(always)]
    unsafe fn value<V: Reg>(regs: &Regs) -> V {
        // SAFETY: the cell has an immediate in its third word.
        unsafe { Imm::read::<V, 16>(regs) }
    }
    #[inline(always)]
    unsafe fn next(regs: Regs) -> Ended {
        // SAFETY: the cell has three words.
        unsafe { regs.next::<3>() }
    }
}

struct PickLoad<O>(PhantomData<O>);
struct PickIndexedLeft<O>(Class, PhantomData<O>);
struct PickIndexedRight<O, L>(PhantomData<(O, L)>);
struct PickStore<O>(Class, PhantomData<O>);
struct PickStored<O, S>(PhantomData<(O, S)>);

impl<O: Load<R: Reg> + 'static> WithSrc for PickLoad<O> {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        family::<LoadOf<O, S>>()
    }
}

impl<O: Load<R: Reg> + 'static> WithSrc for PickIndexedLeft<O> {
    type Out = &'static Family;
    fn with<L: Src>(self) -> &'static Family {
        u32::pick_a(self.0, PickIndexedRight::<O, L>(PhantomData))
    }
}

impl<O: Load<R: Reg> + 'static, L: Src> WithSrc for PickIndexedRight<O, L> {
    type Out = &'static Family;
    fn with<R: Src>(self) -> &'static Family {
        family::<LoadIndexedOf<O, L, R>>()
    }
}

impl<O: Store<A: Reg> + 'static> WithSrc for PickStore<O> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        match self.0 {
            Class::Imm => exec::<StoreOp<O, S, Immediate>>,
            class => O::A::pick_a(class, PickStored::<O, S>(PhantomData)),
        }
    }
}

impl<O: Store<A: Reg> + 'static, S: Src> WithSrc for PickStored<O, S> {
    type Out = Handler;
    fn with<V: Src>(self) -> Handler {
        exec::<StoreOp<O, S, Plain<V>>>
    }
}

/// The handlers of a load from an address of class `a`; [`Class::Imm`] if the address is in the offset.
pub(crate) fn load_family<O: Load<R: Reg> + 'static>(a: Class) -> &'static Family {
    match a {
        Class::Imm => family::<LoadOf<O, Zero>>(),
        class => u32::pick_a(class, PickLoad::<O>(PhantomData)),
    }
}

/// The handlers of a load from the sum of two operands.
pub(crate) fn load_indexed_family<O: Load<R: Reg> + 'static>(
    a: Class,
    b: Class,
) -> &'static Family {
    u32::pick_a(a, PickIndexedLeft::<O>(b, PhantomData))
}

/// The handler of a store to an address of class `a`, [`Class::Imm`] if it is in the offset, of a value of class
/// `value`. With an immediate value the cell has three words, else two.
pub(crate) fn store_handler<O: Store<A: Reg> + 'static>(a: Class, value: Class) -> Handler {
    let pick = PickStore::<O>(value, PhantomData);
    match a {
        Class::Imm => pick.with::<Zero>(),
        class => u32::pick_a(class, pick),
    }
}
