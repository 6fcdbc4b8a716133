//! `wasi:sockets/udp` and `udp-create-socket`: datagrams out and in.
//!
//! Whoever may listen at an address receives from anyone there. A socket that was bound to talk to its peers only receives
//! from those that the guest may send to: what others send is dropped.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvFlags, SendFlags, SocketType};

use crate::abi::Errno;
use crate::fd_share::Hold;
use crate::objects::sockopt::local_address as host_address;
use crate::objects::tcp::{Family, create};
use crate::p2::call::{Call, Outcome, trap};
use crate::p2::error::settle_errno;
use crate::p2::lower::{Bytes, New};
use crate::p2::network::{
    ADDRESS_SIZE, Done, NetError, address_in, family, optional_address, require_peer,
    require_unicast, socket_address,
};
use crate::p2::poll::{Wait, subscribe};
use crate::p2::resources::Network;
use crate::p2::rows::{Row, row};
use crate::p2::sockopt::{self as options, Socket, this};

/// Datagrams of one call.
const MOST: u64 = 16;

/// Bytes after which no further datagram is received in one call.
const ENOUGH: usize = 64 << 10;

/// Datagrams from those who are no peers that one call drops before it goes on.
const MOST_DROPPED: usize = 64;

/// A datagram has no more bytes.
const DATAGRAM: usize = 64 << 10;

/// Size and alignment of an `outgoing-datagram` in memory: a list of bytes, and an optional address.
pub(super) const OUTGOING: (u32, u32) = (44, 4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unbound,
    BindStarted,
    Bound,
}

/// The host's side of a socket.
#[derive(Debug)]
struct UdpSocket {
    fd: OwnedFd,
    family: Family,
    _hold: Option<Hold>,
}

/// `udp-socket`.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: Arc<UdpSocket>,
    state: State,
    remote: Option<SocketAddr>,
    /// Whether it receives from anyone.
    is_open: bool,
}

/// `incoming-datagram-stream`.
#[derive(Debug)]
pub(crate) struct Incoming {
    socket: Arc<UdpSocket>,
    remote: Option<SocketAddr>,
    is_open: bool,
}

/// `outgoing-datagram-stream`.
#[derive(Debug)]
pub(crate) struct Outgoing {
    socket: Arc<UdpSocket>,
    remote: Option<SocketAddr>,
    /// How many datagrams the next call may send.
    permit: u64,
}

pub(super) const UDP: &[Row] = &[
    row!(
        "[method]udp-socket.start-bind" [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        start_bind
    ),
    row!("[method]udp-socket.finish-bind" [I32] finish_bind),
    row!(
        "[method]udp-socket.stream" [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        stream
    ),
    row!("[method]udp-socket.local-address" [I32] local_address),
    row!("[method]udp-socket.remote-address" [I32] remote_address),
    row!("[method]udp-socket.address-family" [I32] options::address_family::<Udp>),
    row!("[method]udp-socket.unicast-hop-limit" [I32] options::get_hop_limit::<Udp>),
    row!("[method]udp-socket.set-unicast-hop-limit" [I32 I32] options::put_hop_limit::<Udp>),
    row!("[method]udp-socket.receive-buffer-size" [I32] options::receive_buffer_size::<Udp>),
    row!(
        "[method]udp-socket.set-receive-buffer-size" [I32 I64]
        options::set_receive_buffer_size::<Udp>
    ),
    row!("[method]udp-socket.send-buffer-size" [I32] options::send_buffer_size::<Udp>),
    row!("[method]udp-socket.set-send-buffer-size" [I32 I64] options::set_send_buffer_size::<Udp>),
    row!("[method]udp-socket.subscribe" [I32] subscribe::<Udp>),
    row!("[method]incoming-datagram-stream.receive" [I32 I64] receive),
    row!("[method]incoming-datagram-stream.subscribe" [I32] subscribe::<Incoming>),
    row!("[method]outgoing-datagram-stream.check-send" [I32] check_send),
    row!("[method]outgoing-datagram-stream.send" [I32 I32 I32] send),
    row!("[method]outgoing-datagram-stream.subscribe" [I32] subscribe::<Outgoing>),
];

pub(super) const CREATE: &[Row] = &[row!("create-udp-socket" [I32] create_udp_socket)];

impl Socket for Udp {
    fn host(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }

    fn family(&self) -> Family {
        self.socket.family
    }
}

impl Udp {
    /// What may be begun with it can be finished at once.
    pub(super) fn wait(&self) -> Wait<'_> {
        Wait::Ready
    }
}

impl Incoming {
    pub(super) fn wait(&self) -> Wait<'_> {
        Wait::Host(self.socket.fd.as_fd(), PollFlags::IN)
    }
}

impl Outgoing {
    pub(super) fn wait(&self) -> Wait<'_> {
        Wait::Host(self.socket.fd.as_fd(), PollFlags::OUT)
    }
}

fn create_udp_socket(call: &mut Call<'_>) -> Outcome<Done<New>> {
    let family = family(call)?;
    let ctx = call.ctx();
    if !ctx.net.may_have_sockets() {
        return Ok(Err(NetError::AccessDenied));
    }
    let made = (|| {
        let room = ctx.table.room()?;
        let fd = create(family, SocketType::DGRAM)?;
        Ok(UdpSocket {
            fd,
            family,
            _hold: room.hold(),
        })
    })();
    let made = settle_errno(made)?.map_err(|errno| match errno {
        Errno::AFNOSUPPORT => NetError::NotSupported,
        errno => errno.into(),
    });
    Ok(made.map(|socket| {
        New::alone(Udp {
            socket: Arc::new(socket),
            state: State::Unbound,
            remote: None,
            is_open: false,
        })
    }))
}

fn start_bind(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Udp>()?;
    call.handle::<Network>()?;
    let address = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Udp = ctx.resources.get(this)?;
    Ok((|| {
        match socket.state {
            State::Unbound => {}
            State::BindStarted => return Err(NetError::ConcurrencyConflict),
            State::Bound => return Err(NetError::InvalidState),
        }
        require_unicast(address, socket.family())?;
        if !ctx.net.may_bind_to(address) {
            return Err(NetError::AccessDenied);
        }
        match rustix::net::bind(socket.host(), &address).map_err(Errno::from) {
            Ok(()) => {}
            // There is no port left.
            Err(Errno::NOBUFS) => return Err(NetError::AddressInUse),
            Err(errno) => return Err(errno.into()),
        }
        socket.is_open = ctx.net.may_listen_on(address);
        socket.state = State::BindStarted;
        Ok(())
    })())
}

fn finish_bind(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let socket = this::<Udp>(call)?;
    Ok(match socket.state {
        State::BindStarted => {
            socket.state = State::Bound;
            Ok(())
        }
        State::Unbound | State::Bound => Err(NetError::NotInProgress),
    })
}

impl Udp {
    /// Ties the socket to one peer, or unties it.
    fn tie(&mut self, remote: Option<SocketAddr>) -> Result<(), Errno> {
        if self.remote.take().is_some() {
            rustix::net::connect_unspec(&self.socket.fd)?;
        }
        if let Some(peer) = remote {
            rustix::net::connect(&self.socket.fd, &peer)?;
        }
        self.remote = remote;
        Ok(())
    }
}

fn stream(call: &mut Call<'_>) -> Outcome<Done<(New, New)>> {
    let this = call.handle::<Udp>()?;
    let remote = optional_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Udp = ctx.resources.get(this)?;
    Ok((|| {
        if socket.state != State::Bound {
            return Err(NetError::InvalidState);
        }
        if let Some(peer) = remote {
            require_peer(peer, socket.family())?;
            if !ctx.net.may_connect_to(peer) {
                return Err(NetError::AccessDenied);
            }
        }
        socket.tie(remote)?;
        let incoming = Incoming {
            socket: Arc::clone(&socket.socket),
            remote,
            is_open: socket.is_open,
        };
        let outgoing = Outgoing {
            socket: Arc::clone(&socket.socket),
            remote,
            permit: 0,
        };
        Ok((New::child(incoming, this), New::child(outgoing, this)))
    })())
}

fn local_address(call: &mut Call<'_>) -> Outcome<Done<SocketAddr>> {
    let socket = this::<Udp>(call)?;
    Ok(match socket.state {
        State::Unbound => Err(NetError::InvalidState),
        State::BindStarted => Err(NetError::ConcurrencyConflict),
        State::Bound => host_address(socket.host()).map_err(NetError::from),
    })
}

fn remote_address(call: &mut Call<'_>) -> Outcome<Done<SocketAddr>> {
    Ok(this::<Udp>(call)?.remote.ok_or(NetError::InvalidState))
}

/// `incoming-datagram`: bytes, and where they are from.
type IncomingDatagram = (Bytes, SocketAddr);

fn receive(call: &mut Call<'_>) -> Outcome<Done<Vec<IncomingDatagram>>> {
    let this = call.handle::<Incoming>()?;
    let most = call.u64().min(MOST) as usize;
    let ctx = call.ctx();
    let mut buffer = ctx.resources.take_scratch(DATAGRAM);
    let mut datagrams: Vec<IncomingDatagram> = Vec::new();
    let (mut bytes, mut dropped) = (0, 0);
    let stream: &mut Incoming = ctx.resources.get(this)?;
    let outcome = loop {
        if datagrams.len() >= most || bytes >= ENOUGH || dropped >= MOST_DROPPED {
            break Ok(());
        }
        let received = rustix::net::recvfrom(
            &stream.socket.fd,
            &mut buffer[..DATAGRAM],
            RecvFlags::DONTWAIT,
        );
        let (len, from) = match received.map_err(Errno::from) {
            Ok((len, _, from)) => (len, from.and_then(|from| SocketAddr::try_from(from).ok())),
            Err(Errno::AGAIN) => break Ok(()),
            Err(Errno::INTR) => continue,
            Err(_) if !datagrams.is_empty() => break Ok(()),
            Err(errno) => break Err(errno.into()),
        };
        match from {
            Some(from)
                if stream.remote.is_none_or(|remote| remote == from)
                    && (stream.is_open || ctx.net.may_connect_to(from)) =>
            {
                bytes += len;
                datagrams.push((Bytes(buffer[..len].to_vec()), from));
            }
            _ => dropped += 1,
        }
    };
    ctx.resources.put_scratch(buffer);
    let mut parts = call.parts();
    let (_, env, _) = parts.split();
    env.work.bytes(bytes)?;
    Ok(outcome.map(|()| datagrams))
}

fn check_send(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    let this = call.handle::<Outgoing>()?;
    let stream: &mut Outgoing = call.ctx().resources.get(this)?;
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut set = [PollFd::new(&stream.socket.fd, PollFlags::OUT)];
    let ready = rustix::event::poll(&mut set, Some(&now)).map_err(Errno::from);
    Ok(ready.map_err(NetError::from).map(|ready| {
        stream.permit = if ready > 0 { MOST } else { 0 };
        stream.permit
    }))
}

/// A datagram to send, as it lies in memory: where its bytes are, and where they go.
fn outgoing(
    call: &mut Call<'_>,
    at: usize,
) -> Outcome<(std::ops::Range<usize>, Option<SocketAddr>)> {
    let mut bytes = [0; OUTGOING.0 as usize];
    bytes.copy_from_slice(&call.parts().bytes[at..][..OUTGOING.0 as usize]);
    let u32_at =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let data = call.items(u32_at(0), u32_at(4), 1, 1)?;
    let address = match bytes[8] {
        0 => None,
        1 => {
            let mut address = [0; ADDRESS_SIZE];
            address.copy_from_slice(&bytes[12..]);
            let address = address_in(&address);
            Some(address.ok_or_else(|| trap("an address of no family"))?)
        }
        _ => return Err(trap("an option that is neither none nor some")),
    };
    Ok((data, address))
}

fn send(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    let this = call.handle::<Outgoing>()?;
    let list = call.list(OUTGOING.0, OUTGOING.1)?;
    let count = (list.len() / OUTGOING.0 as usize) as u64;
    let stream: &mut Outgoing = call.ctx().resources.get(this)?;
    match stream.permit.checked_sub(count) {
        Some(left) => stream.permit = left,
        None => {
            let permit = stream.permit;
            return Err(trap(format!(
                "{count} datagrams sent to a stream that permits {permit}"
            )));
        }
    }
    let mut sent = 0;
    for at in list.step_by(OUTGOING.0 as usize) {
        let (data, address) = outgoing(call, at)?;
        let mut parts = call.parts();
        match send_one(&mut parts, this, data, address)? {
            Ok(()) => sent += 1,
            Err(NetError::WouldBlock) => break,
            Err(_) if sent > 0 => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(sent))
}

/// Sends one datagram, if it may go there.
fn send_one(
    parts: &mut crate::p2::call::Parts<'_>,
    stream: u32,
    data: std::ops::Range<usize>,
    address: Option<SocketAddr>,
) -> Outcome<Done<()>> {
    let bytes = &parts.bytes[data];
    let stream: &mut Outgoing = parts.ctx.resources.get(stream)?;
    let peer = match (stream.remote, address) {
        (Some(remote), None) => remote,
        (Some(remote), Some(address)) if remote == address => remote,
        (None, Some(address)) => address,
        (Some(_), Some(_)) | (None, None) => return Ok(Err(NetError::InvalidArgument)),
    };
    if let Err(error) = require_peer(peer, stream.socket.family) {
        return Ok(Err(error));
    }
    if !parts.ctx.net.may_connect_to(peer) {
        return Ok(Err(NetError::AccessDenied));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let send = || match stream.remote {
        Some(_) => rustix::net::send(&stream.socket.fd, bytes, flags),
        None => rustix::net::sendto(&stream.socket.fd, bytes, flags, &peer),
    };
    let sent = rustix::io::retry_on_intr(send).map_err(Errno::from);
    if let Some(meter) = &parts.meter {
        crate::work::Work::paid_by(meter).bytes(bytes.len())?;
    }
    Ok(sent.map(drop).map_err(NetError::from))
}
