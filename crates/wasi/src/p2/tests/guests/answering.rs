//! Components that answer requests by HTTP, in all tier modes: a client gets what the guest has set, and a host learns how it
//! went.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tiered::{Config, Engine, Store};
use tiered_component::{Component, Linker};
use tiered_http::{Server, http::StatusCode};

use super::{MODES, component_that};
use crate::ctx::WasiCtx;
use crate::p2::http::{HandleError, handle};

/// Code for all of them: `$respond` sets a response and returns its body, `$write` writes the data there.
const ITEMS: &str = r#"
    (func $respond (param $out i32) (result i32) (local $response i32) (local $body i32)
        (local.set $response (call $new-outgoing-response (call $new-fields)))
        (call $http/types/body (local.get $response) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (unreachable)))
        (local.set $body (i32.load (i32.const 4)))
        (call $http/types/set (local.get $out) (i32.const 0) (local.get $response)
            (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (local.get $body))
    (func $output (param $body i32) (result i32)
        (call $http/types/write (local.get $body) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (unreachable)))
        (i32.load (i32.const 4)))
    (func $say (param $output i32)
        (call $blocking-write-and-flush (local.get $output) (i32.const 2048) (i32.const 4) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (unreachable))))
    (func $end (param $body i32) (param $output i32)
        (call $drop-output-stream (local.get $output))
        (call $http/types/finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (unreachable))))"#;

/// A component whose handler is this code, on `$request` and `$out`.
fn handler(code: &str) -> Vec<u8> {
    handler_with(code, "here")
}

/// With this data.
fn handler_with(code: &str, data: &str) -> Vec<u8> {
    let items = format!(
        r#"{ITEMS} (func (export "wasi:http/incoming-handler@0.2.12#handle")
            (param $request i32) (param $out i32) (local $body i32) (local $output i32) (local $input i32)
            {code})"#
    );
    component_that("export wasi:http/incoming-handler@0.2.12;", &items, data)
}

/// Has a component answer one request: what the client gets, and what `handle` says.
fn answer(mode: &str, component: &[u8], request: &str) -> (String, Result<(), HandleError>) {
    let engine = Engine::new(&Config::new().tier(mode.parse().unwrap()));
    let component = Component::new(&engine, component.to_vec()).unwrap();
    let mut linker = Linker::<WasiCtx>::new();
    crate::p2::add_to_linker(&mut linker, |ctx| ctx).unwrap();
    let pre = linker.instantiate_pre(&component).unwrap();
    let results = Arc::new(Mutex::new(None));
    let result = Arc::clone(&results);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::builder().start(listener, move |request, responder| {
        let mut store = Store::new(&engine, WasiCtx::builder().build()?)?;
        let instance = pre.instantiate(&mut store)?;
        let handled = handle(&mut store, |ctx| ctx, &instance, request, responder);
        let failed = handled.is_err();
        *result.lock().unwrap() = Some(handled);
        match failed {
            true => Err("see the result".into()),
            false => Ok(()),
        }
    });
    let server = server.unwrap();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = Vec::new();
    // One that is broken off may end by a reset.
    let _ = stream.read_to_end(&mut text);
    drop(server);
    let result = results
        .lock()
        .unwrap()
        .take()
        .expect("the handler was called");
    (String::from_utf8(text).unwrap(), result)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn a_body_is_sent_back() {
    let component = handler(
        "(call $consume (local.get $request) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (unreachable)))
        (call $http/types/stream (i32.load (i32.const 4)) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (unreachable)))
        (local.set $input (i32.load (i32.const 4)))
        (local.set $output (call $output (local.tee $body (call $respond (local.get $out)))))
        (loop $more
            (call $blocking-splice (local.get $output) (local.get $input) (i64.const 65536) (i32.const 0))
            (br_if $more (i32.eqz (i32.load8_u (i32.const 0)))))
        (call $end (local.get $body) (local.get $output))",
    );
    let sent = "x".repeat(100_000);
    let post = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{sent}",
        sent.len()
    );
    for mode in MODES {
        let (text, result) = answer(mode, &component, &post);
        assert!(result.is_ok(), "{mode}: {result:?}");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{mode}: {text}");
        assert!(text.ends_with("0\r\n\r\n"), "{mode}");
        assert_eq!(text.matches('x').count(), sent.len(), "{mode}");
    }
}

#[test]
fn a_host_learns_how_it_went() {
    let said =
        "(local.set $output (call $output (local.tee $body (call $respond (local.get $out)))))
        (call $say (local.get $output))";
    let whole = format!("{said} (call $end (local.get $body) (local.get $output))");
    type Expected = fn(&HandleError) -> bool;
    let trapped: Expected = |error| matches!(error, HandleError::Guest(error) if error.to_string().contains("unreachable"));
    let exited: Expected = |error| {
        let HandleError::Guest(tiered_component::Error::Trap(trap)) = error else {
            return false;
        };
        trap.exit_code() == Some(3)
    };
    let code: Expected = |error| {
        let HandleError::ErrorCode { code, status } = error else {
            return false;
        };
        (&**code, *status)
            == (
                "internal-error (\"here\")",
                StatusCode::INTERNAL_SERVER_ERROR,
            )
    };
    let internal = "HTTP/1.1 500 Internal Server Error\r\n";
    let ok = "HTTP/1.1 200 OK\r\n";
    // The code, how the answer begins, whether it is whole, and the error.
    let cases: [(&str, &str, bool, Option<Expected>); 8] = [
        (&whole, ok, true, None),
        ("(unreachable)", internal, true, Some(trapped)),
        (
            "(call $exit-with-code (i32.const 3))",
            internal,
            true,
            Some(exited),
        ),
        (
            "",
            internal,
            true,
            Some(|error| matches!(error, HandleError::NoResponse)),
        ),
        (&format!("{said} (unreachable)"), ok, false, Some(trapped)),
        (
            said,
            ok,
            false,
            Some(|error| matches!(error, HandleError::Unfinished)),
        ),
        (&format!("{whole} (unreachable)"), ok, true, Some(trapped)),
        (
            "(call $http/types/set (local.get $out) (i32.const 1) (i32.const 38) (i32.const 1)
                (i64.const 2048) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0))",
            internal,
            true,
            Some(code),
        ),
    ];
    for (code, begins, is_whole, expected) in cases {
        let component = handler(code);
        for mode in MODES {
            let (text, result) = answer(mode, &component, GET);
            // Of what is broken off at once, nothing may come.
            let begun = text.starts_with(begins) || (text.is_empty() && !is_whole);
            assert!(begun, "{mode} {code}: {text}");
            let ends = text.ends_with("0\r\n\r\n") || text.ends_with("Error\n");
            assert_eq!(ends, is_whole, "{mode} {code}: {text}");
            match (expected, &result) {
                (None, Ok(())) => assert!(text.contains("here"), "{mode}: {text}"),
                (Some(expected), Err(error)) => {
                    assert!(expected(error), "{mode} {code}: {error:?}")
                }
                _ => panic!("{mode} {code}: {result:?}"),
            }
        }
    }
}

#[test]
fn a_response_that_cannot_be_sent_is_told() {
    // It declares a length, and has no body.
    let items = r#"(local.set $input (call $new-fields))
        (call $append (local.get $input) (i32.const 2052) (i32.const 14) (i32.const 2066) (i32.const 1)
            (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (unreachable)))
        (call $http/types/set (local.get $out) (i32.const 0)
            (call $new-outgoing-response (local.get $input))
            (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"#;
    let component = handler_with(items, "herecontent-length5");
    for mode in MODES {
        let (text, result) = answer(mode, &component, GET);
        assert!(text.starts_with("HTTP/1.1 500 "), "{mode}: {text}");
        assert!(
            matches!(result, Err(HandleError::Head(_))),
            "{mode}: {result:?}"
        );
    }
}

#[test]
fn a_component_that_answers_nothing_is_told() {
    let component = component_that(
        "export run: func() -> u32;",
        r#"(func (export "run") (result i32) (i32.const 0))"#,
        "",
    );
    let (text, result) = answer("interp", &component, GET);
    assert!(text.starts_with("HTTP/1.1 500 "), "{text}");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("wasi:http/incoming-handler"), "{error}");
}
