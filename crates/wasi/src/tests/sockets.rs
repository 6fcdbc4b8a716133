//! Sockets on the loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::*;

const LISTENER: u32 = 4;

fn guest() -> (Guest, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (
        Guest::with(|builder, _| builder.tcp_listener(listener)),
        address,
    )
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

fn accept(guest: &mut Guest, flags: u64) -> Result<u32, Errno> {
    match guest.errno("sock_accept", &[LISTENER.into(), flags, RESULT.into()]) {
        Errno::SUCCESS => Ok(guest.u32_at(RESULT)),
        errno => Err(errno),
    }
}

fn recv(guest: &mut Guest, fd: u32, list: &[(u32, u32)], flags: u64) -> Result<u32, Errno> {
    let iovs = guest.iovs(list);
    guest.memory[RESULT as usize + 4] = 0xff;
    let args = [
        fd.into(),
        iovs,
        list.len() as u64,
        flags,
        RESULT.into(),
        (RESULT + 4).into(),
    ];
    match guest.errno("sock_recv", &args) {
        Errno::SUCCESS => {
            assert_eq!(guest.u16_at(RESULT + 4), 0);
            Ok(guest.u32_at(RESULT))
        }
        errno => Err(errno),
    }
}

fn send(guest: &mut Guest, fd: u32, bytes: &[u8], flags: u64) -> Result<u32, Errno> {
    let at = guest.put(bytes);
    let iovs = guest.iovs(&[(at as u32, 1), (at as u32 + 1, bytes.len() as u32 - 1)]);
    match guest.errno("sock_send", &[fd.into(), iovs, 2, flags, RESULT.into()]) {
        Errno::SUCCESS => Ok(guest.u32_at(RESULT)),
        errno => Err(errno),
    }
}

#[test]
fn a_conversation() {
    let (mut guest, address) = guest();
    let mut peer = connect(address);
    let fd = accept(&mut guest, 0).unwrap();
    assert_eq!(fd, 5);
    peer.write_all(b"hello").unwrap();
    assert_eq!(recv(&mut guest, fd, &[(0x8000, 3)], 1), Ok(3), "a peek");
    assert_eq!(recv(&mut guest, fd, &[(0x8000, 2), (0x8002, 8)], 0), Ok(5));
    assert_eq!(&guest.memory[0x8000..0x8005], b"hello");
    assert_eq!(send(&mut guest, fd, b"world", 0), Ok(5));
    let mut answer = [0; 5];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"world");
    assert_eq!(guest.write(fd, b"again"), Ok(5), "the file calls work too");
    peer.read_exact(&mut answer).unwrap();
    peer.write_all(b"bye").unwrap();
    assert_eq!(guest.read(fd, 100), Ok(b"bye".to_vec()));
    drop(peer);
    assert_eq!(recv(&mut guest, fd, &[(0x8000, 3)], 0), Ok(0));
    guest.close(fd);
    assert_eq!(guest.errno("sock_shutdown", &[fd.into(), 3]), Errno::BADF);
}

#[test]
fn waiting_for_all() {
    let (mut guest, address) = guest();
    let mut peer = connect(address);
    let fd = accept(&mut guest, 0).unwrap();
    let sender = std::thread::spawn(move || {
        for part in [&b"ab"[..], b"cd", b"ef"] {
            peer.write_all(part).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        peer
    });
    assert_eq!(
        recv(&mut guest, fd, &[(0x8000, 1), (0, 0), (0x8001, 4)], 2),
        Ok(5)
    );
    assert_eq!(&guest.memory[0x8000..0x8005], b"abcde");
    drop(sender.join().unwrap());
    assert_eq!(
        recv(&mut guest, fd, &[(0x8000, 9)], 2),
        Ok(1),
        "the end comes first"
    );
}

#[test]
fn non_blocking() {
    let (mut guest, address) = guest();
    guest.ok(
        "fd_fdstat_set_flags",
        &[LISTENER.into(), FdFlags::NONBLOCK.raw().into()],
    );
    assert_eq!(accept(&mut guest, 0), Err(Errno::AGAIN));
    let _peer = connect(address);
    let fd = accept(&mut guest, 4).unwrap();
    assert_eq!(guest.fdstat(fd).2, FdFlags::NONBLOCK);
    assert_eq!(recv(&mut guest, fd, &[(0x8000, 9)], 0), Err(Errno::AGAIN));
    assert_eq!(recv(&mut guest, fd, &[(0x8000, 9)], 2), Err(Errno::AGAIN));
    guest.ok("fd_fdstat_set_flags", &[fd.into(), 0]);
    guest.ctx.interrupt_handle().interrupt();
    assert_eq!(recv(&mut guest, fd, &[(0x8000, 9)], 0), Err(Errno::INTR));
}

#[test]
fn an_interrupt_breaks_an_accept() {
    let (mut guest, _) = guest();
    let handle = guest.ctx.interrupt_handle();
    let remote = std::thread::spawn(move || handle.interrupt());
    assert_eq!(accept(&mut guest, 0), Err(Errno::INTR));
    remote.join().unwrap();
}

#[test]
fn shutting_down() {
    let (mut guest, address) = guest();
    let mut peer = connect(address);
    let fd = accept(&mut guest, 0).unwrap();
    for bad in [0, 4] {
        assert_eq!(
            guest.errno("sock_shutdown", &[fd.into(), bad]),
            Errno::INVAL
        );
    }
    guest.ok("sock_shutdown", &[fd.into(), 2]);
    assert_eq!(peer.read(&mut [0; 9]).unwrap(), 0);
    assert_eq!(send(&mut guest, fd, b"xy", 0), Err(Errno::PIPE));
    guest.ok("sock_shutdown", &[fd.into(), 1]);
    assert_eq!(recv(&mut guest, fd, &[(0x8000, 9)], 0), Ok(0));
}

#[test]
fn things_that_are_not_sockets() {
    let (mut guest, address) = guest();
    let file = guest.open("f", CREATE, RW).unwrap();
    for fd in [0, 1, ROOT, file] {
        assert_eq!(
            guest.errno("sock_accept", &[fd.into(), 0, RESULT.into()]),
            Errno::NOTSOCK
        );
        assert_eq!(
            guest.errno("sock_shutdown", &[fd.into(), 3]),
            Errno::NOTSOCK
        );
        assert_eq!(recv(&mut guest, fd, &[], 0), Err(Errno::NOTSOCK));
        assert_eq!(send(&mut guest, fd, b"xy", 0), Err(Errno::NOTSOCK));
    }
    assert_eq!(recv(&mut guest, LISTENER, &[], 0), Err(Errno::NOTCONN));
    assert_eq!(guest.read(LISTENER, 1), Err(Errno::NOTCONN));
    assert_eq!(
        guest.errno("sock_accept", &[99, 0, RESULT.into()]),
        Errno::BADF
    );
    for flags in [1, 2, 8, 32] {
        assert_eq!(accept(&mut guest, flags), Err(Errno::INVAL));
    }
    let _peer = connect(address);
    let fd = accept(&mut guest, 0).unwrap();
    assert_eq!(recv(&mut guest, fd, &[], 4), Err(Errno::INVAL));
    assert_eq!(send(&mut guest, fd, b"xy", 1), Err(Errno::INVAL));
    assert_eq!(guest.seek(fd, 0, 1), Err(Errno::SPIPE));
    assert_eq!(
        guest.errno("sock_accept", &[fd.into(), 0, RESULT.into()]),
        Errno::INVAL
    );
    let stat = guest.fd_stat(fd).unwrap();
    assert_eq!((stat.filetype, stat.size), (6, 0));
    assert_eq!(guest.fdstat(LISTENER).3, 6);
    assert_eq!(
        guest.errno("fd_prestat_get", &[LISTENER.into(), RESULT.into()]),
        Errno::BADF
    );
}

#[test]
fn sockets_can_be_polled() {
    let (mut guest, address) = guest();
    let mut bytes = [0u8; 96];
    (bytes[8], bytes[16]) = (1, LISTENER as u8);
    (bytes[48 + 16], bytes[48 + 24]) = (1, 1);
    let at = guest.put(&bytes);
    guest.ok("poll_oneoff", &[at, 0x8000, 2, RESULT.into()]);
    assert_eq!(
        (guest.u32_at(RESULT), guest.memory[0x800a]),
        (1, 0),
        "nobody is there: the clock"
    );
    let mut peer = connect(address);
    let at = guest.put(&bytes[..48]);
    guest.ok("poll_oneoff", &[at, 0x8000, 1, RESULT.into()]);
    assert_eq!((guest.memory[0x800a], guest.u64_at(0x8010)), (1, 1));
    let fd = accept(&mut guest, 0).unwrap();
    peer.write_all(b"abc").unwrap();
    bytes[16] = fd as u8;
    let at = guest.put(&bytes[..48]);
    guest.ok("poll_oneoff", &[at, 0x8000, 1, RESULT.into()]);
    assert!((1..=3).contains(&guest.u64_at(0x8010)));
}
