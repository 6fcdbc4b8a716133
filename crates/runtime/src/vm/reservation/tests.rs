//! Tests of the pool of reservations.
//!
//! *Invariant:* the pool is shared by all tests of the process, so no test expects to get back what it gave, but the
//! ones that try again until they do.

use super::*;
use crate::vm::address_map::{Access, access, can_read};

const PAGE: usize = 64 << 10;

fn take(length: usize) -> Reservation {
    Reservation::take(length, REACHABLE_BYTES).expect("there is address space")
}

fn bytes(reservation: &mut Reservation) -> &mut [u8] {
    let length = reservation.length() as usize;
    // SAFETY: that many bytes are accessible, and the reservation is borrowed.
    unsafe { std::slice::from_raw_parts_mut(reservation.base().as_ptr(), length) }
}

fn assert_exact(reservation: &Reservation, length: usize) {
    assert_eq!(reservation.length(), length as u64);
    // SAFETY: within the reservation.
    let at = |offset: usize| unsafe { reservation.base().add(offset) };
    if length > 0 {
        assert_eq!(access(at(0)), Access::ReadWrite);
        assert_eq!(access(at(length - 1)), Access::ReadWrite);
    }
    for beyond in [length, length + PAGE, 2 * length + PAGE, REACHABLE_BYTES] {
        assert_eq!(
            access(at(beyond)),
            Access::None,
            "byte {beyond} of {length}"
        );
        assert!(!can_read(at(beyond)), "byte {beyond} of {length}");
    }
}

#[test]
fn nothing_is_accessible_in_front() {
    for length in [0, PAGE, 100 * PAGE] {
        let reservation = take(length);
        for distance in [1, 8, 4096, PAGE, 32 << 20, FRONT_BYTES] {
            // SAFETY: within the reservation.
            let in_front = unsafe { reservation.base().sub(distance) };
            assert_eq!(access(in_front), Access::None, "{distance} in front");
            assert!(!can_read(in_front), "{distance} in front");
        }
    }
}

/// Takes a reservation of `length`, writes all over it, and drops it; takes `next` until it is the same place, and
/// looks at it. Gives up after some attempts, since other tests take from the pool, too.
fn reuse(length: usize, next: usize) -> bool {
    (0..20).any(|_| {
        let mut first = take(length);
        let base = first.base();
        bytes(&mut first).fill(0xa5);
        drop(first);
        let mut second = take(next);
        assert_exact(&second, next);
        assert!(bytes(&mut second).iter().all(|&byte| byte == 0));
        second.base() == base
    })
}

#[test]
fn a_new_one_is_zero_and_exact() {
    for pages in [0, 1, 2, 17, 1000] {
        let mut reservation = take(pages * PAGE);
        assert_exact(&reservation, pages * PAGE);
        assert!(bytes(&mut reservation).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn one_of_the_same_length_comes_back_zero() {
    // Short, scanned, given back.
    for pages in [1, 3, 17, 64, 100] {
        for _ in 0..3 {
            assert!(reuse(pages * PAGE, pages * PAGE), "{pages} pages");
        }
    }
}

#[test]
fn one_of_another_length_comes_back_zero_and_exact() {
    for (length, next) in [(1, 2), (2, 1), (5, 0), (0, 5), (40, 3), (3, 40), (200, 1)] {
        for _ in 0..3 {
            reuse(length * PAGE, next * PAGE);
        }
    }
}

#[test]
fn what_is_longer_after_it_has_come_back_is_zero() {
    for _ in 0..10 {
        let mut first = take(9 * PAGE);
        bytes(&mut first).fill(0xa5);
        drop(first);
        let mut second = take(PAGE);
        second.extend(4 * PAGE).expect("it can be longer");
        assert_exact(&second, 4 * PAGE);
        second.extend(9 * PAGE).expect("it can be longer");
        assert!(bytes(&mut second).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn pages_that_were_touched_here_and_there_are_cleared() {
    for _ in 0..10 {
        let mut first = take(20 * PAGE);
        for at in [0, 5000, 3 * PAGE, 10 * PAGE + 17, 20 * PAGE - 1] {
            bytes(&mut first)[at] = 0xa5;
        }
        drop(first);
        assert!(bytes(&mut take(20 * PAGE)).iter().all(|&byte| byte == 0));
    }
}

#[test]
fn long_ones_are_not_kept() {
    let long = take(MAX_POOLED_LENGTH + PAGE);
    let end = long.base();
    drop(long);
    assert!(
        !POOL
            .lock()
            .by_length
            .contains_key(&(MAX_POOLED_LENGTH + PAGE)),
        "{end:?}"
    );
}

#[test]
fn the_pool_gives_the_same_length_before_a_shorter_before_a_longer() {
    let mut pool = Pool {
        by_length: BTreeMap::new(),
        count: 0,
        resident: 0,
    };
    for pages in [1, 2, 2, 4, 9] {
        let base = NonNull::dangling();
        pool.put(pages, Free { base, resident: 10 });
    }
    let mut order = Vec::new();
    for wanted in [2, 3, 3, 3, 3, 3] {
        order.push(pool.take(wanted).map(|(found, _)| found));
    }
    assert_eq!(order, [Some(2), Some(2), Some(1), Some(4), Some(9), None]);
    assert_eq!((pool.count, pool.resident), (0, 0));
}

#[test]
fn the_pool_is_bounded() {
    let many: Vec<Reservation> = (0..MAX_FREE + 100).map(|_| take(PAGE)).collect();
    drop(many);
    let pool = POOL.lock();
    // Threads may have found room at the same time.
    assert!(pool.count <= MAX_FREE + 64, "{}", pool.count);
    assert!(
        pool.resident <= MAX_RESIDENT + (64 << 20),
        "{}",
        pool.resident
    );
    assert_eq!(
        pool.count,
        pool.by_length.values().map(Vec::len).sum::<usize>()
    );
}

#[test]
fn a_refusal_empties_the_pool_and_is_tried_again() {
    drop(take(PAGE));
    let asked = Cell::new(0);
    let answer = insist(|| {
        asked.set(asked.get() + 1);
        if asked.get() == 1 {
            Err(Errno::NOMEM)
        } else {
            Ok(7)
        }
    });
    assert_eq!((answer, asked.get()), (Ok(7), 2));
    assert_eq!(insist(|| Err::<(), _>(Errno::INVAL)), Err(Errno::INVAL));
}

#[test]
fn one_that_is_longer_than_most_has_a_guard_where_it_ends() {
    let reservation = Reservation::take(PAGE, 6 << 30).expect("there is address space");
    let reach = 8 << 30;
    assert_eq!(reservation.reach(), reach);
    assert_eq!(reservation.mask, 0x1_ffff_ffff);
    let length = REACHABLE_BYTES + PAGE;
    reservation.extend(length).expect("it costs nothing");
    // SAFETY: within the reservation.
    let at = |offset: usize| unsafe { reservation.base().add(offset) };
    assert_eq!(access(at(length - 1)), Access::ReadWrite);
    for beyond in [length, reach - 1, reach, reach + GUARD_BYTES - 1] {
        assert_eq!(access(at(beyond)), Access::None, "byte {beyond:#x}");
    }
    // It is not the next one's.
    let base = reservation.base();
    // SAFETY: the byte is accessible.
    unsafe { base.write(1) };
    drop(reservation);
    assert_eq!(bytes(&mut take(PAGE))[0], 0);
}

#[test]
fn what_the_host_has_not_is_less_reach() {
    // More than all address space together.
    let most = 1 << 46;
    let all: Vec<Reservation> = (0..4)
        .map(|_| Reservation::take(PAGE, most).expect("there is address space"))
        .collect();
    let reaches: Vec<usize> = all.iter().map(Reservation::reach).collect();
    assert!(reaches.iter().sum::<usize>() < 1 << 47, "{reaches:x?}");
    for mut reservation in all {
        let reach = reservation.reach();
        assert!(reach >= REACHABLE_BYTES && reach.is_power_of_two());
        bytes(&mut reservation).fill(1);
        // SAFETY: within the reservation.
        let behind = unsafe { reservation.base().add(reach + GUARD_BYTES - 1) };
        assert_eq!(access(behind), Access::None);
    }
}

#[test]
fn bytes_are_whole_pages_of_the_host() {
    let mut reservation = take(17);
    assert_eq!(bytes(&mut reservation).len(), 17);
    // SAFETY: within the reservation.
    let at = |offset: usize| unsafe { reservation.base().add(offset) };
    assert_eq!(access(at(HOST_PAGE_BYTES - 1)), Access::ReadWrite);
    assert_eq!(access(at(HOST_PAGE_BYTES)), Access::None);
    for length in [HOST_PAGE_BYTES - 1, HOST_PAGE_BYTES, HOST_PAGE_BYTES + 1] {
        reservation.extend(length).expect("it costs nothing");
        let end = length.next_multiple_of(HOST_PAGE_BYTES);
        assert_eq!(access(at(end - 1)), Access::ReadWrite);
        assert_eq!(access(at(end)), Access::None);
    }
    drop(reservation);
    for length in [1, HOST_PAGE_BYTES + 1, PAGE - 1, PAGE + 1] {
        assert!(reuse_bytes(length), "{length} bytes never come back");
    }
}

/// As [`reuse`], of a length that is no page.
fn reuse_bytes(length: usize) -> bool {
    (0..20).any(|_| {
        let mut first = take(length);
        let base = first.base();
        bytes(&mut first).fill(0xa5);
        drop(first);
        let mut second = take(length);
        assert!(bytes(&mut second).iter().all(|&byte| byte == 0));
        second.base() == base
    })
}
