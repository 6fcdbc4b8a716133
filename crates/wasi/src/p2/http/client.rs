//! `outgoing-handler`, and `future-incoming-response`: requests to other servers.
//!
//! Invariant: a request is made only where the guest was granted to connect: its gate has the grants, and is asked for the name
//! and for each address.
//! Invariant: of one guest no more requests are under way than the limit.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tiered_http::client::{Client, ClientError, Destination, Gate, Options, Pending, Tls};
use tiered_http::http::{Request, Response, Uri, uri};
use tiered_http::{Body, BodyReader};

use crate::net_grants::NetGrants;
use crate::p2::call::{Call, Outcome};
use crate::p2::http::bell::Bell;
use crate::p2::http::code::{ErrorCode, internal};
use crate::p2::http::incoming::IncomingResponse;
use crate::p2::http::message::Scheme;
use crate::p2::http::options::RequestOptions;
use crate::p2::http::outgoing::OutgoingRequest;
use crate::p2::lower::New;
use crate::p2::poll::Wait;

impl Gate for NetGrants {
    fn name(&self, to: &Destination) -> bool {
        self.may_request_name(&to.host)
    }

    fn address(&self, to: &Destination, address: SocketAddr) -> bool {
        self.may_request(&to.host, address)
    }
}

/// How many requests are under way, or bodies open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<AtomicUsize>);

/// One of them; dropped with the last that is left of it.
#[derive(Debug)]
pub(crate) struct InFlight(Requests);

impl Requests {
    pub(super) fn start(&self, limit: usize) -> Option<InFlight> {
        let more = |running| (running < limit).then_some(running + 1);
        let started = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        started.ok().map(|_| InFlight(self.clone()))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

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

/// A request as the client has it.
fn assemble(request: OutgoingRequest) -> Result<Request<Body>, ErrorCode> {
    let scheme = match request.scheme {
        None | Some(Scheme::Https) => uri::Scheme::HTTPS,
        Some(Scheme::Http) => uri::Scheme::HTTP,
        Some(Scheme::Other(_)) => return Err(ErrorCode::HttpProtocolError),
    };
    let authority = request.authority.ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(
        request
            .path
            .unwrap_or_else(|| uri::PathAndQuery::from_static("/")),
    );
    let uri = Uri::from_parts(parts).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    // Who watches it has nothing to say about a request.
    let body = request.body.into_inner().map(|(body, _)| body);
    let mut assembled = Request::new(body.unwrap_or_default());
    *assembled.method_mut() = request.method;
    *assembled.uri_mut() = uri;
    *assembled.headers_mut() = request.headers.map().clone();
    Ok(assembled)
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
    if !ctx.net.may_request_anything() {
        return Ok(Err(ErrorCode::HttpRequestDenied));
    }
    let request = match assemble(request) {
        Ok(request) => request,
        Err(error) => return Ok(Err(error)),
    };
    let bell = ctx.resources.bell().clone();
    let http = &mut ctx.http;
    let allowed = http.requests.start(http.limits.requests);
    let Some(in_flight) = allowed.filter(|_| http.made < http.limits.all_requests) else {
        return Ok(Err(ErrorCode::ConnectionLimitReached));
    };
    let client = match http.client() {
        Ok(client) => client,
        Err(error) => return Ok(Err(internal(&error))),
    };
    let mut how = Options::new(Arc::clone(&ctx.net) as Arc<dyn Gate>);
    if let Some(options) = options {
        options.apply(&mut how);
    }
    Ok(match client.send(request, how) {
        Ok(pending) => {
            http.made += 1;
            Ok(New::alone(FutureIncomingResponse {
                state: State::Waiting(pending, in_flight),
                bell,
            }))
        }
        Err(error) => Err(ErrorCode::from(&error)),
    })
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

/// The client of a context that was given none.
pub(super) fn default_client(tls: Option<Tls>) -> Result<Client, String> {
    let mut builder = Client::builder();
    // Without roots there is no TLS, and all else works.
    if let Some(tls) = tls.or_else(|| Tls::platform().ok()) {
        builder = builder.tls(tls);
    }
    builder.start().map_err(|error| error.to_string())
}
