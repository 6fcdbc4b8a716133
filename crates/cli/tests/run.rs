//! Runs the programs of `tests/run`, each with the command lines in its comments.
//!
//! A `.wat` file says in `;; NAME: value` lines what to run and what comes out. `RUN` starts a case; the lines after it
//! belong to it:
//!
//! | line | means |
//! |---|---|
//! | `RUN` | the words after `tiered`; `%m` is the module's path, `%d` that of its directory |
//! | `ENV` | `NAME=VALUE` in the environment of the command |
//! | `STDIN` | a line of standard input |
//! | `STDOUT` | a line of standard output; all of them, in order |
//! | `STDERR` | a text in standard error; each must be there, and without one nothing may be |
//! | `EXIT` | the exit code, 0 if not given |
//!
//! Each case runs as it is written, and once more in each tier: only one whose words name a tier does not.
//!
//! A case starts in a directory of its own: `granted/file.txt` holds `hello`, `granted/sub` is a directory,
//! `granted/out` a link to `outside.txt`, which is next to `granted`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One command line and what it must do.
#[derive(Debug, Default)]
struct Case {
    line: usize,
    words: Vec<String>,
    env: Vec<(String, String)>,
    stdin: String,
    stdout: String,
    stderr: Vec<String>,
    exit_code: i32,
}

#[test]
fn programs_do_what_their_comments_say() {
    check(None);
}

#[test]
fn interpreted_programs_do_the_same() {
    check(Some("--tier=interp"));
}

#[test]
fn compiled_programs_do_the_same() {
    check(Some("--tier=jit"));
}

#[test]
fn programs_whose_loops_move_do_the_same() {
    check(Some("--tier=osr"));
}

#[test]
fn programs_that_move_at_random_do_the_same() {
    check(Some("--tier=random:1"));
}

#[test]
fn programs_that_move_when_hot_do_the_same() {
    check(Some("--tier=auto"));
}

/// Runs all cases, those that name no tier with one word more.
fn check(tier: Option<&str>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run");
    let entries = fs::read_dir(dir).expect("the directory is there");
    let mut programs: Vec<_> = entries
        .map(|entry| entry.expect("an entry can be read").path())
        .collect();
    programs.retain(|path| path.extension().is_some_and(|extension| extension == "wat"));
    programs.sort();
    let mut problems = Vec::new();
    for program in programs {
        let mut cases = cases(&program);
        assert!(!cases.is_empty(), "{}: no RUN line", program.display());
        if tier.is_some() {
            cases.retain(|case| !case.words.iter().any(|word| word.starts_with("--tier")));
        }
        for case in cases {
            println!(
                "{}:{}: {} {}",
                program.display(),
                case.line,
                tier.unwrap_or_default(),
                case.words.join(" ")
            );
            if let Err(problem) = run(&program, &case, tier) {
                let place = format!("{}:{}", program.display(), case.line);
                problems.push(format!("{place}: {tier:?}: {problem}"));
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// Reads the cases out of a program's comments.
fn cases(program: &Path) -> Vec<Case> {
    let text = fs::read_to_string(program).expect("the program can be read");
    let dir = program.parent().expect("a file is in a directory");
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((name, value)) = line
            .strip_prefix(";; ")
            .and_then(|line| line.split_once(':'))
        else {
            continue;
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        if name == "RUN" {
            let words = value
                .split_whitespace()
                .map(|word| word.replace("%m", &program.to_string_lossy()))
                .map(|word| word.replace("%d", &dir.to_string_lossy()));
            cases.push(Case {
                line: index + 1,
                words: words.collect(),
                ..Case::default()
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        match name {
            "ENV" => case.env.push(
                value
                    .split_once('=')
                    .map(|(k, v)| (k.into(), v.into()))
                    .expect("NAME=VALUE"),
            ),
            "STDIN" => case.stdin.extend([value, "\n"]),
            "STDOUT" => case.stdout.extend([value, "\n"]),
            "STDERR" => case.stderr.push(value.into()),
            "EXIT" => case.exit_code = value.parse().expect("EXIT is a number"),
            _ => panic!("{}:{}: no such line: {name}", program.display(), index + 1),
        }
    }
    cases
}

/// Runs one case in a fresh directory; `tier` is one word more.
fn run(program: &Path, case: &Case, tier: Option<&str>) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    furnish(dir.path().to_path_buf());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
    command
        .args(tier)
        .args(&case.words)
        .envs(case.env.iter().cloned())
        .current_dir(dir.path());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|err| format!("{}: {err}", program.display()))?;
    // A program that does not read its input closes the pipe: no failure.
    let _ = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(case.stdin.as_bytes()));
    let output = child.wait_with_output().map_err(|err| err.to_string())?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let missing = case
        .stderr
        .iter()
        .find(|text| !stderr.contains(text.as_str()));
    if output.status.code() != Some(case.exit_code) {
        Err(format!(
            "{}, expected {}; stderr:\n{stderr}",
            output.status, case.exit_code
        ))
    } else if stdout != case.stdout {
        Err(format!("stdout is\n{stdout}expected\n{}", case.stdout))
    } else if let Some(text) = missing {
        Err(format!("stderr lacks {text:?}:\n{stderr}"))
    } else if case.stderr.is_empty() && !stderr.is_empty() {
        Err(format!("stderr is\n{stderr}"))
    } else {
        Ok(())
    }
}

/// The files every case finds.
fn furnish(dir: PathBuf) {
    fs::create_dir_all(dir.join("granted/sub")).expect("a directory");
    fs::write(dir.join("granted/file.txt"), "hello\n").expect("a file");
    fs::write(dir.join("outside.txt"), "secret\n").expect("a file");
    #[cfg(unix)]
    std::os::unix::fs::symlink("../outside.txt", dir.join("granted/out")).expect("a link");
}
