//! Lists of buffers: order, overlaps, batches, pieces.

use std::io::Read;

use super::*;
use crate::guest::SharedBytes;
use crate::guest::tests::Atomics;
use crate::interrupt::InterruptHandle;

fn lay(memory: &mut [u8], at: usize, list: &[(u32, u32)]) {
    for (index, (address, len)) in list.iter().enumerate() {
        let at = at + 8 * index;
        memory[at..at + 4].copy_from_slice(&address.to_le_bytes());
        memory[at + 4..at + 8].copy_from_slice(&len.to_le_bytes());
    }
}

/// Reads `input` into the buffers of a list; returns what was moved, in how many calls, and the memory, which is the same
/// for both kinds.
fn scatter(list: &[(u32, u32)], input: &[u8]) -> (u32, usize, Vec<u8>) {
    scatter_as(Flow::ToTheEnd, list, input)
}

fn scatter_as(flow: Flow, list: &[(u32, u32)], input: &[u8]) -> (u32, usize, Vec<u8>) {
    let mut bytes = vec![0; 0x10000];
    lay(&mut bytes, 0x8000, list);
    let atomics = Atomics::new(&bytes);
    let run = |mut memory: GuestMemory<'_>| {
        let mut input = input;
        let iovecs = Iovecs::check(&memory, "iovs", 0x8000, list.len() as u32).unwrap();
        let mut calls = 0;
        let none = InterruptHandle::new();
        let none = Interrupts::new(&none, Work::default());
        let moved = iovecs.scatter(&mut memory, flow, none, |slices| {
            calls += 1;
            Ok(input.read_vectored(slices).unwrap())
        });
        (moved.unwrap(), calls)
    };
    let (moved, calls) = run(GuestMemory::new(&mut bytes));
    assert_eq!(run(GuestMemory::shared(&atomics)), (moved, calls));
    assert!(atomics.contents() == bytes);
    (moved, calls, bytes)
}

#[test]
fn buffers_out_of_order_are_one_call() {
    let (moved, calls, bytes) = scatter(&[(20, 3), (0, 0), (10, 4), (0, 2)], b"abcdefghij");
    assert_eq!((moved, calls), (9, 1));
    assert_eq!(&bytes[20..23], b"abc");
    assert_eq!(&bytes[10..14], b"defg");
    assert_eq!(&bytes[0..2], b"hi");
}

#[test]
fn overlapping_buffers_are_filled_in_order() {
    let (moved, calls, bytes) = scatter(&[(0, 4), (2, 4)], b"abcdefgh");
    assert_eq!((moved, calls), (8, 1));
    assert_eq!(&bytes[0..6], b"abefgh");
}

#[test]
fn long_lists_go_in_batches() {
    let list: Vec<_> = (0..2500).map(|index| (index * 2, 1)).collect();
    let input: Vec<u8> = (0..2500).map(|index| (index % 251) as u8).collect();
    let (moved, calls, bytes) = scatter(&list, &input);
    assert_eq!((moved, calls), (2500, 3));
    assert!((0..2500).all(|index| bytes[index * 2] == (index % 251) as u8));
}

#[test]
fn overlapping_buffers_of_a_stream_are_one_call() {
    let list = [(9, 0), (0, 4), (2, 4)];
    let (moved, calls, bytes) = scatter_as(Flow::Once, &list, b"abcdefgh");
    assert_eq!((moved, calls), (8, 1));
    assert_eq!(&bytes[0..7], b"abefgh\0");
    let (moved, calls, bytes) = scatter_as(Flow::Once, &list, b"abcde");
    assert_eq!((moved, calls), (5, 1));
    assert_eq!(&bytes[0..5], b"abed\0");
}

#[test]
fn data_that_lands_on_the_list_changes_nothing() {
    // Two batches; the first buffer of the first is the part of the list that the second batch is described by.
    let list: Vec<(u32, u32)> = [(0x8000 + 8 * 1024, 8)]
        .into_iter()
        .chain((0..1100).map(|index| (index, 1)))
        .collect();
    let (moved, calls, bytes) = scatter(&list, &[0xff; 2000]);
    assert_eq!((moved, calls), (1108, 2));
    assert!(bytes[..1100].iter().all(|&byte| byte == 0xff));
}

#[test]
fn empty_buffers_do_not_reach_the_host() {
    let mut list = vec![(0, 0); 4000];
    assert_eq!(scatter(&list, b"abc").1, 0);
    list.push((0, 2));
    let (moved, calls, bytes) = scatter(&list, b"abc");
    assert_eq!((moved, calls), (2, 1));
    assert_eq!(&bytes[0..3], b"ab\0");
}

#[test]
fn large_buffers_go_in_pieces_until_interrupted() {
    let mut bytes = vec![0; 3 * PIECE + 100];
    let at = bytes.len() - 64;
    lay(
        &mut bytes,
        at,
        &[(5, 2 * PIECE as u32), (0, 7), (0, PIECE as u32)],
    );
    let atomics = Atomics::new(&bytes);
    large_buffers_in_pieces(&mut GuestMemory::new(&mut bytes), at as u32);
    large_buffers_in_pieces(&mut GuestMemory::shared(&atomics), at as u32);
}

fn large_buffers_in_pieces(memory: &mut GuestMemory<'_>, at: u32) {
    let whole = Iovecs::check(memory, "iovs", at, 3).unwrap();
    let first = Iovecs::check(memory, "iovs", at, 1).unwrap();
    let interrupt = InterruptHandle::new();
    let interrupts = Interrupts::new(&interrupt, Work::default());
    let mut lens = Vec::new();
    let mut gather = |list: &Iovecs, flow, stop: usize| {
        lens.clear();
        let moved = list.gather(memory, flow, interrupts, |slices| {
            let len = slices.iter().map(|slice| slice.len()).sum();
            lens.push(len);
            if lens.len() == stop {
                interrupt.interrupt();
            }
            Ok(len)
        });
        interrupt.clear();
        (moved.unwrap() as usize, lens.clone())
    };
    let all = (3 * PIECE + 7, vec![PIECE, PIECE, 7, PIECE]);
    assert_eq!(gather(&whole, Flow::ToTheEnd, 0), all);
    assert_eq!(
        gather(&whole, Flow::ToTheEnd, 2),
        (2 * PIECE, vec![PIECE; 2])
    );
    assert_eq!(gather(&first, Flow::ToTheEnd, 1), (PIECE, vec![PIECE]));
    assert_eq!(gather(&first, Flow::Once, 0), (PIECE, vec![PIECE]));
}

#[test]
fn a_short_read_ends_the_transfer() {
    let list: Vec<_> = (0..1500).map(|index| (index * 2, 1)).collect();
    let (moved, calls, _) = scatter(&list, &[1; 1000]);
    assert_eq!((moved, calls), (1000, 1));
}

#[test]
fn sums_beyond_32_bits_are_refused() {
    let mut bytes = vec![0; 0x10000];
    let list: Vec<_> = (0..0x1000).map(|_| (0, 0x10000)).collect();
    lay(&mut bytes, 0, &list);
    // The list overwrote the lower half only; every buffer covers the whole memory.
    let mut more = bytes.clone();
    more.resize(0x20000, 0);
    lay(&mut more, 0, &vec![(0, 0x20000); 0x4000 - 1]);
    assert!(Iovecs::check(&GuestMemory::new(&mut bytes), "iovs", 0, 0x1000).is_ok());
    more.resize(0x40000, 0);
    lay(&mut more, 0, &vec![(0, 0x40000); 0x4000]);
    let error = Iovecs::check(&GuestMemory::new(&mut more), "iovs", 0, 0x4000).unwrap_err();
    assert_eq!(error, Error::Errno(Errno::INVAL));
}

#[test]
fn bad_lists_and_bad_buffers_fault() {
    let mut bytes = vec![0; 64];
    lay(&mut bytes, 0, &[(0, 65)]);
    let memory = GuestMemory::new(&mut bytes);
    assert!(matches!(
        Iovecs::check(&memory, "iovs", 0, 1),
        Err(Error::Fault(_))
    ));
    assert!(matches!(
        Iovecs::check(&memory, "iovs", 2, 1),
        Err(Error::Fault(_))
    ));
    assert!(matches!(
        Iovecs::check(&memory, "iovs", 8, u32::MAX),
        Err(Error::Fault(_))
    ));
    assert!(Iovecs::check(&memory, "iovs", 64, 0).is_ok());
    assert!(Iovecs::check(&memory, "iovs", 0xaaaa_aaaa, 0).is_ok());
}

#[test]
fn nothing_that_another_thread_writes_to_the_list_is_believed() {
    let mut bytes = vec![0; 0x1000];
    lay(&mut bytes, 0, &[(0x100, 4), (0x104, 4)]);
    bytes[0x100..0x108].copy_from_slice(b"abcdefgh");
    let atomics = Atomics::new(&bytes);
    let mut memory = GuestMemory::shared(&atomics);
    let list = Iovecs::check(&memory, "iovs", 0, 2).unwrap();
    for evil in [(u32::MAX, u32::MAX), (0, 0x1000), (0x100, 0)] {
        lay(&mut bytes, 0, &[evil; 2]);
        atomics.write(0, &bytes[..16]);
        let none = InterruptHandle::new();
        let none = Interrupts::new(&none, Work::default());
        let mut taken = Vec::new();
        let moved = list.gather(&mut memory, Flow::ToTheEnd, none, |slices| {
            slices
                .iter()
                .for_each(|slice| taken.extend_from_slice(slice));
            Ok(taken.len())
        });
        assert_eq!((moved, &taken[..]), (Ok(8), &b"abcdefgh"[..]));
    }
}

#[test]
fn what_goes_between_is_no_more_than_a_piece() {
    let mut bytes = vec![0; 3 * PIECE];
    lay(&mut bytes, 0, &[(64, 2 * PIECE as u32), (7, 3)]);
    let atomics = Atomics::new(&bytes);
    let mut memory = GuestMemory::shared(&atomics);
    let list = Iovecs::check(&memory, "iovs", 0, 2).unwrap();
    let none = InterruptHandle::new();
    let none = Interrupts::new(&none, Work::default());
    let mut lens = Vec::new();
    let moved = list.scatter(&mut memory, Flow::ToTheEnd, none, |slices| {
        let [only] = slices else { panic!("one buffer") };
        only.fill(lens.len() as u8 + 1);
        lens.push(only.len());
        Ok(only.len())
    });
    assert_eq!(moved, Ok(2 * PIECE as u32 + 3));
    assert_eq!(lens, [PIECE, PIECE, 3]);
    let contents = atomics.contents();
    assert_eq!(contents[7..10], [3; 3]);
    assert_eq!(contents[63 + PIECE..65 + PIECE], [1, 2]);
}
