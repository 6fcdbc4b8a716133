//! HTTP/2 with prior knowledge, by hyper's client.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tiered_http::http::{HeaderMap, HeaderValue, Response, StatusCode};
use tiered_http::{Body, BodyError, Reason, Request, Responder, Server};

use crate::wire::{LONG, describe, echo, limited, soon, start, text, until};

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let test = async {
        tokio::time::timeout(LONG, test)
            .await
            .expect("within a minute")
    };
    runtime.block_on(test)
}

async fn connect(server: &Server) -> SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(server.address())
        .await
        .expect("a connection");
    let io = TokioIo::new(stream);
    let (sender, connection) = handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str, body: Body) -> hyper::Request<Body> {
    let uri = format!("http://a{path}");
    let request = hyper::Request::builder().method(method).uri(uri);
    request.body(body).expect("a request")
}

async fn frame(
    body: &mut hyper::body::Incoming,
) -> Option<Result<http_body::Frame<Bytes>, hyper::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// The whole body and its trailers.
async fn all(
    response: Response<hyper::body::Incoming>,
) -> Result<(StatusCode, Vec<u8>, Option<HeaderMap>), hyper::Error> {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(next) = frame(&mut body).await {
        match next?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(next) => trailers = next.into_trailers().ok(),
        }
    }
    Ok((head.status, bytes, trailers))
}

#[test]
fn requests_share_a_connection() {
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(10));
    let server = start(move |request: Request, responder: Responder| {
        // All are there before one is answered.
        barrier.wait();
        describe(request, responder)
    });
    run(async {
        let sender = connect(&server).await;
        let answers: Vec<_> = (0..10)
            .map(|index| {
                let mut sender = sender.clone();
                let request = request("POST", &format!("/{index}"), Body::full(vec![0; index]));
                tokio::spawn(async move { all(sender.send_request(request).await?).await })
            })
            .collect();
        for (index, answer) in answers.into_iter().enumerate() {
            let (status, body, _) = answer.await.expect("no panic").expect("an answer");
            assert_eq!(status, 200);
            assert_eq!(
                String::from_utf8_lossy(&body),
                format!("POST /{index} {index}")
            );
        }
    });
    assert_eq!(server.metrics().accepted.get(), 1);
    assert_eq!(server.metrics().running.peak(), 10);
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    let server = start(echo);
    run(async {
        let mut sender = connect(&server).await;
        let (mut writer, body) = Body::channel(1000);
        let response = sender
            .send_request(request("POST", "/", body))
            .await
            .expect("a head");
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        for part in ["hello", "world"] {
            writer.push(part.into()).expect("it is read");
            let got = frame(&mut body).await.expect("a frame").expect("no error");
            assert_eq!(got.into_data().expect("data"), part);
        }
        let trailers = HeaderMap::from_iter([(
            "x-sum".parse().expect("a name"),
            HeaderValue::from_static("7"),
        )]);
        writer.finish_with(trailers.clone()).expect("it is read");
        let got = frame(&mut body).await.expect("a frame").expect("no error");
        assert_eq!(got.into_trailers().expect("trailers"), trailers);
        assert!(frame(&mut body).await.is_none());
    });
}

#[test]
fn responses_without_a_body() {
    let server = start(|request: Request, responder: Responder| {
        let status = StatusCode::from_bytes(&request.path.path().as_bytes()[1..])?;
        let mut writer = responder.start(status, HeaderMap::new())?;
        writer.write(&[b'x'; 100_000])?;
        writer.finish()?;
        Ok(())
    });
    run(async {
        let mut sender = connect(&server).await;
        for (method, path) in [("HEAD", "/200"), ("GET", "/204"), ("GET", "/304")] {
            let response = sender
                .send_request(request(method, path, Body::empty()))
                .await;
            let (_, body, _) = all(response.expect("a head")).await.expect("a body");
            assert_eq!(body, b"", "{method} {path}");
        }
    });
    assert_eq!(server.metrics().incomplete.get(), 0);
}

#[test]
fn failures_end_streams_and_not_the_connection() {
    let server = start(
        |request: Request, responder: Responder| match request.path.path() {
            "/panic" => panic!("expected by the test"),
            "/later" => {
                let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
                writer.write(b"partial")?;
                Err("what is wrong".into())
            }
            _ => text(responder, StatusCode::OK, "fine"),
        },
    );
    run(async {
        let mut sender = connect(&server).await;
        let get = |path| request("GET", path, Body::empty());
        let response = sender.send_request(get("/panic")).await.expect("a head");
        assert_eq!(response.status(), 500);
        // A reset may overtake the head.
        if let Ok(response) = sender.send_request(get("/later")).await {
            assert!(all(response).await.is_err());
        }
        let response = sender.send_request(get("/")).await.expect("a head");
        assert_eq!(all(response).await.expect("a body").1, b"fine");
    });
    assert_eq!(server.metrics().accepted.get(), 1);
}

#[test]
fn a_reset_stream_cancels_its_request_alone() {
    let (started, starts) = mpsc::channel();
    let (reason, reasons) = mpsc::channel();
    let server = start(move |request: Request, responder: Responder| {
        if request.path == "/" {
            return text(responder, StatusCode::OK, "fine");
        }
        let (sender, cancelled) = mpsc::channel();
        request
            .cancel
            .on_cancel(move |reason| sender.send(reason).unwrap_or_default());
        started.send(())?;
        reason.send(cancelled.recv_timeout(LONG)?)?;
        Ok(())
    });
    run(async {
        let mut sender = connect(&server).await;
        let mut waiting = Box::pin(sender.send_request(request("GET", "/wait", Body::empty())));
        // Once it is sent and handled, it is dropped.
        while starts.try_recv().is_err() {
            let sent = tokio::time::timeout(Duration::from_millis(10), &mut waiting).await;
            assert!(sent.is_err());
        }
        drop(waiting);
        let response = sender
            .send_request(request("GET", "/", Body::empty()))
            .await;
        assert_eq!(
            all(response.expect("a head")).await.expect("a body").1,
            b"fine"
        );
        assert_eq!(soon(&reasons), Reason::ClientGone);
    });
}

#[test]
fn headers_beyond_the_limits_are_431() {
    let server = limited(
        |limits| (limits.header_bytes, limits.header_count) = (8 << 10, 50),
        describe,
    );
    run(async {
        for (count, size, status) in [
            (40, 10, 200),
            (60, 10, 431),
            (1, 9000, 431),
            (3000, 10, 431),
        ] {
            let mut sender = connect(&server).await;
            let mut request = request("GET", "/", Body::empty());
            for index in 0..count {
                let name = format!("x-{index}")
                    .parse::<hyper::header::HeaderName>()
                    .expect("a name");
                let value = HeaderValue::from_str(&"v".repeat(size)).expect("a value");
                request.headers_mut().insert(name, value);
            }
            match sender.send_request(request).await {
                Ok(response) => assert_eq!(response.status(), status, "{count} of {size}"),
                // hyper's client knows what the server said that it takes.
                Err(error) => assert_eq!(status, 431, "{error}"),
            }
        }
    });
    assert_eq!(server.metrics().responses(StatusCode::OK), 1);
}

/// A stream that nobody reads takes no more memory than its window, and holds up no other one.
#[test]
fn a_response_waits_for_its_client() {
    let (written, counts) = mpsc::channel();
    let server = limited(
        |limits| limits.idle_time = Duration::from_millis(300),
        move |request: Request, responder: Responder| {
            if request.path == "/" {
                return text(responder, StatusCode::OK, "fine");
            }
            let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
            let result = (0..10_000).try_for_each(|_| writer.write(&[0; 64 << 10]));
            written.send((writer.written(), result))?;
            Ok(())
        },
    );
    run(async {
        let mut sender = connect(&server).await;
        let stuck = sender
            .send_request(request("GET", "/big", Body::empty()))
            .await
            .expect("a head");
        let response = sender
            .send_request(request("GET", "/", Body::empty()))
            .await;
        assert_eq!(
            all(response.expect("a head")).await.expect("a body").1,
            b"fine"
        );
        let (count, result) = loop {
            match counts.try_recv() {
                Ok(found) => break found,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        assert!(matches!(result, Err(BodyError::Stalled(_))), "{result:?}");
        // The client's window of 2 MiB, and what the server holds.
        assert!(count < 8 << 20, "{count}");
        assert!(all(stuck).await.is_err(), "it was broken off");
    });
    let buffered = server.metrics().buffered.clone();
    assert!(buffered.peak() <= 128 << 10, "{}", buffered.peak());
    until("nothing is left", || buffered.get() == 0);
}

#[test]
fn shutdown_lets_streams_finish() {
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = start(move |_: Request, responder: Responder| {
        started.send(())?;
        let _ = released.lock().map(|released| released.recv());
        text(responder, StatusCode::OK, "finished")
    });
    run(async {
        let mut sender = connect(&server).await;
        let response = tokio::spawn(sender.send_request(request("GET", "/", Body::empty())));
        while starts.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let metrics = server.metrics();
        let shutdown = std::thread::spawn(move || server.shutdown(LONG));
        // The client hears that no more requests are taken.
        while sender.ready().await.is_ok() && !sender.is_closed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if metrics.in_flight.get() == 1 {
                break;
            }
        }
        drop(release);
        let response = response.await.expect("no panic").expect("a head");
        assert_eq!(all(response).await.expect("a body").1, b"finished");
        let shutdown = shutdown.join().expect("no panic");
        assert_eq!((shutdown.cut, shutdown.running), (0, 0));
    });
}
