//! Lifting of values by their types.

use super::cursor::{Place, handle_type};
use super::error::{AbiError, AbiErrorKind, Segment};
use super::lift::LiftContext;
use crate::types::{Abi, Case, Label, TypeDef, TypeId, ValType};
use crate::val::Val;

impl LiftContext<'_> {
    /// The value of this type at a place.
    pub(crate) fn val(&mut self, ty: ValType, place: Place) -> Result<Val, AbiError> {
        Ok(match ty {
            ValType::Bool => Val::Bool(self.value_at(place)?),
            ValType::S8 => Val::S8(self.value_at(place)?),
            ValType::U8 => Val::U8(self.value_at(place)?),
            ValType::S16 => Val::S16(self.value_at(place)?),
            ValType::U16 => Val::U16(self.value_at(place)?),
            ValType::S32 => Val::S32(self.value_at(place)?),
            ValType::U32 => Val::U32(self.value_at(place)?),
            ValType::S64 => Val::S64(self.value_at(place)?),
            ValType::U64 => Val::U64(self.value_at(place)?),
            ValType::F32 => Val::F32(self.value_at(place)?),
            ValType::F64 => Val::F64(self.value_at(place)?),
            ValType::Char => Val::Char(self.value_at(place)?),
            ValType::String => Val::String(self.string_at(place)?),
            ValType::Defined(id) => {
                let types = self.types;
                self.defined(id, types.def(id), place)?
            }
            ValType::ErrorContext | ValType::Own(_) | ValType::Borrow(_) => {
                self.handle_val(ty, place)?
            }
        })
    }

    fn handle_val(&mut self, ty: ValType, place: Place) -> Result<Val, AbiError> {
        let kind = handle_type(self.types, ty);
        let kind = kind.ok_or_else(|| AbiError::new(AbiErrorKind::CoreValues))?;
        let handle = self.handle_at(place, kind)?;
        Ok(match kind {
            super::HandleType::Own(_) | super::HandleType::Borrow(_) => Val::Resource(handle),
            super::HandleType::Stream(_) => Val::Stream(handle),
            super::HandleType::Future(_) => Val::Future(handle),
            super::HandleType::ErrorContext => Val::ErrorContext(handle),
        })
    }

    fn defined(&mut self, id: TypeId, def: &TypeDef, place: Place) -> Result<Val, AbiError> {
        let ty = ValType::Defined(id);
        Ok(match def {
            TypeDef::Record(fields) => {
                let mut values = self.list_of(fields.len() as u64)?;
                let mut next = place;
                for field in fields {
                    let value = self.next_val(field.ty, &mut next);
                    let value =
                        value.map_err(|error| error.within(Segment::Field(field.name.clone())))?;
                    values.push((field.name.clone(), value));
                }
                Val::Record(values)
            }
            TypeDef::Tuple(types) => {
                let mut values = self.list_of(types.len() as u64)?;
                let mut next = place;
                for (index, &ty) in (0..).zip(types) {
                    let value = self.next_val(ty, &mut next);
                    values.push(value.map_err(|error| error.within(Segment::Index(index)))?);
                }
                Val::Tuple(values)
            }
            TypeDef::List(element) => {
                let abi = self.types.element_abi(id);
                let (begin, length) = self.list_at(place, &abi)?;
                Val::List(self.vals(*element, &abi, Place::Memory(begin), length)?)
            }
            TypeDef::FixedList(element, length) => {
                let abi = self.types.element_abi(id);
                Val::List(self.vals(*element, &abi, place, u64::from(*length))?)
            }
            TypeDef::Map(key, value) => {
                let abi = self.types.element_abi(id);
                let (begin, length) = self.list_at(place, &abi)?;
                Val::Map(self.pairs(*key, *value, &abi, begin, length)?)
            }
            TypeDef::Flags(labels) => {
                let size = self.types.abi(ty).memory32.size;
                let bits = self.small(place, size)?;
                let is_set = |bit: u32| bits >> bit & 1 != 0;
                let count = (0..labels.len() as u32).filter(|&bit| is_set(bit)).count();
                let mut set: Vec<Label> = self.list_of(count as u64)?;
                let all = (0..).zip(labels).filter(|&(bit, _)| is_set(bit));
                set.extend(all.map(|(_, label)| label.clone()));
                Val::Flags(set)
            }
            TypeDef::Enum(labels) => {
                let case = self.case_at(place, labels.len() as u32)?;
                Val::Enum(labels[case as usize].clone())
            }
            TypeDef::Variant(cases) => {
                let case = self.case_at(place, cases.len() as u32)?;
                let Case { name, ty: payload } = &cases[case as usize];
                Val::Variant(name.clone(), self.payload(ty, *payload, name, place)?)
            }
            TypeDef::Option(payload) => match self.case_at(place, 2)? {
                0 => Val::Option(None),
                _ => Val::Option(self.payload(ty, Some(*payload), "some", place)?),
            },
            TypeDef::Result { ok, err } => Val::Result(match self.case_at(place, 2)? {
                0 => Ok(self.payload(ty, *ok, "ok", place)?),
                _ => Err(self.payload(ty, *err, "err", place)?),
            }),
            TypeDef::Stream(_) | TypeDef::Future(_) => self.handle_val(ty, place)?,
        })
    }

    /// The value of this type that comes next.
    pub(super) fn next_val(&mut self, ty: ValType, next: &mut Place) -> Result<Val, AbiError> {
        let abi = self.types.abi(ty);
        let place = next.begin(&abi, self.address());
        *next = place.after(&abi, self.address());
        self.val(ty, place)
    }

    /// What comes with the case `name` of a variant.
    fn payload(
        &mut self,
        variant: ValType,
        ty: Option<ValType>,
        name: &str,
        place: Place,
    ) -> Result<Option<Box<Val>>, AbiError> {
        let Some(ty) = ty else { return Ok(None) };
        let place = place.payload(&self.types.abi(variant), self.address());
        self.charge(1, size_of::<Val>())?;
        let value = self.val(ty, place);
        let value = value.map_err(|error| error.within(Segment::Field(name.into())))?;
        Ok(Some(Box::new(value)))
    }

    /// Elements of this type, one behind the other.
    pub(super) fn vals(
        &mut self,
        ty: ValType,
        abi: &Abi,
        mut place: Place,
        length: u64,
    ) -> Result<Vec<Val>, AbiError> {
        let mut values = self.list_of(length)?;
        for index in 0..length {
            let value = self.val(ty, place);
            values.push(value.map_err(|error| error.within(Segment::Element(index)))?);
            place = place.after(abi, self.address());
        }
        Ok(values)
    }

    /// The pairs of a map.
    fn pairs(
        &mut self,
        key: ValType,
        value: ValType,
        abi: &Abi,
        begin: u64,
        length: u64,
    ) -> Result<Vec<(Val, Val)>, AbiError> {
        let mut pairs = self.list_of(length)?;
        let mut place = Place::Memory(begin);
        for index in 0..length {
            let mut next = place;
            let key = self.next_val(key, &mut next);
            let key = key.map_err(|error| error.within(Segment::Key(index)))?;
            let value = self.next_val(value, &mut next);
            let value = value.map_err(|error| error.within(Segment::Value(index)))?;
            pairs.push((key, value));
            place = place.after(abi, self.address());
        }
        Ok(pairs)
    }
}
