//! Values as the embedder sees them.

use std::ptr::NonNull;

use tiered_decode::types::{AbstractHeapType, CompositeKind, HeapType, RefType, TopType, ValType};

use crate::any_ref::AnyRef;
use crate::exception::ExnRef;
use crate::extern_ref::ExternRef;
use crate::func::Func;
use crate::handles::{Handle, StoreId};
use crate::store::AnyStore;
use crate::vm::code::FuncRecord;
use crate::vm::frame::Slot;
use crate::vm::references::References;
use crate::vm::store_ctx::StoreCtx;
use crate::vm::wide::Wide;

/// The null reference, of every type.
pub(crate) const NULL: Slot = 0;

/// A value of WebAssembly. Floats are bits, so that no NaN changes on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// A vector of 128 bits, its first lane in the lowest.
    V128(u128),
    /// A function, or null.
    FuncRef(Option<Func>),
    /// A value of the host, or null.
    ExternRef(Option<ExternRef>),
    /// An exception of the guest's, or null.
    ExnRef(Option<ExnRef>),
    /// A structure, an array, an integer of 31 bits or a value of the host, or null.
    AnyRef(Option<AnyRef>),
}

impl Val {
    /// The type, as far as it is known without the store: a function is a `funcref`, whatever its own type.
    pub fn ty(&self) -> ValType {
        match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(_) => ValType::FUNCREF,
            Val::ExternRef(_) => ValType::EXTERNREF,
            Val::ExnRef(_) => ValType::EXNREF,
            Val::AnyRef(_) => ValType::ANYREF,
        }
    }

    /// Whether it is one of the values of type `ty`.
    ///
    /// # Panics
    /// If its type matters, and it is a reference of another store or one whose scope has ended.
    pub fn matches(&self, ty: ValType, store: &AnyStore) -> bool {
        let ValType::Ref(reference) = ty else {
            return self.ty() == ty;
        };
        let (top, heap, is_null) = match self {
            Val::FuncRef(func) => (TopType::Func, AbstractHeapType::Func, func.is_none()),
            Val::ExternRef(value) => (TopType::Extern, AbstractHeapType::Extern, value.is_none()),
            Val::ExnRef(value) => (TopType::Exn, AbstractHeapType::Exn, value.is_none()),
            Val::AnyRef(value) => (TopType::Any, AbstractHeapType::Any, value.is_none()),
            Val::I32(_) | Val::I64(_) | Val::F32(_) | Val::F64(_) | Val::V128(_) => return false,
        };
        if is_null {
            return reference.is_nullable() && reference.top() == top;
        }
        reference.heap() == HeapType::Abstract(heap) || self.precise_type(store).matches(ty)
    }

    /// The type, that of a reference being the most precise one.
    ///
    /// # Panics
    /// If it is a reference of another store, or one whose scope has ended.
    pub(crate) fn precise_type(&self, store: &AnyStore) -> ValType {
        let heap = match self {
            Val::FuncRef(Some(func)) => {
                let id = func.0.record(store).sig();
                HeapType::Concrete(CompositeKind::Func, id)
            }
            Val::FuncRef(None) => HeapType::Abstract(AbstractHeapType::NoFunc),
            Val::ExternRef(Some(_)) => HeapType::Abstract(AbstractHeapType::Extern),
            Val::ExternRef(None) => HeapType::Abstract(AbstractHeapType::NoExtern),
            Val::ExnRef(Some(_)) => HeapType::Abstract(AbstractHeapType::Exn),
            Val::ExnRef(None) => HeapType::Abstract(AbstractHeapType::NoExn),
            Val::AnyRef(Some(reference)) => reference.ty(store),
            Val::AnyRef(None) => HeapType::Abstract(AbstractHeapType::None),
            Val::I32(_) | Val::I64(_) | Val::F32(_) | Val::F64(_) | Val::V128(_) => {
                return self.ty();
            }
        };
        let is_null = matches!(
            self,
            Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) | Val::AnyRef(None)
        );
        RefType::new(is_null, heap).into()
    }

    /// The value that locals and new table elements of type `ty` hold: zero or null. `None` for types without one:
    /// references that can't be null.
    pub fn default_for(ty: ValType) -> Option<Val> {
        Some(match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(0),
            ValType::Ref(ty) if !ty.is_nullable() => return None,
            ValType::Ref(ty) => match ty.top() {
                TopType::Func => Val::FuncRef(None),
                TopType::Extern => Val::ExternRef(None),
                TopType::Exn => Val::ExnRef(None),
                TopType::Any => Val::AnyRef(None),
            },
        })
    }

    /// The integer, if it is one of 32 bits.
    pub fn i32(&self) -> Option<i32> {
        if let Val::I32(value) = *self {
            Some(value)
        } else {
            None
        }
    }

    /// The integer, if it is one of 64 bits.
    pub fn i64(&self) -> Option<i64> {
        if let Val::I64(value) = *self {
            Some(value)
        } else {
            None
        }
    }

    /// The float, if it is one of 32 bits.
    pub fn f32(&self) -> Option<f32> {
        if let Val::F32(bits) = *self {
            Some(f32::from_bits(bits))
        } else {
            None
        }
    }

    /// The float, if it is one of 64 bits.
    pub fn f64(&self) -> Option<f64> {
        if let Val::F64(bits) = *self {
            Some(f64::from_bits(bits))
        } else {
            None
        }
    }

    /// The bits of all lanes, if it is a vector.
    pub fn v128(&self) -> Option<u128> {
        if let Val::V128(bits) = *self {
            Some(bits)
        } else {
            None
        }
    }

    /// The bits, as slots of `store` hold them, the first in the lower half.
    ///
    /// # Panics
    /// If it is a reference into another store, or one whose scope has ended.
    pub(crate) fn to_bits(self, store: RawStore) -> u128 {
        match self {
            Val::I32(value) => value.cast_unsigned().into(),
            Val::I64(value) => value.cast_unsigned().into(),
            Val::F32(bits) => bits.into(),
            Val::F64(bits) => bits.into(),
            Val::V128(bits) => bits,
            Val::FuncRef(func) => func_to_slot(func, store).into(),
            Val::ExternRef(reference) => ExternRef::to_slot(reference, store).into(),
            Val::ExnRef(reference) => ExnRef::to_slot(reference, store).into(),
            Val::AnyRef(reference) => AnyRef::to_slot(reference, store).into(),
        }
    }

    /// The slot of a reference.
    ///
    /// # Panics
    /// As [`Val::to_bits`].
    pub(crate) fn to_reference(self, store: RawStore) -> Slot {
        self.to_bits(store) as Slot
    }

    /// The value of type `ty` whose slots in `store` hold these bits.
    pub(crate) fn from_bits(bits: u128, ty: ValType, store: RawStore) -> Val {
        let slot = bits as Slot;
        match ty {
            ValType::I32 => Val::I32(slot as i32),
            ValType::I64 => Val::I64(slot.cast_signed()),
            ValType::F32 => Val::F32(slot as u32),
            ValType::F64 => Val::F64(slot),
            ValType::V128 => Val::V128(bits),
            ValType::Ref(ty) => match ty.top() {
                TopType::Func => Val::FuncRef(func_from_slot(slot, store)),
                TopType::Extern => Val::ExternRef(ExternRef::from_slot(slot, store)),
                TopType::Exn => Val::ExnRef(ExnRef::from_slot(slot, store)),
                TopType::Any => Val::AnyRef(AnyRef::from_slot(slot, store)),
            },
        }
    }

    /// Writes the value to the slots at `at`, and says where the next one goes.
    ///
    /// # Safety
    /// There are as many slots as the type has.
    ///
    /// # Panics
    /// As [`Val::to_bits`].
    pub(crate) unsafe fn write(self, at: NonNull<Slot>, store: RawStore) -> NonNull<Slot> {
        let bits = self.to_bits(store);
        // SAFETY: the caller's promise.
        unsafe {
            match self.ty().slots() {
                1 => at.write(bits as Slot),
                _ => Wide::from_bits(bits).to_slots(at.as_ptr()),
            }
            at.add(self.ty().slots() as usize)
        }
    }

    /// Reads a value of type `ty` from the slots at `at`, and says where the next one is.
    ///
    /// # Safety
    /// The slots hold such a value.
    pub(crate) unsafe fn read(
        at: NonNull<Slot>,
        ty: ValType,
        store: RawStore,
    ) -> (Val, NonNull<Slot>) {
        // SAFETY: the caller's promise.
        unsafe {
            let bits = match ty.slots() {
                1 => at.read().into(),
                _ => Wide::from_slots(at.as_ptr()).bits(),
            };
            (Val::from_bits(bits, ty, store), at.add(ty.slots() as usize))
        }
    }
}

/// Reads values of these types, one behind the other.
///
/// # Safety
/// The slots from `at` on hold such values.
pub(crate) unsafe fn read_values(
    mut at: NonNull<Slot>,
    types: &[ValType],
    store: RawStore,
) -> Vec<Val> {
    let read = |&ty: &ValType| {
        // SAFETY: the caller's promise.
        let (value, next) = unsafe { Val::read(at, ty, store) };
        at = next;
        value
    };
    types.iter().map(read).collect()
}

fn func_to_slot(func: Option<Func>, store: RawStore) -> Slot {
    func.map_or(0, |func| {
        func.0.check(store.id);
        func.0.record.as_ptr().expose_provenance() as Slot
    })
}

fn func_from_slot(slot: Slot, store: RawStore) -> Option<Func> {
    let record = NonNull::new(std::ptr::with_exposed_provenance_mut::<FuncRecord>(
        slot as usize,
    ))?;
    let store = store.id;
    Some(Func(Handle { store, record }))
}

/// A Rust type that is a WebAssembly value: parameters and results of typed functions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a WebAssembly value",
    label = "not a value",
    note = "values are `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, `u128`, `Func`, `ExternRef`, `AnyRef` and `Option`s of these three"
)]
pub trait HostValue: Sized + 'static {
    /// Its type in WebAssembly.
    const TYPE: ValType;
    /// The slots that it takes.
    #[doc(hidden)]
    const SLOTS: usize = Self::TYPE.slots() as usize;
    /// # Safety
    /// There are [`HostValue::SLOTS`] slots at `at`.
    #[doc(hidden)]
    unsafe fn write(self, at: NonNull<Slot>, store: RawStore);
    /// # Safety
    /// The slots at `at` hold a value of this type.
    #[doc(hidden)]
    unsafe fn read(at: NonNull<Slot>, store: RawStore) -> Self;
}

/// The store that a raw value belongs to.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct RawStore {
    pub(crate) id: StoreId,
    /// Alive as long as the store, which is borrowed while this exists.
    pub(crate) ctx: NonNull<StoreCtx>,
}

impl RawStore {
    pub(crate) fn references<'a>(self) -> &'a References {
        // SAFETY: the store is borrowed while this exists, and the value is alive as long.
        unsafe { &self.ctx.as_ref().references }
    }
}

macro_rules! host_values {
    ($($rust:ty: $wasm:ident, $slot:ident, $store:ident => ($into:expr, $from:expr);)*) => {$(
        impl HostValue for $rust {
            const TYPE: ValType = ValType::$wasm;
            #[inline]
            unsafe fn write(self, at: NonNull<Slot>, $store: RawStore) {
                let $slot = self;
                // SAFETY: the caller's promise.
                unsafe { at.write($into) };
            }
            #[inline]
            unsafe fn read(at: NonNull<Slot>, $store: RawStore) -> Self {
                // SAFETY: the caller's promise.
                let $slot = unsafe { at.read() };
                $from
            }
        }
    )*};
}

host_values! {
    i32: I32, v, _store => (Slot::from(v.cast_unsigned()), v as i32);
    u32: I32, v, _store => (Slot::from(v), v as u32);
    i64: I64, v, _store => (v.cast_unsigned(), v.cast_signed());
    u64: I64, v, _store => (v, v);
    f32: F32, v, _store => (Slot::from(v.to_bits()), f32::from_bits(v as u32));
    f64: F64, v, _store => (v.to_bits(), f64::from_bits(v));
    Option<Func>: FUNCREF, v, store => (func_to_slot(v, store), func_from_slot(v, store));
    Func: FUNC, v, store => (func_to_slot(Some(v), store), func_from_slot(v, store).expect("it can't be null"));
    ExternRef: EXTERN, v, store => (ExternRef::to_slot(Some(v), store), ExternRef::from_slot(v, store).expect("it can't be null"));
    Option<ExternRef>: EXTERNREF, v, store => (ExternRef::to_slot(v, store), ExternRef::from_slot(v, store));
    AnyRef: ANY, v, store => (AnyRef::to_slot(Some(v), store), AnyRef::from_slot(v, store).expect("it can't be null"));
    Option<AnyRef>: ANYREF, v, store => (AnyRef::to_slot(v, store), AnyRef::from_slot(v, store));
}

/// A vector, its first lane in the lowest bits.
impl HostValue for u128 {
    const TYPE: ValType = ValType::V128;
    #[inline]
    unsafe fn write(self, at: NonNull<Slot>, _: RawStore) {
        // SAFETY: the caller's promise.
        unsafe { Wide::from_bits(self).to_slots(at.as_ptr()) };
    }
    #[inline]
    unsafe fn read(at: NonNull<Slot>, _: RawStore) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Wide::from_slots(at.as_ptr()) }.bits()
    }
}

macro_rules! from_rust {
    ($($rust:ty => $variant:ident($bits:expr);)*) => {$(
        impl From<$rust> for Val {
            fn from(value: $rust) -> Val {
                let bits: fn($rust) -> _ = $bits;
                Val::$variant(bits(value))
            }
        }
    )*};
}

from_rust! {
    i32 => I32(|v| v);
    i64 => I64(|v| v);
    f32 => F32(f32::to_bits);
    f64 => F64(f64::to_bits);
    u128 => V128(|v| v);
    Func => FuncRef(Some);
    ExternRef => ExternRef(Some);
    AnyRef => AnyRef(Some);
}
