//! Lists of guest buffers, handed to the host as they are: data moves straight between a file and guest memory.
//!
//! Where it cannot, it moves through a buffer of the host's that holds one batch: memory that threads share is never handed
//! out, and reads into buffers that overlap would not be one host call. A batch is one host call in any case, so what is
//! whole for a list of buffers (a record appended, a message to a pipe) is whole in all kinds of memory.
//!
//! Invariant: the list is read once, and every buffer checked, before the first byte moves, so nothing that lands on the
//! list, and no thread that writes there, changes what was checked.
//! Invariant: nothing the size of a guest request is allocated; a call takes part in at most [`MAX_BUFFERS`], in batches of
//! [`BATCH`] buffers and [`PIECE`] bytes, and up to [`INLINE`] need no allocation at all. Empty buffers do not reach the host.
//! Invariant: between two batches what was moved is paid for, and an interrupt ends the transfer there.

use std::array;
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
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
const IOVEC_SIZE: usize = 8;

/// A buffer in bounds that is not empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    at: u32,
    len: u32,
}

impl Span {
    fn len(self) -> usize {
        self.len as usize
    }

    fn range(self) -> Range<usize> {
        self.at as usize..self.at as usize + self.len as usize
    }

    /// Pieces that one host call moves.
    fn pieces(self) -> impl Iterator<Item = Self> {
        (0..self.len).step_by(PIECE).map(move |cut| Self {
            at: self.at + cut,
            len: (self.len - cut).min(PIECE as u32),
        })
    }
}

/// A checked list of guest buffers, as it was when it was read.
#[derive(Debug)]
pub(crate) struct Iovecs {
    /// The first [`MAX_BUFFERS`] that are not empty: these, or all in `large`.
    inline: [Span; INLINE],
    count: usize,
    large: Vec<Span>,
    /// Bytes of all buffers.
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
    /// Reads the list, and checks it and every buffer in it.
    pub(crate) fn check(
        memory: &GuestMemory<'_>,
        argument: &'static str,
        address: u32,
        count: u32,
    ) -> Result<Self, Error> {
        let bytes = u64::from(count) * IOVEC_SIZE as u64;
        let range = memory.check(argument, address, bytes, 4)?;
        let mut list = Self {
            inline: [Span::default(); INLINE],
            count: 0,
            large: Vec::new(),
            total: 0,
        };
        let mut total = 0u64;
        for start in range.clone().step_by(ITEMS * IOVEC_SIZE) {
            let end = range.end.min(start + ITEMS * IOVEC_SIZE);
            memory.work().items((end - start) / IOVEC_SIZE)?;
            for &[a, b, c, d, rest @ ..] in memory.bytes(start..end).as_chunks::<IOVEC_SIZE>().0 {
                let (at, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(rest));
                memory.check(argument, at, len.into(), 1)?;
                total += u64::from(len);
                if len > 0 {
                    list.push(Span { at, len });
                }
            }
        }
        list.total = u32::try_from(total).map_err(|_| Errno::INVAL)?;
        Ok(list)
    }

    fn push(&mut self, span: Span) {
        match self.count {
            0..INLINE => self.inline[self.count] = span,
            MAX_BUFFERS.. => return,
            _ => {
                if self.count == INLINE {
                    self.large.extend(self.inline);
                }
                self.large.push(span);
            }
        }
        self.count += 1;
    }

    fn spans(&self) -> &[Span] {
        match self.large.is_empty() {
            true => &self.inline[..self.count],
            false => &self.large,
        }
    }

    /// Lets `read` fill the buffers; returns how many bytes it brought.
    pub(crate) fn scatter(
        &self,
        memory: &mut GuestMemory<'_>,
        flow: Flow,
        interrupts: Interrupts<'_>,
        mut read: impl FnMut(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
    ) -> Result<u32, Error> {
        if let (Some(only), work) = (self.only(), memory.work())
            && let Some(bytes) = memory.exclusive()
        {
            return single(work, || read(&mut [IoSliceMut::new(&mut bytes[only])]));
        }
        let mut between = Vec::new();
        self.batches(memory.work(), flow, interrupts, |spans| {
            let direct = memory.exclusive();
            let direct = direct.and_then(|bytes| read_direct(bytes, spans, &mut read));
            direct.unwrap_or_else(|| read_between(memory, spans, &mut between, &mut read))
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
        if let (Some(only), work) = (self.only(), memory.work())
            && let Some(bytes) = memory.exclusive()
        {
            return single(work, || write(&[IoSlice::new(&bytes[only])]));
        }
        let mut between = Vec::new();
        self.batches(memory.work(), flow, interrupts, |spans| {
            match memory.exclusive() {
                Some(bytes) => write_direct(bytes, spans, &mut write),
                None => write_between(memory, spans, &mut between, &mut write),
            }
        })
    }

    /// The buffer, where there is one alone, by far the most frequent case.
    fn only(&self) -> Option<Range<usize>> {
        match self.spans() {
            [only] if only.len() <= PIECE => Some(only.range()),
            _ => None,
        }
    }

    /// Runs `transfer` over the buffers in batches until they end, it comes up short or fails, or the guest is
    /// interrupted; what was moved until then counts.
    fn batches(
        &self,
        work: Work<'_>,
        flow: Flow,
        interrupts: Interrupts<'_>,
        mut transfer: impl FnMut(&[Span]) -> Result<usize, Errno>,
    ) -> Result<u32, Error> {
        let most = match flow {
            Flow::ToTheEnd => MAX_BUFFERS,
            Flow::Once => BATCH,
        };
        let spans = self.spans();
        let spans = &spans[..spans.len().min(most)];
        let cut: Vec<Span>;
        let mut rest = match self.total as usize <= PIECE {
            true => spans,
            false => {
                cut = spans.iter().flat_map(|span| span.pieces()).collect();
                &cut
            }
        };
        let mut done = 0usize;
        while let Some((batch, wanted)) = first_batch(&mut rest) {
            match transfer(batch) {
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
}

/// Runs the transfer of one buffer.
fn single(work: Work<'_>, transfer: impl FnOnce() -> Result<usize, Errno>) -> Result<u32, Error> {
    let moved = transfer()?;
    work.bytes(moved)?;
    Ok(u32::try_from(moved).unwrap_or(u32::MAX))
}

/// Takes off what is one transfer: up to [`BATCH`] buffers and [`PIECE`] bytes. Says how many bytes.
fn first_batch<'a>(rest: &mut &'a [Span]) -> Option<(&'a [Span], usize)> {
    let mut bytes = 0;
    let mut fits = |span: &Span| {
        let fits = bytes + span.len() <= PIECE;
        bytes += if fits { span.len() } else { 0 };
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

/// One batch of a read straight into memory that nobody else has; `None` where the buffers overlap.
fn read_direct(
    memory: &mut [u8],
    spans: &[Span],
    read: &mut impl FnMut(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
) -> Option<Result<usize, Errno>> {
    if spans.len() <= INLINE {
        let mut order = array::from_fn::<usize, INLINE, _>(|index| index);
        let mut slices = array::from_fn::<_, INLINE, _>(|_| IoSliceMut::new(&mut []));
        let (order, slices) = (&mut order[..spans.len()], &mut slices[..spans.len()]);
        split(memory, spans, order, slices).then(|| read(slices))
    } else {
        let mut order: Vec<usize> = (0..spans.len()).collect();
        let mut slices: Vec<_> = spans.iter().map(|_| IoSliceMut::new(&mut [])).collect();
        split(memory, spans, &mut order, &mut slices).then(|| read(&mut slices))
    }
}

/// Makes slices of the spans; says whether it could, for no byte may belong to two of them.
fn split<'m>(
    memory: &'m mut [u8],
    spans: &[Span],
    order: &mut [usize],
    slices: &mut [IoSliceMut<'m>],
) -> bool {
    order.sort_unstable_by_key(|&index| spans[index]);
    let mut rest = memory;
    let mut start = 0;
    for &index in order.iter() {
        let Range { start: at, end } = spans[index].range();
        let Some(gap) = at.checked_sub(start) else {
            return false;
        };
        let (_, tail) = rest.split_at_mut(gap);
        let (slice, tail) = tail.split_at_mut(end - at);
        slices[index] = IoSliceMut::new(slice);
        rest = tail;
        start = end;
    }
    true
}

/// One batch of a read through `between`; a later buffer overwrites what it shares with an earlier one.
fn read_between(
    memory: &mut GuestMemory<'_>,
    spans: &[Span],
    between: &mut Vec<u8>,
    read: &mut impl FnMut(&mut [IoSliceMut<'_>]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    between.resize(spans.iter().map(|span| span.len()).sum(), 0);
    let moved = read(&mut [IoSliceMut::new(between)])?;
    let mut rest = &between[..moved];
    for span in spans {
        let (part, tail) = rest.split_at(rest.len().min(span.len()));
        memory.copy_in(span.at as usize, part);
        rest = tail;
    }
    Ok(moved)
}

/// One batch of a write straight from memory that nobody else has.
fn write_direct(
    memory: &[u8],
    spans: &[Span],
    write: &mut impl FnMut(&[IoSlice<'_>]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let slice = |span: &Span| IoSlice::new(&memory[span.range()]);
    if spans.len() <= INLINE {
        let empty = |_| IoSlice::new(&[]);
        let mut slices = array::from_fn::<_, INLINE, _>(empty);
        let pairs = slices.iter_mut().zip(spans);
        pairs.for_each(|(to, span)| *to = slice(span));
        write(&slices[..spans.len()])
    } else {
        let slices: Vec<_> = spans.iter().map(slice).collect();
        write(&slices)
    }
}

/// One batch of a write through `between`.
fn write_between(
    memory: &GuestMemory<'_>,
    spans: &[Span],
    between: &mut Vec<u8>,
    write: &mut impl FnMut(&[IoSlice<'_>]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    between.resize(spans.iter().map(|span| span.len()).sum(), 0);
    let mut rest = &mut between[..];
    for span in spans {
        let (part, tail) = rest.split_at_mut(span.len());
        memory.copy_out(span.at as usize, part);
        rest = tail;
    }
    write(&[IoSlice::new(between)])
}

#[cfg(test)]
mod tests;
