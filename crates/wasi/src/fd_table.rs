//! The descriptors of a guest: what is behind each, and what may be done with it.
//!
//! Invariant: a new descriptor takes the lowest free number, and a closed one is dropped at once.
//! Invariant: rights never grow. A directory has no right that the one it was opened through lacked, a file none that this
//! one did not pass on, and the grant of either is that directory's grant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::net::{TcpListener, TcpStream};

use cap_std::fs::Dir;

use crate::abi::{Errno, FdFlags, FileType, Rights};
use crate::fd_share::Lease;
use crate::interrupt::Blocking;
use crate::kernel_fs::Origin;
use crate::readdir::Listing;
use crate::stdio::{Input, Output};

/// Whether what lies below a preopened directory may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Files may be read, and nothing may be created, changed or removed.
    ReadOnly,
    /// Everything may be done that the host allows.
    ReadWrite,
}

/// The preopened directory through which a descriptor was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Which one, counted from 0.
    pub(crate) id: u32,
    pub(crate) access: Access,
    pub(crate) origin: Origin,
}

impl Grant {
    /// Of descriptors that no directory leads to: stdio and sockets.
    pub(crate) const NONE: Self = Self {
        id: u32::MAX,
        access: Access::ReadWrite,
        origin: Origin::NONE,
    };

    /// The same grant, for no more than `access`.
    pub(crate) fn at_most(self, access: Access) -> Self {
        match access {
            Access::ReadOnly => Self { access, ..self },
            Access::ReadWrite => self,
        }
    }

    /// Refuses changes below a read-only directory.
    pub(crate) fn require_write(self) -> Result<(), Errno> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Errno::NOTCAPABLE),
        }
    }

    /// Refuses to make something of this grant reachable through `target` where `target` allows more.
    pub(crate) fn require_no_stronger(self, target: Self) -> Result<(), Errno> {
        if self.id == target.id
            || (self.access, target.access) != (Access::ReadOnly, Access::ReadWrite)
        {
            Ok(())
        } else {
            Err(Errno::NOTCAPABLE)
        }
    }
}

/// An open file that is neither a directory nor a socket.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) filetype: FileType,
    /// What the guest opened it for: `FD_READ` and `FD_WRITE` among the rights.
    pub(crate) access: Rights,
    /// `Never` for regular files; pipes and devices are opened non-blocking.
    pub(crate) blocking: Blocking,
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct OpenDir {
    pub(crate) dir: Dir,
    /// The guest's name for it, if it is a preopen.
    pub(crate) preopen: Option<Box<str>>,
    /// The names found when the guest last began to list it, while it has not seen them all.
    pub(crate) listing: Option<Listing>,
}

/// What is behind a descriptor.
#[derive(Debug)]
pub(crate) enum Object {
    Stdin(Input),
    Stdout(Output),
    File(OpenFile),
    Dir(OpenDir),
    Listener(TcpListener),
    Stream(TcpStream),
}

/// A descriptor.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) object: Object,
    pub(crate) base: Rights,
    pub(crate) inheriting: Rights,
    pub(crate) flags: FdFlags,
    pub(crate) grant: Grant,
}

impl Entry {
    /// A directory of the embedder's, which the guest sees as `name`, with all rights.
    pub(crate) fn preopen(dir: Dir, name: Box<str>, grant: Grant) -> Self {
        Self {
            object: Object::Dir(OpenDir {
                dir,
                preopen: Some(name),
                listing: None,
            }),
            base: Rights::DIRECTORY,
            inheriting: Rights::DIRECTORY.union(Rights::FILE),
            flags: FdFlags::NONE,
            grant,
        }
    }

    /// A directory opened through this one: it has what this one has itself and passes on, but is never for more than
    /// `access`.
    pub(crate) fn dir_below(&self, dir: Dir, access: Access) -> Self {
        Self {
            object: Object::Dir(OpenDir {
                dir,
                preopen: None,
                listing: None,
            }),
            base: self.base & self.inheriting,
            inheriting: self.inheriting,
            flags: FdFlags::NONE,
            grant: self.grant.at_most(access),
        }
    }

    /// A stream outside every directory.
    pub(crate) fn stream(object: Object, base: Rights, inheriting: Rights) -> Self {
        Self {
            object,
            base,
            inheriting,
            flags: FdFlags::NONE,
            grant: Grant::NONE,
        }
    }

    /// Refuses when a right is missing; `BADF` where the guest itself did not open a file for that.
    pub(crate) fn require(&self, rights: Rights) -> Result<(), Errno> {
        let direction = rights & (Rights::FD_READ | Rights::FD_WRITE);
        if let Object::File(file) = &self.object
            && !file.access.contains(direction)
        {
            return Err(Errno::BADF);
        }
        if self.base.contains(rights) {
            Ok(())
        } else {
            Err(Errno::NOTCAPABLE)
        }
    }

    /// Whether the guest asked not to be blocked.
    pub(crate) fn nonblock(&self) -> bool {
        self.flags.contains(FdFlags::NONBLOCK)
    }

    /// The directory, with `rights` on it; anything else is `NOTDIR`.
    pub(crate) fn as_dir(&self, rights: Rights) -> Result<&OpenDir, Errno> {
        let Object::Dir(dir) = &self.object else {
            return Err(Errno::NOTDIR);
        };
        self.require(rights)?;
        Ok(dir)
    }

    /// The regular file or device, with `rights` on it; a directory is `ISDIR` and a stream is `stream`.
    pub(crate) fn as_file(&self, rights: Rights, stream: Errno) -> Result<&OpenFile, Errno> {
        match &self.object {
            Object::File(file) => {
                self.require(rights)?;
                Ok(file)
            }
            Object::Dir(_) => Err(Errno::ISDIR),
            _ => Err(stream),
        }
    }

    /// The type the guest sees.
    pub(crate) fn filetype(&self) -> FileType {
        match &self.object {
            Object::Stdin(input) => input.filetype(),
            Object::Stdout(output) => output.filetype(),
            Object::File(file) => file.filetype,
            Object::Dir(_) => FileType::Directory,
            Object::Listener(_) | Object::Stream(_) => FileType::SocketStream,
        }
    }
}

impl Object {
    /// Whether a descriptor of the host's is held open for it.
    fn holds_host_fd(&self) -> bool {
        match self {
            Self::Stdin(input) => input.holds_host_fd(),
            Self::Stdout(output) => output.holds_host_fd(),
            Self::File(_) | Self::Dir(_) | Self::Listener(_) | Self::Stream(_) => true,
        }
    }
}

/// Room for one more descriptor that holds one of the host's.
#[derive(Debug)]
pub(crate) struct Room(Lease);

/// A descriptor, and the permission to hold the host's.
#[derive(Debug)]
struct Slot {
    entry: Entry,
    _lease: Option<Lease>,
}

/// All descriptors of a guest.
#[derive(Debug)]
pub(crate) struct FdTable {
    slots: Vec<Option<Slot>>,
    /// Exactly the indices of the empty slots.
    free: BinaryHeap<Reverse<u32>>,
    limit: usize,
}

impl FdTable {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: BinaryHeap::new(),
            limit,
        }
    }

    /// The descriptor `fd`.
    pub(crate) fn get(&self, fd: u32) -> Result<&Entry, Errno> {
        self.slots
            .get(fd as usize)
            .and_then(Option::as_ref)
            .map(|slot| &slot.entry)
            .ok_or(Errno::BADF)
    }

    /// The descriptor `fd`, to be changed.
    pub(crate) fn get_mut(&mut self, fd: u32) -> Result<&mut Entry, Errno> {
        self.slots
            .get_mut(fd as usize)
            .and_then(Option::as_mut)
            .map(|slot| &mut slot.entry)
            .ok_or(Errno::BADF)
    }

    /// All descriptors.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let slots = self.slots.iter().flatten();
        slots.map(|slot| &slot.entry)
    }

    /// Whether there are as many descriptors as there may be.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() - self.free.len() >= self.limit
    }

    /// Room for another descriptor, asked for before the host opens anything; `MFILE` if there is none, be it that this
    /// guest has all that it may have, or that all guests together have.
    pub(crate) fn room(&self) -> Result<Room, Errno> {
        match self.is_full() {
            true => Err(Errno::MFILE),
            false => Lease::take().map(Room),
        }
    }

    /// Adds a descriptor at the lowest free number.
    pub(crate) fn insert(&mut self, entry: Entry, room: Room) -> Result<u32, Errno> {
        self.insert_slot(entry, Some(room.0))
    }

    /// Adds a descriptor of the embedder's at the lowest free number.
    pub(crate) fn insert_first(&mut self, entry: Entry) -> Result<u32, Errno> {
        let holds = entry.object.holds_host_fd();
        let lease = holds.then(Lease::take).transpose()?;
        self.insert_slot(entry, lease)
    }

    fn insert_slot(&mut self, entry: Entry, lease: Option<Lease>) -> Result<u32, Errno> {
        if self.is_full() {
            return Err(Errno::MFILE);
        }
        let slot = Some(Slot {
            entry,
            _lease: lease,
        });
        if let Some(Reverse(fd)) = self.free.pop() {
            self.slots[fd as usize] = slot;
            return Ok(fd);
        }
        let fd = u32::try_from(self.slots.len()).map_err(|_| Errno::MFILE)?;
        self.slots.push(slot);
        Ok(fd)
    }

    /// Takes a descriptor out of the table, and closes it.
    pub(crate) fn remove(&mut self, fd: u32) -> Result<(), Errno> {
        self.take(fd).map(drop)
    }

    fn take(&mut self, fd: u32) -> Result<Slot, Errno> {
        let slot = self.slots.get_mut(fd as usize).ok_or(Errno::BADF)?;
        let taken = slot.take().ok_or(Errno::BADF)?;
        self.free.push(Reverse(fd));
        Ok(taken)
    }

    /// Moves `from` onto `to`, closing what was there; both must be open.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let moved = self.take(from)?;
            self.slots[to as usize] = Some(moved);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry::stream(Object::Stdin(Input::Null), Rights::STDIN, Rights::NONE)
    }

    #[test]
    fn numbers_are_lowest_free() {
        let mut table = FdTable::new(10);
        for expected in 0..6 {
            assert_eq!(table.insert_first(entry()), Ok(expected));
        }
        table.remove(4).unwrap();
        table.remove(1).unwrap();
        assert_eq!(table.get(4).unwrap_err(), Errno::BADF);
        assert_eq!(table.insert_first(entry()), Ok(1));
        assert_eq!(table.insert_first(entry()), Ok(4));
        assert_eq!(table.insert_first(entry()), Ok(6));
    }

    #[test]
    fn renumber_frees_the_source_once() {
        let mut table = FdTable::new(10);
        for _ in 0..4 {
            table.insert_first(entry()).unwrap();
        }
        assert_eq!(table.renumber(1, 9), Err(Errno::BADF));
        assert_eq!(table.renumber(9, 1), Err(Errno::BADF));
        table.renumber(2, 2).unwrap();
        table.renumber(1, 3).unwrap();
        assert_eq!(table.get(1).unwrap_err(), Errno::BADF);
        assert_eq!(table.insert_first(entry()), Ok(1));
        assert_eq!(table.insert_first(entry()), Ok(4));
    }

    #[test]
    fn the_limit_counts_open_descriptors() {
        let mut table = FdTable::new(2);
        table.insert_first(entry()).unwrap();
        table.insert_first(entry()).unwrap();
        assert_eq!(table.insert_first(entry()), Err(Errno::MFILE));
        table.remove(0).unwrap();
        for _ in 0..10_000 {
            let fd = table.insert_first(entry()).unwrap();
            table.remove(fd).unwrap();
        }
        assert_eq!(table.slots.len(), 2);
    }

    #[test]
    fn nothing_crosses_to_a_stronger_grant() {
        let grant = |id, access| Grant {
            id,
            access,
            ..Grant::NONE
        };
        let (ro, rw) = (grant(0, Access::ReadOnly), grant(1, Access::ReadWrite));
        assert_eq!(ro.require_no_stronger(rw), Err(Errno::NOTCAPABLE));
        assert_eq!(rw.require_no_stronger(ro), Ok(()));
        assert_eq!(rw.require_no_stronger(grant(2, Access::ReadWrite)), Ok(()));
        assert_eq!(ro.require_write(), Err(Errno::NOTCAPABLE));
    }
}
