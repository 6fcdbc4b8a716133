//! Where requests may go.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Destination {
    /// The name, in lower case and without a dot at its end; or an address, an IPv6 one without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it is for `https`.
    pub is_tls: bool,
}

/// Says where requests may go. It is asked for a name, and again for each address that the name turns out to have: grants
/// by name and grants by address both hold, whatever a name's owner says it means.
pub trait Gate: Send + Sync + 'static {
    /// Whether the name may be looked up. It is not asked about what is an address already. Called by
    /// [`Client::send`](crate::client::Client::send).
    fn name(&self, to: &Destination) -> bool;

    /// Whether a connection to this address may be made, for this destination. An IPv4 address that comes as an IPv6 one is
    /// shown as what it is, and the unspecified one (`0.0.0.0`, `::`) as the loopback one that it leads to. Called on the thread of the connections, so it may not wait for anything.
    fn address(&self, to: &Destination, address: SocketAddr) -> bool;
}

/// Looks names up.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, the best one first. It may wait; who asked may have gone when it returns.
    ///
    /// # Errors
    /// There are none, or nobody says so.
    fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// Looks names up as the system does.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }
}
