//! Roots: what is alive because somebody outside of the heap has it.

use slotmap::{SlotMap, new_key_type};
use tiered_pages::Errno;

use crate::error::AllocError;
use crate::heap::Liveness;
use crate::mark::Marker;

/// Everything that keeps objects alive, as the program that uses a heap knows it.
///
/// # Safety
/// [`Roots::trace`] shows every reference by which an object may still be reached and that is not in another object that can
/// be reached; as the address of the object, or of any byte in it.
pub unsafe trait Roots {
    /// Shows all roots to `marker`.
    fn trace(&mut self, marker: &mut Marker<'_>);

    /// Called at the end of each collection. Here go tables whose entries are to die with objects
    /// ([`ExternTable::sweep`](crate::ExternTable::sweep)). Nothing can be allocated meanwhile.
    fn finalize(&mut self, live: &Liveness<'_>) {
        let _ = live;
    }
}

new_key_type! {
    /// A handle to a reference in a [`RootSet`]. It says of itself when what it stood for is gone, also after its place
    /// was used again.
    pub struct Root;
}

/// References that an embedder holds, as the bits of a slot: null, an `i31`, an object or something outside of the heap.
///
/// Most handles are made while a host function runs and are of no use after it. They belong to a *scope* and are released
/// with it, so a program that calls the host in a loop does not keep everything alive that it ever passed. Others are
/// kept until they are released.
///
/// ```
/// use tiered_heap::RootSet;
///
/// let mut roots = RootSet::default();
/// let kept = roots.keep(7)?;
/// let scope = roots.enter();
/// let passed = roots.add(9)?;
/// assert_eq!(roots.get(passed), Some(9));
/// roots.leave(scope);
/// assert_eq!((roots.get(passed), roots.get(kept)), (None, Some(7)));
/// roots.release(kept);
/// # Ok::<(), tiered_heap::AllocError>(())
/// ```
#[derive(Debug, Default)]
pub struct RootSet {
    references: SlotMap<Root, u64>,
    /// The handles that belong to scopes, the innermost scope's last.
    scoped: Vec<Root>,
}

/// A scope of a [`RootSet`] that was entered.
#[derive(Debug)]
#[must_use = "leave it again"]
pub struct Scope {
    /// How many handles outer scopes have.
    outer: usize,
}

/// The handles of the scopes that one stack of calls has entered, innermost last: scopes end in the reverse order of their
/// begin on one stack, but not on two of which each runs for a while.
#[derive(Debug, Default)]
pub struct ScopedRoots(Vec<Root>);

impl RootSet {
    /// Another stack of calls goes on: its scopes are those that are entered and left from now on, and `scopes` becomes what
    /// the earlier one has.
    pub fn exchange_scopes(&mut self, scopes: &mut ScopedRoots) {
        std::mem::swap(&mut self.scoped, &mut scopes.0);
    }

    /// Begins a scope.
    pub fn enter(&self) -> Scope {
        Scope {
            outer: self.scoped.len(),
        }
    }

    /// Ends a scope and all within it: releases their handles.
    pub fn leave(&mut self, scope: Scope) {
        // Most host functions make none.
        if scope.outer >= self.scoped.len() {
            return;
        }
        for root in self.scoped.drain(scope.outer..) {
            self.references.remove(root);
        }
        if self.scoped.is_empty() {
            self.scoped.shrink_to(1024);
        }
    }

    /// Adds a reference to the innermost scope.
    ///
    /// # Errors
    /// [`AllocError::Host`] if there is no memory for it.
    pub fn add(&mut self, reference: u64) -> Result<Root, AllocError> {
        let no_memory = AllocError::Host(Errno::NOMEM);
        self.scoped.try_reserve(1).map_err(|_| no_memory)?;
        let root = self.keep(reference)?;
        self.scoped.push(root);
        Ok(root)
    }

    /// Adds a reference that stays until it is [released](RootSet::release).
    ///
    /// # Errors
    /// [`AllocError::Host`] if there is no memory for it.
    pub fn keep(&mut self, reference: u64) -> Result<Root, AllocError> {
        let no_memory = AllocError::Host(Errno::NOMEM);
        // The most that there can be handles for.
        if self.references.len() >= u32::MAX as usize - 2 {
            return Err(no_memory);
        }
        self.references.try_reserve(1).map_err(|_| no_memory)?;
        Ok(self.references.insert(reference))
    }

    /// Takes a reference out, before its scope ends if it has one.
    pub fn release(&mut self, root: Root) -> Option<u64> {
        self.references.remove(root)
    }

    /// The reference; `None` if it was released.
    #[must_use]
    pub fn get(&self, root: Root) -> Option<u64> {
        self.references.get(root).copied()
    }

    /// How many references there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// Shows all references to `marker`.
    pub fn trace(&self, marker: &mut Marker<'_>) {
        for &reference in self.references.values() {
            marker.reference(reference);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_release_what_was_added_in_them() {
        let mut roots = RootSet::default();
        let outer = roots.enter();
        let a = roots.add(1).expect("there is memory");
        let inner = roots.enter();
        let b = roots.add(2).expect("there is memory");
        let kept = roots.keep(3).expect("there is memory");
        assert_eq!(roots.release(b), Some(2));
        let c = roots.add(4).expect("there is memory");
        assert_eq!(roots.get(b), None, "its place is another's now");
        roots.leave(inner);
        assert_eq!(
            [a, c, kept].map(|root| roots.get(root)),
            [Some(1), None, Some(3)]
        );
        let _forgotten = roots.enter();
        let d = roots.add(5).expect("there is memory");
        roots.leave(outer);
        assert_eq!([a, d].map(|root| roots.get(root)), [None, None]);
        assert_eq!(roots.len(), 1);
        assert_eq!(roots.release(kept), Some(3));
        assert!(roots.is_empty());
    }
}
