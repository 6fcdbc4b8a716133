//! The guest's memory as a byte slice, and pointers into it that are checked once and then trusted.
//!
//! Invariant: a [`GuestPtr`] is in bounds and aligned for the memory it came from, and that memory does not shrink during
//! a call, so storing through it cannot fail. Bodies obtain all of theirs before they act, so a bad pointer never leaves
//! a half-done call behind.
//!
//! Invariant: where nothing is to be read or written, no pointer is looked at: the empty slices of some languages point
//! nowhere.

use std::marker::PhantomData;
use std::ops::Range;

use crate::error::{Fault, FaultKind};
use crate::work::{Meter, Work};

/// Size and alignment of a type in guest memory.
pub(crate) trait Layout {
    const SIZE: u32;
    const ALIGN: u32;
}

/// A type that can be written to guest memory.
pub(crate) trait Store: Layout {
    /// Writes the value into exactly `SIZE` bytes.
    fn store(&self, to: &mut [u8]);
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Layout for $ty {
            const SIZE: u32 = size_of::<$ty>() as u32;
            const ALIGN: u32 = size_of::<$ty>() as u32;
        }

        impl Store for $ty {
            fn store(&self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

integers!(u16 u32 u64);

/// The linear memory of the calling guest.
#[derive(Debug)]
pub struct GuestMemory<'a> {
    /// `None` when the guest exports no memory.
    bytes: Option<&'a mut [u8]>,
    work: Work<'a>,
}

/// A checked place for one `T`.
#[derive(Debug)]
pub(crate) struct GuestPtr<T> {
    at: usize,
    of: PhantomData<T>,
}

impl<'a> GuestMemory<'a> {
    /// Memory made of `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes: Some(bytes),
            work: Work::default(),
        }
    }

    /// The memory of a guest that exports none: every access faults.
    pub fn missing() -> Self {
        Self {
            bytes: None,
            work: Work::default(),
        }
    }

    /// Has `meter` pay for what calls do.
    #[must_use]
    pub fn metered(self, meter: &'a dyn Meter) -> Self {
        Self {
            work: Work::paid_by(meter),
            ..self
        }
    }

    /// What pays for the call.
    pub(crate) fn work(&self) -> Work<'a> {
        self.work
    }

    /// Size in bytes.
    pub fn size(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// All bytes, for reading.
    pub fn all(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// All bytes, for writing.
    pub(crate) fn all_mut(&mut self) -> &mut [u8] {
        self.bytes.as_deref_mut().unwrap_or_default()
    }

    /// Checks that `len` bytes at `address` exist and that `address` is a multiple of `align`; no bytes exist anywhere.
    pub(crate) fn check(
        &self,
        argument: &'static str,
        address: u32,
        len: u64,
        align: u32,
    ) -> Result<Range<usize>, Fault> {
        let fault = |kind| Fault {
            function: "",
            argument,
            address,
            len,
            memory_size: self.size(),
            kind,
        };
        if self.bytes.is_none() {
            return Err(fault(FaultKind::MissingMemory));
        }
        if len == 0 {
            return Ok(0..0);
        }
        let end = u64::from(address).checked_add(len);
        let end = end
            .and_then(|end| usize::try_from(end).ok())
            .filter(|&end| end <= self.size());
        match end {
            None => Err(fault(FaultKind::OutOfBounds)),
            Some(_) if !address.is_multiple_of(align) => {
                Err(fault(FaultKind::Misaligned { align }))
            }
            Some(end) => Ok(address as usize..end),
        }
    }

    /// The `len` bytes at `address`, for reading.
    pub(crate) fn slice(
        &self,
        argument: &'static str,
        address: u32,
        len: u32,
    ) -> Result<&[u8], Fault> {
        let range = self.check(argument, address, len.into(), 1)?;
        Ok(&self.all()[range])
    }

    /// The `len` bytes at `address`, for writing.
    pub(crate) fn slice_mut(
        &mut self,
        argument: &'static str,
        address: u32,
        len: u32,
    ) -> Result<&mut [u8], Fault> {
        let range = self.check(argument, address, len.into(), 1)?;
        Ok(&mut self.all_mut()[range])
    }

    /// A place for one `T` at `address`.
    pub(crate) fn ptr<T: Layout>(
        &self,
        argument: &'static str,
        address: u32,
    ) -> Result<GuestPtr<T>, Fault> {
        let range = self.check(argument, address, T::SIZE.into(), T::ALIGN)?;
        Ok(GuestPtr {
            at: range.start,
            of: PhantomData,
        })
    }

    /// Writes `value` to its place.
    pub(crate) fn store<T: Store>(&mut self, to: GuestPtr<T>, value: T) {
        value.store(&mut self.all_mut()[to.at..to.at + T::SIZE as usize]);
    }

    /// Reads the `u32` at `at`, which the caller has checked.
    pub(crate) fn u32_at(&self, at: usize) -> u32 {
        let bytes = self.all();
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked_without_overflow() {
        let mut bytes = [0; 16];
        let memory = GuestMemory::new(&mut bytes);
        assert!(memory.slice("p", 0, 16).is_ok());
        assert!(memory.slice("p", 16, 0).is_ok());
        assert!(memory.slice("p", 1, 16).is_err());
        assert!(memory.slice("p", u32::MAX, u32::MAX).is_err());
        assert!(memory.check("p", u32::MAX, u64::MAX, 1).is_err());
    }

    #[test]
    fn nothing_is_anywhere() {
        let mut bytes = [0; 16];
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.slice("p", 17, 0), Ok(&[][..]));
        assert_eq!(memory.slice("p", u32::MAX, 0), Ok(&[][..]));
        assert_eq!(memory.check("p", 0xaaaa_aaaa, 0, 8), Ok(0..0));
        assert!(memory.ptr::<u32>("p", 16).is_err());
    }

    #[test]
    fn alignment_is_checked() {
        let mut bytes = [0; 16];
        let memory = GuestMemory::new(&mut bytes);
        assert!(memory.ptr::<u32>("p", 12).is_ok());
        let fault = memory.ptr::<u64>("p", 4).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Misaligned { align: 8 });
        assert_eq!(
            memory.ptr::<u32>("p", 13).unwrap_err().kind,
            FaultKind::OutOfBounds
        );
    }

    #[test]
    fn a_missing_memory_says_so() {
        let memory = GuestMemory::missing();
        let fault = memory.slice("buf", 0, 0).unwrap_err();
        assert!(fault.to_string().contains("missing required memory export"));
    }

    #[test]
    fn values_are_little_endian() {
        let mut bytes = [0; 8];
        let mut memory = GuestMemory::new(&mut bytes);
        let ptr = memory.ptr::<u32>("p", 4).unwrap();
        memory.store(ptr, 0x0102_0304);
        assert_eq!(memory.u32_at(4), 0x0102_0304);
        assert_eq!(bytes, [0, 0, 0, 0, 4, 3, 2, 1]);
    }
}
