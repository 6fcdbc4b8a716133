//! The descriptors of a guest: which object is behind each, and what may be done with it by that number.
//!
//! The guest's threads share them. A call takes the entry of a descriptor out of the table, without taking it away from
//! others, and works with that: whoever closes the descriptor meanwhile, or moves another onto its number, takes it from
//! the calls that come later only. What is behind an entry is closed when the last such call has ended.
//!
//! Invariant: the table's lock is held for looking up and exchanging entries only: nothing is opened, closed, or asked of
//! the host under it, and no other lock is taken.
//! Invariant: a new descriptor takes the lowest free number, but never that of a standard stream that was moved to another
//! number: the program writes there still, or means to put the stream back, and its text must not get into a file. What took a number never shows half: others find what was
//! there before or what is there now, also when one descriptor is moved onto another.
//! Invariant: room is counted before the host acts: descriptors and calls that are about to add one are together no more
//! than the limit.
//! Invariant: rights never grow, whatever threads do at the same time. A directory has no right that the one it was opened
//! through lacked, a file none that this one did not pass on, and the grant of either is that directory's grant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::abi::{Errno, FdFlags, Rights};
use crate::fd_share::{Hold, Lease};
use crate::objects::{Held, Object, OpenDir, OpenFile};

/// A descriptor.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) object: Arc<Held>,
    /// Each only ever loses bits.
    base: AtomicU64,
    inheriting: AtomicU64,
    flags: AtomicU16,
}

impl Entry {
    pub(crate) fn new(object: Object, base: Rights, inheriting: Rights) -> Self {
        Self {
            object: Held::new(object),
            base: AtomicU64::new(base.raw()),
            inheriting: AtomicU64::new(inheriting.raw()),
            flags: AtomicU16::new(FdFlags::NONE.raw()),
        }
    }

    /// With these flags.
    pub(crate) fn flagged(self, flags: FdFlags) -> Self {
        self.set_flags(flags);
        self
    }

    /// A directory of the embedder's, with all rights.
    pub(crate) fn preopen(dir: OpenDir) -> Self {
        let inheriting = Rights::DIRECTORY.union(Rights::FILE);
        Self::new(Object::Dir(dir), Rights::DIRECTORY, inheriting)
    }

    /// What was opened through this one for `access`, reading and writing among the rights. A directory has what this one
    /// has itself and passes on, anything else what this one passes on.
    pub(crate) fn below(&self, opened: Object, access: Rights, flags: FdFlags) -> Self {
        let inheriting = self.inheriting();
        match opened {
            Object::Dir(_) => Self::new(opened, self.base() & inheriting, inheriting),
            _ => {
                let unasked = (Rights::FD_READ | Rights::FD_WRITE) & !access;
                let base = Rights::FILE & inheriting & !unasked;
                Self::new(opened, base, Rights::NONE).flagged(flags)
            }
        }
    }

    /// What may be done with it.
    pub(crate) fn base(&self) -> Rights {
        Rights::from_raw(self.base.load(Ordering::Relaxed))
    }

    /// What may be done at most with what is opened through it.
    pub(crate) fn inheriting(&self) -> Rights {
        Rights::from_raw(self.inheriting.load(Ordering::Relaxed))
    }

    pub(crate) fn flags(&self) -> FdFlags {
        FdFlags::from_raw(self.flags.load(Ordering::Relaxed))
    }

    pub(crate) fn set_flags(&self, flags: FdFlags) {
        self.flags.store(flags.raw(), Ordering::Relaxed);
    }

    /// Gives up all other rights. What another thread gives up at the same time is gone as well.
    pub(crate) fn keep_rights(&self, base: Rights, inheriting: Rights) {
        self.base.fetch_and(base.raw(), Ordering::Relaxed);
        self.inheriting
            .fetch_and(inheriting.raw(), Ordering::Relaxed);
    }

    /// Refuses when a right is missing; `BADF` where the guest itself did not open a file for that.
    pub(crate) fn require(&self, rights: Rights) -> Result<(), Errno> {
        let direction = rights & (Rights::FD_READ | Rights::FD_WRITE);
        if let Object::File(file) = &**self.object
            && !file.access.contains(direction)
        {
            return Err(Errno::BADF);
        }
        if self.base().contains(rights) {
            Ok(())
        } else {
            Err(Errno::NOTCAPABLE)
        }
    }

    /// Whether the guest asked not to be blocked.
    pub(crate) fn nonblock(&self) -> bool {
        self.flags().contains(FdFlags::NONBLOCK)
    }

    /// The directory, with `rights` on it; anything else is `NOTDIR`.
    pub(crate) fn as_dir(&self, rights: Rights) -> Result<&OpenDir, Errno> {
        let Object::Dir(dir) = &**self.object else {
            return Err(Errno::NOTDIR);
        };
        self.require(rights)?;
        Ok(dir)
    }

    /// The regular file or device, with `rights` on it; a directory is `ISDIR` and a stream is `stream`.
    pub(crate) fn as_file(&self, rights: Rights, stream: Errno) -> Result<&OpenFile, Errno> {
        match &**self.object {
            Object::File(file) => {
                self.require(rights)?;
                Ok(file)
            }
            Object::Dir(_) => Err(Errno::ISDIR),
            _ => Err(stream),
        }
    }

    /// Requires rights on a file or directory; what is neither has other rules.
    pub(crate) fn require_in_file_system(&self, rights: Rights) -> Result<(), Errno> {
        match self.object.in_file_system() {
            Some(_) => self.require(rights),
            None => Ok(()),
        }
    }
}

/// Room for one more descriptor that holds one of the host's, counted until it is used or given up.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    table: &'a FdTable,
    /// Taken out when the room is used.
    lease: Option<Lease>,
}

#[cfg(feature = "component")]
impl Room<'_> {
    /// Uses it for what the guest holds by another name than a number of the table.
    pub(crate) fn keep_outside(self, object: &Held) {
        if let Some(hold) = self.hold() {
            object.keep(hold);
        }
    }

    /// The permission for one outside the table.
    pub(crate) fn hold(mut self) -> Option<Hold> {
        let lease = self.lease.take()?;
        // Counted there before it is not counted here any more: never too few.
        let hold = Hold::outside(lease, &self.table.outside);
        self.table.slots.write().asked -= 1;
        Some(hold)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.lease.is_some() {
            self.table.slots.write().asked -= 1;
        }
    }
}

/// The numbers below this are those of the standard streams.
const STREAMS: u32 = 3;

/// All descriptors of a guest.
#[derive(Debug)]
pub(crate) struct FdTable {
    slots: RwLock<Slots>,
    /// How many objects the guest holds by other names: they count, too.
    outside: Arc<AtomicUsize>,
}

/// What is behind the lock.
#[derive(Debug)]
struct Slots {
    entries: Vec<Option<Arc<Entry>>>,
    /// Exactly the indices of the empty ones, without the vacated ones.
    free: BinaryHeap<Reverse<u32>>,
    /// How many standard streams were moved away: nothing takes their numbers.
    vacated: usize,
    /// How many calls have [`Room`].
    asked: usize,
    limit: usize,
}

impl Slots {
    fn get(&self, fd: u32) -> Result<&Arc<Entry>, Errno> {
        let slot = self.entries.get(fd as usize);
        slot.and_then(Option::as_ref).ok_or(Errno::BADF)
    }

    fn is_full(&self, outside: &AtomicUsize) -> bool {
        let inside = self.entries.len() - self.free.len() - self.vacated;
        inside + self.asked + outside.load(Ordering::Relaxed) >= self.limit
    }

    fn insert(&mut self, entry: Entry) -> Result<u32, Errno> {
        let slot = Some(Arc::new(entry));
        if let Some(Reverse(fd)) = self.free.pop() {
            self.entries[fd as usize] = slot;
            return Ok(fd);
        }
        let fd = u32::try_from(self.entries.len()).map_err(|_| Errno::MFILE)?;
        self.entries.push(slot);
        Ok(fd)
    }

    /// Empties a slot, without making its number free.
    fn vacate(&mut self, fd: u32) -> Result<Arc<Entry>, Errno> {
        let slot = self.entries.get_mut(fd as usize).ok_or(Errno::BADF)?;
        slot.take().ok_or(Errno::BADF)
    }

    fn take(&mut self, fd: u32) -> Result<Arc<Entry>, Errno> {
        let taken = self.vacate(fd)?;
        self.free.push(Reverse(fd));
        Ok(taken)
    }
}

impl FdTable {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: RwLock::new(Slots {
                entries: Vec::new(),
                free: BinaryHeap::new(),
                vacated: 0,
                asked: 0,
                limit,
            }),
            outside: Arc::default(),
        }
    }

    /// The descriptor `fd`, as it is now.
    pub(crate) fn get(&self, fd: u32) -> Result<Arc<Entry>, Errno> {
        self.slots.read().get(fd).map(Arc::clone)
    }

    /// Two descriptors, as they are at one moment.
    pub(crate) fn get_both(&self, one: u32, other: u32) -> Result<(Arc<Entry>, Arc<Entry>), Errno> {
        let slots = self.slots.read();
        Ok((Arc::clone(slots.get(one)?), Arc::clone(slots.get(other)?)))
    }

    /// All descriptors, in their order.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.slots
            .read()
            .entries
            .iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Whether there are as many descriptors as there may be.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.read().is_full(&self.outside)
    }

    /// Room for another descriptor, asked for before the host opens anything; `MFILE` if there is none, be it that this
    /// guest has all that it may have, or that all guests together have.
    pub(crate) fn room(&self) -> Result<Room<'_>, Errno> {
        let mut slots = self.slots.write();
        if slots.is_full(&self.outside) {
            return Err(Errno::MFILE);
        }
        let lease = Some(Lease::take()?);
        slots.asked += 1;
        Ok(Room { table: self, lease })
    }

    /// Adds a descriptor at the lowest free number.
    pub(crate) fn insert(&self, entry: Entry, mut room: Room<'_>) -> Result<u32, Errno> {
        if let Some(lease) = room.lease.take() {
            entry.object.keep(Hold::in_table(lease));
        }
        let mut slots = self.slots.write();
        slots.asked -= 1;
        slots.insert(entry)
    }

    /// Adds a descriptor of the embedder's at the lowest free number.
    pub(crate) fn insert_first(&self, entry: Entry) -> Result<u32, Errno> {
        if entry.object.holds_host_fd() {
            entry.object.keep(Hold::in_table(Lease::take()?));
        }
        let mut slots = self.slots.write();
        match slots.is_full(&self.outside) {
            true => Err(Errno::MFILE),
            false => slots.insert(entry),
        }
    }

    /// Takes a descriptor out of the table. It is closed when the caller, and whoever else works with it, lets go of it.
    pub(crate) fn remove(&self, fd: u32) -> Result<Arc<Entry>, Errno> {
        self.slots.write().take(fd)
    }

    /// Moves `from` onto `to`, and gives back what was there; both must be open.
    pub(crate) fn renumber(&self, from: u32, to: u32) -> Result<Option<Arc<Entry>>, Errno> {
        let mut slots = self.slots.write();
        slots.get(from)?;
        slots.get(to)?;
        if from == to {
            return Ok(None);
        }
        let moved = if from < STREAMS {
            slots.vacated += 1;
            slots.vacate(from)
        } else {
            slots.take(from)
        }?;
        Ok(slots.entries[to as usize].replace(moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdio::Input;

    fn entry() -> Entry {
        Entry::new(Object::Stdin(Input::Null), Rights::STDIN, Rights::NONE)
    }

    #[test]
    fn numbers_are_lowest_free() {
        let table = FdTable::new(10);
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
        let table = FdTable::new(10);
        for _ in 0..6 {
            table.insert_first(entry()).unwrap();
        }
        assert_eq!(table.renumber(3, 9).unwrap_err(), Errno::BADF);
        assert_eq!(table.renumber(9, 3).unwrap_err(), Errno::BADF);
        table.renumber(4, 4).unwrap();
        table.renumber(3, 5).unwrap();
        assert_eq!(table.get(3).unwrap_err(), Errno::BADF);
        assert_eq!(table.insert_first(entry()), Ok(3));
        assert_eq!(table.insert_first(entry()), Ok(6));
    }

    #[test]
    fn nothing_takes_the_number_of_a_stream_that_was_moved() {
        let table = FdTable::new(5);
        for _ in 0..5 {
            table.insert_first(entry()).unwrap();
        }
        table.renumber(1, 4).unwrap();
        assert_eq!(table.get(1).unwrap_err(), Errno::BADF);
        // There is room for one more all the same.
        assert_eq!(table.insert_first(entry()), Ok(5));
        assert_eq!(table.insert_first(entry()), Err(Errno::MFILE));
        // What is closed is free, as ever.
        table.remove(2).unwrap();
        assert_eq!(table.insert_first(entry()), Ok(2));
    }

    #[test]
    fn the_limit_counts_open_descriptors() {
        let table = FdTable::new(2);
        table.insert_first(entry()).unwrap();
        table.insert_first(entry()).unwrap();
        assert_eq!(table.insert_first(entry()), Err(Errno::MFILE));
        table.remove(0).unwrap();
        for _ in 0..10_000 {
            let fd = table.insert_first(entry()).unwrap();
            table.remove(fd).unwrap();
        }
        assert_eq!(table.slots.read().entries.len(), 2);
    }

    #[test]
    fn room_is_counted_until_it_is_used_or_given_up() {
        let table = FdTable::new(2);
        table.insert_first(entry()).unwrap();
        let room = table.room().unwrap();
        assert_eq!(table.room().unwrap_err(), Errno::MFILE);
        assert_eq!(table.insert_first(entry()), Err(Errno::MFILE));
        drop(room);
        let room = table.room().unwrap();
        assert_eq!(table.insert(entry(), room), Ok(1));
        assert_eq!(table.room().unwrap_err(), Errno::MFILE);
        table.remove(1).unwrap();
        assert!(table.room().is_ok());
        assert_eq!(table.slots.read().asked, 0);
    }

    #[test]
    fn who_has_an_entry_keeps_it() {
        let table = FdTable::new(10);
        (0..STREAMS).for_each(|fd| assert_eq!(table.insert_first(entry()), Ok(fd)));
        let fds = [3, 4, 5].map(|_| table.insert_first(entry()).unwrap());
        let [first, second, _] = fds.map(|fd| table.get(fd).unwrap());
        let replaced = table.renumber(3, 4).unwrap().unwrap();
        assert!(Arc::ptr_eq(&replaced, &second));
        assert!(Arc::ptr_eq(&table.get(4).unwrap(), &first));
        assert_eq!(Arc::strong_count(&second), 2, "the table has let go of it");
        assert_eq!(table.insert_first(entry()), Ok(3));
        assert!(!Arc::ptr_eq(&table.get(3).unwrap(), &first));
    }

    #[test]
    fn what_one_thread_gives_up_another_does_not_bring_back() {
        let entry = entry();
        let (one, other) = (Rights::FD_READ, Rights::POLL_FD_READWRITE);
        let held = entry.base();
        // Both threads found all rights before either gave some up.
        entry.keep_rights(held & !one, Rights::NONE);
        entry.keep_rights(held & !other, Rights::NONE);
        assert_eq!(entry.base(), held & !one & !other);
    }
}
