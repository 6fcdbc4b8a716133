//! The host's side of asynchronous calls: operations that are not done when their function returns, what they wait for, and
//! the ends of streams and futures that the host has.
//!
//! Nothing here blocks. The event loop [polls](Pending::poll) what may go on; when no guest and no operation of the host can,
//! it asks the host's *waiter* ([`Linker::waiter`](crate::Linker::waiter)) to wait for what they said that they wait for.
//!
//! *Invariant:* an operation is polled only while nothing else of the store runs; it may call into the guest by
//! [`Lowered::realloc`] alone.

use std::any::Any;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use tiered::{Caller, Meter, Trap};

use crate::lowered::Lowered;

/// What holds a descriptor of the host's open.
pub type Descriptor = Arc<dyn AsFd + Send + Sync>;

/// What an operation of the host waits for.
#[derive(Clone)]
pub enum Interest {
    /// The descriptor has something to read, or its end. Work on another thread is waited for by a descriptor, too: the reading
    /// end of a pipe, or an eventfd.
    Readable(Descriptor),
    /// The descriptor takes something, or nobody reads it any more.
    Writable(Descriptor),
    /// The point in time.
    Deadline(Instant),
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interest::Readable(fd) => f.debug_tuple("Readable").field(&fd.as_fd()).finish(),
            Interest::Writable(fd) => f.debug_tuple("Writable").field(&fd.as_fd()).finish(),
            Interest::Deadline(at) => f.debug_tuple("Deadline").field(at).finish(),
        }
    }
}

/// What all operations wait for together: they add to it, and the waiter marks what is ready.
///
/// An operation that adds nothing is polled whenever anything else has gone on: it waits for another one.
#[derive(Debug, Default)]
pub struct Waits {
    all: Vec<Wait>,
    /// Who adds now.
    pub(crate) owner: u64,
}

#[derive(Debug)]
struct Wait {
    interest: Interest,
    owner: u64,
    is_ready: bool,
}

impl Waits {
    /// Waits for this as well.
    pub fn add(&mut self, interest: Interest) {
        self.all.push(Wait {
            interest,
            owner: self.owner,
            is_ready: false,
        });
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What is waited for, by numbers from 0.
    pub fn interests(&self) -> impl ExactSizeIterator<Item = &Interest> + Clone + '_ {
        self.all.iter().map(|wait| &wait.interest)
    }

    /// The waiter has found that the one of this number is ready.
    ///
    /// # Panics
    /// If there is none of this number.
    pub fn set_ready(&mut self, index: usize) {
        self.all[index].is_ready = true;
    }

    /// Marks the deadlines that have passed; the time to the next one that has not, `None` if there is none.
    pub fn pass_deadlines(&mut self, now: Instant) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        for wait in &mut self.all {
            if let Interest::Deadline(deadline) = &wait.interest {
                match deadline.checked_duration_since(now) {
                    Some(left) if !left.is_zero() => {
                        next = Some(next.map_or(left, |next| next.min(left)));
                    }
                    _ => wait.is_ready = true,
                }
            }
        }
        next
    }

    /// Whether one is ready.
    #[must_use]
    pub fn is_any_ready(&self) -> bool {
        self.all.iter().any(|wait| wait.is_ready)
    }

    /// Who waits for what is ready.
    pub(crate) fn ready_owners(&self) -> impl Iterator<Item = u64> + '_ {
        let ready = self.all.iter().filter(|wait| wait.is_ready);
        ready.map(|wait| wait.owner)
    }
}

/// Waits until something of [`Waits`] is ready and marks it, or, if the last argument is `false`, marks what is ready now.
pub(crate) type Waiter<T> =
    dyn Fn(Caller<'_, T>, &mut Waits, bool) -> Result<(), Trap> + Send + Sync + 'static;

/// How long a wait without a waiter lasts at most before it looks whether something stops the guest.
const SLICE: Duration = Duration::from_millis(2);

/// What waits if the host has given no waiter: for points in time only.
pub(crate) fn sleep<T>(
    caller: &mut Caller<'_, T>,
    waits: &mut Waits,
    blocks: bool,
) -> Result<(), Trap> {
    loop {
        let left = waits.pass_deadlines(Instant::now());
        caller.meter().check()?;
        match left {
            Some(left) if blocks && !waits.is_any_ready() => thread::sleep(left.min(SLICE)),
            None if blocks && !waits.is_any_ready() => {
                return Err(Trap::message(
                    "the host waits for a descriptor, and has no waiter",
                ));
            }
            _ => return Ok(()),
        }
    }
}

/// An operation that was not done when its function returned.
///
/// The arguments and the place of the result are those of the call: [`Lowered`] is the same as in the function's body, on flat
/// values, however the guest has called it. If the guest has called it synchronously, it waits until the operation is done.
/// If not, it goes on, and the operation is a subtask to it.
pub trait Pending<T: 'static>: Send {
    /// Goes on as far as it can without waiting; ready once the result is set.
    ///
    /// # Errors
    /// What ends the guest.
    fn poll(&mut self, call: &mut Lowered<'_, T>) -> Result<Poll<()>, Trap>;

    /// What it waits for until it is polled again.
    fn wait(&self, waits: &mut Waits);
}

/// What came of an attempt to move items of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Nothing can be moved now.
    Pending,
    /// That many items were moved: of a future it is one.
    ///
    /// It is 0 only if there is no room for more: an attempt to move nothing says whether something could be moved.
    Items(u32),
    /// The end of the stream: nothing will be moved any more.
    End,
}

/// The writing end of a `stream<u8>`, at the host: what a guest reads comes from here.
///
/// It is dropped when the guest has dropped its end, or has been told the end.
pub trait ByteSource<T: 'static>: Any + Send {
    /// Puts bytes at the beginning of the buffer, which is memory of the guest.
    ///
    /// # Errors
    /// What ends the guest.
    fn read(&mut self, data: &mut T, buffer: &mut [u8], meter: Meter<'_>)
    -> Result<Transfer, Trap>;

    /// What it waits for until it is asked again.
    fn wait(&self, waits: &mut Waits);
}

/// The reading end of a `stream<u8>`, at the host: what a guest writes goes here.
pub trait ByteSink<T: 'static>: Any + Send {
    /// Takes bytes from the beginning of the buffer, which is memory of the guest.
    ///
    /// # Errors
    /// What ends the guest.
    fn write(&mut self, data: &mut T, buffer: &[u8], meter: Meter<'_>) -> Result<Transfer, Trap>;

    /// What it waits for until it is asked again.
    fn wait(&self, waits: &mut Waits);

    /// The guest has dropped its end: there will be no more. The sink is dropped next.
    ///
    /// # Errors
    /// What ends the guest.
    fn end(&mut self, data: &mut T) -> Result<(), Trap> {
        let _ = data;
        Ok(())
    }
}

/// The writing end of a stream of other items, or of a future, at the host.
pub trait Source<T: 'static>: Any + Send {
    /// Stores items one behind the other from `address` on, at most `count`, in their layout in a memory of 32-bit addresses,
    /// with strings in UTF-8. Memory, `realloc` and handles of the call are the reader's; it has no arguments and no result.
    ///
    /// # Errors
    /// What ends the guest.
    fn read(
        &mut self,
        call: &mut Lowered<'_, T>,
        address: u32,
        count: u32,
    ) -> Result<Transfer, Trap>;

    /// What it waits for until it is asked again.
    fn wait(&self, waits: &mut Waits);
}

/// The reading end of a stream of other items, or of a future, at the host.
pub trait Sink<T: 'static>: Any + Send {
    /// Loads items from `address` on, at most `count`, as [`Source::read`] stores them.
    ///
    /// # Errors
    /// What ends the guest.
    fn write(
        &mut self,
        call: &mut Lowered<'_, T>,
        address: u32,
        count: u32,
    ) -> Result<Transfer, Trap>;

    /// What it waits for until it is asked again.
    fn wait(&self, waits: &mut Waits);

    /// The guest has dropped its end of the stream: there will be no more. The sink is dropped next.
    ///
    /// # Errors
    /// What ends the guest.
    fn end(&mut self, data: &mut T) -> Result<(), Trap> {
        let _ = data;
        Ok(())
    }
}

/// A writing end that the host has.
pub enum HostSource<T: 'static> {
    /// Of a `stream<u8>`.
    Bytes(Box<dyn ByteSource<T>>),
    /// Of another stream, or of a future.
    Items(Box<dyn Source<T>>),
}

/// A reading end that the host has.
pub enum HostSink<T: 'static> {
    /// Of a `stream<u8>`.
    Bytes(Box<dyn ByteSink<T>>),
    /// Of another stream, or of a future.
    Items(Box<dyn Sink<T>>),
}
