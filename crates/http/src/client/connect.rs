//! From a destination to a connection, through the gate.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::client::{ClientError, Destination, Options, Shared};
use crate::exchange::later;

/// A connection, with TLS or without.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection, and whether HTTP/2 was agreed on.
pub(crate) struct Connected {
    pub(crate) io: Box<dyn Io>,
    pub(crate) is_http2: bool,
}

/// Connects to one of the addresses that the gate lets pass, in the time for it.
pub(crate) async fn connect(
    shared: &Shared,
    to: &Destination,
    lookup: &str,
    options: &Options,
) -> Result<Connected, ClientError> {
    let deadline = later(Instant::now(), options.connect_timeout);
    let too_late = || ClientError::ConnectTimeout(options.connect_timeout);
    let found = timeout_at(deadline, addresses(shared, to, lookup))
        .await
        .map_err(|_| too_late())??;
    let mut allowed: Vec<_> = found
        .into_iter()
        .filter(|address| options.gate.address(to, *address))
        .collect();
    allowed.truncate(shared.limits.addresses.max(1));
    let tcp = connect_one_of(&allowed, to, deadline)
        .await
        .map_err(|error| error.unwrap_or_else(too_late))?;
    // Without it a request may wait for an acknowledgement; the connection works all the same.
    let _ = tcp.set_nodelay(true);
    if !to.is_tls {
        return Ok(Connected {
            io: Box::new(tcp),
            is_http2: false,
        });
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = &shared.tls {
        return timeout_at(deadline, tls.connect(&to.host, tcp))
            .await
            .map_err(|_| too_late())?;
    }
    Err(ClientError::Scheme)
}

/// The addresses of a host, each as what a connection to it comes to.
async fn addresses(
    shared: &Shared,
    to: &Destination,
    lookup: &str,
) -> Result<Vec<SocketAddr>, ClientError> {
    let found = match to.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, to.port)],
        Err(_) => {
            let (resolver, name, port) =
                (Arc::clone(&shared.resolver), lookup.to_string(), to.port);
            let found = tokio::task::spawn_blocking(move || resolver.look_up(&name, port)).await;
            let failed = |error: &dyn std::error::Error| ClientError::Lookup(error.to_string());
            found
                .map_err(|error| failed(&error))?
                .map_err(|error| failed(&error))?
        }
    };
    if found.is_empty() {
        return Err(ClientError::Lookup("the name has no address".into()));
    }
    let to_port = |address: SocketAddr| SocketAddr::new(canonical(address.ip()), to.port);
    Ok(found.into_iter().map(to_port).collect())
}

/// An IPv4 address is one however it is written; and who connects to the address that means all of a machine's comes to
/// the machine itself.
fn canonical(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    }
}

/// Whether an error says that packets can't get there.
fn is_unroutable(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable
    )
}

/// Tries one address after the other, each with its share of the time. `Err(None)` says that the time is over.
async fn connect_one_of(
    addresses: &[SocketAddr],
    to: &Destination,
    deadline: Instant,
) -> Result<TcpStream, Option<ClientError>> {
    let mut error = Some(ClientError::AddressRefused(to.host.clone()));
    for (index, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let tries_left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let connected = timeout_at(now + left / tries_left, TcpStream::connect(address)).await;
        error = match connected {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(failed)) if failed.kind() == io::ErrorKind::ConnectionRefused => {
                Some(ClientError::ConnectionRefused)
            }
            Ok(Err(failed)) if is_unroutable(failed.kind()) => {
                Some(ClientError::Unroutable(failed.to_string()))
            }
            Ok(Err(failed)) => Some(ClientError::Connect(failed.to_string())),
            Err(_) => None,
        };
    }
    Err(error)
}
