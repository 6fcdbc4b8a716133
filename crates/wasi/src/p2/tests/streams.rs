//! Streams: what permits and limits are, how they end, and moving bytes from one to another.

use std::fs::File;

use super::{Guest, RESULT, guest_with};
use crate::{InputBuffer, OutputBuffer, Stdin, Stdout};

const STREAMS: &str = "io/streams";

/// With `input` to read, and what is written in the end.
fn guest(input: &[u8]) -> (Guest, OutputBuffer) {
    let output = OutputBuffer::new();
    let stdout = Stdout::Buffer(output.clone());
    let stdin = Stdin::Buffer(InputBuffer::new(input));
    (
        guest_with(|builder| builder.stdin(stdin).stdout(stdout)),
        output,
    )
}

#[test]
fn reading_ends_with_closed() {
    let (mut guest, _) = guest(b"hello");
    let stdin = guest.ok("cli/stdin", "get-stdin", &[]);
    let read = "[method]input-stream.read";
    guest.ok(STREAMS, read, &[stdin, 0]);
    assert_eq!(guest.outcome(4).map(|at| guest.list_at(at)), Ok(vec![]));
    guest.ok(STREAMS, read, &[stdin, 3]);
    assert_eq!(
        guest.outcome(4).map(|at| guest.list_at(at)),
        Ok(b"hel".into())
    );
    guest.ok(STREAMS, "[method]input-stream.skip", &[stdin, 1]);
    assert_eq!(guest.outcome(8).map(|at| guest.u64_at(at)), Ok(1));
    guest.ok(
        STREAMS,
        "[method]input-stream.blocking-read",
        &[stdin, u64::MAX],
    );
    assert_eq!(
        guest.outcome(4).map(|at| guest.list_at(at)),
        Ok(b"o".into())
    );
    for name in [read, "[method]input-stream.blocking-read"] {
        guest.ok(STREAMS, name, &[stdin, 1]);
        assert_eq!(guest.outcome(4), Err(1), "closed");
    }
    guest.ok(STREAMS, "[method]input-stream.blocking-skip", &[stdin, 1]);
    assert_eq!(guest.outcome(8), Err(1));
}

#[test]
fn one_call_reads_up_to_64_kib() {
    let (mut guest, _) = guest(&vec![7; 100_000]);
    let stdin = guest.ok("cli/stdin", "get-stdin", &[]);
    guest.ok(STREAMS, "[method]input-stream.read", &[stdin, u64::MAX]);
    assert_eq!(
        guest.outcome(4).map(|at| guest.list_at(at).len()),
        Ok(65_536)
    );
}

#[test]
fn what_is_written_needs_a_permit() {
    let (mut guest, output) = guest(b"");
    let stdout = guest.ok("cli/stdout", "get-stdout", &[]);
    let write = "[method]output-stream.write";
    let [at, len] = guest.put(b"hello");
    let trap = guest.trap(STREAMS, write, &[stdout, at, len]);
    assert!(trap.contains("permits 0"), "{trap}");
    guest.ok(STREAMS, "[method]output-stream.check-write", &[stdout]);
    assert_eq!(guest.outcome(8).map(|at| guest.u64_at(at)), Ok(65_536));
    guest.ok(STREAMS, write, &[stdout, at, len]);
    assert_eq!(guest.outcome(4), Ok(RESULT + 4));
    guest.ok(STREAMS, "[method]output-stream.flush", &[stdout]);
    assert_eq!(output.contents(), b"hello");
    let trap = guest.trap(STREAMS, write, &[stdout, 0, 65_532]);
    assert!(trap.contains("permits 65531"), "{trap}");
    guest.ok(STREAMS, "[method]output-stream.write-zeroes", &[stdout, 3]);
    guest.ok(
        STREAMS,
        "[method]output-stream.blocking-write-zeroes-and-flush",
        &[stdout, 2],
    );
    assert_eq!(output.contents(), b"hello\0\0\0\0\0");
    let name = "[method]output-stream.write-zeroes";
    guest.trap(STREAMS, name, &[stdout, u64::MAX]);
}

#[test]
fn a_blocking_write_is_short() {
    let (mut guest, output) = guest(b"");
    let stdout = guest.ok("cli/stdout", "get-stdout", &[]);
    for name in [
        "[method]output-stream.blocking-write-and-flush",
        "[method]output-stream.blocking-write-zeroes-and-flush",
    ] {
        let args: &[u64] = match name.contains("zeroes") {
            true => &[stdout, 4097],
            false => &[stdout, 0, 4097],
        };
        let trap = guest.trap(STREAMS, name, args);
        assert!(trap.contains("there may be 4096"), "{trap}");
    }
    let name = "[method]output-stream.blocking-write-and-flush";
    guest.ok(STREAMS, name, &[stdout, 0, 4096]);
    guest.ok(STREAMS, "[method]output-stream.blocking-flush", &[stdout]);
    assert_eq!(output.contents(), [0; 4096]);
}

#[test]
fn bytes_out_of_bounds_stop_the_guest_before_anything_is_written() {
    let (mut guest, output) = guest(b"");
    let stdout = guest.ok("cli/stdout", "get-stdout", &[]);
    let name = "[method]output-stream.blocking-write-and-flush";
    for (at, len) in [(super::MEMORY as u64 - 1, 2), (u32::MAX.into(), 4096)] {
        let trap = guest.trap(STREAMS, name, &[stdout, at, len]);
        assert!(trap.contains("out of bounds"), "{trap}");
    }
    assert_eq!(output.contents(), b"");
}

#[test]
fn splicing_moves_what_both_sides_allow() {
    let (mut guest, output) = guest(b"hello world");
    let stdin = guest.ok("cli/stdin", "get-stdin", &[]);
    let stdout = guest.ok("cli/stdout", "get-stdout", &[]);
    guest.ok(STREAMS, "[method]output-stream.splice", &[stdout, stdin, 5]);
    assert_eq!(guest.outcome(8).map(|at| guest.u64_at(at)), Ok(5));
    let blocking = "[method]output-stream.blocking-splice";
    guest.ok(STREAMS, blocking, &[stdout, stdin, u64::MAX]);
    assert_eq!(guest.outcome(8).map(|at| guest.u64_at(at)), Ok(6));
    guest.ok(STREAMS, blocking, &[stdout, stdin, 1]);
    assert_eq!(guest.outcome(8), Err(1), "the source has ended");
    assert_eq!(output.contents(), b"hello world");
}

#[test]
fn a_pipe_is_read_as_far_as_it_goes() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let mut guest = guest_with(|builder| builder.stdin(Stdin::File(File::from(reader))));
    let stdin = guest.ok("cli/stdin", "get-stdin", &[]);
    let read = "[method]input-stream.read";
    guest.ok(STREAMS, read, &[stdin, 10]);
    assert_eq!(
        guest.outcome(4).map(|at| guest.list_at(at)),
        Ok(vec![]),
        "not yet"
    );
    rustix::io::write(&writer, b"abc").unwrap();
    guest.ok(STREAMS, "[method]input-stream.blocking-read", &[stdin, 2]);
    assert_eq!(
        guest.outcome(4).map(|at| guest.list_at(at)),
        Ok(b"ab".into())
    );
    drop(writer);
    guest.ok(STREAMS, read, &[stdin, 10]);
    assert_eq!(
        guest.outcome(4).map(|at| guest.list_at(at)),
        Ok(b"c".into())
    );
    guest.ok(STREAMS, read, &[stdin, 10]);
    assert_eq!(guest.outcome(4), Err(1));
}

#[test]
fn a_full_pipe_permits_nothing() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let stdout = Stdout::File(File::from(writer.try_clone().unwrap()));
    let mut guest = guest_with(|builder| builder.stdout(stdout));
    let stdout = guest.ok("cli/stdout", "get-stdout", &[]);
    let size = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    rustix::io::write(&writer, &vec![0; size]).unwrap();
    guest.ok(STREAMS, "[method]output-stream.check-write", &[stdout]);
    assert_eq!(guest.outcome(8).map(|at| guest.u64_at(at)), Ok(0));
    rustix::io::read(&reader, &mut vec![0; size][..]).unwrap();
    guest.ok(STREAMS, "[method]output-stream.check-write", &[stdout]);
    assert_eq!(guest.outcome(8).map(|at| guest.u64_at(at)), Ok(65_536));
    drop(reader);
    let [at, len] = guest.put(b"x");
    guest.ok(STREAMS, "[method]output-stream.write", &[stdout, at, len]);
    assert_eq!(guest.outcome(4), Err(1), "nobody reads any more: closed");
}
