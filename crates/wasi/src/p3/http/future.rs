//! The futures in the functions of `types`: `future<result<option<trailers>, error-code>>` and `future<result<_, error-code>>`,
//! as parameters and as results.
//!
//! A guest may pass on what the host has given it. Then there is no guest's memory that the value could go through, and the
//! host looks at its own future instead.

use std::any::Any;
use std::task::Poll;

use tiered_component::concurrent::{Transfer, Waits};

use crate::component::call::{Call, Outcome, trap};
use crate::component::concurrent::{ItemSink, ItemSource, Unfinished};
use crate::component::http::code::ErrorCode;
use crate::component::http::fields::{Fields, Frozen};
use crate::component::http::lift::Lift;
use crate::component::lower::{Lower, New};

/// What follows a body.
pub(super) type Trailers = Result<Option<Frozen>, ErrorCode>;

/// How a body was transmitted.
pub(super) type Transmitted = Result<(), ErrorCode>;

/// The value of such a future.
pub(super) trait Value: Sized + Send + 'static {
    /// Takes it from the guest, as an argument.
    fn lift(call: &mut Call<'_>) -> Outcome<Self>;

    /// Gives it to the guest.
    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()>;
}

/// `trailers` that the guest gives away.
struct Given(Frozen);

impl Lift for Given {
    const FLAT: usize = 1;

    fn lift(call: &mut Call<'_>) -> Outcome<Self> {
        Ok(Self(call.take::<Fields>()?.freeze()))
    }
}

impl Value for Trailers {
    fn lift(call: &mut Call<'_>) -> Outcome<Self> {
        let given: Result<Option<Given>, ErrorCode> = Lift::lift(call)?;
        Ok(given.map(|trailers| trailers.map(|Given(trailers)| trailers)))
    }

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        let new = |trailers: Frozen| New::alone(Fields::immutable(&trailers));
        let trailers: Result<Option<New>, ErrorCode> = self.map(|trailers| trailers.map(new));
        Lower::store(trailers, call, at)
    }
}

impl Value for Transmitted {
    fn lift(call: &mut Call<'_>) -> Outcome<Self> {
        Lift::lift(call)
    }

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        Lower::store(self, call, at)
    }
}

/// What the host's side of a future comes to.
pub(super) trait Eventually<V>: Send {
    /// The value, once.
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<V>>;

    /// What it waits for.
    fn wait(&self, waits: &mut Waits);
}

/// A future that the host writes.
pub(super) struct HostFuture<V> {
    eventually: Box<dyn Eventually<V>>,
    value: Option<V>,
}

impl<V> HostFuture<V> {
    pub(super) fn new(eventually: impl Eventually<V> + 'static) -> Self {
        Self {
            eventually: Box::new(eventually),
            value: None,
        }
    }

    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<V>> {
        match self.value.take() {
            Some(value) => Ok(Poll::Ready(value)),
            None => self.eventually.poll(call),
        }
    }
}

impl<V: Value> ItemSource for HostFuture<V> {
    fn read(&mut self, call: &mut Call<'_>, at: u32, count: u32) -> Outcome<Transfer> {
        Ok(match self.poll(call)? {
            Poll::Pending => Transfer::Pending,
            Poll::Ready(value) if count == 0 => {
                self.value = Some(value);
                Transfer::Items(0)
            }
            Poll::Ready(value) => {
                value.store(call, at)?;
                Transfer::Items(1)
            }
        })
    }

    fn wait(&self, waits: &mut Waits) {
        self.eventually.wait(waits);
    }
}

/// Takes the value, when it is there.
type Receiver<V> = Box<dyn FnOnce(V) + Send>;

/// Takes a future from the guest, which is the function's `index`th stream or future; `receiver` gets its value.
pub(super) fn accept<V: Value>(
    call: &mut Call<'_>,
    index: usize,
    handle: u32,
    receiver: impl FnOnce(V) + Send + 'static,
) -> Outcome<()> {
    let receiver: Option<Receiver<V>> = Some(Box::new(receiver));
    let Some(source) = call.take_source(index, handle)? else {
        return call.read_items_with(index, handle, Box::new(Receiving { receiver }));
    };
    let source: Box<dyn Any> = source;
    let source = source.downcast::<HostFuture<V>>();
    let source = source.map_err(|_| trap("a future of another type of the host's"))?;
    call.spawn(Box::new(Passing { source, receiver }))
}

/// The host's reading end of a future that the guest writes.
struct Receiving<V> {
    receiver: Option<Receiver<V>>,
}

impl<V: Value> ItemSink for Receiving<V> {
    fn write(&mut self, call: &mut Call<'_>, at: u32, count: u32) -> Outcome<Transfer> {
        if count == 0 {
            return Ok(Transfer::Items(0));
        }
        let value = V::lift(&mut call.item(at)?)?;
        if let Some(receiver) = self.receiver.take() {
            receiver(value);
        }
        Ok(Transfer::Items(1))
    }

    /// It takes what is written at once.
    fn wait(&self, _waits: &mut Waits) {}
}

/// A future of the host's that a guest has passed on.
struct Passing<V> {
    source: Box<HostFuture<V>>,
    receiver: Option<Receiver<V>>,
}

impl<V: Value> Unfinished for Passing<V> {
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<()>> {
        let Poll::Ready(value) = self.source.poll(call)? else {
            return Ok(Poll::Pending);
        };
        if let Some(receiver) = self.receiver.take() {
            receiver(value);
        }
        Ok(Poll::Ready(()))
    }

    fn wait(&self, waits: &mut Waits) {
        self.source.eventually.wait(waits);
    }
}
