//! `poll_oneoff`: clocks, files, pipes, errors, interrupts.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use super::*;
use crate::stdio::{Stdin, Stdout};

const MS: u64 = 1_000_000;

enum Sub {
    Clock { id: u32, timeout: u64, flags: u16 },
    Read(u32),
    Write(u32),
    Kind(u8),
}

#[derive(Debug, PartialEq, Eq)]
struct Event {
    userdata: u64,
    errno: u16,
    kind: u8,
    nbytes: u64,
    flags: u16,
}

fn lay(guest: &mut Guest, subs: &[Sub]) -> u64 {
    let (size, clock) = if guest.abi == Abi::Preview1 {
        (48, 16)
    } else {
        (56, 24)
    };
    let mut bytes = vec![0; subs.len() * size];
    for (index, (sub, slot)) in subs.iter().zip(bytes.chunks_mut(size)).enumerate() {
        slot[0..8].copy_from_slice(&(100 + index as u64).to_le_bytes());
        match sub {
            Sub::Clock { id, timeout, flags } => {
                slot[clock..clock + 4].copy_from_slice(&id.to_le_bytes());
                slot[clock + 8..clock + 16].copy_from_slice(&timeout.to_le_bytes());
                slot[clock + 24..clock + 26].copy_from_slice(&flags.to_le_bytes());
            }
            Sub::Read(fd) | Sub::Write(fd) => {
                slot[8] = if matches!(sub, Sub::Read(_)) { 1 } else { 2 };
                slot[16..20].copy_from_slice(&fd.to_le_bytes());
            }
            Sub::Kind(kind) => slot[8] = *kind,
        }
    }
    guest.put(&bytes)
}

fn poll(guest: &mut Guest, subs: &[Sub]) -> Result<Vec<Event>, Errno> {
    let at = lay(guest, subs);
    let errno = guest.errno(
        "poll_oneoff",
        &[at, 0x8000, subs.len() as u64, RESULT.into()],
    );
    if errno != Errno::SUCCESS {
        return Err(errno);
    }
    let event = |index: u32| {
        let at = 0x8000 + 32 * index;
        Event {
            userdata: guest.u64_at(at),
            errno: guest.u16_at(at + 8),
            kind: guest.memory[at as usize + 10],
            nbytes: guest.u64_at(at + 16),
            flags: guest.u16_at(at + 24),
        }
    };
    Ok((0..guest.u32_at(RESULT)).map(event).collect())
}

fn clock(timeout: u64) -> Sub {
    Sub::Clock {
        id: 1,
        timeout,
        flags: 0,
    }
}

fn passed(index: u64) -> Event {
    Event {
        userdata: 100 + index,
        errno: 0,
        kind: 0,
        nbytes: 0,
        flags: 0,
    }
}

fn failed(index: u64, kind: u8, errno: Errno) -> Event {
    Event {
        userdata: 100 + index,
        errno: errno.raw(),
        kind,
        nbytes: 0,
        flags: 0,
    }
}

/// A guest with a pipe as its input; the other end is returned.
fn piped() -> (Guest, File) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let guest = Guest::with(|builder, _| builder.stdin(Stdin::File(reader.into())));
    (guest, writer.into())
}

#[test]
fn no_subscription_is_an_error() {
    let mut guest = Guest::new();
    assert_eq!(poll(&mut guest, &[]), Err(Errno::INVAL));
}

#[test]
fn sleeping() {
    let mut guest = Guest::new();
    for abi in [Abi::Preview1, Abi::Unstable] {
        guest.abi = abi;
        let start = Instant::now();
        assert_eq!(poll(&mut guest, &[clock(5 * MS)]), Ok(vec![passed(0)]));
        assert!(start.elapsed() >= Duration::from_millis(5));
        assert_eq!(poll(&mut guest, &[clock(0)]), Ok(vec![passed(0)]));
    }
}

#[test]
fn absolute_times() {
    let mut guest = Guest::new();
    for id in [0, 1] {
        guest.ok("clock_time_get", &[id, 0, RESULT.into()]);
        let now = guest.u64_at(RESULT);
        let start = Instant::now();
        let subs = [Sub::Clock {
            id: id as u32,
            timeout: now + 5 * MS,
            flags: 1,
        }];
        assert_eq!(poll(&mut guest, &subs), Ok(vec![passed(0)]));
        // The realtime clock may be set back meanwhile, but not by much.
        assert!((3..1000).contains(&start.elapsed().as_millis()));
        let past = [Sub::Clock {
            id: id as u32,
            timeout: 1,
            flags: 1,
        }];
        assert_eq!(poll(&mut guest, &past), Ok(vec![passed(0)]));
    }
}

#[test]
fn the_nearest_clock_wins() {
    let mut guest = Guest::new();
    let start = Instant::now();
    assert_eq!(
        poll(
            &mut guest,
            &[clock(u64::MAX), clock(2 * MS), clock(3_600_000 * MS)]
        ),
        Ok(vec![passed(1)])
    );
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(
        poll(&mut guest, &[clock(MS), clock(MS)]),
        Ok(vec![passed(0), passed(1)])
    );
}

#[test]
fn clocks_that_cannot_be_waited_for() {
    let mut guest = Guest::new();
    let bad = |id, flags| Sub::Clock {
        id,
        timeout: 1,
        flags,
    };
    assert_eq!(
        poll(&mut guest, &[bad(2, 0)]),
        Ok(vec![failed(0, 0, Errno::NOTSUP)])
    );
    assert_eq!(
        poll(&mut guest, &[bad(9, 0)]),
        Ok(vec![failed(0, 0, Errno::INVAL)])
    );
    assert_eq!(
        poll(&mut guest, &[bad(1, 2)]),
        Ok(vec![failed(0, 0, Errno::INVAL)])
    );
    assert_eq!(
        poll(&mut guest, &[Sub::Kind(3), clock(u64::MAX)]),
        Ok(vec![failed(0, 3, Errno::INVAL)])
    );
}

#[test]
fn files_are_always_ready() {
    let mut guest = Guest::new();
    guest.file("f", "0123456789");
    let fd = guest.open("f", PLAIN, RW).unwrap();
    guest.seek(fd, 4, 0).unwrap();
    let events = poll(
        &mut guest,
        &[Sub::Read(fd), Sub::Write(fd), clock(u64::MAX)],
    )
    .unwrap();
    assert_eq!(
        events[0],
        Event {
            userdata: 100,
            errno: 0,
            kind: 1,
            nbytes: 6,
            flags: 0
        }
    );
    assert_eq!((events[1].errno, events[1].kind, events.len()), (0, 2, 2));
    guest.seek(fd, 20, 0).unwrap();
    let events = poll(&mut guest, &[Sub::Read(fd)]).unwrap();
    assert_eq!(
        (events[0].nbytes, events[0].flags),
        (0, 1),
        "the end is a hangup"
    );
}

#[test]
fn one_bad_descriptor_does_not_spoil_the_rest() {
    let mut guest = Guest::new();
    let file = guest.open("f", CREATE, Rights::FD_READ).unwrap();
    let subs = [
        Sub::Read(77),
        Sub::Write(0),
        Sub::Read(1),
        Sub::Read(ROOT),
        Sub::Write(file),
        Sub::Write(1),
    ];
    let events = poll(&mut guest, &subs).unwrap();
    assert_eq!(events[0], failed(0, 1, Errno::BADF));
    assert_eq!(events[1], failed(1, 2, Errno::BADF));
    assert_eq!(events[2], failed(2, 1, Errno::BADF));
    assert_eq!(events[3], failed(3, 1, Errno::BADF));
    assert_eq!(events[4], failed(4, 2, Errno::BADF));
    assert_eq!((events[5].userdata, events[5].errno), (105, 0));
}

#[test]
fn an_empty_pipe_waits_for_the_clock() {
    let (mut guest, mut writer) = piped();
    assert_eq!(
        poll(&mut guest, &[Sub::Read(0), clock(2 * MS)]),
        Ok(vec![passed(1)])
    );
    writer.write_all(b"abc").unwrap();
    let events = poll(&mut guest, &[Sub::Read(0), clock(u64::MAX)]).unwrap();
    assert_eq!(
        events,
        [Event {
            userdata: 100,
            errno: 0,
            kind: 1,
            nbytes: 3,
            flags: 0
        }]
    );
    assert_eq!(guest.read(0, 100), Ok(b"abc".to_vec()));
    drop(writer);
    let events = poll(&mut guest, &[Sub::Read(0)]).unwrap();
    assert_eq!((events[0].nbytes, events[0].flags), (0, 1));
    assert_eq!(guest.read(0, 100), Ok(vec![]));
}

#[test]
fn outputs_are_writable_before_any_clock() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let mut guest = Guest::with(|builder, _| builder.stdout(Stdout::File(writer.into())));
    let events = poll(&mut guest, &[clock(200 * MS), Sub::Write(1), Sub::Write(2)]).unwrap();
    let mut which: Vec<_> = events
        .iter()
        .map(|event| (event.userdata, event.errno, event.kind))
        .collect();
    which.sort_unstable();
    assert_eq!(which, [(101, 0, 2), (102, 0, 2)]);
    drop(reader);
    let events = poll(&mut guest, &[Sub::Write(1)]).unwrap();
    assert_eq!(events[0].flags, 1);
    assert_eq!(guest.write(1, b"x"), Err(Errno::PIPE));
}

#[test]
fn many_subscriptions_to_one_descriptor() {
    let (mut guest, mut writer) = piped();
    writer.write_all(b"abc").unwrap();
    let subs: Vec<_> = (0..500).map(|_| Sub::Read(0)).collect();
    let events = poll(&mut guest, &subs).unwrap();
    assert_eq!(events.len(), 500);
    assert!(events.iter().all(|event| event.nbytes == 3));
}

#[test]
fn non_blocking_streams() {
    let (mut guest, mut writer) = piped();
    guest.ok("fd_fdstat_set_flags", &[0, FdFlags::NONBLOCK.raw().into()]);
    assert_eq!(guest.read(0, 10), Err(Errno::AGAIN));
    writer.write_all(b"x").unwrap();
    assert_eq!(guest.read(0, 10), Ok(b"x".to_vec()));
}

#[test]
fn a_read_takes_what_is_there() {
    let (mut guest, mut writer) = piped();
    writer.write_all(b"abc").unwrap();
    let iovs = guest.iovs(&[(0x9000, 2), (0x9001, 5), (0x9010, 5)]);
    guest.ok("fd_read", &[0, iovs, 3, RESULT.into()]);
    assert_eq!(guest.u32_at(RESULT), 3, "and does not block for the rest");
    assert_eq!(guest.memory[0x9000..0x9003], *b"ac\0");
}

#[test]
fn an_interrupt_breaks_sleeps_and_reads() {
    let (mut guest, _writer) = piped();
    let handle = guest.ctx.interrupt_handle();
    let remote = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(5));
        handle.interrupt();
    });
    assert_eq!(poll(&mut guest, &[clock(3_600_000 * MS)]), Err(Errno::INTR));
    remote.join().unwrap();
    assert_eq!(
        poll(&mut guest, &[Sub::Read(0), clock(3_600_000 * MS)]),
        Err(Errno::INTR)
    );
    assert_eq!(guest.read(0, 1), Err(Errno::INTR));
    guest.ctx.interrupt_handle().clear();
    assert_eq!(poll(&mut guest, &[clock(MS)]), Ok(vec![passed(0)]));
}

/// A guest with a pipe as its output; the other end is returned.
fn piped_out() -> (Guest, File) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let guest = Guest::with(|builder, _| builder.stdout(Stdout::File(writer.into())));
    (guest, reader.into())
}

/// Writes `len` bytes from 0x9000 on, in two buffers.
fn write_much(guest: &mut Guest, len: u32) -> Result<u32, Errno> {
    let iovs = guest.iovs(&[(0x9000, 3), (0x9003, len - 3)]);
    match guest.errno("fd_write", &[1, iovs, 2, RESULT.into()]) {
        Errno::SUCCESS => Ok(guest.u32_at(RESULT)),
        errno => Err(errno),
    }
}

#[test]
fn an_interrupt_breaks_writes() {
    let (mut guest, _reader) = piped_out();
    let handle = guest.ctx.interrupt_handle();
    let remote = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(5));
        handle.interrupt();
    });
    // A pipe nobody reads takes 64 KiB.
    let mut taken = 0;
    let errno = loop {
        match write_much(&mut guest, 0x7000) {
            Ok(moved) => taken += moved,
            Err(errno) => break errno,
        }
    };
    remote.join().unwrap();
    assert_eq!(errno, Errno::INTR);
    assert!(taken <= 0x1_0000);
    assert_eq!(
        guest.write(1, b"x"),
        Err(Errno::INTR),
        "until it is cleared"
    );
}

#[test]
fn a_write_that_can_be_broken_is_whole() {
    use std::io::Read;

    let (mut guest, mut reader) = piped_out();
    let _handle = guest.ctx.interrupt_handle();
    let bytes: Vec<u8> = (0..0x6fff).map(|index| (index % 251) as u8).collect();
    guest.memory[0x9000..0x9000 + bytes.len()].copy_from_slice(&bytes);
    let remote = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    for _ in 0..10 {
        assert_eq!(write_much(&mut guest, 0x6fff), Ok(0x6fff));
    }
    guest.close(1);
    drop(guest);
    assert!(remote.join().unwrap() == bytes.repeat(10));
}

#[test]
fn a_non_blocking_write_takes_what_fits() {
    let (mut guest, _reader) = piped_out();
    guest.ok("fd_fdstat_set_flags", &[1, FdFlags::NONBLOCK.raw().into()]);
    let mut taken = 0;
    let errno = loop {
        match write_much(&mut guest, 0x7000) {
            Ok(moved) => taken += moved,
            Err(errno) => break errno,
        }
    };
    assert_eq!((errno, taken > 0x8000), (Errno::AGAIN, true));
}
