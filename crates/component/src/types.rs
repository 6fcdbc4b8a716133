//! The types of the component model: value types, each interned once with its layouts, and function types.
//!
//! [`Types`] is filled while a component is read, and does not change afterwards. Types of one `Types` that are built alike
//! have the same [`TypeId`], so two are compared by their ids. A type is made only of types that are there before it, so
//! none contains itself.
//!
//! *Invariant:* no type is nested deeper than [`MAX_TYPE_DEPTH`], so walking along one needs a bounded native stack.
//! *Invariant:* the size of a type fits in 32 bits; sizes are computed once, checked for overflow.

mod display;
mod func;
mod layout;

use std::collections::HashMap;
use std::sync::Arc;

pub use display::TypeDisplay;
pub use func::{CallKind, CoreSignature, FuncType, FuncTypeId, Param};
pub use layout::{
    Abi, AddressType, FlatType, Layout, MAX_FLAT_ASYNC_PARAMS, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS,
};

use layout::TOO_MANY_FLAT;

/// How deep types may be nested. The validator's limit is the same.
pub const MAX_TYPE_DEPTH: u32 = 100;

/// The most labels that flags have.
pub const MAX_FLAGS: usize = 32;

/// The name of a field, a case, a flag or a parameter.
pub type Label = Arc<str>;

/// The number of a defined type in its [`Types`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TypeId(u32);

/// A resource type, by a number that is the maker's of the types: what it stands for, only those know that hold handles.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceId(pub u32);

/// A value type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValType {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `error-context`
    ErrorContext,
    /// `own<R>`
    Own(ResourceId),
    /// `borrow<R>`
    Borrow(ResourceId),
    /// A type that is defined in [`Types`].
    Defined(TypeId),
}

/// A type that is made of others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TypeDef {
    /// `record`, with at least one field.
    Record(Box<[Field]>),
    /// `variant`, with at least one case.
    Variant(Box<[Case]>),
    /// `list<T>`
    List(ValType),
    /// `list<T, N>`, with at least one element.
    FixedList(ValType, u32),
    /// `map<K, V>`, which is passed as a list of pairs.
    Map(ValType, ValType),
    /// `tuple`, with at least one field.
    Tuple(Box<[ValType]>),
    /// `flags`, with 1 to [`MAX_FLAGS`] labels.
    Flags(Box<[Label]>),
    /// `enum`, with at least one case.
    Enum(Box<[Label]>),
    /// `option<T>`
    Option(ValType),
    /// `result<T, E>`
    Result {
        /// What comes with `ok`.
        ok: Option<ValType>,
        /// What comes with `err`.
        err: Option<ValType>,
    },
    /// `stream<T>`
    Stream(Option<ValType>),
    /// `future<T>`
    Future(Option<ValType>),
}

/// A field of a record.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Field {
    /// Its name.
    pub name: Label,
    /// Its type.
    pub ty: ValType,
}

/// A case of a variant.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Case {
    /// Its name.
    pub name: Label,
    /// What comes with it.
    pub ty: Option<ValType>,
}

/// Why a type is refused.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TypeError {
    /// A value of it would be of 4 GiB or more, or a list of no elements in place.
    #[error("the type is too large")]
    TooLarge,
    /// It is nested deeper than [`MAX_TYPE_DEPTH`].
    #[error("the type is nested more than {MAX_TYPE_DEPTH} deep")]
    TooDeep,
    /// It has no fields, cases, labels or elements.
    #[error("the type has no parts")]
    Empty,
    /// Flags with more than [`MAX_FLAGS`] labels.
    #[error("flags have more than {MAX_FLAGS} labels")]
    TooManyFlags,
    /// It names a type that is not defined.
    #[error("the type names one that is not defined")]
    Unknown,
    /// There are 2³² types.
    #[error("there are too many types")]
    TooMany,
}

/// The core values of a type in both kinds of memory; empty if they are too many to be passed flat.
#[derive(Clone, Default, Debug)]
struct FlatTypes {
    memory32: Vec<FlatType>,
    memory64: Vec<FlatType>,
}

impl FlatTypes {
    fn get(&self, address: AddressType) -> &[FlatType] {
        match address {
            AddressType::I32 => &self.memory32,
            AddressType::I64 => &self.memory64,
        }
    }

    fn get_mut(&mut self, address: AddressType) -> &mut Vec<FlatType> {
        match address {
            AddressType::I32 => &mut self.memory32,
            AddressType::I64 => &mut self.memory64,
        }
    }
}

/// What is known of a defined type.
#[derive(Debug)]
struct TypeInfo {
    def: Arc<TypeDef>,
    abi: Abi,
    flat: FlatTypes,
    /// Of what a list or a map has many; of others, that of nothing.
    element: Abi,
    depth: u32,
    borrows: bool,
    /// Whether there are strings in it.
    strings: bool,
    /// Whether there are streams or futures in it.
    streams: bool,
}

/// All types of a component.
#[derive(Default, Debug)]
pub struct Types {
    defined: Vec<TypeInfo>,
    ids: HashMap<Arc<TypeDef>, TypeId>,
    funcs: Vec<FuncType>,
    func_ids: HashMap<func::FuncKey, FuncTypeId>,
}

impl Types {
    /// No types.
    pub fn new() -> Types {
        Types::default()
    }

    /// The value type of this definition, which is the same as that of an equal one before.
    ///
    /// # Errors
    /// If a definition is none of the component model's, too large or too deep.
    pub fn define(&mut self, def: TypeDef) -> Result<ValType, TypeError> {
        if let Some(&id) = self.ids.get(&def) {
            return Ok(ValType::Defined(id));
        }
        let info = self.info(def)?;
        let id = TypeId(u32::try_from(self.defined.len()).map_err(|_| TypeError::TooMany)?);
        self.ids.insert(info.def.clone(), id);
        self.defined.push(info);
        Ok(ValType::Defined(id))
    }

    /// The definition of a type.
    ///
    /// # Panics
    /// Panics if the id is of other `Types`.
    pub fn def(&self, id: TypeId) -> &TypeDef {
        &self.defined[id.0 as usize].def
    }

    /// How values of a type are passed.
    ///
    /// # Panics
    /// Panics if the type is of other `Types`.
    #[inline]
    pub fn abi(&self, ty: ValType) -> Abi {
        match ty {
            ValType::Bool | ValType::S8 | ValType::U8 => const { Abi::scalar(1) },
            ValType::S16 | ValType::U16 => const { Abi::scalar(2) },
            ValType::S32 | ValType::U32 | ValType::F32 | ValType::Char => const { Abi::scalar(4) },
            ValType::S64 | ValType::U64 | ValType::F64 => const { Abi::scalar(8) },
            ValType::String => Abi::LIST,
            ValType::ErrorContext | ValType::Own(_) | ValType::Borrow(_) => Abi::HANDLE,
            ValType::Defined(id) => self.defined[id.0 as usize].abi,
        }
    }

    /// How the elements of a list, or the pairs of a map, are passed.
    pub(crate) fn element_abi(&self, id: TypeId) -> Abi {
        self.defined[id.0 as usize].element
    }

    /// The core values that a value of a type is passed as; `None` if they are more than [`MAX_FLAT_PARAMS`].
    ///
    /// # Panics
    /// Panics if the type is of other `Types`.
    pub fn flat(&self, ty: ValType, address: AddressType) -> Option<&[FlatType]> {
        Some(match ty {
            ValType::S64 | ValType::U64 => &[FlatType::I64],
            ValType::F32 => &[FlatType::F32],
            ValType::F64 => &[FlatType::F64],
            ValType::String => pair(address),
            ValType::Defined(id) => {
                let info = &self.defined[id.0 as usize];
                if info.abi.flat == TOO_MANY_FLAT {
                    return None;
                }
                info.flat.get(address)
            }
            _ => &[FlatType::I32],
        })
    }

    /// Whether a value of a type has borrowed handles in it.
    ///
    /// # Panics
    /// Panics if the type is of other `Types`.
    pub fn has_borrows(&self, ty: ValType) -> bool {
        match ty {
            ValType::Borrow(_) => true,
            ValType::Defined(id) => self.defined[id.0 as usize].borrows,
            _ => false,
        }
    }

    /// Whether there are strings in values of a type. What goes through streams and futures is in no value.
    ///
    /// # Panics
    /// Panics if the type is of other `Types`.
    pub fn has_strings(&self, ty: ValType) -> bool {
        match ty {
            ValType::String => true,
            ValType::Defined(id) => self.defined[id.0 as usize].strings,
            _ => false,
        }
    }

    /// Adds the streams and futures in a type, in the order in which they come in it; no more than there may be.
    pub(crate) fn streams(&self, ty: ValType, found: &mut Vec<TypeId>) {
        /// The most that a function can name. More would be a type with many of them many times in it.
        const MAX_STREAMS: usize = 64;
        let ValType::Defined(id) = ty else { return };
        let info = &self.defined[id.0 as usize];
        if !info.streams || found.len() >= MAX_STREAMS {
            return;
        }
        if matches!(*info.def, TypeDef::Stream(_) | TypeDef::Future(_)) {
            found.push(id);
            return;
        }
        for part in parts(&info.def).into_iter().flatten() {
            self.streams(part, found);
        }
    }

    fn has_streams(&self, ty: ValType) -> bool {
        matches!(ty, ValType::Defined(id) if self.defined[id.0 as usize].streams)
    }

    /// How deep a type is nested.
    fn depth(&self, ty: ValType) -> u32 {
        match ty {
            ValType::Defined(id) => self.defined[id.0 as usize].depth,
            _ => 0,
        }
    }

    fn info(&self, def: TypeDef) -> Result<TypeInfo, TypeError> {
        let parts = parts(&def);
        let is_known = |ty: &ValType| match *ty {
            ValType::Defined(id) => (id.0 as usize) < self.defined.len(),
            _ => true,
        };
        if !parts.iter().flatten().all(is_known) {
            return Err(TypeError::Unknown);
        }
        let depth = parts.iter().flatten().map(|&ty| self.depth(ty)).max();
        let depth = depth.map_or(0, |depth| depth + 1);
        if depth > MAX_TYPE_DEPTH {
            return Err(TypeError::TooDeep);
        }
        let abis: Vec<_> = parts.iter().map(|ty| ty.map(|ty| self.abi(ty))).collect();
        let borrows = parts.iter().flatten().any(|&ty| self.has_borrows(ty));
        let is_end = matches!(def, TypeDef::Stream(_) | TypeDef::Future(_));
        let mut inside = parts.iter().flatten();
        let strings = !is_end && inside.clone().any(|&ty| self.has_strings(ty));
        let streams = is_end || inside.any(|&ty| self.has_streams(ty));
        let (abi, element) = abi_of(&def, &abis)?;
        let mut flat = FlatTypes::default();
        if abi.flat != TOO_MANY_FLAT {
            for address in [AddressType::I32, AddressType::I64] {
                *flat.get_mut(address) = self.flat_of(&def, &parts, address);
            }
        }
        Ok(TypeInfo {
            def: Arc::new(def),
            abi,
            flat,
            element,
            depth,
            borrows,
            strings,
            streams,
        })
    }

    /// The core values of a definition that is passed flat.
    fn flat_of(
        &self,
        def: &TypeDef,
        parts: &[Option<ValType>],
        address: AddressType,
    ) -> Vec<FlatType> {
        let flat = |ty| self.flat(ty, address).unwrap_or_default();
        match def {
            TypeDef::Record(_) | TypeDef::Tuple(_) => {
                let parts = parts.iter().flatten();
                parts.flat_map(|&ty| flat(ty)).copied().collect()
            }
            TypeDef::FixedList(ty, length) => flat(*ty).repeat(*length as usize),
            TypeDef::List(_) | TypeDef::Map(..) => pair(address).to_vec(),
            TypeDef::Variant(_) | TypeDef::Option(_) | TypeDef::Result { .. } => {
                let mut joined = vec![FlatType::I32];
                for ty in parts.iter().flatten() {
                    for (at, &flat) in (1..).zip(flat(*ty)) {
                        match joined.get_mut(at) {
                            Some(there) => *there = there.join(flat),
                            None => joined.push(flat),
                        }
                    }
                }
                joined
            }
            TypeDef::Flags(_) | TypeDef::Enum(_) | TypeDef::Stream(_) | TypeDef::Future(_) => {
                vec![FlatType::I32]
            }
        }
    }
}

/// Address and length.
fn pair(address: AddressType) -> &'static [FlatType] {
    match address {
        AddressType::I32 => &[FlatType::I32; 2],
        AddressType::I64 => &[FlatType::I64; 2],
    }
}

/// The types that a definition is made of; of a variant, one a case.
fn parts(def: &TypeDef) -> Vec<Option<ValType>> {
    match def {
        TypeDef::Record(fields) => fields.iter().map(|field| Some(field.ty)).collect(),
        TypeDef::Variant(cases) => cases.iter().map(|case| case.ty).collect(),
        TypeDef::List(ty) | TypeDef::FixedList(ty, _) => vec![Some(*ty)],
        TypeDef::Map(key, value) => vec![Some(*key), Some(*value)],
        TypeDef::Tuple(types) => types.iter().map(|&ty| Some(ty)).collect(),
        TypeDef::Flags(_) | TypeDef::Enum(_) => Vec::new(),
        TypeDef::Option(ty) => vec![None, Some(*ty)],
        TypeDef::Result { ok, err } => vec![*ok, *err],
        TypeDef::Stream(ty) | TypeDef::Future(ty) => vec![*ty],
    }
}

/// How values of a definition are passed, and how those that it has many of are.
fn abi_of(def: &TypeDef, parts: &[Option<Abi>]) -> Result<(Abi, Abi), TypeError> {
    let record = || {
        let fields: Vec<Abi> = parts.iter().copied().flatten().collect();
        Abi::try_record(&fields).ok_or(TypeError::TooLarge)
    };
    let abi = match def {
        TypeDef::Record(fields) if fields.is_empty() => return Err(TypeError::Empty),
        TypeDef::Variant(cases) if cases.is_empty() => return Err(TypeError::Empty),
        TypeDef::Tuple(types) if types.is_empty() => return Err(TypeError::Empty),
        TypeDef::Flags(labels) | TypeDef::Enum(labels) if labels.is_empty() => {
            return Err(TypeError::Empty);
        }
        TypeDef::FixedList(_, 0) => return Err(TypeError::Empty),
        TypeDef::Flags(labels) if labels.len() > MAX_FLAGS => return Err(TypeError::TooManyFlags),
        TypeDef::Record(_) | TypeDef::Tuple(_) => record()?,
        TypeDef::Variant(_) | TypeDef::Option(_) | TypeDef::Result { .. } => {
            Abi::try_variant(parts).ok_or(TypeError::TooLarge)?
        }
        TypeDef::List(_) => {
            let element = parts[0].unwrap_or(Abi::EMPTY);
            return Ok((Abi::list(element), element));
        }
        TypeDef::Map(..) => {
            let pair = record()?;
            return Ok((Abi::list(pair), pair));
        }
        TypeDef::FixedList(_, length) => {
            let element = parts[0].unwrap_or(Abi::EMPTY);
            let abi = Abi::try_fixed_list(element, *length).ok_or(TypeError::TooLarge)?;
            return Ok((abi, element));
        }
        TypeDef::Flags(labels) => Abi::flags(labels.len() as u32),
        TypeDef::Enum(labels) => {
            let cases = u32::try_from(labels.len()).map_err(|_| TypeError::TooLarge)?;
            Abi::discriminant(cases)
        }
        TypeDef::Stream(_) | TypeDef::Future(_) => Abi::HANDLE,
    };
    Ok((abi, Abi::EMPTY))
}
