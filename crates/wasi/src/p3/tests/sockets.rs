//! Sockets: everything is denied that was not granted; connections and datagrams by the loopback interface; names.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use tiered_component::concurrent::Transfer;

use super::{Guest, RESULT, guest, guest_with, stream_and_ending};
use crate::net_grants::Peers;

const TYPES: &str = "sockets/types";

/// Cases of `error-code`.
const ACCESS_DENIED: u8 = 0;
const INVALID_ARGUMENT: u8 = 2;
const INVALID_STATE: u8 = 5;
const CONNECTION_REFUSED: u8 = 9;
const DATAGRAM_TOO_LARGE: u8 = 13;
const OTHER: u8 = 14;

const LOOPBACK: &str = "127.0.0.1:0";

/// An address as flat values.
fn flat(address: SocketAddr) -> Vec<u64> {
    let SocketAddr::V4(v4) = address else {
        panic!("these tests are of IPv4")
    };
    let mut values: Vec<u64> = vec![0, v4.port().into()];
    values.extend(v4.ip().octets().map(u64::from));
    values.resize(12, 0);
    values
}

fn loopback() -> SocketAddr {
    LOOPBACK.parse().unwrap()
}

fn socket(guest: &mut Guest, kind: &str) -> Result<u64, u8> {
    guest.ok(TYPES, &format!("[static]{kind}-socket.create"), &[0]);
    let made = guest.outcome(4)?;
    Ok(guest.u32_at(made).into())
}

/// A method whose result has its payload after `align` bytes.
fn on(guest: &mut Guest, name: &str, args: &[u64], align: u32) -> Result<u32, u8> {
    guest.ok(TYPES, &format!("[method]{name}"), args);
    guest.outcome(align)
}

/// A method that takes an address.
fn with(guest: &mut Guest, name: &str, socket: u64, address: SocketAddr) -> Result<(), u8> {
    let args = [&[socket][..], &flat(address)[..]].concat();
    on(guest, name, &args, 4).map(drop)
}

fn local(guest: &mut Guest, kind: &str, socket: u64) -> Result<SocketAddr, u8> {
    let name = format!("{kind}-socket.get-local-address");
    let at = on(guest, &name, &[socket], 4)?;
    Ok(address_at(guest, at))
}

fn address_at(guest: &Guest, at: u32) -> SocketAddr {
    let bytes = guest.memory[at as usize..][..32].try_into().unwrap();
    crate::component::network::address_in(bytes).unwrap()
}

/// A guest that may do both with the loopback interface.
fn on_loopback() -> Guest {
    let peers: Peers = "127.0.0.1:*".parse().unwrap();
    let addresses = peers.clone();
    guest_with(|builder| builder.allow_connect(peers).allow_listen(addresses))
}

/// A socket that is connected to a peer of the host's.
fn connected(guest: &mut Guest) -> (u64, TcpStream) {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let tcp = socket(guest, "tcp").unwrap();
    let peer = listener.local_addr().unwrap();
    assert_eq!(with(guest, "tcp-socket.connect", tcp, peer), Ok(()));
    (tcp, listener.accept().unwrap().0)
}

fn receive(guest: &mut Guest, tcp: u64) -> (u32, u32) {
    guest.ok(TYPES, "[method]tcp-socket.receive", &[tcp]);
    stream_and_ending(guest)
}

fn send(guest: &mut Guest, tcp: u64, stream: u64) -> u32 {
    guest.ok(TYPES, "[method]tcp-socket.send", &[tcp, stream]) as u32
}

#[test]
fn everything_is_denied_unless_it_was_granted() {
    let mut guest = guest();
    assert_eq!(socket(&mut guest, "tcp"), Err(ACCESS_DENIED));
    assert_eq!(socket(&mut guest, "udp"), Err(ACCESS_DENIED));
    let elsewhere: Peers = "192.0.2.1:80".parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(elsewhere));
    let (tcp, udp) = (
        socket(&mut guest, "tcp").unwrap(),
        socket(&mut guest, "udp").unwrap(),
    );
    let host = TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
    for name in ["tcp-socket.bind", "tcp-socket.connect"] {
        assert_eq!(
            with(&mut guest, name, tcp, host),
            Err(ACCESS_DENIED),
            "{name}"
        );
    }
    assert_eq!(
        on(&mut guest, "tcp-socket.listen", &[tcp], 4),
        Err(ACCESS_DENIED)
    );
    for name in ["udp-socket.bind", "udp-socket.connect"] {
        assert_eq!(
            with(&mut guest, name, udp, host),
            Err(ACCESS_DENIED),
            "{name}"
        );
    }
    assert_eq!(
        send_datagram(&mut guest, udp, b"x", Some(host)),
        Err(ACCESS_DENIED)
    );
}

#[test]
fn a_connection_is_two_streams() {
    let mut guest = on_loopback();
    let (tcp, mut peer) = connected(&mut guest);
    let (stream, ending) = receive(&mut guest, tcp);
    let sent = send(&mut guest, tcp, 40);
    assert_eq!(guest.read_some(stream, 10).unwrap().0, Transfer::Pending);
    peer.write_all(b"hello").unwrap();
    guest.wait_for_source(stream);
    assert_eq!(guest.read_some(stream, 10).unwrap().1, b"hello");
    assert!(guest.write_all(40, b"and back"));
    guest.drop_writable_end(40);
    assert_eq!(guest.ending(sent, 4), Some(Ok(())));
    let mut all = Vec::new();
    peer.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"and back", "and then the end");
    peer.write_all(b"more").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.read_all(stream), b"more");
    assert_eq!(guest.ending(ending, 4), Some(Ok(())));
}

#[test]
fn a_direction_has_one_stream() {
    let mut guest = on_loopback();
    let fresh = socket(&mut guest, "tcp").unwrap();
    let (tcp, _peer) = connected(&mut guest);
    receive(&mut guest, tcp);
    send(&mut guest, tcp, 40);
    for socket in [fresh, tcp] {
        let (stream, ending) = receive(&mut guest, socket);
        assert_eq!(guest.read_all(stream), b"");
        assert_eq!(guest.ending(ending, 4), Some(Err(INVALID_STATE)));
        let sent = send(&mut guest, socket, 41);
        assert_eq!(guest.ending(sent, 4), Some(Err(INVALID_STATE)));
    }
}

#[test]
fn streams_outlive_their_socket() {
    let mut guest = on_loopback();
    let (tcp, mut peer) = connected(&mut guest);
    let (stream, _) = receive(&mut guest, tcp);
    send(&mut guest, tcp, 40);
    guest.drop_handle(tcp).unwrap();
    assert!(guest.write_all(40, b"ping"));
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).unwrap();
    peer.write_all(b"pong").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.read_all(stream), b"pong");
}

#[test]
fn more_than_a_connection_takes_is_waited_for() {
    let mut guest = on_loopback();
    let (tcp, mut peer) = connected(&mut guest);
    send(&mut guest, tcp, 40);
    let bytes = vec![7; 1 << 20];
    let mut sent = 0;
    while let Transfer::Items(count) = guest.write_some(40, &bytes).unwrap() {
        sent += count as usize;
    }
    assert_eq!(guest.write_some(40, b"").unwrap(), Transfer::Pending);
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        all.len()
    });
    assert!(guest.write_all(40, b"the end"));
    guest.drop_writable_end(40);
    assert_eq!(reading.join().unwrap(), sent + 7);
}

#[test]
fn who_stops_receiving_shuts_that_direction_down() {
    let mut guest = on_loopback();
    let (tcp, mut peer) = connected(&mut guest);
    let (stream, ending) = receive(&mut guest, tcp);
    send(&mut guest, tcp, 40);
    guest.drop_readable_end(stream);
    assert_eq!(guest.ending(ending, 4), Some(Ok(())));
    assert!(guest.write_all(40, b"still"));
    let mut bytes = [0; 5];
    peer.read_exact(&mut bytes).unwrap();
}

#[test]
fn a_broken_connection_says_so() {
    let mut guest = on_loopback();
    let (tcp, peer) = connected(&mut guest);
    let sent = send(&mut guest, tcp, 40);
    drop(peer);
    // The first bytes find out, the next ones are told.
    while guest.write_all(40, b"x") {}
    let code = guest.ending(sent, 4).unwrap().unwrap_err();
    assert!(
        code == 10 || code == 11,
        "connection-broken or -reset: {code}"
    );
}

#[test]
fn nobody_there_is_refused() {
    let mut guest = on_loopback();
    let gone = TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let tcp = socket(&mut guest, "tcp").unwrap();
    let connect = "tcp-socket.connect";
    assert_eq!(
        with(&mut guest, connect, tcp, gone),
        Err(CONNECTION_REFUSED)
    );
    assert_eq!(with(&mut guest, connect, tcp, gone), Err(INVALID_STATE));
    assert_eq!(local(&mut guest, "tcp", tcp), Err(INVALID_STATE));
    let fresh = socket(&mut guest, "tcp").unwrap();
    let nowhere = "127.0.0.1:0".parse().unwrap();
    assert_eq!(
        with(&mut guest, connect, fresh, nowhere),
        Err(INVALID_ARGUMENT)
    );
}

#[test]
fn a_listener_is_a_stream_of_sockets() {
    let mut guest = on_loopback();
    let tcp = socket(&mut guest, "tcp").unwrap();
    assert_eq!(with(&mut guest, "tcp-socket.bind", tcp, loopback()), Ok(()));
    assert_eq!(
        with(&mut guest, "tcp-socket.bind", tcp, loopback()),
        Err(INVALID_STATE)
    );
    let listening = on(&mut guest, "tcp-socket.listen", &[tcp], 4).unwrap();
    let stream = guest.u32_at(listening);
    assert_eq!(
        on(&mut guest, "tcp-socket.listen", &[tcp], 4),
        Err(INVALID_STATE)
    );
    let is_listening = "[method]tcp-socket.get-is-listening";
    assert_eq!(guest.ok(TYPES, is_listening, &[tcp]), 1);
    for count in [0, 2] {
        let read = guest.read_items(stream, count).unwrap();
        assert_eq!(read, Transfer::Pending, "{count}");
    }
    let address = local(&mut guest, "tcp", tcp).unwrap();
    let mut peers = [(); 3].map(|()| TcpStream::connect(address).unwrap());
    guest.wait_for_source(stream);
    assert_eq!(guest.read_items(stream, 0).unwrap(), Transfer::Items(0));
    assert_eq!(guest.read_items(stream, 2).unwrap(), Transfer::Items(2));
    let first: u64 = guest.u32_at(RESULT).into();
    assert_eq!(guest.read_items(stream, 2).unwrap(), Transfer::Items(1));
    assert_eq!(guest.read_items(stream, 2).unwrap(), Transfer::Pending);
    let name = "tcp-socket.get-remote-address";
    let at = on(&mut guest, name, &[first], 4).unwrap();
    assert_eq!(address_at(&guest, at), peers[0].local_addr().unwrap());
    send(&mut guest, first, 40);
    assert!(guest.write_all(40, b"hello"));
    let mut bytes = [0; 5];
    peers[0].read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
}

#[test]
fn a_listener_waits_when_there_are_no_descriptors_left() {
    let anywhere: Peers = "127.0.0.1:*".parse().unwrap();
    // Three standard streams, a directory, the listener and one connection.
    let mut guest = guest_with(|builder| builder.allow_listen(anywhere).max_open_fds(6));
    let tcp = socket(&mut guest, "tcp").unwrap();
    with(&mut guest, "tcp-socket.bind", tcp, loopback()).unwrap();
    let listening = on(&mut guest, "tcp-socket.listen", &[tcp], 4).unwrap();
    let stream = guest.u32_at(listening);
    let address = local(&mut guest, "tcp", tcp).unwrap();
    let _peers = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    assert_eq!(guest.read_items(stream, 2).unwrap(), Transfer::Items(1));
    let first = guest.u32_at(RESULT).into();
    assert_eq!(guest.read_items(stream, 2).unwrap(), Transfer::Pending);
    guest.wait_for_source(stream);
    guest.drop_handle(first).unwrap();
    assert_eq!(guest.read_items(stream, 2).unwrap(), Transfer::Items(1));
}

#[test]
fn options_are_kept() {
    let mut guest = on_loopback();
    let tcp = socket(&mut guest, "tcp").unwrap();
    for (name, value) in [
        ("keep-alive-idle-time", 3_000_000_000),
        ("keep-alive-interval", 2_000_000_000),
        ("receive-buffer-size", 16384),
        ("send-buffer-size", 16384),
    ] {
        let (set, get) = (
            format!("tcp-socket.set-{name}"),
            format!("tcp-socket.get-{name}"),
        );
        assert_eq!(on(&mut guest, &set, &[tcp, 0], 4), Err(INVALID_ARGUMENT));
        on(&mut guest, &set, &[tcp, value], 4).unwrap();
        let at = on(&mut guest, &get, &[tcp], 8).unwrap();
        assert_eq!(guest.u64_at(at), value, "{name}");
    }
    for (name, value) in [("keep-alive-count", 4), ("hop-limit", 9)] {
        let (set, get) = (
            format!("tcp-socket.set-{name}"),
            format!("tcp-socket.get-{name}"),
        );
        on(&mut guest, &set, &[tcp, value], 4).unwrap();
        let at = on(&mut guest, &get, &[tcp], 4).unwrap();
        assert_eq!(u64::from(guest.u8_at(at)), value, "{name}");
    }
    on(
        &mut guest,
        "tcp-socket.set-keep-alive-enabled",
        &[tcp, 1],
        4,
    )
    .unwrap();
    let at = on(&mut guest, "tcp-socket.get-keep-alive-enabled", &[tcp], 4).unwrap();
    assert_eq!(guest.u8_at(at), 1);
    on(
        &mut guest,
        "tcp-socket.set-listen-backlog-size",
        &[tcp, 7],
        4,
    )
    .unwrap();
    let family = "[method]tcp-socket.get-address-family";
    assert_eq!(guest.ok(TYPES, family, &[tcp]), 0);
}

#[test]
fn sockets_are_descriptors_of_the_host_s() {
    let anywhere: Peers = "127.0.0.1:*".parse().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(anywhere).max_open_fds(5));
    socket(&mut guest, "udp").unwrap();
    assert_eq!(socket(&mut guest, "tcp"), Err(OTHER));
    assert_eq!(guest.u8_at(RESULT + 8), 1, "some text");
    assert_eq!(guest.text_at(RESULT + 12), "too many open sockets");
}

fn send_datagram(
    guest: &mut Guest,
    udp: u64,
    bytes: &[u8],
    peer: Option<SocketAddr>,
) -> Result<(), u8> {
    let [at, len] = guest.put(bytes);
    let mut args = vec![udp, at, len, peer.is_some().into()];
    args.extend(peer.map_or(vec![0; 12], flat));
    on(guest, "udp-socket.send", &args, 4).map(drop)
}

fn receive_datagram(guest: &mut Guest, udp: u64) -> Result<(Vec<u8>, SocketAddr), u8> {
    let at = on(guest, "udp-socket.receive", &[udp], 4)?;
    Ok((guest.list_at(at), address_at(guest, at + 8)))
}

#[test]
fn datagrams_go_to_peers_and_come_from_them() {
    let peer = UdpSocket::bind(LOOPBACK).unwrap();
    let stranger = UdpSocket::bind(LOOPBACK).unwrap();
    let address = peer.local_addr().unwrap();
    let mut guest = guest_with(|builder| builder.allow_connect(address));
    let udp = socket(&mut guest, "udp").unwrap();
    assert_eq!(receive_datagram(&mut guest, udp), Err(INVALID_STATE));
    assert_eq!(local(&mut guest, "udp", udp), Err(INVALID_STATE));
    assert_eq!(
        send_datagram(&mut guest, udp, b"x", None),
        Err(INVALID_ARGUMENT)
    );
    // Sending binds it.
    assert_eq!(
        send_datagram(&mut guest, udp, b"ping", Some(address)),
        Ok(())
    );
    let mut bytes = [0; 10];
    let (len, from) = peer.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"ping");
    assert_eq!(local(&mut guest, "udp", udp).unwrap().port(), from.port());
    stranger.send_to(b"hi", from).unwrap();
    peer.send_to(b"pong", from).unwrap();
    let received = receive_datagram(&mut guest, udp).unwrap();
    assert_eq!(received, (b"pong".to_vec(), address), "not the stranger's");
    let to = Some(stranger.local_addr().unwrap());
    assert_eq!(
        send_datagram(&mut guest, udp, b"hi", to),
        Err(ACCESS_DENIED)
    );
    let huge = vec![0; (64 << 10) + 1];
    guest.memory.resize(1 << 20, 0);
    assert_eq!(
        send_datagram(&mut guest, udp, &huge[..30_000], Some(address)),
        Ok(())
    );
    let args = [&[udp, 0, huge.len() as u64, 1][..], &flat(address)[..]].concat();
    assert_eq!(
        on(&mut guest, "udp-socket.send", &args, 4),
        Err(DATAGRAM_TOO_LARGE)
    );
}

#[test]
fn a_datagram_is_waited_for() {
    let mut guest = on_loopback();
    let udp = socket(&mut guest, "udp").unwrap();
    with(&mut guest, "udp-socket.bind", udp, loopback()).unwrap();
    let address = local(&mut guest, "udp", udp).unwrap();
    let peer = UdpSocket::bind(LOOPBACK).unwrap();
    let from = peer.local_addr().unwrap();
    let sender = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        peer.send_to(b"late", address).unwrap();
    });
    let received = receive_datagram(&mut guest, udp).unwrap();
    assert_eq!(received, (b"late".to_vec(), from));
    sender.join().unwrap();
}

#[test]
fn a_socket_is_tied_to_a_peer_and_untied() {
    let (one, other) = (
        UdpSocket::bind(LOOPBACK).unwrap(),
        UdpSocket::bind(LOOPBACK).unwrap(),
    );
    let mut guest = on_loopback();
    let udp = socket(&mut guest, "udp").unwrap();
    let disconnect = "udp-socket.disconnect";
    assert_eq!(on(&mut guest, disconnect, &[udp], 4), Err(INVALID_STATE));
    let peer = one.local_addr().unwrap();
    with(&mut guest, "udp-socket.connect", udp, peer).unwrap();
    let remote = "udp-socket.get-remote-address";
    let at = on(&mut guest, remote, &[udp], 4).unwrap();
    assert_eq!(address_at(&guest, at), peer);
    assert_eq!(send_datagram(&mut guest, udp, b"x", None), Ok(()));
    let elsewhere = Some(other.local_addr().unwrap());
    assert_eq!(
        send_datagram(&mut guest, udp, b"x", elsewhere),
        Err(INVALID_ARGUMENT)
    );
    on(&mut guest, disconnect, &[udp], 4).unwrap();
    assert_eq!(on(&mut guest, remote, &[udp], 4), Err(INVALID_STATE));
    assert_eq!(send_datagram(&mut guest, udp, b"y", elsewhere), Ok(()));
    let mut bytes = [0; 2];
    assert_eq!(one.recv(&mut bytes).unwrap(), 1);
    assert_eq!(other.recv(&mut bytes).unwrap(), 1);
}

#[test]
fn a_socket_that_is_untied_keeps_its_port() {
    let peer = UdpSocket::bind(LOOPBACK).unwrap();
    let mut guest = on_loopback();
    let udp = socket(&mut guest, "udp").unwrap();
    with(&mut guest, "udp-socket.bind", udp, loopback()).unwrap();
    let address = local(&mut guest, "udp", udp).unwrap();
    let to = peer.local_addr().unwrap();
    with(&mut guest, "udp-socket.connect", udp, to).unwrap();
    on(&mut guest, "udp-socket.disconnect", &[udp], 4).unwrap();
    assert_eq!(local(&mut guest, "udp", udp), Ok(address));
    peer.send_to(b"hello", address).unwrap();
    let received = receive_datagram(&mut guest, udp).unwrap();
    assert_eq!(received, (b"hello".to_vec(), to));
}

/// Families and bytes of what a name is found to be.
fn resolve(guest: &mut Guest, name: &str) -> Result<Vec<(u8, u8)>, u8> {
    let [at, len] = guest.put(name.as_bytes());
    guest.ok("sockets/ip-name-lookup", "resolve-addresses", &[at, len]);
    let list = guest.outcome(4)?;
    let (first, count) = (guest.u32_at(list), guest.u32_at(list + 4));
    let addresses = (0..count).map(|index| first + 18 * index);
    Ok(addresses
        .map(|at| (guest.u8_at(at), guest.u8_at(at + 2)))
        .collect())
}

#[test]
fn names_are_looked_up_as_granted() {
    let mut guest = guest();
    assert_eq!(resolve(&mut guest, "127.0.0.1"), Ok(vec![(0, 127)]));
    assert_eq!(resolve(&mut guest, "localhost"), Err(0), "access-denied");
    assert_eq!(resolve(&mut guest, "no name"), Err(1), "invalid-argument");
    let mut guest = guest_with(|builder| builder.allow_resolve("localhost"));
    let found = resolve(&mut guest, "localhost").unwrap();
    let is_loopback = |&(family, first): &(u8, u8)| (family, first) == (0, 127) || family == 1;
    assert!(
        !found.is_empty() && found.iter().all(is_loopback),
        "{found:?}"
    );
}
