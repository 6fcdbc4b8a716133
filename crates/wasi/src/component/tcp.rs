//! TCP sockets by handles: their states, what is allowed in each, and what is granted.
//!
//! 0.2 begins and finishes binding, listening and connecting by two calls. The host does the first two at once, so their
//! second call only says so; 0.3 has one call for each.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SocketType, sockopt};

use crate::abi::Errno;
use crate::component::call::{Call, Env, Outcome};
use crate::component::error::settle_errno;
use crate::component::lower::New;
use crate::component::network::{Done, NetError, family, require_peer, require_unicast};
use crate::component::sockopt::{Socket, require_some, this};
use crate::component::wait::Wait;
use crate::net_grants::NetGrants;
use crate::objects::socket;
use crate::objects::sockopt::{local_address as host_address, remote_address as host_peer};
use crate::objects::tcp::{
    Direction, Family, TcpSocket, create, keep_alive_packets, keep_alive_time,
};

/// How many connections may wait to be accepted unless the guest says otherwise, and at most.
const BACKLOG: i32 = 128;
const MAX_BACKLOG: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
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
    pub(crate) socket: Arc<TcpSocket>,
    pub(crate) state: State,
    backlog: i32,
    /// Whether its bytes go to and come from streams, of which it has one for each direction.
    sends: bool,
    receives: bool,
}

impl Socket for Tcp {
    fn host(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    fn family(&self) -> Family {
        self.socket.family
    }
}

impl Tcp {
    pub(crate) fn new(socket: Arc<TcpSocket>, state: State) -> Self {
        Self {
            socket,
            state,
            backlog: BACKLOG,
            sends: false,
            receives: false,
        }
    }

    pub(crate) fn wait(&self) -> Wait<'_> {
        match self.state {
            State::Connecting => Wait::Host(self.socket.fd(), PollFlags::OUT),
            State::Listening => Wait::Host(self.socket.fd(), PollFlags::IN),
            _ => Wait::Ready,
        }
    }

    /// Requires one of `states`; a call that is begun and not finished is in the way of others.
    pub(crate) fn require(&self, states: &[State]) -> Done<()> {
        match self.state {
            state if states.contains(&state) => Ok(()),
            State::BindStarted | State::ListenStarted | State::Connecting => {
                Err(NetError::ConcurrencyConflict)
            }
            _ => Err(NetError::InvalidState),
        }
    }

    /// Binds it to an address of this host, if that is granted; then it is in the state `bound`.
    pub(crate) fn bind(&mut self, address: SocketAddr, net: &NetGrants, bound: State) -> Done<()> {
        self.require(&[State::Unbound])?;
        require_unicast(address, self.family())?;
        if !net.may_bind_to(address) {
            return Err(NetError::AccessDenied);
        }
        // So that a listener can come back while old connections of its still fade away.
        sockopt::set_socket_reuseaddr(self.host(), address.port() != 0).map_err(Errno::from)?;
        match rustix::net::bind(self.host(), &address).map_err(Errno::from) {
            Ok(()) => {
                self.state = bound;
                Ok(())
            }
            // There is no port left.
            Err(Errno::NOBUFS) => Err(NetError::AddressInUse),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Begins to connect it to a peer, if that is granted.
    pub(crate) fn connect(&mut self, peer: SocketAddr, net: &NetGrants) -> Done<()> {
        self.require(&[State::Unbound, State::Bound])?;
        require_peer(peer, self.family())?;
        if !net.may_connect_to(peer) {
            return Err(NetError::AccessDenied);
        }
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

    /// How connecting went; `would-block` while it goes on.
    pub(crate) fn connected(&mut self) -> Done<()> {
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

    /// Begins to listen, if that is granted where it is bound; then it is in the state `listening`.
    pub(crate) fn listen(&mut self, net: &NetGrants, listening: State) -> Done<()> {
        // It may have been bound to talk to peers only.
        let mut address = host_address(self.host())?;
        if !net.may_listen_on(address) {
            address.set_port(0);
            if !net.may_listen_on(address) {
                return Err(NetError::AccessDenied);
            }
        }
        rustix::net::listen(self.host(), self.backlog).map_err(Errno::from)?;
        self.state = listening;
        Ok(())
    }

    /// The connection, for the only stream in that direction.
    pub(crate) fn take(&mut self, direction: Direction) -> Done<Arc<TcpSocket>> {
        self.require(&[State::Connected])?;
        let taken = match direction {
            Direction::Send => &mut self.sends,
            Direction::Receive => &mut self.receives,
        };
        match std::mem::replace(taken, true) {
            true => Err(NetError::InvalidState),
            false => Ok(Arc::clone(&self.socket)),
        }
    }

    /// Takes the next connection; `AGAIN` if there is none.
    pub(crate) fn accept(listener: &TcpSocket, env: Env<'_>) -> Result<Arc<TcpSocket>, Errno> {
        let room = env.table.room()?;
        let fd = socket::accept(listener.fd(), true, env.interrupts)?;
        let accepted = TcpSocket::new(fd, listener.family, room.hold());
        Ok(Arc::new(accepted))
    }
}

/// Where connecting binds, another address was meant.
fn connect_error(errno: Errno) -> NetError {
    match errno {
        Errno::ADDRNOTAVAIL => NetError::AddressInUse,
        errno => errno.into(),
    }
}

pub(crate) fn create_tcp_socket(call: &mut Call<'_>) -> Outcome<Done<New>> {
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

pub(crate) fn local_address(call: &mut Call<'_>) -> Outcome<Done<SocketAddr>> {
    let socket = this::<Tcp>(call)?;
    Ok(match socket.state {
        State::Unbound | State::Closed => Err(NetError::InvalidState),
        State::BindStarted => Err(NetError::ConcurrencyConflict),
        _ => host_address(socket.host()).map_err(NetError::from),
    })
}

pub(crate) fn remote_address(call: &mut Call<'_>) -> Outcome<Done<SocketAddr>> {
    let socket = this::<Tcp>(call)?;
    Ok(match socket.state {
        State::Connected => host_peer(socket.host()).map_err(NetError::from),
        State::Connecting => Err(NetError::ConcurrencyConflict),
        _ => Err(NetError::InvalidState),
    })
}

pub(crate) fn is_listening(call: &mut Call<'_>) -> Outcome<bool> {
    Ok(this::<Tcp>(call)?.state == State::Listening)
}

pub(crate) fn set_listen_backlog_size(call: &mut Call<'_>) -> Outcome<Done<()>> {
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

pub(crate) fn keep_alive_enabled(call: &mut Call<'_>) -> Outcome<Done<bool>> {
    get(call, |fd| sockopt::socket_keepalive(fd))
}

pub(crate) fn set_keep_alive_enabled(call: &mut Call<'_>) -> Outcome<Done<()>> {
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

pub(crate) fn keep_alive_idle_time(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    get(call, |fd| sockopt::tcp_keepidle(fd).map(nanoseconds))
}

pub(crate) fn set_keep_alive_idle_time(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let time = require_some(call.u64());
    set(call, this, time, |fd, time| {
        sockopt::set_tcp_keepidle(fd, keep_alive_time(time))
    })
}

pub(crate) fn keep_alive_interval(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    get(call, |fd| sockopt::tcp_keepintvl(fd).map(nanoseconds))
}

pub(crate) fn set_keep_alive_interval(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let time = require_some(call.u64());
    set(call, this, time, |fd, time| {
        sockopt::set_tcp_keepintvl(fd, keep_alive_time(time))
    })
}

pub(crate) fn keep_alive_count(call: &mut Call<'_>) -> Outcome<Done<u32>> {
    get(call, |fd| sockopt::tcp_keepcnt(fd))
}

pub(crate) fn set_keep_alive_count(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<Tcp>()?;
    let count = require_some(call.u32());
    set(call, this, count, |fd, count| {
        sockopt::set_tcp_keepcnt(fd, keep_alive_packets(count))
    })
}
