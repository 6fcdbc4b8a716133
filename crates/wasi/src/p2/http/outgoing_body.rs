//! `outgoing-body` with its stream.

use crate::component::bytes::Sink;
use crate::component::call::{Call, Outcome};
use crate::component::http::code::ErrorCode;
use crate::component::http::fields::Fields;
use crate::component::http::outgoing_body::OutgoingBody as Body;
use crate::component::lower::New;
use crate::p2::streams::OutputStream;

/// `outgoing-body`.
#[derive(Debug)]
pub(crate) struct OutgoingBody {
    body: Body,
    is_streamed: bool,
}

impl OutgoingBody {
    pub(super) fn new(body: Body) -> Self {
        let is_streamed = false;
        Self { body, is_streamed }
    }
}

pub(super) fn write(call: &mut Call<'_>) -> Outcome<Result<New, ()>> {
    let this = call.handle::<OutgoingBody>()?;
    let body: &mut OutgoingBody = call.ctx().resources.get(this)?;
    if std::mem::replace(&mut body.is_streamed, true) {
        return Ok(Err(()));
    }
    let sink = Sink::Body(body.body.sink().clone());
    Ok(Ok(New::child(OutputStream::new(sink), this)))
}

pub(super) fn finish(call: &mut Call<'_>) -> Outcome<Result<(), ErrorCode>> {
    let OutgoingBody { body, .. } = call.take()?;
    let trailers = match call.case(2)? {
        0 => {
            call.skip(1);
            None
        }
        _ => Some(call.take::<Fields>()?.freeze()),
    };
    Ok(body.finish(trailers))
}
