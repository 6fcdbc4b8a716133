//! `wasi:sockets/types`: UDP sockets.

use std::net::SocketAddr;
use std::task::Poll;

use tiered_component::concurrent::{Interest, Waits};

use crate::abi::Errno;
use crate::component::call::{Call, Outcome};
use crate::component::concurrent::{Eventual, Operation};
use crate::component::error::settle_errno;
use crate::component::lower::{Bytes, New};
use crate::component::network::{Done, NetError, optional_address, require_peer, socket_address};
use crate::component::rows::{Row, row};
use crate::component::sockopt::{self as options, Socket, this};
use crate::component::udp::{self as common, DATAGRAM, Incoming, Outgoing, State, Udp};
use crate::p3::codes::{SocketError, recoded};

pub(super) const UDP: &[Row] = &[
    row!("[static]udp-socket.create" [I32] create),
    row!(
        "[method]udp-socket.bind" [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        bind
    ),
    row!(
        "[method]udp-socket.connect" [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        connect
    ),
    row!("[method]udp-socket.disconnect" [I32] disconnect),
    row!(
        "[method]udp-socket.send"
        [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        send
    ),
    row!("[method]udp-socket.receive" [I32] receive),
    row!("[method]udp-socket.get-local-address" [I32] get_local_address),
    row!("[method]udp-socket.get-remote-address" [I32] get_remote_address),
    row!("[method]udp-socket.get-address-family" [I32] options::address_family::<Udp>),
    row!("[method]udp-socket.get-unicast-hop-limit" [I32] get_unicast_hop_limit),
    row!("[method]udp-socket.set-unicast-hop-limit" [I32 I32] set_unicast_hop_limit),
    row!("[method]udp-socket.get-receive-buffer-size" [I32] get_receive_buffer_size),
    row!("[method]udp-socket.set-receive-buffer-size" [I32 I64] set_receive_buffer_size),
    row!("[method]udp-socket.get-send-buffer-size" [I32] get_send_buffer_size),
    row!("[method]udp-socket.set-send-buffer-size" [I32 I64] set_send_buffer_size),
];

recoded! {
    create = common::create_udp_socket => New, SocketError;
    bind = bind_now => (), SocketError;
    connect = tie => (), SocketError;
    disconnect = untie => (), SocketError;
    get_local_address = common::local_address => SocketAddr, SocketError;
    get_remote_address = common::remote_address => SocketAddr, SocketError;
    get_unicast_hop_limit = options::get_hop_limit::<Udp> => u8, SocketError;
    set_unicast_hop_limit = options::put_hop_limit::<Udp> => (), SocketError;
    get_receive_buffer_size = options::receive_buffer_size::<Udp> => u64, SocketError;
    set_receive_buffer_size = options::set_receive_buffer_size::<Udp> => (), SocketError;
    get_send_buffer_size = options::send_buffer_size::<Udp> => u64, SocketError;
    set_send_buffer_size = options::set_send_buffer_size::<Udp> => (), SocketError;
}

fn bind_now(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Udp>()?;
    let address = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Udp = ctx.resources.get(this)?;
    Ok(socket.bind(address, &ctx.net, State::Bound))
}

fn tie(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Udp>()?;
    let peer = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Udp = ctx.resources.get(this)?;
    let bound = require_peer(peer, socket.family()).and_then(|()| socket.bind_anywhere(&ctx.net));
    Ok(bound.and_then(|()| socket.tie(Some(peer), &ctx.net)))
}

fn untie(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Udp>()?;
    let ctx = call.ctx();
    let socket: &mut Udp = ctx.resources.get(this)?;
    Ok(match socket.is_tied() {
        true => socket.tie(None, &ctx.net),
        false => Err(NetError::InvalidState),
    })
}

/// A datagram that the host did not take at once.
struct Sending {
    socket: Outgoing,
    bytes: Vec<u8>,
    address: Option<SocketAddr>,
}

impl Operation<Result<(), SocketError>> for Sending {
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<Result<(), SocketError>>> {
        let net = &call.ctx().net;
        Ok(match self.socket.send(&self.bytes, self.address, net) {
            Err(NetError::WouldBlock) => Poll::Pending,
            sent => Poll::Ready(sent.map_err(SocketError::from)),
        })
    }

    fn wait(&self, waits: &mut Waits) {
        waits.add(Interest::Writable(self.socket.descriptor()));
    }
}

fn send(call: &mut Call<'_>) -> Outcome<Eventual<Result<(), SocketError>>> {
    let this = call.handle::<Udp>()?;
    let bytes = call.bytes()?;
    let address = optional_address(call)?;
    if bytes.len() > DATAGRAM {
        return Ok(Eventual::Now(Err(SocketError::DatagramTooLarge)));
    }
    let mut parts = call.parts();
    let (_, env, _) = parts.split();
    env.work.bytes(bytes.len())?;
    let bytes = parts.bytes[bytes].to_vec();
    let ctx = parts.ctx;
    let socket: &mut Udp = ctx.resources.get(this)?;
    let bound = socket
        .require_destination(address)
        .and_then(|()| socket.bind_anywhere(&ctx.net));
    if let Err(error) = bound {
        return Ok(Eventual::Now(Err(error.into())));
    }
    let sending = Sending {
        socket: socket.outgoing(),
        bytes,
        address,
    };
    Eventual::of(sending, call)
}

/// A datagram, and where it is from.
type Datagram = (Bytes, SocketAddr);

/// Waits for a datagram.
struct Receiving(Incoming);

impl Operation<Result<Datagram, SocketError>> for Receiving {
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<Result<Datagram, SocketError>>> {
        let ctx = call.ctx();
        let mut buffer = ctx.resources.take_scratch(DATAGRAM);
        let received = self.0.receive(&mut buffer[..DATAGRAM], &ctx.net);
        let received = received.map(|(len, from)| (Bytes(buffer[..len].to_vec()), from));
        ctx.resources.put_scratch(buffer);
        Ok(match settle_errno(received)? {
            Ok(datagram) => {
                let mut parts = call.parts();
                let (_, env, _) = parts.split();
                env.work.bytes(datagram.0.0.len())?;
                Poll::Ready(Ok(datagram))
            }
            Err(Errno::AGAIN) => Poll::Pending,
            Err(errno) => Poll::Ready(Err(errno.into())),
        })
    }

    fn wait(&self, waits: &mut Waits) {
        waits.add(Interest::Readable(self.0.descriptor()));
    }
}

fn receive(call: &mut Call<'_>) -> Outcome<Eventual<Result<Datagram, SocketError>>> {
    let socket = this::<Udp>(call)?;
    if socket.state != State::Bound {
        return Ok(Eventual::Now(Err(SocketError::InvalidState)));
    }
    let receiving = Receiving(socket.incoming());
    Eventual::of(receiving, call)
}
