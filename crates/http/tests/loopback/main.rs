//! Servers and clients on the loopback interface. Nothing here measures time: limits that are short make something happen,
//! and reads that wait a minute fail the test.

mod backpressure;
mod client;
mod http1;
mod http2;
mod limits;
mod malformed;
mod observe;
mod shutdown;
#[cfg(feature = "tls")]
mod tls;
mod wire;
