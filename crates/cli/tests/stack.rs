//! Programs that recurse, whatever stack the command itself is started with (`ulimit -s`).

use std::fs;
use std::process::{Command, Output};

/// Recurses as often as the argument says and gives back how deep that was, twenty-one times.
const PROGRAM: &str = r#"(module
  (func $f (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
    (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
  (func (export "deep") (param i32) (result i32) (local $i i32)
    (loop $again
      (drop (call $f (local.get 0)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))
    (call $f (local.get 0))))"#;

/// As `ulimit -s` takes them: KiB.
const STACKS: [&str; 6] = ["64", "200", "400", "512", "8192", "unlimited"];

const TIERS: [&str; 5] = ["interp", "jit", "osr", "auto", "random:1"];

fn run(stack: &str, tier: &str, depth: &str) -> Output {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::write(place.path().join("a.wat"), PROGRAM).expect("a file");
    let tier = format!("--tier={tier}");
    let words = ["run", &tier, "--invoke", "deep", "a.wat", depth];
    Command::new("sh")
        // The soft limit alone: the hard one may be lower than some of these.
        .args(["-c", r#"ulimit -S -s "$1"; shift; exec "$@""#, "sh", stack])
        .arg(env!("CARGO_BIN_EXE_tiered"))
        .args(words)
        .current_dir(place.path())
        .output()
        .expect("the command starts")
}

#[test]
fn depth_does_not_depend_on_the_stack_of_the_command() {
    for stack in STACKS {
        for tier in TIERS {
            let output = run(stack, tier, "200000");
            assert!(output.status.success(), "{stack}, {tier}: {output:?}");
            assert_eq!(output.stdout, b"200000\n", "{stack}, {tier}");
        }
    }
}

#[test]
fn endless_recursion_traps() {
    for stack in STACKS {
        for tier in TIERS {
            let output = run(stack, tier, "-1");
            assert_eq!(
                output.status.code(),
                Some(134),
                "{stack}, {tier}: {output:?}"
            );
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(text.contains("stack overflow"), "{stack}, {tier}: {text}");
        }
    }
}
