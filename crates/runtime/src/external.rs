//! What modules import and export: functions, tables, memories, globals and tags of a store.

use tiered_decode::types::ExternType;

use crate::exception::Tag;
use crate::func::Func;
use crate::handles::{Global, Memory, Table};
use crate::store::AnyStore;

/// Something that can be imported or exported: the spec's external value (section 4.2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A table.
    Table(Table),
    /// A memory.
    Memory(Memory),
    /// A global.
    Global(Global),
    /// A tag.
    Tag(Tag),
}

impl Extern {
    /// The type.
    pub fn ty(&self, store: &AnyStore) -> ExternType {
        match self {
            Extern::Func(func) => ExternType::Func(func.ty(store)),
            Extern::Table(table) => ExternType::Table(table.ty(store)),
            Extern::Memory(memory) => ExternType::Memory(memory.ty(store)),
            Extern::Global(global) => ExternType::Global(global.ty(store)),
            Extern::Tag(tag) => ExternType::Tag(tag.ty(store)),
        }
    }

    /// The function, if it is one.
    #[doc(alias = "into_func")]
    pub fn func(self) -> Option<Func> {
        match self {
            Extern::Func(func) => Some(func),
            _ => None,
        }
    }

    /// The table, if it is one.
    #[doc(alias = "into_table")]
    pub fn table(self) -> Option<Table> {
        match self {
            Extern::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The memory, if it is one.
    #[doc(alias = "into_memory")]
    pub fn memory(self) -> Option<Memory> {
        match self {
            Extern::Memory(memory) => Some(memory),
            _ => None,
        }
    }

    /// The global, if it is one.
    #[doc(alias = "into_global")]
    pub fn global(self) -> Option<Global> {
        match self {
            Extern::Global(global) => Some(global),
            _ => None,
        }
    }

    /// The tag, if it is one.
    #[doc(alias = "into_tag")]
    pub fn tag(self) -> Option<Tag> {
        match self {
            Extern::Tag(tag) => Some(tag),
            _ => None,
        }
    }
}

macro_rules! extern_from {
    ($($variant:ident)*) => {$(
        impl From<$variant> for Extern {
            fn from(value: $variant) -> Extern {
                Extern::$variant(value)
            }
        }
    )*};
}

extern_from! { Func Table Memory Global Tag }
