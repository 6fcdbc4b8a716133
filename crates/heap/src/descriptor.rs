//! Type descriptors: what an object's first word leads to. In the literature: run-time types, RTTs.
//!
//! A descriptor tells the collector where an object's references are, and casts which types it has. Its *display* lists
//! the descriptors of all its supertypes by depth, its own last, so that a cast is two loads and a comparison:
//!
//! ```text
//! d = [object];  final type: d == wanted;  else: [d + DISPLAY + 8 * depth] == wanted
//! ```
//!
//! For types deeper than [`SHORT_DISPLAY`] - 1, compare the descriptor's own depth first: displays are only that long for
//! all.
//!
//! * *Invariant:* a descriptor neither moves nor changes; running code reads it by the constants here.
//! * *Invariant:* a display is only compared. Nothing goes through it to a supertype, which may be gone.
//! * *Invariant:* entries beyond a type's own depth are null, and no type's address is.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::offset_of;
use std::ptr::{NonNull, null};

use crate::layout::{EXTERN_KEY, Storage, StructLayout};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A struct.
    Struct = 0,
    /// An array.
    Array = 1,
    /// A value of the host's.
    Extern = 2,
    /// An exception: a tag, then the values.
    Exception = 3,
}

/// Entries that every display has.
pub const SHORT_DISPLAY: usize = 8;

/// The deepest type: the specification allows chains of 63 supertypes.
pub const MAX_DEPTH: u16 = 63;

/// Where the collector looks for references in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Trace {
    /// At [`Descriptor::references`].
    Fields = 0,
    /// In all elements of an array.
    Elements = 1,
}

/// A type as running code sees it. See the module.
#[derive(Debug)]
#[repr(C)]
pub struct Descriptor {
    id: u32,
    kind: Kind,
    is_final: bool,
    depth: u16,
    /// Of a struct or an exception the bytes of an object, of an array those of an element.
    size: u32,
    element: Storage,
    trace: Trace,
    /// Offsets of the references of a struct or an exception.
    references: NonNull<u32>,
    reference_count: u32,
    /// The first entries. Deeper types have more behind.
    display: [*const Descriptor; SHORT_DISPLAY],
}

// SAFETY: a descriptor does not change, and what it points to is only compared or does not change either.
unsafe impl Sync for Descriptor {}

/// The descriptor of all extern objects.
static EXTERN: Descriptor = Descriptor {
    id: u32::MAX,
    kind: Kind::Extern,
    is_final: true,
    depth: 0,
    size: EXTERN_KEY as u32 + 8,
    element: Storage::W64,
    trace: Trace::Fields,
    references: NonNull::dangling(),
    reference_count: 0,
    display: {
        let mut display = [null(); SHORT_DISPLAY];
        display[0] = &raw const EXTERN;
        display
    },
};

impl Descriptor {
    /// Where the [id](Descriptor::id) is: 32 bits.
    pub const ID: usize = offset_of!(Descriptor, id);
    /// Where the [`Kind`] is: a byte.
    pub const KIND: usize = offset_of!(Descriptor, kind);
    /// Where it says whether the type is final: a byte, 0 or 1.
    pub const IS_FINAL: usize = offset_of!(Descriptor, is_final);
    /// Where the depth is: 16 bits.
    pub const DEPTH: usize = offset_of!(Descriptor, depth);
    /// Where the [size](Descriptor::size) is: 32 bits.
    pub const SIZE: usize = offset_of!(Descriptor, size);
    /// Where the display begins: a word for each depth.
    pub const DISPLAY: usize = offset_of!(Descriptor, display);

    /// The descriptor of all extern objects.
    #[must_use]
    pub fn of_extern() -> NonNull<Descriptor> {
        NonNull::from(&EXTERN)
    }

    /// The number that the type was given by whoever made it.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What its objects are.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it has no subtypes.
    #[inline]
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// How many supertypes it has.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// Bytes of an object, or, of an array type, of an element.
    #[inline]
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// How an array type's elements are stored.
    #[inline]
    #[must_use]
    pub fn element(&self) -> Storage {
        self.element
    }

    #[inline]
    pub(crate) fn trace(&self) -> Trace {
        self.trace
    }

    #[inline]
    pub(crate) fn references(&self) -> &[u32] {
        // SAFETY: they live as long as the descriptor, and do not change.
        unsafe {
            std::slice::from_raw_parts(self.references.as_ptr(), self.reference_count as usize)
        }
    }

    /// Whether `this` is `wanted` or a subtype of it.
    ///
    /// # Safety
    /// Both are descriptors and exist.
    #[inline]
    #[must_use]
    pub unsafe fn is_subtype(this: NonNull<Descriptor>, wanted: NonNull<Descriptor>) -> bool {
        // SAFETY: the display has an entry for each depth up to the type's own, and the first ones anyway.
        unsafe {
            let depth = wanted.as_ref().depth as usize;
            if depth >= SHORT_DISPLAY && usize::from(this.as_ref().depth) < depth {
                return false;
            }
            let display = this.as_ptr().cast::<u8>().add(Descriptor::DISPLAY);
            display.cast::<*const Descriptor>().add(depth).read() == wanted.as_ptr().cast_const()
        }
    }
}

/// A descriptor and the memory that it is in.
///
/// It must outlive all objects of its type: [`Heap::alloc`](crate::Heap::alloc).
#[derive(Debug)]
pub struct OwnedDescriptor {
    pointer: NonNull<Descriptor>,
    /// What [`Descriptor::references`] points to.
    references: Box<[u32]>,
}

// SAFETY: a descriptor does not change, and belongs to no thread.
unsafe impl Send for OwnedDescriptor {}
// SAFETY: as above.
unsafe impl Sync for OwnedDescriptor {}

/// What the descriptor of a type is made of, besides its fields or elements.
#[derive(Clone, Copy, Debug)]
pub struct TypeInfo<'a> {
    /// A number for whoever makes it; the heap does not look at it.
    pub id: u32,
    /// The type's declared supertype.
    pub supertype: Option<&'a OwnedDescriptor>,
    /// Whether it has no subtypes.
    pub is_final: bool,
}

impl OwnedDescriptor {
    /// A struct type. `None` if it is deeper than [`MAX_DEPTH`].
    #[must_use]
    pub fn of_struct(info: TypeInfo<'_>, layout: &StructLayout) -> Option<OwnedDescriptor> {
        let head = Descriptor::head(info, Kind::Struct)?;
        let references = layout.references().collect();
        let size = layout.size();
        Some(OwnedDescriptor::new(
            Descriptor { size, ..head },
            info.supertype,
            references,
        ))
    }

    /// The type of the exceptions with one tag's values. The first field is for the tag.
    #[must_use]
    pub fn of_exception(id: u32, layout: &StructLayout) -> OwnedDescriptor {
        let info = TypeInfo {
            id,
            supertype: None,
            is_final: true,
        };
        let head = Descriptor::head(info, Kind::Exception).expect("it has no supertype");
        let references = layout.references().collect();
        let size = layout.size();
        OwnedDescriptor::new(Descriptor { size, ..head }, None, references)
    }

    /// An array type. `None` if it is deeper than [`MAX_DEPTH`].
    #[must_use]
    pub fn of_array(info: TypeInfo<'_>, element: Storage) -> Option<OwnedDescriptor> {
        let trace = match element {
            Storage::Reference => Trace::Elements,
            _ => Trace::Fields,
        };
        let head = Descriptor {
            size: element.size(),
            element,
            trace,
            ..Descriptor::head(info, Kind::Array)?
        };
        Some(OwnedDescriptor::new(head, info.supertype, Box::default()))
    }

    /// Places a descriptor and its display.
    fn new(
        head: Descriptor,
        supertype: Option<&OwnedDescriptor>,
        references: Box<[u32]>,
    ) -> OwnedDescriptor {
        let depth = head.depth as usize;
        let layout = Descriptor::memory(head.depth);
        // SAFETY: the memory has room for the descriptor and for a display up to its depth; a supertype's display has
        // as many entries as it is deep, and one.
        unsafe {
            let Some(pointer) = NonNull::new(alloc(layout).cast::<Descriptor>()) else {
                handle_alloc_error(layout);
            };
            pointer.write(Descriptor {
                references: NonNull::from(&*references).cast(),
                reference_count: references.len() as u32,
                ..head
            });
            let display = pointer
                .cast::<u8>()
                .add(Descriptor::DISPLAY)
                .cast::<*const Descriptor>();
            if let Some(supertype) = supertype {
                let above = supertype.pointer.cast::<u8>().add(Descriptor::DISPLAY);
                display.copy_from_nonoverlapping(above.cast(), depth);
            }
            display.add(depth).write(pointer.as_ptr());
            OwnedDescriptor {
                pointer,
                references,
            }
        }
    }

    /// Its address, which is the first word of its objects.
    #[inline]
    #[must_use]
    pub fn pointer(&self) -> NonNull<Descriptor> {
        self.pointer
    }

    /// What it says.
    #[inline]
    #[must_use]
    pub fn get(&self) -> &Descriptor {
        // SAFETY: it lives as long as its owner.
        unsafe { self.pointer.as_ref() }
    }

    /// Whether it is the same type as `other`, or a subtype of it.
    #[inline]
    #[must_use]
    pub fn is_subtype_of(&self, other: &OwnedDescriptor) -> bool {
        // SAFETY: both exist.
        unsafe { Descriptor::is_subtype(self.pointer, other.pointer) }
    }

    /// The offsets of a struct's or an exception's references.
    #[must_use]
    pub fn references(&self) -> &[u32] {
        &self.references
    }
}

impl Descriptor {
    /// A descriptor without fields or elements, and without a display.
    fn head(info: TypeInfo<'_>, kind: Kind) -> Option<Descriptor> {
        let depth = info.supertype.map_or(0, |above| above.get().depth + 1);
        (depth <= MAX_DEPTH).then_some(Descriptor {
            id: info.id,
            kind,
            is_final: info.is_final,
            depth,
            size: 0,
            element: Storage::W64,
            trace: Trace::Fields,
            references: NonNull::dangling(),
            reference_count: 0,
            display: [null(); SHORT_DISPLAY],
        })
    }

    /// The memory that a descriptor of this depth takes.
    fn memory(depth: u16) -> Layout {
        let more = (usize::from(depth) + 1).saturating_sub(SHORT_DISPLAY);
        let size = size_of::<Descriptor>() + more * size_of::<*const Descriptor>();
        Layout::from_size_align(size, align_of::<Descriptor>()).expect("a display is short")
    }
}

impl Drop for OwnedDescriptor {
    fn drop(&mut self) {
        let layout = Descriptor::memory(self.get().depth);
        // SAFETY: it was allocated with this layout, and nothing refers to it any more: objects of the type are gone.
        unsafe { dealloc(self.pointer.as_ptr().cast(), layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: u16) -> Vec<OwnedDescriptor> {
        let layout = StructLayout::new([Storage::Reference]).expect("it is small");
        let mut chain: Vec<OwnedDescriptor> = Vec::new();
        for id in 0..count {
            let info = TypeInfo {
                id: id.into(),
                supertype: chain.last(),
                is_final: false,
            };
            chain.push(OwnedDescriptor::of_struct(info, &layout).expect("it is not too deep"));
        }
        chain
    }

    #[test]
    fn a_type_is_a_subtype_of_those_above_it() {
        let chain = chain(MAX_DEPTH + 1);
        for (i, this) in chain.iter().enumerate() {
            assert_eq!(this.get().depth() as usize, i);
            for (j, other) in chain.iter().enumerate() {
                assert_eq!(this.is_subtype_of(other), j <= i, "{i} of {j}");
            }
        }
        let other = self::chain(20);
        assert!(
            chain
                .iter()
                .zip(&other)
                .all(|(a, b)| !a.is_subtype_of(b) && !b.is_subtype_of(a))
        );
    }

    #[test]
    fn the_deepest_type_has_no_subtype() {
        let chain = chain(MAX_DEPTH + 1);
        let info = TypeInfo {
            id: 0,
            supertype: chain.last(),
            is_final: true,
        };
        let layout = StructLayout::new([]).expect("it is small");
        assert!(OwnedDescriptor::of_struct(info, &layout).is_none());
        assert!(OwnedDescriptor::of_array(info, Storage::I8).is_none());
    }

    #[test]
    fn running_code_finds_what_it_needs() {
        let chain = chain(3);
        let pointer = chain[2].pointer().as_ptr().cast::<u8>();
        // SAFETY: the constants are offsets within the descriptor.
        unsafe {
            assert_eq!(pointer.add(Descriptor::ID).cast::<u32>().read(), 2);
            assert_eq!(pointer.add(Descriptor::KIND).read(), Kind::Struct as u8);
            assert_eq!(pointer.add(Descriptor::IS_FINAL).read(), 0);
            assert_eq!(pointer.add(Descriptor::DEPTH).cast::<u16>().read(), 2);
            assert_eq!(pointer.add(Descriptor::SIZE).cast::<u32>().read(), 16);
            let display = pointer.add(Descriptor::DISPLAY).cast::<*const Descriptor>();
            for (depth, ty) in chain.iter().enumerate() {
                assert_eq!(
                    display.add(depth).read(),
                    ty.pointer().as_ptr().cast_const()
                );
            }
            assert!(display.add(3).read().is_null());
        }
        assert_eq!(chain[2].references(), [8]);
        // SAFETY: it is static.
        let external = unsafe { Descriptor::of_extern().as_ref() };
        assert_eq!((external.kind(), external.size()), (Kind::Extern, 16));
        assert!(external.references().is_empty());
    }
}
