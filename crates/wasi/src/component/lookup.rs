//! Looking up names, as granted: what `wasi:sockets/ip-name-lookup` does in all versions.

use std::net::IpAddr;
use std::sync::Arc;

use rustix::event::PollFlags;
use tiered_component::concurrent::Descriptor;

use crate::abi::Errno;
use crate::component::network::{Done, NetError};
use crate::component::wait::Wait;
use crate::ctx::WasiCtx;
use crate::net_grants::NetGrants;
use crate::objects::lookup::{LookupError, NameLookup};

/// A look-up, under way or answered.
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
    /// Begins to look up a name, if that is granted. An address is found at once.
    pub(crate) fn start(ctx: &WasiCtx, name: String) -> Result<Done<Self>, Errno> {
        let bare = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(&name).parse::<IpAddr>() {
            // That is no question to anybody, so no matter of grants.
            let state = State::Found(vec![address].into_iter());
            return Ok(Ok(Self { name, state }));
        }
        if !crate::net_grants::is_name(&name) {
            return Ok(Err(NetError::InvalidArgument));
        }
        if !ctx.net.may_resolve(&name) {
            return Ok(Err(NetError::AccessDenied));
        }
        let room = ctx.table.room()?;
        let started = NameLookup::start(name.clone(), &ctx.lookups, room.hold())?;
        Ok(match started {
            Ok(lookup) => Ok(Self {
                name,
                state: State::UnderWay(lookup),
            }),
            Err(error) => Err(error.into()),
        })
    }

    /// What has to happen before there is an answer.
    pub(crate) fn wait(&self) -> Wait<'_> {
        match &self.state {
            State::UnderWay(lookup) => Wait::Host(lookup.event(), PollFlags::IN),
            State::Found(_) | State::Failed(_) => Wait::Ready,
        }
    }

    /// What becomes readable when there is an answer; `None` if there is one.
    pub(crate) fn event(&self) -> Option<Descriptor> {
        match &self.state {
            State::UnderWay(lookup) => Some(Arc::new(lookup.clone())),
            State::Found(_) | State::Failed(_) => None,
        }
    }

    /// The addresses that are left; `would-block` while there is no answer.
    pub(crate) fn addresses(
        &mut self,
        net: &mut NetGrants,
    ) -> Done<&mut std::vec::IntoIter<IpAddr>> {
        if let State::UnderWay(running) = &self.state {
            self.state = match running.take() {
                None => return Err(NetError::WouldBlock),
                Some(Ok(addresses)) => {
                    net.found(&self.name, &addresses);
                    State::Found(addresses.into_iter())
                }
                Some(Err(error)) => State::Failed(error.into()),
            };
        }
        match &mut self.state {
            State::Found(addresses) => Ok(addresses),
            State::Failed(error) => Err(*error),
            State::UnderWay(_) => Err(NetError::WouldBlock),
        }
    }
}
