//! Fields of structures and elements of arrays: reads and writes of each storage type, one generic handler for each shape.
//!
//! How a value is stored is a row of `tiered_decode::memory`, as for an access to a memory. Field `a` of a cell is the
//! object; field `b` a field's offset, or the source of an element's index; field `d` the result, or the source of what is
//! stored, for which an immediate stands in the third word.
//!
//! * *Invariant:* a slot whose type is a reference to a structure or an array has null or the address of one: validation,
//!   and the casts, see to that.

use std::marker::PhantomData;

use tiered_decode::memory::{Load, MemoryInt, Store, ops};
use tiered_decode::types::{StorageType, ValType};
use tiered_runtime::TrapCode;
use tiered_runtime::frame::Slot;
use tiered_runtime::gc::{ARRAY_ELEMENTS, ARRAY_LENGTH};
use tiered_runtime::speculation::masked;
use tiered_runtime::wide::Wide;

use super::place;
use crate::memory::{Immediate, Plain, Stored};
use crate::operand::{
    A, B, Bank, ByDest, Class, Dst, Family, InAcc, InSlot, Reg, Src, WithSrc, family,
};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// A way to read what is stored.
trait Get: 'static {
    type R: Reg;
    const SIZE: usize;
    /// # Safety
    /// A value stored so is there.
    unsafe fn get(at: *const u8) -> Self::R;
}

/// A way to store a value.
trait Put: 'static {
    type A: Reg;
    const SIZE: usize;
    /// # Safety
    /// There is room for a value stored so.
    unsafe fn put(at: *mut u8, value: Self::A);
}

struct Scalar<O>(PhantomData<O>);
struct Vector;

impl<O: Load<R: Reg> + 'static> Get for Scalar<O> {
    type R = O::R;
    const SIZE: usize = O::Mem::SIZE;
    #[inline(always)]
    unsafe fn get(at: *const u8) -> O::R {
        // SAFETY: the caller's promise; an array of bytes needs no alignment.
        let bytes = unsafe { *at.cast::<<O::Mem as MemoryInt>::Bytes>() };
        O::extend(O::Mem::from_bytes(bytes))
    }
}

impl<O: Store<A: Reg> + 'static> Put for Scalar<O> {
    type A = O::A;
    const SIZE: usize = O::Mem::SIZE;
    #[inline(always)]
    unsafe fn put(at: *mut u8, value: O::A) {
        let bytes = O::wrap(value).to_bytes();
        // SAFETY: as above.
        unsafe { *at.cast::<<O::Mem as MemoryInt>::Bytes>() = bytes };
    }
}

impl Get for Vector {
    type R = Wide;
    const SIZE: usize = size_of::<Wide>();
    #[inline(always)]
    unsafe fn get(at: *const u8) -> Wide {
        // SAFETY: the caller's promise.
        unsafe { Wide::read(at) }
    }
}

impl Put for Vector {
    type A = Wide;
    const SIZE: usize = size_of::<Wide>();
    #[inline(always)]
    unsafe fn put(at: *mut u8, value: Wide) {
        // SAFETY: the caller's promise.
        unsafe { value.write(at) };
    }
}

/// What to do with a way to read once it is a type.
trait WithGet {
    type Out;
    fn with<O: Get>(self) -> Self::Out;
}

/// What to do with a way to store once it is a type.
trait WithPut {
    type Out;
    fn with<O: Put>(self) -> Self::Out;
}

fn pick_get<K: WithGet>(storage: StorageType, signed: bool, k: K) -> K::Out {
    match (storage, signed) {
        (StorageType::I8, true) => k.with::<Scalar<ops::I32Load8S>>(),
        (StorageType::I8, false) => k.with::<Scalar<ops::I32Load8U>>(),
        (StorageType::I16, true) => k.with::<Scalar<ops::I32Load16S>>(),
        (StorageType::I16, false) => k.with::<Scalar<ops::I32Load16U>>(),
        (StorageType::Val(ty), _) => match ty {
            ValType::I32 => k.with::<Scalar<ops::I32Load>>(),
            ValType::I64 | ValType::Ref(_) => k.with::<Scalar<ops::I64Load>>(),
            ValType::F32 => k.with::<Scalar<ops::F32Load>>(),
            ValType::F64 => k.with::<Scalar<ops::F64Load>>(),
            ValType::V128 => k.with::<Vector>(),
        },
    }
}

fn pick_put<K: WithPut>(storage: StorageType, k: K) -> K::Out {
    match storage {
        StorageType::I8 => k.with::<Scalar<ops::I32Store8>>(),
        StorageType::I16 => k.with::<Scalar<ops::I32Store16>>(),
        StorageType::Val(ty) => match ty {
            ValType::I32 => k.with::<Scalar<ops::I32Store>>(),
            ValType::I64 | ValType::Ref(_) => k.with::<Scalar<ops::I64Store>>(),
            ValType::F32 => k.with::<Scalar<ops::F32Store>>(),
            ValType::F64 => k.with::<Scalar<ops::F64Store>>(),
            ValType::V128 => k.with::<Vector>(),
        },
    }
}

/// What is accessed.
trait Object: 'static {
    /// The trap if it is null.
    const NULL: TrapCode;
}

struct Struct;
struct Array;

impl Object for Struct {
    const NULL: TrapCode = TrapCode::NullStructReference;
}

impl Object for Array {
    const NULL: TrapCode = TrapCode::NullArrayReference;
}

/// `d = [a + offset]`
struct FieldGet<O, N, S, T>(PhantomData<(O, N, S, T)>);

impl<O: Get, N: Object, S: Src, T: Dst> Op for FieldGet<O, N, S, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes, and for a field of the object.
        unsafe {
            let object = S::read::<Slot, A>(&regs);
            if object == 0 {
                return regs.trap(N::NULL);
            }
            let value = O::get(place(object, regs.u32::<B>() as usize));
            T::write(&mut regs, value);
            regs.next::<2>()
        }
    }
}

struct FieldGetOf<O, N, S>(PhantomData<(O, N, S)>);

impl<O: Get, N: Object, S: Src> ByDest for FieldGetOf<O, N, S> {
    type Result = O::R;
    type To<T: Dst> = FieldGet<O, N, S, T>;
}

/// `[a + offset] = d`
struct FieldSet<O, S, V>(PhantomData<(O, S, V)>);

impl<O: Put, S: Src, V: Stored> Op for FieldSet<O, S, V> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let object = S::read::<Slot, A>(&regs);
            if object == 0 {
                return regs.trap(Struct::NULL);
            }
            let at = place(object, regs.u32::<B>() as usize);
            O::put(at, V::value::<O::A>(&regs));
            V::next(regs)
        }
    }
}

/// Where an array has an element of `size` bytes.
///
/// # Safety
/// `array` is null or an array.
#[inline(always)]
unsafe fn element(array: Slot, index: u32, size: usize) -> Result<*mut u8, TrapCode> {
    if array == 0 {
        return Err(Array::NULL);
    }
    // SAFETY: an array has its length there.
    let length = u64::from(unsafe { *place(array, ARRAY_LENGTH).cast::<u32>() });
    let index = u64::from(index);
    if index >= length {
        return Err(TrapCode::ArrayOutOfBounds);
    }
    let index = masked(index, length) as usize;
    Ok(place(array, ARRAY_ELEMENTS + index * size))
}

/// `d = a[b]`
struct ElementGet<O, L, R, T>(PhantomData<(O, L, R, T)>);

impl<O: Get, L: Src, R: Src, T: Dst> Op for ElementGet<O, L, R, T> {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell for these classes, and for the array's elements.
        unsafe {
            let (array, index) = (L::read::<Slot, A>(&regs), R::read::<u32, B>(&regs));
            match element(array, index, O::SIZE) {
                Ok(at) => {
                    T::write(&mut regs, O::get(at));
                    regs.next::<2>()
                }
                Err(code) => regs.trap(code),
            }
        }
    }
}

struct ElementGetOf<O, L, R>(PhantomData<(O, L, R)>);

impl<O: Get, L: Src, R: Src> ByDest for ElementGetOf<O, L, R> {
    type Result = O::R;
    type To<T: Dst> = ElementGet<O, L, R, T>;
}

/// `a[b] = d`
struct ElementSet<O, L, R, V>(PhantomData<(O, L, R, V)>);

impl<O: Put, L: Src, R: Src, V: Stored> Op for ElementSet<O, L, R, V> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let (array, index) = (L::read::<Slot, A>(&regs), R::read::<u32, B>(&regs));
            match element(array, index, O::SIZE) {
                Ok(at) => {
                    O::put(at, V::value::<O::A>(&regs));
                    V::next(regs)
                }
                Err(code) => regs.trap(code),
            }
        }
    }
}

struct PickFieldGet<N>(Class, PhantomData<N>);
struct PickFieldSource<O, N>(PhantomData<(O, N)>);

impl<N: Object> WithGet for PickFieldGet<N> {
    type Out = &'static Family;
    fn with<O: Get>(self) -> &'static Family {
        Slot::pick_a(self.0, PickFieldSource::<O, N>(PhantomData))
    }
}

impl<O: Get, N: Object> WithSrc for PickFieldSource<O, N> {
    type Out = &'static Family;
    fn with<S: Src>(self) -> &'static Family {
        family::<FieldGetOf<O, N, S>>()
    }
}

struct PickFieldSet(Class, Class);
struct PickFieldTarget<O>(Class, PhantomData<O>);
struct PickFieldValue<O, S>(PhantomData<(O, S)>);

impl WithPut for PickFieldSet {
    type Out = Handler;
    fn with<O: Put>(self) -> Handler {
        Slot::pick_a(self.0, PickFieldTarget::<O>(self.1, PhantomData))
    }
}

impl<O: Put> WithSrc for PickFieldTarget<O> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        match self.0 {
            Class::Imm if O::A::BANK == Bank::Int => exec::<FieldSet<O, S, Immediate>>,
            class => O::A::pick_a(class, PickFieldValue::<O, S>(PhantomData)),
        }
    }
}

impl<O: Put, S: Src> WithSrc for PickFieldValue<O, S> {
    type Out = Handler;
    fn with<V: Src>(self) -> Handler {
        exec::<FieldSet<O, S, Plain<V>>>
    }
}

struct PickElementGet(Class, Class);
struct PickElementArray<O>(Class, PhantomData<O>);
struct PickElementIndex<O, L>(PhantomData<(O, L)>);

impl WithGet for PickElementGet {
    type Out = &'static Family;
    fn with<O: Get>(self) -> &'static Family {
        Slot::pick_a(self.0, PickElementArray::<O>(self.1, PhantomData))
    }
}

impl<O: Get> WithSrc for PickElementArray<O> {
    type Out = &'static Family;
    fn with<L: Src>(self) -> &'static Family {
        u32::pick_b(self.0, PickElementIndex::<O, L>(PhantomData))
    }
}

impl<O: Get, L: Src> WithSrc for PickElementIndex<O, L> {
    type Out = &'static Family;
    fn with<R: Src>(self) -> &'static Family {
        family::<ElementGetOf<O, L, R>>()
    }
}

struct PickElementSet(Class, Class, Class);
struct PickTargetArray<O>(Class, Class, PhantomData<O>);
struct PickTargetIndex<O, L>(Class, PhantomData<(O, L)>);

impl WithPut for PickElementSet {
    type Out = Handler;
    fn with<O: Put>(self) -> Handler {
        Slot::pick_a(self.0, PickTargetArray::<O>(self.1, self.2, PhantomData))
    }
}

impl<O: Put> WithSrc for PickTargetArray<O> {
    type Out = Handler;
    fn with<L: Src>(self) -> Handler {
        u32::pick_b(self.0, PickTargetIndex::<O, L>(self.1, PhantomData))
    }
}

impl<O: Put, L: Src> WithSrc for PickTargetIndex<O, L> {
    type Out = Handler;
    fn with<R: Src>(self) -> Handler {
        match self.0 {
            Class::Imm if O::A::BANK == Bank::Int => exec::<ElementSet<O, L, R, Immediate>>,
            Class::Acc => exec::<ElementSet<O, L, R, Plain<InAcc>>>,
            Class::Slot => exec::<ElementSet<O, L, R, Plain<InSlot>>>,
            Class::Imm | Class::L0 | Class::L1 | Class::Wide => {
                unreachable!("an element's value is in a slot, the accumulator or the cell")
            }
        }
    }
}

/// The handlers of `struct.get`, sign-extending if `signed`, of an object of class `a`.
pub(crate) fn field_family(storage: StorageType, signed: bool, a: Class) -> &'static Family {
    pick_get(storage, signed, PickFieldGet::<Struct>(a, PhantomData))
}

/// The handlers of `array.len` of an array of class `a`: the length is a field.
pub(crate) fn length_family(a: Class) -> &'static Family {
    Slot::pick_a(
        a,
        PickFieldSource::<Scalar<ops::I32Load>, Array>(PhantomData),
    )
}

/// The handler of `struct.set` of an object of class `a`, with a value of class `value`: with an immediate the cell has
/// three words, else two.
pub(crate) fn set_field_handler(storage: StorageType, a: Class, value: Class) -> Handler {
    pick_put(storage, PickFieldSet(a, value))
}

/// The handlers of `array.get`, sign-extending if `signed`, of an array of class `a` with an index of class `b`.
pub(crate) fn element_family(
    storage: StorageType,
    signed: bool,
    a: Class,
    b: Class,
) -> &'static Family {
    pick_get(storage, signed, PickElementGet(a, b))
}

/// The handler of `array.set` of an array of class `a` with an index of class `b`; the value is in a slot, in the
/// accumulator, or an immediate, with which the cell has three words, else two.
pub(crate) fn set_element_handler(
    storage: StorageType,
    a: Class,
    b: Class,
    value: Class,
) -> Handler {
    pick_put(storage, PickElementSet(a, b, value))
}
