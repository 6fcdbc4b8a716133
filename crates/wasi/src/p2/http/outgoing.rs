//! `outgoing-request` and `outgoing-response`: what a guest makes.

use tiered_http::Body;
use tiered_http::http::StatusCode;

use crate::component::call::{Call, Outcome};
use crate::component::http::code::Message;
use crate::component::http::fields::{Fields, Frozen};
use crate::component::http::head::{HasHead, RequestHead};
use crate::component::http::message::Invalid;
use crate::component::http::outgoing_body::{self, BodyWatch};
use crate::component::lower::{New, Success};
use crate::p2::http::outgoing_body::OutgoingBody;

/// `outgoing-request`.
#[derive(Debug)]
pub(crate) struct OutgoingRequest {
    pub(super) head: RequestHead,
    pub(super) body: Taken<(Body, BodyWatch)>,
}

impl HasHead for OutgoingRequest {
    fn head(&mut self) -> &mut RequestHead {
        &mut self.head
    }
}

/// `outgoing-response`.
#[derive(Debug)]
pub(crate) struct OutgoingResponse {
    pub(super) status: StatusCode,
    pub(super) headers: Frozen,
    pub(super) body: Taken<(Body, BodyWatch)>,
}

/// A body, once the guest has taken its other end; a message whose body it never takes has none.
#[derive(Debug)]
pub(super) struct Taken<T>(Option<T>);

impl<T> Taken<T> {
    pub(super) fn into_inner(self) -> Option<T> {
        self.0
    }
}

/// Makes a body for a message, if it declares a length that is one.
fn body(
    call: &mut Call<'_>,
    message: Message,
    headers: &Frozen,
) -> Outcome<Result<(outgoing_body::OutgoingBody, Body), Invalid>> {
    let ctx = call.ctx();
    let bell = ctx.resources.bell().clone();
    let made = ctx.http.new_body(message, headers.map(), &bell)?;
    if let Ok((body, _)) = &made
        && message == Message::Response
        && ctx.http.has_no_body
    {
        body.forget_length();
    }
    Ok(made)
}

pub(super) fn new_request(call: &mut Call<'_>) -> Outcome<New> {
    let headers: Fields = call.take()?;
    let head = RequestHead::new(headers.freeze(), &call.ctx().http.fields);
    let body = Taken(None);
    Ok(New::alone(OutgoingRequest { head, body }))
}

pub(super) fn request_body(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    let this = call.handle::<OutgoingRequest>()?;
    let request: &mut OutgoingRequest = call.ctx().resources.get(this)?;
    if request.body.0.is_some() {
        return Ok(Err(()));
    }
    let headers = request.head.headers.clone();
    let Ok((outgoing, body)) = body(call, Message::Request, &headers)? else {
        return Ok(Err(()));
    };
    let request: &mut OutgoingRequest = call.ctx().resources.get(this)?;
    request.body = Taken(Some((body, outgoing.watch())));
    Ok(Ok(New::alone(OutgoingBody::new(outgoing))))
}

pub(super) fn request_headers(call: &mut Call<'_>) -> Outcome<New> {
    let this = call.handle::<OutgoingRequest>()?;
    let request: &mut OutgoingRequest = call.ctx().resources.get(this)?;
    Ok(New::child(Fields::immutable(&request.head.headers), this))
}

pub(super) fn new_response(call: &mut Call<'_>) -> Outcome<New> {
    let headers: Fields = call.take()?;
    Ok(New::alone(OutgoingResponse {
        status: StatusCode::OK,
        headers: headers.freeze(),
        body: Taken(None),
    }))
}

/// The response that is the next argument.
fn response<'c>(call: &'c mut Call<'_>) -> Outcome<&'c mut OutgoingResponse> {
    let this = call.handle::<OutgoingResponse>()?;
    call.ctx().resources.get(this)
}

pub(super) fn status_code(call: &mut Call<'_>) -> Outcome<u32> {
    Ok(response(call)?.status.as_u16().into())
}

pub(super) fn set_status_code(call: &mut Call<'_>) -> Outcome<Success> {
    let this = call.handle::<OutgoingResponse>()?;
    let status = StatusCode::from_u16(call.u16());
    let response: &mut OutgoingResponse = call.ctx().resources.get(this)?;
    Ok(Success::of(status.map(|status| response.status = status)))
}

pub(super) fn response_headers(call: &mut Call<'_>) -> Outcome<New> {
    let this = call.handle::<OutgoingResponse>()?;
    let response: &mut OutgoingResponse = call.ctx().resources.get(this)?;
    Ok(New::child(Fields::immutable(&response.headers), this))
}

pub(super) fn response_body(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    let this = call.handle::<OutgoingResponse>()?;
    let response: &mut OutgoingResponse = call.ctx().resources.get(this)?;
    if response.body.0.is_some() {
        return Ok(Err(()));
    }
    let headers = response.headers.clone();
    let Ok((outgoing, body)) = body(call, Message::Response, &headers)? else {
        return Ok(Err(()));
    };
    let response: &mut OutgoingResponse = call.ctx().resources.get(this)?;
    response.body = Taken(Some((body, outgoing.watch())));
    Ok(Ok(New::alone(OutgoingBody::new(outgoing))))
}
