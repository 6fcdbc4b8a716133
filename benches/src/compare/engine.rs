//! Engines: which are here, what they call themselves, and how each is told to run a program.
//!
//! Called by `main` once, before anything is timed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::program::Program;

/// An engine that has answered `--version`.
pub(crate) struct Engine {
    pub(crate) name: String,
    pub(crate) version: String,
    file: PathBuf,
    words: Vec<OsString>,
    grants: bool,
}

/// A peer that is looked for on PATH.
struct Peer {
    name: &'static str,
    file: &'static str,
    words: &'static [&'static str],
    /// Whether it takes `--dir DIR` before the program.
    grants: bool,
}

/// *Invariant:* every engine starts cold each time; what a cache of compiled code saves is another question, which
/// `--engine` can put.
const PEERS: &[Peer] = &[
    Peer {
        name: "wasmi",
        file: "wasmi",
        words: &["run"],
        grants: true,
    },
    Peer {
        name: "wasmtime",
        file: "wasmtime",
        words: &["run", "-C", "cache=n"],
        grants: true,
    },
    Peer {
        name: "winch",
        file: "wasmtime",
        words: &["run", "-C", "cache=n", "-C", "compiler=winch"],
        grants: true,
    },
    Peer {
        name: "wasm3",
        file: "wasm3",
        words: &[],
        grants: false,
    },
    Peer {
        name: "node",
        file: "node",
        words: &["--no-warnings", NODE_SHIM],
        grants: true,
    },
];

/// The program that gives node its WASI; in a peer's words it stands for its path.
const NODE_SHIM: &str = "node_wasi.mjs";

impl Engine {
    /// The process that runs `program`, with a grant of `dir`.
    pub(crate) fn command(&self, program: &Program, dir: Option<&str>) -> Command {
        let mut command = Command::new(&self.file);
        command.args(&self.words);
        if let (Some(dir), true) = (dir, self.grants) {
            command.args(["--dir", dir]);
        }
        command.arg(&program.path).args(&program.args);
        command
    }

    /// The command in words, without the folders of the machine it runs on.
    pub(crate) fn command_words(&self) -> String {
        let mut words = vec![
            self.file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        ];
        words.extend(self.words.iter().map(|word| {
            match Path::new(word) {
                path if path.is_absolute() => path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                path => path.to_string_lossy().into_owned(),
            }
        }));
        words.join(" ")
    }
}

/// Writes the program that gives node its WASI where node can read it, in a folder that is gone with the value.
pub(crate) fn write_node_shim() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join(NODE_SHIM),
        include_bytes!("node_wasi.mjs"),
    )?;
    Ok(folder)
}

/// Finds tiered, the engines given as NAME=COMMAND, and the peers on PATH, in this order.
pub(crate) fn find(
    tiered: &Path,
    given: &[String],
    only: &[String],
    shim_folder: &Path,
) -> Result<Vec<Engine>> {
    let mut engines = Vec::new();
    if tiered.exists() {
        let words = vec![OsString::from("run")];
        engines.push(known("tiered", tiered.to_owned(), words, true)?);
    }
    for spec in given {
        let engine = parse(spec).with_context(|| format!("--engine {spec}"))?;
        engines.retain(|other: &Engine| other.name != engine.name);
        engines.push(engine);
    }
    for peer in PEERS {
        if engines.iter().any(|engine| engine.name == peer.name) {
            continue;
        }
        let Some(file) = on_path(peer.file) else {
            continue;
        };
        let words = peer.words.iter().map(|&word| match word {
            NODE_SHIM => shim_folder.join(NODE_SHIM).into(),
            word => word.into(),
        });
        engines.push(known(peer.name, file, words.collect(), peer.grants)?);
    }
    for name in only {
        if !engines.iter().any(|engine| engine.name == *name) {
            bail!("--engine-only {name}: not found");
        }
    }
    if !only.is_empty() {
        engines.retain(|engine| only.contains(&engine.name));
    }
    if engines.is_empty() {
        bail!(
            "no engine: {} is not there, and no peer is on PATH",
            tiered.display()
        );
    }
    Ok(engines)
}

/// Parses `NAME=COMMAND`. An engine given so is taken to know `--dir`.
fn parse(spec: &str) -> Result<Engine> {
    let (name, command) = spec
        .split_once('=')
        .context("not of the form NAME=COMMAND")?;
    let mut words = command.split_whitespace();
    let file = words.next().context("the command is empty")?;
    let file = if file.contains('/') {
        PathBuf::from(file)
    } else {
        on_path(file).context("not on PATH")?
    };
    known(name, file, words.map(OsString::from).collect(), true)
}

fn known(name: &str, file: PathBuf, words: Vec<OsString>, grants: bool) -> Result<Engine> {
    let answer = Command::new(&file)
        .arg("--version")
        .output()
        .with_context(|| format!("{} --version", file.display()))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let version = text
        .lines()
        .next()
        .unwrap_or("does not tell its version")
        .trim()
        .to_owned();
    Ok(Engine {
        name: name.to_owned(),
        version,
        file,
        words,
        grants,
    })
}

fn on_path(file: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(file))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_needs_a_name_and_a_command() {
        assert!(parse("tiered").is_err());
        assert!(parse("tiered=").is_err());
        assert!(parse("x=no-engine-has-this-name-9d2f").is_err());
    }

    #[test]
    fn a_command_in_a_record_names_no_folder() {
        let engine = Engine {
            name: "a".to_owned(),
            version: "a 1".to_owned(),
            file: PathBuf::from("/some/where/a"),
            words: vec!["run".into(), "/some/where/shim.mjs".into()],
            grants: true,
        };
        assert_eq!(engine.command_words(), "a run shim.mjs");
    }
}
