//! Types of host functions and of the host's tags.

use std::sync::Arc;

use thiserror::Error;
use tiered_decode::types::{FuncType, Registered, TypeId, Unregistered};

/// The type of a host function or a tag: written out, or one that a module has defined.
///
/// Types with the same parameters and results may differ: a module can define them together with others, as a recursion group, or as
/// subtypes of one another. A [`FuncType`] stands for the type that is final, no subtype, and alone in its group. Any other is
/// named by its number, as for the host function that a module imports by such a type:
///
/// ```
/// use std::sync::Arc;
///
/// use tiered_runtime::decode::Module;
/// use tiered_runtime::{HostType, Linker};
///
/// let module = Module::new(br#"(module
///     (rec (type $visit (func (param (ref null $node)))) (type $node (struct (field (ref $visit)))))
///     (import "host" "visit" (func (type $visit))))"#.to_vec())?;
/// let mut linker = Linker::<()>::new();
/// for import in module.imports() {
///     if let Some(id) = module.import_type_id(import) {
///         let ty = HostType::of_module(id)?;
///         linker.func_new(&import.module, &import.name, ty, |_, _, _| Ok(()))?;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostType {
    pub(crate) ty: FuncType,
    /// The number of the type.
    pub(crate) id: TypeId,
    /// Keeps the number.
    pub(crate) registered: Arc<Registered>,
}

/// A type can't be one of a host function or of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostTypeError {
    /// It refers to a type of a module that is gone, or is one.
    #[error(transparent)]
    Unregistered(#[from] Unregistered),
    /// It is the type of structures or of arrays.
    #[error("the type is not one of functions")]
    NotFunc,
    /// A tag's type has no results.
    #[error("the type of a tag has no results")]
    Results,
}

impl HostType {
    /// The type with these parameters and results that is alone in its recursion group.
    ///
    /// # Errors
    /// [`HostTypeError::Unregistered`].
    pub fn new(ty: FuncType) -> Result<HostType, HostTypeError> {
        let (registered, id) = Registered::of_func(&ty)?;
        let registered = Arc::new(registered);
        Ok(HostType { ty, id, registered })
    }

    /// A type that a module has defined, by its number: of an import
    /// ([`Module::import_type_id`](tiered_decode::Module::import_type_id)), of any type of the module
    /// ([`Types::id`](tiered_decode::types::Types::id)), of a function or a tag ([`Func::type_id`](crate::Func::type_id),
    /// [`Tag::type_id`](crate::Tag::type_id)).
    ///
    /// # Errors
    /// [`HostTypeError::Unregistered`] or [`HostTypeError::NotFunc`].
    pub fn of_module(id: TypeId) -> Result<HostType, HostTypeError> {
        let registered = Arc::new(Registered::again(id)?);
        let definition = id.definition().ok_or(Unregistered)?;
        let ty = definition.func().ok_or(HostTypeError::NotFunc)?.clone();
        Ok(HostType { ty, id, registered })
    }

    /// Parameters and results.
    #[must_use]
    pub fn func_type(&self) -> &FuncType {
        &self.ty
    }

    /// The number.
    #[must_use]
    pub fn id(&self) -> TypeId {
        self.id
    }
}

/// As [`HostType::new`].
///
/// # Panics
/// If the type refers to one of a module that is gone.
impl From<FuncType> for HostType {
    fn from(ty: FuncType) -> HostType {
        HostType::new(ty.clone()).unwrap_or_else(|error| panic!("{ty}: {error}"))
    }
}
