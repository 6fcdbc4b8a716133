//! Limits from a budget, and the bounds of threads.

use std::ptr::NonNull;

use proptest::prelude::*;

use super::*;
use crate::vm::address_map::{self, Access};

fn on_thread<R: Send>(bytes: usize, body: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(bytes);
        let thread = thread.spawn_scoped(scope, body).expect("a thread");
        thread.join().expect("the thread is well")
    })
}

proptest! {
    #[test]
    fn limits_are_in_order(
        depth in 1usize..1 << 47,
        budget in prop_oneof![0usize..64 << 10, any::<usize>()],
        stack in prop_oneof![0usize..64 << 10, any::<usize>()],
    ) {
        let limits = NativeLimits::with_budget(depth, budget, stack);
        prop_assert!(0 < limits.entry && limits.entry <= limits.compiled && limits.compiled <= depth);
        prop_assert!(depth - limits.compiled <= stack / MAX_SHARE);
        if limits.compiled < depth && budget < depth {
            prop_assert!(limits.compiled - limits.entry >= CROSSING_BYTES);
        }
    }
}

#[test]
#[cfg(all(target_os = "linux", not(miri)))]
fn a_thread_names_its_bounds() {
    for size in [64 << 10, 128 << 10, 1 << 20, 8 << 20] {
        on_thread(size, || {
            let bounds = Bounds::of_thread().expect("the host says");
            assert!(bounds.contains(native_depth()));
            // What the thread has used by now, its locals and the guard are not there any more. It may have got a longer
            // stack than it asked for.
            let left = left().expect("the host says");
            assert!(left >= size - (32 << 10), "{size}: {left}");
            let lowest = std::ptr::without_provenance_mut(bounds.low);
            let lowest = NonNull::new(lowest).expect("it is not null");
            assert_eq!(address_map::access(lowest), Access::ReadWrite, "{size}");
        });
    }
}

#[test]
#[cfg(all(target_os = "linux", not(miri)))]
fn the_main_thread_lies_where_the_kernel_says() {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("there is a map");
    let line = maps.lines().find(|line| line.ends_with("[stack]"));
    let range = line.and_then(|line| line.split([' ', '-']).nth(1));
    let high = range.and_then(|high| usize::from_str_radix(high, 16).ok());
    let Some(bounds) = main_thread() else {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
        return assert!(limit.is_none_or(|limit| limit > KEPT_FREE));
    };
    assert_eq!(Some(bounds.high), high);
    assert!(bounds.high - bounds.low >= 1 << 20);
    // No thread is taken for it.
    let mine = Bounds::of_thread().expect("the host says");
    assert_ne!(mine.high, bounds.high);
}

#[test]
#[cfg(all(target_os = "linux", not(miri)))]
fn the_host_keeps_its_reserve_whatever_is_granted() {
    let limits = Limits {
        native_stack_bytes: usize::MAX,
        ..Limits::default()
    };
    for size in [64 << 10, 256 << 10, 2 << 20] {
        let (limits, bounds) = on_thread(size, || {
            let bounds = Bounds::of_thread().expect("the host says");
            (NativeLimits::at(native_depth(), &limits, None), bounds)
        });
        assert!(
            limits.entry >= bounds.low + RESERVE.0,
            "{size}: {limits:?} {bounds:?}"
        );
    }
}

#[test]
fn elsewhere_the_embedder_is_believed() {
    let granted = Limits::default().native_stack_bytes;
    // No thread has its stack there.
    let depth = 2 * granted;
    let limits = NativeLimits::at(depth, &Limits::default(), None);
    assert_eq!(limits.entry, depth - granted);
}
