//! The guest's memory, and pointers into it that are checked once and then trusted. The one place that touches its bytes.
//!
//! There are two kinds of memory. One that is the calling thread's alone is a byte slice. One that threads share is never
//! a slice, for others write to it at any time: bytes are copied out of it and into it ([`SharedBytes`]).
//!
//! Invariant: a [`GuestPtr`] is in bounds and aligned for the memory it came from, and that memory does not shrink, so
//! storing through it cannot fail. Bodies obtain all of theirs before they act, so a bad pointer never leaves a half-done
//! call behind.
//! Invariant: what a call decides by, it has read once: from shared memory it is copied before it is looked at, and never
//! read again. So another thread that changes a path or a list of buffers meanwhile changes nothing of what was checked.
//! Invariant: what is copied at once is bounded by what the call needs, and by [`PIECE`].
//! Invariant: where nothing is to be read or written, no pointer is looked at: the empty slices of some languages point
//! nowhere.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use crate::error::{Fault, FaultKind};
use crate::work::{Meter, PIECE, Work};

/// The bytes of a memory that threads share.
///
/// Others may read and write them at any time. What one thread writes while another copies may arrive byte by byte, in
/// part, or not at all; nothing may depend on more. The runtime's shared memories implement it by copies that are volatile
/// or atomic, for to Rust no reference to such bytes is sound.
pub trait SharedBytes: fmt::Debug {
    /// How many bytes there are. It may grow, and never shrinks.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `at` on into `to`. The caller has made sure that they are there.
    fn read(&self, at: usize, to: &mut [u8]);

    /// Copies `from` to the bytes from `at` on. The caller has made sure that they are there.
    fn write(&self, at: usize, from: &[u8]);
}

/// Size and alignment of a type in guest memory.
pub(crate) trait Layout {
    const SIZE: u32;
    const ALIGN: u32;
}

/// The largest of them.
const MAX_SIZE: usize = 64;

/// A type that can be written to guest memory.
pub(crate) trait Store: Layout {
    /// Writes the value into exactly `SIZE` bytes.
    fn store(&self, to: &mut [u8]);
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Layout for $ty {
            const SIZE: u32 = size_of::<$ty>() as u32;
            const ALIGN: u32 = size_of::<$ty>() as u32;
        }

        impl Store for $ty {
            fn store(&self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

integers!(u16 u32 u64);

/// The linear memory of the calling guest.
#[derive(Debug)]
pub struct GuestMemory<'a> {
    bytes: Bytes<'a>,
    work: Work<'a>,
}

/// Whose the bytes are.
#[derive(Debug)]
enum Bytes<'a> {
    /// The guest exports no memory.
    Missing,
    /// The calling thread's alone.
    Exclusive(&'a mut [u8]),
    /// Others' too, and how many there were when the call began.
    Shared(&'a dyn SharedBytes, usize),
}

/// A checked place for one `T`.
#[derive(Debug)]
pub(crate) struct GuestPtr<T> {
    at: usize,
    of: PhantomData<T>,
}

impl<'a> GuestMemory<'a> {
    /// Memory made of `bytes`, which are the calling thread's alone.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self::of(Bytes::Exclusive(bytes))
    }

    /// Memory that the calling thread shares with others.
    pub fn shared(bytes: &'a dyn SharedBytes) -> Self {
        Self::of(Bytes::Shared(bytes, bytes.len()))
    }

    /// The memory of a guest that exports none: every access faults.
    pub fn missing() -> Self {
        Self::of(Bytes::Missing)
    }

    fn of(bytes: Bytes<'a>) -> Self {
        Self {
            bytes,
            work: Work::default(),
        }
    }

    /// Has `meter` pay for what calls do, and say what breaks them.
    #[must_use]
    pub fn metered(self, meter: &'a dyn Meter) -> Self {
        Self {
            work: Work::paid_by(meter),
            ..self
        }
    }

    /// What pays for the call.
    pub(crate) fn work(&self) -> Work<'a> {
        self.work
    }

    /// Size in bytes.
    pub fn size(&self) -> usize {
        match &self.bytes {
            Bytes::Missing => 0,
            Bytes::Exclusive(bytes) => bytes.len(),
            Bytes::Shared(_, len) => *len,
        }
    }

    /// A copy of the `len` bytes at `at`; `None` if not all of them are there.
    pub fn read(&self, at: usize, len: usize) -> Option<Vec<u8>> {
        let range = at..at.checked_add(len)?;
        (range.end <= self.size()).then(|| self.bytes(range).into_owned())
    }

    /// All bytes, if they are the calling thread's alone: data moves straight between them and the host.
    pub(crate) fn exclusive(&mut self) -> Option<&mut [u8]> {
        match &mut self.bytes {
            Bytes::Exclusive(bytes) => Some(bytes),
            Bytes::Missing | Bytes::Shared(..) => None,
        }
    }

    /// Checks that `len` bytes at `address` exist and that `address` is a multiple of `align`; no bytes exist anywhere.
    pub(crate) fn check(
        &self,
        argument: &'static str,
        address: u32,
        len: u64,
        align: u32,
    ) -> Result<Range<usize>, Fault> {
        let fault = |kind| Fault {
            function: "",
            argument,
            address,
            len,
            memory_size: self.size(),
            kind,
        };
        if matches!(self.bytes, Bytes::Missing) {
            return Err(fault(FaultKind::MissingMemory));
        }
        if len == 0 {
            return Ok(0..0);
        }
        let end = u64::from(address).checked_add(len);
        let end = end
            .and_then(|end| usize::try_from(end).ok())
            .filter(|&end| end <= self.size());
        match end {
            None => Err(fault(FaultKind::OutOfBounds)),
            Some(_) if !address.is_multiple_of(align) => {
                Err(fault(FaultKind::Misaligned { align }))
            }
            Some(end) => Ok(address as usize..end),
        }
    }

    /// The bytes of `range`, which [`check`](Self::check) gave; of shared memory a copy, so the caller sees to its size.
    pub(crate) fn bytes(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        match &self.bytes {
            Bytes::Missing => Cow::Borrowed(&[]),
            Bytes::Exclusive(bytes) => Cow::Borrowed(&bytes[range]),
            Bytes::Shared(bytes, _) => {
                let mut copy = vec![0; range.len()];
                bytes.read(range.start, &mut copy);
                Cow::Owned(copy)
            }
        }
    }

    /// Fills `to` with the bytes at `at`, within what [`check`](Self::check) gave.
    pub(crate) fn copy_out(&self, at: usize, to: &mut [u8]) {
        match &self.bytes {
            Bytes::Missing => {}
            Bytes::Exclusive(bytes) => to.copy_from_slice(&bytes[at..at + to.len()]),
            Bytes::Shared(bytes, _) => bytes.read(at, to),
        }
    }

    /// Writes `from` to the bytes at `at`, within what [`check`](Self::check) gave.
    pub(crate) fn copy_in(&mut self, at: usize, from: &[u8]) {
        match &mut self.bytes {
            Bytes::Missing => {}
            Bytes::Exclusive(bytes) => bytes[at..at + from.len()].copy_from_slice(from),
            Bytes::Shared(bytes, _) => bytes.write(at, from),
        }
    }

    /// Has `make` make the bytes of `range`, which [`check`](Self::check) gave, in pieces of up to `most` and in order.
    pub(crate) fn fill<E>(
        &mut self,
        range: Range<usize>,
        most: usize,
        mut make: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(bytes) = self.exclusive() {
            return bytes[range].chunks_mut(most).try_for_each(make);
        }
        let mut piece = vec![0; most.min(PIECE).min(range.len())];
        for at in range.clone().step_by(piece.len().max(1)) {
            let len = piece.len().min(range.end - at);
            make(&mut piece[..len])?;
            self.copy_in(at, &piece[..len]);
        }
        Ok(())
    }

    /// A place for one `T` at `address`.
    pub(crate) fn ptr<T: Layout>(
        &self,
        argument: &'static str,
        address: u32,
    ) -> Result<GuestPtr<T>, Fault> {
        let range = self.check(argument, address, T::SIZE.into(), T::ALIGN)?;
        Ok(GuestPtr {
            at: range.start,
            of: PhantomData,
        })
    }

    /// Writes `value` to its place.
    pub(crate) fn store<T: Store>(&mut self, to: GuestPtr<T>, value: T) {
        self.store_at(to.at, &value);
    }

    /// Writes `value` to `at`, within what [`check`](Self::check) gave.
    pub(crate) fn store_at<T: Store>(&mut self, at: usize, value: &T) {
        let mut bytes = [0; MAX_SIZE];
        let bytes = &mut bytes[..T::SIZE as usize];
        value.store(bytes);
        self.copy_in(at, bytes);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    /// A memory that threads share, as the runtime has them.
    #[derive(Debug)]
    pub(crate) struct Atomics(Vec<AtomicU8>);

    impl Atomics {
        pub(crate) fn new(bytes: &[u8]) -> Self {
            Self(bytes.iter().map(|&byte| AtomicU8::new(byte)).collect())
        }

        pub(crate) fn contents(&self) -> Vec<u8> {
            let mut bytes = vec![0; self.0.len()];
            self.read(0, &mut bytes);
            bytes
        }
    }

    impl SharedBytes for Atomics {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn read(&self, at: usize, to: &mut [u8]) {
            let from = &self.0[at..at + to.len()];
            let pairs = to.iter_mut().zip(from);
            pairs.for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
        }

        fn write(&self, at: usize, from: &[u8]) {
            let to = &self.0[at..at + from.len()];
            let pairs = to.iter().zip(from);
            pairs.for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
        }
    }

    /// Looks at sixteen bytes, 0 to 15, of either kind; what becomes of them is the same.
    fn with_both(test: impl Fn(&mut GuestMemory<'_>)) {
        let mut bytes: Vec<u8> = (0..16).collect();
        let atomics = Atomics::new(&bytes);
        test(&mut GuestMemory::new(&mut bytes));
        test(&mut GuestMemory::shared(&atomics));
        assert_eq!(atomics.contents(), bytes);
    }

    #[test]
    fn bounds_are_checked_without_overflow() {
        with_both(|memory| {
            assert_eq!(memory.check("p", 0, 16, 1), Ok(0..16));
            assert!(memory.check("p", 16, 0, 1).is_ok());
            assert!(memory.check("p", 1, 16, 1).is_err());
            assert!(memory.check("p", u32::MAX, u32::MAX.into(), 1).is_err());
            assert!(memory.check("p", u32::MAX, u64::MAX, 1).is_err());
            assert_eq!(memory.size(), 16);
            assert_eq!(memory.read(14, 2), Some(vec![14, 15]));
            assert_eq!(memory.read(16, 0), Some(vec![]));
            assert_eq!(memory.read(14, 3), None);
            assert_eq!(memory.read(usize::MAX, 1), None);
        });
    }

    #[test]
    fn nothing_is_anywhere() {
        with_both(|memory| {
            assert_eq!(memory.check("p", 17, 0, 1), Ok(0..0));
            assert_eq!(memory.check("p", u32::MAX, 0, 1), Ok(0..0));
            assert_eq!(memory.check("p", 0xaaaa_aaaa, 0, 8), Ok(0..0));
            assert!(memory.ptr::<u32>("p", 16).is_err());
            assert!(memory.bytes(0..0).is_empty());
        });
    }

    #[test]
    fn alignment_is_checked() {
        with_both(|memory| {
            assert!(memory.ptr::<u32>("p", 12).is_ok());
            let fault = memory.ptr::<u64>("p", 4).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Misaligned { align: 8 });
            assert_eq!(
                memory.ptr::<u32>("p", 13).unwrap_err().kind,
                FaultKind::OutOfBounds
            );
        });
    }

    #[test]
    fn a_missing_memory_says_so() {
        let memory = GuestMemory::missing();
        let fault = memory.check("buf", 0, 0, 1).unwrap_err();
        assert!(fault.to_string().contains("missing required memory export"));
        assert_eq!(memory.read(0, 1), None);
    }

    #[test]
    fn values_are_little_endian() {
        with_both(|memory| {
            let ptr = memory.ptr::<u32>("p", 4).unwrap();
            memory.store(ptr, 0x0102_0304);
            assert_eq!(*memory.bytes(2..10), [2, 3, 4, 3, 2, 1, 8, 9]);
            let mut copy = [0; 2];
            memory.copy_out(6, &mut copy);
            assert_eq!(copy, [2, 1]);
        });
    }

    #[test]
    fn pieces_are_made_in_order() {
        with_both(|memory| {
            let mut pieces = Vec::new();
            let outcome = memory.fill(3..14, 4, |piece| {
                piece.fill(100 + pieces.len() as u8);
                pieces.push(piece.len());
                Ok::<(), ()>(())
            });
            assert_eq!((outcome, pieces), (Ok(()), vec![4, 4, 3]));
            assert_eq!(*memory.bytes(2..4), [2, 100]);
            assert_eq!(*memory.bytes(10..15), [101, 102, 102, 102, 14]);
            assert_eq!(memory.fill(5..5, 4, |_| Err(())), Ok(()));
            assert_eq!(memory.fill(0..5, 4, |_| Err(())), Err(()));
        });
    }

    #[test]
    fn what_was_copied_stays_as_it_was() {
        let atomics = Atomics::new(b"path");
        let memory = GuestMemory::shared(&atomics);
        let copy = memory.bytes(0..4);
        atomics.write(0, b"/etc");
        assert_eq!(*copy, *b"path");
    }
}
