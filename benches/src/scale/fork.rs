//! A process forks after something was compiled; then parent and child each compile a function of their own. Does each
//! go on with its own code?

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use tiered::{Engine, TierMode};

use crate::guest::{self, Guest};
use crate::report::{Findings, Target};
use crate::runner::{Answer, Runner, word};

/// What may go wrong can as well hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a call is repeated in the hope that it is compiled, where that happens in the background.
const HOT: Duration = Duration::from_millis(500);

const TEXT: &str = r#"(module
    (func (export "run") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1000)))
    (func (export "childs") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1111)))
    (func (export "parents") (param i32) (result i32) (i32.add (local.get 0) (i32.const 2222))))"#;

const EXPECTED: [(&str, i32); 3] = [("run", 1000), ("childs", 1111), ("parents", 2222)];

pub(crate) fn measure(runner: &Runner) -> Result<Findings> {
    let mut findings = Findings::default();
    for tier in ["jit", "auto"] {
        let (answer, _) = runner.child("fork", &[tier.to_owned()])?;
        findings.aimed(
            format!("{tier}: wrong answers"),
            answer.number("wrong")?,
            "",
            Target::AtMost(0.0),
        );
        if let Some(said) = answer.text {
            findings.note(format!("{tier}: {said}"));
        }
    }
    Ok(findings)
}

pub(crate) fn child(words: &[String]) -> Result<Answer> {
    let engine = guest::engine(word::<TierMode>(words, 0)?);
    let module = guest::module(&engine, TEXT)?;
    let mut guest = Guest::new(&engine, &module)?;
    heat(&engine, &mut guest, "run")?;

    let (to_child, to_parent) = (std::io::pipe()?, std::io::pipe()?);
    if fork()? {
        drop((to_child.1, to_parent.0));
        // It must end here, whatever comes: the parent alone answers.
        let _ = forked(&engine, &mut guest, to_child.0, to_parent.1);
        std::process::exit(0);
    }
    drop((to_child.0, to_parent.1));
    let said = forking(&engine, &mut guest, to_parent.0, to_child.1)?;
    Ok(Answer {
        text: (!said.is_empty()).then(|| said.join("; ")),
        ..Answer::default().with("wrong", said.len() as f64)
    })
}

/// Forks; gives whether this is the child.
#[allow(unsafe_code)]
fn fork() -> Result<bool> {
    // SAFETY: no other thread of this process holds a lock now, as the engine has nothing more to compile. The child
    // goes on with copies of everything.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("fork"),
        pid => Ok(pid == 0),
    }
}

/// The part of the forked process: compiles `childs`, waits for the parent to compile, and looks again.
fn forked(
    engine: &Engine,
    guest: &mut Guest,
    mut parent_is_done: PipeReader,
    mut tell: PipeWriter,
) -> Result<()> {
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        std::process::exit(1);
    });
    heat(engine, guest, "childs")?;
    tell.write_all(b"compiled\n")?;
    parent_is_done.read_exact(&mut [0])?;
    for said in wrong(guest)? {
        writeln!(tell, "the child's {said}")?;
    }
    tell.write_all(b"end\n")?;
    Ok(())
}

/// The part of the process that forked: lets the child compile, compiles `parents`, and lets both look. Gives what was
/// wrong.
fn forking(
    engine: &Engine,
    guest: &mut Guest,
    from_child: PipeReader,
    mut tell: PipeWriter,
) -> Result<Vec<String>> {
    let lines = lines_of(from_child);
    let mut said = Vec::new();
    // A child that has ended has closed both pipes: it is not there to be told, and the loop below says so.
    let _ = lines.recv_timeout(PATIENCE);
    heat(engine, guest, "parents")?;
    let _ = tell.write_all(b".");
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line == "end" => break,
            Ok(line) => said.push(line),
            Err(_) => {
                said.push("the child died, or hangs".to_owned());
                break;
            }
        }
    }
    let own = wrong(guest)?;
    said.extend(own.into_iter().map(|own| format!("the parent's {own}")));
    Ok(said)
}

/// The lines of a pipe, to be waited for; ends with the pipe.
fn lines_of(pipe: PipeReader) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(pipe));
        for line in lines.map_while(|line| line.ok()) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Calls a function until it is compiled, or for a while where nothing compiles it.
fn heat(engine: &Engine, guest: &mut Guest, name: &str) -> Result<()> {
    let before = guest::compiled(engine);
    guest::until_compiled(engine, before, HOT, || {
        for _ in 0..100 {
            guest.call(name, 0)?;
        }
        Ok(())
    })?;
    guest.call(name, 0).map(drop)
}

/// What functions return that should return something else.
fn wrong(guest: &mut Guest) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for (name, expected) in EXPECTED {
        match guest.call(name, 0) {
            Ok(value) if value == expected => {}
            Ok(value) => said.push(format!("{name} gives {value}, not {expected}")),
            Err(error) => said.push(format!("{name} fails: {error:#}")),
        }
    }
    Ok(said)
}
