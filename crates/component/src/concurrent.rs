//! Asynchronous calls: tasks, subtasks, streams and futures of the canonical ABI ("Concurrency"), and the event loop that runs
//! them.

mod host;

pub use host::{
    ByteSink, ByteSource, HostSink, HostSource, Interest, Pending, Sink, Source, Transfer, Waits,
};
pub(crate) use host::Waiter;
