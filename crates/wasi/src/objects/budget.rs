//! How many bytes of one kind a context may keep for its guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that may still be kept.
#[derive(Debug)]
pub(crate) struct ByteBudget(Arc<AtomicUsize>);

impl ByteBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes `bytes` out of the account, if there are as many.
    pub(crate) fn take(&self, bytes: usize) -> Option<Taken> {
        let less = |left: usize| left.checked_sub(bytes);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.ok().map(|_| Taken {
            budget: Arc::clone(&self.0),
            bytes,
        })
    }
}

/// Bytes taken out of a budget, given back in the end.
#[derive(Debug)]
pub(crate) struct Taken {
    budget: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.budget.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gets_back_what_was_taken() {
        let budget = ByteBudget::new(100);
        let taken = budget.take(60);
        assert!(taken.is_some() && budget.take(60).is_none());
        drop(taken);
        assert!(budget.take(100).is_some());
    }
}
