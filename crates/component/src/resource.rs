//! What resources are of: types that a host has made, and types that components define.
//!
//! *Invariant:* two types are the same if and only if the validator, or linking, has taken them for the same: a handle is good
//! where its type is.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::val::Handle;

/// A resource type of the host, or of one instance of a component that defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceType(u64);

/// Tells the types of hosts from those of components.
const OF_HOST: u64 = 1 << 63;

impl ResourceType {
    /// The type `resource` of the host.
    #[must_use]
    pub const fn of_host(resource: HostResource) -> ResourceType {
        ResourceType(resource.id | OF_HOST)
    }

    /// A type that there has not been.
    pub(crate) fn of_guest() -> ResourceType {
        static TYPES: AtomicU64 = AtomicU64::new(0);
        ResourceType(TYPES.fetch_add(1, Ordering::Relaxed))
    }

    /// The handle of a resource of this type that the host holds.
    pub(crate) fn handle(self, index: u64) -> Handle {
        let owner = self.0;
        Handle { owner, index }
    }

    /// Whether a handle that the host holds is of this type.
    pub(crate) fn is_type_of(self, handle: Handle) -> bool {
        handle.owner == self.0
    }

    /// Whether the host has made it.
    #[must_use]
    pub const fn is_of_host(self) -> bool {
        self.0 & OF_HOST != 0
    }
}

/// A resource type of the host. Its values are numbers of 32 bits, which mean what the host likes: indices of a table of its
/// own, most of the time. It is told by its name from others, so a name should say the interface and the type.
///
/// ```
/// use tiered_component::HostResource;
///
/// const DESCRIPTOR: HostResource = HostResource::new("wasi:filesystem/types/descriptor");
/// assert_eq!(DESCRIPTOR, HostResource::new("wasi:filesystem/types/descriptor"));
/// assert_ne!(DESCRIPTOR, HostResource::new("wasi:filesystem/types/directory-entry-stream"));
/// ```
#[derive(Clone, Copy)]
pub struct HostResource {
    /// A hash of the name: handles are compared with it in each call.
    id: u64,
    name: &'static str,
}

impl HostResource {
    /// The type of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> HostResource {
        // A linker refuses two names of one hash.
        HostResource {
            id: hash(name.as_bytes()),
            name,
        }
    }

    /// A type that there has not been, without a name: it is equal to its copies alone.
    #[must_use]
    pub fn unique() -> HostResource {
        static TYPES: AtomicU64 = AtomicU64::new(0);
        let number = TYPES.fetch_add(1, Ordering::Relaxed);
        HostResource {
            id: !hash(&number.to_le_bytes()),
            name: "",
        }
    }

    /// The type of an import that nobody defines.
    pub(crate) fn of_nobody(import: &str) -> HostResource {
        HostResource {
            id: !hash(import.as_bytes()),
            name: "",
        }
    }

    /// The handle by which the resource of this type with the number `rep` is passed to a component as a value.
    #[must_use]
    pub fn handle(self, rep: u32) -> Handle {
        ResourceType::of_host(self).handle(rep.into())
    }

    /// The number of the resource that a component has passed as a value; `None` if it is of another type.
    #[must_use]
    pub fn rep(self, handle: Handle) -> Option<u32> {
        let is_of_this = ResourceType::of_host(self).is_type_of(handle);
        is_of_this.then(|| u32::try_from(handle.index).ok())?
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// FNV-1a.
const fn hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

impl PartialEq for HostResource {
    fn eq(&self, other: &HostResource) -> bool {
        self.id == other.id
    }
}

impl Eq for HostResource {}

impl Hash for HostResource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for HostResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostResource({:?})", self.name)
    }
}
