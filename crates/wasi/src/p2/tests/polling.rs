//! Waiting: which pollables are ready, deadlines, what breaks it, and that a parent outlives its pollables.

use std::fs::File;

use tiered_runtime::TrapCode;

use super::{Guest, RESULT, guest, guest_with};
use crate::Stdin;

/// Polls, and says which were ready.
fn poll(guest: &mut Guest, pollables: &[u64]) -> Vec<u32> {
    let bytes: Vec<u8> = pollables
        .iter()
        .flat_map(|&pollable| (pollable as u32).to_le_bytes())
        .collect();
    let [at, _] = guest.put(&bytes);
    guest.ok("io/poll", "poll", &[at, pollables.len() as u64]);
    let list = guest.list_at_words(RESULT);
    assert!(list.is_sorted());
    list
}

impl Guest {
    fn list_at_words(&self, at: u32) -> Vec<u32> {
        let (start, count) = (self.u32_at(at), self.u32_at(at + 4));
        (0..count)
            .map(|index| self.u32_at(start + 4 * index))
            .collect()
    }

    fn ready(&mut self, pollable: u64) -> bool {
        self.ok("io/poll", "[method]pollable.ready", &[pollable]) == 1
    }

    fn after(&mut self, nanoseconds: u64) -> u64 {
        let name = "subscribe-duration";
        self.ok("clocks/monotonic-clock", name, &[nanoseconds])
    }
}

const HOUR: u64 = 3_600_000_000_000;

#[test]
fn the_first_that_happens_ends_the_waiting() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let mut guest = guest_with(|builder| builder.stdin(Stdin::File(File::from(reader))));
    let stdin = guest.ok("cli/stdin", "get-stdin", &[]);
    let subscribe = "[method]input-stream.subscribe";
    let input = guest.ok("io/streams", subscribe, &[stdin]);
    let (soon, late) = (guest.after(1_000_000), guest.after(HOUR));
    assert!(!guest.ready(input) && !guest.ready(late));
    assert_eq!(poll(&mut guest, &[late, input, soon]), [2]);
    assert!(guest.ready(soon));
    rustix::io::write(&writer, b"x").unwrap();
    assert!(guest.ready(input));
    assert_eq!(poll(&mut guest, &[late, input, soon, input]), [1, 2, 3]);
    guest.ok("io/poll", "[method]pollable.block", &[input]);
    drop(writer);
    let read = "[method]input-stream.read";
    guest.ok("io/streams", read, &[stdin, 10]);
    assert!(guest.ready(input), "its end is to be seen");
}

#[test]
fn an_instant_that_has_passed_is_ready() {
    let mut guest = guest();
    let past = guest.ok("clocks/monotonic-clock", "subscribe-instant", &[1]);
    let never = guest.ok("clocks/monotonic-clock", "subscribe-instant", &[u64::MAX]);
    let overflow = guest.after(u64::MAX);
    assert_eq!(poll(&mut guest, &[never, past, overflow]), [1]);
    guest.ok("io/poll", "[method]pollable.block", &[past]);
}

#[test]
fn a_wait_for_nothing_or_for_too_much_is_a_trap() {
    let mut guest = guest();
    let trap = guest.trap("io/poll", "poll", &[0, 0]);
    assert!(trap.contains("no pollables"), "{trap}");
    let trap = guest.trap("io/poll", "poll", &[0, 1]);
    assert!(trap.contains("bad handle"), "{trap}");
    let trap = guest.trap("io/poll", "poll", &[2, 1]);
    assert!(trap.contains("not a multiple"), "{trap}");
    let trap = guest.trap("io/poll", "poll", &[0, 1 << 20]);
    assert!(trap.contains("out of bounds"), "{trap}");
    guest.memory.resize(1 << 20, 0);
    let trap = guest.trap("io/poll", "poll", &[0, 131_073]);
    assert!(trap.contains("there may be 131072"), "{trap}");
}

#[test]
fn an_interrupt_breaks_the_waiting_and_the_guest() {
    let mut guest = guest();
    let handle = guest.ctx.interrupt_handle();
    let late = guest.after(HOUR);
    handle.interrupt();
    let block = "[method]pollable.block";
    let broken = guest.call("io/poll", block, &[late]).unwrap_err();
    assert_eq!(broken.code(), Some(TrapCode::Interrupted));
    handle.clear();
    assert!(!guest.ready(late));
}

#[test]
fn a_stream_outlives_its_pollables() {
    let mut guest = guest();
    let stdin = guest.ok("cli/stdin", "get-stdin", &[]);
    let subscribe = "[method]input-stream.subscribe";
    let pollable = guest.ok("io/streams", subscribe, &[stdin]);
    assert!(guest.ready(pollable), "an empty input has ended");
    let kept = guest.handles[stdin as usize];
    let early = guest.drop_handle(stdin).unwrap_err().to_string();
    assert!(
        early.contains("`input-stream` is dropped before 1"),
        "{early}"
    );
    guest.handles[stdin as usize] = kept;
    guest.drop_handle(pollable).unwrap();
    guest.drop_handle(stdin).unwrap();
    assert_eq!(guest.ctx.resources.len(), 0);
}

#[test]
fn there_are_as_many_resources_as_allowed() {
    let mut guest = guest_with(|builder| builder.max_resources(2));
    let first = guest.after(HOUR);
    guest.after(HOUR);
    let name = "subscribe-duration";
    let trap = guest.trap("clocks/monotonic-clock", name, &[HOUR]);
    assert!(trap.contains("more than 2 resources"), "{trap}");
    guest.drop_handle(first).unwrap();
    guest.after(HOUR);
}
