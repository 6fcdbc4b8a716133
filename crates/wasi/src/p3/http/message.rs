//! `request` and `response`.

use tiered_http::http::StatusCode;
use tiered_http::{Body, BodyReader};

use crate::component::call::{Call, Outcome};
use crate::component::concurrent::Readable;
use crate::component::http::client::InFlight;
use crate::component::http::code::{ErrorCode, Message};
use crate::component::http::fields::{Budget, Fields, Frozen};
use crate::component::http::head::{HasHead, RequestHead};
use crate::component::http::options::RequestOptions;
use crate::component::lower::{New, Success};
use crate::p3::http::body::{Contents, Transmission};
use crate::p3::streams::StreamAndEnding;

/// `request`
#[derive(Debug)]
pub(crate) struct Request {
    head: RequestHead,
    options: Option<RequestOptions>,
    contents: Contents,
}

/// `response`
#[derive(Debug)]
pub(crate) struct Response {
    status: StatusCode,
    headers: Frozen,
    contents: Contents,
}

impl HasHead for Request {
    fn head(&mut self) -> &mut RequestHead {
        &mut self.head
    }
}

impl Request {
    /// One that a client has sent.
    pub(super) fn received(request: tiered_http::Request, budget: &Budget) -> Self {
        let (head, body) = RequestHead::received(request, budget);
        Self {
            head,
            options: None,
            contents: Contents::received(body, Message::Request, None),
        }
    }

    /// What is sent.
    pub(super) fn into_parts(self, limit: u64) -> (RequestHead, Body, Option<RequestOptions>) {
        (self.head, self.contents.into_request(limit), self.options)
    }
}

impl Response {
    /// One that a server has sent.
    pub(super) fn received(
        response: tiered_http::http::Response<BodyReader>,
        in_flight: InFlight,
        budget: &Budget,
    ) -> Result<Self, ErrorCode> {
        let (head, body) = response.into_parts();
        let headers = Frozen::received(head.headers, budget);
        Ok(Self {
            status: head.status,
            headers: headers.map_err(|_| ErrorCode::HttpResponseHeaderSectionSize(None))?,
            contents: Contents::received(body, Message::Response, Some(in_flight)),
        })
    }

    /// What is sent, and what becomes of its body if it is the guest's.
    pub(super) fn into_http(self) -> (tiered_http::http::Response<Body>, Option<Transmission>) {
        let (body, transmission) = self.contents.into_response();
        let mut response = tiered_http::http::Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.map().clone();
        (response, transmission)
    }
}

/// The next arguments: a stream of bytes, if there is one, and a future of trailers.
fn contents(call: &mut Call<'_>) -> Outcome<(Option<u32>, u32)> {
    let has_stream = call.case(2)? == 1;
    let stream = call.u32();
    Ok((has_stream.then_some(stream), call.u32()))
}

pub(super) fn new_request(call: &mut Call<'_>) -> Outcome<(New, Readable)> {
    let headers: Fields = call.take()?;
    let (stream, trailers) = contents(call)?;
    let options: Option<RequestOptions> = match call.case(2)? {
        0 => {
            call.skip(1);
            None
        }
        _ => Some(call.take()?),
    };
    let (contents, sent) = Contents::made(call, Message::Request, stream, trailers)?;
    let request = Request {
        head: RequestHead::new(headers.freeze(), &call.ctx().http.fields),
        options: options.map(RequestOptions::frozen),
        contents,
    };
    Ok((New::alone(request), sent))
}

pub(super) fn options(call: &mut Call<'_>) -> Outcome<Option<New>> {
    let this = call.handle::<Request>()?;
    let request: &mut Request = call.ctx().resources.get(this)?;
    Ok(request.options.map(New::alone))
}

pub(super) fn request_headers(call: &mut Call<'_>) -> Outcome<New> {
    let headers = &crate::component::http::head::head::<Request>(call)?.headers;
    Ok(New::alone(Fields::immutable(headers)))
}

pub(super) fn consume_request(call: &mut Call<'_>) -> Outcome<StreamAndEnding> {
    let request: Request = call.take()?;
    let result = call.u32();
    request.contents.consume(call, result)
}

pub(super) fn new_response(call: &mut Call<'_>) -> Outcome<(New, Readable)> {
    let headers: Fields = call.take()?;
    let (stream, trailers) = contents(call)?;
    let (contents, sent) = Contents::made(call, Message::Response, stream, trailers)?;
    let response = Response {
        status: StatusCode::OK,
        headers: headers.freeze(),
        contents,
    };
    Ok((New::alone(response), sent))
}

/// The response that is the next argument.
fn response<'c>(call: &'c mut Call<'_>) -> Outcome<&'c mut Response> {
    let this = call.handle::<Response>()?;
    call.ctx().resources.get(this)
}

pub(super) fn status_code(call: &mut Call<'_>) -> Outcome<u32> {
    Ok(response(call)?.status.as_u16().into())
}

pub(super) fn set_status_code(call: &mut Call<'_>) -> Outcome<Success> {
    let this = call.handle::<Response>()?;
    let status = StatusCode::from_u16(call.u16());
    let response: &mut Response = call.ctx().resources.get(this)?;
    Ok(Success::of(status.map(|status| response.status = status)))
}

pub(super) fn response_headers(call: &mut Call<'_>) -> Outcome<New> {
    Ok(New::alone(Fields::immutable(&response(call)?.headers)))
}

pub(super) fn consume_response(call: &mut Call<'_>) -> Outcome<StreamAndEnding> {
    let response: Response = call.take()?;
    let result = call.u32();
    response.contents.consume(call, result)
}
