//! The types of WebAssembly as the spec names them.
//!
//! *Invariant:* a type means the same everywhere. What refers to a type that a module defines has the number that this type
//! has in the whole process ([`TypeId`]), not its index in the module; so a type can leave its module and be compared. A
//! module's types are registered from when it is decoded to when it goes.
//! *Invariant:* only what [`ACCEPTED`](crate::proposals::ACCEPTED) lets through is ever turned from one of `wasmparser`'s
//! types into one of these, though these can express more.
//! Called by every crate.

mod canonical;
mod composite;
pub mod difference;
mod of_module;
mod reference;
mod text;

use std::fmt;

pub use canonical::{Definition, Registered, TypeId, Unregistered};
pub use composite::{CompositeType, FieldType, StorageType, SubType};
pub use of_module::Types;
pub use reference::{AbstractHeapType, CompositeKind, HeapType, RefType, TopType};
pub use text::TypesText;

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
    /// Reference.
    Ref(RefType),
}

const _: () = assert!(size_of::<ValType>() == 8, "lists of them are everywhere");

impl ValType {
    /// `funcref`: a function of any type, or null.
    pub const FUNCREF: ValType = ValType::Ref(RefType::FUNCREF);
    /// `(ref func)`: a function of any type.
    pub const FUNC: ValType = ValType::Ref(RefType::FUNC);
    /// `(ref extern)`: something of the host's.
    pub const EXTERN: ValType = ValType::Ref(RefType::EXTERN);
    /// `externref`: something of the host's, or null.
    pub const EXTERNREF: ValType = ValType::Ref(RefType::EXTERNREF);
    /// `(ref any)`: something of the guest's that is no function, or something of the host's.
    pub const ANY: ValType = ValType::Ref(RefType::ANY);
    /// `anyref`: as `(ref any)`, or null.
    pub const ANYREF: ValType = ValType::Ref(RefType::ANYREF);
    /// Nullable reference to an exception.
    pub const EXNREF: ValType = ValType::Ref(RefType::EXNREF);

    /// Whether it is a reference type.
    pub const fn is_ref(self) -> bool {
        matches!(self, ValType::Ref(_))
    }

    /// The bits of each slot of the type's default value, if it has one: zero, or the null reference.
    pub const fn default_bits(self) -> u64 {
        0
    }

    /// How many slots of 64 bits hold a value: two for a vector, one for any other.
    #[inline]
    #[must_use]
    pub const fn slots(self) -> u32 {
        match self {
            ValType::V128 => 2,
            ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::Ref(_) => 1,
        }
    }

    /// Whether each value of this type is one of `other`, too.
    #[must_use]
    pub fn matches(self, other: ValType) -> bool {
        match (self, other) {
            (ValType::Ref(ty), ValType::Ref(other)) => ty.matches(other),
            _ => self == other,
        }
    }

    /// The type alone, if no module defines it.
    const fn as_static_slice(self) -> Option<&'static [ValType]> {
        Some(match self {
            ValType::I32 => &[ValType::I32],
            ValType::I64 => &[ValType::I64],
            ValType::F32 => &[ValType::F32],
            ValType::F64 => &[ValType::F64],
            ValType::V128 => &[ValType::V128],
            ValType::Ref(ty) => return ty.as_static_slice(),
        })
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(ty) => fmt::Display::fmt(ty, f),
        }
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> ValType {
        ValType::Ref(ty)
    }
}

/// How many slots of 64 bits hold values of these types, one behind the other.
#[must_use]
pub fn slots(types: &[ValType]) -> u32 {
    types.iter().map(|ty| ty.slots()).sum()
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
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_types(f, &self.params)?;
        f.write_str(" -> ")?;
        write_types(f, &self.results)
    }
}

fn write_types(f: &mut fmt::Formatter<'_>, types: &[ValType]) -> fmt::Result {
    f.write_str("[")?;
    write_list(f, types)?;
    f.write_str("]")
}

/// Writes items with spaces between them; the alternate form, which is that within another type, has the first few only.
fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    const NESTED: usize = 16;
    let shown = if f.alternate() { NESTED } else { items.len() };
    for (i, item) in items.iter().take(shown).enumerate() {
        f.write_str(if i == 0 { "" } else { " " })?;
        fmt::Display::fmt(item, f)?;
    }
    f.write_str(if shown < items.len() { " …" } else { "" })
}

/// The type of the indices of a memory or a table; the spec's section 2.3.11, "Address types".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IndexType {
    /// 32 bits.
    #[default]
    I32,
    /// 64 bits.
    I64,
}

impl IndexType {
    fn of(is_64: bool) -> IndexType {
        if is_64 {
            IndexType::I64
        } else {
            IndexType::I32
        }
    }

    /// The type in the text format.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            IndexType::I32 => "i32",
            IndexType::I64 => "i64",
        }
    }

    /// What `memory.grow` and `table.grow` answer if they can't: all bits are set.
    #[must_use]
    pub const fn grow_failed(self) -> u64 {
        match self {
            IndexType::I32 => 0xffff_ffff,
            IndexType::I64 => u64::MAX,
        }
    }

    /// The type of the number of things that are copied between what has this type and what has `other`.
    #[must_use]
    pub const fn min(self, other: IndexType) -> IndexType {
        match (self, other) {
            (IndexType::I64, IndexType::I64) => IndexType::I64,
            _ => IndexType::I32,
        }
    }

    /// What stands in front of limits in the text format; nothing for 32 bits.
    fn prefix(self) -> &'static str {
        match self {
            IndexType::I32 => "",
            IndexType::I64 => "i64 ",
        }
    }
}

impl From<IndexType> for ValType {
    fn from(ty: IndexType) -> ValType {
        match ty {
            IndexType::I32 => ValType::I32,
            IndexType::I64 => ValType::I64,
        }
    }
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
    /// The size in pages.
    pub limits: Limits,
    /// The type of addresses.
    pub index: IndexType,
    /// Whether threads share it.
    pub shared: bool,
    /// The binary logarithm of the bytes of a page: 16, or 0.
    pub page_log2: u8,
}

impl MemoryType {
    /// The binary logarithm of the bytes of a page where a module says nothing: 64 KiB.
    pub const DEFAULT_PAGE_LOG2: u8 = 16;

    /// A memory with addresses of 32 bits and pages of 64 KiB, for one thread.
    #[must_use]
    pub const fn new(limits: Limits) -> MemoryType {
        MemoryType {
            limits,
            index: IndexType::I32,
            shared: false,
            page_log2: MemoryType::DEFAULT_PAGE_LOG2,
        }
    }

    /// The bytes of a page.
    #[must_use]
    pub const fn page_bytes(&self) -> u64 {
        1 << self.page_log2
    }

    /// The type `wasmparser` calls `ty`; `None` if it belongs to a proposal that is not accepted.
    pub fn from_wasmparser(ty: wasmparser::MemoryType) -> Option<MemoryType> {
        let page_log2 = match ty.page_size_log2 {
            None => MemoryType::DEFAULT_PAGE_LOG2,
            Some(log2) => u8::try_from(log2)
                .ok()
                .filter(|log2| [0, 16].contains(log2))?,
        };
        Some(MemoryType {
            limits: Limits {
                min: ty.initial,
                max: ty.maximum,
            },
            index: IndexType::of(ty.memory64),
            shared: ty.shared,
            page_log2,
        })
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.index.prefix(), self.limits)?;
        if self.shared {
            f.write_str(" shared")?;
        }
        if self.page_log2 != MemoryType::DEFAULT_PAGE_LOG2 {
            write!(f, " (pagesize {})", self.page_bytes())?;
        }
        Ok(())
    }
}

/// The type of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableType {
    /// The type of its elements.
    pub element: RefType,
    /// The size in elements.
    pub limits: Limits,
    /// The type of indices.
    pub index: IndexType,
}

impl TableType {
    /// A table with indices of 32 bits.
    #[must_use]
    pub const fn new(element: RefType, limits: Limits) -> TableType {
        TableType {
            element,
            limits,
            index: IndexType::I32,
        }
    }

    /// The type `wasmparser` calls `ty`; `None` if it belongs to a proposal that is not accepted.
    pub fn from_wasmparser(ty: wasmparser::TableType, types: &Types) -> Option<TableType> {
        let limits = Limits {
            min: ty.initial,
            max: ty.maximum,
        };
        let element = types.reference(ty.element_type)?;
        (!ty.shared).then_some(TableType {
            element,
            limits,
            index: IndexType::of(ty.table64),
        })
    }
}

impl fmt::Display for TableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.index.prefix(), self.limits, self.element)
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
    pub fn from_wasmparser(ty: wasmparser::GlobalType, types: &Types) -> Option<GlobalType> {
        let content = types.value(ty.content_type)?;
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
