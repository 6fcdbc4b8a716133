//! Arguments, environment, clocks, random bytes, scheduling, ending, builder errors, tracing, the table of calls.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

use super::*;
use crate::ctx::BuildError;
use crate::functions::FUNCTIONS;
use crate::stdio::{InputBuffer, OutputBuffer, Stdin, Stdout};

#[test]
fn the_table_has_all_calls() {
    assert_eq!(FUNCTIONS.len(), 46);
    assert_eq!(
        FUNCTIONS
            .iter()
            .filter(|function| function.in_unstable)
            .count(),
        45
    );
    let no_result: Vec<_> = FUNCTIONS
        .iter()
        .filter(|f| !f.returns)
        .map(|f| f.name)
        .collect();
    assert_eq!(no_result, ["proc_exit"]);
    let open = Function::named("path_open").unwrap();
    let shape: String = open
        .params
        .iter()
        .map(|param| if param.wide { 'I' } else { 'i' })
        .collect();
    assert_eq!(shape, "iiiiiIIii");
}

#[test]
fn a_context_can_be_shared_with_other_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&WasiCtx::builder().build().unwrap());
    shared(&WasiCtx::builder());
}

#[test]
fn args_are_laid_out_exactly() {
    let mut guest = Guest::with(|builder, _| builder.args(["prog", "", "ä"]));
    guest.ok("args_sizes_get", &[RESULT.into(), (RESULT + 4).into()]);
    assert_eq!((guest.u32_at(RESULT), guest.u32_at(RESULT + 4)), (3, 9));
    guest.ok("args_get", &[RESULT.into(), 0x100]);
    assert_eq!(&guest.memory[0x100..0x109], b"prog\0\0\xc3\xa4\0");
    let pointers = [0, 4, 8].map(|at| guest.u32_at(RESULT + at));
    assert_eq!(pointers, [0x100, 0x105, 0x106]);
}

#[test]
fn environment_keeps_its_order() {
    let mut guest =
        Guest::with(|builder, _| builder.env("B", "1").envs([("A", "x=y"), ("B", "2")]));
    guest.ok("environ_sizes_get", &[RESULT.into(), (RESULT + 4).into()]);
    assert_eq!((guest.u32_at(RESULT), guest.u32_at(RESULT + 4)), (2, 10));
    guest.ok("environ_get", &[RESULT.into(), 0x100]);
    assert_eq!(&guest.memory[0x100..0x10a], b"B=2\0A=x=y\0");
}

#[test]
fn nothing_is_inherited() {
    let mut guest = Guest::new();
    guest.ok("environ_sizes_get", &[RESULT.into(), (RESULT + 4).into()]);
    assert_eq!((guest.u32_at(RESULT), guest.u32_at(RESULT + 4)), (0, 0));
    assert_eq!(guest.read(0, 10), Ok(vec![]));
    assert_eq!(guest.write(1, b"gone"), Ok(4));
}

#[test]
fn bad_strings_are_builder_errors() {
    let bad = OsStr::from_bytes(b"\xff");
    let built = |builder: WasiCtxBuilder| builder.build().unwrap_err();
    assert!(matches!(
        built(WasiCtx::builder().arg("a").arg(bad)),
        BuildError::ArgNotUtf8 { index: 1, .. }
    ));
    assert!(matches!(
        built(WasiCtx::builder().arg("a\0")),
        BuildError::ArgHasNul { index: 0, .. }
    ));
    assert!(matches!(
        built(WasiCtx::builder().env("a", bad)),
        BuildError::EnvNotUtf8 { .. }
    ));
    assert!(matches!(
        built(WasiCtx::builder().env("a=b", "")),
        BuildError::EnvInvalid { .. }
    ));
    assert!(matches!(
        built(WasiCtx::builder().env("", "")),
        BuildError::EnvInvalid { .. }
    ));
    assert!(matches!(
        built(WasiCtx::builder().env("a", "\0")),
        BuildError::EnvInvalid { .. }
    ));
    assert!(matches!(
        built(WasiCtx::builder().preopen_dir(".", "", Access::ReadWrite)),
        BuildError::GuestPath { .. }
    ));
    let missing = built(WasiCtx::builder().preopen_dir("/no/such/dir", "/", Access::ReadOnly));
    assert!(
        missing
            .to_string()
            .starts_with("cannot open directory /no/such/dir: No such file")
    );
    assert!(matches!(
        built(WasiCtx::builder().max_open_fds(2)),
        BuildError::TooManyFds { limit: 2 }
    ));
}

#[test]
fn clocks_tick() {
    let mut guest = Guest::new();
    for id in 0..4 {
        guest.ok("clock_res_get", &[id, RESULT.into()]);
        assert!((1..1_000_000_000).contains(&guest.u64_at(RESULT)));
        guest.ok("clock_time_get", &[id, 0, RESULT.into()]);
    }
    let mut previous = 0;
    for _ in 0..1000 {
        guest.ok("clock_time_get", &[1, 1, RESULT.into()]);
        let now = guest.u64_at(RESULT);
        assert!(now > 0 && now >= previous);
        previous = now;
    }
    assert!(
        previous < 3_600_000_000_000,
        "counts from the making of the context"
    );
    guest.ok("clock_time_get", &[0, 0, RESULT.into()]);
    assert!(guest.u64_at(RESULT) > 1_700_000_000_000_000_000);
    assert_eq!(
        guest.errno("clock_time_get", &[4, 0, RESULT.into()]),
        Errno::INVAL
    );
    assert_eq!(
        guest.errno("clock_res_get", &[u32::MAX.into(), RESULT.into()]),
        Errno::INVAL
    );
}

#[test]
fn random_fills_exactly_what_was_asked() {
    let mut guest = Guest::new();
    guest.ok("random_get", &[0, 0]);
    guest.ok("random_get", &[MEMORY as u64, 0]);
    assert!(guest.memory.iter().all(|&byte| byte == 0));
    guest.ok("random_get", &[100, 1024]);
    assert!(guest.memory[100..1124].iter().any(|&byte| byte != 0));
    assert!(
        guest.memory[..100]
            .iter()
            .chain(&guest.memory[1124..])
            .all(|&byte| byte == 0)
    );
    guest.ok("random_get", &[0, MEMORY as u64]);
}

#[test]
fn ending_and_yielding() {
    let mut guest = Guest::new();
    for code in [0, 33, 126, 256, u32::MAX] {
        assert_eq!(
            guest.call("proc_exit", &[code.into()]),
            Err(Stop::Exit(code))
        );
    }
    assert_eq!(guest.errno("proc_raise", &[9]), Errno::NOTSUP);
    guest.ok("sched_yield", &[]);
}

#[test]
fn calls_without_memory() {
    let guest = Guest::new();
    let mut memory = GuestMemory::missing();
    let function = |name| Function::named(name).unwrap();
    let errno = function("sched_yield").call(&guest.ctx, &mut memory, Abi::Preview1, &[]);
    assert_eq!(errno, Ok(Errno::SUCCESS));
    let stop = function("random_get")
        .call(&guest.ctx, &mut memory, Abi::Preview1, &[0, 0])
        .unwrap_err();
    assert_eq!(
        stop.to_string(),
        "random_get: missing required memory export \"memory\""
    );
}

#[test]
fn buffers_as_stdio() {
    let output = OutputBuffer::new();
    let mut guest = Guest::with(|builder, _| {
        builder
            .stdin(Stdin::Buffer(InputBuffer::new("hello")))
            .stdout(Stdout::Buffer(output.clone()))
            .stderr(Stdout::Buffer(output.clone()))
    });
    assert_eq!(guest.read(0, 3), Ok(b"hel".to_vec()));
    assert_eq!(guest.read(0, 30), Ok(b"lo".to_vec()));
    assert_eq!(guest.read(0, 30), Ok(vec![]));
    assert_eq!(guest.write(1, b"out "), Ok(4));
    assert_eq!(guest.write(2, b"err"), Ok(3));
    assert_eq!(output.take(), b"out err");
    assert_eq!(output.contents(), b"");
    assert_eq!(guest.write(0, b"x"), Err(Errno::BADF));
    assert_eq!(guest.read(1, 1), Err(Errno::BADF));
}

#[test]
fn a_trace_shows_paths_and_outcomes() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let mut guest = Guest::with(|builder, _| {
        builder.trace(move |call| sink.lock().unwrap().push(call.to_string()))
    });
    assert_eq!(guest.on_path("path_create_directory", "a"), Errno::SUCCESS);
    assert_eq!(
        guest.on_path("path_unlink_file", "../etc"),
        Errno::NOTCAPABLE
    );
    guest.call("proc_exit", &[3]).unwrap_err();
    guest.call("fd_tell", &[3, 1]).unwrap_err();
    let lines = lines.lock().unwrap();
    assert_eq!(
        lines[0],
        "path_create_directory(fd=3, path=\"a\") = SUCCESS"
    );
    assert_eq!(
        lines[1],
        "path_unlink_file(fd=3, path=\"../etc\") = NOTCAPABLE"
    );
    assert_eq!(lines[2], "proc_exit(code=3) stopped: exit with code 3");
    assert!(
        lines[3].starts_with(
            "fd_tell(fd=3, offset=1) stopped: fd_tell: argument `offset` is misaligned"
        )
    );
}
