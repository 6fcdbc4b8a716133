//! `client`: requests to other servers.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use tiered_component::concurrent::Waits;
use tiered_http::client::Pending;

use crate::component::call::{Call, Outcome};
use crate::component::concurrent::{Eventual, Operation};
use crate::component::http::bell::Bell;
use crate::component::http::client::{self, InFlight};
use crate::component::http::code::ErrorCode;
use crate::component::lower::New;
use crate::p3::http::message::{Request, Response};

/// A request whose response has not come.
struct Sending {
    pending: Pending,
    in_flight: Option<InFlight>,
    bell: Bell,
}

/// What a request comes to.
type Answered = Result<New, ErrorCode>;

impl Operation<Answered> for Sending {
    fn poll(&mut self, call: &mut Call<'_>) -> Outcome<Poll<Answered>> {
        let pending = Pin::new(&mut self.pending);
        let Poll::Ready(result) = pending.poll(&mut self.bell.context()) else {
            return Ok(Poll::Pending);
        };
        // It is ready once.
        let Some(in_flight) = self.in_flight.take() else {
            return Ok(Poll::Pending);
        };
        let response = result.map_err(|error| ErrorCode::from(&error));
        let budget = &call.ctx().http.fields;
        let received = response.and_then(|it| Response::received(it, in_flight, budget));
        Ok(Poll::Ready(received.map(New::alone)))
    }

    fn wait(&self, waits: &mut Waits) {
        self.bell.watch(waits);
    }
}

pub(super) fn send(call: &mut Call<'_>) -> Outcome<Eventual<Answered>> {
    let request: Request = call.take()?;
    let ctx = call.ctx();
    let bell = ctx.resources.loop_bell().clone();
    let (head, body, options) = request.into_parts(ctx.http.limits.request_body);
    let (pending, in_flight) = match client::send(ctx, head, body, options) {
        Ok(sent) => sent,
        Err(code) => return Ok(Eventual::Now(Err(code))),
    };
    let sending = Sending {
        pending,
        in_flight: Some(in_flight),
        bell,
    };
    Eventual::of(sending, call)
}
