//! `wasi:sockets/ip-name-lookup`.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;

use tiered_component::concurrent::{Interest, Waits};

use crate::component::call::{Call, Outcome};
use crate::component::concurrent::{Eventual, Operation};
use crate::component::error::settle_errno;
use crate::component::lookup::Lookup;
use crate::component::network::NetError;
use crate::component::rows::{Row, row};
use crate::p3::codes::LookupError;

pub(super) const ROWS: &[Row] = &[row!("resolve-addresses" [I32 I32] resolve_addresses)];

/// What a look-up comes to: at least one address.
type Found = Result<Vec<IpAddr>, LookupError>;

impl Operation<Found> for Lookup {
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<Found>> {
        Ok(match self.addresses(Arc::make_mut(&mut call.ctx().net)) {
            Ok(addresses) => Poll::Ready(Ok(addresses.collect())),
            Err(NetError::WouldBlock) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        })
    }

    fn wait(&self, waits: &mut Waits) {
        if let Some(event) = self.event() {
            waits.add(Interest::Readable(event));
        }
    }
}

fn resolve_addresses(call: &mut Call<'_>) -> Outcome<Eventual<Found>> {
    let name = call.text()?;
    let started = settle_errno(Lookup::start(call.ctx(), name))?;
    match started.map_err(NetError::from).flatten() {
        Ok(lookup) => Eventual::of(lookup, call),
        Err(error) => Ok(Eventual::Now(Err(error.into()))),
    }
}
