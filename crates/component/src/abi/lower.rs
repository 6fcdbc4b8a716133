//! Lowering: what is the same for all types. "Storing" and "Flat Lowering" of the specification, by [`Place`].

use super::cursor::{Cursor, Of, Place};
use super::error::{AbiError, AbiErrorKind, Segment};
use super::lift::{aligned, out_of_bounds, too_few};
use super::{Guest, HandleType, Lower, MAX_LIST_BYTES, Options};
use crate::types::{Abi, AddressType, MAX_FLAT_PARAMS, Types};
use crate::val::Handle;

/// Where values are lowered to during one call.
pub struct LowerContext<'a> {
    pub(super) types: &'a Types,
    pub(super) options: Options,
    guest: &'a mut dyn Guest,
    flat: [u64; MAX_FLAT_PARAMS],
}

/// The core values that something was lowered to.
#[derive(Clone, Copy, Debug)]
pub struct FlatValues {
    values: [u64; MAX_FLAT_PARAMS],
    length: usize,
}

impl std::ops::Deref for FlatValues {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.values[..self.length]
    }
}

impl<'a> LowerContext<'a> {
    /// Values for this guest.
    pub fn new(types: &'a Types, options: Options, guest: &'a mut dyn Guest) -> LowerContext<'a> {
        LowerContext {
            types,
            options,
            guest,
            flat: [0; MAX_FLAT_PARAMS],
        }
    }

    /// The type of addresses.
    #[inline(always)]
    pub fn address(&self) -> AddressType {
        self.options.address
    }

    /// A part of the memory.
    #[inline(always)]
    pub(super) fn range(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], AbiError> {
        let memory = self.guest.memory();
        let size = memory.len();
        let begin = usize::try_from(address).ok();
        let end = address.checked_add(bytes);
        let end = end.and_then(|end| usize::try_from(end).ok());
        let range = begin.zip(end).map(|(begin, end)| begin..end);
        match range.and_then(|range| memory.get_mut(range)) {
            Some(part) => Ok(part),
            None => Err(out_of_bounds(address, bytes, size)),
        }
    }

    /// A number of `N` bytes, which as a core value is `core`.
    #[inline(always)]
    pub(super) fn put_bytes<const N: usize>(
        &mut self,
        place: Place,
        bytes: [u8; N],
        core: u64,
    ) -> Result<(), AbiError> {
        match place {
            Place::Memory(at) => self.range(at, N as u64)?.copy_from_slice(&bytes),
            Place::Flat(at) => *self.flat.get_mut(at).ok_or_else(too_few)? = core,
        }
        Ok(())
    }

    /// An unsigned number in a discriminant or flags of this size.
    #[inline]
    pub(super) fn put_small(
        &mut self,
        place: Place,
        size: u32,
        value: u32,
    ) -> Result<(), AbiError> {
        match size {
            1 => self.put_bytes(place, (value as u8).to_le_bytes(), value.into()),
            2 => self.put_bytes(place, (value as u16).to_le_bytes(), value.into()),
            _ => self.put_bytes(place, value.to_le_bytes(), value.into()),
        }
    }

    /// An address or a length.
    #[inline(always)]
    pub(super) fn put_word(&mut self, place: Place, value: u64) -> Result<(), AbiError> {
        match self.options.address {
            AddressType::I32 => self.put_bytes(place, (value as u32).to_le_bytes(), value),
            AddressType::I64 => self.put_bytes(place, value.to_le_bytes(), value),
        }
    }

    /// An address and a length.
    pub(super) fn put_pair(
        &mut self,
        place: Place,
        (begin, length): (u64, u64),
    ) -> Result<(), AbiError> {
        self.put_word(place, begin)?;
        self.put_word(place.after_address(self.options.address), length)
    }

    /// What the guest's `realloc` returns, which has this alignment and room for `size` bytes.
    pub(super) fn realloc(
        &mut self,
        old: u64,
        old_size: u64,
        align: u32,
        size: u64,
    ) -> Result<u64, AbiError> {
        let returned = self.guest.realloc(old, old_size, align, size);
        let address = returned.map_err(AbiErrorKind::Realloc)?;
        if address & (u64::from(align) - 1) != 0 {
            return Err(AbiErrorKind::ReallocMisaligned { address, align }.into());
        }
        let memory = self.guest.memory().len() as u64;
        match address.checked_add(size).is_some_and(|end| end <= memory) {
            true => Ok(address),
            false => Err(AbiErrorKind::ReallocOutOfBounds {
                address,
                bytes: size,
                memory,
            }
            .into()),
        }
    }

    /// Room for a list of this many elements that are passed like this.
    pub(super) fn list_room(&mut self, element: &Abi, length: usize) -> Result<u64, AbiError> {
        let layout = element.layout(self.options.address);
        let bytes = (length as u64).saturating_mul(layout.size.into());
        if bytes > MAX_LIST_BYTES {
            return Err(AbiErrorKind::LongList(bytes).into());
        }
        self.realloc(0, 0, layout.align, bytes)
    }

    /// Moves a handle.
    pub(super) fn put_handle_at(
        &mut self,
        place: Place,
        ty: HandleType,
        handle: Handle,
    ) -> Result<(), AbiError> {
        let index = self.guest.lower_handle(ty, handle)?;
        self.put_bytes(place, index.to_le_bytes(), index.into())
    }

    /// Where values go that are passed together like this, and how many core values are passed: flat if they are not more
    /// than `limit`, else where `out` points to, or in an allocation of the guest, of which the address is the core value.
    pub(super) fn begin(
        &mut self,
        abi: &Abi,
        limit: usize,
        out: Option<u64>,
    ) -> Result<(Place, usize), AbiError> {
        if usize::from(abi.flat) <= limit {
            return Ok((Place::Flat(0), abi.flat.into()));
        }
        let layout = abi.layout(self.options.address);
        match out {
            Some(out) => {
                let out = match self.options.address {
                    AddressType::I32 => u64::from(out as u32),
                    AddressType::I64 => out,
                };
                aligned(out, layout.align)?;
                self.range(out, layout.size.into())?;
                Ok((Place::Memory(out), 0))
            }
            None => {
                let begin = self.realloc(0, 0, layout.align, layout.size.into())?;
                self.put_word(Place::Flat(0), begin)?;
                Ok((Place::Memory(begin), 1))
            }
        }
    }

    /// The first core values.
    pub(super) fn finish(&self, length: usize) -> FlatValues {
        FlatValues {
            values: self.flat,
            length,
        }
    }
}

/// What Rust types with parts are lowered by.
impl LowerContext<'_> {
    /// The field that comes next of a record, or what comes with the case of a variant. The name is for messages.
    ///
    /// # Errors
    /// If it can't be lowered.
    #[inline]
    pub fn field<T: Lower + ?Sized>(
        &mut self,
        at: &mut Cursor,
        name: &'static str,
        value: &T,
    ) -> Result<(), AbiError> {
        let part = at.next(self.types, &T::ABI, self.address())?;
        let lowered = value.lower(self, part);
        lowered.map_err(|error| error.within(Segment::Field(name.into())))
    }

    /// The field that comes next of a tuple.
    ///
    /// # Errors
    /// If it can't be lowered.
    #[inline]
    pub fn index<T: Lower + ?Sized>(&mut self, at: &mut Cursor, value: &T) -> Result<(), AbiError> {
        let index = at.part;
        let part = at.next(self.types, &T::ABI, self.address())?;
        let lowered = value.lower(self, part);
        lowered.map_err(|error| error.within(Segment::Index(index)))
    }

    /// The number of the case of a variant or an enum `V` that has `cases` of them. What comes with it is the
    /// [`field`](LowerContext::field) that comes next.
    ///
    /// # Errors
    /// If the place is out of bounds.
    #[inline]
    pub fn case<V: Lower + ?Sized>(
        &mut self,
        at: &mut Cursor,
        cases: u32,
        case: u32,
    ) -> Result<(), AbiError> {
        self.put_small(at.place, Abi::discriminant(cases).memory32.size, case)?;
        at.place = at.place.payload(&V::ABI, self.address());
        at.part = case;
        Ok(())
    }

    /// The bits of flags with this many labels, the first of them lowest.
    ///
    /// # Errors
    /// If the place is out of bounds.
    pub fn flags(&mut self, at: Cursor, labels: u32, bits: u32) -> Result<(), AbiError> {
        let bits = bits & u32::MAX.unbounded_shr(32 - labels.min(32));
        self.put_small(at.place, Abi::flags(labels).memory32.size, bits)
    }

    /// A handle, of the kind that the function's type says.
    ///
    /// # Errors
    /// If it can't be passed.
    pub fn handle(&mut self, at: Cursor, handle: Handle) -> Result<(), AbiError> {
        let ty = at.handle_type(self.types)?;
        self.put_handle_at(at.place, ty, handle)
    }

    /// Values of a Rust type one behind the other.
    pub(super) fn elements<T: Lower>(
        &mut self,
        at: Cursor,
        begin: Place,
        values: &[T],
    ) -> Result<(), AbiError> {
        let mut place = begin;
        for (index, value) in values.iter().enumerate() {
            let element = at.element(self.types, &T::ABI, place)?;
            let lowered = value.lower(self, element);
            lowered.map_err(|error| error.within(Segment::Element(index as u64)))?;
            place = place.after(&T::ABI, self.address());
        }
        Ok(())
    }

    /// A value of a Rust type at a place, of what `of` says.
    pub(super) fn value<T: Lower + ?Sized>(
        &mut self,
        value: &T,
        place: Place,
        of: Of,
    ) -> Result<(), AbiError> {
        value.lower(self, Cursor::new(place, of))
    }
}
