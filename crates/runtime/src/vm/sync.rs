//! The atomics and the lock of what changes under running code: the standard library's and `parking_lot`'s; and loom's
//! where the [models](crate::vm) of these protocols are checked, so that they run the real types.
//!
//! *Invariant:* the layout of running code holds with the former only: what loom has is larger.

#[cfg(not(all(loom, test)))]
pub(crate) use {
    parking_lot::Mutex,
    std::sync::atomic::{
        AtomicBool, AtomicI32, AtomicPtr, AtomicU16, AtomicU64, AtomicUsize, Ordering,
    },
};

#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU16, AtomicU64, AtomicUsize, Ordering,
};

/// Loom's lock with the interface of `parking_lot`'s.
#[cfg(all(loom, test))]
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(all(loom, test))]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("nobody panicked")
    }
}
