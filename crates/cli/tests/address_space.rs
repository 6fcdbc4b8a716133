//! Programs where the process may have little address space (`ulimit -v`): they run with what there is, or the reason is said.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Programs that want memories, a heap, threads; `run` returns what is beside them.
const PROGRAMS: [(&str, &str, &str); 5] = [
    (
        "heap",
        "100000\n",
        r#"(module
        (type $list (struct (field (ref null $list)) (field i64)))
        (func (export "run") (result i32) (local $list (ref null $list)) (local $n i32) (local $count i32)
            (local.set $n (i32.const 100000))
            (loop $next
                (local.set $list (struct.new $list (local.get $list) (i64.const 1)))
                (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (loop $next
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (br_if $next (i32.eqz (ref.is_null (local.tee $list (struct.get $list 0 (local.get $list)))))))
            (local.get $count)))"#,
    ),
    (
        "memory",
        "101\n",
        r#"(module (memory 1)
        (func (export "run") (result i32)
            (drop (memory.grow (i32.const 99)))
            (i32.store (i32.const 6553596) (i32.const 1))
            (i32.add (memory.size) (i32.load (i32.const 6553596)))))"#,
    ),
    (
        "memory64",
        "101\n",
        r#"(module (memory i64 1)
        (func (export "run") (result i64)
            ;; It grows as far as there is room.
            (if (i64.eq (memory.grow (i64.const 99)) (i64.const -1)) (then (return (i64.const 101))))
            (i64.store (i64.const 6553592) (i64.const 1))
            (i64.add (memory.size) (i64.load (i64.const 6553592)))))"#,
    ),
    (
        "threads",
        "4\n",
        r#"(module
        (import "env" "memory" (memory 1 1 shared))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (func (export "wasi_thread_start") (param i32 i32)
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (func (export "run") (result i32) (local $n i32) (local $now i32)
            (loop $next
                ;; A thread that there is no room for is none to wait for.
                (if (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0))
                    (then (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))
                (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 4))))
            (loop $next
                (local.set $now (i32.atomic.load (i32.const 0)))
                (if (i32.lt_u (local.get $now) (i32.const 4))
                    (then
                        (drop (memory.atomic.wait32 (i32.const 0) (local.get $now) (i64.const -1)))
                        (br $next))))
            (local.get $now)))"#,
    ),
    (
        "all",
        "1\n",
        r#"(module (memory 1) (memory i64 1) (table 100 externref)
        (type $bytes (array (mut i8)))
        (tag $t)
        (func (export "run") (result i32)
            (block $h (try_table (catch $t $h) (throw $t)))
            (array.get_u $bytes (array.new $bytes (i32.const 1) (i32.const 1000000)) (i32.const 999999))))"#,
    ),
];

const TIERS: [&str; 4] = ["interp", "jit", "osr", "auto"];

/// As `ulimit -v` takes them: KiB. The process itself takes some of it.
const LIMITS: [&str; 9] = [
    "250000", "500000", "1000000", "2000000", "4000000", "5000000", "5200000", "8000000", PLENTY,
];

/// All programs have what they want.
const PLENTY: &str = "24000000";

fn run(place: &Path, limit: &str, tier: &str, program: &str) -> Output {
    let tier = format!("--tier={tier}");
    let program = format!("{program}.wat");
    Command::new("sh")
        .args(["-c", r#"ulimit -v "$1"; shift; exec "$@""#, "sh", limit])
        .arg(env!("CARGO_BIN_EXE_tiered"))
        .args(["run", &tier, "--invoke", "run", &program])
        .current_dir(place)
        .output()
        .expect("there is a shell")
}

#[test]
fn programs_run_with_what_there_is_or_say_what_there_is_not() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for (name, _, text) in PROGRAMS {
        fs::write(place.path().join(format!("{name}.wat")), text).expect("a file");
    }
    for limit in LIMITS {
        for tier in TIERS {
            for (name, expected, _) in PROGRAMS {
                let output = run(place.path(), limit, tier, name);
                let (text, note) = (
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr),
                );
                match output.status.code() {
                    Some(0) => assert_eq!(text, expected, "{limit}, {tier}, {name}: {note}"),
                    Some(1) => assert!(
                        note.contains("ulimit -v"),
                        "{limit}, {tier}, {name}: {note}"
                    ),
                    // No panic, and no signal.
                    _ => panic!("{limit}, {tier}, {name}: {output:?}"),
                }
                // Objects do with less; memories do not, for compiled code looks at no bounds below 4 GiB.
                if limit == PLENTY || name == "heap" {
                    assert!(output.status.success(), "{limit}, {tier}, {name}: {note}");
                }
            }
        }
    }
}
