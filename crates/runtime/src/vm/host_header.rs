//! What running code knows of a host function.
//!
//! *Invariant:* a header is the first field of what holds it, and never moves. Whoever gives out the address of its
//! [`FuncCode`] has exposed the provenance of the whole, so that the whole can be reached by that address.

use std::sync::Arc;

use tiered_decode::types::{FuncType, Registered, TypeId};

use crate::vm::code::{EntryFn, EntryPoints, FuncCode};

/// See the module.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct HostHeader {
    /// First, so its address is that of the whole.
    code: FuncCode,
    ty: FuncType,
    /// Keeps the type's number.
    _registered: Arc<Registered>,
}

impl HostHeader {
    /// The header of a function that `entry` runs, for callers that begin as `points` say.
    ///
    /// # Safety
    /// The address of this header's [`FuncCode`] is given out by the invariant of the module only.
    pub(crate) unsafe fn new(
        ty: FuncType,
        (id, registered): (TypeId, Arc<Registered>),
        entry: EntryFn,
        points: &EntryPoints,
    ) -> HostHeader {
        HostHeader {
            code: FuncCode::of_host(&ty, id, entry, points),
            ty,
            _registered: registered,
        }
    }

    /// The type.
    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }
}
