//! `wasi:sockets/ip-name-lookup`.

use std::net::IpAddr;
use std::sync::Arc;

use rustix::event::PollFlags;

use crate::objects::lookup::{LookupError, NameLookup};
use crate::p2::call::{Call, Outcome};
use crate::p2::error::settle_errno;
use crate::p2::lower::New;
use crate::p2::network::{Done, NetError};
use crate::p2::poll::{Wait, subscribe};
use crate::p2::resources::Network;
use crate::p2::rows::{Row, row};

/// `resolve-address-stream`.
#[derive(Debug)]
pub(crate) struct Lookup {
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    UnderWay(NameLookup),
    Found(std::vec::IntoIter<IpAddr>),
    Failed(NetError),
}

pub(super) const ROWS: &[Row] = &[
    row!("resolve-addresses" [I32 I32 I32] resolve_addresses),
    row!("[method]resolve-address-stream.resolve-next-address" [I32] resolve_next_address),
    row!("[method]resolve-address-stream.subscribe" [I32] subscribe::<Lookup>),
];

impl From<LookupError> for NetError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Unresolvable => Self::NameUnresolvable,
            LookupError::Temporary => Self::TemporaryResolverFailure,
            LookupError::Permanent => Self::PermanentResolverFailure,
        }
    }
}

impl Lookup {
    pub(super) fn wait(&self) -> Wait<'_> {
        match &self.state {
            State::UnderWay(lookup) => Wait::Host(lookup.event(), PollFlags::IN),
            State::Found(_) | State::Failed(_) => Wait::Ready,
        }
    }
}

fn resolve_addresses(call: &mut Call<'_>) -> Outcome<Done<New>> {
    call.handle::<Network>()?;
    let name = call.string()?;
    let name = String::from_utf8_lossy(&call.parts().bytes[name]).into_owned();
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(&name).parse::<IpAddr>() {
        // That is no question to anybody, so no matter of grants.
        let state = State::Found(vec![address].into_iter());
        return Ok(Ok(New::alone(Lookup { name, state })));
    }
    if !crate::net_grants::is_name(&name) {
        return Ok(Err(NetError::InvalidArgument));
    }
    let ctx = call.ctx();
    if !ctx.net.may_resolve(&name) {
        return Ok(Err(NetError::AccessDenied));
    }
    let started = ctx
        .table
        .room()
        .and_then(|room| NameLookup::start(name.clone(), &ctx.lookups, room.hold()));
    Ok(match settle_errno(started)? {
        Ok(Ok(lookup)) => Ok(New::alone(Lookup {
            name,
            state: State::UnderWay(lookup),
        })),
        Ok(Err(error)) => Err(error.into()),
        Err(errno) => Err(errno.into()),
    })
}

fn resolve_next_address(call: &mut Call<'_>) -> Outcome<Done<Option<IpAddr>>> {
    let this = call.handle::<Lookup>()?;
    let ctx = call.ctx();
    let lookup: &mut Lookup = ctx.resources.get(this)?;
    if let State::UnderWay(running) = &lookup.state {
        lookup.state = match running.take() {
            None => return Ok(Err(NetError::WouldBlock)),
            Some(Ok(addresses)) => {
                Arc::make_mut(&mut ctx.net).found(&lookup.name, &addresses);
                State::Found(addresses.into_iter())
            }
            Some(Err(error)) => State::Failed(error.into()),
        };
    }
    Ok(match &mut lookup.state {
        State::Found(addresses) => Ok(addresses.next()),
        State::Failed(error) => Err(*error),
        State::UnderWay(_) => Err(NetError::WouldBlock),
    })
}
