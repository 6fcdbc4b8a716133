//! `wasi:sockets/tcp` and `tcp-create-socket`: what the interface calls the states of a socket, and what is allowed in each.
//!
//! Binding, listening and connecting are begun and finished by two calls. The host does the first two at once, so their
//! second call only says so.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SocketType, sockopt};

use crate::abi::Errno;
use crate::objects::socket;
use crate::objects::sockopt::{local_address as host_address, remote_address as host_peer};
use crate::objects::tcp::{
    Direction, Family, TcpSocket, create, keep_alive_packets, keep_alive_time,
};
use crate::p2::call::{Call, Outcome};
use crate::p2::error::{settle, settle_errno};
use crate::p2::lower::{Lower, New};
use crate::p2::network::{Done, NetError, family, require_peer, require_unicast, socket_address};
use crate::p2::poll::{Wait, subscribe};
use crate::p2::resources::Network;
use crate::p2::rows::{Row, row};
use crate::p2::sockopt::{self as options, Socket, require_some, this};
use crate::p2::streams::{InputStream, OutputStream, Sink, Source};

/// How many connections may wait to be accepted unless the guest says otherwise, and at most.
const BACKLOG: i32 = 128;
const MAX_BACKLOG: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unbound,
    BindStarted,
    Bound,
    ListenStarted,
    Listening,
    Connecting,
    Connected,
    Closed,
}

/// `tcp-socket`.
#[derive(Debug)]
pub(crate) struct Tcp {
    socket: Arc<TcpSocket>,
    state: State,
    backlog: i32,
}

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

impl Socket for Tcp {
    fn host(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    fn family(&self) -> Family {
        self.socket.family
    }
}

impl Tcp {
    fn new(socket: Arc<TcpSocket>, state: State) -> Self {
        Self {
            socket,
            state,
            backlog: BACKLOG,
        }
    }

    pub(super) fn wait(&self) -> Wait<'_> {
        match self.state {
            State::Connecting => Wait::Host(self.socket.fd(), PollFlags::OUT),
            State::Listening => Wait::Host(self.socket.fd(), PollFlags::IN),
            _ => Wait::Ready,
        }
    }

    /// Requires one of `states`; a call that is begun and not finished is in the way of others.
    fn require(&self, states: &[State]) -> Done<()> {
        match self.state {
            state if states.contains(&state) => Ok(()),
            State::BindStarted | State::ListenStarted | State::Connecting => {
                Err(NetError::ConcurrencyConflict)
            }
            _ => Err(NetError::InvalidState),
        }
    }

    fn bind(&mut self, address: SocketAddr) -> Done<()> {
        // So that a listener can come back while old connections of its still fade away.
        sockopt::set_socket_reuseaddr(self.host(), address.port() != 0).map_err(Errno::from)?;
        match rustix::net::bind(self.host(), &address).map_err(Errno::from) {
            Ok(()) => {
                self.state = State::BindStarted;
                Ok(())
            }
            // There is no port left.
            Err(Errno::NOBUFS) => Err(NetError::AddressInUse),
            Err(errno) => Err(errno.into()),
        }
    }

    fn connect(&mut self, peer: SocketAddr) -> Done<()> {
        match rustix::net::connect(self.host(), &peer).map_err(Errno::from) {
            Ok(()) | Err(Errno::INPROGRESS) => {
                self.state = State::Connecting;
                Ok(())
            }
            Err(errno) => Err(self.closed(connect_error(errno))),
        }
    }

    /// What a socket is good for after its connecting failed: nothing.
    fn closed(&mut self, error: NetError) -> NetError {
        self.state = State::Closed;
        error
    }

    /// How connecting went, if it did.
    fn connected(&mut self) -> Done<()> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut set = [PollFd::from_borrowed_fd(self.socket.fd(), PollFlags::OUT)];
        match rustix::event::poll(&mut set, Some(&now)).map_err(Errno::from)? {
            0 => return Err(NetError::WouldBlock),
            _ => match sockopt::socket_error(self.host()).map_err(Errno::from)? {
                Ok(()) => self.state = State::Connected,
                Err(errno) => return Err(self.closed(connect_error(errno.into()))),
            },
        }
        Ok(())
    }
}

/// Where connecting binds, another address was meant.
fn connect_error(errno: Errno) -> NetError {
    match errno {
        Errno::ADDRNOTAVAIL => NetError::AddressInUse,
        errno => errno.into(),
    }
}

fn create_tcp_socket(call: &mut Call<'_>) -> Outcome<Done<New>> {
    let family = family(call)?;
    let ctx = call.ctx();
    if !ctx.net.may_have_sockets() {
        return Ok(Err(NetError::AccessDenied));
    }
    let made = (|| {
        let room = ctx.table.room()?;
        let fd = create(family, SocketType::STREAM)?;
        Ok(TcpSocket::new(fd, family, room.hold()))
    })();
    let made = settle_errno(made)?.map_err(|errno| match errno {
        Errno::AFNOSUPPORT => NetError::NotSupported,
        errno => errno.into(),
    });
    Ok(made.map(|socket| New::alone(Tcp::new(Arc::new(socket), State::Unbound))))
}

fn start_bind(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    call.handle::<Network>()?;
    let address = socket_address(call)?;
    let ctx = call.ctx();
    let socket: &mut Tcp = ctx.resources.get(this)?;
    Ok((|| {
        socket.require(&[State::Unbound])?;
        require_unicast(address, socket.family())?;
        match ctx.net.may_bind_to(address) {
            true => socket.bind(address),
            false => Err(NetError::AccessDenied),
        }
    })())
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
    Ok((|| {
        socket.require(&[State::Unbound, State::Bound])?;
        require_peer(peer, socket.family())?;
        match ctx.net.may_connect_to(peer) {
            true => socket.connect(peer),
            false => Err(NetError::AccessDenied),
        }
    })())
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
    Ok((|| {
        socket.require(&[State::Bound])?;
        // It may have been bound to talk to peers only.
        let mut address = host_address(socket.host())?;
        if !ctx.net.may_listen_on(address) {
            address.set_port(0);
            if !ctx.net.may_listen_on(address) {
                return Err(NetError::AccessDenied);
            }
        }
        rustix::net::listen(socket.host(), socket.backlog).map_err(Errno::from)?;
        socket.state = State::ListenStarted;
        Ok(())
    })())
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
    let accepted = env.table.room().and_then(|room| {
        let fd = socket::accept(socket.host(), true, env.interrupts)?;
        Ok(TcpSocket::new(fd, socket.family(), room.hold()))
    });
    let accepted = settle_errno(accepted)?;
    Ok(accepted
        .map(|socket| Accepted(Arc::new(socket)))
        .map_err(NetError::from))
}

fn local_address(call: &mut Call<'_>) -> Outcome<Done<SocketAddr>> {
    let socket = this::<Tcp>(call)?;
    Ok(match socket.state {
        State::Unbound | State::Closed => Err(NetError::InvalidState),
        State::BindStarted => Err(NetError::ConcurrencyConflict),
        _ => host_address(socket.host()).map_err(NetError::from),
    })
}

fn remote_address(call: &mut Call<'_>) -> Outcome<Done<SocketAddr>> {
    let socket = this::<Tcp>(call)?;
    Ok(match socket.state {
        State::Connected => host_peer(socket.host()).map_err(NetError::from),
        State::Connecting => Err(NetError::ConcurrencyConflict),
        _ => Err(NetError::InvalidState),
    })
}

fn is_listening(call: &mut Call<'_>) -> Outcome<bool> {
    Ok(this::<Tcp>(call)?.state == State::Listening)
}

fn set_listen_backlog_size(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let size = require_some(call.u64());
    let socket: &mut Tcp = call.ctx().resources.get(this)?;
    Ok(size.and_then(|size| {
        let backlog = size.min(MAX_BACKLOG) as i32;
        match socket.state {
            State::Connecting | State::Connected | State::Closed => {
                return Err(NetError::InvalidState);
            }
            State::Listening | State::ListenStarted => {
                rustix::net::listen(socket.host(), backlog).map_err(Errno::from)?;
            }
            State::Unbound | State::BindStarted | State::Bound => {}
        }
        socket.backlog = backlog;
        Ok(())
    }))
}

/// Gets an option of the socket that is the next argument.
fn get<T>(
    call: &mut Call<'_>,
    get: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>,
) -> Outcome<Done<T>> {
    let value = get(this::<Tcp>(call)?.host());
    Ok(value.map_err(|errno| Errno::from(errno).into()))
}

/// Sets an option.
fn set<T>(
    call: &mut Call<'_>,
    socket: u32,
    value: Done<T>,
    set: impl FnOnce(BorrowedFd<'_>, T) -> rustix::io::Result<()>,
) -> Outcome<Done<()>> {
    let socket: &Tcp = call.ctx().resources.get(socket)?;
    let set = |value| set(socket.host(), value).map_err(|errno| Errno::from(errno).into());
    Ok(value.and_then(set))
}

fn keep_alive_enabled(call: &mut Call<'_>) -> Outcome<Done<bool>> {
    get(call, |fd| sockopt::socket_keepalive(fd))
}

fn set_keep_alive_enabled(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let value = call.bool();
    set(call, this, Ok(value), |fd, value| {
        sockopt::set_socket_keepalive(fd, value)
    })
}

/// Nanoseconds of a time that the host counts in seconds.
fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn keep_alive_idle_time(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    get(call, |fd| sockopt::tcp_keepidle(fd).map(nanoseconds))
}

fn set_keep_alive_idle_time(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let time = require_some(call.u64());
    set(call, this, time, |fd, time| {
        sockopt::set_tcp_keepidle(fd, keep_alive_time(time))
    })
}

fn keep_alive_interval(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    get(call, |fd| sockopt::tcp_keepintvl(fd).map(nanoseconds))
}

fn set_keep_alive_interval(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let time = require_some(call.u64());
    set(call, this, time, |fd, time| {
        sockopt::set_tcp_keepintvl(fd, keep_alive_time(time))
    })
}

fn keep_alive_count(call: &mut Call<'_>) -> Outcome<Done<u32>> {
    get(call, |fd| sockopt::tcp_keepcnt(fd))
}

fn set_keep_alive_count(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let count = require_some(call.u32());
    set(call, this, count, |fd, count| {
        sockopt::set_tcp_keepcnt(fd, keep_alive_packets(count))
    })
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
