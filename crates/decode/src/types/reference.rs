//! Types of references, as the spec's sections 2.3.3 to 2.3.5 have them, with subtyping (3.3.3, 3.3.4).
//!
//! *Invariant:* a reference type takes eight bytes and is compared bit by bit: what it refers to by number is canonical
//! ([`TypeId`]), so equal types are equal whichever module they come from.

use std::fmt;

use super::ValType;
use super::canonical::{self, TypeId};

/// The type of a reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefType {
    nullable: bool,
    kind: Kind,
    /// Zero unless the kind is a concrete one.
    id: TypeId,
}

/// What a reference is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HeapType {
    /// One of the types that the spec defines.
    Abstract(AbstractHeapType),
    /// A type that modules define, and whether it is one of functions, structures or arrays.
    Concrete(CompositeKind, TypeId),
}

/// A heap type that the spec defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AbstractHeapType {
    /// All functions.
    Func,
    /// All that is the host's.
    Extern,
    /// All that is the guest's but functions.
    Any,
    /// What can be compared.
    Eq,
    /// Integers of 31 bits.
    I31,
    /// All structures.
    Struct,
    /// All arrays.
    Array,
    /// None of what is in `any`.
    None,
    /// No function.
    NoFunc,
    /// Nothing of the host's.
    NoExtern,
    /// All exceptions.
    Exn,
    /// No exception.
    NoExn,
}

/// The types of which all heap types are subtypes, each of one of them. How a reference is held follows from this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopType {
    /// All functions.
    Func,
    /// All that is the host's.
    Extern,
    /// All that is the guest's but functions.
    Any,
    /// All exceptions.
    Exn,
}

/// Which kind of composite type a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CompositeKind {
    /// A function type.
    Func,
    /// A structure type.
    Struct,
    /// An array type.
    Array,
}

/// A [`HeapType`] without the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Abstract(AbstractHeapType),
    Concrete(CompositeKind),
}

impl RefType {
    /// `funcref`: a function of any type, or null.
    pub const FUNCREF: RefType = RefType::of_abstract(true, AbstractHeapType::Func);
    /// `(ref func)`: a function of any type.
    pub const FUNC: RefType = RefType::of_abstract(false, AbstractHeapType::Func);
    /// `(ref extern)`: something of the host's.
    pub const EXTERN: RefType = RefType::of_abstract(false, AbstractHeapType::Extern);
    /// `externref`: something of the host's, or null.
    pub const EXTERNREF: RefType = RefType::of_abstract(true, AbstractHeapType::Extern);
    /// `(ref any)`: something of the guest's that is no function, or something of the host's.
    pub const ANY: RefType = RefType::of_abstract(false, AbstractHeapType::Any);
    /// `anyref`: as `(ref any)`, or null.
    pub const ANYREF: RefType = RefType::of_abstract(true, AbstractHeapType::Any);
    /// `exnref`: an exception, or null.
    pub const EXNREF: RefType = RefType::of_abstract(true, AbstractHeapType::Exn);

    /// A reference to something of type `heap`, or null if it is `nullable`.
    #[must_use]
    pub const fn new(nullable: bool, heap: HeapType) -> RefType {
        match heap {
            HeapType::Abstract(ty) => RefType::of_abstract(nullable, ty),
            HeapType::Concrete(kind, id) => RefType {
                nullable,
                kind: Kind::Concrete(kind),
                id,
            },
        }
    }

    const fn of_abstract(nullable: bool, ty: AbstractHeapType) -> RefType {
        RefType {
            nullable,
            kind: Kind::Abstract(ty),
            id: TypeId::NONE,
        }
    }

    /// Whether null is one of its values.
    #[must_use]
    pub const fn is_nullable(self) -> bool {
        self.nullable
    }

    /// What it refers to.
    #[must_use]
    pub const fn heap(self) -> HeapType {
        match self.kind {
            Kind::Abstract(ty) => HeapType::Abstract(ty),
            Kind::Concrete(kind) => HeapType::Concrete(kind, self.id),
        }
    }

    /// The type at the top of its hierarchy.
    #[must_use]
    pub const fn top(self) -> TopType {
        self.heap().top()
    }

    /// The type alone, if no module defines it.
    pub(super) const fn as_static_slice(self) -> Option<&'static [ValType]> {
        macro_rules! of_abstract {
            ($($ty:ident)*) => {
                match (self.kind, self.nullable) {
                    $(
                        (Kind::Abstract(AbstractHeapType::$ty), true) => {
                            const { &[ValType::Ref(RefType::of_abstract(true, AbstractHeapType::$ty))] }
                        }
                        (Kind::Abstract(AbstractHeapType::$ty), false) => {
                            const { &[ValType::Ref(RefType::of_abstract(false, AbstractHeapType::$ty))] }
                        }
                    )*
                    (Kind::Concrete(_), _) => return None,
                }
            };
        }
        Some(of_abstract! {
            Func Extern Any Eq I31 Struct Array None NoFunc NoExtern Exn NoExn
        })
    }

    /// Calls `change` with the number of the type it refers to, if a module defines that, and with its kind.
    pub(super) fn for_id(&mut self, change: impl FnOnce(&mut TypeId, CompositeKind)) {
        match self.kind {
            Kind::Abstract(_) => {}
            Kind::Concrete(kind) => change(&mut self.id, kind),
        }
    }

    /// Whether each value of this type is one of `other`, too.
    #[must_use]
    pub fn matches(self, other: RefType) -> bool {
        (other.nullable || !self.nullable) && self.heap().matches(other.heap())
    }
}

impl HeapType {
    /// The type at the top of its hierarchy.
    #[must_use]
    pub const fn top(self) -> TopType {
        use AbstractHeapType as A;
        match self {
            HeapType::Concrete(CompositeKind::Func, _) => TopType::Func,
            HeapType::Concrete(CompositeKind::Struct | CompositeKind::Array, _) => TopType::Any,
            HeapType::Abstract(ty) => match ty {
                A::Func | A::NoFunc => TopType::Func,
                A::Extern | A::NoExtern => TopType::Extern,
                A::Exn | A::NoExn => TopType::Exn,
                A::Any | A::Eq | A::I31 | A::Struct | A::Array | A::None => TopType::Any,
            },
        }
    }

    /// Whether it is `other` or a subtype of it.
    #[must_use]
    pub fn matches(self, other: HeapType) -> bool {
        use AbstractHeapType as A;
        match (self, other) {
            (HeapType::Concrete(_, id), HeapType::Concrete(_, other)) => {
                canonical::is_subtype(id, other)
            }
            (HeapType::Concrete(kind, _), HeapType::Abstract(other)) => match kind {
                CompositeKind::Func => other == A::Func,
                CompositeKind::Struct => matches!(other, A::Struct | A::Eq | A::Any),
                CompositeKind::Array => matches!(other, A::Array | A::Eq | A::Any),
            },
            (HeapType::Abstract(ty), HeapType::Concrete(kind, _)) => match kind {
                CompositeKind::Func => ty == A::NoFunc,
                CompositeKind::Struct | CompositeKind::Array => ty == A::None,
            },
            (HeapType::Abstract(ty), HeapType::Abstract(other)) => ty.matches(other),
        }
    }
}

impl AbstractHeapType {
    /// Whether it is `other` or a subtype of it.
    #[must_use]
    pub const fn matches(self, other: AbstractHeapType) -> bool {
        use AbstractHeapType as A;
        match self {
            A::Func | A::Extern | A::Any | A::Exn => self as u8 == other as u8,
            A::NoFunc => matches!(other, A::NoFunc | A::Func),
            A::NoExtern => matches!(other, A::NoExtern | A::Extern),
            A::NoExn => matches!(other, A::NoExn | A::Exn),
            A::Eq => matches!(other, A::Eq | A::Any),
            A::I31 | A::Struct | A::Array => {
                self as u8 == other as u8 || matches!(other, A::Eq | A::Any)
            }
            A::None => matches!(
                other,
                A::None | A::I31 | A::Struct | A::Array | A::Eq | A::Any
            ),
        }
    }

    /// The type that `wasmparser` calls `ty`; `None` if it has no name here.
    pub(crate) fn from_wasmparser(ty: wasmparser::AbstractHeapType) -> Option<AbstractHeapType> {
        use wasmparser::AbstractHeapType as W;
        Some(match ty {
            W::Func => AbstractHeapType::Func,
            W::Extern => AbstractHeapType::Extern,
            W::Any => AbstractHeapType::Any,
            W::Eq => AbstractHeapType::Eq,
            W::I31 => AbstractHeapType::I31,
            W::Struct => AbstractHeapType::Struct,
            W::Array => AbstractHeapType::Array,
            W::None => AbstractHeapType::None,
            W::NoFunc => AbstractHeapType::NoFunc,
            W::NoExtern => AbstractHeapType::NoExtern,
            W::Exn => AbstractHeapType::Exn,
            W::NoExn => AbstractHeapType::NoExn,
            W::Cont | W::NoCont => return None,
        })
    }

    /// The type in the text format.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            AbstractHeapType::Func => "func",
            AbstractHeapType::Extern => "extern",
            AbstractHeapType::Any => "any",
            AbstractHeapType::Eq => "eq",
            AbstractHeapType::I31 => "i31",
            AbstractHeapType::Struct => "struct",
            AbstractHeapType::Array => "array",
            AbstractHeapType::None => "none",
            AbstractHeapType::NoFunc => "nofunc",
            AbstractHeapType::NoExtern => "noextern",
            AbstractHeapType::Exn => "exn",
            AbstractHeapType::NoExn => "noexn",
        }
    }

    /// The short form that the text format has for a nullable reference to it.
    const fn nullable_text(self) -> &'static str {
        match self {
            AbstractHeapType::Func => "funcref",
            AbstractHeapType::Extern => "externref",
            AbstractHeapType::Any => "anyref",
            AbstractHeapType::Eq => "eqref",
            AbstractHeapType::I31 => "i31ref",
            AbstractHeapType::Struct => "structref",
            AbstractHeapType::Array => "arrayref",
            AbstractHeapType::None => "nullref",
            AbstractHeapType::NoFunc => "nullfuncref",
            AbstractHeapType::NoExtern => "nullexternref",
            AbstractHeapType::Exn => "exnref",
            AbstractHeapType::NoExn => "nullexnref",
        }
    }
}

/// As in the text format, but that a type of a module, which has no name there, is written out; types in that type are
/// left out.
impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let null = if self.nullable { "null " } else { "" };
        match self.heap() {
            HeapType::Abstract(ty) if self.nullable => f.write_str(ty.nullable_text()),
            HeapType::Abstract(ty) => write!(f, "(ref {})", ty.text()),
            // The alternate form is that within another type: types may refer to each other in circles.
            HeapType::Concrete(..) if f.alternate() => write!(f, "(ref {null}…)"),
            HeapType::Concrete(_, id) => match canonical::definition(id) {
                Some(ty) => write!(f, "(ref {null}({ty:#}))"),
                None => write!(f, "(ref {null}…)"),
            },
        }
    }
}

impl fmt::Debug for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
