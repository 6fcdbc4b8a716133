//! What stops a guest that a test plays.

use std::sync::atomic::{AtomicBool, Ordering};

use tiered_runtime::code::StopSignal;

/// A guest that nothing can stop.
pub(super) static NEVER: Stop = Stop::new(false);

#[derive(Debug)]
pub(super) struct Stop {
    is_armed: bool,
    is_raised: AtomicBool,
}

impl Stop {
    pub(super) const fn new(is_armed: bool) -> Stop {
        Stop {
            is_armed,
            is_raised: AtomicBool::new(false),
        }
    }

    pub(super) fn raise(&self) {
        self.is_raised.store(true, Ordering::Relaxed);
    }
}

impl StopSignal for Stop {
    fn is_armed(&self) -> bool {
        self.is_armed
    }

    fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Relaxed)
    }
}
