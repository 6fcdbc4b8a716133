//! `response-outparam`, and the call of `wasi:http/incoming-handler`.

use tiered_component::{Instance, Val};
use tiered_http::http::{Method, Response};
use tiered_http::{Body, HeadError, Request, Responder};
use tiered_runtime::Store;

use crate::component::call::{Call, Outcome, trap};
use crate::component::http::apologize;
use crate::component::http::code::{ErrorCode, internal};
use crate::component::http::fields::Fields;
use crate::component::http::lift::Lift;
use crate::component::http::outgoing_body::BodyWatch;
use crate::component::resources::{Kind, Resource, Version};
use crate::ctx::WasiCtx;
use crate::p2::http::incoming::IncomingRequest;
use crate::p2::http::outgoing::OutgoingResponse;
use crate::p2::http::{HandleError, INCOMING_HANDLER};

/// `response-outparam`.
#[derive(Debug)]
pub(crate) struct ResponseOutparam(pub(crate) Responder);

/// What the guest has set.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A response, and whether its body is finished, if it has one.
    Sent(Option<BodyWatch>),
    Code(ErrorCode),
    Refused(HeadError),
}

/// See [`handle`](super::handle).
pub(super) fn handle<T: 'static>(
    store: &mut Store<T>,
    get: fn(&mut T) -> &mut WasiCtx,
    instance: &Instance,
    request: Request,
    responder: Responder,
) -> Result<(), HandleError> {
    let (interface, name) = INCOMING_HANDLER;
    let handler = instance.func(interface, name)?;
    let ctx = get(store.data_mut());
    let args = arguments(ctx, request, responder).map_err(tiered_component::Error::Trap)?;
    let called = handler.call(store, &args);
    let ctx = get(store.data_mut());
    ctx.http.has_no_body = false;
    let answer = ctx.http.answer.take();
    // What is left of the body is broken off, also if the guest was stopped.
    let is_whole = match &answer {
        Some(Answer::Sent(Some(body))) => body.end(),
        _ => true,
    };
    called?;
    match answer {
        Some(Answer::Sent(_)) if is_whole => Ok(()),
        Some(Answer::Sent(_)) => Err(HandleError::Unfinished),
        Some(Answer::Code(code)) => Err(HandleError::ErrorCode {
            status: code.status(),
            code: code.to_string(),
        }),
        Some(Answer::Refused(error)) => Err(error.into()),
        None => Err(HandleError::NoResponse),
    }
}

/// Makes the resources that the guest is called with.
fn arguments(ctx: &mut WasiCtx, request: Request, responder: Responder) -> Outcome<[Val; 2]> {
    let has_no_body = request.method == Method::HEAD;
    let bell = ctx.resources.bell().clone();
    let request = IncomingRequest::new(request, &ctx.http.fields, &bell);
    let request = give(ctx, request.into())?;
    let outparam = give(ctx, ResponseOutparam(responder).into())?;
    ctx.http.begin_request();
    ctx.http.has_no_body = has_no_body;
    ctx.http.answer = None;
    Ok([request, outparam])
}

/// A resource as a value that a component can be passed.
fn give(ctx: &mut WasiCtx, resource: Resource) -> Outcome<Val> {
    let kind: Kind = resource.kind();
    let rep = ctx.resources.insert(resource, None)?;
    let ty = kind.in_version(Version::P2);
    let ty = ty.ok_or_else(|| trap("a resource that this version of WASI has not"))?;
    Ok(Val::Resource(ty.host.handle(rep)))
}

pub(super) fn set(call: &mut Call<'_>) -> Outcome<()> {
    let ResponseOutparam(responder) = call.take()?;
    let begin = call.read_args();
    let answer = match call.case(2)? {
        0 => {
            let response: OutgoingResponse = call.take()?;
            send(responder, response)
        }
        _ => {
            let code = ErrorCode::lift(call)?;
            let sent = apologize(responder, code.status());
            sent.map_or_else(Answer::Refused, |()| Answer::Code(code))
        }
    };
    call.skip(begin + 1 + ErrorCode::FLAT - call.read_args());
    call.ctx().http.answer = Some(answer);
    Ok(())
}

/// Sends a response; its body follows as it is written.
fn send(responder: Responder, outgoing: OutgoingResponse) -> Answer {
    let (body, watch) = match outgoing.body.into_inner() {
        Some((body, watch)) => (body, Some(watch)),
        None => (Body::empty(), None),
    };
    let mut response = Response::new(body);
    *response.status_mut() = outgoing.status;
    *response.headers_mut() = outgoing.headers.map().clone();
    match responder.send(response) {
        // A client that has gone got what there was.
        Ok(()) | Err(HeadError::Cancelled) => Answer::Sent(watch),
        Err(error) => Answer::Refused(error),
    }
}

pub(super) fn send_informational(call: &mut Call<'_>) -> Outcome<Result<(), ErrorCode>> {
    call.handle::<ResponseOutparam>()?;
    let status = call.u16();
    call.take::<Fields>()?;
    Ok(Err(match status {
        100..=199 => internal(&"this host sends no informational responses"),
        _ => ErrorCode::HttpProtocolError,
    }))
}
