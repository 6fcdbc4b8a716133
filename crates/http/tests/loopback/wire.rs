//! A client that writes what a test says, byte by byte, and reads responses as RFC 9112 has them, without any of the code
//! under test.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use tiered_http::http::{HeaderMap, HeaderValue, Response, StatusCode};
use tiered_http::{Body, Builder, Handler, HandlerError, Limits, Request, Responder, Server};

/// What nothing here should ever wait for.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

pub(crate) fn start(handler: impl Handler) -> Server {
    start_with(Server::builder(), handler)
}

pub(crate) fn start_with(builder: Builder, handler: impl Handler) -> Server {
    builder.start(listener(), handler).expect("it starts")
}

/// A server with other limits.
pub(crate) fn limited(change: impl FnOnce(&mut Limits), handler: impl Handler) -> Server {
    let mut limits = Limits::default();
    change(&mut limits);
    start_with(Server::builder().limits(limits), handler)
}

pub(crate) fn text(
    responder: Responder,
    status: StatusCode,
    text: &str,
) -> Result<(), HandlerError> {
    responder.full(
        status,
        HeaderValue::from_static("text/plain"),
        text.to_string(),
    )?;
    Ok(())
}

/// Answers with method, path, and the length of the body.
pub(crate) fn describe(mut request: Request, responder: Responder) -> Result<(), HandlerError> {
    let body = request.body.read_to_end(1 << 30)?;
    let answer = format!("{} {} {}", request.method, request.path, body.len());
    text(responder, StatusCode::OK, &answer)
}

/// Sends the body back as it comes, and the trailers.
pub(crate) fn echo(mut request: Request, responder: Responder) -> Result<(), HandlerError> {
    let headers = HeaderMap::from_iter([(
        tiered_http::http::header::TRAILER,
        HeaderValue::from_static("x-sum, x-end"),
    )]);
    let mut writer = responder.start(StatusCode::OK, headers)?;
    while let Some(chunk) = request.body.chunk()? {
        writer.write(&chunk)?;
    }
    match request.body.trailers()? {
        Some(trailers) => writer.finish_with(trailers)?,
        None => writer.finish()?,
    }
    Ok(())
}

/// A response with a body that is whole from the start.
pub(crate) fn response(
    status: u16,
    headers: &[(&'static str, &str)],
    body: Body,
) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).expect("a response")
}

/// The next message, before a minute is over.
pub(crate) fn soon<T>(receiver: &mpsc::Receiver<T>) -> T {
    receiver
        .recv_timeout(LONG)
        .expect("it comes within a minute")
}

/// Waits until something counted elsewhere is so; fails after a minute.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute: {what}");
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(found, _)| found == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        stream.set_write_timeout(Some(LONG)).expect("a timeout");
        Wire {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("it is taken");
    }

    /// As [`Wire::send`], where the server may have closed the connection already.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.answer()
    }

    /// A line without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").map(<[u8]>::to_vec);
        let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8(line).expect("text"))
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(": ").expect("a field");
            fields.push((name.to_ascii_lowercase(), value.to_string()));
        }
    }

    pub(crate) fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let line = self.line()?;
        let mut words = line.split(' ');
        let version = words.next().unwrap_or_default();
        assert!(matches!(version, "HTTP/1.1" | "HTTP/1.0"), "{line}");
        let status = words
            .next()
            .and_then(|word| word.parse().ok())
            .expect("a status");
        Ok((status, self.fields()?))
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("a whole response")
    }

    pub(crate) fn try_answer(&mut self) -> io::Result<Answer> {
        let (status, headers) = self.head()?;
        self.body(status, headers)
    }

    /// The answer to `HEAD`.
    pub(crate) fn answer_without_body(&mut self) -> Answer {
        let (status, headers) = self.head().expect("a head");
        Answer {
            status,
            headers,
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    pub(crate) fn body(
        &mut self,
        status: u16,
        headers: Vec<(String, String)>,
    ) -> io::Result<Answer> {
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
            trailers: Vec::new(),
        };
        let length = answer
            .header("content-length")
            .map(|length| length.parse().expect("a number"));
        if answer.header("transfer-encoding") == Some("chunked") {
            assert_eq!(length, None, "two lengths");
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
            answer.trailers = self.fields()?;
        } else if let Some(length) = length {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body)?;
        } else if !matches!(status, 100..=199 | 204 | 304) {
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// One chunk; `None` for the last one.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
        if size == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        Ok(Some(chunk))
    }

    /// Reads some bytes.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }

    /// Waits until the server closes the connection, and returns what came before.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest,
            // Bytes that the server did not read reset the connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("not closed: {error}"),
        }
    }

    pub(crate) fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
}
