//! Where commands run, and how they end.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A directory with files, in which commands run.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new(files: &[(&str, &str)]) -> Place {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in files {
            fs::write(dir.path().join(name), content).expect("a file");
        }
        Place(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The command with these words, in this directory.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
        command
            .args(words)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        Ended::from(self.command(words).output().expect("the command starts"))
    }

    pub(crate) fn run_with_input(&self, words: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(words);
        let mut child = piped(&mut command);
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(input)
            .expect("the input is read");
        Ended::from(child.wait_with_output().expect("it ends"))
    }
}

pub(crate) fn piped(command: &mut Command) -> Child {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the command starts")
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is text");
        Ended {
            exit_code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ended {
    /// Asserts the exit code, standard output as a whole, and a part of standard error.
    #[track_caller]
    pub(crate) fn expect(&self, exit_code: i32, stdout: &str, stderr: &str) {
        assert_eq!(self.exit_code, Some(exit_code), "{self:?}");
        assert_eq!(self.stdout, stdout, "{self:?}");
        assert!(self.stderr.contains(stderr), "{self:?}");
        assert!(!stderr.is_empty() || self.stderr.is_empty(), "{self:?}");
    }
}

/// The program of `tests/run` with this name.
pub(crate) fn program(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/run")
        .join(name);
    path.to_str().expect("the path is text").to_string()
}
