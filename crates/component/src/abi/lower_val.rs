//! Lowering of values by their types, with a check that they are of them.

use super::HandleType;
use super::cursor::{Place, handle_type};
use super::error::{AbiError, AbiErrorKind, Segment};
use super::lower::LowerContext;
use crate::types::{Abi, Field, Label, TypeDef, TypeId, ValType};
use crate::val::Val;

impl LowerContext<'_> {
    /// A value of this type at a place.
    pub(crate) fn put_val(
        &mut self,
        ty: ValType,
        place: Place,
        value: &Val,
    ) -> Result<(), AbiError> {
        match (ty, value) {
            (ValType::Bool, Val::Bool(value)) => self.put_at(place, value),
            (ValType::S8, Val::S8(value)) => self.put_at(place, value),
            (ValType::U8, Val::U8(value)) => self.put_at(place, value),
            (ValType::S16, Val::S16(value)) => self.put_at(place, value),
            (ValType::U16, Val::U16(value)) => self.put_at(place, value),
            (ValType::S32, Val::S32(value)) => self.put_at(place, value),
            (ValType::U32, Val::U32(value)) => self.put_at(place, value),
            (ValType::S64, Val::S64(value)) => self.put_at(place, value),
            (ValType::U64, Val::U64(value)) => self.put_at(place, value),
            (ValType::F32, Val::F32(value)) => self.put_at(place, value),
            (ValType::F64, Val::F64(value)) => self.put_at(place, value),
            (ValType::Char, Val::Char(value)) => self.put_at(place, value),
            (ValType::String, Val::String(value)) => self.put_string_at(place, value),
            (ValType::Defined(id), value) => {
                let types = self.types;
                self.put_defined(id, types.def(id), place, value)
            }
            _ => self.put_handle_val(ty, place, value),
        }
    }

    fn put_handle_val(&mut self, ty: ValType, place: Place, value: &Val) -> Result<(), AbiError> {
        match (handle_type(self.types, ty), value) {
            (Some(kind @ (HandleType::Own(_) | HandleType::Borrow(_))), Val::Resource(handle))
            | (Some(kind @ HandleType::Stream(_)), Val::Stream(handle))
            | (Some(kind @ HandleType::Future(_)), Val::Future(handle))
            | (Some(kind @ HandleType::ErrorContext), Val::ErrorContext(handle)) => {
                self.put_handle_at(place, kind, *handle)
            }
            _ => Err(self.mismatch(ty, value)),
        }
    }

    #[cold]
    fn mismatch(&self, ty: ValType, value: &Val) -> AbiError {
        AbiError::new(AbiErrorKind::Mismatch {
            expected: self.types.display(ty).to_string(),
            found: value.kind(),
        })
    }

    #[cold]
    fn unknown(&self, label: &Label, ty: ValType) -> AbiError {
        let ty = self.types.display(ty).to_string();
        AbiError::new(AbiErrorKind::Unknown(label.clone(), ty))
    }

    fn put_defined(
        &mut self,
        id: TypeId,
        def: &TypeDef,
        place: Place,
        value: &Val,
    ) -> Result<(), AbiError> {
        let ty = ValType::Defined(id);
        match (def, value) {
            (TypeDef::Record(fields), Val::Record(values)) => {
                self.put_record(fields, place, values)
            }
            (TypeDef::Tuple(types), Val::Tuple(values)) => {
                count(types.len(), values.len())?;
                let mut next = place;
                for (index, (&ty, value)) in (0..).zip(types.iter().zip(values)) {
                    let put = self.put_next_val(ty, &mut next, value);
                    put.map_err(|error| error.within(Segment::Index(index)))?;
                }
                Ok(())
            }
            (TypeDef::List(element), Val::List(values)) => {
                let abi = self.types.element_abi(id);
                let begin = self.list_room(&abi, values.len())?;
                self.put_vals(*element, &abi, Place::Memory(begin), values)?;
                self.put_pair(place, (begin, values.len() as u64))
            }
            (TypeDef::FixedList(element, length), Val::List(values)) => {
                count(*length as usize, values.len())?;
                let abi = self.types.element_abi(id);
                self.put_vals(*element, &abi, place, values)
            }
            (TypeDef::Map(key, value), Val::Map(pairs)) => {
                let abi = self.types.element_abi(id);
                let begin = self.list_room(&abi, pairs.len())?;
                self.put_pairs(*key, *value, &abi, begin, pairs)?;
                self.put_pair(place, (begin, pairs.len() as u64))
            }
            (TypeDef::Flags(labels), Val::Flags(set)) => {
                let mut bits = 0;
                for label in set {
                    let bit = labels.iter().position(|known| known == label);
                    bits |= 1 << bit.ok_or_else(|| self.unknown(label, ty))?;
                }
                self.put_small(place, self.types.abi(ty).memory32.size, bits)
            }
            (TypeDef::Enum(labels), Val::Enum(label)) => {
                let case = labels.iter().position(|known| known == label);
                let case = case.ok_or_else(|| self.unknown(label, ty))?;
                self.put_small(place, self.types.abi(ty).memory32.size, case as u32)
            }
            (TypeDef::Variant(cases), Val::Variant(label, value)) => {
                let case = cases.iter().position(|known| known.name == *label);
                let case = case.ok_or_else(|| self.unknown(label, ty))?;
                let counted = (case, cases.len());
                self.put_case(ty, counted, cases[case].ty, label, place, value.as_deref())
            }
            (TypeDef::Option(payload), Val::Option(value)) => {
                let case = usize::from(value.is_some());
                let payload = value.is_some().then_some(*payload);
                self.put_case(ty, (case, 2), payload, "some", place, value.as_deref())
            }
            (TypeDef::Result { ok, .. }, Val::Result(Ok(value))) => {
                self.put_case(ty, (0, 2), *ok, "ok", place, value.as_deref())
            }
            (TypeDef::Result { err, .. }, Val::Result(Err(value))) => {
                self.put_case(ty, (1, 2), *err, "err", place, value.as_deref())
            }
            (TypeDef::Stream(_) | TypeDef::Future(_), value) => {
                self.put_handle_val(ty, place, value)
            }
            _ => Err(self.mismatch(ty, value)),
        }
    }

    /// The value of this type that comes next.
    pub(super) fn put_next_val(
        &mut self,
        ty: ValType,
        next: &mut Place,
        value: &Val,
    ) -> Result<(), AbiError> {
        let abi = self.types.abi(ty);
        let place = next.begin(&abi, self.address());
        *next = place.after(&abi, self.address());
        self.put_val(ty, place, value)
    }

    /// A record, with its fields in any order.
    fn put_record(
        &mut self,
        fields: &[Field],
        place: Place,
        values: &[(Label, Val)],
    ) -> Result<(), AbiError> {
        count(fields.len(), values.len())?;
        let mut next = place;
        for (field, same) in fields.iter().zip(values) {
            let value = match same.0 == field.name {
                true => Some(same),
                false => values.iter().find(|(name, _)| *name == field.name),
            };
            let Some((_, value)) = value else {
                return Err(AbiErrorKind::Missing(field.name.clone()).into());
            };
            let put = self.put_next_val(field.ty, &mut next, value);
            put.map_err(|error| error.within(Segment::Field(field.name.clone())))?;
        }
        Ok(())
    }

    /// A case of a variant, of which there are `cases`, and what comes with it.
    fn put_case(
        &mut self,
        variant: ValType,
        (case, cases): (usize, usize),
        ty: Option<ValType>,
        name: &str,
        place: Place,
        value: Option<&Val>,
    ) -> Result<(), AbiError> {
        let discriminant = Abi::discriminant(cases as u32);
        self.put_small(place, discriminant.memory32.size, case as u32)?;
        let put = match (ty, value) {
            (None, None) => Ok(()),
            (Some(ty), Some(value)) => {
                let abi = self.types.abi(variant);
                self.put_val(ty, place.payload(&abi, self.address()), value)
            }
            (ty, value) => count(ty.iter().len(), value.iter().len()),
        };
        put.map_err(|error| error.within(Segment::Field(name.into())))
    }

    /// Elements of this type, one behind the other.
    pub(super) fn put_vals(
        &mut self,
        ty: ValType,
        abi: &Abi,
        mut place: Place,
        values: &[Val],
    ) -> Result<(), AbiError> {
        for (index, value) in (0..).zip(values) {
            let put = self.put_val(ty, place, value);
            put.map_err(|error| error.within(Segment::Element(index)))?;
            place = place.after(abi, self.address());
        }
        Ok(())
    }

    /// The pairs of a map.
    fn put_pairs(
        &mut self,
        key: ValType,
        value: ValType,
        abi: &Abi,
        begin: u64,
        pairs: &[(Val, Val)],
    ) -> Result<(), AbiError> {
        let mut place = Place::Memory(begin);
        for (index, pair) in (0..).zip(pairs) {
            let mut next = place;
            let put = self.put_next_val(key, &mut next, &pair.0);
            put.map_err(|error| error.within(Segment::Key(index)))?;
            let put = self.put_next_val(value, &mut next, &pair.1);
            put.map_err(|error| error.within(Segment::Value(index)))?;
            place = place.after(abi, self.address());
        }
        Ok(())
    }
}

/// The host's value has to have as many parts as its type.
pub(super) fn count(expected: usize, found: usize) -> Result<(), AbiError> {
    match expected == found {
        true => Ok(()),
        false => Err(AbiErrorKind::Count { expected, found }.into()),
    }
}
