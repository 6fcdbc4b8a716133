//! Components that call the interfaces, run by the engine in all tier modes: that the imports are found, get their arguments,
//! and reach the guest's memory, handles and allocator. What the calls mean in every case is tested beside.

#[cfg(feature = "http")]
mod answering;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use tiered::{Config, Engine, Store};
use tiered_component::{Component, Error, Linker};
use tiered_runtime::decode::types::ValType;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::wit::definitions;
use crate::component::link::signature;
use crate::component::resources::{Kind, Version};
use crate::ctx::{WasiCtx, WasiCtxBuilder};
use crate::net_grants::Peers;
use crate::objects::Access;
use crate::p2::INTERFACES;
use crate::{OutputBuffer, Stdout};

/// The tier modes.
const MODES: [&str; 5] = ["interp", "jit", "osr", "auto", "random:1"];

/// Imports of all functions and of what drops resources. Each has its bare name as its identifier, `read`; if that is taken,
/// the interface's before it, `filesystem/types/read`; if that is taken too, the resource's as well.
fn imports() -> String {
    let mut text = String::new();
    let mut known = BTreeSet::new();
    let mut import = |interface: &str, name: &str, params: &[ValType], results: &[ValType]| {
        let short = interface
            .trim_start_matches("wasi:")
            .trim_end_matches("@0.2.12");
        let full = name
            .replace("[resource-drop]", "drop-")
            .replace("[method]", "")
            .replace("[static]", "")
            .replace("[constructor]", "new-");
        let bare = full.rsplit('.').next().unwrap_or(&full);
        let ids = [
            bare.to_owned(),
            format!("{short}/{bare}"),
            format!("{short}/{full}"),
        ];
        let id = ids
            .into_iter()
            .find(|id| known.insert(id.clone()))
            .expect("a new name");
        let list = |types: &[ValType]| types.iter().map(|ty| format!(" {ty}")).collect::<String>();
        let (params, results) = (list(params), list(results));
        text += &format!(
            "(import {interface:?} {name:?} (func ${id} (param{params}) (result{results})))\n"
        );
    };
    for interface in INTERFACES {
        for row in interface.rows {
            let (params, results) = signature(row);
            import(interface.name, row.name, &params, &results);
        }
    }
    for ty in Kind::ALL
        .iter()
        .filter_map(|kind| kind.in_version(Version::P2))
    {
        let name = format!("[resource-drop]{}", ty.name);
        import(ty.interface, &name, &[ValType::I32], &[]);
    }
    text
}

/// A component whose core module imports everything and has these items: among them the function `run`, which it exports.
/// An address in the first 4096 bytes is the guest's to use, those from 2048 on hold `data`.
fn component(items: &str, data: &str) -> Vec<u8> {
    component_that("export run: func() -> u32;", items, data)
}

/// As [`component`], with these exports.
fn component_that(exports: &str, items: &str, data: &str) -> Vec<u8> {
    let imports = imports();
    let text = format!(
        r#"(module
            {imports}
            (memory (export "memory") 4)
            (global $heap (mut i32) (i32.const 4096))
            (data (i32.const 2048) "{data}")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $heap) (i32.sub (local.get 2) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get 2))))
                (global.set $heap (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            {items})"#
    );
    let mut module = wat::parse_str(&text).unwrap();
    let mut resolve = definitions().resolve;
    let http = match cfg!(feature = "http") {
        true => "include wasi:http/imports@0.2.12;",
        false => "",
    };
    let world = format!(
        "package test:guest;
        world guest {{ include wasi:cli/imports@0.2.12; {http} {exports} }}"
    );
    let package = resolve.push_str("guest.wit", &world).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(&module).unwrap();
    encoder.encode().unwrap()
}

/// Runs a component in a mode, with what `grant` adds.
fn run_in(
    mode: &str,
    component: &[u8],
    grant: impl FnOnce(WasiCtxBuilder) -> WasiCtxBuilder,
) -> Result<u32, Error> {
    let engine = Engine::new(&Config::new().tier(mode.parse().unwrap()));
    let component = Component::new(&engine, component.to_vec())?;
    let mut linker = Linker::<WasiCtx>::new();
    crate::p2::add_to_linker(&mut linker, |ctx| ctx).unwrap();
    let ctx = grant(WasiCtx::builder()).build().unwrap();
    let mut store = Store::new(&engine, ctx).unwrap();
    let instance = linker.instantiate(&mut store, &component)?;
    let run = instance.func("", "run")?.typed::<(), u32>()?;
    run.call(&mut store, &())
}

/// Code that writes what `get-stdout` gives from a list at an address.
const PRINT: &str = r#"(func $print (param $list i32)
    (call $blocking-write-and-flush (call $get-stdout)
        (i32.load (local.get $list)) (i32.load offset=4 (local.get $list)) (i32.const 16))
    (if (i32.load8_u (i32.const 16)) (then (unreachable))))"#;

#[test]
fn arguments_are_printed() {
    let items = format!(
        r#"{PRINT} (func (export "run") (result i32)
            (call $get-arguments (i32.const 0))
            (call $print (i32.add (i32.load (i32.const 0)) (i32.const 8)))
            (i32.load (i32.const 4)))"#
    );
    let component = component(&items, "");
    for mode in MODES {
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let grant = |builder: WasiCtxBuilder| builder.args(["demo", "hello"]).stdout(stdout);
        assert_eq!(run_in(mode, &component, grant).unwrap(), 2, "{mode}");
        assert_eq!(output.contents(), b"hello", "{mode}");
    }
}

#[test]
fn ending_is_no_error_of_the_guest() {
    let items = r#"(func (export "run") (result i32)
        (call $exit-with-code (i32.const 7)) (unreachable))"#;
    let component = component(items, "");
    for mode in MODES {
        let ended = run_in(mode, &component, |builder| builder).unwrap_err();
        assert!(
            matches!(&ended, Error::Trap(trap) if trap.exit_code() == Some(7)),
            "{mode}: {ended}"
        );
    }
}

#[test]
fn a_deadline_is_waited_for() {
    let items = r#"(func (export "run") (result i32)
        (i32.store (i32.const 0) (call $subscribe-duration (i64.const 1000000)))
        (i32.store (i32.const 4) (call $subscribe-duration (i64.const 3600000000000)))
        (call $poll (i32.const 0) (i32.const 2) (i32.const 8))
        (call $drop-pollable (i32.load (i32.const 0)))
        (i32.add
            (i32.mul (i32.const 10) (i32.load (i32.const 12)))
            (i32.load (i32.load (i32.const 8)))))"#;
    let component = component(items, "");
    for mode in MODES {
        let ready = run_in(mode, &component, |builder| builder).unwrap();
        assert_eq!(ready, 10, "one is ready, the first: {mode}");
    }
}

#[test]
fn a_parent_that_is_dropped_first_is_a_trap() {
    let items = r#"(func (export "run") (result i32) (local $stdin i32)
        (local.set $stdin (call $get-stdin))
        (drop (call $subscribe (local.get $stdin)))
        (call $drop-input-stream (local.get $stdin))
        (i32.const 0))"#;
    let component = component(items, "");
    for mode in MODES {
        let stopped = run_in(mode, &component, |builder| builder).unwrap_err();
        let text = stopped.to_string();
        assert!(
            text.contains("`input-stream` is dropped before 1"),
            "{mode}: {text}"
        );
    }
}

#[test]
fn a_file_is_made_written_and_read() {
    // `file` at 2048, `text` at 2052. The directory's handle is the first of the list that get-directories gives.
    let items = format!(
        r#"{PRINT} (func (export "run") (result i32) (local $file i32)
            (call $get-directories (i32.const 0))
            (call $open-at (i32.load (i32.load (i32.const 0))) (i32.const 0)
                (i32.const 2048) (i32.const 4) (i32.const 5) (i32.const 3) (i32.const 8))
            (if (i32.load8_u (i32.const 8)) (then (unreachable)))
            (local.set $file (i32.load (i32.const 12)))
            (call $filesystem/types/write (local.get $file)
                (i32.const 2052) (i32.const 4) (i64.const 3) (i32.const 24))
            (if (i32.load8_u (i32.const 24)) (then (unreachable)))
            (call $filesystem/types/read (local.get $file) (i64.const 100) (i64.const 3) (i32.const 40))
            (if (i32.load8_u (i32.const 40)) (then (unreachable)))
            (call $print (i32.const 44))
            (call $stat (local.get $file) (i32.const 64))
            (if (i32.load8_u (i32.const 64)) (then (unreachable)))
            (call $drop-descriptor (local.get $file))
            (i32.load (i32.const 88)))"#
    );
    let component = component(&items, "filetext");
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let grant = |builder: WasiCtxBuilder| {
            let builder = builder.preopen_dir(dir.path(), "/", Access::ReadWrite);
            builder.stdout(stdout)
        };
        assert_eq!(
            run_in(mode, &component, grant).unwrap(),
            7,
            "its size: {mode}"
        );
        assert_eq!(output.contents(), b"text", "{mode}");
        assert_eq!(
            std::fs::read(dir.path().join("file")).unwrap(),
            b"\0\0\0text"
        );
    }
}

#[test]
fn random_bytes_arrive() {
    let items = r#"(func (export "run") (result i32)
        (call $get-random-bytes (i64.const 64) (i32.const 0))
        (i32.add
            (i32.load (i32.const 4))
            (i64.ne (i64.load (i32.load (i32.const 0))) (i64.load offset=8 (i32.load (i32.const 0))))))"#;
    let component = component(items, "");
    for mode in MODES {
        assert_eq!(
            run_in(mode, &component, |builder| builder).unwrap(),
            65,
            "{mode}"
        );
    }
}

/// Code that begins and ends connecting a new socket to 127.0.0.1 and the port that is the first argument, in decimal; then
/// `$input` and `$output` are its streams, or `$code` the error's case.
const CONNECT: &str = r#"
    (global $input (mut i32) (i32.const 0))
    (global $output (mut i32) (i32.const 0))
    (func $port (result i32) (local $at i32) (local $end i32) (local $port i32)
        (call $get-arguments (i32.const 0))
        (local.set $at (i32.load (i32.load (i32.const 0))))
        (local.set $end (i32.add (local.get $at) (i32.load offset=4 (i32.load (i32.const 0)))))
        (loop $digits
            (local.set $port (i32.add
                (i32.mul (local.get $port) (i32.const 10))
                (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
            (br_if $digits (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 1)))
                (local.get $end))))
        (local.get $port))
    (func $connect (result i32) (local $socket i32)
        (call $create-tcp-socket (i32.const 0) (i32.const 32))
        (if (i32.load8_u (i32.const 32)) (then (unreachable)))
        (local.set $socket (i32.load (i32.const 36)))
        (call $start-connect (local.get $socket) (call $instance-network) (i32.const 0) (call $port)
            (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 40))
        (if (i32.load8_u (i32.const 40)) (then (return (i32.load8_u (i32.const 41)))))
        (call $block (call $sockets/tcp/subscribe (local.get $socket)))
        (call $finish-connect (local.get $socket) (i32.const 48))
        (if (i32.load8_u (i32.const 48)) (then (return (i32.load8_u (i32.const 52)))))
        (global.set $input (i32.load (i32.const 52)))
        (global.set $output (i32.load (i32.const 56)))
        (i32.const 100))"#;

#[test]
fn a_connection_is_denied_or_made() {
    let items = format!(
        r#"{CONNECT} {PRINT} (func (export "run") (result i32) (local $code i32)
            (local.set $code (call $connect))
            (if (i32.ne (local.get $code) (i32.const 100)) (then (return (local.get $code))))
            (call $blocking-write-and-flush (global.get $output) (i32.const 2048) (i32.const 4) (i32.const 64))
            (if (i32.load8_u (i32.const 64)) (then (unreachable)))
            (call $blocking-read (global.get $input) (i64.const 10) (i32.const 64))
            (if (i32.load8_u (i32.const 64)) (then (unreachable)))
            (call $print (i32.const 68))
            (local.get $code))"#
    );
    let component = component(&items, "ping");
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(b"pong").unwrap();
            bytes
        });
        let port = peer.port().to_string();
        let elsewhere: Peers = "192.0.2.1:80".parse().unwrap();
        let grant = |builder: WasiCtxBuilder| builder.arg(&port).allow_listen(elsewhere);
        let denied = run_in(mode, &component, grant).unwrap();
        assert_eq!(denied, 1, "access-denied: {mode}");
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let grant = |builder: WasiCtxBuilder| builder.arg(&port).stdout(stdout).allow_connect(peer);
        assert_eq!(run_in(mode, &component, grant).unwrap(), 100, "{mode}");
        assert_eq!(output.contents(), b"pong", "{mode}");
        assert_eq!(&server.join().unwrap(), b"ping", "{mode}");
    }
}

#[test]
fn a_datagram_is_sent() {
    // The datagram at 128: 4 bytes at 2048, to 127.0.0.1 and the port.
    let items = format!(
        r#"{CONNECT} (func (export "run") (result i32) (local $socket i32)
            (call $create-udp-socket (i32.const 0) (i32.const 32))
            (if (i32.load8_u (i32.const 32)) (then (unreachable)))
            (local.set $socket (i32.load (i32.const 36)))
            (call $sockets/udp/start-bind (local.get $socket) (call $instance-network) (i32.const 0)
                (i32.const 0) (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 40))
            (if (i32.load8_u (i32.const 40)) (then (return (i32.load8_u (i32.const 41)))))
            (call $sockets/udp/finish-bind (local.get $socket) (i32.const 40))
            (if (i32.load8_u (i32.const 40)) (then (unreachable)))
            (call $stream (local.get $socket) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 48))
            (if (i32.load8_u (i32.const 48)) (then (unreachable)))
            (i32.store (i32.const 128) (i32.const 2048))
            (i32.store (i32.const 132) (i32.const 4))
            (i32.store8 (i32.const 136) (i32.const 1))
            (i32.store16 (i32.const 144) (call $port))
            (i32.store (i32.const 146) (i32.const 0x0100007f))
            (call $check-send (i32.load (i32.const 56)) (i32.const 64))
            (call $send (i32.load (i32.const 56)) (i32.const 128) (i32.const 1) (i32.const 64))
            (if (i32.load8_u (i32.const 64)) (then (return (i32.load8_u (i32.const 72)))))
            (i32.add (i32.const 100) (i32.load (i32.const 72))))"#
    );
    let component = component(&items, "ping");
    for mode in MODES {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap();
        let port = address.port().to_string();
        let elsewhere: Peers = "192.0.2.1:80".parse().unwrap();
        let grant = |builder: WasiCtxBuilder| builder.arg(&port).allow_listen(elsewhere);
        let denied = run_in(mode, &component, grant).unwrap();
        assert_eq!(denied, 1, "access-denied: {mode}");
        let grant = |builder: WasiCtxBuilder| builder.arg(&port).allow_connect(address);
        assert_eq!(run_in(mode, &component, grant).unwrap(), 101, "{mode}");
        let mut bytes = [0; 10];
        assert_eq!(peer.recv(&mut bytes).unwrap(), 4);
        assert_eq!(&bytes[..4], b"ping");
    }
}

#[test]
fn what_the_guest_makes_is_limited() {
    let items = r#"(func (export "run") (result i32)
        (loop $more (drop (call $subscribe-duration (i64.const 0))) (br $more))
        (unreachable))"#;
    let component = component(items, "");
    for mode in MODES {
        let stopped = run_in(mode, &component, |builder| builder.max_resources(100)).unwrap_err();
        let text = stopped.to_string();
        assert!(text.contains("more than 100 resources"), "{mode}: {text}");
    }
}
