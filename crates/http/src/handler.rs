//! Who answers requests.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cancel::Cancel;
use crate::metrics::Metrics;
use crate::request::Request;
use crate::responder::Responder;

/// What a handler may fail with. The access log has its text.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Answers requests, each on a thread of the server's where it may wait as long as
/// [`Limits::response_time`](crate::Limits::response_time) allows.
///
/// Closures are handlers.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. What it sends of the response goes to the client at once; it may go on afterwards.
    ///
    /// # Errors
    /// It failed, as it does by a panic. If no head was sent, the client gets 500 (or 408, 413 or another status that says
    /// better what is wrong, if the request's body could not be read); if the body was not finished, it is broken off.
    fn handle(&self, request: Request, responder: Responder) -> Result<(), HandlerError>;
}

impl<F> Handler for F
where
    F: Fn(Request, Responder) -> Result<(), HandlerError> + Send + Sync + 'static,
{
    fn handle(&self, request: Request, responder: Responder) -> Result<(), HandlerError> {
        self(request, responder)
    }
}

/// What a thread does for one request.
pub(crate) struct Job {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) request: Request,
    pub(crate) responder: Responder,
    pub(crate) ended: Ended,
    pub(crate) metrics: Arc<Metrics>,
}

/// Hears how the handler ended. Both hear it as well if it never began.
pub(crate) struct Ended {
    /// With what it said if it failed.
    pub(crate) failure: oneshot::Sender<Option<String>>,
    /// By being dropped.
    pub(crate) alive: oneshot::Sender<()>,
}

impl Job {
    pub(crate) fn run(self) {
        let Job {
            handler,
            request,
            responder,
            ended,
            metrics,
        } = self;
        let cancel: Cancel = request.cancel.clone();
        if cancel.is_cancelled() {
            return;
        }
        // A handler is behind a shared reference: what it may leave half done is its own.
        let result = catch_unwind(AssertUnwindSafe(|| handler.handle(request, responder)));
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(payload) => Some(panic_text(&*payload)),
        };
        if failure.is_some() {
            metrics.failures.add(1);
        }
        // Nothing waits for it.
        let _ = ended.failure.send(failure);
        drop(ended.alive);
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("with no text"))
}
