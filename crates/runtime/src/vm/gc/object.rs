//! Reading and writing objects where no tier does it inline: for constant expressions, and for the host.

use std::ptr::NonNull;

use tiered_heap::layout::{ARRAY_ELEMENTS, DESCRIPTOR};
use tiered_heap::{Descriptor, Kind, Storage};

use crate::vm::frame::Slot;

fn address(object: Slot, offset: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(object as usize + offset)
}

/// The descriptor of an object. It lives as long as the store.
///
/// # Safety
/// The reference is to an object.
#[inline]
pub(crate) unsafe fn descriptor(reference: Slot) -> NonNull<Descriptor> {
    let place = address(reference, DESCRIPTOR).cast::<NonNull<Descriptor>>();
    // SAFETY: the caller's promise; objects begin with a descriptor's address, which is not null.
    unsafe { place.read() }
}

/// What a reference is to; `None` for an `i31`.
///
/// # Safety
/// It is no null, and not to a function; what it refers to lives.
pub(crate) unsafe fn kind(reference: Slot) -> Option<Kind> {
    // SAFETY: what is neither is an object.
    (!super::is_i31(reference)).then(|| unsafe { descriptor(reference).as_ref() }.kind())
}

/// The bits of a field, zero-extended.
///
/// # Safety
/// The object lives, and stores such a field at the offset.
pub(crate) unsafe fn read(object: Slot, offset: u32, storage: Storage) -> u128 {
    // SAFETY: the caller's promise.
    unsafe { read_at(address(object, offset as usize), storage) }
}

/// Writes the low bits of `bits` to a field.
///
/// # Safety
/// As [`read`]; they are a value of the field's type.
pub(crate) unsafe fn write(object: Slot, offset: u32, storage: Storage, bits: u128) {
    // SAFETY: the caller's promise.
    unsafe { write_at(address(object, offset as usize), storage, bits) }
}

fn element(array: Slot, index: u32, storage: Storage) -> *mut u8 {
    let offset = index as usize * storage.size() as usize;
    address(array, ARRAY_ELEMENTS + offset)
}

/// The bits of an element, zero-extended.
///
/// # Safety
/// The array lives, has this element and stores it so.
pub(crate) unsafe fn read_element(array: Slot, index: u32, storage: Storage) -> u128 {
    // SAFETY: the caller's promise.
    unsafe { read_at(element(array, index, storage), storage) }
}

/// Writes the low bits of `bits` to an element.
///
/// # Safety
/// As [`read_element`]; they are a value of the element's type.
pub(crate) unsafe fn write_element(array: Slot, index: u32, storage: Storage, bits: u128) {
    // SAFETY: the caller's promise.
    unsafe { write_at(element(array, index, storage), storage, bits) }
}

/// # Safety
/// What is stored so can be read there.
unsafe fn read_at(at: *const u8, storage: Storage) -> u128 {
    // SAFETY: the caller's promise. Vectors are aligned by a word.
    unsafe {
        match storage {
            Storage::I8 => at.read().into(),
            Storage::I16 => at.cast::<u16>().read().into(),
            Storage::W32 => at.cast::<u32>().read().into(),
            Storage::W64 | Storage::Reference => at.cast::<u64>().read().into(),
            Storage::V128 => at.cast::<u128>().read_unaligned(),
        }
    }
}

/// # Safety
/// What is stored so can be written there.
unsafe fn write_at(at: *mut u8, storage: Storage, bits: u128) {
    // SAFETY: as above.
    unsafe {
        match storage {
            Storage::I8 => at.write(bits as u8),
            Storage::I16 => at.cast::<u16>().write(bits as u16),
            Storage::W32 => at.cast::<u32>().write(bits as u32),
            Storage::W64 | Storage::Reference => at.cast::<u64>().write(bits as u64),
            Storage::V128 => at.cast::<u128>().write_unaligned(bits),
        }
    }
}
