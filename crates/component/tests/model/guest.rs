//! A guest that allocates one thing behind the other, never in place, and writes down what is asked of it.

use tiered_component::Handle;
use tiered_component::abi::{Guest, HandleError, HandleType, LiftHandles};

/// What kind of handle something is; of a stream or a future, without its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Own(u32),
    Borrow(u32),
    Stream,
    Future,
    ErrorContext,
}

impl From<HandleType> for Kind {
    fn from(ty: HandleType) -> Kind {
        match ty {
            HandleType::Own(resource) => Kind::Own(resource.0),
            HandleType::Borrow(resource) => Kind::Borrow(resource.0),
            HandleType::Stream(_) => Kind::Stream,
            HandleType::Future(_) => Kind::Future,
            HandleType::ErrorContext => Kind::ErrorContext,
        }
    }
}

/// What was asked of a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Realloc(u64, u64, u32, u64),
    Lift(Kind, u32),
    Lower(Kind, Handle),
}

/// A memory, and what happened.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct TestGuest {
    pub(crate) memory: Vec<u8>,
    pub(crate) log: Vec<Event>,
}

impl TestGuest {
    /// The guest's `realloc`. What is new is filled with a byte that is not zero.
    pub(crate) fn allocate(&mut self, old: u64, old_size: u64, align: u32, size: u64) -> u64 {
        self.log.push(Event::Realloc(old, old_size, align, size));
        let begin = (self.memory.len() + 1).next_multiple_of(align as usize);
        self.memory.resize(begin + size as usize, 0xa5);
        let kept = old_size.min(size) as usize;
        self.memory
            .copy_within(old as usize..old as usize + kept, begin);
        begin as u64
    }

    /// Handles are what they were lowered from; one in eight of others is refused.
    pub(crate) fn take(&mut self, ty: Kind, index: u32) -> Result<Handle, HandleError> {
        self.log.push(Event::Lift(ty, index));
        match index % 8 {
            7 => Err(HandleError::Unknown(index)),
            _ => Ok(Handle {
                owner: 5,
                index: index.into(),
            }),
        }
    }

    pub(crate) fn give(&mut self, ty: Kind, handle: Handle) -> u32 {
        self.log.push(Event::Lower(ty, handle));
        handle.index as u32
    }
}

impl Guest for TestGuest {
    fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn realloc(
        &mut self,
        old: u64,
        old_size: u64,
        align: u32,
        size: u64,
    ) -> Result<u64, tiered::Error> {
        Ok(self.allocate(old, old_size, align, size))
    }

    fn lower_handle(&mut self, ty: HandleType, handle: Handle) -> Result<u32, HandleError> {
        Ok(self.give(ty.into(), handle))
    }
}

impl LiftHandles for TestGuest {
    fn lift_handle(&mut self, ty: HandleType, index: u32) -> Result<Handle, HandleError> {
        self.take(ty.into(), index)
    }
}
