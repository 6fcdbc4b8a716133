//! The types of WebAssembly as the spec names them.
//!
//! *Invariant:* these types can express exactly what [`ACCEPTED`](crate::proposals::ACCEPTED) lets through; turning one
//! of `wasmparser`'s types into one of these fails for anything else.
//! Called by every crate.

use std::fmt;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128-bit vector.
    V128,
    /// Nullable reference to a function.
    FuncRef,
    /// Nullable reference to something of the host's.
    ExternRef,
}

impl ValType {
    /// Whether it is a reference type.
    pub const fn is_ref(self) -> bool {
        matches!(self, ValType::FuncRef | ValType::ExternRef)
    }

    /// The bits of each slot of the type's default value: zero, or the null reference.
    pub const fn default_bits(self) -> u64 {
        0
    }

    /// How many slots of 64 bits hold a value: two for a vector, one for any other.
    #[inline]
    #[must_use]
    pub const fn slots(self) -> u32 {
        match self {
            ValType::V128 => 2,
            ValType::I32
            | ValType::I64
            | ValType::F32
            | ValType::F64
            | ValType::FuncRef
            | ValType::ExternRef => 1,
        }
    }

    /// The type in the text format.
    pub const fn text(self) -> &'static str {
        match self {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::V128 => "v128",
            ValType::FuncRef => "funcref",
            ValType::ExternRef => "externref",
        }
    }

    /// The type alone, as a static slice.
    pub const fn as_slice(self) -> &'static [ValType] {
        match self {
            ValType::I32 => &[ValType::I32],
            ValType::I64 => &[ValType::I64],
            ValType::F32 => &[ValType::F32],
            ValType::F64 => &[ValType::F64],
            ValType::V128 => &[ValType::V128],
            ValType::FuncRef => &[ValType::FuncRef],
            ValType::ExternRef => &[ValType::ExternRef],
        }
    }

    /// The type `wasmparser` calls `ty`; `None` if it belongs to a proposal that is not accepted.
    pub fn from_wasmparser(ty: wasmparser::ValType) -> Option<ValType> {
        Some(match ty {
            wasmparser::ValType::I32 => ValType::I32,
            wasmparser::ValType::I64 => ValType::I64,
            wasmparser::ValType::F32 => ValType::F32,
            wasmparser::ValType::F64 => ValType::F64,
            wasmparser::ValType::V128 => ValType::V128,
            wasmparser::ValType::Ref(ty) => RefType::from_wasmparser(ty)?.into(),
        })
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// How many slots of 64 bits hold values of these types, one behind the other.
#[must_use]
pub fn slots(types: &[ValType]) -> u32 {
    types.iter().map(|ty| ty.slots()).sum()
}

/// The type of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefType {
    /// Nullable reference to a function.
    FuncRef,
    /// Nullable reference to something of the host's.
    ExternRef,
}

impl RefType {
    /// The type `wasmparser` calls `ty`; `None` if it belongs to a proposal that is not accepted.
    pub fn from_wasmparser(ty: wasmparser::RefType) -> Option<RefType> {
        match ty {
            wasmparser::RefType::FUNCREF => Some(RefType::FuncRef),
            wasmparser::RefType::EXTERNREF => Some(RefType::ExternRef),
            _ => None,
        }
    }

    /// The type of the null that `ref.null` pushes; `None` if it belongs to a proposal that is not accepted.
    pub fn from_heap_type(ty: wasmparser::HeapType) -> Option<RefType> {
        match ty {
            wasmparser::HeapType::FUNC => Some(RefType::FuncRef),
            wasmparser::HeapType::EXTERN => Some(RefType::ExternRef),
            _ => None,
        }
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> ValType {
        match ty {
            RefType::FuncRef => ValType::FuncRef,
            RefType::ExternRef => ValType::ExternRef,
        }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValType::from(*self).fmt(f)
    }
}

/// The type of a function: what it takes and what it returns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FuncType {
    /// The types of the parameters.
    pub params: Box<[ValType]>,
    /// The types of the results.
    pub results: Box<[ValType]>,
}

impl FuncType {
    /// The type `params -> results`.
    pub fn new(
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> FuncType {
        FuncType {
            params: params.into_iter().collect(),
            results: results.into_iter().collect(),
        }
    }

    /// The type `wasmparser` calls `ty`; `None` if a part belongs to a proposal that is not accepted.
    pub fn from_wasmparser(ty: &wasmparser::FuncType) -> Option<FuncType> {
        let convert = |types: &[wasmparser::ValType]| -> Option<Box<[ValType]>> {
            types
                .iter()
                .map(|&ty| ValType::from_wasmparser(ty))
                .collect()
        };
        Some(FuncType {
            params: convert(ty.params())?,
            results: convert(ty.results())?,
        })
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_types(f, &self.params)?;
        f.write_str(" -> ")?;
        write_types(f, &self.results)
    }
}

/// The function types of a module, by their indices. Types that a module repeats without end are kept once.
#[derive(Debug, Default)]
pub struct Types {
    distinct: Vec<FuncType>,
    /// For each index, which of these it is; empty if each index has a type of its own.
    places: Vec<u32>,
}

impl Types {
    /// Room for `count` types, each kept for itself.
    pub(crate) fn with_capacity(count: usize) -> Types {
        Types {
            distinct: Vec::with_capacity(count),
            places: Vec::new(),
        }
    }

    /// `types`, of which each stands in the places that have its number.
    pub(crate) fn repeated(types: Vec<FuncType>, places: Vec<u32>) -> Types {
        Types {
            distinct: types,
            places,
        }
    }

    /// The next type, where none is repeated.
    pub(crate) fn push(&mut self, ty: FuncType) {
        self.distinct.push(ty);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        if self.places.is_empty() {
            self.distinct.len()
        } else {
            self.places.len()
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in the order of the module.
    pub fn iter(&self) -> impl Iterator<Item = &FuncType> {
        (0..self.len()).map(|index| &self[index])
    }

    /// The types without those that repeat another one. Equal types may be left.
    pub fn distinct(&self) -> &[FuncType] {
        &self.distinct
    }

    /// For each type, its place among the [distinct](Types::distinct) ones; `None` if each is in its own.
    pub fn places(&self) -> Option<&[u32]> {
        (!self.places.is_empty()).then_some(&self.places)
    }
}

impl std::ops::Index<usize> for Types {
    type Output = FuncType;

    fn index(&self, index: usize) -> &FuncType {
        match self.places.get(index) {
            Some(&place) => &self.distinct[place as usize],
            None => &self.distinct[index],
        }
    }
}

fn write_types(f: &mut fmt::Formatter<'_>, types: &[ValType]) -> fmt::Result {
    f.write_str("[")?;
    for (i, ty) in types.iter().enumerate() {
        write!(f, "{}{ty}", if i == 0 { "" } else { " " })?;
    }
    f.write_str("]")
}

/// The size of a memory in pages or of a table in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The size at first.
    pub min: u64,
    /// The size it may grow to; without one, only the host's limits count.
    pub max: Option<u64>,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.min)?;
        self.max.map_or(Ok(()), |max| write!(f, " {max}"))
    }
}

/// The type of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryType {
    /// The size in pages of 64 KiB.
    pub limits: Limits,
    /// Whether threads share it; no accepted module has a shared memory.
    pub shared: bool,
}

impl MemoryType {
    /// The type `wasmparser` calls `ty`; `None` if it belongs to a proposal that is not accepted.
    pub fn from_wasmparser(ty: wasmparser::MemoryType) -> Option<MemoryType> {
        let limits = Limits {
            min: ty.initial,
            max: ty.maximum,
        };
        (!ty.memory64 && ty.page_size_log2.is_none()).then_some(MemoryType {
            limits,
            shared: ty.shared,
        })
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            self.limits,
            if self.shared { " shared" } else { "" }
        )
    }
}

/// The type of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableType {
    /// The type of its elements.
    pub element: RefType,
    /// The size in elements.
    pub limits: Limits,
}

impl TableType {
    /// The type `wasmparser` calls `ty`; `None` if it belongs to a proposal that is not accepted.
    pub fn from_wasmparser(ty: wasmparser::TableType) -> Option<TableType> {
        let limits = Limits {
            min: ty.initial,
            max: ty.maximum,
        };
        let element = RefType::from_wasmparser(ty.element_type)?;
        (!ty.table64 && !ty.shared).then_some(TableType { element, limits })
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.limits, self.element)
    }
}

/// The type of a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlobalType {
    /// The type of its value.
    pub content: ValType,
    /// Whether it can be set.
    pub mutable: bool,
}

impl GlobalType {
    /// The type `wasmparser` calls `ty`; `None` if it belongs to a proposal that is not accepted.
    pub fn from_wasmparser(ty: wasmparser::GlobalType) -> Option<GlobalType> {
        let content = ValType::from_wasmparser(ty.content_type)?;
        (!ty.shared).then_some(GlobalType {
            content,
            mutable: ty.mutable,
        })
    }
}

impl fmt::Display for GlobalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mutable {
            write!(f, "(mut {})", self.content)
        } else {
            self.content.fmt(f)
        }
    }
}

/// The type of an import or export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
    /// A tag, whose parameters are what an exception with it carries.
    Tag(FuncType),
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExternType::Func(ty) => write!(f, "func {ty}"),
            ExternType::Table(ty) => write!(f, "table {ty}"),
            ExternType::Memory(ty) => write!(f, "memory {ty}"),
            ExternType::Global(ty) => write!(f, "global {ty}"),
            ExternType::Tag(ty) => {
                f.write_str("tag ")?;
                write_types(f, &ty.params)
            }
        }
    }
}
