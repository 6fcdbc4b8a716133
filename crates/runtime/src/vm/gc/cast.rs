//! Casts: what `ref.test`, `ref.cast`, `br_on_cast` and `br_on_cast_fail` have to look at.
//!
//! A [`CastTest`] is made once, when an instruction is translated; what it says is [`cast_matches`]. Compiled code and the
//! interpreter do the same inline: two loads and a comparison at most, but for functions and very deep types.

use tiered_decode::Module;
use tiered_decode::index::TypeIdx;
use tiered_decode::types::{AbstractHeapType, CompositeKind, HeapType, RefType, TopType};
use tiered_heap::{Descriptor, Kind};

use super::layouts::type_info;
use super::object::descriptor;
use crate::vm::code::FuncRecord;
use crate::vm::frame::Slot;
use crate::vm::vmctx::VmCtx;

/// Kinds of objects: the bit `1 << kind` for each [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct KindSet(u8);

impl KindSet {
    /// The kinds in it.
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> KindSet {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u8;
            at += 1;
        }
        KindSet(bits)
    }

    /// The bit `1 << kind` for each of them.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether objects of this kind are meant.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

/// What is to be tested of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CastTest {
    /// Whether null is of the type.
    pub null: bool,
    /// Whether the reference may be an `i31`, as far as its static type tells: bit 0 is set then.
    pub may_be_i31: bool,
    /// Which references are of the type, apart from null.
    pub what: What,
}

/// Which references are of a type, apart from null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// All that there can be.
    Always,
    /// None.
    Never,
    /// All `i31`, and nothing else.
    I31,
    /// Objects of these kinds, which are at [`Descriptor::KIND`].
    Kinds {
        /// Whether `i31` are, too.
        i31: bool,
        /// The kinds.
        kinds: KindSet,
    },
    /// Objects with the very descriptor of type `ty`.
    Final {
        /// The type, for [`VmCtx::descriptor`].
        ty: TypeIdx,
    },
    /// Objects whose display has the descriptor of type `ty` at `depth`: the word at [`Descriptor::DISPLAY`]` + 8 * depth` of
    /// the object's descriptor. If `depth` is not below [`SHORT_DISPLAY`](tiered_heap::SHORT_DISPLAY), compare it with the
    /// depth that the object's descriptor has at [`Descriptor::DEPTH`] before: there may be no such word.
    Depth {
        /// The type, for [`VmCtx::descriptor`].
        ty: TypeIdx,
        /// How many supertypes it has.
        depth: u32,
    },
    /// Functions whose record has the number of type `ty`; or, unless that is final, one of a subtype of it:
    /// [`func_matches`].
    Func {
        /// The type, for [`VmCtx::sig`].
        ty: TypeIdx,
        /// Whether it has no subtypes.
        is_final: bool,
    },
}

impl CastTest {
    /// The test whether a reference of the static type `from`, `None` if that is not known, is of type `to`. If `to` is a
    /// type of the module, `ty` is its index there.
    ///
    /// # Panics
    /// If `to` is a type of the module, and `ty` is `None`.
    #[must_use]
    pub fn new(
        module: &Module,
        from: Option<RefType>,
        to: RefType,
        ty: Option<TypeIdx>,
    ) -> CastTest {
        let from = from.map(RefType::heap);
        let may_be_i31 = match from {
            None => to.top() == TopType::Any,
            Some(HeapType::Abstract(ty)) => matches!(
                ty,
                AbstractHeapType::Any | AbstractHeapType::Eq | AbstractHeapType::I31
            ),
            Some(HeapType::Concrete(..)) => false,
        };
        let what = match from {
            Some(from) if from.matches(to.heap()) => What::Always,
            _ => What::of(module, to.heap(), ty),
        };
        CastTest {
            null: to.is_nullable(),
            may_be_i31,
            what,
        }
    }
}

impl What {
    fn of(module: &Module, to: HeapType, ty: Option<TypeIdx>) -> What {
        use AbstractHeapType as A;
        match to {
            HeapType::Abstract(ty) => match ty {
                A::Any | A::Extern | A::Func | A::Exn => What::Always,
                A::None | A::NoExtern | A::NoFunc | A::NoExn => What::Never,
                A::I31 => What::I31,
                A::Eq => What::Kinds {
                    i31: true,
                    kinds: KindSet::of(&[Kind::Struct, Kind::Array]),
                },
                A::Struct => What::Kinds {
                    i31: false,
                    kinds: KindSet::of(&[Kind::Struct]),
                },
                A::Array => What::Kinds {
                    i31: false,
                    kinds: KindSet::of(&[Kind::Array]),
                },
            },
            HeapType::Concrete(kind, _) => {
                let ty = ty.expect("a type of the module has an index");
                let info = type_info(module, ty);
                match (kind, info.is_final) {
                    (CompositeKind::Func, is_final) => What::Func { ty, is_final },
                    (CompositeKind::Struct | CompositeKind::Array, true) => What::Final { ty },
                    (CompositeKind::Struct | CompositeKind::Array, false) => What::Depth {
                        ty,
                        depth: info.depth,
                    },
                }
            }
        }
    }
}

/// Whether a reference passes a test.
///
/// # Safety
/// The reference is of the type that the test was made for, in the hierarchy of its target, and alive; the test was made for
/// the instance's module.
#[must_use]
pub unsafe fn cast_matches(ctx: &VmCtx, reference: Slot, test: &CastTest) -> bool {
    if reference == 0 {
        return test.null;
    }
    let is_i31 = test.may_be_i31 && reference & 1 != 0;
    let wanted = |ty| ctx.descriptor(ty).expect("it is a type of objects");
    // SAFETY: what is neither null, an `i31` nor in another hierarchy is an object.
    let own = || unsafe { descriptor(reference) };
    match test.what {
        What::Always => true,
        What::Never => false,
        What::I31 => is_i31,
        What::Kinds { i31, .. } if is_i31 => i31,
        // SAFETY: descriptors live as long as the store.
        What::Kinds { kinds, .. } => kinds.contains(unsafe { own().as_ref() }.kind()),
        What::Final { .. } | What::Depth { .. } if is_i31 => false,
        What::Final { ty } => own() == wanted(ty),
        // SAFETY: as above.
        What::Depth { ty, .. } => unsafe { Descriptor::is_subtype(own(), wanted(ty)) },
        // SAFETY: the caller's promise.
        What::Func { ty, .. } => unsafe { func_matches(ctx, reference, ty) },
    }
}

/// Whether a function is of type `ty` of the instance's module, or of a subtype of it.
///
/// # Safety
/// The reference is to a function, and not null.
#[must_use]
pub unsafe fn func_matches(ctx: &VmCtx, reference: Slot, ty: TypeIdx) -> bool {
    let record = std::ptr::with_exposed_provenance::<FuncRecord>(reference as usize);
    // SAFETY: the caller's promise; records live as long as the store.
    unsafe { &*record }.sig().is_subtype_of(ctx.sig(ty))
}
