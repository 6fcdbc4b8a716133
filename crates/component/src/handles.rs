//! The table of handles that each component instance has: `own` and `borrow` handles of resources, and what waits and is waited
//! for in asynchronous calls.
//!
//! The rules are those of the canonical ABI's `ResourceHandle`. The first index is 1, and a freed one is the next to be used.

use crate::abi::HandleError;
use crate::concurrent::{ErrorContext, Waitable, WaitableSet};
use crate::resource::ResourceType;
use crate::slab::Id;

/// The number of a call in progress.
pub(crate) type CallId = Id<crate::state::Call>;

/// The most handles that a table can have, by the canonical ABI.
const MAX_LENGTH: u32 = (1 << 28) - 1;

/// Whose a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The instance's own.
    Own,
    /// Lent to the instance for a call.
    Borrow {
        /// Which of the calls in progress it was passed to.
        call: CallId,
    },
}

/// What a handle is of that is no resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A subtask, or an end of a stream or a future.
    Waitable(Id<Waitable>),
    Set(Id<WaitableSet>),
    ErrorContext(Id<ErrorContext>),
}

#[derive(Clone, Copy, Debug)]
struct ResourceHandle {
    ty: ResourceType,
    rep: u32,
    hold: Hold,
    /// How many calls in progress it is lent to.
    lends: u32,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    /// The next free one, or 0.
    Free(u32),
    Resource(ResourceHandle),
    Item(Item),
}

/// The handles of a component instance.
#[derive(Debug)]
pub(crate) struct HandleTable {
    /// Without the index 0, which no handle has.
    entries: Vec<Entry>,
    free: u32,
    live: u32,
    limit: u32,
}

impl HandleTable {
    /// A table of at most `limit` handles.
    pub(crate) fn new(limit: u32) -> HandleTable {
        HandleTable {
            entries: Vec::new(),
            free: 0,
            live: 0,
            limit: limit.min(MAX_LENGTH),
        }
    }

    /// How many handles there are.
    pub(crate) fn len(&self) -> u32 {
        self.live
    }

    pub(crate) fn insert(
        &mut self,
        ty: ResourceType,
        rep: u32,
        hold: Hold,
    ) -> Result<u32, HandleError> {
        self.insert_entry(Entry::Resource(ResourceHandle {
            ty,
            rep,
            hold,
            lends: 0,
        }))
    }

    /// A new handle of something that is no resource.
    pub(crate) fn insert_item(&mut self, item: Item) -> Result<u32, HandleError> {
        self.insert_entry(Entry::Item(item))
    }

    /// What a handle is of that is of no resource.
    pub(crate) fn item(&self, index: u32) -> Result<Item, HandleError> {
        match self.entries.get((index as usize).wrapping_sub(1)) {
            Some(Entry::Item(item)) => Ok(*item),
            Some(Entry::Resource(_)) => Err(HandleError::OtherType(index)),
            Some(Entry::Free(_)) | None => Err(HandleError::Unknown(index)),
        }
    }

    /// Takes out a handle that is of no resource.
    pub(crate) fn remove_item(&mut self, index: u32) {
        if self.item(index).is_ok() {
            self.free(index);
        }
    }

    fn insert_entry(&mut self, entry: Entry) -> Result<u32, HandleError> {
        if self.live >= self.limit {
            return Err(HandleError::Full);
        }
        self.live += 1;
        if self.free == 0 {
            self.entries.push(entry);
            // There are no more than the limit, which is less.
            return Ok(self.entries.len() as u32);
        }
        let index = self.free;
        let place = &mut self.entries[index as usize - 1];
        if let Entry::Free(next) = *place {
            self.free = next;
        }
        *place = entry;
        Ok(index)
    }

    fn get(&mut self, ty: ResourceType, index: u32) -> Result<&mut ResourceHandle, HandleError> {
        let place = (index as usize).wrapping_sub(1);
        match self.entries.get_mut(place) {
            Some(Entry::Resource(handle)) if handle.ty == ty => Ok(handle),
            Some(Entry::Resource(_) | Entry::Item(_)) => Err(HandleError::OtherType(index)),
            Some(Entry::Free(_)) | None => Err(HandleError::Unknown(index)),
        }
    }

    /// The representation of a resource, by whichever handle of it.
    pub(crate) fn rep(&mut self, ty: ResourceType, index: u32) -> Result<u32, HandleError> {
        Ok(self.get(ty, index)?.rep)
    }

    /// The representation, and the handle counts as lent once more.
    pub(crate) fn lend(&mut self, ty: ResourceType, index: u32) -> Result<u32, HandleError> {
        let handle = self.get(ty, index)?;
        // Each lend takes a place in the list of its call, so there are fewer.
        handle.lends += 1;
        Ok(handle.rep)
    }

    /// Takes back one [`HandleTable::lend`].
    pub(crate) fn take_back(&mut self, index: u32) {
        if let Some(Entry::Resource(handle)) = self.entries.get_mut(index as usize - 1) {
            handle.lends -= 1;
        }
    }

    /// Takes an `own` handle out, as it is passed on.
    pub(crate) fn take_own(&mut self, ty: ResourceType, index: u32) -> Result<u32, HandleError> {
        let handle = self.get(ty, index)?;
        if handle.hold != Hold::Own {
            return Err(HandleError::NotOwned(index));
        }
        Ok(self.remove(ty, index)?.0)
    }

    /// Takes out all that was lent for a call that is not made.
    pub(crate) fn forget_borrows(&mut self, call: CallId) {
        let hold = Hold::Borrow { call };
        for index in (1..).take(self.entries.len()) {
            if matches!(self.entries[index as usize - 1], Entry::Resource(handle) if handle.hold == hold)
            {
                self.free(index);
            }
        }
    }

    fn free(&mut self, index: u32) {
        self.entries[index as usize - 1] = Entry::Free(self.free);
        self.free = index;
        self.live -= 1;
    }

    /// Takes a handle out, and says what it was of.
    pub(crate) fn remove(
        &mut self,
        ty: ResourceType,
        index: u32,
    ) -> Result<(u32, Hold), HandleError> {
        let handle = *self.get(ty, index)?;
        if handle.lends != 0 {
            return Err(HandleError::Lent(index));
        }
        self.free(index);
        Ok((handle.rep, handle.hold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::HostResource;

    const FILE: ResourceType = ResourceType::of_host(HostResource::new("file"));
    const SOCKET: ResourceType = ResourceType::of_host(HostResource::new("socket"));

    fn call(number: u64) -> CallId {
        CallId::from_bits(number)
    }

    #[test]
    fn indices_begin_at_one_and_are_used_again() {
        let mut table = HandleTable::new(10);
        let mut add = |rep| table.insert(FILE, rep, Hold::Own);
        assert_eq!((add(7), add(8), add(9)), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(table.take_own(FILE, 1), Ok(7));
        assert_eq!(table.take_own(FILE, 3), Ok(9));
        assert_eq!(table.insert(FILE, 1, Hold::Own), Ok(3));
        assert_eq!(table.insert(FILE, 2, Hold::Own), Ok(1));
        assert_eq!(table.insert(FILE, 3, Hold::Own), Ok(4));
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let mut table = HandleTable::new(10);
        assert_eq!(table.rep(FILE, 0), Err(HandleError::Unknown(0)));
        assert_eq!(table.rep(FILE, 1), Err(HandleError::Unknown(1)));
        assert_eq!(table.insert(FILE, 7, Hold::Own), Ok(1));
        assert_eq!(table.rep(SOCKET, 1), Err(HandleError::OtherType(1)));
        assert_eq!(table.take_own(FILE, 1), Ok(7));
        assert_eq!(table.take_own(FILE, 1), Err(HandleError::Unknown(1)));
        assert_eq!(
            table.rep(FILE, u32::MAX),
            Err(HandleError::Unknown(u32::MAX))
        );
    }

    #[test]
    fn a_lent_handle_stays() {
        let mut table = HandleTable::new(10);
        assert_eq!(table.insert(FILE, 7, Hold::Own), Ok(1));
        assert_eq!((table.lend(FILE, 1), table.lend(FILE, 1)), (Ok(7), Ok(7)));
        table.take_back(1);
        assert_eq!(table.take_own(FILE, 1), Err(HandleError::Lent(1)));
        assert_eq!(table.remove(FILE, 1), Err(HandleError::Lent(1)));
        table.take_back(1);
        assert_eq!(table.remove(FILE, 1), Ok((7, Hold::Own)));
    }

    #[test]
    fn a_borrow_is_not_passed_on() {
        let mut table = HandleTable::new(10);
        let hold = Hold::Borrow { call: call(3) };
        assert_eq!(table.insert(FILE, 7, hold), Ok(1));
        assert_eq!(table.take_own(FILE, 1), Err(HandleError::NotOwned(1)));
        assert_eq!(table.remove(FILE, 1), Ok((7, hold)));
    }

    #[test]
    fn what_is_lent_for_a_call_is_forgotten_with_it() {
        let mut table = HandleTable::new(10);
        let mut add = |of| table.insert(FILE, 7, Hold::Borrow { call: call(of) });
        assert_eq!((add(0), add(1), add(1)), (Ok(1), Ok(2), Ok(3)));
        table.forget_borrows(call(1));
        assert_eq!(table.len(), 1);
        assert_eq!(table.rep(FILE, 1), Ok(7));
        assert_eq!(table.rep(FILE, 2), Err(HandleError::Unknown(2)));
        assert_eq!(table.insert(FILE, 8, Hold::Own), Ok(3));
    }

    #[test]
    fn a_table_is_bounded() {
        let mut table = HandleTable::new(2);
        assert_eq!(table.insert(FILE, 0, Hold::Own), Ok(1));
        assert_eq!(table.insert(FILE, 0, Hold::Own), Ok(2));
        assert_eq!(table.insert(FILE, 0, Hold::Own), Err(HandleError::Full));
        assert_eq!(table.take_own(FILE, 2), Ok(0));
        assert_eq!(table.insert(FILE, 0, Hold::Own), Ok(2));
    }
}
