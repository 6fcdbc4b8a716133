//! Values in a memory of 32-bit addresses as the flat core values that they would be passed as, without lifting them: strings
//! and lists stay where they are.
//!
//! What is loaded is not checked but for its place and the cases of variants, which say what is there: the core values
//! are checked where they are used, as those of any call.

use super::error::{AbiError, AbiErrorKind};
use super::lift::out_of_bounds;
use crate::types::{Abi, AddressType, TypeDef, Types, ValType};

/// Loads values of these types, which are fields of a tuple at `address`.
///
/// # Errors
/// If the tuple is not aligned or not in the memory, or a variant has no such case.
pub(crate) fn flatten(
    types: &Types,
    fields: impl Iterator<Item = ValType> + Clone,
    memory: &[u8],
    address: u32,
) -> Result<Vec<u64>, AbiError> {
    let align = fields.clone().map(|ty| types.abi(ty).memory32.align).max();
    super::lift::aligned(address.into(), align.unwrap_or(1))?;
    let mut flat = Vec::new();
    let mut cx = Flatten {
        types,
        memory,
        flat: &mut flat,
    };
    cx.fields(fields, address.into())?;
    Ok(flat)
}

struct Flatten<'a> {
    types: &'a Types,
    memory: &'a [u8],
    flat: &'a mut Vec<u64>,
}

impl Flatten<'_> {
    fn load(&self, address: u64, size: u32) -> Result<u64, AbiError> {
        let begin = usize::try_from(address).ok();
        let part = begin.and_then(|begin| self.memory.get(begin..)?.get(..size as usize));
        let part = part.ok_or_else(|| out_of_bounds(address, size.into(), self.memory.len()))?;
        let mut bytes = [0; 8];
        bytes[..part.len()].copy_from_slice(part);
        Ok(u64::from_le_bytes(bytes))
    }

    fn fields(
        &mut self,
        fields: impl Iterator<Item = ValType>,
        mut address: u64,
    ) -> Result<(), AbiError> {
        for ty in fields {
            let layout = self.types.abi(ty).memory32;
            address = address.next_multiple_of(layout.align.into());
            self.value(ty, address)?;
            address += u64::from(layout.size);
        }
        Ok(())
    }

    fn value(&mut self, ty: ValType, address: u64) -> Result<(), AbiError> {
        let value = match ty {
            ValType::S8 => self.load(address, 1)? as u8 as i8 as i32 as u32 as u64,
            ValType::S16 => self.load(address, 2)? as u16 as i16 as i32 as u32 as u64,
            ValType::String => return self.pair(address),
            ValType::Defined(id) => {
                let types = self.types;
                return self.defined(ty, types.def(id), address);
            }
            _ => self.load(address, self.types.abi(ty).memory32.size)?,
        };
        self.flat.push(value);
        Ok(())
    }

    /// An address and a length.
    fn pair(&mut self, address: u64) -> Result<(), AbiError> {
        let (begin, length) = (self.load(address, 4)?, self.load(address + 4, 4)?);
        self.flat.extend([begin, length]);
        Ok(())
    }

    fn defined(&mut self, ty: ValType, def: &TypeDef, address: u64) -> Result<(), AbiError> {
        match def {
            TypeDef::Record(fields) => self.fields(fields.iter().map(|field| field.ty), address),
            TypeDef::Tuple(types) => self.fields(types.iter().copied(), address),
            TypeDef::FixedList(item, length) => self.fields((0..*length).map(|_| *item), address),
            TypeDef::List(_) | TypeDef::Map(..) => self.pair(address),
            TypeDef::Variant(cases) => self.variant(ty, cases.iter().map(|case| case.ty), address),
            TypeDef::Enum(labels) => self.variant(ty, labels.iter().map(|_| None), address),
            TypeDef::Option(some) => self.variant(ty, [None, Some(*some)].into_iter(), address),
            TypeDef::Result { ok, err } => self.variant(ty, [*ok, *err].into_iter(), address),
            TypeDef::Flags(_) | TypeDef::Stream(_) | TypeDef::Future(_) => {
                let size = self.types.abi(ty).memory32.size;
                let value = self.load(address, size)?;
                self.flat.push(value);
                Ok(())
            }
        }
    }

    fn variant(
        &mut self,
        ty: ValType,
        cases: impl ExactSizeIterator<Item = Option<ValType>> + Clone,
        address: u64,
    ) -> Result<(), AbiError> {
        let count = cases.len() as u32;
        let discriminant = Abi::discriminant(count).memory32.size;
        let case = self.load(address, discriminant)? as u32;
        let begin = self.flat.len();
        self.flat.push(case.into());
        let Some(payload) = cases.clone().nth(case as usize) else {
            return Err(AbiErrorKind::Case { case, cases: count }.into());
        };
        if let Some(payload) = payload {
            let align = cases
                .flatten()
                .map(|ty| self.types.abi(ty).memory32.align)
                .max();
            let offset = u64::from(discriminant).next_multiple_of(align.unwrap_or(1).into());
            self.value(payload, address + offset)?;
        }
        // Cases share core values; those that this one has not are 0.
        let all = self.types.flat(ty, AddressType::I32).map_or(1, <[_]>::len);
        self.flat.resize(begin + all, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Case;

    #[test]
    fn fields_come_in_order_and_cases_leave_no_gaps() {
        let mut types = Types::new();
        let case = |name: &str, ty| Case {
            name: name.into(),
            ty,
        };
        let variant = TypeDef::Variant(
            [
                case("none", None),
                case("text", Some(ValType::String)),
                case("byte", Some(ValType::S8)),
            ]
            .into(),
        );
        let variant = types.define(variant).unwrap();
        let fields = [ValType::U8, variant, ValType::U64, ValType::S16];
        let mut memory = vec![0; 64];
        memory[8] = 7;
        memory[12] = 2;
        memory[16] = 0xff;
        memory[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
        memory[32..34].copy_from_slice(&(-2i16).to_le_bytes());
        let flat = flatten(&types, fields.into_iter(), &memory, 8).unwrap();
        assert_eq!(flat, [7, 2, 0xffff_ffff, 0, u64::MAX, 0xffff_fffe]);
        memory[12] = 3;
        assert!(flatten(&types, fields.into_iter(), &memory, 8).is_err());
        assert!(flatten(&types, fields.into_iter(), &memory, 12).is_err());
        assert!(flatten(&types, fields.into_iter(), &memory, 48).is_err());
    }
}
