//! Starts the processes, and compares what they say.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// What each attempt was answered.
type Answers = BTreeMap<String, i64>;

/// Makes all attempts in a process that is held and in one that is not.
pub(crate) fn run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it has an address").port();
    let held = answers(&start("held", furnished().path(), port));
    let free = answers(&start("free", furnished().path(), port));
    let has = |part: &str| held.get(part) == Some(&1);
    let (landlock, seccomp) = (has("landlock"), has("seccomp"));
    for (part, is_there) in [("landlock", landlock), ("seccomp", seccomp)] {
        if !is_there {
            println!("skipped: what {part} refuses, for this kernel does not have it");
        }
    }
    let mut problems = Vec::new();
    for (name, &answer) in &held {
        let expected = match name.split_once(": ").map(|(kind, _)| kind) {
            Some("granted") => answer >= 0,
            // A link or a rename that would give away more is also refused as one to another file system.
            Some("file") if landlock => [-libc::EACCES, -libc::EXDEV, -libc::EPERM]
                .map(i64::from)
                .contains(&answer),
            Some("call") if seccomp => answer == -i64::from(libc::ENOSYS),
            _ => true,
        };
        if !expected {
            problems.push(format!("held: {name}: {answer}"));
        }
    }
    for (name, answer) in &free {
        if *answer < 0 {
            problems.push(format!("not held: {name}: {answer}"));
        }
    }
    for name in free.keys().filter(|name| !held.contains_key(*name)) {
        problems.push(format!("held: {name}: not tried"));
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(free.len() > 50 && held.len() > free.len(), "{}", free.len());
    if seccomp {
        let foreign = start("foreign", furnished().path(), port);
        // Or there is no such interface in this kernel, which is a fault.
        let killed = [libc::SIGSYS, libc::SIGSEGV].map(Some);
        assert!(killed.contains(&foreign.status.signal()), "{foreign:?}");
    }
    println!("{} attempts, {} of them compared", held.len(), free.len());
}

/// Files that are granted, and files that are not.
fn furnished() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["ro", "rw", "outside"] {
        fs::create_dir(dir.path().join(name)).expect("a directory");
    }
    for name in [
        "ro/file",
        "ro/empty",
        "ro/victim",
        "outside/secret",
        "outside/empty",
        "outside/victim",
        "outside/removed",
        "outside/linked",
    ] {
        fs::write(dir.path().join(name), "secret").expect("a file");
    }
    let linked = dir.path().join("outside/linked");
    fs::hard_link(linked, dir.path().join("rw/linked")).expect("a link");
    dir
}

fn start(how: &str, dir: &Path, port: u16) -> Output {
    let own = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(own);
    command
        .arg(how)
        .current_dir(dir)
        .env("BASE", dir)
        .env("PORT", port.to_string());
    command.output().expect("it starts")
}

fn answers(output: &Output) -> Answers {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let answer = |line: &str| {
        let (name, number) = line.rsplit_once(' ').expect("a name and an answer");
        (name.to_owned(), number.parse().expect("a number"))
    };
    text.lines().map(answer).collect()
}
