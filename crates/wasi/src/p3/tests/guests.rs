//! Components that call the interfaces, run by the engine in all tier modes: that imports are found whether they are lowered
//! synchronously or not, that streams and futures move, and that what waits is woken. What the calls mean in every case is
//! tested beside.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use tiered::{Config, Engine, Store};
use tiered_component::{Component, Error, Linker};
use tiered_runtime::TrapCode;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::wit::definitions;
use crate::ctx::{WasiCtx, WasiCtxBuilder};
use crate::net_grants::Peers;
use crate::objects::Access;
use crate::{InputBuffer, OutputBuffer, Stdin, Stdout};

/// The tier modes.
const MODES: [&str; 5] = ["interp", "jit", "osr", "auto", "random:1"];

/// What waits, and what writes to the standard output. Addresses from 256 to 271 are for them; the data are at 2048.
const PRELUDE: &str = r#"
    (import "$root" "[waitable-set-new]" (func $set-new (result i32)))
    (import "$root" "[waitable-set-wait]" (func $set-wait (param i32 i32) (result i32)))
    (import "$root" "[waitable-set-drop]" (func $set-drop (param i32)))
    (import "$root" "[waitable-join]" (func $join (param i32 i32)))
    (import "$root" "[subtask-drop]" (func $subtask-drop (param i32)))
    (import "wasi:cli/stdout@0.3.2" "write-via-stream" (func $write-stdout (param i32) (result i32)))
    (import "wasi:cli/stdout@0.3.2" "[stream-new-0]write-via-stream" (func $out-new (result i64)))
    (import "wasi:cli/stdout@0.3.2" "[async-lower][stream-write-0]write-via-stream"
        (func $out-write (param i32 i32 i32) (result i32)))
    (import "wasi:cli/stdout@0.3.2" "[stream-drop-writable-0]write-via-stream" (func $out-drop (param i32)))
    (import "wasi:cli/stdout@0.3.2" "[async-lower][future-read-1]write-via-stream"
        (func $out-ended (param i32 i32) (result i32)))
    (import "wasi:cli/stdout@0.3.2" "[future-drop-readable-1]write-via-stream" (func $out-ended-drop (param i32)))"#;

/// `$finish` waits for what was begun on an end of a stream or a future, `$print` writes text and waits until it is written.
const HELPERS: &str = r#"
    (func $finish (param $end i32) (param $answer i32) (result i32) (local $set i32)
        (if (i32.ne (local.get $answer) (i32.const -1)) (then (return (local.get $answer))))
        (local.set $set (call $set-new))
        (call $join (local.get $end) (local.get $set))
        (drop (call $set-wait (local.get $set) (i32.const 256)))
        (if (i32.ne (i32.load (i32.const 256)) (local.get $end)) (then (unreachable)))
        (call $join (local.get $end) (i32.const 0))
        (call $set-drop (local.get $set))
        (i32.load (i32.const 260)))
    (func $write (param $end i32) (param $at i32) (param $len i32) (local $answer i32)
        (loop $more
            (if (i32.eqz (local.get $len)) (then (return)))
            (local.set $answer (call $finish (local.get $end)
                (call $out-write (local.get $end) (local.get $at) (local.get $len))))
            (if (i32.and (local.get $answer) (i32.const 15)) (then (unreachable)))
            (local.set $answer (i32.shr_u (local.get $answer) (i32.const 4)))
            (local.set $at (i32.add (local.get $at) (local.get $answer)))
            (local.set $len (i32.sub (local.get $len) (local.get $answer)))
            (br $more)))
    (func $print (param $at i32) (param $len i32) (local $ends i64) (local $end i32) (local $ended i32)
        (local.set $ends (call $out-new))
        (local.set $end (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (local.set $ended (call $write-stdout (i32.wrap_i64 (local.get $ends))))
        (call $write (local.get $end) (local.get $at) (local.get $len))
        (call $out-drop (local.get $end))
        (if (call $finish (local.get $ended) (call $out-ended (local.get $ended) (i32.const 264)))
            (then (unreachable)))
        (if (i32.load8_u (i32.const 264)) (then (unreachable)))
        (call $out-ended-drop (local.get $ended)))"#;

/// A component whose core module has these imports and items: among them the function `run`, which it exports. Addresses
/// in the first 4096 bytes are the guest's to use, those from 2048 on hold `data`.
fn component(imports: &str, items: &str, data: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {PRELUDE}
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
            {HELPERS}
            {items})"#
    );
    let mut module = wat::parse_str(&text).unwrap();
    let mut resolve = definitions().resolve;
    for (name, text) in crate::p2::tests::wit::PACKAGES {
        // Those of both versions have the same names, and are told by their versions.
        resolve.push_str(name, text).unwrap();
    }
    let world = "package test:guest;
        world guest {
            include wasi:cli/imports@0.2.12;
            include wasi:cli/imports@0.3.2;
            export run: async func() -> u32;
        }";
    let package = resolve.push_str("guest.wit", world).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(&module).unwrap();
    encoder.encode().unwrap()
}

/// Runs a component in a mode, with what `grant` adds, on a store that `prepare` sees before.
fn run_prepared(
    mode: &str,
    component: &[u8],
    grant: impl FnOnce(WasiCtxBuilder) -> WasiCtxBuilder,
    prepare: impl FnOnce(&mut Store<WasiCtx>),
) -> Result<u32, Error> {
    let engine = Engine::new(&Config::new().tier(mode.parse().unwrap()));
    let component = Component::new(&engine, component.to_vec())?;
    let mut linker = Linker::<WasiCtx>::new();
    crate::p2::add_to_linker(&mut linker, |ctx| ctx).unwrap();
    crate::p3::add_to_linker(&mut linker, |ctx| ctx).unwrap();
    let ctx = grant(WasiCtx::builder()).build().unwrap();
    let mut store = Store::new(&engine, ctx).unwrap();
    prepare(&mut store);
    let instance = linker.instantiate(&mut store, &component)?;
    let run = instance.func("", "run")?.typed::<(), u32>()?;
    run.call(&mut store, &())
}

fn run_in(
    mode: &str,
    component: &[u8],
    grant: impl FnOnce(WasiCtxBuilder) -> WasiCtxBuilder,
) -> Result<u32, Error> {
    run_prepared(mode, component, grant, |_| {})
}

#[test]
fn text_is_printed_by_a_stream() {
    let items = r#"(func (export "run") (result i32)
        (call $print (i32.const 2048) (i32.const 5)) (i32.const 7))"#;
    let component = component("", items, "hello");
    for mode in MODES {
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let ran = run_in(mode, &component, |builder| builder.stdout(stdout));
        assert_eq!(ran.unwrap(), 7, "{mode}");
        assert_eq!(output.contents(), b"hello", "{mode}");
    }
}

#[test]
fn more_than_a_pipe_takes_is_waited_for() {
    let items = r#"(func (export "run") (result i32)
        (call $print (i32.const 2048) (i32.const 200000)) (i32.const 7))"#;
    let component = component("", items, "hello");
    for mode in MODES {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all.len()
        });
        let stdout = Stdout::File(File::from(std::os::fd::OwnedFd::from(writer)));
        let ran = run_in(mode, &component, |builder| builder.stdout(stdout));
        assert_eq!(ran.unwrap(), 7, "{mode}");
        assert_eq!(reading.join().unwrap(), 200_000, "{mode}");
    }
}

const CLOCK: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.3.2" "wait-for" (func $wait-for (param i64)))
    (import "wasi:clocks/monotonic-clock@0.3.2" "[async-lower]wait-for" (func $start-wait (param i64) (result i32)))"#;

/// Begins two waits, and says which is over first.
const FIRST: &str = r#"(func (export "run") (result i32) (local $set i32) (local $late i32) (local $soon i32)
    (local.set $late (i32.shr_u (call $start-wait (i64.const 3600000000000)) (i32.const 4)))
    (local.set $soon (i32.shr_u (call $start-wait (i64.const 2000000)) (i32.const 4)))
    (local.set $set (call $set-new))
    (call $join (local.get $late) (local.get $set))
    (call $join (local.get $soon) (local.get $set))
    (drop (call $set-wait (local.get $set) (i32.const 0)))
    (call $join (local.get $soon) (i32.const 0))
    (call $subtask-drop (local.get $soon))
    (i32.eq (i32.load (i32.const 0)) (local.get $soon)))"#;

#[test]
fn two_clocks_are_waited_for_at_once() {
    let component = component(CLOCK, FIRST, "");
    for mode in MODES {
        let first = run_in(mode, &component, |builder| builder).unwrap();
        assert_eq!(first, 1, "the one that is sooner: {mode}");
    }
}

#[test]
fn a_deadline_and_an_interrupt_end_what_waits() {
    let items = r#"(func (export "run") (result i32)
        (call $wait-for (i64.const 3600000000000)) (unreachable))"#;
    let component = component(CLOCK, items, "");
    for mode in MODES {
        let stopped = run_prepared(
            mode,
            &component,
            |builder| builder,
            |store| {
                let handle = store.interrupt_handle();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(5));
                    handle.interrupt();
                });
            },
        );
        let stopped = stopped.unwrap_err();
        let is_interrupted =
            matches!(&stopped, Error::Trap(trap) if trap.code() == Some(TrapCode::Interrupted));
        assert!(is_interrupted, "{mode}: {stopped}");
    }
}

const STDIN: &str = r#"
    (import "wasi:cli/stdin@0.3.2" "read-via-stream" (func $read-stdin (param i32)))
    (import "wasi:cli/stdin@0.3.2" "[async-lower][stream-read-0]read-via-stream"
        (func $in-read (param i32 i32 i32) (result i32)))
    (import "wasi:cli/stdin@0.3.2" "[stream-drop-readable-0]read-via-stream" (func $in-drop (param i32)))
    (import "wasi:cli/stdin@0.3.2" "[async-lower][future-read-1]read-via-stream"
        (func $in-ended (param i32 i32) (result i32)))
    (import "wasi:cli/stdin@0.3.2" "[future-drop-readable-1]read-via-stream" (func $in-ended-drop (param i32)))"#;

/// Copies the standard input to the standard output; how many bytes.
const COPY: &str = r#"(func (export "run") (result i32) (local $answer i32) (local $count i32)
    (call $read-stdin (i32.const 0))
    (loop $more
        (local.set $answer (call $finish (i32.load (i32.const 0))
            (call $in-read (i32.load (i32.const 0)) (i32.const 1024) (i32.const 7))))
        (local.set $count (i32.add (local.get $count) (i32.shr_u (local.get $answer) (i32.const 4))))
        (call $print (i32.const 1024) (i32.shr_u (local.get $answer) (i32.const 4)))
        (br_if $more (i32.eqz (i32.and (local.get $answer) (i32.const 15)))))
    (call $in-drop (i32.load (i32.const 0)))
    (if (call $finish (i32.load (i32.const 4)) (call $in-ended (i32.load (i32.const 4)) (i32.const 8)))
        (then (unreachable)))
    (if (i32.load8_u (i32.const 8)) (then (unreachable)))
    (call $in-ended-drop (i32.load (i32.const 4)))
    (local.get $count))"#;

#[test]
fn input_is_copied_to_its_end() {
    let component = component(STDIN, COPY, "");
    for mode in MODES {
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let stdin = Stdin::Buffer(InputBuffer::new("one, two, three"));
        let ran = run_in(mode, &component, |builder| {
            builder.stdin(stdin).stdout(stdout)
        });
        assert_eq!(ran.unwrap(), 15, "{mode}");
        assert_eq!(output.contents(), b"one, two, three", "{mode}");
    }
}

#[test]
fn input_that_comes_late_is_waited_for() {
    let component = component(STDIN, COPY, "");
    for mode in MODES {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let writing = std::thread::spawn(move || {
            for _ in 0..3 {
                std::thread::sleep(Duration::from_millis(2));
                writer.write_all(b"late ").unwrap();
            }
        });
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let stdin = Stdin::File(File::from(std::os::fd::OwnedFd::from(reader)));
        let ran = run_in(mode, &component, |builder| {
            builder.stdin(stdin).stdout(stdout)
        });
        assert_eq!(ran.unwrap(), 15, "{mode}");
        assert_eq!(output.contents(), b"late late late ", "{mode}");
        writing.join().unwrap();
    }
}

#[test]
fn both_versions_write_to_one_output() {
    let imports = r#"
        (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $get-stdout (result i32)))
        (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush"
            (func $blocking-write-and-flush (param i32 i32 i32 i32)))"#;
    let items = r#"(func (export "run") (result i32) (local $stdout i32)
        (local.set $stdout (call $get-stdout))
        (call $print (i32.const 2048) (i32.const 2))
        (call $blocking-write-and-flush (local.get $stdout) (i32.const 2050) (i32.const 2) (i32.const 0))
        (call $print (i32.const 2052) (i32.const 2))
        (i32.load8_u (i32.const 0)))"#;
    let component = component(imports, items, "aabbcc");
    for mode in MODES {
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let ran = run_in(mode, &component, |builder| builder.stdout(stdout));
        assert_eq!(ran.unwrap(), 0, "{mode}");
        assert_eq!(output.contents(), b"aabbcc", "{mode}");
    }
}

#[test]
fn resources_of_one_version_are_none_of_the_other() {
    let imports = r#"
        (import "wasi:filesystem/preopens@0.2.12" "get-directories" (func $get-directories (param i32)))
        (import "wasi:filesystem/types@0.3.2" "[method]descriptor.get-flags" (func $get-flags (param i32 i32)))"#;
    let items = r#"(func (export "run") (result i32)
        (call $get-directories (i32.const 0))
        (call $get-flags (i32.load (i32.load (i32.const 0))) (i32.const 8))
        (unreachable))"#;
    let component = component(imports, items, "");
    let host = tempfile::tempdir().unwrap();
    for mode in MODES {
        let grant =
            |builder: WasiCtxBuilder| builder.preopen_dir(host.path(), "/", Access::ReadOnly);
        let stopped = run_in(mode, &component, grant).unwrap_err().to_string();
        assert!(stopped.contains("handle"), "{mode}: {stopped}");
    }
}

#[test]
fn ending_is_no_error_of_the_guest() {
    let imports =
        r#"(import "wasi:cli/exit@0.3.2" "exit-with-code" (func $exit-with-code (param i32)))"#;
    let items = r#"(func (export "run") (result i32)
        (call $print (i32.const 2048) (i32.const 3))
        (call $exit-with-code (i32.const 7)) (unreachable))"#;
    let component = component(imports, items, "bye");
    for mode in MODES {
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let ended = run_in(mode, &component, |builder| builder.stdout(stdout)).unwrap_err();
        assert!(
            matches!(&ended, Error::Trap(trap) if trap.exit_code() == Some(7)),
            "{mode}: {ended}"
        );
        assert_eq!(output.contents(), b"bye", "{mode}");
    }
}

/// Opens what a path names by the asynchronous lowering, with its parameters in memory, and reads it by a stream.
#[test]
fn a_file_is_opened_asynchronously_and_read() {
    let imports = r#"
        (import "wasi:filesystem/preopens@0.3.2" "get-directories" (func $get-directories (param i32)))
        (import "wasi:filesystem/types@0.3.2" "[async-lower][method]descriptor.open-at"
            (func $open-at (param i32 i32) (result i32)))
        (import "wasi:filesystem/types@0.3.2" "[method]descriptor.read-via-stream"
            (func $read-via-stream (param i32 i64 i32)))
        (import "wasi:filesystem/types@0.3.2" "[async-lower][stream-read-0][method]descriptor.read-via-stream"
            (func $file-read (param i32 i32 i32) (result i32)))"#;
    // self, path-flags, path, open-flags, descriptor-flags
    let items = r#"(func (export "run") (result i32) (local $answer i32)
        (call $get-directories (i32.const 0))
        (i32.store (i32.const 16) (i32.load (i32.load (i32.const 0))))
        (i32.store (i32.const 24) (i32.const 2048))
        (i32.store (i32.const 28) (i32.const 4))
        (i32.store8 (i32.const 33) (i32.const 1))
        (local.set $answer (call $open-at (i32.const 16) (i32.const 64)))
        (if (i32.ne (local.get $answer) (i32.const 2)) (then (unreachable)))
        (if (i32.load8_u (i32.const 64)) (then (return (i32.load8_u (i32.const 68)))))
        (call $read-via-stream (i32.load (i32.const 68)) (i64.const 2) (i32.const 96))
        (local.set $answer (call $finish (i32.load (i32.const 96))
            (call $file-read (i32.load (i32.const 96)) (i32.const 1024) (i32.const 100))))
        (call $print (i32.const 1024) (i32.shr_u (local.get $answer) (i32.const 4)))
        (i32.const 100))"#;
    let component = component(imports, items, "file");
    let host = tempfile::tempdir().unwrap();
    for mode in MODES {
        let output = OutputBuffer::new();
        let grant = |builder: WasiCtxBuilder| {
            let stdout = Stdout::Buffer(output.clone());
            let builder = builder.stdout(stdout);
            builder.preopen_dir(host.path(), "/", Access::ReadOnly)
        };
        let _ = std::fs::remove_file(host.path().join("file"));
        assert_eq!(
            run_in(mode, &component, grant).unwrap(),
            19,
            "no-entry: {mode}"
        );
        std::fs::write(host.path().join("file"), "a file").unwrap();
        assert_eq!(run_in(mode, &component, grant).unwrap(), 100, "{mode}");
        assert_eq!(output.contents(), b"file", "{mode}");
    }
}

/// Connects to the port that is its argument, sends `ping`, and prints what comes.
#[test]
fn a_connection_is_denied_or_made() {
    let imports = r#"
        (import "wasi:cli/environment@0.3.2" "get-arguments" (func $get-arguments (param i32)))
        (import "wasi:sockets/types@0.3.2" "[static]tcp-socket.create" (func $create (param i32 i32)))
        (import "wasi:sockets/types@0.3.2" "[async-lower][method]tcp-socket.connect"
            (func $connect (param i32 i32) (result i32)))
        (import "wasi:sockets/types@0.3.2" "[method]tcp-socket.send" (func $send (param i32 i32) (result i32)))
        (import "wasi:sockets/types@0.3.2" "[method]tcp-socket.receive" (func $receive (param i32 i32)))
        (import "wasi:sockets/types@0.3.2" "[async-lower][stream-read-0][method]tcp-socket.receive"
            (func $recv-read (param i32 i32 i32) (result i32)))"#;
    let items = r#"
        (func $port (result i32) (local $at i32) (local $end i32) (local $port i32)
            (call $get-arguments (i32.const 0))
            (local.set $at (i32.load (i32.load (i32.const 0))))
            (local.set $end (i32.add (local.get $at) (i32.load offset=4 (i32.load (i32.const 0)))))
            (loop $digits
                (local.set $port (i32.add (i32.mul (local.get $port) (i32.const 10))
                    (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $digits (i32.lt_u (local.get $at) (local.get $end))))
            (local.get $port))
        (func (export "run") (result i32) (local $socket i32) (local $answer i32) (local $ends i64) (local $end i32)
            (call $create (i32.const 0) (i32.const 32))
            (if (i32.load8_u (i32.const 32)) (then (return (i32.load8_u (i32.const 36)))))
            (local.set $socket (i32.load (i32.const 36)))
            (i32.store (i32.const 64) (local.get $socket))
            (i32.store16 (i32.const 72) (call $port))
            (i32.store (i32.const 74) (i32.const 0x0100007f))
            (local.set $answer (call $connect (i32.const 64) (i32.const 128)))
            (if (i32.ne (i32.and (local.get $answer) (i32.const 15)) (i32.const 2)) (then
                (local.set $end (i32.shr_u (local.get $answer) (i32.const 4)))
                (drop (call $finish (local.get $end) (i32.const -1)))
                (call $subtask-drop (local.get $end))))
            (if (i32.load8_u (i32.const 128)) (then (return (i32.load8_u (i32.const 132)))))
            (local.set $ends (call $out-new))
            (local.set $end (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
            (drop (call $send (local.get $socket) (i32.wrap_i64 (local.get $ends))))
            (call $write (local.get $end) (i32.const 2048) (i32.const 4))
            (call $out-drop (local.get $end))
            (call $receive (local.get $socket) (i32.const 160))
            (local.set $answer (call $finish (i32.load (i32.const 160))
                (call $recv-read (i32.load (i32.const 160)) (i32.const 1024) (i32.const 100))))
            (call $print (i32.const 1024) (i32.shr_u (local.get $answer) (i32.const 4)))
            (i32.const 100))"#;
    let component = component(imports, items, "ping");
    for mode in MODES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            stream.write_all(b"pong").unwrap();
            bytes
        });
        let port = peer.port().to_string();
        let elsewhere: Peers = "192.0.2.1:80".parse().unwrap();
        let grant = |builder: WasiCtxBuilder| builder.arg(&port).allow_connect(elsewhere);
        let denied = run_in(mode, &component, grant).unwrap();
        assert_eq!(denied, 0, "access-denied: {mode}");
        let output = OutputBuffer::new();
        let stdout = Stdout::Buffer(output.clone());
        let grant = |builder: WasiCtxBuilder| builder.arg(&port).stdout(stdout).allow_connect(peer);
        assert_eq!(run_in(mode, &component, grant).unwrap(), 100, "{mode}");
        assert_eq!(output.contents(), b"pong", "{mode}");
        assert_eq!(server.join().unwrap(), b"ping", "{mode}");
    }
}
