//! Options and addresses of sockets, of whatever kind.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::net::sockopt;

use super::tcp::Family;
use crate::abi::Errno;

/// The number of hops that packets may make.
pub(crate) fn hop_limit(socket: impl AsFd, family: Family) -> Result<u8, Errno> {
    Ok(match family {
        Family::V4 => u8::try_from(sockopt::ip_ttl(socket)?).unwrap_or(u8::MAX),
        Family::V6 => sockopt::ipv6_unicast_hops(socket)?,
    })
}

/// Sets the number of hops that packets may make.
pub(crate) fn set_hop_limit(socket: impl AsFd, family: Family, hops: u8) -> Result<(), Errno> {
    Ok(match family {
        Family::V4 => sockopt::set_ip_ttl(socket, hops.into()),
        Family::V6 => sockopt::set_ipv6_unicast_hops(socket, Some(hops)),
    }?)
}

/// A buffer of a socket's in the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffer {
    Receive,
    Send,
}

/// Bytes of a socket's buffer, as they were asked for: Linux says twice as many, for its own use.
pub(crate) fn buffer_size(socket: impl AsFd, buffer: Buffer) -> Result<u64, Errno> {
    let size = match buffer {
        Buffer::Receive => sockopt::socket_recv_buffer_size(socket),
        Buffer::Send => sockopt::socket_send_buffer_size(socket),
    }?;
    Ok(size as u64 / 2)
}

/// Asks for bytes of a socket's buffer; the host gives what it may.
pub(crate) fn set_buffer_size(socket: impl AsFd, buffer: Buffer, size: u64) -> Result<(), Errno> {
    let size = size.min(i32::MAX as u64 / 2) as usize;
    Ok(match buffer {
        Buffer::Receive => sockopt::set_socket_recv_buffer_size(socket, size),
        Buffer::Send => sockopt::set_socket_send_buffer_size(socket, size),
    }?)
}

/// The address that a socket is bound to.
pub(crate) fn local_address(socket: impl AsFd) -> Result<SocketAddr, Errno> {
    Ok(rustix::net::getsockname(socket)?.try_into()?)
}

/// The address that a socket is connected to.
pub(crate) fn remote_address(socket: impl AsFd) -> Result<SocketAddr, Errno> {
    let address = rustix::net::getpeername(socket)?.ok_or(Errno::NOTCONN)?;
    Ok(address.try_into()?)
}
