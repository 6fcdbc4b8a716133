//! Requests to `https`, to a server with a certificate of a root that was made for the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tiered_http::Body;
use tiered_http::client::{Client, ClientError, Pending, Resolver, Tls};
use tiered_http::http::{Request, StatusCode};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::client::{get, options};
use crate::wire::{LONG, listener, soon};

/// A root, and a server's certificate of it.
struct Authority {
    root: Vec<u8>,
    config: Arc<ServerConfig>,
}

impl Authority {
    fn new(name: &str, protocols: &[&str]) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&root_key).expect("a certificate");
        let issuer = Issuer::new(params, root_key);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_string()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth();
        let mut config = config
            .with_single_cert(chain, key)
            .expect("a key that fits");
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Authority {
            root: root.der().to_vec(),
            config: Arc::new(config),
        }
    }

    /// A server for one connection, that reads a head and answers with `answer`.
    fn serve(&self, answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
        let (sender, heads) = mpsc::channel();
        let (listener, config) = (listener(), self.config.clone());
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || serve(&listener, config, answer, &sender));
        (address, heads)
    }
}

fn serve(
    listener: &TcpListener,
    config: Arc<ServerConfig>,
    answer: &str,
    heads: &mpsc::Sender<String>,
) {
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    let connection = ServerConnection::new(config).expect("a connection");
    let mut stream = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            // The client does not trust it.
            _ => return,
        }
    }
    // It may have gone.
    let _ = heads.send(String::from_utf8_lossy(&head).into_owned());
    let _ = stream.write_all(answer.as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// All names are this machine.
struct Here;

impl Resolver for Here {
    fn look_up(&self, _: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

fn client(roots: Vec<Vec<u8>>) -> Client {
    let tls = Tls::with_roots(roots).expect("roots");
    Client::builder()
        .resolver(Here)
        .tls(tls)
        .start()
        .expect("it starts")
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";

#[test]
fn a_server_of_a_trusted_root_is_talked_to() {
    let authority = Authority::new("a.example", &[]);
    let client = client(vec![authority.root.clone()]);
    let (address, heads) = authority.serve(ANSWER);
    let uri = format!("https://A.example:{}/x", address.port());
    let mut response = client
        .send(get(uri), options())
        .and_then(Pending::wait)
        .expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.body_mut().read_to_end(10), Ok(b"secret".to_vec()));
    let head = soon(&heads);
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
}

#[test]
fn certificates_are_checked() {
    let authority = Authority::new("a.example", &[]);
    let other = Authority::new("a.example", &[]);
    for (name, root, host) in [
        ("another root", &other.root, "a.example"),
        ("another host", &authority.root, "b.example"),
        ("an address", &authority.root, "127.0.0.1"),
    ] {
        let (address, heads) = authority.serve(ANSWER);
        let uri = format!("https://{host}:{}/", address.port());
        let error = client(vec![root.clone()])
            .send(get(uri), options())
            .and_then(Pending::wait);
        assert!(
            matches!(error, Err(ClientError::TlsCertificate(_))),
            "{name}: {error:?}"
        );
        assert!(heads.recv().is_err(), "{name}: nothing was asked");
    }
}

#[test]
fn what_is_no_tls_is_an_error() {
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("taken");
    });
    let authority = Authority::new("a.example", &[]);
    let uri = format!("https://a.example:{}/", address.port());
    let error = client(vec![authority.root.clone()])
        .send(get(uri), options())
        .and_then(Pending::wait);
    assert!(matches!(error, Err(ClientError::Tls(_))), "{error:?}");
    server.join().expect("it is sent");
    // Connecting takes TLS in.
    let silent = crate::wire::listener();
    let mut short = options();
    short.connect_timeout = Duration::from_millis(100);
    let uri = format!(
        "https://a.example:{}/",
        silent.local_addr().expect("an address").port()
    );
    let error = client(vec![authority.root])
        .send(get(uri), short)
        .and_then(Pending::wait);
    assert!(
        matches!(error, Err(ClientError::ConnectTimeout(_))),
        "{error:?}"
    );
    assert!(Tls::with_roots([b"no certificate".to_vec()]).is_err());
}

/// A body that ends with the connection has to end with TLS's own end, or somebody may have cut it.
#[test]
fn a_connection_that_is_cut_is_no_end() {
    let authority = Authority::new("a.example", &[]);
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    let config = authority.config.clone();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let connection = ServerConnection::new(config).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        let mut head = [0; 10];
        stream.read_exact(&mut head).expect("a request");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\npart")
            .expect("taken");
        stream.flush().expect("taken");
    });
    let client = client(vec![authority.root]);
    let uri = format!("https://a.example:{}/", address.port());
    let mut response = client
        .send(get(uri), options())
        .and_then(Pending::wait)
        .expect("a response");
    assert!(response.body_mut().read_to_end(10).is_err());
}

/// Where a server offers HTTP/2, it is used, bodies and trailers as ever.
#[test]
fn http2_is_agreed_on() {
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let authority = Authority::new("a.example", &["h2"]);
    let listener = listener();
    listener.set_nonblocking(true).expect("it can be");
    let address = listener.local_addr().expect("an address");
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.config.clone());
    let (sender, seen) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let (stream, _) = listener.accept().await.expect("a connection");
            let stream = acceptor.accept(stream).await.expect("TLS");
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let host = request.headers().contains_key("host");
                let said = format!("{:?} {} {host}", request.version(), request.uri());
                sender.send(said).expect("received");
                async {
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(request.into_body()))
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // It ends when the client does.
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    });
    let client = client(vec![authority.root]);
    let uri = format!("https://a.example:{}/x", address.port());
    let (mut writer, body) = Body::channel(100);
    let request = Request::post(&uri).body(body).expect("a request");
    let mut response = client
        .send(request, options())
        .and_then(Pending::wait)
        .expect("a response");
    assert_eq!(soon(&seen), format!("HTTP/2.0 {uri} false"));
    writer.write(b"hello").expect("it is read");
    assert_eq!(
        response.body_mut().chunk().expect("no error").as_deref(),
        Some(b"hello".as_slice())
    );
    let trailers = tiered_http::http::HeaderMap::from_iter([(
        "x-sum".parse().expect("a name"),
        "7".parse().expect("a value"),
    )]);
    writer.finish_with(trailers.clone()).expect("it is read");
    assert_eq!(response.body_mut().trailers(), Ok(Some(trailers)));
}
