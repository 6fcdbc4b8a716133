//! One request's way through the server: from its head, over the queue and a handler's thread, to the last byte of the
//! response.
//!
//! * *Invariant:* every request gets exactly one [`Record`], whose end writes one line of the log and counts once.
//! * *Invariant:* whatever but its own handler ends a request before its end cancels it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::access_log::{Asked, Entry};
use crate::body::Body;
use crate::cancel::{Cancel, Reason};
use crate::connection::Busy;
use crate::error::BodyError;
use crate::handler::{Ended, Job};
use crate::metrics;
use crate::pump;
use crate::request::{self, Request};
use crate::responder::Responder;
use crate::server::Shared;

/// What the requests of one connection share.
pub(crate) struct Origin {
    pub(crate) peer: std::net::SocketAddr,
    /// Closes the connection at once.
    pub(crate) cut: Arc<Notify>,
}

/// Answers one request.
pub(crate) async fn exchange(
    shared: Arc<Shared>,
    origin: Arc<Origin>,
    busy: Busy,
    request: hyper::Request<Incoming>,
) -> Response<Outgoing> {
    let (head, incoming) = request.into_parts();
    let mut record = Record::new(shared.clone(), &origin, busy, &head);
    if shared.is_metrics_page(&head) {
        return record.page();
    }
    let target = match request::target(&head, &shared.limits) {
        Ok(target) => target,
        Err(status) => return record.refuse(status),
    };
    let is_head = head.method == Method::HEAD;
    let mut headers = head.headers;
    crate::fields::strip(&mut headers);
    let request = Request {
        id: record.id,
        peer: origin.peer,
        method: head.method,
        scheme: target.scheme,
        authority: target.authority,
        path: target.path,
        version: head.version,
        headers,
        body: pump::request_body(incoming, &shared, &record.upload, &record.cancel),
        cancel: record.cancel.clone(),
    };
    let (sender, response) = oneshot::channel();
    let responder = Responder {
        sender,
        limits: shared.limits.fields(),
        buffer: shared.limits.body_buffer,
        stall: shared.limits.idle_time,
        is_head,
    };
    let (ended, failure) = record.watch(&origin);
    let job = Job {
        handler: shared.handler.clone(),
        request,
        responder,
        ended,
        metrics: shared.metrics.clone(),
    };
    if shared
        .pool
        .submit(record.id, Box::new(move || job.run()))
        .is_err()
    {
        return record.unavailable();
    }
    let answer = answer(response, failure);
    match timeout_at(record.deadline, answer).await {
        Ok(Answer::Response(response, failure)) => record.send(response, failure),
        Ok(Answer::Ended(failure)) => {
            record.error = failure;
            let fault = StatusCode::from_u16(record.upload.fault.load(Relaxed));
            record.refuse(fault.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Err(_) => {
            record.cancel.cancel(Reason::TimedOut);
            record.refuse(StatusCode::GATEWAY_TIMEOUT)
        }
    }
}

type Failure = oneshot::Receiver<Option<String>>;

enum Answer {
    Response(Response<Body>, Failure),
    /// The handler ended without one; what it said if it failed.
    Ended(Option<String>),
}

/// Waits for a response, or for the handler's end without one.
async fn answer(mut response: oneshot::Receiver<Response<Body>>, mut failure: Failure) -> Answer {
    poll_fn(|cx| {
        // First, since a handler that has ended may have sent it just before.
        if !response.is_terminated()
            && let Poll::Ready(Ok(response)) = Pin::new(&mut response).poll(cx)
        {
            return Poll::Ready(Ok(response));
        }
        let failure = ready!(Pin::new(&mut failure).poll(cx)).unwrap_or_default();
        Poll::Ready(response.try_recv().map_err(|_| failure))
    })
    .await
    .map_or_else(Answer::Ended, |response| {
        Answer::Response(response, failure)
    })
}

/// What is known of the request's body.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(crate) received: AtomicU64,
    /// The status that says what is wrong with it; 0 if nothing is.
    pub(crate) fault: AtomicU16,
}

/// What is known of a request; dropped when the request is over.
pub(crate) struct Record {
    shared: Arc<Shared>,
    id: u64,
    peer: std::net::SocketAddr,
    asked: Option<Asked>,
    time: SystemTime,
    start: Instant,
    deadline: Instant,
    status: Option<StatusCode>,
    upload: Arc<Upload>,
    sent: u64,
    end: Option<&'static str>,
    error: Option<String>,
    cancel: Cancel,
    /// Tells by being dropped that the request is over.
    open: Option<oneshot::Sender<()>>,
    _busy: Busy,
}

impl Record {
    fn new(
        shared: Arc<Shared>,
        origin: &Origin,
        busy: Busy,
        head: &http::request::Parts,
    ) -> Record {
        shared.metrics.in_flight.add(1);
        let start = Instant::now();
        Record {
            id: shared.ids.fetch_add(1, Relaxed) + 1,
            peer: origin.peer,
            asked: shared.has_log().then(|| asked(head)),
            time: SystemTime::now(),
            start,
            deadline: later(start, shared.limits.response_time),
            status: None,
            upload: Arc::default(),
            sent: 0,
            end: None,
            error: None,
            cancel: Cancel::new(),
            open: None,
            _busy: busy,
            shared,
        }
    }

    /// Has the deadline held, whatever the handler and the client do.
    fn watch(&mut self, origin: &Origin) -> (Ended, Failure) {
        let (open, over) = oneshot::channel();
        let (alive, ended) = oneshot::channel();
        let (failure, failed) = oneshot::channel();
        self.open = Some(open);
        let watch = watch(Watch {
            over,
            ended,
            deadline: self.deadline,
            idle: self.shared.limits.idle_time,
            cancel: self.cancel.clone(),
            cut: origin.cut.clone(),
        });
        tokio::spawn(watch);
        (Ended { failure, alive }, failed)
    }

    /// The handler's response.
    fn send(self, response: Response<Body>, failure: Failure) -> Response<Outgoing> {
        let (head, body) = response.into_parts();
        body.count_in(&self.shared.metrics.buffered);
        if let Some(breaker) = body.breaker() {
            self.cancel
                .on_cancel(move |_| breaker(BodyError::Cancelled));
        }
        self.with_head(head, body, Some(failure))
    }

    fn with_head(
        mut self,
        head: http::response::Parts,
        body: Body,
        failure: Option<Failure>,
    ) -> Response<Outgoing> {
        self.shared.metrics.respond(head.status);
        self.status = Some(head.status);
        let outgoing = Outgoing {
            body,
            failure,
            broken: None,
            record: self,
        };
        Response::from_parts(head, outgoing)
    }

    /// Answers without a handler.
    fn answer(
        self,
        status: StatusCode,
        headers: &[(header::HeaderName, &str)],
        text: String,
    ) -> Response<Outgoing> {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = status;
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                head.headers.insert(name, value);
            }
        }
        self.with_head(head, Body::full(text), None)
    }

    fn refuse(self, status: StatusCode) -> Response<Outgoing> {
        let text = format!("{status}\n");
        self.answer(
            status,
            &[(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            text,
        )
    }

    fn unavailable(self) -> Response<Outgoing> {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::RETRY_AFTER, "1"),
        ];
        self.answer(status, &headers, format!("{status}\n"))
    }

    fn page(self) -> Response<Outgoing> {
        let page = self.shared.shown.page();
        let headers = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
        self.answer(StatusCode::OK, &headers, page)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let metrics = &self.shared.metrics;
        let end = match self.end {
            Some(end) => end,
            None => {
                self.cancel.cancel(match self.shared.is_cut() {
                    true => Reason::Shutdown,
                    false => Reason::ClientGone,
                });
                self.cancel.reason().unwrap_or(Reason::ClientGone).as_str()
            }
        };
        if self.end != Some("complete") {
            metrics.incomplete.add(1);
            self.shared.pool.forget(self.id);
        }
        let duration = self.start.elapsed();
        metrics.took(duration);
        metrics.in_flight.sub(1);
        self.shared.log(Entry {
            time: self.time,
            id: self.id,
            peer: self.peer,
            asked: self.asked.take(),
            status: self.status,
            received: self.upload.received.load(Relaxed),
            sent: self.sent,
            duration,
            end,
            error: self.error.take(),
        });
    }
}

/// What the log says that the client asked.
fn asked(head: &http::request::Parts) -> Asked {
    let host = head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let host = host.map(|host| String::from_utf8_lossy(host).into_owned());
    Asked {
        method: head.method.clone(),
        target: head.uri.to_string(),
        host: host.or_else(|| head.uri.authority().map(ToString::to_string)),
        version: head.version,
    }
}

struct Watch {
    over: oneshot::Receiver<()>,
    ended: oneshot::Receiver<()>,
    deadline: Instant,
    idle: Duration,
    cancel: Cancel,
    cut: Arc<Notify>,
}

/// Cancels a request whose time is over, also if its response has been sent and the handler goes on; and closes the
/// connection of one that does not end by that, because the client takes nothing.
async fn watch(mut watch: Watch) {
    let in_time = timeout_at(watch.deadline, async {
        // All that they say is that they are gone.
        let _ = (&mut watch.over).await;
        let _ = (&mut watch.ended).await;
    });
    if in_time.await.is_ok() {
        return;
    }
    watch.cancel.cancel(Reason::TimedOut);
    // If it has said so before, only the handler goes on.
    if !watch.over.is_terminated() && timeout(watch.idle, &mut watch.over).await.is_err() {
        watch.cut.notify_one();
    }
}

/// Longer than anything runs, and not so long that a clock overflows.
pub(crate) const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// `time` after `start`, at most [`FAR`].
pub(crate) fn later(start: Instant, time: Duration) -> Instant {
    start.checked_add(time.min(FAR)).unwrap_or(start)
}

/// The body of a response, on the connection.
pub(crate) struct Outgoing {
    body: Body,
    /// Hears what the handler says if it fails; `None` once it has been heard.
    failure: Option<Failure>,
    broken: Option<BodyError>,
    record: Record,
}

impl Outgoing {
    /// Breaks the response off, as soon as it is known why.
    fn poll_broken(&mut self, cx: &mut Context<'_>, error: BodyError) -> Poll<BodyError> {
        self.broken = Some(error.clone());
        // A handler whose time is over, or whose client is gone, need not be waited for.
        if !self.record.cancel.is_cancelled() {
            if let Some(failure) = &mut self.failure {
                let heard = ready!(Pin::new(failure).poll(cx));
                self.failure = None;
                self.record.error = heard.unwrap_or_default();
            }
            self.record.end = Some("aborted");
        }
        Poll::Ready(error)
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(error) = this.broken.clone() {
            return this.poll_broken(cx, error).map(|error| Some(Err(error)));
        }
        match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                this.record.sent += bytes;
                this.record.shared.metrics.sent.add(bytes);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => this.poll_broken(cx, error).map(|error| Some(Err(error))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.record.end.is_none() && self.broken.is_none() && self.body.is_taken() {
            self.record.end = Some("complete");
        }
    }
}
