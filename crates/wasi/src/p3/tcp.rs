//! `wasi:sockets/types`: TCP sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use tiered_component::concurrent::{Descriptor, Interest, Transfer, Waits};

use crate::abi::Errno;
use crate::component::bytes::{Sink, Source};
use crate::component::call::{Call, Env, Outcome};
use crate::component::concurrent::{Eventual, ItemSource, Operation, Readable};
use crate::component::error::settle_errno;
use crate::component::lower::{Lower, New};
use crate::component::network::{Done, NetError, socket_address};
use crate::component::rows::{Row, row};
use crate::component::sockopt as options;
use crate::component::tcp::{self as common, State, Tcp, is_listening};
use crate::component::wait::Wait;
use crate::objects::tcp::{Direction, TcpSocket};
use crate::p3::codes::{SocketError, recoded};
use crate::p3::streams::{StreamAndEnding, failed_reading, failed_writing, reading, writing};

pub(super) const TCP: &[Row] = &[
    row!("[static]tcp-socket.create" [I32] create),
    row!(
        "[method]tcp-socket.bind" [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        bind
    ),
    row!(
        "[method]tcp-socket.connect" [I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32 I32]
        connect
    ),
    row!("[method]tcp-socket.listen" [I32] listen),
    row!("[method]tcp-socket.send" [I32 I32] send),
    row!("[method]tcp-socket.receive" [I32] receive),
    row!("[method]tcp-socket.get-local-address" [I32] get_local_address),
    row!("[method]tcp-socket.get-remote-address" [I32] get_remote_address),
    row!("[method]tcp-socket.get-is-listening" [I32] is_listening),
    row!("[method]tcp-socket.get-address-family" [I32] options::address_family::<Tcp>),
    row!("[method]tcp-socket.set-listen-backlog-size" [I32 I64] set_listen_backlog_size),
    row!("[method]tcp-socket.get-keep-alive-enabled" [I32] get_keep_alive_enabled),
    row!("[method]tcp-socket.set-keep-alive-enabled" [I32 I32] set_keep_alive_enabled),
    row!("[method]tcp-socket.get-keep-alive-idle-time" [I32] get_keep_alive_idle_time),
    row!("[method]tcp-socket.set-keep-alive-idle-time" [I32 I64] set_keep_alive_idle_time),
    row!("[method]tcp-socket.get-keep-alive-interval" [I32] get_keep_alive_interval),
    row!("[method]tcp-socket.set-keep-alive-interval" [I32 I64] set_keep_alive_interval),
    row!("[method]tcp-socket.get-keep-alive-count" [I32] get_keep_alive_count),
    row!("[method]tcp-socket.set-keep-alive-count" [I32 I32] set_keep_alive_count),
    row!("[method]tcp-socket.get-hop-limit" [I32] get_hop_limit),
    row!("[method]tcp-socket.set-hop-limit" [I32 I32] set_hop_limit),
    row!("[method]tcp-socket.get-receive-buffer-size" [I32] get_receive_buffer_size),
    row!("[method]tcp-socket.set-receive-buffer-size" [I32 I64] set_receive_buffer_size),
    row!("[method]tcp-socket.get-send-buffer-size" [I32] get_send_buffer_size),
    row!("[method]tcp-socket.set-send-buffer-size" [I32 I64] set_send_buffer_size),
];

recoded! {
    create = common::create_tcp_socket => New, SocketError;
    bind = bind_now => (), SocketError;
    get_local_address = common::local_address => SocketAddr, SocketError;
    get_remote_address = common::remote_address => SocketAddr, SocketError;
    set_listen_backlog_size = common::set_listen_backlog_size => (), SocketError;
    get_keep_alive_enabled = common::keep_alive_enabled => bool, SocketError;
    set_keep_alive_enabled = common::set_keep_alive_enabled => (), SocketError;
    get_keep_alive_idle_time = common::keep_alive_idle_time => u64, SocketError;
    set_keep_alive_idle_time = common::set_keep_alive_idle_time => (), SocketError;
    get_keep_alive_interval = common::keep_alive_interval => u64, SocketError;
    set_keep_alive_interval = common::set_keep_alive_interval => (), SocketError;
    get_keep_alive_count = common::keep_alive_count => u32, SocketError;
    set_keep_alive_count = common::set_keep_alive_count => (), SocketError;
    get_hop_limit = options::get_hop_limit::<Tcp> => u8, SocketError;
    set_hop_limit = options::put_hop_limit::<Tcp> => (), SocketError;
    get_receive_buffer_size = options::receive_buffer_size::<Tcp> => u64, SocketError;
    set_receive_buffer_size = options::set_receive_buffer_size::<Tcp> => (), SocketError;
    get_send_buffer_size = options::send_buffer_size::<Tcp> => u64, SocketError;
    set_send_buffer_size = options::set_send_buffer_size::<Tcp> => (), SocketError;
}

fn bind_now(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let address = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Tcp = ctx.resources.get(this)?;
    Ok(socket.bind(address, &ctx.net, State::Bound))
}

/// A connection that is being made.
struct Connecting {
    /// The guest's socket, which its call borrows.
    this: u32,
    socket: Arc<TcpSocket>,
}

impl Operation<Result<(), SocketError>> for Connecting {
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<Result<(), SocketError>>> {
        let socket: &mut Tcp = call.ctx().resources.get(self.this)?;
        Ok(match socket.connected() {
            Err(NetError::WouldBlock) => Poll::Pending,
            connected => Poll::Ready(connected.map_err(SocketError::from)),
        })
    }

    fn wait(&self, waits: &mut Waits) {
        let socket: Descriptor = Arc::<TcpSocket>::clone(&self.socket);
        waits.add(Interest::Writable(socket));
    }
}

fn connect(call: &mut Call<'_>) -> Outcome<Eventual<Result<(), SocketError>>> {
    let this = call.handle::<Tcp>()?;
    let peer = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Tcp = ctx.resources.get(this)?;
    if let Err(error) = socket.connect(peer, &ctx.net) {
        return Ok(Eventual::Now(Err(error.into())));
    }
    let socket = Arc::clone(&socket.socket);
    Eventual::of(Connecting { this, socket }, call)
}

/// How long a listener rests when the guest has all the descriptors that it may have: its connections stay where they are.
const REST: Duration = Duration::from_millis(10);

/// The connections of a listener on their way to the guest.
struct Connections {
    listener: Arc<TcpSocket>,
    /// Until when it rests.
    rests: Option<Instant>,
}

fn listen(call: &mut Call<'_>) -> Outcome<Result<Readable, SocketError>> {
    let this = call.handle::<Tcp>()?;
    let ctx = call.ctx();
    let socket: &mut Tcp = ctx.resources.get(this)?;
    let listening = socket
        .require(&[State::Unbound, State::Bound])
        .and_then(|()| socket.listen(&ctx.net, State::Listening));
    let listener = Arc::clone(&socket.socket);
    Ok(listening.map_err(SocketError::from).map(|()| {
        let rests = None;
        Readable::items(0, Connections { listener, rests })
    }))
}

impl Connections {
    /// The next connection; `None` if there is none.
    fn accept(&mut self, env: Env<'_>) -> Result<Option<Arc<TcpSocket>>, Errno> {
        loop {
            match Tcp::accept(&self.listener, env) {
                Ok(connection) => return Ok(Some(connection)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.rests = Some(Instant::now() + REST);
                    return Ok(None);
                }
                Err(errno @ (Errno::INTR | Errno::BADF | Errno::INVAL)) => return Err(errno),
                // What became of a connection before it was accepted.
                Err(_) => {}
            }
        }
    }
}

impl ItemSource for Connections {
    fn read(&mut self, call: &mut Call<'_>, at: u32, count: u32) -> Outcome<Transfer> {
        self.rests = None;
        if count == 0 {
            let wait = Wait::Host(self.listener.fd(), PollFlags::IN);
            let is_ready = settle_errno(wait.is_ready())?;
            return Ok(match is_ready {
                Ok(false) => Transfer::Pending,
                Ok(true) | Err(_) => Transfer::Items(0),
            });
        }
        let mut to = at;
        for stored in 0..count {
            let mut parts = call.parts();
            let (_, env, _) = parts.split();
            env.work.units(1)?;
            match settle_errno(self.accept(env))? {
                Ok(Some(connection)) => {
                    let socket = Tcp::new(connection, State::Connected);
                    New::alone(socket).store(call, to)?;
                    // Within the guest's buffer, so within 32 bits.
                    to += New::SIZE;
                }
                Ok(None) if stored == 0 => return Ok(Transfer::Pending),
                Err(_) if stored == 0 => return Ok(Transfer::End),
                Ok(None) | Err(_) => return Ok(Transfer::Items(stored)),
            }
        }
        Ok(Transfer::Items(count))
    }

    fn wait(&self, waits: &mut Waits) {
        waits.add(match self.rests {
            Some(until) => Interest::Deadline(until),
            None => Interest::Readable(Arc::<TcpSocket>::clone(&self.listener)),
        });
    }
}

fn send(call: &mut Call<'_>) -> Outcome<Readable> {
    let this = call.handle::<Tcp>()?;
    let stream = call.u32();
    let socket: &mut Tcp = call.ctx().resources.get(this)?;
    match socket.take(Direction::Send) {
        Ok(socket) => writing::<SocketError>(call, stream, Sink::Tcp(socket)),
        Err(error) => failed_writing(call, stream, SocketError::from(error)),
    }
}

fn receive(call: &mut Call<'_>) -> Outcome<StreamAndEnding> {
    let this = call.handle::<Tcp>()?;
    let socket: &mut Tcp = call.ctx().resources.get(this)?;
    Ok(match socket.take(Direction::Receive) {
        Ok(socket) => reading::<SocketError>(Source::Tcp(socket)),
        Err(error) => failed_reading(SocketError::from(error)),
    })
}
