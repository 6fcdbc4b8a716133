//! What a host gives to components: functions, resource types and core modules, by the names of their interfaces.
//!
//! A host function is written in one of two forms.
//!
//! * [`Linker::lowered`]: on the flat core values and the bytes of the caller's memory, as the canonical ABI lays them out for
//!   `memory32` and `utf8`, which is what compilers make. Nothing is converted or allocated, so a call costs what a call of a
//!   core host function costs. Interfaces that are known when the host is written, WASI above all, are written so.
//! * [`Linker::func`]: on values, lifted and lowered for it, of whatever types and options the component has.
//!
//! Names: an interface is `wasi:cli/run@0.2.12`, and stands for those of its versions that fit it by the rules of semantic
//! versions: a component that imports `wasi:cli/run@0.2.0` gets it, and so does one that imports `@0.2.40`. What is imported
//! outside of an interface has the interface `""`.
//!
//! *Invariant:* a function's type is compared once, when a component is linked: no call checks it again.

use std::sync::Arc;

use tiered::decode::types::ValType;
use tiered::{Caller, Trap};

use crate::lowered::Lowered;
use crate::names::Names;
use crate::resource::{HostResource, ResourceType};

/// Why a linker refuses a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is a definition of that name, and [`Linker::allow_shadowing`] is off.
    #[error("{name:?} of {interface:?} is defined already")]
    AlreadyDefined {
        /// The interface.
        interface: String,
        /// The name in it.
        name: String,
    },
    /// Another resource type's name has the same hash.
    #[error("the resource types {0:?} and {1:?} can't be told apart: rename one of them")]
    SameHash(&'static str, &'static str),
}

/// The body of a host function on flat core values.
pub(crate) type LoweredBody<T> =
    dyn Fn(&mut Lowered<'_, T>) -> Result<(), Trap> + Send + Sync + 'static;

/// What the host does when the last handle of one of its resources is dropped.
pub(crate) type HostDestructor<T> =
    dyn Fn(Caller<'_, T>, u32) -> Result<(), Trap> + Send + Sync + 'static;

pub(crate) enum Definition<T: 'static> {
    Lowered {
        params: Box<[ValType]>,
        results: Box<[ValType]>,
        body: Arc<LoweredBody<T>>,
    },
    Resource(HostResource, Arc<HostDestructor<T>>),
}

/// Finds what a component imports by its names.
///
/// It belongs to no store: one linker serves many stores of the same data type.
pub struct Linker<T: 'static> {
    interfaces: Names<Names<Definition<T>>>,
    shadows: bool,
}

impl<T: 'static> Linker<T> {
    /// A linker that knows no names.
    #[must_use]
    pub fn new() -> Linker<T> {
        Linker {
            interfaces: Names::new(),
            shadows: false,
        }
    }

    /// Whether a definition may replace an earlier one of the same name; `false` at first, when that is an error.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.shadows = allow;
        self
    }

    /// Defines the function `name` of `interface` by its flat core signature, `params` and `results` as the canonical ABI has
    /// them for a function that is imported: at most 16 parameters, or one pointer; at most one result, or one more parameter
    /// that points to where the result goes.
    ///
    /// A component whose function has another flat signature is refused when it is linked, and so is one that passes strings
    /// in another encoding than UTF-8 to it, or has a memory of 64-bit addresses.
    ///
    /// ```
    /// use tiered::decode::types::ValType::{I32, I64};
    /// use tiered_component::Linker;
    ///
    /// let mut linker = Linker::<u64>::new();
    /// // now: func() -> u64
    /// linker.lowered("my:host/clock@1.0.0", "now", &[], &[I64], |call| {
    ///     let now = *call.data();
    ///     call.return_u64(now);
    ///     Ok(())
    /// })?;
    /// // print: func(text: string)
    /// linker.lowered("my:host/log@1.0.0", "print", &[I32, I32], &[], |call| {
    ///     let (at, length) = (call.arg_u32(0) as usize, call.arg_u32(1) as usize);
    ///     let (_, bytes) = call.memory();
    ///     let bytes = bytes.get(at..).and_then(|bytes| bytes.get(..length)).ok_or("a string out of bounds");
    ///     println!("{}", String::from_utf8_lossy(bytes.map_err(tiered::Trap::host)?));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), tiered_component::LinkError>(())
    /// ```
    ///
    /// # Errors
    /// [`LinkError::AlreadyDefined`].
    pub fn lowered(
        &mut self,
        interface: &str,
        name: &str,
        params: &[ValType],
        results: &[ValType],
        body: impl Fn(&mut Lowered<'_, T>) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> Result<&mut Self, LinkError> {
        let definition = Definition::Lowered {
            params: params.into(),
            results: results.into(),
            body: Arc::new(body),
        };
        self.insert(interface, name, definition)
    }

    /// Defines the resource type `name` of `interface`. When its last handle is dropped, `drop` is called with the data and the
    /// resource's number; when a store ends, nobody is called.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn resource(
        &mut self,
        interface: &str,
        name: &str,
        ty: HostResource,
        drop: impl Fn(Caller<'_, T>, u32) -> Result<(), Trap> + Send + Sync + 'static,
    ) -> Result<&mut Self, LinkError> {
        self.insert(interface, name, Definition::Resource(ty, Arc::new(drop)))
    }

    fn insert(
        &mut self,
        interface: &str,
        name: &str,
        definition: Definition<T>,
    ) -> Result<&mut Self, LinkError> {
        let names = self.interfaces.entry(interface, Names::new);
        if !self.shadows && names.get_exact(name).is_some() {
            return Err(LinkError::AlreadyDefined {
                interface: interface.to_owned(),
                name: name.to_owned(),
            });
        }
        names.insert(name, definition);
        Ok(self)
    }
}

impl<T: 'static> Default for Linker<T> {
    fn default() -> Linker<T> {
        Linker::new()
    }
}
