//! Reasons, limits and handles of a guard, one by one and all at once.

use std::time::Duration;

use super::*;
use crate::vm::address_map;

fn guard() -> Guard {
    Guard::new().expect("there is a page")
}

/// Flag, limit and page agree that the guest is to stop, or that it is not.
fn assert_stopped(guard: &Guard, stopped: bool) {
    assert_eq!(guard.is_interrupted(), stopped);
    assert_eq!(guard.stops_at_limit(), stopped);
    assert_eq!(address_map::can_read(guard.poll()), !stopped);
}

#[test]
fn the_guest_is_stopped_while_a_reason_holds() {
    let guard = guard();
    guard.set_stack_limit(77);
    let now = Instant::now();
    guard.set_deadline(Some(now));
    guard.set_epoch(Some(3));
    let generation = guard.hand_out();
    guard
        .check_deadline(now - Duration::from_nanos(1))
        .expect("too early");
    guard.check_epoch(2).expect("too early");
    assert_stopped(&guard, false);

    guard.interrupt(generation).expect("it can be closed");
    guard.check_deadline(now).expect("it can be closed");
    guard.check_epoch(3).expect("it can be closed");
    assert_stopped(&guard, true);
    guard.clear(generation);
    assert_stopped(&guard, true);
    assert_eq!(guard.set_epoch(Some(4)), Some(3));
    assert_stopped(&guard, true);
    assert_eq!(guard.set_deadline(None), Some(now));
    assert_stopped(&guard, false);
    assert_eq!(guard.limit(), 77, "the guest may be running");
}

#[test]
fn a_new_limit_of_a_stopped_guest_waits() {
    let guard = guard();
    let generation = guard.hand_out();
    guard.interrupt(generation).expect("it can be closed");
    guard.set_stack_limit(88);
    assert_stopped(&guard, true);
    guard.end_interrupt();
    assert_stopped(&guard, false);
    assert_eq!(guard.limit(), 88);
}

#[test]
fn revoked_handles_do_nothing() {
    let guard = guard();
    let old = guard.hand_out();
    guard.interrupt(old).expect("it can be closed");
    guard.revoke();
    assert_stopped(&guard, false);
    guard.interrupt(old).expect("it does nothing");
    assert_stopped(&guard, false);
    let new = guard.hand_out();
    guard.interrupt(new).expect("it can be closed");
    guard.clear(old);
    assert_stopped(&guard, true);
}

/// The limit that the guest's thread writes last is the one that holds, whatever another thread raises and lowers.
#[test]
fn limits_and_interrupts_meet() {
    let guard = guard();
    let generation = guard.hand_out();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2_000 {
                guard.interrupt(generation).expect("it can be closed");
                guard.clear(generation);
            }
        });
        for new in 1..200_000 {
            guard.set_stack_limit(new);
            let seen = guard.limit();
            assert!(seen == new || seen == STOP, "{seen} after {new}");
        }
    });
    assert_stopped(&guard, false);
    assert_eq!(guard.limit(), 199_999);
}

#[derive(Debug, Default)]
struct Waits(AtomicBool);

impl Interruptible for Waits {
    fn interrupt(&self) {
        assert!(!self.0.swap(true, Ordering::Relaxed), "once");
    }
    fn clear(&self) {
        assert!(self.0.swap(false, Ordering::Relaxed), "once");
    }
}

#[test]
fn what_the_guest_waits_in_is_stopped_with_it() {
    let guard = guard();
    let (first, late) = (Arc::<Waits>::default(), Arc::<Waits>::default());
    guard.add_waits(Arc::clone(&first) as _);
    let generation = guard.hand_out();
    guard.interrupt(generation).expect("it can be closed");
    guard.set_epoch(Some(1));
    guard.check_epoch(1).expect("it can be closed");
    guard.add_waits(Arc::clone(&late) as _);
    let waiting = || [&first, &late].map(|waits| waits.0.load(Ordering::Relaxed));
    assert_eq!(waiting(), [true, true]);
    guard.end_interrupt();
    assert_eq!(waiting(), [true, true], "the epoch holds");
    guard.set_epoch(None);
    assert_eq!(waiting(), [false, false]);
}

/// As [`Waits`], a handle that can be handed out.
#[derive(Clone, Debug, Default)]
struct Handle(Arc<AtomicBool>);

impl Interruptible for Handle {
    fn interrupt(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn what_waits_is_made_once_for_each_kind_and_guard() {
    let (guard, other) = (guard(), guard());
    guard.add_waits(counted(false));
    let first = guard.waits(Handle::default);
    let again = guard.waits::<Handle>(|| unreachable!("it is there"));
    assert!(Arc::ptr_eq(&first.0, &again.0));
    let of_other = other.waits(Handle::default);
    guard.interrupt(guard.hand_out()).expect("it can be closed");
    let raised = |handle: &Handle| handle.0.load(Ordering::Relaxed);
    assert_eq!((raised(&first), raised(&of_other)), (true, false));
    other.interrupt(other.hand_out()).expect("it can be closed");
    let late = other.waits::<Handle>(|| unreachable!("it is there"));
    assert!(raised(&late));
    other.release_waits();
    assert!(!raised(&late), "the store has ended");
    let made_late = guard.waits::<Arc<Handle>>(Arc::default);
    assert!(raised(&made_late), "the guest is stopped already");
}

impl Interruptible for Arc<Handle> {
    fn interrupt(&self) {
        (**self).interrupt();
    }
    fn clear(&self) {
        (**self).clear();
    }
}

/// Panics or counts.
#[derive(Debug, Default)]
struct Counted {
    panics: bool,
    interrupts: AtomicUsize,
    clears: AtomicUsize,
}

impl Interruptible for Counted {
    fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "on purpose");
    }

    fn clear(&self) {
        self.clears.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "on purpose");
    }
}

fn counted(panics: bool) -> Arc<Counted> {
    Arc::new(Counted {
        panics,
        ..Counted::default()
    })
}

fn counts(waits: &Counted) -> (usize, usize) {
    let get = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    (get(&waits.interrupts), get(&waits.clears))
}

#[test]
fn what_panics_when_it_is_interrupted_stops_nothing_else() {
    let guard = guard();
    let (bad, good) = (counted(true), counted(false));
    guard.add_waits(bad.clone());
    guard.add_waits(good.clone());
    let generation = guard.hand_out();
    for turn in 1..3 {
        guard.interrupt(generation).expect("it can be closed");
        assert_stopped(&guard, true);
        guard.clear(generation);
        assert_stopped(&guard, false);
        assert_eq!(counts(&good), (turn, turn));
        assert_eq!(counts(&bad), (1, 0), "it is forgotten");
    }
    // The end of the store, with one that panics only now.
    guard.interrupt(generation).expect("it can be closed");
    guard.state.lock().waits.push(bad.clone());
    guard.release_waits();
    assert_eq!((counts(&good), counts(&bad)), ((3, 3), (1, 1)));
}

/// One thread serves all deadlines: it goes on.
#[test]
fn deadlines_are_kept_after_one_that_panics() {
    for _ in 0..2 {
        let due = Instant::now() + Duration::from_millis(5);
        let guards = [true, false].map(|panics| {
            let guard = Arc::new(guard());
            guard.add_waits(counted(panics));
            crate::vm::deadline::set(&guard, Some(due)).expect("there is a thread");
            guard
        });
        // Half a minute at most.
        for _ in 0..3000 {
            if guards.iter().all(|guard| guard.is_interrupted()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(guards.iter().all(|guard| guard.is_interrupted()));
        for guard in guards {
            crate::vm::deadline::forget(&guard);
        }
    }
}
