//! `outgoing-request` and `outgoing-response`: what a guest makes.

use tiered_http::Body;
use tiered_http::http::{self, StatusCode, uri};

use crate::p2::call::{Call, Outcome, trap};
use crate::p2::http::bell::Bell;
use crate::p2::http::code::Message;
use crate::p2::http::fields::{Charge, Fields, Frozen};
use crate::p2::http::message::{self, Invalid, Method, Scheme};
use crate::p2::http::outgoing_body::{BodyWatch, OutgoingBody};
use crate::p2::lower::{New, Success};

/// `outgoing-request`.
#[derive(Debug)]
pub(crate) struct OutgoingRequest {
    pub(super) method: http::Method,
    pub(super) scheme: Option<Scheme>,
    pub(super) authority: Option<uri::Authority>,
    pub(super) path: Option<uri::PathAndQuery>,
    pub(super) headers: Frozen,
    pub(super) body: Taken<(Body, BodyWatch)>,
    /// For all parts but the headers.
    charge: Charge,
}

impl OutgoingRequest {
    /// How many bytes its parts have.
    fn size(&self) -> usize {
        let scheme = match &self.scheme {
            Some(Scheme::Other(text)) => text.len(),
            _ => 0,
        };
        let authority = self
            .authority
            .as_ref()
            .map_or(0, |part| part.as_str().len());
        let path = self.path.as_ref().map_or(0, |part| part.as_str().len());
        self.method.as_str().len() + scheme + authority + path
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
) -> Outcome<Result<(OutgoingBody, Body), Invalid>> {
    let ctx = call.ctx();
    let bell: &Bell = ctx.resources.bell();
    let limits = &ctx.http.limits;
    let limit = match message {
        Message::Request => limits.request_body,
        Message::Response => u64::MAX,
    };
    let Some(open) = ctx.http.bodies.start(limits.bodies) else {
        let limit = limits.bodies;
        return Err(trap(format!(
            "more than {limit} bodies of messages at once"
        )));
    };
    let (buffer, headers) = (limits.body_buffer, headers.map());
    let mut made = match OutgoingBody::new(message, headers, limit, buffer, open, bell) {
        Ok(made) => made,
        Err(invalid) => return Ok(Err(invalid)),
    };
    if message == Message::Response && ctx.http.has_no_body {
        made.0.forget_length();
    }
    Ok(Ok(made))
}

pub(super) fn new_request(call: &mut Call<'_>) -> Outcome<New> {
    let headers: Fields = call.take()?;
    let charge = Charge::new(&call.ctx().http.fields);
    Ok(New::alone(OutgoingRequest {
        charge,
        method: http::Method::GET,
        scheme: None,
        authority: None,
        path: None,
        headers: headers.freeze(),
        body: Taken(None),
    }))
}

/// The request that is the next argument.
fn request<'c>(call: &'c mut Call<'_>) -> Outcome<&'c mut OutgoingRequest> {
    let this = call.handle::<OutgoingRequest>()?;
    call.ctx().resources.get(this)
}

pub(super) fn request_body(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    let this = call.handle::<OutgoingRequest>()?;
    let request: &mut OutgoingRequest = call.ctx().resources.get(this)?;
    if request.body.0.is_some() {
        return Ok(Err(()));
    }
    let headers = request.headers.clone();
    let Ok((outgoing, body)) = body(call, Message::Request, &headers)? else {
        return Ok(Err(()));
    };
    let request: &mut OutgoingRequest = call.ctx().resources.get(this)?;
    request.body = Taken(Some((body, outgoing.watch())));
    Ok(Ok(New::alone(outgoing)))
}

pub(super) fn method(call: &mut Call<'_>) -> Outcome<Method> {
    Ok(Method(request(call)?.method.clone()))
}

/// Sets a part of a request, if it is valid.
fn set<T>(
    call: &mut Call<'_>,
    read: impl FnOnce(&mut Call<'_>) -> Outcome<Result<T, Invalid>>,
    set: impl FnOnce(&mut OutgoingRequest, T),
) -> Outcome<Success> {
    let this = call.handle::<OutgoingRequest>()?;
    let value = read(call)?;
    let request: &mut OutgoingRequest = call.ctx().resources.get(this)?;
    let is_set = Success::of(value.map(|value| set(request, value)));
    request.charge.set(request.size())?;
    Ok(is_set)
}

pub(super) fn set_method(call: &mut Call<'_>) -> Outcome<Success> {
    set(call, message::method, |request, method| {
        request.method = method.0;
    })
}

pub(super) fn path_with_query(call: &mut Call<'_>) -> Outcome<Option<String>> {
    let path = request(call)?.path.as_ref();
    Ok(path.map(|path| path.as_str().to_owned()))
}

pub(super) fn set_path_with_query(call: &mut Call<'_>) -> Outcome<Success> {
    set(call, message::path, |request, path| request.path = path)
}

pub(super) fn scheme(call: &mut Call<'_>) -> Outcome<Option<Scheme>> {
    Ok(request(call)?.scheme.clone())
}

pub(super) fn set_scheme(call: &mut Call<'_>) -> Outcome<Success> {
    set(call, message::scheme, |request, scheme| {
        request.scheme = scheme
    })
}

pub(super) fn authority(call: &mut Call<'_>) -> Outcome<Option<String>> {
    let authority = request(call)?.authority.as_ref();
    Ok(authority.map(|authority| authority.as_str().to_owned()))
}

pub(super) fn set_authority(call: &mut Call<'_>) -> Outcome<Success> {
    set(call, message::authority, |request, authority| {
        request.authority = authority;
    })
}

pub(super) fn request_headers(call: &mut Call<'_>) -> Outcome<New> {
    let this = call.handle::<OutgoingRequest>()?;
    let request: &mut OutgoingRequest = call.ctx().resources.get(this)?;
    Ok(New::child(Fields::immutable(&request.headers), this))
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
    Ok(Ok(New::alone(outgoing)))
}
