//! A heap with its types, handles and host values: all of it without `unsafe`.
//!
//! [`TypedHeap`] does what a WebAssembly runtime does with a [`Heap`], one call at a time: it checks types, and has no
//! reference but in objects and in its [`RootSet`]. It is for programs that want a heap and no runtime, and what tests and
//! the fuzzer drive.
//!
//! * *Invariant:* objects have only descriptors of this heap's types, which are dropped after it.
//! * *Invariant:* an object's references are written before the next allocation.

use thiserror::Error;

use crate::descriptor::{Descriptor, Kind, MAX_DEPTH, OwnedDescriptor, TypeInfo};
use crate::error::AllocError;
use crate::externs::ExternTable;
use crate::heap::{Heap, HeapConfig, HeapStats, Liveness};
use crate::layout::{ARRAY_ELEMENTS, ARRAY_LENGTH, DESCRIPTOR, FIELDS, Storage, StructLayout};
use crate::mark::Marker;
use crate::object::{self, ObjectRef};
use crate::roots::{Root, RootSet, Roots, Scope};

/// A type of a [`TypedHeap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(u32);

/// A reference: what it leads to is alive as long as the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// Nothing.
    Null,
    /// A number of 31 bits.
    I31(u32),
    /// An object.
    Object(Root),
}

/// Why something can't be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The handle was released, or is another heap's.
    #[error("the handle stands for no object")]
    Released,
    /// The object has no such field or element, or there is no such type.
    #[error("there is no such type, field or element")]
    Missing,
    /// The field is a reference and was used as a number, or the other way round; the object or type is of another kind.
    #[error("it is of another kind")]
    WrongKind,
    /// There is no memory.
    #[error(transparent)]
    Alloc(#[from] AllocError),
}

#[derive(Debug)]
struct Type {
    descriptor: OwnedDescriptor,
    /// Of a struct.
    layout: Option<StructLayout>,
}

/// The roots of a typed heap, and what dies with its objects.
#[derive(Debug)]
struct Table<T> {
    roots: RootSet,
    words: Vec<u64>,
    values: ExternTable<T>,
}

// SAFETY: a typed heap hands out no addresses but as words that nothing is done with, so handles and objects have all
// references that there are.
unsafe impl<T> Roots for Table<T> {
    fn trace(&mut self, marker: &mut Marker<'_>) {
        self.roots.trace(marker);
        self.words.iter().for_each(|&word| marker.word(word));
    }

    fn finalize(&mut self, live: &Liveness<'_>) {
        self.values.sweep(live);
    }
}

/// A heap whose extern objects stand for values of type `T`. See the module.
///
/// ```
/// use tiered_heap::{HeapConfig, Reference, Storage, TypedHeap};
///
/// let mut heap = TypedHeap::<String>::new(HeapConfig::default());
/// let pair = heap.struct_type(None, &[Storage::W32, Storage::Reference])?;
/// let first = heap.new_struct(pair)?;
/// let second = heap.new_struct(pair)?;
/// heap.set(second, 0, 42)?;
/// heap.set_reference(first, 1, Reference::Object(second))?;
/// heap.release(second);
/// heap.collect();
/// let Reference::Object(second) = heap.get_reference(first, 1)? else {
///     panic!("it is alive");
/// };
/// assert_eq!(heap.get(second, 0)?, 42);
/// # Ok::<(), tiered_heap::AccessError>(())
/// ```
#[derive(Debug)]
pub struct TypedHeap<T> {
    heap: Heap,
    table: Table<T>,
    // Objects lead to types: they go last.
    types: Vec<Type>,
}

impl<T> TypedHeap<T> {
    /// An empty heap without types.
    #[must_use]
    pub fn new(config: HeapConfig) -> TypedHeap<T> {
        TypedHeap {
            heap: Heap::new(config),
            table: Table {
                roots: RootSet::default(),
                words: Vec::new(),
                values: ExternTable::default(),
            },
            types: Vec::new(),
        }
    }

    /// Adds a struct type. Its fields begin with those of its supertype; that is up to the caller, and nothing relies on
    /// it here.
    ///
    /// # Errors
    /// [`AccessError::Missing`] for an unknown supertype, [`AccessError::WrongKind`] for one that is no struct, for too
    /// many fields, or for too many supertypes.
    pub fn struct_type(
        &mut self,
        supertype: Option<TypeId>,
        fields: &[Storage],
    ) -> Result<TypeId, AccessError> {
        let layout = StructLayout::new(fields.iter().copied()).ok_or(AccessError::WrongKind)?;
        let info = self.info(supertype, Kind::Struct)?;
        let descriptor = OwnedDescriptor::of_struct(info, &layout);
        self.add_type(descriptor, Some(layout))
    }

    /// Adds an array type.
    ///
    /// # Errors
    /// As for [`TypedHeap::struct_type`].
    pub fn array_type(
        &mut self,
        supertype: Option<TypeId>,
        element: Storage,
    ) -> Result<TypeId, AccessError> {
        let descriptor = OwnedDescriptor::of_array(self.info(supertype, Kind::Array)?, element);
        self.add_type(descriptor, None)
    }

    fn info(&self, supertype: Option<TypeId>, kind: Kind) -> Result<TypeInfo<'_>, AccessError> {
        let supertype = match supertype {
            Some(ty) => Some(&self.ty(ty)?.descriptor),
            None => None,
        };
        let fits = supertype.is_none_or(|supertype| {
            let supertype = supertype.get();
            supertype.kind() == kind && supertype.depth() < MAX_DEPTH
        });
        fits.then_some(TypeInfo {
            id: self.types.len() as u32,
            supertype,
            is_final: false,
        })
        .ok_or(AccessError::WrongKind)
    }

    fn add_type(
        &mut self,
        descriptor: Option<OwnedDescriptor>,
        layout: Option<StructLayout>,
    ) -> Result<TypeId, AccessError> {
        let descriptor = descriptor.ok_or(AccessError::WrongKind)?;
        self.types.push(Type { descriptor, layout });
        Ok(TypeId(self.types.len() as u32 - 1))
    }

    fn ty(&self, TypeId(id): TypeId) -> Result<&Type, AccessError> {
        self.types.get(id as usize).ok_or(AccessError::Missing)
    }

    /// Makes a struct whose fields are 0 and null. The handle belongs to the innermost scope.
    ///
    /// # Errors
    /// Without memory, or if the type is none of a struct.
    pub fn new_struct(&mut self, ty: TypeId) -> Result<Root, AccessError> {
        let ty = self.ty(ty)?;
        let layout = ty.layout.as_ref().ok_or(AccessError::WrongKind)?;
        let size = layout.size() as usize;
        let pointer = ty.descriptor.pointer();
        // SAFETY: the type is a struct's and lives as long as the heap. It has room for its fields.
        let object = unsafe {
            let object = self.heap.alloc(pointer, &mut self.table)?;
            object.at(FIELDS).write_bytes(0, size - FIELDS);
            object
        };
        Ok(self.table.roots.add(object.bits())?)
    }

    /// Makes an array whose elements are 0 or null. The handle belongs to the innermost scope.
    ///
    /// # Errors
    /// Without memory, or if the type is none of an array.
    pub fn new_array(&mut self, ty: TypeId, length: u32) -> Result<Root, AccessError> {
        let ty = self.ty(ty)?;
        if ty.descriptor.get().kind() != Kind::Array {
            return Err(AccessError::WrongKind);
        }
        let bytes = length as usize * ty.descriptor.get().size() as usize;
        let pointer = ty.descriptor.pointer();
        // SAFETY: the type is an array's and lives as long as the heap. The array has room for its elements.
        let object = unsafe {
            let object = self.heap.alloc_array(pointer, length, &mut self.table)?;
            object.at(ARRAY_ELEMENTS).write_bytes(0, bytes);
            object
        };
        Ok(self.table.roots.add(object.bits())?)
    }

    /// Makes an object that stands for a value of the host, which is dropped when the object dies.
    ///
    /// # Errors
    /// Without memory.
    pub fn new_extern(&mut self, value: T) -> Result<Root, AccessError> {
        // SAFETY: extern objects' descriptor is static, and collections sweep the table.
        let object = unsafe {
            let object = self.heap.alloc(Descriptor::of_extern(), &mut self.table)?;
            self.table.values.attach(object, value)?;
            object
        };
        Ok(self.table.roots.add(object.bits())?)
    }

    fn object(&self, root: Root) -> Result<(ObjectRef, &Descriptor), AccessError> {
        let bits = self.table.roots.get(root).ok_or(AccessError::Released)?;
        // SAFETY: handles stand for objects, which have descriptors.
        unsafe {
            let object = ObjectRef::from_address(bits as usize);
            let descriptor = object.at(DESCRIPTOR).cast::<*const Descriptor>().read();
            Ok((object, &*descriptor))
        }
    }

    /// Where a field or an element is, and how it is stored.
    fn place(&self, root: Root, index: u32) -> Result<(*mut u8, Storage), AccessError> {
        let (object, descriptor) = self.object(root)?;
        match descriptor.kind() {
            Kind::Struct => {
                let layout = self.ty(TypeId(descriptor.id()))?.layout.as_ref();
                let fields = layout.ok_or(AccessError::WrongKind)?.fields();
                let field = fields.get(index as usize).ok_or(AccessError::Missing)?;
                Ok((object.at(field.0 as usize), field.1))
            }
            Kind::Array if index < self.array_length(root)? => {
                let offset = index as usize * descriptor.size() as usize;
                Ok((object.at(ARRAY_ELEMENTS + offset), descriptor.element()))
            }
            Kind::Array => Err(AccessError::Missing),
            Kind::Extern | Kind::Exception => Err(AccessError::WrongKind),
        }
    }

    /// How many elements an array has.
    ///
    /// # Errors
    /// If it is no array.
    pub fn array_length(&self, root: Root) -> Result<u32, AccessError> {
        let (object, descriptor) = self.object(root)?;
        match descriptor.kind() {
            // SAFETY: an array has its length there.
            Kind::Array => Ok(unsafe { object.at(ARRAY_LENGTH).cast::<u32>().read() }),
            _ => Err(AccessError::WrongKind),
        }
    }

    /// Reads a number, zero-extended, from a field or an element.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, root: Root, index: u32) -> Result<u128, AccessError> {
        let (place, storage) = self.place(root, index)?;
        let mut bytes = [0; 16];
        match storage {
            Storage::Reference => return Err(AccessError::WrongKind),
            // SAFETY: it takes that many bytes.
            number => unsafe {
                place.copy_to_nonoverlapping(bytes.as_mut_ptr(), number.size() as usize);
            },
        }
        Ok(u128::from_le_bytes(bytes))
    }

    /// Writes the low bits of a number to a field or an element.
    ///
    /// # Errors
    /// If there is none.
    pub fn set(&mut self, root: Root, index: u32, value: u128) -> Result<(), AccessError> {
        let (place, storage) = self.place(root, index)?;
        match storage {
            Storage::Reference => Err(AccessError::WrongKind),
            number => {
                let bytes = value.to_le_bytes();
                // SAFETY: it takes that many bytes.
                unsafe {
                    place.copy_from_nonoverlapping(bytes.as_ptr(), number.size() as usize);
                }
                Ok(())
            }
        }
    }

    /// Reads a reference from a field or an element. A handle that comes of it belongs to the innermost scope.
    ///
    /// # Errors
    /// If there is none, or no memory for a handle.
    pub fn get_reference(&mut self, root: Root, index: u32) -> Result<Reference, AccessError> {
        let (place, storage) = self.place(root, index)?;
        if storage != Storage::Reference {
            return Err(AccessError::WrongKind);
        }
        // SAFETY: a reference takes 8 bytes.
        let bits = unsafe { place.cast::<u64>().read() };
        Ok(match (bits, object::as_i31(bits)) {
            (object::NULL, _) => Reference::Null,
            (_, Some(value)) => Reference::I31(value),
            _ => Reference::Object(self.table.roots.add(bits)?),
        })
    }

    /// Writes a reference to a field or an element.
    ///
    /// # Errors
    /// If there is none, or the handle was released.
    pub fn set_reference(
        &mut self,
        root: Root,
        index: u32,
        value: Reference,
    ) -> Result<(), AccessError> {
        let bits = match value {
            Reference::Null => object::NULL,
            Reference::I31(value) => object::from_i31(value),
            Reference::Object(value) => self.object(value)?.0.bits(),
        };
        let (place, storage) = self.place(root, index)?;
        if storage != Storage::Reference {
            return Err(AccessError::WrongKind);
        }
        // SAFETY: a reference takes 8 bytes.
        unsafe { place.cast::<u64>().write(bits) };
        Ok(())
    }

    /// The value that an extern object stands for.
    ///
    /// # Errors
    /// If it is no extern object.
    pub fn value(&self, root: Root) -> Result<&T, AccessError> {
        let (object, descriptor) = self.object(root)?;
        if descriptor.kind() != Kind::Extern {
            return Err(AccessError::WrongKind);
        }
        // SAFETY: it is an extern object, made by `new_extern`.
        let value = unsafe { self.table.values.get(object) };
        value.ok_or(AccessError::Missing)
    }

    /// Whether an object is of a type, or of a subtype of it.
    ///
    /// # Errors
    /// If there is no object or no type.
    pub fn is_a(&self, root: Root, ty: TypeId) -> Result<bool, AccessError> {
        let (_, descriptor) = self.object(root)?;
        let wanted = self.ty(ty)?.descriptor.pointer();
        match self.ty(TypeId(descriptor.id())) {
            // SAFETY: both types are this heap's.
            Ok(own) => Ok(unsafe { Descriptor::is_subtype(own.descriptor.pointer(), wanted) }),
            Err(_) => Ok(false),
        }
    }

    /// Begins a scope of handles.
    pub fn enter(&self) -> Scope {
        self.table.roots.enter()
    }

    /// Ends a scope: releases its handles.
    pub fn leave(&mut self, scope: Scope) {
        self.table.roots.leave(scope);
    }

    /// A handle to the same object that stays until it is released.
    ///
    /// # Errors
    /// If the handle was released, or without memory.
    pub fn keep(&mut self, root: Root) -> Result<Root, AccessError> {
        let (object, _) = self.object(root)?;
        Ok(self.table.roots.keep(object.bits())?)
    }

    /// Releases a handle; whether it stood for something.
    pub fn release(&mut self, root: Root) -> bool {
        self.table.roots.release(root).is_some()
    }

    /// The address of an object.
    ///
    /// # Errors
    /// If the handle was released.
    pub fn address(&self, root: Root) -> Result<u64, AccessError> {
        Ok(self.object(root)?.0.bits())
    }

    /// Words that keep objects alive if they happen to be addresses in them, as those of a stack do.
    pub fn words(&mut self) -> &mut Vec<u64> {
        &mut self.table.words
    }

    /// Collects now.
    pub fn collect(&mut self) {
        self.heap.collect(&mut self.table);
    }

    /// What the heap has done, and holds.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        self.heap.stats()
    }

    /// How many values of the host there are.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.table.values.len()
    }

    /// How many handles there are.
    #[must_use]
    pub fn root_count(&self) -> usize {
        self.table.roots.len()
    }

    /// Whether an object is at an address, or an address in one. It may be one that the next collection would find dead.
    #[must_use]
    pub fn is_object(&self, address: u64) -> bool {
        self.heap.object_at(address).is_some()
    }

    /// Gives all memory back to the host that holds no object.
    pub fn release_unused(&mut self) {
        self.heap.release_unused();
    }

    /// Looks for anything that contradicts the heap's invariants: for tests.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn verify(&self) -> Result<(), String> {
        self.heap.verify()
    }
}
