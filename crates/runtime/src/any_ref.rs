//! References to what guests make: structures, arrays and integers of 31 bits (the spec's hierarchy of `any`).

use std::fmt;

use thiserror::Error;
use tiered_decode::types::{
    AbstractHeapType, CompositeKind, CompositeType, FieldType, HeapType, StorageType, TypeId,
    ValType,
};

use crate::extern_ref::ExternRef;
use crate::rooted::{Rooted, rooted};
use crate::store::AnyStore;
use crate::value::Val;
use crate::vm::frame::Slot;
use crate::vm::gc::{self, Storage};
use crate::vm::limits::LimitError;

/// A reference to a structure, an array, an integer of 31 bits, or, if the guest has converted it, a value of the host.
///
/// What it refers to lives as long as something refers to it, be it the guest or a handle such as this, which is good as long
/// as an [`ExternRef`] is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AnyRef(pub(crate) Rooted);

rooted!(AnyRef);

impl AnyRef {
    /// A reference to the low 31 bits of a number, as `ref.i31` makes it.
    ///
    /// # Errors
    /// [`LimitError::Heap`] if there is no memory for a handle.
    pub fn from_i31(store: &mut AnyStore, value: i32) -> Result<AnyRef, LimitError> {
        let reference = gc::from_i31(value.cast_unsigned());
        Rooted::new(reference, store.raw()).map(AnyRef)
    }

    fn slot(&self, store: &AnyStore) -> Slot {
        self.0.slot(store.raw())
    }

    /// The number, sign-extended, if it is an integer.
    ///
    /// # Panics
    /// If the reference belongs to another store, or its scope has ended; so for all below.
    pub fn i31(&self, store: &AnyStore) -> Option<i32> {
        let reference = self.slot(store);
        gc::is_i31(reference).then(|| gc::i31_get_s(reference))
    }

    /// The most precise type.
    ///
    /// # Panics
    /// As [`AnyRef::i31`].
    pub fn ty(&self, store: &AnyStore) -> HeapType {
        let reference = self.slot(store);
        // SAFETY: a handle's object is alive.
        let kind = unsafe { gc::kind(reference) };
        let composite = match kind {
            None => return HeapType::Abstract(AbstractHeapType::I31),
            Some(gc::Kind::Struct) => CompositeKind::Struct,
            Some(gc::Kind::Array) => CompositeKind::Array,
            Some(gc::Kind::Extern | gc::Kind::Exception) => {
                return HeapType::Abstract(AbstractHeapType::Any);
            }
        };
        HeapType::Concrete(composite, self.type_id(store))
    }

    /// The number of the type of a structure or an array.
    fn type_id(&self, store: &AnyStore) -> TypeId {
        // SAFETY: a handle's object is alive; descriptors live as long as the store.
        let number = unsafe { gc::descriptor(self.slot(store)).as_ref() }.id();
        let descriptors = store.ctx().references.descriptors();
        descriptors.id(number).expect("the store made the object")
    }

    /// Whether it is of type `ty`: what `ref.test` says.
    ///
    /// # Panics
    /// As [`AnyRef::i31`].
    pub fn matches(&self, ty: HeapType, store: &AnyStore) -> bool {
        self.ty(store).matches(ty)
    }

    /// The structure, if it is one.
    ///
    /// # Panics
    /// As [`AnyRef::i31`].
    pub fn to_struct(&self, store: &AnyStore) -> Option<StructRef> {
        // SAFETY: a handle's object is alive.
        let kind = unsafe { gc::kind(self.slot(store)) };
        (kind == Some(gc::Kind::Struct)).then_some(StructRef(*self))
    }

    /// The array, if it is one.
    ///
    /// # Panics
    /// As [`AnyRef::i31`].
    pub fn to_array(&self, store: &AnyStore) -> Option<ArrayRef> {
        // SAFETY: a handle's object is alive.
        let kind = unsafe { gc::kind(self.slot(store)) };
        (kind == Some(gc::Kind::Array)).then_some(ArrayRef(*self))
    }

    /// The same as an `externref`, as `extern.convert_any` makes it.
    #[must_use]
    pub fn to_extern(&self) -> ExternRef {
        ExternRef(self.0)
    }
}

/// Why the host can't make, read or write an object.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// No instance of the store has a structure or array type with this number, or it is of the other kind.
    #[error("no module of the store has such a type")]
    UnknownType,
    /// A structure takes as many values as it has fields.
    #[error("the type has {expected} fields, {found} values were given")]
    Count {
        /// How many fields the type has.
        expected: usize,
        /// How many values were given.
        found: usize,
    },
    /// There is no such field or element.
    #[error("index {index} is out of bounds: there are {length}")]
    OutOfBounds {
        /// The index.
        index: u32,
        /// How many there are.
        length: u32,
    },
    /// A value has another type.
    #[error("a value of type {found} is not one of type {expected}")]
    Type {
        /// The type of the field or the element.
        expected: ValType,
        /// The value's.
        found: ValType,
    },
    /// The field or the elements can't be set.
    #[error("it can't be set")]
    Immutable,
    /// There is no room for another object, or for a handle.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// The type of values that a field or an element takes and gives.
fn unpacked(field: FieldType) -> ValType {
    match field.storage {
        StorageType::I8 | StorageType::I16 => ValType::I32,
        StorageType::Val(ty) => ty,
    }
}

/// The bits of a value for a field or an element.
fn to_bits(value: Val, field: FieldType, store: &AnyStore) -> Result<u128, ObjectError> {
    let expected = unpacked(field);
    if value.matches(expected, store) {
        return Ok(value.to_bits(store.raw()));
    }
    Err(ObjectError::Type {
        expected,
        found: value.precise_type(store),
    })
}

/// The definition of a structure's fields or of an array's elements.
fn definition(id: TypeId) -> Option<CompositeType> {
    Some(id.definition()?.composite.clone())
}

/// A reference to a structure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StructRef(AnyRef);

impl StructRef {
    /// A structure of type `ty`, which an instance of the store has, with these values in its fields.
    ///
    /// # Errors
    /// See [`ObjectError`].
    ///
    /// # Panics
    /// If a value is a reference of another store, or one whose scope has ended; so for all below.
    pub fn new(store: &mut AnyStore, ty: TypeId, values: &[Val]) -> Result<StructRef, ObjectError> {
        let descriptor = store.ctx().references.descriptors().get(ty);
        let descriptor = descriptor.ok_or(ObjectError::UnknownType)?;
        let Some(CompositeType::Struct(fields)) = definition(ty) else {
            return Err(ObjectError::UnknownType);
        };
        if fields.len() != values.len() {
            return Err(ObjectError::Count {
                expected: fields.len(),
                found: values.len(),
            });
        }
        let bits = fields.iter().zip(values);
        let bits = bits.map(|(&field, &value)| to_bits(value, field, store));
        let bits = bits.collect::<Result<Vec<_>, _>>()?;
        // SAFETY: it is the descriptor of a structure. What it is made of is kept by handles.
        let object = unsafe { store.ctx().new_object_by_host(descriptor) };
        let object = object.map_err(LimitError::from)?;
        for ((offset, storage), bits) in gc::fields(&fields).zip(bits) {
            // SAFETY: the object is one of this type.
            unsafe { gc::write(object, offset, storage, bits) };
        }
        let handle = Rooted::new(object, store.raw())?;
        Ok(StructRef(AnyRef(handle)))
    }

    /// The same as an `anyref`.
    #[must_use]
    pub fn to_any(&self) -> AnyRef {
        self.0
    }

    fn fields(&self, store: &AnyStore) -> Box<[FieldType]> {
        match definition(self.0.type_id(store)) {
            Some(CompositeType::Struct(fields)) => fields,
            _ => unreachable!("a structure's type is one of structures, and kept by the store"),
        }
    }

    /// The types of its fields.
    ///
    /// # Panics
    /// If the reference belongs to another store, or its scope has ended; so for all below.
    pub fn field_types(&self, store: &AnyStore) -> Vec<FieldType> {
        self.fields(store).into_vec()
    }

    fn place(
        &self,
        index: u32,
        store: &AnyStore,
    ) -> Result<(FieldType, u32, Storage), ObjectError> {
        let fields = self.fields(store);
        let place = gc::fields(&fields).nth(index as usize);
        let (offset, storage) = place.ok_or(ObjectError::OutOfBounds {
            index,
            length: fields.len() as u32,
        })?;
        Ok((fields[index as usize], offset, storage))
    }

    /// The value of a field. One of 8 or 16 bits is zero-extended.
    ///
    /// # Errors
    /// [`ObjectError::OutOfBounds`].
    ///
    /// # Panics
    /// As [`StructRef::field_types`].
    pub fn get(&self, store: &AnyStore, index: u32) -> Result<Val, ObjectError> {
        let (field, offset, storage) = self.place(index, store)?;
        // SAFETY: a handle's object is alive, and has this field.
        let bits = unsafe { gc::read(self.0.slot(store), offset, storage) };
        Ok(Val::from_bits(bits, unpacked(field), store.raw()))
    }

    /// Sets a field. One of 8 or 16 bits takes the low ones.
    ///
    /// # Errors
    /// See [`ObjectError`].
    ///
    /// # Panics
    /// As [`StructRef::field_types`]; so for the value.
    pub fn set(&self, store: &mut AnyStore, index: u32, value: Val) -> Result<(), ObjectError> {
        let (field, offset, storage) = self.place(index, store)?;
        if !field.mutable {
            return Err(ObjectError::Immutable);
        }
        let bits = to_bits(value, field, store)?;
        // SAFETY: as above.
        unsafe { gc::write(self.0.slot(store), offset, storage, bits) };
        Ok(())
    }
}

/// A reference to an array.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ArrayRef(AnyRef);

impl ArrayRef {
    /// An array of type `ty`, which an instance of the store has, with these values.
    ///
    /// # Errors
    /// See [`ObjectError`].
    ///
    /// # Panics
    /// If a value is a reference of another store, or one whose scope has ended; so for all below.
    pub fn new(store: &mut AnyStore, ty: TypeId, values: &[Val]) -> Result<ArrayRef, ObjectError> {
        let descriptor = store.ctx().references.descriptors().get(ty);
        let descriptor = descriptor.ok_or(ObjectError::UnknownType)?;
        let Some(CompositeType::Array(field)) = definition(ty) else {
            return Err(ObjectError::UnknownType);
        };
        let length = u32::try_from(values.len()).map_err(|_| ObjectError::OutOfBounds {
            index: u32::MAX,
            length: u32::MAX,
        })?;
        let bits = values.iter().map(|&value| to_bits(value, field, store));
        let bits = bits.collect::<Result<Vec<_>, _>>()?;
        // SAFETY: it is the descriptor of an array. What it is made of is kept by handles.
        let object = unsafe { store.ctx().new_array_by_host(descriptor, length) };
        let object = object.map_err(LimitError::from)?;
        let storage = gc::storage(field.storage);
        for (index, bits) in (0..).zip(bits) {
            // SAFETY: the object is one of this type, and so long.
            unsafe { gc::write_element(object, index, storage, bits) };
        }
        let handle = Rooted::new(object, store.raw())?;
        Ok(ArrayRef(AnyRef(handle)))
    }

    /// The same as an `anyref`.
    #[must_use]
    pub fn to_any(&self) -> AnyRef {
        self.0
    }

    /// The type of its elements.
    ///
    /// # Panics
    /// If the reference belongs to another store, or its scope has ended; so for all below.
    pub fn element_type(&self, store: &AnyStore) -> FieldType {
        match definition(self.0.type_id(store)) {
            Some(CompositeType::Array(field)) => field,
            _ => unreachable!("an array's type is one of arrays, and kept by the store"),
        }
    }

    /// How many elements it has.
    ///
    /// # Panics
    /// As [`ArrayRef::element_type`].
    pub fn len(&self, store: &AnyStore) -> u32 {
        // SAFETY: a handle's object is alive, and this is an array.
        unsafe { gc::array_length(self.0.slot(store)) }.unwrap_or(0)
    }

    fn check(&self, store: &AnyStore, index: u32) -> Result<FieldType, ObjectError> {
        let length = self.len(store);
        if index >= length {
            return Err(ObjectError::OutOfBounds { index, length });
        }
        Ok(self.element_type(store))
    }

    /// The value of an element. One of 8 or 16 bits is zero-extended.
    ///
    /// # Errors
    /// [`ObjectError::OutOfBounds`].
    ///
    /// # Panics
    /// As [`ArrayRef::element_type`].
    pub fn get(&self, store: &AnyStore, index: u32) -> Result<Val, ObjectError> {
        let field = self.check(store, index)?;
        let storage = gc::storage(field.storage);
        // SAFETY: a handle's object is alive, and has this element.
        let bits = unsafe { gc::read_element(self.0.slot(store), index, storage) };
        Ok(Val::from_bits(bits, unpacked(field), store.raw()))
    }

    /// Sets an element. One of 8 or 16 bits takes the low ones.
    ///
    /// # Errors
    /// See [`ObjectError`].
    ///
    /// # Panics
    /// As [`ArrayRef::element_type`]; so for the value.
    pub fn set(&self, store: &mut AnyStore, index: u32, value: Val) -> Result<(), ObjectError> {
        let field = self.check(store, index)?;
        if !field.mutable {
            return Err(ObjectError::Immutable);
        }
        let bits = to_bits(value, field, store)?;
        let storage = gc::storage(field.storage);
        // SAFETY: as above.
        unsafe { gc::write_element(self.0.slot(store), index, storage, bits) };
        Ok(())
    }
}

impl fmt::Debug for StructRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ArrayRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<StructRef> for Val {
    fn from(value: StructRef) -> Val {
        Val::AnyRef(Some(value.0))
    }
}

impl From<ArrayRef> for Val {
    fn from(value: ArrayRef) -> Val {
        Val::AnyRef(Some(value.0))
    }
}
