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
use crate::interrupt::Interrupts;
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
        interrupts: Interrupts<'_>,
        mut read: impl FnMut(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
    ) -> Result<u32, Error> {
        if self.count == 1 && self.total as usize <= PIECE {
            let (at, len) = self.span(memory, 0)?;
            return self.single(memory.work(), || {
                read(&mut [IoSliceMut::new(&mut memory.all_mut()[at..at + len])])
            });
        }
        self.batches(memory, flow, interrupts, |memory, spans| {
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
        interrupts: Interrupts<'_>,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Result<usize, Errno>,
    ) -> Result<u32, Error> {
        if self.count == 1 && self.total as usize <= PIECE {
            let (at, len) = self.span(memory, 0)?;
            return self.single(memory.work(), || {
                write(&[IoSlice::new(&memory.all()[at..at + len])])
            });
        }
        self.batches(memory, flow, interrupts, |memory, spans| {
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
        interrupts: Interrupts<'_>,
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
                    if moved < wanted || flow == Flow::Once || interrupts.is_raised() {
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
mod tests;
