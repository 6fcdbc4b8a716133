//! One request's way to a server and back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::body::{self, Body, BodyReader};
use crate::channel::Mode;
use crate::client::connect::{Connected, connect};
use crate::client::{ClientError, Destination, Options, Shared};
use crate::error::HeadError;
use crate::exchange::later;
use crate::fields;
use crate::limits::MIN_HEAD;
use crate::pump::{PumpLimits, pump};
use crate::responder;
use crate::stall::StallGuard;

/// A request that can be sent.
pub(crate) struct Prepared {
    to: Destination,
    /// The name as it is to be looked up: a dot at its end makes a difference there.
    lookup: String,
    request: Request<Body>,
}

/// Checks a request, and asks the gate for its name.
pub(crate) fn prepare(
    mut request: Request<Body>,
    options: &Options,
    shared: &Shared,
) -> Result<Prepared, ClientError> {
    if request.method() == Method::CONNECT {
        return Err(ClientError::Method);
    }
    let (to, lookup) = destination(request.uri(), shared)?;
    responder::check(request.headers(), &shared.limits.fields())?;
    let length = fields::content_length(request.headers());
    if let Some(length) = length.map_err(|()| HeadError::ContentLength)? {
        request.body().declare(length)?;
    }
    if to.host.parse::<std::net::IpAddr>().is_err() && !options.gate.name(&to) {
        return Err(ClientError::NameRefused(to.host));
    }
    let authority = request
        .uri()
        .authority()
        .map_or("", |authority| authority.as_str());
    let host = HeaderValue::from_str(authority).map_err(|_| ClientError::Authority)?;
    request.headers_mut().insert(header::HOST, host);
    Ok(Prepared {
        to,
        lookup,
        request,
    })
}

fn destination(uri: &Uri, shared: &Shared) -> Result<(Destination, String), ClientError> {
    let is_tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS && shared.has_tls() => true,
        _ => return Err(ClientError::Scheme),
    };
    let authority = uri.authority().ok_or(ClientError::Authority)?;
    let default_port = if is_tls { 443 } else { 80 };
    let port = match authority.as_str().rsplit_once(':') {
        // A colon within brackets is the address's.
        Some((_, port)) if !port.ends_with(']') => match port.parse() {
            Ok(port) => port,
            Err(_) => return Err(ClientError::Authority),
        },
        _ => default_port,
    };
    let host = authority.host().to_ascii_lowercase();
    let lookup = host.trim_start_matches('[').trim_end_matches(']');
    let name = lookup.strip_suffix('.').unwrap_or(lookup);
    if name.is_empty() || authority.as_str().contains('@') {
        return Err(ClientError::Authority);
    }
    let to = Destination {
        host: name.to_string(),
        port,
        is_tls,
    };
    Ok((to, lookup.to_string()))
}

type Sender = oneshot::Sender<Result<Response<BodyReader>, ClientError>>;

/// Makes a request, gives its response to `sender`, and carries the body. It ends early when nobody waits any more.
pub(crate) async fn run(
    shared: Arc<Shared>,
    prepared: Prepared,
    options: Options,
    mut sender: Sender,
) {
    let answered = {
        let mut exchange = pin!(exchange(&shared, prepared, &options));
        poll_fn(|cx| {
            if sender.poll_closed(cx).is_ready() {
                return Poll::Ready(None);
            }
            exchange.as_mut().poll(cx).map(Some)
        })
        .await
    };
    let (response, _connection) = match answered {
        None => return,
        Some(Err(error)) => {
            // Who waited may have gone just now.
            let _ = sender.send(Err(error));
            return;
        }
        Some(Ok(answered)) => answered,
    };
    let (head, incoming) = response.into_parts();
    let (writer, reader) = body::pair(shared.limits.body_buffer, Mode::Open);
    // If nobody takes it, the reader is gone with it, and so nothing is carried.
    let _ = sender.send(Ok(Response::from_parts(head, reader)));
    let limits = PumpLimits {
        bytes: shared.limits.response_body,
        trailers: shared.limits.fields(),
        idle: options.between_bytes_timeout,
    };
    if incoming.is_end_stream() {
        // As above.
        let _ = writer.finish();
        return;
    }
    pump(incoming, writer, &limits, |_| {}, |_| {}).await;
}

/// What drives a connection; dropped, it closes it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(
    shared: &Shared,
    prepared: Prepared,
    options: &Options,
) -> Result<(Response<Incoming>, Driver), ClientError> {
    let Prepared {
        to,
        lookup,
        request,
    } = prepared;
    let connected = connect(shared, &to, &lookup, options).await?;
    let deadline = later(Instant::now(), options.first_byte_timeout);
    let sent = timeout_at(deadline, send(shared, request, options, connected)).await;
    let (mut response, driver) =
        sent.map_err(|_| ClientError::FirstByteTimeout(options.first_byte_timeout))??;
    if response.status().is_informational() {
        let text = format!("the status {} was not asked for", response.status());
        return Err(ClientError::Protocol(text));
    }
    if !shared.limits.fields().allow(response.headers()) {
        return Err(ClientError::HeadTooLarge);
    }
    fields::strip(response.headers_mut());
    Ok((response, driver))
}

/// Sends a request, and waits for the head of its response.
async fn send(
    shared: &Shared,
    mut request: Request<Body>,
    options: &Options,
    connected: Connected,
) -> Result<(Response<Incoming>, Driver), ClientError> {
    let io = TokioIo::new(StallGuard::new(connected.io, options.between_bytes_timeout));
    let headers = shared.limits.fields();
    let failed = |error: hyper::Error| ClientError::of(&error);
    if connected.is_http2 {
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(header::HOST);
        let window = u32::try_from(shared.limits.body_buffer).unwrap_or(u32::MAX);
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window.clamp(0xffff, 16 << 20))
            .max_header_list_size(u32::try_from(headers.bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(shared.limits.body_buffer.clamp(16 << 10, 1 << 20))
            .handshake(io)
            .await
            .map_err(failed)?;
        let driver = drive(connection);
        return Ok((sender.send_request(request).await.map_err(failed)?, driver));
    }
    *request.version_mut() = Version::HTTP_11;
    // There is no next one.
    request
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(headers.count)
        .max_buf_size((2 * headers.bytes).max(MIN_HEAD))
        .handshake(io)
        .await
        .map_err(failed)?;
    let driver = drive(connection);
    Ok((sender.send_request(request).await.map_err(failed)?, driver))
}

/// Drives a connection. What goes wrong with it is what the request or its body hears.
fn drive(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) -> Driver {
    Driver(tokio::spawn(async move {
        let _ = connection.await;
    }))
}
