//! Which peers a guest may talk to, which addresses it may listen on, and which names it may look up.
//!
//! Invariant: nothing is granted that the embedder has not named. A name grants the addresses that it is found to have when
//! the guest looks it up, and only on the ports it was named with; none before.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use cap_std::ambient_authority;
use cap_std::net::Pool;
use ipnet::IpNet;

/// The most addresses that names of a guest's are remembered to have.
const MAX_FOUND: usize = 4096;

/// Peers, or addresses of this host: some hosts and some ports of theirs. It is written as `HOST:PORT`, where the host is an
/// address (`10.0.0.7`, `[::1]`), a network (`10.0.0.0/8`, `[fe80::/10]`), a name (`example.com`) or `*` for all of them, and
/// the port a number, a range (`8000-8080`), or `*` for all of them.
///
/// ```
/// use tiered_wasi::Peers;
///
/// for peers in ["127.0.0.1:8080", "10.0.0.0/8:*", "[::1]:8000-8080", "example.com:443", "*:53"] {
///     assert_eq!(peers.parse::<Peers>()?.to_string(), peers);
/// }
/// assert!("example.com".parse::<Peers>().is_err());
/// # Ok::<(), tiered_wasi::PeersError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    host: Host,
    ports: RangeInclusive<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Net(IpNet),
    Name(String),
}

/// Why a text names no peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    /// There is no port.
    #[error("{0:?} names no port: write HOST:PORT, or HOST:* for all ports")]
    NoPort(String),
    /// The port is none.
    #[error("{0:?} is no port, range of ports, or `*`")]
    Port(String),
    /// The host is none.
    #[error("{0:?} is no address, network, name, or `*`")]
    Host(String),
}

impl Peers {
    /// All peers on all ports.
    #[must_use]
    pub fn any() -> Self {
        Self {
            host: Host::Any,
            ports: 0..=u16::MAX,
        }
    }

    /// Whether they are given by a name, which has to be looked up.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.name().is_some()
    }

    /// The name, if it is one and no address.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Any | Host::Net(_) => None,
        }
    }
}

impl From<SocketAddr> for Peers {
    fn from(addr: SocketAddr) -> Self {
        Self {
            host: Host::Net(addr.ip().into()),
            ports: addr.port()..=addr.port(),
        }
    }
}

impl FromStr for Peers {
    type Err = PeersError;

    fn from_str(text: &str) -> Result<Self, PeersError> {
        let no_port = || PeersError::NoPort(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
        let bad_port = || PeersError::Port(port.to_owned());
        let number = |text: &str| text.parse::<u16>().map_err(|_| bad_port());
        let ports = match port.split_once('-') {
            None if port == "*" => 0..=u16::MAX,
            None => number(port)?..=number(port)?,
            Some((first, last)) => number(first)?..=number(last)?,
        };
        if ports.is_empty() {
            return Err(bad_port());
        }
        let bad_host = || PeersError::Host(host.to_owned());
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let net = |text: &str| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| text.parse::<IpNet>()).ok()
        };
        let host = match (host, bare) {
            ("*", _) => Host::Any,
            (_, Some(bare)) => net(bare)
                .filter(|net| net.addr().is_ipv6())
                .map(Host::Net)
                .ok_or_else(bad_host)?,
            _ if host.contains(':') => return Err(bad_host()),
            _ => match net(host) {
                Some(net) => Host::Net(net),
                None if is_name(host) => Host::Name(host.to_ascii_lowercase()),
                None => return Err(bad_host()),
            },
        };
        Ok(Self { host, ports })
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Net(net) => {
                let is_one = net.prefix_len() == net.max_prefix_len();
                let text = match is_one {
                    true => net.addr().to_string(),
                    false => net.to_string(),
                };
                match net {
                    IpNet::V4(_) => f.write_str(&text)?,
                    IpNet::V6(_) => write!(f, "[{text}]")?,
                }
            }
        }
        match (*self.ports.start(), *self.ports.end()) {
            (0, u16::MAX) => f.write_str(":*"),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

/// Whether a text can be the name of a host: letters, digits, hyphens and dots, up to what a resolver takes.
pub(crate) fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(is_label)
}

/// All that a guest is granted of the network.
#[derive(Clone, Default)]
pub(crate) struct NetGrants {
    connect: Pool,
    listen: Pool,
    /// Names, each with the ports of what it is found to be.
    names: Vec<(String, RangeInclusive<u16>)>,
    /// Names that may be looked up: themselves, all below one (`*.example.com`), or all (`*`).
    resolve: Vec<String>,
    /// What names were found to be.
    found: Vec<(IpAddr, RangeInclusive<u16>)>,
    may_connect: bool,
    may_listen: bool,
    /// Requests of HTTP's may go anywhere.
    #[cfg(feature = "http")]
    http: bool,
}

impl fmt::Debug for NetGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetGrants")
            .field("names", &self.names)
            .field("resolve", &self.resolve)
            .finish_non_exhaustive()
    }
}

/// Adds hosts and ports to a pool.
fn insert(pool: &mut Pool, peers: &Peers) {
    let nets = match &peers.host {
        Host::Any => vec![
            IpNet::from_str("0.0.0.0/0").expect("a network"),
            IpNet::from_str("::/0").expect("a network"),
        ],
        Host::Net(net) => vec![*net],
        Host::Name(_) => vec![],
    };
    // The end is exclusive, and absent for the last port.
    let (first, end) = (*peers.ports.start(), peers.ports.end().checked_add(1));
    for net in nets {
        pool.insert_ip_net_port_range(net, first, end, ambient_authority());
    }
}

impl NetGrants {
    /// Grants connecting and sending to peers; a name also grants looking it up.
    pub(crate) fn allow_connect(&mut self, peers: Peers) {
        self.may_connect = true;
        insert(&mut self.connect, &peers);
        if let Host::Name(name) = peers.host {
            self.resolve.push(name.clone());
            self.names.push((name, peers.ports));
        }
    }

    /// Grants binding to addresses of this host, and receiving there from anyone.
    pub(crate) fn allow_listen(&mut self, addresses: &Peers) {
        self.may_listen = true;
        insert(&mut self.listen, addresses);
    }

    /// Grants looking up a name, all names below one (`*.example.com`), or all (`*`).
    pub(crate) fn allow_resolve(&mut self, name: &str) {
        self.resolve.push(name.to_ascii_lowercase());
    }

    /// Grants requests by HTTP to all servers, and nothing else.
    #[cfg(feature = "http")]
    pub(crate) fn allow_http(&mut self) {
        self.http = true;
    }

    /// Whether any request by HTTP could be granted.
    #[cfg(feature = "http")]
    pub(crate) fn may_request_anything(&self) -> bool {
        self.http || self.may_connect
    }

    /// Whether a server's name may be looked up for a request.
    #[cfg(feature = "http")]
    pub(crate) fn may_request_name(&self, host: &str) -> bool {
        self.http || self.may_resolve(host)
    }

    /// Whether a request to a server of that name may be made at `address`, which the name has been found to have now.
    #[cfg(feature = "http")]
    pub(crate) fn may_request(&self, host: &str, address: SocketAddr) -> bool {
        let is_named = |(name, ports): &(String, RangeInclusive<u16>)| {
            name.strip_suffix('.').unwrap_or(name) == host && ports.contains(&address.port())
        };
        self.http || self.names.iter().any(is_named) || self.may_connect_to(address)
    }

    /// Whether a socket could be of any use.
    pub(crate) fn may_have_sockets(&self) -> bool {
        self.may_connect || self.may_listen
    }

    /// Whether the guest may connect or send to `peer`.
    pub(crate) fn may_connect_to(&self, peer: SocketAddr) -> bool {
        let is_found = |(address, ports): &(IpAddr, RangeInclusive<u16>)| {
            *address == peer.ip() && ports.contains(&peer.port())
        };
        self.connect._pool().check_addr(&peer).is_ok() || self.found.iter().any(is_found)
    }

    /// Whether the guest may receive from anyone at `address`.
    pub(crate) fn may_listen_on(&self, address: SocketAddr) -> bool {
        self.listen._pool().check_addr(&address).is_ok()
    }

    /// Whether the guest may bind to `address`: to listen there, or, if the host picks the port, to talk to its peers.
    pub(crate) fn may_bind_to(&self, address: SocketAddr) -> bool {
        self.may_listen_on(address) || (address.port() == 0 && self.may_connect)
    }

    /// Whether the guest may look up `name`.
    pub(crate) fn may_resolve(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.resolve.iter().any(|granted| {
            match granted.strip_prefix('*') {
                Some("") => true,
                // What follows is a dot and the name above.
                Some(above) => name.len() > above.len() && name.ends_with(above),
                None => name == granted.strip_suffix('.').unwrap_or(granted),
            }
        })
    }

    /// Takes note of what a name was found to be: its grants are for these addresses.
    pub(crate) fn found(&mut self, name: &str, addresses: &[IpAddr]) {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        for (_, ports) in self.names.iter().filter(|(granted, _)| *granted == name) {
            for &address in addresses {
                let found = (address, ports.clone());
                if self.found.len() < MAX_FOUND && !self.found.contains(&found) {
                    self.found.push(found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(text: &str) -> Peers {
        text.parse().unwrap()
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn texts_that_name_no_peers_say_why() {
        let error = |text: &str| text.parse::<Peers>().unwrap_err();
        assert_eq!(error("host"), PeersError::NoPort("host".into()));
        assert_eq!(error("host:x"), PeersError::Port("x".into()));
        assert_eq!(error("host:70000"), PeersError::Port("70000".into()));
        assert_eq!(error("host:9-8"), PeersError::Port("9-8".into()));
        assert_eq!(error("::1:80"), PeersError::Host("::1".into()));
        assert_eq!(error("[1.2.3.4]:80"), PeersError::Host("[1.2.3.4]".into()));
        assert_eq!(error("a b:80"), PeersError::Host("a b".into()));
        assert_eq!(error(":80"), PeersError::Host(String::new()));
    }

    #[test]
    fn nothing_is_granted_that_was_not_named() {
        let grants = NetGrants::default();
        assert!(!grants.may_have_sockets());
        assert!(!grants.may_connect_to(addr("127.0.0.1:80")));
        assert!(!grants.may_bind_to(addr("127.0.0.1:0")));
        assert!(!grants.may_listen_on(addr("[::]:80")));
        assert!(!grants.may_resolve("localhost"));
    }

    #[test]
    fn addresses_and_ports_are_granted_together() {
        let mut grants = NetGrants::default();
        grants.allow_connect(peers("10.0.0.0/8:80-81"));
        grants.allow_listen(&peers("127.0.0.1:65535"));
        assert!(grants.may_connect_to(addr("10.9.9.9:81")));
        assert!(!grants.may_connect_to(addr("10.9.9.9:82")));
        assert!(!grants.may_connect_to(addr("11.0.0.1:80")));
        assert!(grants.may_listen_on(addr("127.0.0.1:65535")));
        assert!(!grants.may_listen_on(addr("127.0.0.1:65534")));
        assert!(!grants.may_listen_on(addr("0.0.0.0:65535")));
        assert!(
            grants.may_bind_to(addr("0.0.0.0:0")),
            "a port for its peers"
        );
        assert!(!grants.may_listen_on(addr("0.0.0.0:0")));
    }

    #[test]
    fn all_peers_are_of_both_families() {
        let mut grants = NetGrants::default();
        grants.allow_connect(Peers::any());
        assert!(grants.may_connect_to(addr("8.8.8.8:65535")));
        assert!(grants.may_connect_to(addr("[2001:db8::1]:1")));
    }

    #[test]
    fn a_name_grants_what_it_is_found_to_be() {
        let mut grants = NetGrants::default();
        grants.allow_connect(peers("Example.com:443"));
        assert!(grants.may_resolve("example.COM."));
        assert!(!grants.may_resolve("www.example.com"));
        let found = addr("192.0.2.7:443");
        assert!(!grants.may_connect_to(found), "not before it is found");
        grants.found("other.example", &[found.ip()]);
        assert!(!grants.may_connect_to(found), "another's name");
        grants.found("example.com", &[found.ip()]);
        assert!(grants.may_connect_to(found));
        assert!(!grants.may_connect_to(addr("192.0.2.7:80")));
    }

    #[test]
    fn names_below_a_name_can_be_granted() {
        let mut grants = NetGrants::default();
        grants.allow_resolve("*.example.com");
        assert!(grants.may_resolve("a.b.example.com"));
        assert!(!grants.may_resolve("example.com"));
        assert!(!grants.may_resolve("badexample.com"));
        grants.allow_resolve("*");
        assert!(grants.may_resolve("badexample.com"));
    }
}
