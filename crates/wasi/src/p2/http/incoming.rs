//! `incoming-request` and `incoming-response`: what a guest gets.

use tiered_http::http::Response;
use tiered_http::{BodyReader, Request};

use crate::component::call::{Call, Outcome, trap};
use crate::component::http::bell::Bell;
use crate::component::http::client::InFlight;
use crate::component::http::code::Message;
use crate::component::http::fields::{Budget, Fields, Frozen};
use crate::component::http::head::{HasHead, RequestHead};
use crate::component::lower::New;
use crate::p2::http::incoming_body::IncomingBody;

/// `incoming-request`.
#[derive(Debug)]
pub(crate) struct IncomingRequest {
    head: RequestHead,
    body: Option<IncomingBody>,
}

impl IncomingRequest {
    pub(crate) fn new(request: Request, budget: &Budget, bell: &Bell) -> Self {
        let (head, body) = RequestHead::received(request, budget);
        Self {
            head,
            body: Some(IncomingBody::new(body, Message::Request, None, bell)),
        }
    }
}

impl HasHead for IncomingRequest {
    fn head(&mut self) -> &mut RequestHead {
        &mut self.head
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
            headers: Frozen::received(head.headers, budget).map_err(trap)?,
            body: Some(IncomingBody::new(
                body,
                Message::Response,
                Some(in_flight),
                bell,
            )),
        })
    }
}

pub(super) fn request_headers(call: &mut Call<'_>) -> Outcome<New> {
    let this = call.handle::<IncomingRequest>()?;
    let request: &mut IncomingRequest = call.ctx().resources.get(this)?;
    Ok(New::child(Fields::immutable(&request.head.headers), this))
}

pub(super) fn consume_request(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    let this = call.handle::<IncomingRequest>()?;
    let request: &mut IncomingRequest = call.ctx().resources.get(this)?;
    Ok(request.body.take().map(New::alone).ok_or(()))
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
