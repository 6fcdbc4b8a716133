//! References as running code has them: 64 bits.
//!
//! * null is 0;
//! * an `i31` is its 31 bits, shifted to the left, and a 1;
//! * an object is the address of its first byte, a multiple of [`ALIGN`];
//! * anything else, such as the address of a function's record, is an address outside of the heap.

use std::num::NonZeroUsize;

use crate::class::ALIGN;

/// The bits of the null reference.
pub const NULL: u64 = 0;

/// The reference for the low 31 bits of a number.
#[inline]
#[must_use]
pub const fn from_i31(value: u32) -> u64 {
    (value << 1 | 1) as u64
}

/// The number in an `i31`, its 31 bits zero-extended; `None` for any other reference.
#[inline]
#[must_use]
pub const fn as_i31(reference: u64) -> Option<u32> {
    match reference & 1 {
        0 => None,
        _ => Some(reference as u32 >> 1),
    }
}

/// The address of an object in a heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ObjectRef(NonZeroUsize);

impl ObjectRef {
    /// # Safety
    /// An object is there.
    #[inline]
    #[must_use]
    pub unsafe fn from_address(address: usize) -> ObjectRef {
        debug_assert!(address.is_multiple_of(ALIGN));
        // SAFETY: no object is at address zero.
        ObjectRef(unsafe { NonZeroUsize::new_unchecked(address) })
    }

    /// The address as the bits of a slot.
    #[inline]
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0.get() as u64
    }

    /// The address of a byte of it.
    #[inline]
    #[must_use]
    pub fn at(self, offset: usize) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.0.get() + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_i31_keeps_31_bits() {
        for value in [0, 1, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff] {
            assert_eq!(as_i31(from_i31(value)), Some(value));
            assert_eq!(as_i31(from_i31(value | 1 << 31)), Some(value));
        }
        assert_eq!(as_i31(NULL), None);
        assert_eq!(as_i31(crate::space::POISON), None);
    }
}
