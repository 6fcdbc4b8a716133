//! `wasi:sockets/tcp` and `tcp-create-socket`: binding, listening and connecting, each begun and finished by two calls, and a
//! connection's streams.

use std::sync::Arc;

use crate::component::bytes::{Sink, Source};
use crate::component::call::{Call, Outcome};
use crate::component::error::{settle, settle_errno};
use crate::component::lower::{Lower, New};
use crate::component::network::{Done, NetError, socket_address};
use crate::component::resources::Network;
use crate::component::rows::{Row, row};
use crate::component::sockopt::{self as options, this};
use crate::component::tcp::{
    State, Tcp, create_tcp_socket, is_listening, keep_alive_count, keep_alive_enabled,
    keep_alive_idle_time, keep_alive_interval, local_address, remote_address, set_keep_alive_count,
    set_keep_alive_enabled, set_keep_alive_idle_time, set_keep_alive_interval,
    set_listen_backlog_size,
};
use crate::objects::tcp::{Direction, TcpSocket};
use crate::p2::poll::subscribe;
use crate::p2::streams::{InputStream, OutputStream};

pub(super) const TCP: &[Row] = &[
    row!(
        "[method]tcp-socket.start-bind" [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        start_bind
    ),
    row!("[method]tcp-socket.finish-bind" [I32] finish_bind),
    row!(
        "[method]tcp-socket.start-connect" [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        start_connect
    ),
    row!("[method]tcp-socket.finish-connect" [I32] finish_connect),
    row!("[method]tcp-socket.start-listen" [I32] start_listen),
    row!("[method]tcp-socket.finish-listen" [I32] finish_listen),
    row!("[method]tcp-socket.accept" [I32] accept),
    row!("[method]tcp-socket.local-address" [I32] local_address),
    row!("[method]tcp-socket.remote-address" [I32] remote_address),
    row!("[method]tcp-socket.is-listening" [I32] is_listening),
    row!("[method]tcp-socket.address-family" [I32] options::address_family::<Tcp>),
    row!("[method]tcp-socket.set-listen-backlog-size" [I32 I64] set_listen_backlog_size),
    row!("[method]tcp-socket.keep-alive-enabled" [I32] keep_alive_enabled),
    row!("[method]tcp-socket.set-keep-alive-enabled" [I32 I32] set_keep_alive_enabled),
    row!("[method]tcp-socket.keep-alive-idle-time" [I32] keep_alive_idle_time),
    row!("[method]tcp-socket.set-keep-alive-idle-time" [I32 I64] set_keep_alive_idle_time),
    row!("[method]tcp-socket.keep-alive-interval" [I32] keep_alive_interval),
    row!("[method]tcp-socket.set-keep-alive-interval" [I32 I64] set_keep_alive_interval),
    row!("[method]tcp-socket.keep-alive-count" [I32] keep_alive_count),
    row!("[method]tcp-socket.set-keep-alive-count" [I32 I32] set_keep_alive_count),
    row!("[method]tcp-socket.hop-limit" [I32] options::get_hop_limit::<Tcp>),
    row!("[method]tcp-socket.set-hop-limit" [I32 I32] options::put_hop_limit::<Tcp>),
    row!("[method]tcp-socket.receive-buffer-size" [I32] options::receive_buffer_size::<Tcp>),
    row!(
        "[method]tcp-socket.set-receive-buffer-size" [I32 I64]
        options::set_receive_buffer_size::<Tcp>
    ),
    row!("[method]tcp-socket.send-buffer-size" [I32] options::send_buffer_size::<Tcp>),
    row!("[method]tcp-socket.set-send-buffer-size" [I32 I64] options::set_send_buffer_size::<Tcp>),
    row!("[method]tcp-socket.subscribe" [I32] subscribe::<Tcp>),
    row!("[method]tcp-socket.shutdown" [I32 I32] shutdown),
];

pub(super) const CREATE: &[Row] = &[row!("create-tcp-socket" [I32] create_tcp_socket)];

fn start_bind(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    call.handle::<Network>()?;
    let address = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Tcp = ctx.resources.get(this)?;
    Ok(socket.bind(address, &ctx.net, State::BindStarted))
}

/// Finishes what the host did when it began.
fn finish(call: &mut Call<'_>, begun: State, done: State) -> Outcome<Done<()>> {
    let socket = this::<Tcp>(call)?;
    Ok(match socket.state == begun {
        true => {
            socket.state = done;
            Ok(())
        }
        false => Err(NetError::NotInProgress),
    })
}

fn finish_bind(call: &mut Call<'_>) -> Outcome<Done<()>> {
    finish(call, State::BindStarted, State::Bound)
}

fn start_connect(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    call.handle::<Network>()?;
    let peer = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Tcp = ctx.resources.get(this)?;
    Ok(socket.connect(peer, &ctx.net))
}

/// The streams of a connection, children of its socket.
fn streams(socket: &Arc<TcpSocket>, parent: u32) -> (New, New) {
    let source = Source::Tcp(Arc::clone(socket));
    let sink = Sink::Tcp(Arc::clone(socket));
    (
        New::child(InputStream::new(source), parent),
        New::child(OutputStream::new(sink), parent),
    )
}

fn finish_connect(call: &mut Call<'_>) -> Outcome<Done<(New, New)>> {
    let this = call.handle::<Tcp>()?;
    let socket: &mut Tcp = call.ctx().resources.get(this)?;
    if socket.state != State::Connecting {
        return Ok(Err(NetError::NotInProgress));
    }
    let connected = socket.connected();
    Ok(connected.map(|()| streams(&socket.socket, this)))
}

fn start_listen(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let ctx = call.ctx();
    let socket: &mut Tcp = ctx.resources.get(this)?;
    let ready = socket.require(&[State::Bound]);
    Ok(ready.and_then(|()| socket.listen(&ctx.net, State::ListenStarted)))
}

fn finish_listen(call: &mut Call<'_>) -> Outcome<Done<()>> {
    finish(call, State::ListenStarted, State::Listening)
}

/// A connection that was accepted: the socket and its streams.
#[derive(Debug)]
struct Accepted(Arc<TcpSocket>);

impl Lower for Accepted {
    const SIZE: u32 = <(New, New, New)>::SIZE;
    const ALIGN: u32 = <(New, New, New)>::ALIGN;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        let socket = Tcp::new(Arc::clone(&self.0), State::Connected);
        let (parent, handle) = call.give_parent(socket.into())?;
        let (input, output) = streams(&self.0, parent);
        handle.store(call, at)?;
        (input, output).store(call, at + 4)
    }
}

fn accept(call: &mut Call<'_>) -> Outcome<Done<Accepted>> {
    let this = call.handle::<Tcp>()?;
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let socket: &mut Tcp = resources.get(this)?;
    if socket.state != State::Listening {
        return Ok(Err(NetError::InvalidState));
    }
    let accepted = settle_errno(Tcp::accept(&socket.socket, env))?;
    Ok(accepted.map(Accepted).map_err(NetError::from))
}

fn shutdown(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let directions: &[Direction] = match call.case(3)? {
        0 => &[Direction::Receive],
        1 => &[Direction::Send],
        _ => &[Direction::Receive, Direction::Send],
    };
    let mut parts = call.parts();
    let (resources, env, _) = parts.split();
    let socket: &mut Tcp = resources.get(this)?;
    if socket.state != State::Connected {
        return Ok(Err(NetError::InvalidState));
    }
    let shut = directions.iter().try_for_each(|&direction| {
        let shut = socket.socket.shut_down(direction, env.interrupts);
        shut.map_err(crate::error::Error::from)
    });
    Ok(settle(shut)?.map_err(NetError::from))
}
