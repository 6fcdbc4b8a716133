//! A vector on its way between slots, memories and registers: 16 bytes in one piece.
//!
//! *Invariant:* each load and each store is one instruction, so a later load of the 16 bytes gets them from the store
//! before it. An integer of 128 bits would be two registers, and two stores.

use crate::vm::frame::Slot;

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::{uint8x16_t as Bits, vld1q_u8, vst1q_u8};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m128i as Bits, _mm_loadu_si128, _mm_storeu_si128};
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Bits = [u64; 2];

/// A vector in a register.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Wide(Bits);

impl std::fmt::Debug for Wide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#034x}", self.bits())
    }
}

impl Wide {
    /// All bits 0.
    pub const ZERO: Wide = Wide::from_bytes([0; 16]);

    /// The vector whose first lane is in the lowest bits.
    #[must_use]
    #[inline(always)]
    pub const fn from_bits(bits: u128) -> Wide {
        Wide::from_bytes(bits.to_le_bytes())
    }

    /// All bits, the first lane in the lowest.
    #[must_use]
    #[inline(always)]
    pub const fn bits(self) -> u128 {
        u128::from_le_bytes(self.bytes())
    }

    /// The vector of these bytes, in the order of memory.
    #[must_use]
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 16]) -> Wide {
        // SAFETY: both are 16 bytes of which any are valid.
        Wide(unsafe { std::mem::transmute::<[u8; 16], Bits>(bytes) })
    }

    /// Its bytes, in the order of memory.
    #[must_use]
    #[inline(always)]
    pub const fn bytes(self) -> [u8; 16] {
        // SAFETY: as above.
        unsafe { std::mem::transmute::<Bits, [u8; 16]>(self.0) }
    }

    /// Reads 16 bytes.
    ///
    /// # Safety
    /// They can be read; they need not be aligned.
    #[must_use]
    #[inline(always)]
    pub unsafe fn read(at: *const u8) -> Wide {
        // SAFETY: the caller's promise.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            return Wide(_mm_loadu_si128(at.cast()));
            #[cfg(target_arch = "aarch64")]
            return Wide(vld1q_u8(at));
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            return Wide(at.cast::<Bits>().read_unaligned());
        }
    }

    /// Writes 16 bytes.
    ///
    /// # Safety
    /// They can be written; they need not be aligned.
    #[inline(always)]
    pub unsafe fn write(self, at: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            _mm_storeu_si128(at.cast(), self.0);
            #[cfg(target_arch = "aarch64")]
            vst1q_u8(at, self.0);
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            at.cast::<Bits>().write_unaligned(self.0);
        }
    }

    /// Reads two slots.
    ///
    /// # Safety
    /// They can be read.
    #[must_use]
    #[inline(always)]
    pub unsafe fn from_slots(at: *const Slot) -> Wide {
        // SAFETY: the caller's promise.
        unsafe { Wide::read(at.cast()) }
    }

    /// Writes two slots.
    ///
    /// # Safety
    /// They can be written.
    #[inline(always)]
    pub unsafe fn to_slots(self, at: *mut Slot) {
        // SAFETY: the caller's promise.
        unsafe { self.write(at.cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_bytes_and_slots_are_one_value() {
        let bits = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
        let wide = Wide::from_bits(bits);
        assert_eq!(wide.bytes(), std::array::from_fn(|i| i as u8));
        let mut slots = [7; 4];
        // SAFETY: there are three slots from the second on.
        unsafe { wide.to_slots(slots.as_mut_ptr().add(1)) };
        assert_eq!(slots, [7, 0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, 7]);
        // SAFETY: as above.
        let read = unsafe { Wide::from_slots(slots.as_ptr().add(1)) };
        assert_eq!((read.bits(), Wide::ZERO.bits()), (bits, 0));
    }
}
