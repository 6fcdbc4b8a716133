//! `outgoing-handler`, and `future-incoming-response`: requests to other servers.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use tiered_http::BodyReader;
use tiered_http::client::{ClientError, Pending};
use tiered_http::http::Response;

use crate::component::call::{Call, Outcome};
use crate::component::http::bell::Bell;
use crate::component::http::client::{self, InFlight};
use crate::component::http::code::ErrorCode;
use crate::component::http::options::RequestOptions;
use crate::component::lower::New;
use crate::component::wait::Wait;
use crate::p2::http::incoming::IncomingResponse;
use crate::p2::http::outgoing::OutgoingRequest;

/// `future-incoming-response`.
#[derive(Debug)]
pub(crate) struct FutureIncomingResponse {
    state: State,
    bell: Bell,
}

#[derive(Debug)]
enum State {
    Waiting(Pending, InFlight),
    Here(Result<(Response<BodyReader>, InFlight), ClientError>),
    Taken,
}

impl FutureIncomingResponse {
    /// Looks whether it is here.
    pub(crate) fn look(&mut self) {
        let State::Waiting(pending, _) = &mut self.state else {
            return;
        };
        let Poll::Ready(result) = Pin::new(pending).poll(&mut self.bell.context()) else {
            return;
        };
        let state = std::mem::replace(&mut self.state, State::Taken);
        if let State::Waiting(_, in_flight) = state {
            self.state = State::Here(result.map(|response| (response, in_flight)));
        }
    }

    pub(crate) fn wait(&self) -> Wait<'static> {
        match self.state {
            State::Waiting(..) => Wait::Bell,
            State::Here(_) | State::Taken => Wait::Ready,
        }
    }
}

pub(super) fn handle(call: &mut Call<'_>) -> Outcome<Result<New, ErrorCode>> {
    let request: OutgoingRequest = call.take()?;
    let options: Option<RequestOptions> = match call.case(2)? {
        0 => {
            call.skip(1);
            None
        }
        _ => Some(call.take()?),
    };
    let ctx = call.ctx();
    let bell = ctx.resources.bell().clone();
    // Who watches it has nothing to say about a request.
    let body = request.body.into_inner().map(|(body, _)| body);
    let sent = client::send(ctx, request.head, body.unwrap_or_default(), options);
    Ok(sent.map(|(pending, in_flight)| {
        New::alone(FutureIncomingResponse {
            state: State::Waiting(pending, in_flight),
            bell,
        })
    }))
}

/// What `future-incoming-response.get` says: nothing yet, or once what has come of it.
type Got = Option<Result<Result<New, ErrorCode>, ()>>;

pub(super) fn get(call: &mut Call<'_>) -> Outcome<Got> {
    let this = call.handle::<FutureIncomingResponse>()?;
    let ctx = call.ctx();
    let future: &mut FutureIncomingResponse = ctx.resources.get(this)?;
    future.look();
    let bell = future.bell.clone();
    Ok(match std::mem::replace(&mut future.state, State::Taken) {
        waiting @ State::Waiting(..) => {
            future.state = waiting;
            None
        }
        State::Taken => Some(Err(())),
        State::Here(Err(error)) => Some(Ok(Err(ErrorCode::from(&error)))),
        State::Here(Ok((response, in_flight))) => {
            let response = IncomingResponse::new(response, in_flight, &ctx.http.fields, &bell)?;
            Some(Ok(Ok(New::alone(response))))
        }
    })
}
