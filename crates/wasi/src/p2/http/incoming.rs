//! `incoming-request` and `incoming-response`: what a guest gets.

use tiered_http::http::{Response, uri};
use tiered_http::{BodyReader, Request};

use crate::p2::call::{Call, Outcome};
use crate::p2::http::bell::Bell;
use crate::p2::http::client::InFlight;
use crate::p2::http::code::Message;
use crate::p2::http::fields::{Budget, Fields, Frozen};
use crate::p2::http::incoming_body::IncomingBody;
use crate::p2::http::message::{Method, Scheme};
use crate::p2::lower::New;

/// `incoming-request`.
#[derive(Debug)]
pub(crate) struct IncomingRequest {
    method: Method,
    scheme: Scheme,
    authority: Option<uri::Authority>,
    path: uri::PathAndQuery,
    headers: Frozen,
    body: Option<IncomingBody>,
}

impl IncomingRequest {
    pub(crate) fn new(request: Request, budget: &Budget, bell: &Bell) -> Self {
        let scheme = match request.scheme {
            scheme if scheme == uri::Scheme::HTTP => Scheme::Http,
            scheme if scheme == uri::Scheme::HTTPS => Scheme::Https,
            scheme => Scheme::Other(scheme.to_string()),
        };
        Self {
            method: Method(request.method),
            scheme,
            authority: request.authority,
            path: request.path,
            headers: Frozen::handed(request.headers, budget),
            body: Some(IncomingBody::new(
                request.body,
                Message::Request,
                None,
                bell,
            )),
        }
    }
}

/// `incoming-response`.
#[derive(Debug)]
pub(crate) struct IncomingResponse {
    status: u16,
    headers: Frozen,
    body: Option<IncomingBody>,
}

impl IncomingResponse {
    pub(crate) fn new(
        response: Response<BodyReader>,
        in_flight: InFlight,
        budget: &Budget,
        bell: &Bell,
    ) -> Outcome<Self> {
        let (head, body) = response.into_parts();
        Ok(Self {
            status: head.status.as_u16(),
            headers: Frozen::received(head.headers, budget)?,
            body: Some(IncomingBody::new(
                body,
                Message::Response,
                Some(in_flight),
                bell,
            )),
        })
    }
}

/// The request that is the next argument.
fn request<'c>(call: &'c mut Call<'_>) -> Outcome<&'c mut IncomingRequest> {
    let this = call.handle::<IncomingRequest>()?;
    call.ctx().resources.get(this)
}

pub(super) fn method(call: &mut Call<'_>) -> Outcome<Method> {
    Ok(request(call)?.method.clone())
}

pub(super) fn path_with_query(call: &mut Call<'_>) -> Outcome<Option<String>> {
    Ok(Some(request(call)?.path.as_str().to_owned()))
}

pub(super) fn scheme(call: &mut Call<'_>) -> Outcome<Option<Scheme>> {
    Ok(Some(request(call)?.scheme.clone()))
}

pub(super) fn authority(call: &mut Call<'_>) -> Outcome<Option<String>> {
    let authority = request(call)?.authority.as_ref();
    Ok(authority.map(|authority| authority.as_str().to_owned()))
}

pub(super) fn request_headers(call: &mut Call<'_>) -> Outcome<New> {
    let this = call.handle::<IncomingRequest>()?;
    let request: &mut IncomingRequest = call.ctx().resources.get(this)?;
    Ok(New::child(Fields::immutable(&request.headers), this))
}

pub(super) fn consume_request(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    Ok(request(call)?.body.take().map(New::alone).ok_or(()))
}

/// The response that is the next argument.
fn response<'c>(call: &'c mut Call<'_>) -> Outcome<&'c mut IncomingResponse> {
    let this = call.handle::<IncomingResponse>()?;
    call.ctx().resources.get(this)
}

pub(super) fn status(call: &mut Call<'_>) -> Outcome<u32> {
    Ok(response(call)?.status.into())
}

pub(super) fn response_headers(call: &mut Call<'_>) -> Outcome<New> {
    let this = call.handle::<IncomingResponse>()?;
    let response: &mut IncomingResponse = call.ctx().resources.get(this)?;
    Ok(New::child(Fields::immutable(&response.headers), this))
}

pub(super) fn consume_response(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    Ok(response(call)?.body.take().map(New::alone).ok_or(()))
}
