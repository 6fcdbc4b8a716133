//! Lists of guest buffers, handed to the host as they are: data moves straight between a file and guest memory.
//!
//! Invariant: the list is read and every buffer checked before the first byte moves, so data that lands on the list changes
//! nothing. No data is copied and nothing the size of a guest request is allocated; a call takes part in at most
//! [`MAX_BUFFERS`], in batches of [`BATCH`] and [`PIECE`] bytes, and up to [`INLINE`] need no allocation at all. Empty
//! buffers do not reach the host.
//! Invariant: between two batches what was moved is paid for, and an interrupt ends the transfer there.
//! Reads into buffers that overlap cannot be one host call: from files they are done one buffer after another, from
//! streams, which must not be waited for twice, into the first alone.

use std::array;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use crate::abi::Errno;
use crate::error::Error;
use crate::guest::GuestMemory;
use crate::interrupt::InterruptHandle;
use crate::work::{ITEMS, PIECE, Work};

/// Buffers described without an allocation.
const INLINE: usize = 16;

/// Buffers in one host call; Linux takes no more.
const BATCH: usize = 1024;

/// Buffers in one call of the guest; the transfer is short where its list is longer.
const MAX_BUFFERS: usize = 65_536;

/// Bytes of an `iovec` in guest memory.
const IOVEC_SIZE: u32 = 8;

/// Start and length of a buffer, in bounds when it was looked at.
type Span = (usize, usize);

/// A checked list of guest buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Iovecs {
    argument: &'static str,
    at: usize,
    count: usize,
    total: u32,
}

/// Whether a transfer goes on after a full batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Goes on until the list ends or a transfer is short: files.
    ToTheEnd,
    /// Is over after one batch, because the next might block: streams.
    Once,
}

impl Iovecs {
    /// Checks the list and every buffer in it.
    pub(crate) fn check(
        memory: &GuestMemory<'_>,
        argument: &'static str,
        address: u32,
        count: u32,
    ) -> Result<Self, Error> {
        let bytes = u64::from(count) * u64::from(IOVEC_SIZE);
        let range = memory.check(argument, address, bytes, 4)?;
        let mut list = Self {
            argument,
            at: range.start,
            count: count as usize,
            total: 0,
        };
        let mut total = 0u64;
        for start in (0..list.count).step_by(ITEMS) {
            let end = list.count.min(start + ITEMS);
            memory.work().items(end - start)?;
            for index in start..end {
                total += list.span(memory, index)?.1 as u64;
            }
        }
        list.total = u32::try_from(total).map_err(|_| Errno::INVAL)?;
        Ok(list)
    }

    /// The buffer at `index`, checked.
    fn span(&self, memory: &GuestMemory<'_>, index: usize) -> Result<Span, Error> {
        let at = self.at + index * IOVEC_SIZE as usize;
        let (address, len) = (memory.u32_at(at), memory.u32_at(at + 4));
        let range = memory.check(self.argument, address, len.into(), 1)?;
        Ok((range.start, range.len()))
    }

    /// Lets `read` fill the buffers; returns how many bytes it brought.
    pub(crate) fn scatter(
        &self,
        memory: &mut GuestMemory<'_>,
        flow: Flow,
        interrupt: &InterruptHandle,
        mut read: impl FnMut(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
    ) -> Result<u32, Error> {
        if self.count == 1 && self.total as usize <= PIECE {
            let (at, len) = self.span(memory, 0)?;
            return self.single(memory.work(), || {
                read(&mut [IoSliceMut::new(&mut memory.all_mut()[at..at + len])])
            });
        }
        self.batches(memory, flow, interrupt, |memory, spans| {
            if spans.len() <= INLINE {
                let mut order = array::from_fn::<usize, INLINE, _>(|index| index);
                let mut slices = array::from_fn::<_, INLINE, _>(|_| IoSliceMut::new(&mut []));
                fill(
                    memory,
                    spans,
                    flow,
                    &mut order[..spans.len()],
                    &mut slices[..spans.len()],
                    &mut read,
                )
            } else {
                let mut order: Vec<usize> = (0..spans.len()).collect();
                let mut slices: Vec<_> = spans.iter().map(|_| IoSliceMut::new(&mut [])).collect();
                fill(memory, spans, flow, &mut order, &mut slices, &mut read)
            }
        })
    }

    /// Lets `write` take the buffers; returns how many bytes it took.
    pub(crate) fn gather(
        &self,
        memory: &mut GuestMemory<'_>,
        flow: Flow,
        interrupt: &InterruptHandle,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, Errno>,
    ) -> Result<u32, Error> {
        if self.count == 1 && self.total as usize <= PIECE {
            let (at, len) = self.span(memory, 0)?;
            return self.single(memory.work(), || {
                write(&[IoSlice::new(&memory.all()[at..at + len])])
            });
        }
        self.batches(memory, flow, interrupt, |memory, spans| {
            let slice = |&(at, len): &Span| IoSlice::new(&memory[at..at + len]);
            if spans.len() <= INLINE {
                let slices = array::from_fn::<_, INLINE, _>(|index| {
                    spans.get(index).map_or(IoSlice::new(&[]), slice)
                });
                write(&slices[..spans.len()])
            } else {
                let slices: Vec<_> = spans.iter().map(slice).collect();
                write(&slices)
            }
        })
    }

    /// Runs the transfer of a list of one, by far the most frequent; an empty buffer does not reach the host.
    fn single(
        &self,
        work: Work<'_>,
        transfer: impl FnOnce() -> Result<usize, Errno>,
    ) -> Result<u32, Error> {
        if self.total == 0 {
            return Ok(0);
        }
        let moved = transfer()?;
        work.bytes(moved)?;
        Ok(u32::try_from(moved).unwrap_or(u32::MAX))
    }

    /// Runs `transfer` over the buffers in batches until they end, it comes up short or fails, or the guest is
    /// interrupted; what was moved until then counts.
    fn batches(
        &self,
        memory: &mut GuestMemory<'_>,
        flow: Flow,
        interrupt: &InterruptHandle,
        mut transfer: impl FnMut(&mut [u8], &[Span]) -> Result<usize, Errno>,
    ) -> Result<u32, Error> {
        if self.total == 0 {
            return Ok(0);
        }
        let work = memory.work();
        let mut inline = [(0, 0); INLINE];
        let mut large = Vec::new();
        let mut rest = if self.count <= INLINE && self.total as usize <= PIECE {
            let mut len = 0;
            for index in 0..self.count {
                let span = self.span(memory, index)?;
                if span.1 > 0 {
                    inline[len] = span;
                    len += 1;
                }
            }
            &inline[..len]
        } else {
            let most = match flow {
                Flow::ToTheEnd => MAX_BUFFERS,
                Flow::Once => BATCH,
            };
            self.pieces(memory, most, &mut large)?;
            &large[..]
        };
        let mut done = 0usize;
        while let Some((batch, wanted)) = first_batch(&mut rest) {
            match transfer(memory.all_mut(), batch) {
                Ok(moved) => {
                    work.bytes(moved)?;
                    done += moved;
                    if moved < wanted || flow == Flow::Once || interrupt.is_raised() {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno.into()),
                Err(_) => break,
            }
        }
        Ok(u32::try_from(done).unwrap_or(u32::MAX))
    }

    /// The first `most` of the buffers that are not empty, checked, and cut into pieces.
    fn pieces(
        &self,
        memory: &GuestMemory<'_>,
        most: usize,
        pieces: &mut Vec<Span>,
    ) -> Result<(), Error> {
        let mut filled = 0;
        for index in 0..self.count {
            if index % ITEMS == ITEMS - 1 {
                memory.work().items(ITEMS)?;
            }
            let (at, len) = self.span(memory, index)?;
            let cuts = (0..len).step_by(PIECE);
            pieces.extend(cuts.map(|cut| (at + cut, PIECE.min(len - cut))));
            filled += usize::from(len > 0);
            if filled == most {
                break;
            }
        }
        Ok(())
    }
}

/// Takes off what is one transfer: up to [`BATCH`] buffers and [`PIECE`] bytes. Says how many bytes.
fn first_batch<'a>(rest: &mut &'a [Span]) -> Option<(&'a [Span], usize)> {
    let mut bytes = 0;
    let mut fits = |&(_, len): &Span| {
        let fits = bytes + len <= PIECE;
        bytes += if fits { len } else { 0 };
        fits
    };
    let count = rest
        .iter()
        .take(BATCH)
        .take_while(|span| fits(span))
        .count();
    let batch = rest.split_off(..count).filter(|batch| !batch.is_empty())?;
    Some((batch, bytes))
}

/// `readv`, or `read` for a list of one, which the host does faster.
pub(crate) fn read_into(fd: impl AsFd, slices: &mut [IoSliceMut<'_>]) -> rustix::io::Result<usize> {
    match slices {
        [only] => rustix::io::read(fd, &mut **only),
        _ => rustix::io::readv(fd, slices),
    }
}

/// `writev`, or `write` for a list of one.
pub(crate) fn write_from(fd: impl AsFd, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    match slices {
        [only] => rustix::io::write(fd, only),
        _ => rustix::io::writev(fd, slices),
    }
}

/// One batch of a read: a single call when the buffers are disjoint, else as `flow` allows.
fn fill<'m>(
    memory: &'m mut [u8],
    spans: &[Span],
    flow: Flow,
    order: &mut [usize],
    slices: &mut [IoSliceMut<'m>],
    read: &mut impl FnMut(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    if spans.len() > 1 {
        order.sort_unstable_by_key(|&index| spans[index]);
        if !disjoint(spans, order) {
            return match flow {
                Flow::ToTheEnd => fill_each(memory, spans, read),
                Flow::Once => fill_each(memory, &spans[..1], read),
            };
        }
    }
    let mut rest = memory;
    let mut start = 0;
    for &index in order.iter() {
        let (at, len) = spans[index];
        let (_, tail) = rest.split_at_mut(at - start);
        let (slice, tail) = tail.split_at_mut(len);
        slices[index] = IoSliceMut::new(slice);
        rest = tail;
        start = at + len;
    }
    read(slices)
}

/// Whether no byte belongs to two of the spans, which `order` sorts by address.
fn disjoint(spans: &[Span], order: &[usize]) -> bool {
    let mut end = 0;
    order.iter().map(|&index| spans[index]).all(|(at, len)| {
        let clear = at >= end;
        end = at + len;
        clear
    })
}

/// Reads into one buffer after another, so that a later one may overwrite an earlier one.
fn fill_each(
    memory: &mut [u8],
    spans: &[Span],
    read: &mut impl FnMut(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    for &(at, len) in spans {
        match read(&mut [IoSliceMut::new(&mut memory[at..at + len])]) {
            Ok(moved) => {
                done += moved;
                if moved < len {
                    break;
                }
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn lay(memory: &mut [u8], at: usize, list: &[(u32, u32)]) {
        for (index, (address, len)) in list.iter().enumerate() {
            let at = at + 8 * index;
            memory[at..at + 4].copy_from_slice(&address.to_le_bytes());
            memory[at + 4..at + 8].copy_from_slice(&len.to_le_bytes());
        }
    }

    fn scatter(list: &[(u32, u32)], mut input: &[u8]) -> (u32, usize, Vec<u8>) {
        let mut bytes = vec![0; 0x10000];
        lay(&mut bytes, 0x8000, list);
        let mut memory = GuestMemory::new(&mut bytes);
        let iovecs = Iovecs::check(&memory, "iovs", 0x8000, list.len() as u32).unwrap();
        let mut calls = 0;
        let moved = iovecs
            .scatter(
                &mut memory,
                Flow::ToTheEnd,
                &InterruptHandle::new(),
                |slices| {
                    calls += 1;
                    Ok(input.read_vectored(slices).unwrap())
                },
            )
            .unwrap();
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
        assert_eq!((moved, calls), (8, 2));
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
        let mut bytes = vec![0; 0x10000];
        lay(&mut bytes, 0x8000, &[(9, 0), (0, 4), (2, 4)]);
        let mut memory = GuestMemory::new(&mut bytes);
        let iovecs = Iovecs::check(&memory, "iovs", 0x8000, 3).unwrap();
        let mut calls = 0;
        let none = InterruptHandle::new();
        let moved = iovecs.scatter(&mut memory, Flow::Once, &none, |slices| {
            calls += 1;
            Ok((&b"abcdefgh"[..]).read_vectored(slices).unwrap())
        });
        assert_eq!((moved, calls), (Ok(4), 1));
        assert_eq!(&bytes[0..6], b"abcd\0\0");
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
        let mut memory = GuestMemory::new(&mut bytes);
        let whole = Iovecs::check(&memory, "iovs", at as u32, 3).unwrap();
        let first = Iovecs::check(&memory, "iovs", at as u32, 1).unwrap();
        let interrupt = InterruptHandle::new();
        let mut lens = Vec::new();
        let mut gather = |list: Iovecs, flow, stop: usize| {
            lens.clear();
            let moved = list.gather(&mut memory, flow, &interrupt, |slices| {
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
        assert_eq!(gather(whole, Flow::ToTheEnd, 0), all);
        assert_eq!(
            gather(whole, Flow::ToTheEnd, 2),
            (2 * PIECE, vec![PIECE; 2])
        );
        assert_eq!(gather(first, Flow::ToTheEnd, 1), (PIECE, vec![PIECE]));
        assert_eq!(gather(first, Flow::Once, 0), (PIECE, vec![PIECE]));
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
}
