//! Files: reading and writing, at the position or at an offset, and what else is done with one that is open.
//!
//! The position of a file is the host's, for each descriptor of a guest has a host description of its own: threads that
//! use one share its position, and the host makes each call on it whole. The append mode is ours: it can be turned on and
//! off, and it is passed with each write.

use std::io::{IoSlice, IoSliceMut};
use std::num::NonZeroU64;

use rustix::event::PollFlags;
use rustix::fs::{Advice, FallocateFlags, SeekFrom};
use rustix::io::ReadWriteFlags;

use super::OpenFile;
use crate::abi::Errno;
use crate::error::Error;
use crate::interrupt::{Blocking, Interrupts};
use crate::iovec::{Flow, read_into, write_from};
use crate::work::Work;

/// "At the position of the descriptor", in the host's words.
pub(crate) const CURRENT_POSITION: u64 = u64::MAX;

/// Bytes that are allocated at a time.
const ALLOCATED: u64 = 64 << 20;

impl OpenFile {
    /// How lists of buffers flow through it.
    pub(crate) fn flow(&self) -> Flow {
        match self.blocking {
            Blocking::Never => Flow::ToTheEnd,
            Blocking::Ours | Blocking::Shared => Flow::Once,
        }
    }

    /// Reads at the position.
    pub(crate) fn read(
        &self,
        slices: &mut [IoSliceMut<'_>],
        nonblock: bool,
        interrupts: Interrupts<'_>,
    ) -> Result<usize, Errno> {
        self.blocking
            .run(&self.file, PollFlags::IN, nonblock, interrupts, || {
                read_into(&self.file, slices)
            })
    }

    /// Writes at the position, or at the end.
    pub(crate) fn write(
        &self,
        slices: &[IoSlice<'_>],
        append: bool,
        nonblock: bool,
        interrupts: Interrupts<'_>,
    ) -> Result<usize, Errno> {
        self.blocking.run(
            &self.file,
            PollFlags::OUT,
            nonblock,
            interrupts,
            || match append {
                true => self.append(slices),
                false => write_from(&self.file, slices),
            },
        )
    }

    /// Writes at the end and moves the position there, in one step where the host can. Where it cannot, another thread may
    /// come between.
    fn append(&self, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        use rustix::io::Errno as Host;
        match rustix::io::pwritev2(&self.file, slices, CURRENT_POSITION, ReadWriteFlags::APPEND) {
            Err(Host::OPNOTSUPP | Host::NOSYS | Host::INVAL)
                if self.blocking == Blocking::Never =>
            {
                rustix::fs::seek(&self.file, SeekFrom::End(0))?;
                write_from(&self.file, slices)
            }
            other => other,
        }
    }

    /// Reads at `offset`, which is [`positioned`], leaving the position alone.
    pub(crate) fn read_at(
        &self,
        slices: &mut [IoSliceMut<'_>],
        offset: u64,
    ) -> Result<usize, Errno> {
        // The host is quicker with one buffer than with a list of one.
        let read = || match &mut *slices {
            [one] => rustix::io::pread(&self.file, &mut **one, offset),
            slices => rustix::io::preadv(&self.file, slices, offset),
        };
        Ok(rustix::io::retry_on_intr(read)?)
    }

    /// Writes at `offset`, which is [`positioned`], even in append mode, leaving the position alone.
    pub(crate) fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> Result<usize, Errno> {
        let write = || match slices {
            [one] => rustix::io::pwrite(&self.file, one, offset),
            slices => rustix::io::pwritev(&self.file, slices, offset),
        };
        Ok(rustix::io::retry_on_intr(write)?)
    }

    /// Moves the position, and says where it is then.
    pub(crate) fn seek(&self, position: SeekFrom) -> Result<u64, Errno> {
        Ok(rustix::fs::seek(&self.file, position)?)
    }

    /// The position.
    pub(crate) fn tell(&self) -> Result<u64, Errno> {
        Ok(rustix::fs::tell(&self.file)?)
    }

    /// Bytes after the position.
    pub(crate) fn bytes_left(&self) -> Result<u64, Errno> {
        let size = u64::try_from(rustix::fs::fstat(&self.file)?.st_size).unwrap_or(0);
        Ok(size.saturating_sub(self.tell()?))
    }

    /// Cuts or extends it.
    pub(crate) fn set_size(&self, size: u64) -> Result<(), Errno> {
        self.grant.require_write()?;
        if i64::try_from(size).is_err() {
            return Err(Errno::INVAL);
        }
        Ok(rustix::fs::ftruncate(&self.file, size)?)
    }

    /// Tells the host how it will be read; never changes it.
    pub(crate) fn advise(&self, offset: u64, len: u64, advice: Advice) -> Result<(), Errno> {
        // The host counts in signed numbers; advice about what lies beyond them is advice about nothing.
        if i64::try_from(offset).is_err() || i64::try_from(len).is_err() {
            return Ok(());
        }
        let len = NonZeroU64::new(len);
        Ok(rustix::fs::fadvise(&self.file, offset, len, advice)?)
    }

    /// Makes sure of room in it; only ever grows it.
    pub(crate) fn allocate(
        &self,
        offset: u64,
        len: u64,
        work: Work<'_>,
        interrupts: Interrupts<'_>,
    ) -> Result<(), Error> {
        self.grant.require_write()?;
        let end = offset.checked_add(len).ok_or(Errno::FBIG)?;
        let mut at = offset;
        loop {
            let piece = ALLOCATED.min(end - at);
            work.bytes(piece as usize)?;
            rustix::fs::fallocate(&self.file, FallocateFlags::empty(), at, piece)?;
            at += piece;
            if at == end {
                return Ok(());
            }
            if interrupts.is_raised() {
                return Err(Errno::INTR.into());
            }
        }
    }
}

/// The advice with that number, which all interfaces give it.
pub(crate) fn advice(number: u32) -> Option<Advice> {
    Some(match number {
        0 => Advice::Normal,
        1 => Advice::Sequential,
        2 => Advice::Random,
        3 => Advice::WillNeed,
        4 => Advice::DontNeed,
        5 => Advice::NoReuse,
        _ => return None,
    })
}

/// An offset the host can count to.
pub(crate) fn positioned(offset: u64) -> Result<u64, Errno> {
    match i64::try_from(offset) {
        Ok(_) => Ok(offset),
        Err(_) => Err(Errno::INVAL),
    }
}
