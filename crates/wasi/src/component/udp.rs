//! UDP sockets by handles: what is granted, and datagrams out and in.
//!
//! Whoever may listen at an address receives from anyone there. A socket that was bound to talk to its peers only receives
//! from those that the guest may send to: what others send is dropped.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags, SocketType};
use tiered_component::concurrent::Descriptor;

use crate::abi::Errno;
use crate::component::call::{Call, Outcome};
use crate::component::error::settle_errno;
use crate::component::lower::New;
use crate::component::network::{Done, NetError, family, require_peer, require_unicast};
use crate::component::sockopt::{Socket, this};
use crate::component::wait::Wait;
use crate::fd_share::Hold;
use crate::net_grants::NetGrants;
use crate::objects::sockopt::local_address as host_address;
use crate::objects::tcp::{Family, create};

/// Datagrams from those who are no peers that one call drops before it goes on.
const MOST_DROPPED: usize = 64;

/// A datagram has no more bytes.
pub(crate) const DATAGRAM: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Unbound,
    BindStarted,
    Bound,
}

/// The host's side of a socket.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    pub(crate) fd: OwnedFd,
    family: Family,
    _hold: Option<Hold>,
}

/// `udp-socket`.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: Arc<UdpSocket>,
    pub(crate) state: State,
    remote: Option<SocketAddr>,
    /// Whether it receives from anyone.
    is_open: bool,
}

/// The receiving side of a socket, with the peer that it was tied to when it was made.
#[derive(Debug)]
pub(crate) struct Incoming {
    socket: Arc<UdpSocket>,
    remote: Option<SocketAddr>,
    is_open: bool,
}

/// The sending side of a socket, with the peer that it was tied to when it was made.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) socket: Arc<UdpSocket>,
    remote: Option<SocketAddr>,
    /// How many datagrams the next call may send.
    pub(crate) permit: u64,
}

impl Socket for Udp {
    fn host(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }

    fn family(&self) -> Family {
        self.socket.family
    }
}

impl Udp {
    /// Binds it to an address of this host, if that is granted; then it is in the state `bound`.
    pub(crate) fn bind(&mut self, address: SocketAddr, net: &NetGrants, bound: State) -> Done<()> {
        match self.state {
            State::Unbound => {}
            State::BindStarted => return Err(NetError::ConcurrencyConflict),
            State::Bound => return Err(NetError::InvalidState),
        }
        require_unicast(address, self.family())?;
        if !net.may_bind_to(address) {
            return Err(NetError::AccessDenied);
        }
        match rustix::net::bind(self.host(), &address).map_err(Errno::from) {
            Ok(()) => {}
            // There is no port left.
            Err(Errno::NOBUFS) => return Err(NetError::AddressInUse),
            Err(errno) => return Err(errno.into()),
        }
        self.is_open = net.may_listen_on(address);
        self.state = bound;
        Ok(())
    }

    /// Ties it to one peer, if that is granted, or unties it.
    pub(crate) fn tie(&mut self, remote: Option<SocketAddr>, net: &NetGrants) -> Done<()> {
        if let Some(peer) = remote {
            require_peer(peer, self.family())?;
            if !net.may_connect_to(peer) {
                return Err(NetError::AccessDenied);
            }
        }
        if self.remote.take().is_some() {
            self.socket.untie()?;
        }
        if let Some(peer) = remote {
            rustix::net::connect(&self.socket.fd, &peer).map_err(Errno::from)?;
        }
        self.remote = remote;
        Ok(())
    }

    /// Whether it is tied to a peer.
    pub(crate) fn is_tied(&self) -> bool {
        self.remote.is_some()
    }

    /// Refuses to send to what cannot be an address for it.
    pub(crate) fn require_destination(&self, address: Option<SocketAddr>) -> Done<()> {
        destination(self.remote, address, self.family()).map(drop)
    }

    /// Binds it where the host picks, if it is not bound yet.
    pub(crate) fn bind_anywhere(&mut self, net: &NetGrants) -> Done<()> {
        match self.state {
            State::Unbound => self.bind(self.family().anywhere(), net, State::Bound),
            State::BindStarted | State::Bound => Ok(()),
        }
    }

    pub(crate) fn incoming(&self) -> Incoming {
        Incoming {
            socket: Arc::clone(&self.socket),
            remote: self.remote,
            is_open: self.is_open,
        }
    }

    pub(crate) fn outgoing(&self) -> Outgoing {
        Outgoing {
            socket: Arc::clone(&self.socket),
            remote: self.remote,
            permit: 0,
        }
    }

    /// What may be begun with it can be finished at once.
    pub(crate) fn wait(&self) -> Wait<'_> {
        Wait::Ready
    }
}

impl UdpSocket {
    /// Unties it from its peer. Linux then takes the port away if it was not the guest that chose it: so it is bound again.
    fn untie(&self) -> Result<(), Errno> {
        let port = host_address(&self.fd)?.port();
        rustix::net::connect_unspec(&self.fd)?;
        let mut address = host_address(&self.fd)?;
        if address.port() != port {
            address.set_port(port);
            rustix::net::bind(&self.fd, &address)?;
        }
        Ok(())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Incoming {
    pub(crate) fn descriptor(&self) -> Descriptor {
        Arc::<UdpSocket>::clone(&self.socket)
    }

    /// Receives the next datagram into `buffer`, which has room for any: its length, and from whom it is; `AGAIN` if there is
    /// none. What others than peers send is dropped.
    pub(crate) fn receive(
        &self,
        buffer: &mut [u8],
        net: &NetGrants,
    ) -> Result<(usize, SocketAddr), Errno> {
        for _ in 0..MOST_DROPPED {
            let receive =
                || rustix::net::recvfrom(&self.socket.fd, &mut *buffer, RecvFlags::DONTWAIT);
            let (len, _, from) = rustix::io::retry_on_intr(receive)?;
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            match from {
                Some(from)
                    if self.remote.is_none_or(|remote| remote == from)
                        && (self.is_open || net.may_connect_to(from)) =>
                {
                    return Ok((len, from));
                }
                _ => {}
            }
        }
        Err(Errno::AGAIN)
    }

    /// What has to happen before there is something to receive.
    pub(crate) fn wait(&self) -> Wait<'_> {
        Wait::Host(self.socket.fd.as_fd(), PollFlags::IN)
    }
}

/// Where a datagram goes that is sent to `address`.
fn destination(
    remote: Option<SocketAddr>,
    address: Option<SocketAddr>,
    family: Family,
) -> Done<SocketAddr> {
    let peer = match (remote, address) {
        (Some(remote), None) => remote,
        (Some(remote), Some(address)) if remote == address => remote,
        (None, Some(address)) => address,
        (Some(_), Some(_)) | (None, None) => return Err(NetError::InvalidArgument),
    };
    require_peer(peer, family)?;
    Ok(peer)
}

impl Outgoing {
    pub(crate) fn descriptor(&self) -> Descriptor {
        Arc::<UdpSocket>::clone(&self.socket)
    }

    /// Sends one datagram, if it may go there; `would-block` if the host does not take it now.
    pub(crate) fn send(
        &self,
        bytes: &[u8],
        address: Option<SocketAddr>,
        net: &NetGrants,
    ) -> Done<()> {
        let peer = destination(self.remote, address, self.socket.family)?;
        if !net.may_connect_to(peer) {
            return Err(NetError::AccessDenied);
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let send = || match self.remote {
            Some(_) => rustix::net::send(&self.socket.fd, bytes, flags),
            None => rustix::net::sendto(&self.socket.fd, bytes, flags, &peer),
        };
        rustix::io::retry_on_intr(send).map_err(Errno::from)?;
        Ok(())
    }

    /// What has to happen before more can be sent.
    pub(crate) fn wait(&self) -> Wait<'_> {
        Wait::Host(self.socket.fd.as_fd(), PollFlags::OUT)
    }
}

pub(crate) fn create_udp_socket(call: &mut Call<'_>) -> Outcome<Done<New>> {
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

pub(crate) fn local_address(call: &mut Call<'_>) -> Outcome<Done<SocketAddr>> {
    let socket = this::<Udp>(call)?;
    Ok(match socket.state {
        State::Unbound => Err(NetError::InvalidState),
        State::BindStarted => Err(NetError::ConcurrencyConflict),
        State::Bound => host_address(socket.host()).map_err(NetError::from),
    })
}

pub(crate) fn remote_address(call: &mut Call<'_>) -> Outcome<Done<SocketAddr>> {
    Ok(this::<Udp>(call)?.remote.ok_or(NetError::InvalidState))
}
