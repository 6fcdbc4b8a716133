//! Standard streams, arguments and environment, ending, clocks and random bytes.

use std::fs::File;
use std::time::Instant;

use tiered_component::concurrent::Transfer;
use tiered_runtime::TrapCode;

use super::{RESULT, guest, guest_with, stream_and_ending};
use crate::{InputBuffer, OutputBuffer, Stdin, Stdout};

const HOUR: u64 = 3_600_000_000_000;

#[test]
fn arguments_and_environment_are_the_context_s() {
    let mut guest = guest_with(|builder| builder.args(["demo", "ä"]).env("A", "1=2"));
    guest.ok("cli/environment", "get-arguments", &[]);
    let first = guest.u32_at(RESULT);
    assert_eq!([0, 8].map(|at| guest.text_at(first + at)), ["demo", "ä"]);
    guest.ok("cli/environment", "get-environment", &[]);
    let first = guest.u32_at(RESULT);
    assert_eq!([0, 8].map(|at| guest.text_at(first + at)), ["A", "1=2"]);
    guest.ok("cli/environment", "get-initial-cwd", &[]);
    assert_eq!(guest.u8_at(RESULT), 0);
    for name in ["stdin", "stdout", "stderr"] {
        let interface = format!("cli/terminal-{name}");
        guest.ok(&interface, &format!("get-terminal-{name}"), &[]);
        assert_eq!(guest.u8_at(RESULT), 0, "{name} is no terminal");
    }
}

#[test]
fn ending_is_no_trap_of_the_guest() {
    let mut guest = guest();
    for (name, arg, code) in [("exit", 0, 0), ("exit", 1, 1), ("exit-with-code", 7, 7)] {
        let ended = guest.call("cli/exit", name, &[arg]).unwrap_err();
        assert_eq!(ended.exit_code(), Some(code), "{name} {arg}");
    }
}

#[test]
fn input_is_read_to_its_end() {
    let input = Stdin::Buffer(InputBuffer::new("hello, streams"));
    let mut guest = guest_with(|builder| builder.stdin(input));
    guest.ok("cli/stdin", "read-via-stream", &[]);
    let (stream, ending) = stream_and_ending(&guest);
    assert_eq!(guest.ending(ending, 1), None, "it has not ended");
    assert_eq!(guest.read_some(stream, 0).unwrap().0, Transfer::Items(0));
    assert_eq!(guest.read_all(stream), b"hello, streams");
    assert_eq!(guest.ending(ending, 1), Some(Ok(())));
}

#[test]
fn who_does_not_want_the_rest_is_told_that_all_is_well() {
    let input = Stdin::Buffer(InputBuffer::new("hello"));
    let mut guest = guest_with(|builder| builder.stdin(input));
    guest.ok("cli/stdin", "read-via-stream", &[]);
    let (stream, ending) = stream_and_ending(&guest);
    assert_eq!(guest.read_some(stream, 2).unwrap().1, b"he");
    guest.drop_readable_end(stream);
    assert_eq!(guest.ending(ending, 1), Some(Ok(())));
    // What is left is there for the next stream: nothing was read ahead.
    guest.ok("cli/stdin", "read-via-stream", &[]);
    let (stream, _) = stream_and_ending(&guest);
    assert_eq!(guest.read_all(stream), b"llo");
}

#[test]
fn a_pipe_is_waited_for() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let mut guest = guest_with(|builder| builder.stdin(Stdin::File(File::from(reader))));
    guest.ok("cli/stdin", "read-via-stream", &[]);
    let (stream, ending) = stream_and_ending(&guest);
    for most in [0, 10] {
        let (transfer, _) = guest.read_some(stream, most).unwrap();
        assert_eq!(transfer, Transfer::Pending, "{most}");
    }
    rustix::io::write(&writer, b"x").unwrap();
    guest.wait_for_source(stream);
    assert_eq!(guest.read_some(stream, 0).unwrap().0, Transfer::Items(0));
    assert_eq!(guest.read_some(stream, 10).unwrap().1, b"x");
    drop(writer);
    assert_eq!(guest.read_all(stream), b"");
    assert_eq!(guest.ending(ending, 1), Some(Ok(())));
}

#[test]
fn an_interrupt_ends_the_waiting_and_the_guest() {
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let mut guest = guest_with(|builder| builder.stdin(Stdin::File(File::from(reader))));
    let handle = guest.ctx.interrupt_handle();
    handle.interrupt();
    let stopped = guest.call("clocks/monotonic-clock", "wait-for", &[HOUR]);
    assert_eq!(stopped.unwrap_err().code(), Some(TrapCode::Interrupted));
    handle.clear();
    guest.ok("cli/stdin", "read-via-stream", &[]);
    let (stream, _) = stream_and_ending(&guest);
    handle.interrupt();
    let stopped = guest.read_some(stream, 1).unwrap_err();
    assert_eq!(stopped.code(), Some(TrapCode::Interrupted));
}

#[test]
fn output_is_written() {
    let (output, errors) = (OutputBuffer::new(), OutputBuffer::new());
    let (stdout, stderr) = (
        Stdout::Buffer(output.clone()),
        Stdout::Buffer(errors.clone()),
    );
    let mut guest = guest_with(|builder| builder.stdout(stdout).stderr(stderr));
    let ending = guest.ok("cli/stdout", "write-via-stream", &[70]) as u32;
    guest.ok("cli/stderr", "write-via-stream", &[71]);
    assert!(guest.write_all(70, b"hello"));
    assert!(guest.write_all(71, b"oh"));
    assert_eq!(output.contents(), b"hello");
    assert_eq!(errors.contents(), b"oh");
    assert_eq!(guest.ending(ending, 1), None);
    guest.drop_writable_end(70);
    assert_eq!(guest.ending(ending, 1), Some(Ok(())));
}

#[test]
fn output_that_fails_says_why() {
    let output = Stdout::Buffer(OutputBuffer::with_limit(3));
    let mut guest = guest_with(|builder| builder.stdout(output));
    let ending = guest.ok("cli/stdout", "write-via-stream", &[70]) as u32;
    assert!(!guest.write_all(70, b"hello"), "there is no room for that");
    assert_eq!(guest.ending(ending, 1), Some(Err(0)), "io");
    guest.drop_writable_end(70);
    assert_eq!(guest.ending(ending, 1), Some(Err(0)), "the first counts");
}

#[test]
fn a_pipe_that_nobody_reads_is_broken() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    let mut guest = guest_with(|builder| builder.stdout(Stdout::File(File::from(writer))));
    let ending = guest.ok("cli/stdout", "write-via-stream", &[70]) as u32;
    assert!(!guest.write_all(70, b"hello"));
    assert_eq!(guest.ending(ending, 1), Some(Err(2)), "pipe");
}

#[test]
fn a_full_pipe_is_waited_for() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let mut guest = guest_with(|builder| builder.stdout(Stdout::File(File::from(writer))));
    guest.ok("cli/stdout", "write-via-stream", &[70]);
    let bytes = vec![7; 1 << 20];
    while guest.write_some(70, &bytes).unwrap() != Transfer::Pending {}
    assert_eq!(guest.write_some(70, b"").unwrap(), Transfer::Pending);
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut File::from(reader), &mut all).unwrap();
        all.len()
    });
    assert!(guest.write_all(70, b"the end"));
    drop(guest);
    assert!(reading.join().unwrap() > 7);
}

#[test]
fn clocks_go_on_and_are_waited_for() {
    let mut guest = guest();
    let clock = "clocks/monotonic-clock";
    let first = guest.ok(clock, "now", &[]);
    assert!(guest.ok(clock, "get-resolution", &[]) > 0);
    let before = Instant::now();
    guest.ok(clock, "wait-for", &[2_000_000]);
    assert!(before.elapsed().as_nanos() >= 2_000_000);
    let second = guest.ok(clock, "now", &[]);
    assert!(second >= first + 2_000_000);
    guest.ok(clock, "wait-until", &[second + 1_000_000]);
    assert!(guest.ok(clock, "now", &[]) > second + 1_000_000);
    guest.ok(clock, "wait-until", &[1]);
    guest.ok(clock, "wait-for", &[0]);
    guest.ok("clocks/system-clock", "now", &[]);
    assert!(guest.u64_at(RESULT) > 1_700_000_000);
    assert!(guest.u32_at(RESULT + 8) < 1_000_000_000);
    assert!(guest.ok("clocks/system-clock", "get-resolution", &[]) > 0);
}

#[test]
fn random_bytes_are_no_more_than_the_limit() {
    let mut guest = guest_with(|builder| builder.max_random_bytes(1000));
    for (interface, name) in [
        ("random/random", "get-random-bytes"),
        ("random/insecure", "get-insecure-random-bytes"),
    ] {
        for (asked, got) in [(0, 0), (1, 1), (1000, 1000), (1001, 1000), (u64::MAX, 1000)] {
            guest.ok(interface, name, &[asked]);
            assert_eq!(guest.list_at(RESULT).len(), got, "{name} {asked}");
        }
    }
    let numbers = [(); 2].map(|()| guest.ok("random/random", "get-random-u64", &[]));
    assert_ne!(numbers[0], numbers[1]);
    guest.ok("random/insecure", "get-insecure-random-u64", &[]);
    guest.ok("random/insecure-seed", "get-insecure-seed", &[]);
    assert_ne!(guest.u64_at(RESULT), guest.u64_at(RESULT + 8));
}
