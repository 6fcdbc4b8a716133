//! Where the parts of an object stand.
//!
//! ```text
//! struct, exception: [ descriptor | fields in the order of their declaration, each aligned by its size ]
//! array:             [ descriptor | length: u32 | 4 bytes | elements ]
//! extern:            [ descriptor | key of the host's value: u64 ]
//! ```
//!
//! * *Invariant:* a field's place depends on its type and on the fields in front of it alone. So a subtype, which has more
//!   fields behind, has the same ones in the same places.
//! * *Invariant:* an object is aligned by [`ALIGN`], and by no more; nor is a vector in it.

use crate::class::ALIGN;

/// The descriptor's place in every object: a word, the address of a [`Descriptor`](crate::Descriptor).
pub const DESCRIPTOR: usize = 0;

/// Where fields begin.
pub const FIELDS: usize = 8;

/// Where an array has its length: 32 bits.
pub const ARRAY_LENGTH: usize = 8;

/// Where an array's elements begin.
pub const ARRAY_ELEMENTS: usize = 16;

/// Where an extern object has the key of its value: 64 bits.
pub const EXTERN_KEY: usize = 8;

/// How a field or an element is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// One byte.
    I8,
    /// Two bytes.
    I16,
    /// Four bytes: `i32`, `f32`.
    W32,
    /// Eight bytes that are no reference into the heap: `i64`, `f64`, references to functions.
    W64,
    /// Sixteen bytes.
    V128,
    /// A reference that may lead into the heap: 8 bytes.
    Reference,
}

impl Storage {
    /// How many bytes it takes.
    #[inline]
    #[must_use]
    pub const fn size(self) -> u32 {
        match self {
            Storage::I8 => 1,
            Storage::I16 => 2,
            Storage::W32 => 4,
            Storage::W64 | Storage::Reference => 8,
            Storage::V128 => 16,
        }
    }

    /// Its places are multiples of this.
    #[inline]
    #[must_use]
    pub const fn align(self) -> u32 {
        let size = self.size();
        if size > ALIGN as u32 {
            ALIGN as u32
        } else {
            size
        }
    }
}

/// Where the fields of a struct or an exception stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructLayout {
    size: u32,
    fields: Box<[(u32, Storage)]>,
}

impl StructLayout {
    /// Places fields; `None` if their offsets would exceed 31 bits.
    #[must_use]
    pub fn new(fields: impl IntoIterator<Item = Storage>) -> Option<StructLayout> {
        let mut end = FIELDS as u32;
        let mut placed = Vec::new();
        for storage in fields {
            let offset = end.checked_next_multiple_of(storage.align())?;
            end = offset.checked_add(storage.size())?;
            if end > i32::MAX as u32 {
                return None;
            }
            placed.push((offset, storage));
        }
        Some(StructLayout {
            size: end.next_multiple_of(ALIGN as u32),
            fields: placed.into(),
        })
    }

    /// Bytes of an object.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// For each field its offset from the object's start, and how it is stored.
    #[must_use]
    pub fn fields(&self) -> &[(u32, Storage)] {
        &self.fields
    }

    /// The offsets of the references.
    pub(crate) fn references(&self) -> impl Iterator<Item = u32> {
        let fields = self.fields.iter();
        fields
            .filter(|(_, storage)| *storage == Storage::Reference)
            .map(|&(offset, _)| offset)
    }
}

/// Bytes of an array; `None` if they can't be counted.
#[inline]
#[must_use]
pub fn array_size(element: Storage, length: u32) -> Option<usize> {
    let elements = u64::from(length) * u64::from(element.size());
    let size = (elements + ARRAY_ELEMENTS as u64).next_multiple_of(ALIGN as u64);
    usize::try_from(size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Storage::*;

    fn offsets(fields: &[Storage]) -> Vec<u32> {
        let layout = StructLayout::new(fields.iter().copied()).expect("it is small");
        layout.fields().iter().map(|&(offset, _)| offset).collect()
    }

    #[test]
    fn fields_are_aligned_and_keep_their_order() {
        let fields = [I8, I16, I8, W32, I8, Reference, W32, V128, I8];
        assert_eq!(offsets(&fields), [8, 10, 12, 16, 20, 24, 32, 40, 56]);
        let layout = StructLayout::new(fields).expect("it is small");
        assert_eq!(layout.size(), 64);
        assert_eq!(layout.references().collect::<Vec<_>>(), [24]);
        assert_eq!(StructLayout::new([]).expect("it is small").size(), 8);
    }

    #[test]
    fn a_longer_struct_begins_as_the_shorter() {
        let all = [I16, Reference, I8, V128, W32, I8, W64];
        let whole = offsets(&all);
        for count in 0..all.len() {
            assert_eq!(offsets(&all[..count]), whole[..count]);
        }
    }

    #[test]
    fn sizes_do_not_wrap() {
        assert_eq!(array_size(I8, 0), Some(16));
        assert_eq!(array_size(I8, 1), Some(24));
        assert_eq!(array_size(V128, u32::MAX), Some(16 * (1 << 32)));
        assert_eq!(StructLayout::new((0..1 << 28).map(|_| V128)), None);
    }
}
