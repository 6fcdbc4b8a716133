//! How many descriptors of the host's the guests of this process may hold together.
//!
//! The operating system counts descriptors per process, so a guest that takes them all stops everybody: the embedder, the
//! other guests, whoever wants to open a file. So guests get three quarters of what the process may have open, and by
//! default none of them more than a third of that.
//!
//! Invariant: every descriptor that a guest holds beyond the call that opened it has a [`Lease`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

use crate::abi::Errno;

/// What one guest may have open where the host sets no limit.
pub(crate) const MOST: usize = 65_536;

/// What a guest may have open however low the host's limit: a few files beside its streams.
const LEAST: usize = 16;

/// Leases given out.
static LEASED: AtomicUsize = AtomicUsize::new(0);

/// How many there may be: see [`Share::of_process`].
static LIMIT: AtomicUsize = AtomicUsize::new(MOST);

/// What guests may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// All of them together.
    pub(crate) together: usize,
    /// One of them, unless its embedder says otherwise.
    pub(crate) each: usize,
}

impl Share {
    /// Of a process that may have `limit` descriptors open.
    fn of(limit: Option<u64>) -> Self {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(usize::MAX);
        Self {
            together: limit - limit / 4,
            each: (limit / 4).clamp(LEAST, MOST),
        }
    }

    /// As this process's soft limit is now. It holds for all guests from now on.
    pub(crate) fn of_process() -> Self {
        let share = Self::of(getrlimit(Resource::Nofile).current);
        LIMIT.store(share.together, Ordering::Relaxed);
        share
    }
}

/// The permission to hold one descriptor of the host's.
#[derive(Debug)]
pub(crate) struct Lease(());

impl Lease {
    /// Another one; `MFILE` if all are given out.
    pub(crate) fn take() -> Result<Self, Errno> {
        let limit = LIMIT.load(Ordering::Relaxed);
        let more = |leased| (leased < limit).then_some(leased + 1);
        let taken = LEASED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| Self(())).map_err(|_| Errno::MFILE)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        LEASED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The permission to hold one descriptor of the host's, and the count of those that a guest holds by other names than the
/// numbers of its descriptor table.
#[derive(Debug)]
pub(crate) struct Hold {
    _lease: Lease,
    outside: Option<Arc<AtomicUsize>>,
}

impl Hold {
    /// For a descriptor in the table, which counts those itself.
    pub(crate) fn in_table(lease: Lease) -> Self {
        Self {
            _lease: lease,
            outside: None,
        }
    }

    /// For one outside the table, counted there.
    #[cfg(feature = "component")]
    pub(crate) fn outside(lease: Lease, count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self {
            _lease: lease,
            outside: Some(Arc::clone(count)),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(count) = &self.outside {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_leave_a_quarter_to_the_process_and_most_to_others() {
        let share = |together, each| Share { together, each };
        assert_eq!(Share::of(Some(1024)), share(768, 256));
        assert_eq!(Share::of(Some(20)), share(15, 16));
        assert_eq!(Share::of(Some(1 << 20)), share(3 << 18, MOST));
        assert_eq!(Share::of(None).each, MOST);
        assert_eq!(Share::of(Some(0)), share(0, 16));
    }
}
