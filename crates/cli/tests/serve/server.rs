//! A running server, and requests to it. Everything is on the loopback interface, and whatever waits does so for a bounded
//! time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::guest;

/// Longer than anything takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A directory with the component of 0.2 in it.
pub(crate) fn place() -> TempDir {
    place_of(&guest::component())
}

/// A directory with this component in it.
pub(crate) fn place_of(component: &[u8]) -> TempDir {
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("guest.wasm");
    std::fs::write(file, component).expect("a file");
    place
}

/// A server; ended with the test.
pub(crate) struct Server {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// What it said before it listened.
    pub(crate) said: Vec<String>,
    pub(crate) address: SocketAddr,
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 if the connection was closed without any.
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The body was not broken off.
    pub(crate) complete: bool,
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let line = line.expect("it can be read");
            let line = String::from_utf8(line).expect("it is text");
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Server {
    /// Serves `guest.wasm` of the directory, at a port of its own.
    pub(crate) fn start(place: &Path, words: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tiered"));
        command
            .args(["serve", "--addr=127.0.0.1:0"])
            .args(words)
            .arg("guest.wasm")
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let stdout = lines(child.stdout.take().expect("it is piped"));
        let stderr = lines(child.stderr.take().expect("it is piped"));
        let mut said = Vec::new();
        let address = loop {
            let line = stderr.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it does not serve: {said:?}"));
            said.push(line.clone());
            if let Some(address) = address(&line, "Serving HTTP on ") {
                break address;
            }
        };
        Server {
            child,
            stdout,
            stderr,
            said,
            address,
        }
    }

    /// The next line of its standard output.
    #[track_caller]
    pub(crate) fn stdout(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line")
    }

    /// The next line of its standard error.
    #[track_caller]
    pub(crate) fn stderr(&self) -> String {
        self.stderr.recv_timeout(PATIENCE).expect("a line")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.address, path)
    }

    /// A request that runs: its guest says so by a line on standard output, as those for `/run` and `/wait` do.
    pub(crate) fn begin(&self, path: &str) -> TcpStream {
        let stream = begin(self.address, "GET", path, "");
        assert!(self.stdout().ends_with(" a line"));
        stream
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        answer(begin(self.address, "POST", path, body))
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end; its exit, and the rest of what it said on standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        (status, self.stderr.iter().collect())
    }

    /// Ends it as an operator does, and returns what it said on standard error.
    #[track_caller]
    pub(crate) fn stop(self) -> Vec<String> {
        self.signal("-TERM");
        let (status, said) = self.end();
        assert!(status.success(), "{status}: {said:?}");
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line that begins so.
pub(crate) fn address(line: &str, what: &str) -> Option<SocketAddr> {
    let rest = line.strip_prefix(what)?.strip_prefix("http://")?;
    rest.strip_suffix('/')?.parse().ok()
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    answer(begin(address, "GET", path, ""))
}

pub(crate) fn begin(address: SocketAddr, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("it can be set");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    // One that is refused early may close before all is sent.
    let _ = stream.write_all(request.as_bytes());
    stream
}

/// Reads the response to the end of the connection.
pub(crate) fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A reset after the response says nothing of the response.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("it is text");
    if text.is_empty() {
        return Answer {
            status: 0,
            body: text,
            complete: false,
        };
    }
    let (head, body) = text.split_once("\r\n\r\n").expect("it has a head");
    let status = head.split(' ').nth(1).expect("it has a status");
    let status = status.parse().expect("it is a number");
    let lower = head.to_ascii_lowercase();
    let (body, complete) = match lower.split_once("content-length: ") {
        Some((_, rest)) => {
            let length = rest.lines().next().expect("it has a value");
            (body.to_owned(), length.parse() == Ok(body.len()))
        }
        None => chunks(body),
    };
    Answer {
        status,
        body,
        complete,
    }
}

/// The text of a body in chunks, and whether its last one is there.
fn chunks(mut rest: &str) -> (String, bool) {
    let mut text = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("it is a length");
        if length == 0 {
            return (text, true);
        }
        text += &after[..length];
        rest = after[length..].strip_prefix("\r\n").unwrap_or_default();
    }
    (text, false)
}
