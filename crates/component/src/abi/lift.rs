//! Lifting: what is the same for all types. "Loading" and "Flat Lifting" of the specification, by [`Place`].

use super::cursor::{Cursor, Of, Place};
use super::error::{AbiError, AbiErrorKind, Segment};
use super::{DEFAULT_LIFT_BUDGET, HandleType, Lift, LiftHandles, MAX_LIST_BYTES, Options};
use crate::types::{Abi, AddressType, Types};
use crate::val::Handle;

/// Where values are lifted from during one call.
pub struct LiftContext<'a> {
    pub(super) types: &'a Types,
    pub(super) options: Options,
    pub(super) memory: &'a [u8],
    pub(super) flat: &'a [u64],
    handles: &'a mut dyn LiftHandles,
    budget: u64,
}

impl<'a> LiftContext<'a> {
    /// Values in `memory` and in the core values `flat`: the arguments of a lowered import, or the results of a lifted
    /// export. The memory is empty if the canonical options name none.
    pub fn new(
        types: &'a Types,
        options: Options,
        memory: &'a [u8],
        flat: &'a [u64],
        handles: &'a mut dyn LiftHandles,
    ) -> LiftContext<'a> {
        LiftContext {
            types,
            options,
            memory,
            flat,
            handles,
            budget: DEFAULT_LIFT_BUDGET,
        }
    }

    /// The same with another bound on the host's memory that all values together take, in bytes.
    #[must_use]
    pub fn with_budget(mut self, bytes: u64) -> LiftContext<'a> {
        self.budget = bytes;
        self
    }

    /// The type of addresses.
    #[inline(always)]
    pub fn address(&self) -> AddressType {
        self.options.address
    }

    /// Takes the memory of `count` things of `bytes` from the budget, at least a byte of each.
    pub(super) fn charge(&mut self, count: u64, bytes: usize) -> Result<(), AbiError> {
        let bytes = count.checked_mul(bytes.max(1) as u64);
        let left = bytes.and_then(|bytes| self.budget.checked_sub(bytes));
        self.budget = left.ok_or_else(|| AbiError::new(AbiErrorKind::Budget))?;
        Ok(())
    }

    /// An empty list with room for this many values, which the budget has paid for.
    pub(super) fn list_of<T>(&mut self, length: u64) -> Result<Vec<T>, AbiError> {
        self.charge(length, size_of::<T>())?;
        let mut list = Vec::new();
        let length = usize::try_from(length).map_err(|_| AbiErrorKind::Budget)?;
        list.try_reserve_exact(length)
            .map_err(|_| AbiErrorKind::Budget)?;
        Ok(list)
    }

    /// A part of the memory.
    #[inline(always)]
    pub(super) fn range(&self, address: u64, bytes: u64) -> Result<&'a [u8], AbiError> {
        let begin = usize::try_from(address).ok();
        let end = address.checked_add(bytes);
        let end = end.and_then(|end| usize::try_from(end).ok());
        let range = begin.zip(end).map(|(begin, end)| begin..end);
        match range.and_then(|range| self.memory.get(range)) {
            Some(part) => Ok(part),
            None => Err(out_of_bounds(address, bytes, self.memory.len())),
        }
    }

    /// A number of `N` bytes: from memory, or the low bytes of a core value.
    #[inline(always)]
    pub(super) fn bytes<const N: usize>(&self, place: Place) -> Result<[u8; N], AbiError> {
        match place {
            Place::Memory(at) => {
                let bytes = self.range(at, N as u64)?.first_chunk();
                bytes.copied().ok_or_else(too_few)
            }
            Place::Flat(at) => {
                let value = self.flat.get(at).ok_or_else(too_few)?;
                value
                    .to_le_bytes()
                    .first_chunk()
                    .copied()
                    .ok_or_else(too_few)
            }
        }
    }

    /// An unsigned number in a discriminant or flags of this size; a core value is always 32 bits of them.
    #[inline]
    pub(super) fn small(&self, place: Place, size: u32) -> Result<u32, AbiError> {
        Ok(match (place, size) {
            (Place::Memory(_), 1) => self.bytes::<1>(place)?[0].into(),
            (Place::Memory(_), 2) => u16::from_le_bytes(self.bytes(place)?).into(),
            _ => u32::from_le_bytes(self.bytes(place)?),
        })
    }

    /// An address or a length.
    #[inline(always)]
    pub(super) fn word(&self, place: Place) -> Result<u64, AbiError> {
        Ok(match self.options.address {
            AddressType::I32 => u32::from_le_bytes(self.bytes(place)?).into(),
            AddressType::I64 => u64::from_le_bytes(self.bytes(place)?),
        })
    }

    /// The address and the length of the list at a place, of elements that are passed like this. All of it is in memory.
    pub(super) fn list_at(&self, place: Place, element: &Abi) -> Result<(u64, u64), AbiError> {
        let begin = self.word(place)?;
        let length = self.word(place.after_address(self.address()))?;
        let layout = element.layout(self.address());
        let bytes = length.saturating_mul(layout.size.into());
        if bytes > MAX_LIST_BYTES {
            return Err(AbiErrorKind::LongList(bytes).into());
        }
        aligned(begin, layout.align)?;
        self.range(begin, bytes)?;
        Ok((begin, length))
    }

    /// The number of the case of a variant at a place.
    #[inline]
    pub(super) fn case_at(&self, place: Place, cases: u32) -> Result<u32, AbiError> {
        let case = self.small(place, Abi::discriminant(cases).memory32.size)?;
        match case < cases {
            true => Ok(case),
            false => Err(AbiErrorKind::Case { case, cases }.into()),
        }
    }

    /// Moves a handle.
    pub(super) fn handle_at(&mut self, place: Place, ty: HandleType) -> Result<Handle, AbiError> {
        let index = u32::from_le_bytes(self.bytes(place)?);
        Ok(self.handles.lift_handle(ty, index)?)
    }

    /// Where values begin that are passed together like this: flat if they are not more than `limit` core values, else
    /// where the next core value points to.
    pub(super) fn begin(&self, abi: &Abi, limit: usize) -> Result<Place, AbiError> {
        if usize::from(abi.flat) <= limit {
            return Ok(Place::Flat(0));
        }
        let begin = self.word(Place::Flat(0))?;
        let layout = abi.layout(self.address());
        aligned(begin, layout.align)?;
        self.range(begin, layout.size.into())?;
        Ok(Place::Memory(begin))
    }
}

/// What Rust types with parts are lifted by.
impl LiftContext<'_> {
    /// The field that comes next of a record, or what comes with the case of a variant. The name is for messages.
    ///
    /// # Errors
    /// If it can't be lifted.
    #[inline]
    pub fn field<T: Lift>(&mut self, at: &mut Cursor, name: &'static str) -> Result<T, AbiError> {
        let part = at.next(self.types, &T::ABI, self.address())?;
        T::lift(self, part).map_err(|error| error.within(Segment::Field(name.into())))
    }

    /// The field that comes next of a tuple.
    ///
    /// # Errors
    /// If it can't be lifted.
    #[inline]
    pub fn index<T: Lift>(&mut self, at: &mut Cursor) -> Result<T, AbiError> {
        let index = at.part;
        let part = at.next(self.types, &T::ABI, self.address())?;
        T::lift(self, part).map_err(|error| error.within(Segment::Index(index)))
    }

    /// The number of the case of a variant or an enum `V` that has `cases` of them. What comes with it is the
    /// [`field`](LiftContext::field) that comes next.
    ///
    /// # Errors
    /// If there is no such case.
    #[inline]
    pub fn case<V: Lift>(&mut self, at: &mut Cursor, cases: u32) -> Result<u32, AbiError> {
        let case = self.case_at(at.place, cases)?;
        at.place = at.place.payload(&V::ABI, self.address());
        at.part = case;
        Ok(case)
    }

    /// The bits of flags with this many labels, the first of them lowest.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn flags(&mut self, at: Cursor, labels: u32) -> Result<u32, AbiError> {
        let bits = self.small(at.place, Abi::flags(labels).memory32.size)?;
        Ok(bits & u32::MAX.unbounded_shr(32 - labels.min(32)))
    }

    /// A handle, of the kind that the function's type says.
    ///
    /// # Errors
    /// If it can't be passed.
    pub fn handle(&mut self, at: Cursor) -> Result<Handle, AbiError> {
        let ty = at.handle_type(self.types)?;
        self.handle_at(at.place, ty)
    }

    /// The elements of a list, one by one.
    pub(super) fn elements<T: Lift>(
        &mut self,
        at: Cursor,
        begin: Place,
        length: u64,
    ) -> Result<Vec<T>, AbiError> {
        let mut list = self.list_of(length)?;
        let mut place = begin;
        for index in 0..length {
            let element = at.element(self.types, &T::ABI, place)?;
            let value = T::lift(self, element);
            list.push(value.map_err(|error| error.within(Segment::Element(index)))?);
            place = place.after(&T::ABI, self.address());
        }
        Ok(list)
    }

    /// A value of a Rust type at a place, of what `of` says.
    pub(super) fn value<T: Lift>(&mut self, place: Place, of: Of) -> Result<T, AbiError> {
        T::lift(self, Cursor::new(place, of))
    }
}

/// An address that the guest gives has to be a multiple of this.
#[inline(always)]
pub(super) fn aligned(address: u64, align: u32) -> Result<(), AbiError> {
    match address & (u64::from(align) - 1) {
        0 => Ok(()),
        _ => Err(AbiErrorKind::Misaligned { address, align }.into()),
    }
}

#[cold]
pub(super) fn out_of_bounds(address: u64, bytes: u64, memory: usize) -> AbiError {
    AbiError::new(AbiErrorKind::OutOfBounds {
        address,
        bytes,
        memory: memory as u64,
    })
}

#[cold]
pub(super) fn too_few() -> AbiError {
    AbiError::new(AbiErrorKind::CoreValues)
}
