//! `wasi:sockets/ip-name-lookup`: its functions, with the answer as a resource.

use std::net::IpAddr;
use std::sync::Arc;

use crate::component::call::{Call, Outcome};
use crate::component::error::settle_errno;
use crate::component::lookup::Lookup;
use crate::component::lower::New;
use crate::component::network::{Done, NetError};
use crate::component::resources::Network;
use crate::component::rows::{Row, row};
use crate::p2::poll::subscribe;

pub(super) const ROWS: &[Row] = &[
    row!("resolve-addresses" [I32 I32 I32] resolve_addresses),
    row!("[method]resolve-address-stream.resolve-next-address" [I32] resolve_next_address),
    row!("[method]resolve-address-stream.subscribe" [I32] subscribe::<Lookup>),
];

fn resolve_addresses(call: &mut Call<'_>) -> Outcome<Done<New>> {
    call.handle::<Network>()?;
    let name = call.text()?;
    let started = settle_errno(Lookup::start(call.ctx(), name))?;
    Ok(started.map_err(NetError::from).flatten().map(New::alone))
}

fn resolve_next_address(call: &mut Call<'_>) -> Outcome<Done<Option<IpAddr>>> {
    let this = call.handle::<Lookup>()?;
    let ctx = call.ctx();
    let lookup: &mut Lookup = ctx.resources.get(this)?;
    let addresses = lookup.addresses(Arc::make_mut(&mut ctx.net));
    Ok(addresses.map(Iterator::next))
}
