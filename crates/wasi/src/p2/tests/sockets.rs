//! Sockets: everything is denied that was not granted; connections and datagrams by the loopback interface; names.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use super::{Guest, RESULT, guest, guest_with};
use crate::net_grants::Peers;

const TCP: &str = "sockets/tcp";
const UDP: &str = "sockets/udp";

/// Cases of `error-code`.
const ACCESS_DENIED: u8 = 1;
const INVALID_ARGUMENT: u8 = 3;
const CONCURRENCY_CONFLICT: u8 = 6;
const NOT_IN_PROGRESS: u8 = 7;
const WOULD_BLOCK: u8 = 8;
const INVALID_STATE: u8 = 9;
const NEW_SOCKET_LIMIT: u8 = 10;
const CONNECTION_REFUSED: u8 = 14;
const NAME_UNRESOLVABLE: u8 = 18;

/// An address as flat values.
fn flat(address: SocketAddr) -> Vec<u64> {
    let mut values: Vec<u64> = Vec::new();
    match address {
        SocketAddr::V4(v4) => {
            values.extend([0, v4.port().into()]);
            values.extend(v4.ip().octets().map(u64::from));
        }
        SocketAddr::V6(v6) => {
            values.extend([1, v6.port().into(), v6.flowinfo().into()]);
            values.extend(v6.ip().segments().map(u64::from));
            values.push(v6.scope_id().into());
        }
    }
    values.resize(12, 0);
    values
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Guest {
    fn network(&mut self) -> u64 {
        self.ok("sockets/instance-network", "instance-network", &[])
    }

    fn socket(&mut self, kind: &str, family: u64) -> Result<u64, u8> {
        let interface = format!("sockets/{kind}-create-socket");
        self.ok(&interface, &format!("create-{kind}-socket"), &[family]);
        let made = self.outcome(4)?;
        Ok(self.u32_at(made).into())
    }

    fn tcp(&mut self, name: &str, args: &[u64], align: u32) -> Result<u32, u8> {
        self.ok(TCP, &format!("[method]tcp-socket.{name}"), args);
        self.outcome(align)
    }

    /// `start-bind` or `start-connect`.
    fn start(
        &mut self,
        kind: &str,
        name: &str,
        socket: u64,
        address: SocketAddr,
    ) -> Result<(), u8> {
        let network = self.network();
        let args = [&[socket, network][..], &flat(address)[..]].concat();
        let interface = format!("sockets/{kind}");
        self.ok(&interface, &format!("[method]{kind}-socket.{name}"), &args);
        self.outcome(1).map(drop)
    }

    fn bind(&mut self, kind: &str, socket: u64, address: SocketAddr) -> Result<(), u8> {
        self.start(kind, "start-bind", socket, address)?;
        let interface = format!("sockets/{kind}");
        self.ok(
            &interface,
            &format!("[method]{kind}-socket.finish-bind"),
            &[socket],
        );
        self.outcome(1).map(drop)
    }

    /// The address that lies at `at`.
    fn address_at(&self, at: u32) -> SocketAddr {
        let bytes = self.memory[at as usize..][..32].try_into().unwrap();
        crate::component::network::address_in(bytes).unwrap()
    }

    fn local(&mut self, kind: &str, socket: u64) -> Result<SocketAddr, u8> {
        let interface = format!("sockets/{kind}");
        self.ok(
            &interface,
            &format!("[method]{kind}-socket.local-address"),
            &[socket],
        );
        self.outcome(4).map(|at| self.address_at(at))
    }

    /// Waits for a resource.
    fn wait(&mut self, interface: &str, kind: &str, resource: u64) {
        let subscribe = format!("[method]{kind}.subscribe");
        let pollable = self.ok(interface, &subscribe, &[resource]);
        self.ok("io/poll", "[method]pollable.block", &[pollable]);
        self.drop_handle(pollable).unwrap();
    }

    /// Connects, and gives the streams.
    fn connect(&mut self, socket: u64, peer: SocketAddr) -> Result<(u64, u64), u8> {
        self.start("tcp", "start-connect", socket, peer)?;
        self.wait(TCP, "tcp-socket", socket);
        let streams = self.tcp("finish-connect", &[socket], 4)?;
        Ok((self.u32_at(streams).into(), self.u32_at(streams + 4).into()))
    }

    fn send_all(&mut self, output: u64, bytes: &[u8]) {
        let [at, len] = self.put(bytes);
        let name = "[method]output-stream.blocking-write-and-flush";
        self.ok("io/streams", name, &[output, at, len]);
        assert_eq!(self.outcome(4), Ok(RESULT + 4));
    }

    fn receive(&mut self, input: u64) -> Result<Vec<u8>, u8> {
        let name = "[method]input-stream.blocking-read";
        self.ok("io/streams", name, &[input, 100]);
        self.outcome(4).map(|at| self.list_at(at))
    }
}

#[test]
fn everything_is_denied_unless_it_was_granted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let mut guest = guest();
    for kind in ["tcp", "udp"] {
        assert_eq!(guest.socket(kind, 0), Err(ACCESS_DENIED), "{kind}");
    }
    let elsewhere: Peers = "192.0.2.1:80".parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_listen(elsewhere));
    for kind in ["tcp", "udp"] {
        let socket = guest.socket(kind, 0).unwrap();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "127.0.0.1:80", "192.0.2.1:0"] {
            let bound = guest.bind(kind, socket, addr(address));
            assert_eq!(bound, Err(ACCESS_DENIED), "{kind} {address}");
        }
        assert_eq!(guest.local(kind, socket), Err(INVALID_STATE));
    }
    let socket = guest.socket("tcp", 0).unwrap();
    assert_eq!(guest.connect(socket, peer), Err(ACCESS_DENIED));
    let network = guest.network();
    let [at, len] = guest.put(b"localhost");
    guest.ok(
        "sockets/ip-name-lookup",
        "resolve-addresses",
        &[network, at, len],
    );
    assert_eq!(guest.outcome(4), Err(ACCESS_DENIED));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "there was no connection");
}

#[test]
fn a_granted_peer_is_talked_to_and_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(peer));
    let other = guest.socket("tcp", 0).unwrap();
    let mut next = peer;
    next.set_port(peer.port() ^ 1);
    assert_eq!(guest.connect(other, next), Err(ACCESS_DENIED));
    let socket = guest.socket("tcp", 0).unwrap();
    assert_eq!(
        guest.tcp("remote-address", &[socket], 4),
        Err(INVALID_STATE)
    );
    let (input, output) = guest.connect(socket, peer).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let remote = guest.tcp("remote-address", &[socket], 4).unwrap();
    assert_eq!(guest.address_at(remote), peer);
    assert_eq!(
        guest.local("tcp", socket),
        Ok(accepted.peer_addr().unwrap())
    );
    guest.send_all(output, b"ping");
    let mut bytes = [0; 4];
    accepted.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
    let read = "[method]input-stream.read";
    guest.ok("io/streams", read, &[input, 10]);
    assert_eq!(
        guest.outcome(4).map(|at| guest.list_at(at)),
        Ok(vec![]),
        "not yet"
    );
    accepted.write_all(b"pong").unwrap();
    assert_eq!(guest.receive(input), Ok(b"pong".into()));
    guest.tcp("shutdown", &[socket, 1], 1).unwrap();
    assert_eq!(accepted.read(&mut bytes).unwrap(), 0, "the guest has ended");
    guest.ok("io/streams", "[method]output-stream.check-write", &[output]);
    assert_eq!(guest.outcome(8), Err(1), "closed");
    guest.tcp("shutdown", &[socket, 2], 1).unwrap();
    assert_eq!(guest.receive(input), Err(1));
    let kept = guest.handles[socket as usize];
    let early = guest.drop_handle(socket).unwrap_err().to_string();
    assert!(
        early.contains("`tcp-socket` is dropped before 2"),
        "{early}"
    );
    guest.handles[socket as usize] = kept;
    for handle in [input, output, socket] {
        guest.drop_handle(handle).unwrap();
    }
}

#[test]
fn a_connection_takes_what_it_can_and_keeps_the_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(peer));
    let socket = guest.socket("tcp", 0).unwrap();
    let (_, output) = guest.connect(socket, peer).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let mut sent = 0;
    loop {
        guest.ok("io/streams", "[method]output-stream.check-write", &[output]);
        let permit = guest.outcome(8).map(|at| guest.u64_at(at)).unwrap();
        if permit == 0 {
            break;
        }
        guest.ok(
            "io/streams",
            "[method]output-stream.write-zeroes",
            &[output, permit],
        );
        assert_eq!(guest.outcome(4), Ok(RESULT + 4));
        sent += permit as usize;
    }
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        accepted.read_to_end(&mut all).unwrap();
        all.len()
    });
    guest.wait("io/streams", "output-stream", output);
    // What is kept goes out before the connection ends.
    guest.tcp("shutdown", &[socket, 1], 1).unwrap();
    assert_eq!(reader.join().unwrap(), sent);
}

#[test]
fn what_a_connection_keeps_goes_out_while_the_guest_waits_for_something_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(peer));
    for reads in [false, true] {
        let socket = guest.socket("tcp", 0).unwrap();
        let (input, output) = guest.connect(socket, peer).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let mut sent = 0;
        loop {
            guest.ok("io/streams", "[method]output-stream.check-write", &[output]);
            let permit = guest.outcome(8).map(|at| guest.u64_at(at)).unwrap();
            if permit == 0 {
                break;
            }
            guest.ok(
                "io/streams",
                "[method]output-stream.write-zeroes",
                &[output, permit],
            );
            sent += permit;
        }
        let other_end = std::thread::spawn(move || {
            let mut all = Read::by_ref(&mut accepted).take(sent);
            std::io::copy(&mut all, &mut std::io::sink()).unwrap();
            accepted.write_all(b"done").unwrap();
        });
        if !reads {
            let name = "subscribe-duration";
            let late = guest.ok("clocks/monotonic-clock", name, &[20_000_000_000]);
            let subscribe = "[method]input-stream.subscribe";
            let input = guest.ok("io/streams", subscribe, &[input]);
            let handles = [input as u32, late as u32].map(u32::to_le_bytes).concat();
            let [at, _] = guest.put(&handles);
            guest.ok("io/poll", "poll", &[at, 2]);
            let first = guest.u32_at(RESULT);
            assert_eq!(guest.u32_at(first), 0, "the other end has got everything");
        }
        assert_eq!(guest.receive(input), Ok(b"done".into()));
        other_end.join().unwrap();
    }
}

#[test]
fn nobody_there_is_refused() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = free.local_addr().unwrap();
    drop(free);
    let mut guest = guest_with(|builder| builder.allow_connect(peer));
    let socket = guest.socket("tcp", 0).unwrap();
    assert_eq!(guest.connect(socket, peer), Err(CONNECTION_REFUSED));
    assert_eq!(
        guest.connect(socket, peer),
        Err(INVALID_STATE),
        "a socket connects once"
    );
}

#[test]
fn a_listener_accepts() {
    let any: Peers = "127.0.0.1:0".parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_listen(any));
    let listener = guest.socket("tcp", 0).unwrap();
    assert_eq!(
        guest.tcp("start-listen", &[listener], 1),
        Err(INVALID_STATE)
    );
    assert_eq!(
        guest.tcp("finish-bind", &[listener], 1),
        Err(NOT_IN_PROGRESS)
    );
    guest
        .start("tcp", "start-bind", listener, addr("127.0.0.1:0"))
        .unwrap();
    let again = guest.start("tcp", "start-bind", listener, addr("127.0.0.1:0"));
    assert_eq!(again, Err(CONCURRENCY_CONFLICT));
    guest.tcp("finish-bind", &[listener], 1).unwrap();
    assert_eq!(guest.tcp("accept", &[listener], 4), Err(INVALID_STATE));
    guest
        .tcp("set-listen-backlog-size", &[listener, 3], 1)
        .unwrap();
    let name = "set-listen-backlog-size";
    assert_eq!(guest.tcp(name, &[listener, 0], 1), Err(INVALID_ARGUMENT));
    guest.tcp("start-listen", &[listener], 1).unwrap();
    guest.tcp("finish-listen", &[listener], 1).unwrap();
    let is_listening = "[method]tcp-socket.is-listening";
    assert_eq!(guest.ok(TCP, is_listening, &[listener]), 1);
    assert_eq!(guest.tcp("accept", &[listener], 4), Err(WOULD_BLOCK));
    let address = guest.local("tcp", listener).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    guest.wait(TCP, "tcp-socket", listener);
    let accepted = guest.tcp("accept", &[listener], 4).unwrap();
    let [socket, input, output] =
        [0, 4, 8].map(|offset| u64::from(guest.u32_at(accepted + offset)));
    client.write_all(b"hello").unwrap();
    assert_eq!(guest.receive(input), Ok(b"hello".into()));
    guest.send_all(output, b"bye");
    let remote = guest.tcp("remote-address", &[socket], 4).unwrap();
    assert_eq!(guest.address_at(remote), client.local_addr().unwrap());
    for handle in [output, input, socket, listener] {
        guest.drop_handle(handle).unwrap();
    }
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bye");
}

#[test]
fn who_may_only_connect_does_not_listen() {
    let peers: Peers = "192.0.2.1:80".parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(peers));
    let socket = guest.socket("tcp", 0).unwrap();
    guest.bind("tcp", socket, addr("127.0.0.1:0")).unwrap();
    assert_eq!(guest.tcp("start-listen", &[socket], 1), Err(ACCESS_DENIED));
}

#[test]
fn addresses_that_are_none_of_a_peer_are_refused() {
    let mut guest = guest_with(|builder| {
        builder
            .allow_connect(Peers::any())
            .allow_listen(Peers::any())
    });
    let (v4, v6) = (
        guest.socket("tcp", 0).unwrap(),
        guest.socket("tcp", 1).unwrap(),
    );
    for (socket, peer) in [
        (v4, "0.0.0.0:80"),
        (v4, "127.0.0.1:0"),
        (v4, "224.0.0.1:80"),
        (v4, "255.255.255.255:80"),
        (v4, "[::1]:80"),
        (v6, "127.0.0.1:80"),
        (v6, "[::ffff:127.0.0.1]:80"),
        (v6, "[ff02::1]:80"),
    ] {
        assert_eq!(
            guest.connect(socket, addr(peer)),
            Err(INVALID_ARGUMENT),
            "{peer}"
        );
    }
    for (socket, address) in [
        (v4, "[::1]:0"),
        (v6, "[::ffff:127.0.0.1]:0"),
        (v4, "224.0.0.1:0"),
    ] {
        let bound = guest.bind("tcp", socket, addr(address));
        assert_eq!(bound, Err(INVALID_ARGUMENT), "{address}");
    }
    let family = "[method]tcp-socket.address-family";
    assert_eq!(
        (guest.ok(TCP, family, &[v4]), guest.ok(TCP, family, &[v6])),
        (0, 1)
    );
}

#[test]
fn options_are_kept() {
    let mut guest = guest_with(|builder| builder.allow_connect(Peers::any()));
    let socket = guest.socket("tcp", 0).unwrap();
    guest
        .tcp("set-keep-alive-enabled", &[socket, 1], 1)
        .unwrap();
    let enabled = guest.tcp("keep-alive-enabled", &[socket], 1).unwrap();
    assert_eq!(guest.u8_at(enabled), 1);
    for name in ["keep-alive-idle-time", "keep-alive-interval"] {
        let set = format!("set-{name}");
        for (asked, given) in [(1, 1), (5_000_000_000, 5), (u64::MAX, 32_767)] {
            guest.tcp(&set, &[socket, asked], 1).unwrap();
            let time = guest.tcp(name, &[socket], 8).unwrap();
            assert_eq!(guest.u64_at(time), given * 1_000_000_000, "{name}");
        }
        assert_eq!(guest.tcp(&set, &[socket, 0], 1), Err(INVALID_ARGUMENT));
    }
    guest
        .tcp("set-keep-alive-count", &[socket, 1000], 1)
        .unwrap();
    let count = guest.tcp("keep-alive-count", &[socket], 4).unwrap();
    assert_eq!(guest.u32_at(count), 127);
    assert_eq!(
        guest.tcp("set-hop-limit", &[socket, 0], 1),
        Err(INVALID_ARGUMENT)
    );
    for (kind, family, prefix) in [
        ("tcp", 0, ""),
        ("tcp", 1, ""),
        ("udp", 0, "unicast-"),
        ("udp", 1, "unicast-"),
    ] {
        let socket = guest.socket(kind, family).unwrap();
        let interface = format!("sockets/{kind}");
        let name = |name: &str| format!("[method]{kind}-socket.{name}");
        guest.ok(
            &interface,
            &name(&format!("set-{prefix}hop-limit")),
            &[socket, 42],
        );
        assert_eq!(guest.outcome(1), Ok(RESULT + 1));
        guest.ok(&interface, &name(&format!("{prefix}hop-limit")), &[socket]);
        assert_eq!(guest.outcome(1).map(|at| guest.u8_at(at)), Ok(42));
        for buffer in ["receive", "send"] {
            let set = name(&format!("set-{buffer}-buffer-size"));
            guest.ok(&interface, &set, &[socket, 0]);
            assert_eq!(guest.outcome(1), Err(INVALID_ARGUMENT));
            guest.ok(&interface, &set, &[socket, 10_000]);
            assert_eq!(guest.outcome(1), Ok(RESULT + 1));
            guest.ok(
                &interface,
                &name(&format!("{buffer}-buffer-size")),
                &[socket],
            );
            assert_eq!(guest.outcome(8).map(|at| guest.u64_at(at)), Ok(10_000));
            guest.ok(&interface, &set, &[socket, u64::MAX]);
            assert_eq!(guest.outcome(1), Ok(RESULT + 1));
        }
    }
}

#[test]
fn sockets_are_descriptors_of_the_host_s() {
    let mut guest = guest_with(|builder| builder.allow_connect(Peers::any()).max_open_fds(5));
    let first = guest.socket("tcp", 0).unwrap();
    for kind in ["tcp", "udp"] {
        assert_eq!(guest.socket(kind, 0), Err(NEW_SOCKET_LIMIT));
    }
    guest.drop_handle(first).unwrap();
    guest.socket("udp", 0).unwrap();
}

/// The streams of a bound socket, tied to a peer or not.
fn datagrams(guest: &mut Guest, socket: u64, peer: Option<SocketAddr>) -> Result<(u64, u64), u8> {
    let mut args = vec![socket, peer.is_some().into()];
    args.extend(peer.map_or(vec![0; 12], flat));
    guest.ok(UDP, "[method]udp-socket.stream", &args);
    let streams = guest.outcome(4)?;
    Ok((
        guest.u32_at(streams).into(),
        guest.u32_at(streams + 4).into(),
    ))
}

/// Sends one datagram.
fn send(guest: &mut Guest, stream: u64, bytes: &[u8], peer: Option<SocketAddr>) -> Result<u64, u8> {
    guest.ok(
        UDP,
        "[method]outgoing-datagram-stream.check-send",
        &[stream],
    );
    let permit = guest.outcome(8)?;
    assert_eq!(guest.u64_at(permit), 16);
    let [at, len] = guest.put(bytes);
    let mut datagram = [0; 44];
    datagram[0..4].copy_from_slice(&(at as u32).to_le_bytes());
    datagram[4..8].copy_from_slice(&(len as u32).to_le_bytes());
    if let Some(SocketAddr::V4(v4)) = peer {
        datagram[8] = 1;
        datagram[16..18].copy_from_slice(&v4.port().to_le_bytes());
        datagram[18..22].copy_from_slice(&v4.ip().octets());
    }
    let [at, _] = guest.put(&datagram);
    guest.ok(
        UDP,
        "[method]outgoing-datagram-stream.send",
        &[stream, at, 1],
    );
    guest.outcome(8).map(|at| guest.u64_at(at))
}

/// Receives up to `most` datagrams, with where each is from.
fn receive(guest: &mut Guest, stream: u64, most: u64) -> Vec<(Vec<u8>, SocketAddr)> {
    guest.ok(
        UDP,
        "[method]incoming-datagram-stream.receive",
        &[stream, most],
    );
    let list = guest.outcome(4).unwrap();
    let (at, count) = (guest.u32_at(list), guest.u32_at(list + 4));
    (0..count)
        .map(|index| at + 40 * index)
        .map(|at| (guest.list_at(at), guest.address_at(at + 8)))
        .collect()
}

#[test]
fn datagrams_go_to_peers_and_come_from_them() {
    let (peer, stranger) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let (to, foreign) = (peer.local_addr().unwrap(), stranger.local_addr().unwrap());
    let mut guest = guest_with(|builder| builder.allow_connect(to));
    let socket = guest.socket("udp", 0).unwrap();
    assert_eq!(datagrams(&mut guest, socket, None), Err(INVALID_STATE));
    guest.bind("udp", socket, addr("127.0.0.1:0")).unwrap();
    let own = guest.local("udp", socket).unwrap();
    assert_eq!(
        datagrams(&mut guest, socket, Some(foreign)),
        Err(ACCESS_DENIED)
    );
    let (incoming, outgoing) = datagrams(&mut guest, socket, None).unwrap();
    assert_eq!(
        send(&mut guest, outgoing, b"a", None),
        Err(INVALID_ARGUMENT)
    );
    assert_eq!(
        send(&mut guest, outgoing, b"a", Some(foreign)),
        Err(ACCESS_DENIED)
    );
    assert_eq!(send(&mut guest, outgoing, b"ping", Some(to)), Ok(1));
    let mut bytes = [0; 10];
    assert_eq!(peer.recv_from(&mut bytes).unwrap(), (4, own));
    assert!(receive(&mut guest, incoming, 10).is_empty());
    stranger.send_to(b"intruder", own).unwrap();
    peer.send_to(b"pong", own).unwrap();
    peer.send_to(b"", own).unwrap();
    let mut all = Vec::new();
    while all.len() < 2 {
        guest.wait(UDP, "incoming-datagram-stream", incoming);
        all.extend(receive(&mut guest, incoming, 10));
    }
    assert_eq!(all, [(b"pong".to_vec(), to), (vec![], to)]);
    for handle in [incoming, outgoing] {
        guest.drop_handle(handle).unwrap();
    }
    // Tied to the peer, it needs no address.
    let (_, outgoing) = datagrams(&mut guest, socket, Some(to)).unwrap();
    assert_eq!(
        send(&mut guest, outgoing, b"a", Some(foreign)),
        Err(INVALID_ARGUMENT)
    );
    assert_eq!(send(&mut guest, outgoing, b"ping", None), Ok(1));
    assert_eq!(peer.recv_from(&mut bytes).unwrap(), (4, own));
    guest.ok(UDP, "[method]udp-socket.remote-address", &[socket]);
    assert_eq!(guest.outcome(4).map(|at| guest.address_at(at)), Ok(to));
}

#[test]
fn a_socket_that_is_untied_keeps_its_port() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let everywhere: Peers = "127.0.0.1:*".parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(everywhere));
    let udp = guest.socket("udp", 0).unwrap();
    guest.bind("udp", udp, addr("127.0.0.1:0")).unwrap();
    let address = guest.local("udp", udp).unwrap();
    let tied = datagrams(&mut guest, udp, Some(peer.local_addr().unwrap())).unwrap();
    guest.drop_handle(tied.0).unwrap();
    guest.drop_handle(tied.1).unwrap();
    datagrams(&mut guest, udp, None).unwrap();
    assert_eq!(guest.local("udp", udp), Ok(address));
}

#[test]
fn who_may_listen_hears_anyone() {
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let any: Peers = "127.0.0.1:0".parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_listen(any));
    let socket = guest.socket("udp", 0).unwrap();
    guest.bind("udp", socket, addr("127.0.0.1:0")).unwrap();
    let own = guest.local("udp", socket).unwrap();
    let (incoming, outgoing) = datagrams(&mut guest, socket, None).unwrap();
    stranger.send_to(b"hello", own).unwrap();
    guest.wait(UDP, "incoming-datagram-stream", incoming);
    let from = stranger.local_addr().unwrap();
    assert_eq!(
        receive(&mut guest, incoming, 1),
        [(b"hello".to_vec(), from)]
    );
    assert_eq!(
        send(&mut guest, outgoing, b"a", Some(from)),
        Err(ACCESS_DENIED)
    );
}

#[test]
fn more_datagrams_than_permitted_are_a_trap() {
    let mut guest = guest_with(|builder| builder.allow_listen(Peers::any()));
    let socket = guest.socket("udp", 0).unwrap();
    guest.bind("udp", socket, addr("127.0.0.1:0")).unwrap();
    let (_, outgoing) = datagrams(&mut guest, socket, None).unwrap();
    let name = "[method]outgoing-datagram-stream.send";
    let trap = guest.trap(UDP, name, &[outgoing, 0, 1]);
    assert!(trap.contains("permits 0"), "{trap}");
    guest.ok(UDP, name, &[outgoing, 0, 0]);
    assert_eq!(guest.outcome(8).map(|at| guest.u64_at(at)), Ok(0));
}

/// Looks a name up, and waits for the answer.
fn resolve(guest: &mut Guest, name: &str) -> Result<Vec<(u8, [u8; 16])>, u8> {
    const LOOKUP: &str = "sockets/ip-name-lookup";
    let network = guest.network();
    let [at, len] = guest.put(name.as_bytes());
    guest.ok(LOOKUP, "resolve-addresses", &[network, at, len]);
    let stream = guest.outcome(4)?;
    let stream = guest.u32_at(stream).into();
    guest.wait(LOOKUP, "resolve-address-stream", stream);
    let mut found = Vec::new();
    loop {
        let next = "[method]resolve-address-stream.resolve-next-address";
        guest.ok(LOOKUP, next, &[stream]);
        let next = guest.outcome(2)?;
        if guest.u8_at(next) == 0 {
            return Ok(found);
        }
        let address = guest.memory[next as usize + 4..][..16].try_into().unwrap();
        found.push((guest.u8_at(next + 2), address));
    }
}

#[test]
fn addresses_are_no_question_to_anybody() {
    let mut guest = guest();
    let mut expected = [0; 16];
    expected[..4].copy_from_slice(&[192, 0, 2, 1]);
    let found = resolve(&mut guest, "192.0.2.1").unwrap();
    assert_eq!((found[0].0, &found[0].1[..4]), (0, &expected[..4]));
    let found = resolve(&mut guest, "::1").unwrap();
    expected = [0; 16];
    expected[14] = 1;
    assert_eq!(found, [(1, expected)]);
    for name in ["", "a b", "-a", "ä.example", &"a".repeat(300)] {
        assert_eq!(resolve(&mut guest, name), Err(INVALID_ARGUMENT), "{name}");
    }
}

#[test]
fn a_granted_name_leads_to_its_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let peers: Peers = format!("localhost:{}", peer.port()).parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(peers));
    let early = guest.socket("tcp", 0).unwrap();
    assert_eq!(
        guest.connect(early, peer),
        Err(ACCESS_DENIED),
        "it is not known yet"
    );
    let found = resolve(&mut guest, "localhost").unwrap();
    let mut loopback = [0; 16];
    loopback[..4].copy_from_slice(&[127, 0, 0, 1]);
    let is_known = found
        .iter()
        .any(|(family, address)| *family == 0 && address[..4] == loopback[..4]);
    assert!(is_known, "{found:?}");
    let socket = guest.socket("tcp", 0).unwrap();
    guest.connect(socket, peer).unwrap();
    assert_eq!(resolve(&mut guest, "other.invalid"), Err(ACCESS_DENIED));
}

#[test]
fn a_name_that_is_none_is_not_found() {
    let mut guest = guest_with(|builder| builder.allow_resolve("*.invalid"));
    let found = resolve(&mut guest, "nobody.invalid");
    // Without any resolver it may be found another time.
    let temporary = NAME_UNRESOLVABLE + 1;
    assert!(
        found == Err(NAME_UNRESOLVABLE) || found == Err(temporary),
        "{found:?}"
    );
}
