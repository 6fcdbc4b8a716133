//! The types of a module: structures and arrays, functions, and what blocks and tags need besides.
//!
//! Structures and arrays come first, in one recursion group, so that they can refer to one another; then the types of
//! functions, each in a group of its own, so that the host can make functions of them.

use std::cell::RefCell;

use arbitrary::{Result, Unstructured};
use tiered::decode::types::ValType;
use wasm_encoder::{
    AbstractHeapType, ArrayType, BlockType, CompositeInnerType, CompositeType, FieldType, HeapType,
    RefType, StorageType, StructType, SubType, TypeSection, ValType as Ty,
};

use super::Extent;

/// The number types.
pub(super) const NUMBERS: [Ty; 4] = [Ty::I32, Ty::I64, Ty::F32, Ty::F64];

/// A reference to anything of an abstract type, or null.
pub(super) const fn nullable(ty: AbstractHeapType) -> RefType {
    RefType {
        nullable: true,
        heap_type: HeapType::Abstract { shared: false, ty },
    }
}

/// As [`nullable`], of a type of the module.
pub(super) const fn nullable_to(index: u32) -> RefType {
    RefType {
        nullable: true,
        heap_type: HeapType::Concrete(index),
    }
}

/// The same without null.
pub(super) const fn non_null(ty: RefType) -> RefType {
    RefType {
        nullable: false,
        ..ty
    }
}

/// The encoder's name of a number type.
pub(super) fn number(ty: ValType) -> Ty {
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        other => unreachable!("no table of numeric ops has {other}"),
    }
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sig {
    pub(super) params: Vec<Ty>,
    pub(super) results: Vec<Ty>,
}

/// A structure or an array.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// The fields, or the element alone.
    pub(super) fields: Vec<FieldType>,
    pub(super) is_array: bool,
    parent: Option<u32>,
    is_final: bool,
}

impl Object {
    fn array(element: StorageType, mutable: bool) -> Object {
        Object {
            fields: vec![FieldType {
                element_type: element,
                mutable,
            }],
            is_array: true,
            parent: None,
            is_final: true,
        }
    }

    /// Whether one can be made without any value.
    pub(super) fn is_defaultable(&self) -> bool {
        let mut fields = self.fields.iter();
        fields.all(|field| field.element_type.is_defaultable())
    }

    fn sub_type(&self) -> SubType {
        let inner = if self.is_array {
            CompositeInnerType::Array(ArrayType(self.fields[0]))
        } else {
            CompositeInnerType::Struct(StructType {
                fields: self.fields.clone().into(),
            })
        };
        SubType {
            is_final: self.is_final,
            supertype_idxs: self.parent.into_iter().collect(),
            composite_type: CompositeType {
                inner,
                shared: false,
                descriptor: None,
                describes: None,
            },
        }
    }
}

/// Arrays: of bytes, of 16 bits, of some number, of functions, of anything, of some structure; then one that cannot be
/// changed, and a subtype of it.
const ARRAYS: u32 = 8;

/// The types of a module that is being written.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) objects: Vec<Object>,
    pub(super) sigs: Vec<Sig>,
    /// Those of blocks and tags.
    others: RefCell<Vec<Sig>>,
    extent: Extent,
}

impl Types {
    /// Types of some structures and of functions.
    pub(super) fn any(u: &mut Unstructured<'_>, extent: Extent) -> Result<Types> {
        let mut types = Types {
            objects: Vec::new(),
            sigs: Vec::new(),
            others: RefCell::default(),
            extent,
        };
        if extent.objects {
            types.objects = some_objects(u)?;
        }
        for _ in 0..u.int_in_range(2..=5)? {
            let [params, results, _] = extent.sizes(u)?;
            // The host, which function 0 is, has few of the values that are never null.
            let plain = types.sigs.is_empty();
            let params = types.some(u, params, plain)?;
            // Only functions with the same results can call one another in tail position.
            let results = if extent.tail_calls && !plain && u.ratio(1, 2)? {
                u.choose(&types.sigs)?.results.clone()
            } else {
                types.some(u, results, plain)?
            };
            types.sigs.push(Sig { params, results });
        }
        Ok(types)
    }

    /// Up to `most` types of values; only of such that have a default value if they are to be `plain`.
    pub(super) fn some(
        &self,
        u: &mut Unstructured<'_>,
        most: usize,
        plain: bool,
    ) -> Result<Vec<Ty>> {
        (0..u.int_in_range(0..=most)?)
            .map(|_| self.one(u, plain))
            .collect()
    }

    fn one(&self, u: &mut Unstructured<'_>, plain: bool) -> Result<Ty> {
        let often = if self.extent.objects { 3 } else { 8 };
        if !self.extent.has_references() || !u.ratio(1, often)? {
            return a_number(u);
        }
        let ty = self.a_reference(u)?;
        let can_be = self.extent.objects
            || match self.top(ty.heap_type) {
                RefType::EXNREF => self.extent.exceptions,
                RefType::FUNCREF => self.extent.function_references,
                _ => false,
            };
        Ok(if can_be && !plain && u.ratio(1, 8)? {
            non_null(ty).into()
        } else {
            ty.into()
        })
    }

    /// A type of references, null among them.
    pub(super) fn a_reference(&self, u: &mut Unstructured<'_>) -> Result<RefType> {
        let extent = self.extent;
        let mut all = Vec::new();
        if extent.references || extent.function_references {
            all.push(RefType::FUNCREF);
        }
        if extent.references {
            all.push(RefType::EXTERNREF);
        }
        if extent.exceptions {
            all.push(RefType::EXNREF);
        }
        if extent.function_references && !self.sigs.is_empty() {
            let index = u.choose_index(self.sigs.len())? as u32;
            all.push(nullable_to(self.sig(index)));
        }
        if extent.objects {
            all.extend([RefType::ANYREF, RefType::EQREF, RefType::I31REF]);
            all.extend([nullable(AbstractHeapType::Struct), RefType::ARRAYREF]);
            all.extend((0..self.objects.len() as u32).map(nullable_to));
        }
        Ok(*u.choose(&all)?)
    }

    /// The index of the type of a function.
    pub(super) fn sig(&self, func: u32) -> u32 {
        self.objects.len() as u32 + func
    }

    /// The function whose type has this index.
    pub(super) fn func_of(&self, index: u32) -> u32 {
        index - self.objects.len() as u32
    }

    /// Whether the type of this index is one of functions.
    pub(super) fn is_func(&self, index: u32) -> bool {
        index as usize >= self.objects.len()
    }

    /// The index of a type of functions, which is made if there is none.
    pub(super) fn func_type(&self, params: &[Ty], results: &[Ty]) -> u32 {
        let sig = Sig {
            params: params.to_vec(),
            results: results.to_vec(),
        };
        let mut others = self.others.borrow_mut();
        let known = others.iter().position(|other| *other == sig);
        let position = known.unwrap_or_else(|| {
            others.push(sig);
            others.len() - 1
        });
        (self.objects.len() + self.sigs.len() + position) as u32
    }

    /// The type of a block.
    pub(super) fn block(&self, params: &[Ty], results: &[Ty]) -> BlockType {
        match (params, results) {
            ([], []) => BlockType::Empty,
            ([], [ty]) => BlockType::Result(*ty),
            _ => BlockType::FunctionType(self.func_type(params, results)),
        }
    }

    /// The section, when all blocks are known.
    pub(super) fn section(&self) -> TypeSection {
        let mut section = TypeSection::new();
        if !self.objects.is_empty() {
            section.ty().rec(self.objects.iter().map(Object::sub_type));
        }
        for sig in self.sigs.iter().chain(self.others.borrow().iter()) {
            let (params, results) = (sig.params.clone(), sig.results.clone());
            section.ty().function(params, results);
        }
        section
    }

    /// Whether every value of type `ty` is one of type `of`.
    pub(super) fn is_sub(&self, ty: Ty, of: Ty) -> bool {
        match (ty, of) {
            (Ty::Ref(ty), Ty::Ref(of)) => {
                (of.nullable || !ty.nullable) && self.is_sub_heap(ty.heap_type, of.heap_type)
            }
            _ => ty == of,
        }
    }

    /// The same for several.
    pub(super) fn are_sub(&self, types: &[Ty], of: &[Ty]) -> bool {
        let mut both = types.iter().zip(of);
        types.len() == of.len() && both.all(|(&ty, &of)| self.is_sub(ty, of))
    }

    fn is_sub_heap(&self, ty: HeapType, of: HeapType) -> bool {
        use AbstractHeapType::{Any, Eq, Func};
        match (ty, of) {
            _ if ty == of => true,
            (HeapType::Concrete(ty), HeapType::Concrete(of)) => self.is_sub_concrete(ty, of),
            (HeapType::Concrete(index), HeapType::Abstract { ty: of, .. }) => {
                if self.is_func(index) {
                    of == Func
                } else {
                    matches!(of, Any | Eq) || of == self.kind(index)
                }
            }
            (HeapType::Abstract { ty, .. }, HeapType::Abstract { ty: of, .. }) => {
                let compared = |ty: AbstractHeapType| {
                    use AbstractHeapType::{Array, I31, Struct};
                    matches!(ty, I31 | Struct | Array)
                };
                of == Any && (compared(ty) || ty == Eq) || of == Eq && compared(ty)
            }
            _ => false,
        }
    }

    /// Whether an object's type is one of structures or of arrays.
    pub(super) fn kind(&self, index: u32) -> AbstractHeapType {
        if self.objects[index as usize].is_array {
            AbstractHeapType::Array
        } else {
            AbstractHeapType::Struct
        }
    }

    fn is_sub_concrete(&self, ty: u32, of: u32) -> bool {
        if self.is_func(ty) || self.is_func(of) {
            // Types of functions have no subtypes here, but may come twice.
            return self.is_func(ty) && self.is_func(of) && {
                let sig = |index| self.sigs.get(self.func_of(index) as usize);
                sig(ty) == sig(of)
            };
        }
        let parent = |ty: &u32| self.objects[*ty as usize].parent;
        std::iter::successors(Some(ty), parent).any(|ty| ty == of)
    }

    /// The type that everything of a heap type is of.
    pub(super) fn top(&self, ty: HeapType) -> RefType {
        use AbstractHeapType::{Exn, Extern, Func};
        match ty {
            HeapType::Concrete(index) if self.is_func(index) => RefType::FUNCREF,
            HeapType::Abstract { ty: Func, .. } => RefType::FUNCREF,
            HeapType::Abstract { ty: Extern, .. } => RefType::EXTERNREF,
            HeapType::Abstract { ty: Exn, .. } => RefType::EXNREF,
            _ => RefType::ANYREF,
        }
    }

    /// The fields of all objects: the type, the number of the field, and what is in it.
    pub(super) fn fields(&self) -> impl Iterator<Item = (u32, u32, FieldType)> {
        (0..).zip(&self.objects).flat_map(|(index, object)| {
            let fields = (0..).zip(&object.fields);
            fields.map(move |(number, field)| (index, number, *field))
        })
    }
}

/// A number type.
pub(super) fn a_number(u: &mut Unstructured<'_>) -> Result<Ty> {
    // Integers are what addresses, conditions and counters are made of.
    Ok(*u.choose(&[
        Ty::I32,
        Ty::I32,
        Ty::I32,
        Ty::I64,
        Ty::I64,
        Ty::F32,
        Ty::F64,
    ])?)
}

/// Structures, the second a subtype of the first, and [`ARRAYS`].
fn some_objects(u: &mut Unstructured<'_>) -> Result<Vec<Object>> {
    let structs = u.int_in_range(2..=4)?;
    let mut objects = Vec::new();
    for index in 0..structs {
        let parent = match index {
            0 => None,
            1 => Some(0),
            _ if u.ratio(2, 3)? => Some(u.int_in_range(0..=index - 1)?),
            _ => None,
        };
        objects.push(structure(u, &objects, parent, index, structs)?);
    }
    let to = |index| StorageType::Val(nullable_to(index).into());
    let number = StorageType::Val(*u.choose(&NUMBERS)?);
    let some = to(u.int_in_range(0..=structs - 1)?);
    let first = structs + ARRAYS - 2;
    objects.extend([
        Object::array(StorageType::I8, true),
        Object::array(StorageType::I16, true),
        Object::array(number, true),
        Object::array(StorageType::Val(Ty::FUNCREF), true),
        Object::array(StorageType::Val(RefType::ANYREF.into()), true),
        Object::array(some, true),
        Object {
            is_final: false,
            ..Object::array(to(0), false)
        },
        Object {
            parent: Some(first),
            ..Object::array(to(1), false)
        },
    ]);
    Ok(objects)
}

/// A structure with the fields of its parent, and others behind them.
fn structure(
    u: &mut Unstructured<'_>,
    objects: &[Object],
    parent: Option<u32>,
    index: u32,
    structs: u32,
) -> Result<Object> {
    let mut fields = match parent {
        Some(parent) => objects[parent as usize].fields.clone(),
        None => Vec::new(),
    };
    for _ in 0..u.int_in_range(u8::from(fields.is_empty())..=4)? {
        let element_type = match u.int_in_range(0..=9)? {
            0 => StorageType::I8,
            1 => StorageType::I16,
            2..=4 => StorageType::Val(a_number(u)?),
            5 => StorageType::Val(Ty::FUNCREF),
            6 => StorageType::Val(Ty::EXTERNREF),
            7 => StorageType::Val(RefType::ANYREF.into()),
            // What is never null has to be made before.
            8 if index > 0 => {
                let other = u.int_in_range(0..=index - 1)?;
                StorageType::Val(non_null(nullable_to(other)).into())
            }
            _ => {
                let other = u.int_in_range(0..=structs + ARRAYS - 1)?;
                StorageType::Val(nullable_to(other).into())
            }
        };
        fields.push(FieldType {
            element_type,
            mutable: u.ratio(3, 4)?,
        });
    }
    Ok(Object {
        fields,
        is_array: false,
        parent,
        is_final: false,
    })
}
