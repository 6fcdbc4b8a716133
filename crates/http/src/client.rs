//! Requests to other servers.
//!
//! One thread drives all connections of a [`Client`]; names are looked up on a few others. A request has a connection of its
//! own, which ends with its response: what one guest does says nothing to another by the state of a connection, and each
//! request is asked for at its [`Gate`] anew. Redirects are responses like others, and proxies in the environment are
//! ignored.
//!
//! A response is waited for, or polled with any waker: [`Pending`] is a future that needs no executor.
//!
//! ```no_run
//! use std::net::SocketAddr;
//! use std::sync::Arc;
//! use tiered_http::Body;
//! use tiered_http::client::{Client, Destination, Gate, Options};
//!
//! /// The service on this machine, and nothing else.
//! struct Local;
//!
//! impl Gate for Local {
//!     fn name(&self, to: &Destination) -> bool {
//!         to.host == "localhost" && to.port == 8080
//!     }
//!
//!     fn address(&self, _: &Destination, address: SocketAddr) -> bool {
//!         address.ip().is_loopback() && address.port() == 8080
//!     }
//! }
//!
//! let client = Client::builder().start()?;
//! let request = tiered_http::http::Request::get("http://localhost:8080/").body(Body::empty())?;
//! let mut response = client.send(request, Options::new(Arc::new(Local)))?.wait()?;
//! println!("{}", response.status());
//! println!("{}", String::from_utf8_lossy(&response.body_mut().read_to_end(1 << 20)?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * *Invariant:* a connection is made to an address that the request's gate was shown and let pass, and to no other: a name
//!   is looked up once.
//! * *Invariant:* each step has a limit of time or size.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};

use http::{Request, Response};
use tokio::runtime::{self, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::block::block_until;
use crate::body::{Body, BodyReader};

pub use error::ClientError;
pub use gate::{Destination, Gate, Resolver, SystemResolver};
pub use options::{ClientLimits, Options};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};

mod connect;
mod error;
mod exchange;
mod gate;
mod options;
#[cfg(feature = "tls")]
mod tls;

/// What a client's requests share.
pub(crate) struct Shared {
    pub(crate) limits: ClientLimits,
    pub(crate) resolver: Arc<dyn Resolver>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    requests: Arc<Semaphore>,
}

impl Shared {
    /// Whether requests to `https` are possible.
    pub(crate) fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

/// What a client is made of.
#[must_use]
pub struct Builder {
    limits: ClientLimits,
    resolver: Arc<dyn Resolver>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Builder {
    /// What servers and guests get at most.
    pub fn limits(mut self, limits: ClientLimits) -> Builder {
        self.limits = limits;
        self
    }

    /// Who looks names up. Default: the system.
    pub fn resolver(mut self, resolver: impl Resolver) -> Builder {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Makes requests to `https` possible. Default: they are not.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Builder {
        self.tls = Some(tls);
        self
    }

    /// Starts the client's thread.
    ///
    /// # Errors
    /// There are no threads or descriptors for it.
    pub fn start(self) -> io::Result<Client> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(self.limits.lookups.max(1))
            .thread_name("tiered-http-lookup")
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("tiered-http-client".into())
            .spawn(move || {
                // Dropping the other end is what stops it.
                let _ = runtime.block_on(stopped);
                // A look-up that hangs is not waited for.
                runtime.shutdown_background();
            })?;
        let requests = self.limits.requests.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Client {
            shared: Arc::new(Shared {
                limits: self.limits,
                resolver: self.resolver,
                #[cfg(feature = "tls")]
                tls: self.tls,
                requests: Arc::new(Semaphore::new(requests)),
            }),
            thread: Arc::new(Thread {
                handle,
                stop: Some((stop, thread)),
            }),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

struct Thread {
    handle: Handle,
    stop: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            drop(stop);
            // It panics only where the runtime does; all requests have failed then.
            let _ = thread.join();
        }
    }
}

/// Makes requests. Clones share the thread; when the last one is dropped, what still runs is broken off.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
}

impl Client {
    /// A client with default limits and without TLS.
    pub fn builder() -> Builder {
        Builder {
            limits: ClientLimits::default(),
            resolver: Arc::new(SystemResolver),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Begins a request: `request` has a whole URI. `Host` is what the URI says. On HTTP/1, trailers are sent if the head
    /// names them in `Trailer`.
    ///
    /// # Errors
    /// The request can't be made, or its gate does not allow the name. What fails later is what [`Pending`] says.
    pub fn send(&self, request: Request<Body>, options: Options) -> Result<Pending, ClientError> {
        let prepared = exchange::prepare(request, &options, &self.shared)?;
        let permit: OwnedSemaphorePermit = self
            .shared
            .requests
            .clone()
            .try_acquire_owned()
            .map_err(|_| ClientError::TooManyRequests)?;
        let (sender, receiver) = oneshot::channel();
        let run = exchange::run(self.shared.clone(), prepared, options, sender);
        self.thread.handle.spawn(async move {
            run.await;
            drop(permit);
        });
        Ok(Pending(receiver))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

/// A response that is to come. Dropped, it ends the request.
#[derive(Debug)]
#[must_use = "dropped, it ends the request"]
pub struct Pending(oneshot::Receiver<Result<Response<BodyReader>, ClientError>>);

impl Pending {
    /// Waits for the head of the response.
    ///
    /// # Errors
    /// Why there is none.
    pub fn wait(mut self) -> Result<Response<BodyReader>, ClientError> {
        let result = block_until(None, |cx| Pin::new(&mut self).poll(cx));
        result.unwrap_or(Err(ClientError::Stopped))
    }
}

impl Future for Pending {
    type Output = Result<Response<BodyReader>, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(result.unwrap_or(Err(ClientError::Stopped)))
    }
}
