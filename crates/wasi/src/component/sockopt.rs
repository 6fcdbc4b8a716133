//! The options that sockets of both kinds have, as operations of their interfaces.

use std::os::fd::BorrowedFd;

use crate::component::call::{Call, Outcome};
use crate::component::network::{Done, NetError};
use crate::component::resources::InTable;
use crate::objects::sockopt::{Buffer, buffer_size, hop_limit, set_buffer_size, set_hop_limit};
use crate::objects::tcp::Family;

/// A socket that is in the table.
pub(crate) trait Socket: InTable {
    fn host(&self) -> BorrowedFd<'_>;
    fn family(&self) -> Family;
}

/// The socket that is the next argument.
pub(crate) fn this<'c, S: Socket>(call: &'c mut Call<'_>) -> Outcome<&'c mut S> {
    let this = call.handle::<S>()?;
    call.ctx().resources.get(this)
}

/// Refuses 0, which no option takes.
pub(crate) fn require_some<N: PartialEq + Default>(value: N) -> Done<N> {
    match value == N::default() {
        true => Err(NetError::InvalidArgument),
        false => Ok(value),
    }
}

pub(crate) fn address_family<S: Socket>(call: &mut Call<'_>) -> Outcome<Family> {
    Ok(this::<S>(call)?.family())
}

pub(crate) fn get_hop_limit<S: Socket>(call: &mut Call<'_>) -> Outcome<Done<u8>> {
    let socket = this::<S>(call)?;
    Ok(hop_limit(socket.host(), socket.family()).map_err(NetError::from))
}

pub(crate) fn put_hop_limit<S: Socket>(call: &mut Call<'_>) -> Outcome<Done<()>> {
    let this = call.handle::<S>()?;
    let hops = require_some(call.u8());
    let socket: &S = call.ctx().resources.get(this)?;
    Ok(hops.and_then(|hops| Ok(set_hop_limit(socket.host(), socket.family(), hops)?)))
}

fn get_size<S: Socket>(call: &mut Call<'_>, buffer: Buffer) -> Outcome<Done<u64>> {
    let socket = this::<S>(call)?;
    Ok(buffer_size(socket.host(), buffer).map_err(NetError::from))
}

fn put_size<S: Socket>(call: &mut Call<'_>, buffer: Buffer) -> Outcome<Done<()>> {
    let this = call.handle::<S>()?;
    let size = require_some(call.u64());
    let socket: &S = call.ctx().resources.get(this)?;
    Ok(size.and_then(|size| Ok(set_buffer_size(socket.host(), buffer, size)?)))
}

pub(crate) fn receive_buffer_size<S: Socket>(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    get_size::<S>(call, Buffer::Receive)
}

pub(crate) fn set_receive_buffer_size<S: Socket>(call: &mut Call<'_>) -> Outcome<Done<()>> {
    put_size::<S>(call, Buffer::Receive)
}

pub(crate) fn send_buffer_size<S: Socket>(call: &mut Call<'_>) -> Outcome<Done<u64>> {
    get_size::<S>(call, Buffer::Send)
}

pub(crate) fn set_send_buffer_size<S: Socket>(call: &mut Call<'_>) -> Outcome<Done<()>> {
    put_size::<S>(call, Buffer::Send)
}
