//! Carries a body from a connection into a channel, within limits, as fast as it is read.
//!
//! *Invariant:* nothing is taken from the connection before the reader has asked and there is room.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::body::{self, BodyReader, BodyWriter};
use crate::cancel::Cancel;
use crate::channel::Mode;
use crate::error::BodyError;
use crate::exchange::Upload;
use crate::fields::{self, FieldLimits};
use crate::server::Shared;

/// What a body may have.
pub(crate) struct PumpLimits {
    pub(crate) bytes: u64,
    pub(crate) trailers: FieldLimits,
    /// How long the peer may give nothing that is waited for.
    pub(crate) idle: Duration,
}

/// The body of a request to the server.
pub(crate) fn request_body(
    incoming: Incoming,
    shared: &Arc<Shared>,
    upload: &Arc<Upload>,
    cancel: &Cancel,
) -> BodyReader {
    if incoming.is_end_stream() {
        return BodyReader::empty();
    }
    let (writer, reader) = body::pair(shared.limits.body_buffer, Mode::WhenAsked);
    writer.count_in(&shared.metrics.buffered);
    let breaker = reader.breaker();
    cancel.on_cancel(move |_| breaker(BodyError::Cancelled));
    let limits = PumpLimits {
        bytes: shared.limits.request_body,
        trailers: shared.limits.fields(),
        idle: shared.limits.idle_time,
    };
    let (shared, upload) = (shared.clone(), upload.clone());
    tokio::spawn(async move {
        let received = |bytes| {
            upload.received.fetch_add(bytes, Relaxed);
            shared.metrics.received.add(bytes);
        };
        // Before the reader hears of it: the handler may end by it, and then this is the status.
        let fault = |error: &BodyError| {
            if let Some(status) = fault(error) {
                upload.fault.store(status.as_u16(), Relaxed);
            }
        };
        pump(incoming, writer, &limits, received, fault).await;
    });
    reader
}

/// The status for a request whose body could not be read.
fn fault(error: &BodyError) -> Option<StatusCode> {
    match error {
        BodyError::TooLarge { .. } => Some(StatusCode::PAYLOAD_TOO_LARGE),
        BodyError::TrailersTooLarge => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        BodyError::Stalled(_) => Some(StatusCode::REQUEST_TIMEOUT),
        BodyError::Connection(_) => Some(StatusCode::BAD_REQUEST),
        _ => None,
    }
}

/// Carries all of a body, unless the reader goes.
pub(crate) async fn pump(
    mut incoming: Incoming,
    mut writer: BodyWriter,
    limits: &PumpLimits,
    received: impl Fn(u64),
    failed: impl Fn(&BodyError),
) {
    match carry(&mut incoming, &mut writer, limits, received).await {
        // The reader may have gone, which is its own business.
        Ok(None) => drop(writer.finish()),
        Ok(Some(trailers)) => drop(writer.finish_with(trailers)),
        Err(error) => {
            failed(&error);
            writer.fail(error);
        }
    }
}

async fn carry(
    incoming: &mut Incoming,
    writer: &mut BodyWriter,
    limits: &PumpLimits,
    received: impl Fn(u64),
) -> Result<Option<http::HeaderMap>, BodyError> {
    let mut total = 0;
    loop {
        poll_fn(|cx| writer.poll_ready(cx)).await?;
        let frame = timeout(limits.idle, next(incoming, writer)).await;
        let frame = frame.map_err(|_| BodyError::Stalled(limits.idle))??;
        let Some(frame) = frame else { return Ok(None) };
        match frame.into_data() {
            Ok(data) => {
                total += data.len() as u64;
                received(data.len() as u64);
                if total > limits.bytes {
                    return Err(BodyError::TooLarge {
                        limit: limits.bytes,
                    });
                }
                writer.push(data)?;
            }
            Err(frame) => {
                let Ok(mut trailers) = frame.into_trailers() else {
                    continue;
                };
                if !limits.trailers.allow(&trailers) {
                    return Err(BodyError::TrailersTooLarge);
                }
                fields::strip(&mut trailers);
                return Ok(Some(trailers));
            }
        }
    }
}

/// The next frame, unless the reader goes before it comes.
async fn next(
    incoming: &mut Incoming,
    writer: &mut BodyWriter,
) -> Result<Option<Frame<Bytes>>, BodyError> {
    poll_fn(|cx| {
        if writer.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(BodyError::Closed));
        }
        let frame = Pin::new(&mut *incoming).poll_frame(cx);
        frame.map(|frame| {
            let frame = frame.transpose();
            frame.map_err(|error| BodyError::Connection(describe(&error)))
        })
    })
    .await
}

/// An error with what it was caused by.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
