//! Index newtypes: a place in one of a module's index spaces, never a bare `u32`.
//!
//! *Invariant:* an index taken from a [`Module`](crate::Module) is within the space it names in that module.
//! Called by every crate that names part of a module.

use std::fmt;

macro_rules! index {
    ($($name:ident $what:literal)*) => { $(
        #[doc = concat!("The index of a ", $what, ".")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// The index as a `usize`, for indexing.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl From<u32> for $name {
            #[inline]
            fn from(index: u32) -> Self {
                $name(index)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

index! {
    TypeIdx   "function type"
    FuncIdx   "function"
    TableIdx  "table"
    MemoryIdx "memory"
    GlobalIdx "global"
    TagIdx    "tag"
    ElemIdx   "element segment"
    DataIdx   "data segment"
    LocalIdx  "local, params first"
}
