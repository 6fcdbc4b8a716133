//! The call of `wasi:http/handler`, and what is done with what it returns.

use tiered_component::{Call, HostResource, Instance, Val};
use tiered_http::{HeadError, Request, Responder};
use tiered_runtime::Store;

use crate::component::call::{Outcome, trap};
use crate::component::http::apologize;
use crate::component::http::code::described;
use crate::component::resources::{Kind, Version};
use crate::ctx::WasiCtx;
use crate::p3::http::{HANDLER, HandleError, Response, Transmission, message};

/// The type of a resource as the component model knows it.
fn host(kind: Kind) -> Outcome<HostResource> {
    let ty = kind.in_version(Version::P3);
    let ty = ty.ok_or_else(|| trap("a resource that this version of WASI has not"))?;
    Ok(ty.host)
}

/// A resource as a value that a component can be passed.
fn give(ctx: &mut WasiCtx, request: Request) -> Outcome<Val> {
    let request = message::Request::received(request, &ctx.http.fields);
    let rep = ctx.resources.insert(request.into(), None)?;
    Ok(Val::Resource(host(Kind::Request)?.handle(rep)))
}

/// Begins a call of an instance's handler.
pub(crate) fn begin<T: 'static>(
    store: &mut Store<T>,
    get: fn(&mut T) -> &mut WasiCtx,
    instance: &Instance,
    request: Request,
) -> Result<Call, HandleError> {
    let (interface, name) = HANDLER;
    let handler = instance.func(interface, name)?;
    let request = give(get(store.data_mut()), request).map_err(tiered_component::Error::Trap)?;
    Ok(handler.start(store, vec![request])?)
}

/// Sends what a handler has returned; what becomes of the body if it is the guest's.
pub(crate) fn answer(
    ctx: &mut WasiCtx,
    returned: Option<Val>,
    responder: Responder,
) -> Result<Option<Transmission>, HandleError> {
    let handle = match returned {
        Some(Val::Result(Ok(Some(value)))) => match *value {
            Val::Resource(handle) => handle,
            _ => return Err(HandleError::NoResponse),
        },
        Some(Val::Result(Err(Some(code)))) => {
            let (code, status) = described(&code);
            apologize(responder, status)?;
            return Err(HandleError::ErrorCode { code, status });
        }
        _ => return Err(HandleError::NoResponse),
    };
    let response = take(ctx, handle).map_err(tiered_component::Error::Trap)?;
    let (response, transmission) = response.into_http();
    match responder.send(response) {
        // A client that has gone got what there was.
        Ok(()) | Err(HeadError::Cancelled) => Ok(transmission),
        Err(error) => Err(error.into()),
    }
}

fn take(ctx: &mut WasiCtx, handle: tiered_component::Handle) -> Outcome<Response> {
    let rep = host(Kind::Response)?.rep(handle);
    let rep = rep.ok_or_else(|| trap("the handler returned a resource of another type"))?;
    ctx.resources.take(rep)
}
