//! One connection: HTTP/1.1, HTTP/1.0 or HTTP/2 with prior knowledge, as its first bytes say.
//!
//! *Invariant:* a connection ends: it may wait for a request, for its head, for bytes of a body and for the client to take
//! some, each only so long.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::SystemTime;

use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::access_log::Entry;
use crate::exchange::{self, FAR, Origin, later};
use crate::limits::Limits;
use crate::server::Shared;
use crate::stall::StallGuard;

/// Whether a connection has requests, and since when it has none.
struct Activity {
    requests: AtomicUsize,
    idle_since: Mutex<Instant>,
}

/// A request of a connection; dropped when it is over.
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    fn begin(self: &Arc<Activity>) -> Busy {
        self.requests.fetch_add(1, Relaxed);
        Busy(self.clone())
    }

    /// `None` while there are requests.
    fn idle_since(&self) -> Option<Instant> {
        let since = *self
            .idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (self.requests.load(Relaxed) == 0).then_some(since)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let activity = &self.0;
        let mut since = activity
            .idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *since = Instant::now();
        activity.requests.fetch_sub(1, Relaxed);
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    draining: watch::Receiver<bool>,
) {
    // Without it the end of a response may wait for an acknowledgement; the connection works all the same.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity {
        requests: AtomicUsize::new(0),
        idle_since: Mutex::new(Instant::now()),
    });
    let origin = Arc::new(Origin {
        peer,
        cut: Arc::new(Notify::new()),
    });
    let service = service_fn(|request| {
        let exchange =
            exchange::exchange(shared.clone(), origin.clone(), activity.begin(), request);
        async move { Ok::<_, Infallible>(exchange.await) }
    });
    let io = TokioIo::new(StallGuard::new(stream, shared.limits.idle_time));
    let builder = builder(&shared.limits);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut drain = pin!(drained(draining));
    let mut cut = pin!(origin.cut.notified());
    let idle_time = shared.limits.idle_time;
    let mut timer = pin!(sleep_until(later(Instant::now(), idle_time)));
    let mut closing = false;
    let mut is_draining = false;
    let result = poll_fn(|cx| {
        if !is_draining && drain.as_mut().poll(cx).is_ready() {
            is_draining = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let until = match activity.idle_since() {
                None => later(now, idle_time),
                Some(since) if later(since, idle_time) > now => later(since, idle_time),
                Some(_) if closing => return Poll::Ready(None),
                Some(_) => {
                    // It may still say good-bye, and end a head that it has begun.
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                    cx.waker().wake_by_ref();
                    later(now, idle_time)
                }
            };
            timer.as_mut().reset(until);
        }
        Poll::Pending
    });
    if let Some(Err(error)) = result.await {
        malformed(&shared, peer, &*error);
    }
}

/// Waits until the server drains, or is gone.
async fn drained(mut draining: watch::Receiver<bool>) {
    while !*draining.borrow_and_update() {
        if draining.changed().await.is_err() {
            return;
        }
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    // At least what the protocol begins with; more would only wait here, not for the handler.
    let window = u32::try_from(limits.body_buffer)
        .unwrap_or(u32::MAX)
        .clamp(0xffff, 16 << 20);
    let headers = limits.fields();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time.min(FAR))
        .max_buf_size(limits.head_buffer())
        .max_headers(headers.count);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(window.saturating_mul(4))
        .max_concurrent_streams(limits.streams)
        .max_send_buf_size(limits.body_buffer.clamp(16 << 10, 16 << 20))
        .max_header_list_size(u32::try_from(headers.bytes).unwrap_or(u32::MAX));
    builder
}

/// Counts and logs what could not be read as a request. All else that ends a connection early has ended its requests, and
/// stands in their lines.
fn malformed(
    shared: &Shared,
    peer: std::net::SocketAddr,
    error: &(dyn std::error::Error + 'static),
) {
    let Some(error) = error.downcast_ref::<hyper::Error>() else {
        return;
    };
    if !error.is_parse() {
        return;
    }
    // As hyper has answered.
    let status = match error.is_parse_too_large() {
        true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        false => StatusCode::BAD_REQUEST,
    };
    shared.metrics.malformed.add(1);
    shared.metrics.respond(status);
    shared.log(Entry {
        time: SystemTime::now(),
        id: shared.next_id(),
        peer,
        asked: None,
        status: Some(status),
        received: 0,
        sent: 0,
        duration: std::time::Duration::ZERO,
        end: "malformed",
        error: Some(crate::pump::describe(error)),
    });
}
