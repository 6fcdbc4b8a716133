//! Requests to other servers.
//!
//! Invariant: a request is made only where the guest was granted to connect: its gate has the grants, and is asked for the name
//! and for each address.
//! Invariant: of one guest no more requests are under way than the limit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tiered_http::Body;
use tiered_http::client::{Client, Destination, Gate, Options, Pending, Tls};
use tiered_http::http::{Request, Uri, uri};

use crate::component::http::code::{ErrorCode, internal};
use crate::component::http::head::RequestHead;
use crate::component::http::message::Scheme;
use crate::component::http::options::RequestOptions;
use crate::ctx::WasiCtx;
use crate::net_grants::NetGrants;

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
    pub(crate) fn start(&self, limit: usize) -> Option<InFlight> {
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

/// A request as the client has it.
fn assemble(head: RequestHead, body: Body) -> Result<Request<Body>, ErrorCode> {
    let scheme = match head.scheme {
        None | Some(Scheme::Https) => uri::Scheme::HTTPS,
        Some(Scheme::Http) => uri::Scheme::HTTP,
        Some(Scheme::Other(_)) => return Err(ErrorCode::HttpProtocolError),
    };
    let authority = head.authority.ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(
        head.path
            .unwrap_or_else(|| uri::PathAndQuery::from_static("/")),
    );
    let uri = Uri::from_parts(parts).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let mut assembled = Request::new(body);
    *assembled.method_mut() = head.method;
    *assembled.uri_mut() = uri;
    *assembled.headers_mut() = head.headers.map().clone();
    Ok(assembled)
}

/// Makes a request, if the guest may: what becomes of it, and what counts it until its response is dropped.
pub(crate) fn send(
    ctx: &mut WasiCtx,
    head: RequestHead,
    body: Body,
    options: Option<RequestOptions>,
) -> Result<(Pending, InFlight), ErrorCode> {
    if !ctx.net.may_request_anything() {
        return Err(ErrorCode::HttpRequestDenied);
    }
    let request = assemble(head, body)?;
    let http = &mut ctx.http;
    let allowed = http.requests.start(http.limits.requests);
    let Some(in_flight) = allowed.filter(|_| http.made < http.limits.all_requests) else {
        return Err(ErrorCode::ConnectionLimitReached);
    };
    let client = http.client().map_err(|error| internal(&error))?;
    let mut how = Options::new(Arc::clone(&ctx.net) as Arc<dyn Gate>);
    if let Some(options) = options {
        options.apply(&mut how);
    }
    let pending = client
        .send(request, how)
        .map_err(|error| ErrorCode::from(&error))?;
    http.made += 1;
    Ok((pending, in_flight))
}

/// The client of a context that was given none.
pub(crate) fn default_client(tls: Option<Tls>) -> Result<Client, String> {
    let mut builder = Client::builder();
    // Without roots there is no TLS, and all else works.
    if let Some(tls) = tls.or_else(|| Tls::platform().ok()) {
        builder = builder.tls(tls);
    }
    builder.start().map_err(|error| error.to_string())
}
