//! Asynchronous calls: tasks, subtasks, streams and futures of the canonical ABI ("Concurrency"), and the event loop that runs
//! them.

mod host;

pub(crate) use host::Waiter;
pub use host::{
    ByteSink, ByteSource, Descriptor, HostSink, HostSource, Interest, Pending, Sink, Source,
    Transfer, Waits,
};
