//! `wasi:sockets/udp` and `udp-create-socket`: datagrams through streams, several at a time.

use std::net::SocketAddr;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::abi::Errno;
use crate::component::call::{Call, Outcome, trap};
use crate::component::lower::{Bytes, New};
use crate::component::network::{
    ADDRESS_SIZE, Done, NetError, address_in, optional_address, socket_address,
};
use crate::component::resources::Network;
use crate::component::rows::{Row, row};
use crate::component::sockopt::{self as options, this};
use crate::component::udp::{
    DATAGRAM, Incoming, Outgoing, State, Udp, create_udp_socket, local_address, remote_address,
};
use crate::p2::poll::subscribe;
use crate::work::Work;

/// Datagrams of one call.
const MOST: u64 = 16;

/// Bytes after which no further datagram is received in one call.
const ENOUGH: usize = 64 << 10;

/// Size and alignment of an `outgoing-datagram` in memory: a list of bytes, and an optional address.
pub(super) const OUTGOING: (u32, u32) = (44, 4);

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

fn start_bind(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Udp>()?;
    call.handle::<Network>()?;
    let address = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Udp = ctx.resources.get(this)?;
    Ok(socket.bind(address, &ctx.net, State::BindStarted))
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

fn stream(call: &mut Call<'_>) -> Outcome<Done<(New, New)>> {
    let this = call.handle::<Udp>()?;
    let remote = optional_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Udp = ctx.resources.get(this)?;
    if socket.state != State::Bound {
        return Ok(Err(NetError::InvalidState));
    }
    let tied = socket.tie(remote, &ctx.net);
    Ok(tied.map(|()| {
        (
            New::child(socket.incoming(), this),
            New::child(socket.outgoing(), this),
        )
    }))
}

/// `incoming-datagram`: bytes, and where they are from.
type IncomingDatagram = (Bytes, SocketAddr);

fn receive(call: &mut Call<'_>) -> Outcome<Done<Vec<IncomingDatagram>>> {
    let this = call.handle::<Incoming>()?;
    let most = call.u64().min(MOST) as usize;
    let ctx = call.ctx();
    let mut buffer = ctx.resources.take_scratch(DATAGRAM);
    let mut datagrams: Vec<IncomingDatagram> = Vec::new();
    let mut bytes = 0;
    let stream: &mut Incoming = ctx.resources.get(this)?;
    let outcome = loop {
        if datagrams.len() >= most || bytes >= ENOUGH {
            break Ok(());
        }
        match stream.receive(&mut buffer[..DATAGRAM], &ctx.net) {
            Ok((len, from)) => {
                bytes += len;
                datagrams.push((Bytes(buffer[..len].to_vec()), from));
            }
            Err(Errno::AGAIN) => break Ok(()),
            Err(_) if !datagrams.is_empty() => break Ok(()),
            Err(errno) => break Err(errno.into()),
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

/// Sends one datagram.
fn send_one(
    parts: &mut crate::component::call::Parts<'_>,
    stream: u32,
    data: std::ops::Range<usize>,
    address: Option<SocketAddr>,
) -> Outcome<Done<()>> {
    let bytes = &parts.bytes[data];
    let stream: &mut Outgoing = parts.ctx.resources.get(stream)?;
    let sent = stream.send(bytes, address, &parts.ctx.net);
    if let (Some(meter), Ok(())) = (&parts.meter, sent) {
        Work::paid_by(meter).bytes(bytes.len())?;
    }
    Ok(sent)
}
