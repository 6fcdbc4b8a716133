//! Bodies larger than what may wait. What waits is counted by the server, and by what got through.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use tiered_http::http::{HeaderMap, StatusCode};
use tiered_http::{Request, Responder};

use crate::wire::{Wire, limited, soon, text, until};

const MIB: u64 = 1 << 20;

/// More than any buffers of two sockets on one machine.
const BODY: u64 = 256 * MIB;

/// What a channel may hold: its capacity, and the chunk that did not fit.
const BUFFER: u64 = 64 << 10;

#[test]
fn a_response_waits_for_its_client() {
    let written = Arc::new(AtomicU64::new(0));
    let counted = written.clone();
    let server = limited(
        |limits| limits.response_time = Duration::from_secs(600),
        move |_: Request, responder: Responder| {
            let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
            for _ in 0..BODY / MIB {
                writer.write(&vec![7; MIB as usize])?;
                counted.fetch_add(MIB, SeqCst);
            }
            writer.finish()?;
            Ok(())
        },
    );
    let mut wire = Wire::connect(server.address());
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.head().expect("a head");
    let mut received = 0;
    while let Some(chunk) = wire.chunk().expect("a chunk") {
        assert!(chunk.iter().all(|byte| *byte == 7));
        received += chunk.len() as u64;
        let ahead = written.load(SeqCst).saturating_sub(received);
        assert!(ahead < 32 * MIB, "{ahead} bytes ahead of the client");
        if received < 4 * MIB {
            // Time for the handler to run ahead, if anything let it.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    assert_eq!(received, BODY);
    let buffered = &server.metrics().buffered;
    assert!(buffered.peak() <= BUFFER, "{}", buffered.peak());
    assert_eq!(buffered.get(), 0);
    until("it is counted", || server.metrics().sent.get() == BODY);
}

#[test]
fn a_request_waits_for_its_handler() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = limited(
        |limits| {
            limits.request_body = BODY;
            limits.response_time = Duration::from_secs(600);
        },
        move |mut request: Request, responder: Responder| {
            let first = request.body.chunk()?.map_or(0, |chunk| chunk.len() as u64);
            let _ = released.lock().map(|released| released.recv());
            let mut total = first;
            while let Some(chunk) = request.body.chunk()? {
                total += chunk.len() as u64;
            }
            text(responder, StatusCode::OK, &total.to_string())
        },
    );
    let mut wire = Wire::connect(server.address());
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n"
    ));
    let sender = wire.socket().try_clone().expect("a second handle");
    let (taken, takes) = mpsc::channel();
    let upload = std::thread::spawn(move || {
        let chunk = vec![1; MIB as usize];
        for _ in 0..BODY / MIB {
            std::io::Write::write_all(&mut &sender, &chunk).expect("it is taken");
            taken.send(()).expect("received");
        }
    });
    // It gets as far as sockets take it, and no further while the handler reads nothing.
    let mut sent = 0;
    while takes.recv_timeout(Duration::from_secs(1)).is_ok() {
        sent += MIB;
    }
    assert!(sent < 32 * MIB, "{sent} bytes were taken from the client");
    let buffered = server.metrics().buffered.clone();
    assert!(buffered.peak() > 0);
    drop(release);
    assert_eq!(wire.answer().text(), BODY.to_string());
    upload.join().expect("all is sent");
    // One read of the connection's is the most that can come at once.
    assert!(
        buffered.peak() <= BUFFER + (64 << 10),
        "{}",
        buffered.peak()
    );
    assert_eq!(buffered.get(), 0);
    assert_eq!(server.metrics().received.get(), BODY);
}

/// A writer that is polled is told when there is room, and when all is taken.
#[test]
fn room_can_be_polled_for() {
    let (result, results) = mpsc::channel();
    let server = limited(
        |limits| limits.body_buffer = 1000,
        move |_: Request, responder: Responder| {
            let waker = std::task::Waker::noop();
            let mut cx = std::task::Context::from_waker(waker);
            let (mut writer, body) = tiered_http::Body::channel(responder.body_buffer());
            let mut rooms = Vec::new();
            rooms.push(writer.poll_ready(&mut cx));
            writer.push(vec![b'x'; 600].into())?;
            rooms.push(writer.poll_ready(&mut cx));
            writer.push(vec![b'x'; 600].into())?;
            rooms.push(writer.poll_ready(&mut cx));
            let before = writer.poll_flushed(&mut cx);
            responder.send(crate::wire::response(200, &[], body))?;
            writer.flush()?;
            rooms.push(writer.poll_ready(&mut cx));
            writer.finish()?;
            result.send((rooms, before))?;
            Ok(())
        },
    );
    let answer = Wire::connect(server.address()).get("/");
    assert_eq!(answer.body.len(), 1200);
    let (rooms, before) = soon(&results);
    use std::task::Poll::{Pending, Ready};
    assert_eq!(
        rooms,
        [Ready(Ok(1000)), Ready(Ok(400)), Pending, Ready(Ok(1000))]
    );
    assert_eq!(before, Pending);
}
