//! What running code knows of a host function.
//!
//! *Invariant:* a header is the first field of what holds it, and never moves. Whoever gives out the address of its
//! [`FuncCode`] has exposed the provenance of the whole, so that the whole can be reached by that address.

use tiered_decode::types::FuncType;

use crate::vm::code::{EntryFn, EntryPoints, FuncCode};
use crate::vm::types::Registered;

/// See the module.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct HostHeader {
    /// First, so its address is that of the whole.
    code: FuncCode,
    ty: FuncType,
    _sig: Registered,
}

impl HostHeader {
    /// The header of a function that `entry` runs, for callers that begin as `points` say.
    ///
    /// # Safety
    /// The address of this header's [`FuncCode`] is given out by the invariant of the module only.
    pub(crate) unsafe fn new(ty: FuncType, entry: EntryFn, points: &EntryPoints) -> HostHeader {
        let sig = Registered::new([&ty]);
        HostHeader {
            code: FuncCode::of_host(&ty, sig.ids()[0], entry, points),
            ty,
            _sig: sig,
        }
    }

    /// The type.
    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }
}
