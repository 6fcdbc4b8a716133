//! Shutting down: what runs may finish, and is cut off when its time is over.

use std::net::TcpStream;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use tiered_http::http::{HeaderMap, StatusCode};
use tiered_http::{Reason, Request, Responder};

use crate::wire::{LONG, Wire, describe, soon, start, text, until};

#[test]
fn requests_that_run_finish() {
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let server = start(move |request: Request, responder: Responder| {
        if request.path == "/idle" {
            return text(responder, StatusCode::OK, "idle");
        }
        let mut writer = responder.start(StatusCode::OK, HeaderMap::new())?;
        writer.write(b"begun, ")?;
        started.send(())?;
        let _ = released.lock().map(|released| released.recv());
        writer.write(b"ended")?;
        writer.finish()?;
        Ok(())
    });
    let address = server.address();
    let metrics = server.metrics();
    let mut idle = Wire::connect(address);
    assert_eq!(idle.get("/idle").status, 200);
    let mut silent = Wire::connect(address);
    let mut wire = Wire::connect(address);
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    soon(&starts);
    let shutdown = std::thread::spawn(move || server.shutdown(LONG));
    // Connections without a request are closed at once, and no new one is accepted.
    idle.assert_closed();
    silent.assert_closed();
    until("nobody listens", || TcpStream::connect(address).is_err());
    until("one is left", || metrics.connections.get() == 1);
    assert!(!shutdown.is_finished());
    drop(release);
    let answer = wire.answer();
    assert_eq!(answer.text(), "begun, ended");
    wire.assert_closed();
    let shutdown = shutdown.join().expect("no panic");
    assert_eq!((shutdown.cut, shutdown.running), (0, 0));
    assert_eq!(metrics.incomplete.get(), 0);
}

#[test]
fn requests_that_do_not_end_are_cut_off() {
    let (started, starts) = mpsc::channel();
    let (reason, reasons) = mpsc::channel();
    let server = start(move |request: Request, responder: Responder| {
        let (sender, cancelled) = mpsc::channel();
        request
            .cancel
            .on_cancel(move |reason| sender.send(reason).unwrap_or_default());
        let _writer = match request.path.path() {
            "/head" => Some(responder.start(StatusCode::OK, HeaderMap::new())?),
            _ => None,
        };
        started.send(())?;
        reason.send(cancelled.recv_timeout(LONG)?)?;
        Ok(())
    });
    let mut wires = ["/", "/head"].map(|path| {
        let mut wire = Wire::connect(server.address());
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        soon(&starts);
        wire
    });
    let shutdown = server.shutdown(Duration::from_millis(50));
    assert_eq!((shutdown.cut, shutdown.running), (2, 0));
    assert_eq!([soon(&reasons), soon(&reasons)], [Reason::Shutdown; 2]);
    for wire in &mut wires {
        assert!(wire.try_answer().is_err());
    }
}

/// A handler that does not listen is left, and said to be.
#[test]
fn a_handler_that_does_not_end_is_counted() {
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (after, afters) = mpsc::channel();
    let server = start(move |mut request: Request, responder: Responder| {
        started.send(())?;
        let _ = released.lock().map(|released| released.recv());
        // What is left of the request fails, and nothing panics.
        let read = request.body.chunk();
        let sent = text(responder, StatusCode::OK, "late");
        after.send((read.is_err(), sent.is_err()))?;
        Ok(())
    });
    let mut wire = Wire::connect(server.address());
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    soon(&starts);
    let shutdown = server.shutdown(Duration::ZERO);
    assert_eq!((shutdown.cut, shutdown.running), (1, 1));
    drop(release);
    assert_eq!(soon(&afters), (true, true));
}

#[test]
fn a_dropped_server_closes_everything() {
    let server = start(describe);
    let address = server.address();
    let mut wire = Wire::connect(address);
    assert_eq!(wire.get("/").status, 200);
    drop(server);
    wire.assert_closed();
    assert!(TcpStream::connect(address).is_err());
}
