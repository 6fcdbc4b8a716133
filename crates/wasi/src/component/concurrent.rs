//! What 0.3 has in its functions' types: operations that go on after the call, streams, and futures.
//!
//! The component model asks what goes on to go on, whenever the host has what it waits for. Here are its traits without the type
//! of the store's data, and results that are such things.
//!
//! Invariant: a future that says how a stream ended says so once whoever moves the stream's items is done, or gone.

use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use rustix::event::PollFlags;
use tiered_component::concurrent::{Interest, Transfer, Waits};

use crate::component::call::{Call, Outcome, Parts};
use crate::component::lower::{Answer, Lower, ResultForm};
use crate::component::wait::{Wait, wait_of_object};
use crate::objects::Held;

/// What goes on until it has a result.
pub(crate) trait Operation<R>: Send {
    /// Goes on as far as it can without waiting.
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<R>>;

    /// What it waits for.
    fn wait(&self, waits: &mut Waits);
}

/// What goes on until it has handed its result over.
pub(crate) trait Unfinished: Send {
    /// Goes on as far as it can without waiting.
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<()>>;

    /// What it waits for.
    fn wait(&self, waits: &mut Waits);
}

/// An operation with the place of its result.
struct Unanswered<R> {
    operation: Box<dyn Operation<R>>,
    at: u32,
}

impl<R: Answer> Unfinished for Unanswered<R> {
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<()>> {
        Ok(match self.operation.poll(call)? {
            Poll::Ready(result) => Poll::Ready(result.answer(call, self.at)?),
            Poll::Pending => Poll::Pending,
        })
    }

    fn wait(&self, waits: &mut Waits) {
        self.operation.wait(waits);
    }
}

/// A result, now or later.
pub(crate) enum Eventual<R> {
    Now(R),
    Later(Box<dyn Operation<R>>),
}

impl<R> Eventual<R> {
    /// What an operation comes to: it is asked once, for mostly it need not wait.
    pub(crate) fn of(
        mut operation: impl Operation<R> + 'static,
        call: &mut Call<'_>,
    ) -> Outcome<Self> {
        Ok(match operation.poll(call)? {
            Poll::Ready(result) => Self::Now(result),
            Poll::Pending => Self::Later(Box::new(operation)),
        })
    }
}

impl<R: Answer + 'static> Answer for Eventual<R> {
    const RESULT: ResultForm = R::RESULT;

    fn answer(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        match self {
            Self::Now(result) => result.answer(call, at),
            Self::Later(operation) => {
                call.suspend(Box::new(Unanswered { operation, at }));
                Ok(())
            }
        }
    }
}

/// Where the bytes of a stream come from that the guest reads.
pub(crate) trait ByteSource: Send {
    /// Puts bytes at the beginning of the memory that the parts have, which is the guest's buffer.
    fn read(&mut self, parts: &mut Parts<'_>) -> Outcome<Transfer>;

    /// What it waits for.
    fn wait(&self, waits: &mut Waits);
}

/// Where the bytes of a stream go that the guest writes.
pub(crate) trait ByteSink: Send {
    /// Takes bytes from the beginning of `buffer`, which is the guest's.
    fn write(&mut self, parts: &mut Parts<'_>, buffer: &[u8]) -> Outcome<Transfer>;

    /// What it waits for.
    fn wait(&self, waits: &mut Waits);

    /// There will be no more.
    fn end(&mut self, parts: &mut Parts<'_>) -> Outcome<()>;
}

/// Where the items of another stream come from that the guest reads, or the value of a future.
pub(crate) trait ItemSource: Any + Send {
    /// Stores up to `count` items from `at` on.
    fn read(&mut self, call: &mut Call<'_>, at: u32, count: u32) -> Outcome<Transfer>;

    /// What it waits for.
    fn wait(&self, waits: &mut Waits);
}

/// Where the items of another stream go that the guest writes, or the value of a future.
#[cfg(feature = "http")]
pub(crate) trait ItemSink: Send {
    /// Takes up to `count` items from `at` on.
    fn write(&mut self, call: &mut Call<'_>, at: u32, count: u32) -> Outcome<Transfer>;

    /// What it waits for.
    fn wait(&self, waits: &mut Waits);
}

/// A writing end that the host has.
pub(crate) enum HostSource {
    Bytes(Box<dyn ByteSource>),
    Items(Box<dyn ItemSource>),
}

/// A stream or a future in a result, which is given to the guest: its place among those of the result, and where its items
/// come from.
pub(crate) struct Readable {
    index: usize,
    source: HostSource,
}

impl Readable {
    pub(crate) fn bytes(index: usize, source: impl ByteSource + 'static) -> Self {
        let source = HostSource::Bytes(Box::new(source));
        Self { index, source }
    }

    pub(crate) fn items(index: usize, source: impl ItemSource + 'static) -> Self {
        let source = HostSource::Items(Box::new(source));
        Self { index, source }
    }
}

impl Lower for Readable {
    const SIZE: u32 = 4;
    const ALIGN: u32 = 4;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        call.new_readable(self.index, self.source)?.store(call, at)
    }
}

impl Answer for Readable {
    const RESULT: ResultForm = ResultForm::I32;

    fn answer(self, call: &mut Call<'_>, _at: u32) -> Outcome<()> {
        let handle = call.new_readable(self.index, self.source)?;
        call.set_result(handle.into());
        Ok(())
    }
}

/// How a stream ended, once it has.
type Ending<E> = Arc<Mutex<Option<Result<(), E>>>>;

/// Says how a stream ended; if it is dropped before, it was well.
#[derive(Debug)]
pub(crate) struct Report<E>(Ending<E>);

/// The value of a future that says how a stream ended.
#[derive(Debug)]
pub(crate) struct Completion<E>(Ending<E>);

impl<E> Report<E> {
    /// Says how the stream ended; the first time counts.
    pub(crate) fn end(&self, ending: Result<(), E>) {
        self.0.lock().get_or_insert(ending);
    }
}

impl<E> Drop for Report<E> {
    fn drop(&mut self) {
        self.end(Ok(()));
    }
}

/// Both sides of a stream's ending.
pub(crate) fn ending<E>() -> (Report<E>, Completion<E>) {
    let ending = Ending::default();
    (Report(Arc::clone(&ending)), Completion(ending))
}

impl<E> Completion<E> {
    /// The ending of a stream that failed before it began.
    pub(crate) fn failed(error: E) -> Self {
        Self(Arc::new(Mutex::new(Some(Err(error)))))
    }
}

impl<E: Lower + Copy + Send + 'static> ItemSource for Completion<E> {
    fn read(&mut self, call: &mut Call<'_>, at: u32, count: u32) -> Outcome<Transfer> {
        let Some(ending) = *self.0.lock() else {
            return Ok(Transfer::Pending);
        };
        if count == 0 {
            return Ok(Transfer::Items(0));
        }
        ending.store(call, at)?;
        Ok(Transfer::Items(1))
    }

    /// For another stream, and no descriptor.
    fn wait(&self, _waits: &mut Waits) {}
}

/// A stream that is at its end.
#[derive(Debug)]
pub(crate) struct Ended;

impl ByteSource for Ended {
    fn read(&mut self, _parts: &mut Parts<'_>) -> Outcome<Transfer> {
        Ok(Transfer::End)
    }

    fn wait(&self, _waits: &mut Waits) {}
}

impl ItemSource for Ended {
    fn read(&mut self, _call: &mut Call<'_>, _at: u32, _count: u32) -> Outcome<Transfer> {
        Ok(Transfer::End)
    }

    fn wait(&self, _waits: &mut Waits) {}
}

/// An object that is asked of the host whether it is ready.
struct Watched(Arc<Held>, PollFlags);

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match wait_of_object(&self.0, self.1) {
            Wait::Host(fd, _) => fd,
            // Whom to ask is the same for as long as there is the object.
            _ => {
                unreachable!("an object that is always ready is not waited for")
            }
        }
    }
}

/// What is waited for until an object is ready; `None` if it always is.
pub(crate) fn interest_of(object: &Arc<Held>, events: PollFlags) -> Option<Interest> {
    match wait_of_object(object, events) {
        Wait::Host(..) => {
            let watched = Arc::new(Watched(Arc::clone(object), events));
            Some(match events.contains(PollFlags::IN) {
                true => Interest::Readable(watched),
                false => Interest::Writable(watched),
            })
        }
        // No object is waited for in another way.
        _ => None,
    }
}
