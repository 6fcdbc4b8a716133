//! Arguments, environment, ending, terminals, clocks and random bytes.

use super::{RESULT, guest, guest_with};
use crate::{OutputBuffer, Stdout};

#[test]
fn arguments_and_environment_are_the_context_s() {
    let mut guest = guest_with(|builder| {
        builder
            .args(["demo", "", "ä"])
            .env("A", "1=2")
            .env("EMPTY", "")
    });
    guest.ok("cli/environment", "get-arguments", &[]);
    let first = guest.u32_at(RESULT);
    let args = [0, 8, 16].map(|at| guest.text_at(first + at));
    assert_eq!(guest.u32_at(RESULT + 4), 3);
    assert_eq!(args, ["demo", "", "ä"]);
    guest.ok("cli/environment", "get-environment", &[]);
    assert_eq!(guest.u32_at(RESULT + 4), 2);
    let first = guest.u32_at(RESULT);
    let texts = [0, 8, 16, 24].map(|at| guest.text_at(first + at));
    assert_eq!(texts, ["A", "1=2", "EMPTY", ""]);
    guest.ok("cli/environment", "initial-cwd", &[]);
    assert_eq!(guest.u8_at(RESULT), 0);
}

#[test]
fn nothing_is_there_unless_it_was_given() {
    let mut guest = guest();
    for name in ["get-arguments", "get-environment"] {
        guest.ok("cli/environment", name, &[]);
        assert_eq!(guest.u32_at(RESULT + 4), 0);
    }
    for name in ["stdin", "stdout", "stderr"] {
        let interface = format!("cli/terminal-{name}");
        guest.ok(&interface, &format!("get-terminal-{name}"), &[]);
        assert_eq!(guest.u8_at(RESULT), 0, "{name} is no terminal");
    }
}

#[test]
fn ending_is_no_trap_of_the_guest() {
    let mut guest = guest();
    for (name, arg, code) in [
        ("exit", 0, 0),
        ("exit", 1, 1),
        ("exit-with-code", 7, 7),
        ("exit-with-code", 255, 255),
    ] {
        let ended = guest.call("cli/exit", name, &[arg]).unwrap_err();
        assert_eq!(ended.exit_code(), Some(code), "{name} {arg}");
    }
    let bad = guest.call("cli/exit", "exit", &[2]).unwrap_err();
    assert_eq!(bad.exit_code(), None, "a result has two cases");
}

#[test]
fn clocks_go_on() {
    let mut guest = guest();
    let first = guest.ok("clocks/monotonic-clock", "now", &[]);
    let second = guest.ok("clocks/monotonic-clock", "now", &[]);
    assert!(first > 0 && second >= first);
    assert!(guest.ok("clocks/monotonic-clock", "resolution", &[]) > 0);
    guest.ok("clocks/wall-clock", "now", &[]);
    assert!(guest.u64_at(RESULT) > 1_700_000_000);
    assert!(guest.u32_at(RESULT + 8) < 1_000_000_000);
    guest.ok("clocks/wall-clock", "resolution", &[]);
    assert_eq!(guest.u64_at(RESULT), 0);
}

#[test]
fn random_bytes_are_as_many_as_asked_for_up_to_the_limit() {
    let mut guest = guest_with(|builder| builder.max_random_bytes(1000));
    for (interface, name) in [
        ("random/random", "get-random-bytes"),
        ("random/insecure", "get-insecure-random-bytes"),
    ] {
        guest.ok(interface, name, &[1000]);
        let bytes = guest.list_at(RESULT);
        assert_eq!(bytes.len(), 1000);
        assert!(bytes.iter().any(|&byte| byte != bytes[0]));
        guest.ok(interface, name, &[0]);
        assert_eq!(guest.list_at(RESULT), b"");
        let trap = guest.trap(interface, name, &[1001]);
        assert!(trap.contains("there may be 1000"), "{trap}");
        guest.trap(interface, name, &[u64::MAX]);
    }
    let numbers = [(); 2].map(|()| guest.ok("random/random", "get-random-u64", &[]));
    assert_ne!(numbers[0], numbers[1]);
    guest.ok("random/insecure", "get-insecure-random-u64", &[]);
    guest.ok("random/insecure-seed", "insecure-seed", &[]);
    assert_ne!(guest.u64_at(RESULT), guest.u64_at(RESULT + 8));
}

#[test]
fn an_error_says_what_it_is() {
    let output = OutputBuffer::with_limit(1);
    let mut guest = guest_with(|builder| builder.stdout(Stdout::Buffer(output)));
    let stdout = guest.ok("cli/stdout", "get-stdout", &[]);
    let [at, len] = guest.put(b"ab");
    let name = "[method]output-stream.blocking-write-and-flush";
    guest.ok("io/streams", name, &[stdout, at, len]);
    assert_eq!(guest.outcome(4), Err(0), "the last operation failed");
    let error = guest.u32_at(RESULT + 8).into();
    guest.ok("io/error", "[method]error.to-debug-string", &[error]);
    assert_eq!(guest.text_at(RESULT), "no space left on device");
    guest.ok("filesystem/types", "filesystem-error-code", &[error]);
    assert_eq!(guest.u8_at(RESULT), 0, "no file system's");
    guest.ok("io/streams", name, &[stdout, at, len]);
    assert_eq!(guest.outcome(4), Err(1), "closed since");
}
