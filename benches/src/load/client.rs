//! HTTP/1.1 as far as a measurement needs it: requests without a body, responses with a length or in chunks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a response may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection that is kept, and made anew when it is closed.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    /// None yet.
    pub(crate) fn new(address: SocketAddr) -> Connection {
        Connection {
            address,
            stream: None,
        }
    }

    /// Asks for `path` and reads the response to its end; its status, or 0 if there was no whole one.
    pub(crate) fn get(&mut self, path: &str) -> u16 {
        match self.try_get(path) {
            Ok((status, true)) => status,
            Ok((status, false)) => {
                self.stream = None;
                status
            }
            Err(_) => {
                self.stream = None;
                0
            }
        }
    }

    /// The status, and whether the connection stays.
    fn try_get(&mut self, path: &str) -> io::Result<(u16, bool)> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                self.stream.insert(BufReader::new(stream))
            }
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        stream.get_mut().write_all(request.as_bytes())?;
        read_response(stream)
    }
}

fn read_response(stream: &mut impl BufRead) -> io::Result<(u16, bool)> {
    let first = line(stream)?;
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(malformed)?;
    let (mut length, mut chunked, mut stays) = (None, false, true);
    loop {
        let line = line(stream)?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        match (name, value.trim()) {
            ("content-length", value) => length = Some(value.parse().map_err(|_| malformed())?),
            ("transfer-encoding", _) => chunked = true,
            ("connection", "close") => stays = false,
            _ => {}
        }
    }
    if chunked {
        skip_chunks(stream)?;
    } else {
        skip(stream, length.ok_or_else(malformed)?)?;
    }
    Ok((status, stays))
}

/// A line without its end.
fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.take(64 << 10).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(malformed()),
    }
}

fn skip(stream: &mut impl BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut stream.take(length), &mut io::sink())?;
    if skipped == length {
        Ok(())
    } else {
        Err(malformed())
    }
}

fn skip_chunks(stream: &mut impl BufRead) -> io::Result<()> {
    loop {
        let length = u64::from_str_radix(&line(stream)?, 16).map_err(|_| malformed())?;
        skip(stream, length)?;
        if !line(stream)?.is_empty() {
            return Err(malformed());
        }
        if length == 0 {
            return Ok(());
        }
    }
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(u16, bool)> {
        read_response(&mut text.as_bytes()).ok()
    }

    #[test]
    fn a_response_counts_if_it_is_whole() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
        assert_eq!(read(&format!("{head}ab")), Some((200, true)));
        assert_eq!(read(&format!("{head}a")), None);
        let closes = head.replace("OK\r\n", "OK\r\nConnection: close\r\n");
        assert_eq!(read(&format!("{closes}ab")), Some((200, false)));
        let chunked = "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(
            read(&format!("{chunked}1\r\na\r\n0\r\n\r\n")),
            Some((500, true))
        );
        assert_eq!(read(&format!("{chunked}1\r\na\r\n")), None);
        assert_eq!(read(""), None);
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
