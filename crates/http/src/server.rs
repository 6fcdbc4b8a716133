//! The server: listens, accepts, and shuts down.
//!
//! One thread drives all connections; handlers run on threads of their own ([`Limits::concurrency`]). What a handler does
//! therefore delays no connection, but its own.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use http::Method;
use tokio::runtime::{self, Runtime};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use crate::access_log::{AccessLog, Entry};
use crate::connection;
use crate::handler::Handler;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::pool::Pool;

/// How long to wait before the next attempt to accept, when there are no descriptors or no memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long handlers get to end once they were cancelled by [`Server::shutdown`].
const CANCEL_TIME: Duration = Duration::from_secs(1);

/// How many connections the metrics' own address takes at a time.
const METRICS_CONNECTIONS: usize = 16;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    /// What the page says.
    pub(crate) shown: Arc<Metrics>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) ids: Arc<AtomicU64>,
    log: Option<Arc<AccessLog>>,
    metrics_page: Page,
    /// What runs is cut off.
    cut: Arc<AtomicBool>,
}

/// Which requests are for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    None,
    Path(String),
    /// All of them.
    Everything,
}

impl Shared {
    pub(crate) fn is_metrics_page(&self, head: &http::request::Parts) -> bool {
        match &self.metrics_page {
            Page::None => false,
            Page::Path(path) => {
                head.uri.path() == path && matches!(head.method, Method::GET | Method::HEAD)
            }
            Page::Everything => true,
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn has_log(&self) -> bool {
        self.log.is_some()
    }

    pub(crate) fn log(&self, entry: Entry) {
        if let Some(log) = &self.log
            && !log.write(entry)
        {
            self.metrics.log_lost.add(1);
        }
    }
}

/// What a server is made of, beside its handler.
#[derive(Default)]
#[must_use]
pub struct Builder {
    limits: Limits,
    log: Option<Box<dyn Write + Send>>,
    metrics_path: Option<String>,
    metrics_listener: Option<TcpListener>,
}

impl Builder {
    /// What clients get at most.
    pub fn limits(mut self, limits: Limits) -> Builder {
        self.limits = limits;
        self
    }

    /// Where the [access log](crate::access_log) is written to. Default: there is none.
    pub fn access_log(mut self, out: impl Write + Send + 'static) -> Builder {
        self.log = Some(Box::new(out));
        self
    }

    /// The path, as `/metrics`, at which the [metrics](crate::metrics) are shown, to all clients; the handler gets no `GET`
    /// of it. Default: none.
    pub fn metrics_path(mut self, path: impl Into<String>) -> Builder {
        self.metrics_path = Some(path.into());
        self
    }

    /// Shows the metrics at an address of their own, at every path. Default: none.
    pub fn metrics_listener(mut self, listener: TcpListener) -> Builder {
        self.metrics_listener = Some(listener);
        self
    }

    /// Starts to serve what comes to `listener`.
    ///
    /// # Errors
    /// There are no threads or descriptors for it.
    pub fn start(self, listener: TcpListener, handler: impl Handler) -> io::Result<Server> {
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let metrics = Arc::new(Metrics::default());
        let page = self.metrics_path.map_or(Page::None, Page::Path);
        let shared = Shared {
            handler: Arc::new(handler),
            pool: Arc::new(Pool::new(&self.limits, metrics.clone())),
            limits: self.limits,
            metrics: metrics.clone(),
            shown: metrics.clone(),
            ids: Arc::default(),
            log: self.log.map(AccessLog::new).transpose()?.map(Arc::new),
            metrics_page: page,
            cut: Arc::default(),
        };
        let mut sites = Vec::new();
        if let Some(listener) = self.metrics_listener {
            sites.push(Site::new(
                &runtime,
                listener,
                METRICS_CONNECTIONS,
                shared.metrics_site(),
            )?);
        }
        let (pool, connections) = (shared.pool.clone(), shared.limits.connections);
        sites.push(Site::new(&runtime, listener, connections, shared)?);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("tiered-http".into())
            .spawn(move || run(&runtime, sites, stopped))?;
        Ok(Server {
            address,
            metrics,
            pool,
            stop: Some((stop, thread)),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .field("metrics_path", &self.metrics_path)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The same, but for requests to the metrics' own address, which are not logged and not counted as requests.
    fn metrics_site(&self) -> Shared {
        Shared {
            handler: self.handler.clone(),
            limits: self.limits.clone(),
            metrics: Arc::default(),
            shown: self.metrics.clone(),
            pool: self.pool.clone(),
            ids: Arc::default(),
            log: None,
            metrics_page: Page::Everything,
            cut: self.cut.clone(),
        }
    }
}

/// A running server. Dropped, it shuts down without waiting for requests.
pub struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    pool: Arc<Pool>,
    stop: Option<(oneshot::Sender<Duration>, JoinHandle<usize>)>,
}

/// What [`Server::shutdown`] did not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Requests that were cut off.
    pub cut: usize,
    /// Handlers that still run: they were cancelled, and have not ended by that yet.
    pub running: usize,
}

impl Server {
    /// A server with default limits, no log and no page of metrics.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The address that it listens at.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Accepts no connection any more, lets what runs finish within `time`, then cuts it off and cancels it. Handlers get
    /// what is left of that time to end, and one second more. The access log is written to its
    /// end, if its reader takes it within two seconds.
    pub fn shutdown(mut self, time: Duration) -> Shutdown {
        self.stop(time)
    }

    fn stop(&mut self, time: Duration) -> Shutdown {
        let start = Instant::now();
        let cut = match self.stop.take() {
            None => 0,
            Some((stop, thread)) => {
                // Neither fails but by a panic on the thread; then all is cut off already.
                let _ = stop.send(time);
                thread.join().unwrap_or_default()
            }
        };
        let left = time.saturating_sub(start.elapsed());
        Shutdown {
            cut,
            running: self.pool.close(left.saturating_add(CANCEL_TIME)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stop.is_some() {
            self.stop(Duration::ZERO);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A listener, and how its requests are answered.
struct Site {
    listener: tokio::net::TcpListener,
    connections: usize,
    shared: Arc<Shared>,
}

impl Site {
    fn new(
        runtime: &Runtime,
        listener: TcpListener,
        connections: usize,
        shared: Shared,
    ) -> io::Result<Site> {
        listener.set_nonblocking(true)?;
        let _context = runtime.enter();
        Ok(Site {
            listener: tokio::net::TcpListener::from_std(listener)?,
            connections: connections.clamp(1, Semaphore::MAX_PERMITS.min(1 << 20)),
            shared: Arc::new(shared),
        })
    }
}

/// Serves until it is stopped. Returns the requests that were cut off.
fn run(runtime: &Runtime, sites: Vec<Site>, stopped: oneshot::Receiver<Duration>) -> usize {
    let shared: Vec<_> = sites.iter().map(|site| site.shared.clone()).collect();
    runtime.block_on(serve(sites, stopped));
    // The last site is that of the handler.
    let cut = shared.last().map_or(0, |shared| {
        shared.cut.store(true, Relaxed);
        shared.metrics.in_flight.get()
    });
    usize::try_from(cut).unwrap_or(usize::MAX)
}

async fn serve(sites: Vec<Site>, stopped: oneshot::Receiver<Duration>) {
    let (drain, draining) = watch::channel(false);
    let mut accepting = Vec::new();
    let mut open = Vec::new();
    for site in sites {
        let permits = Arc::new(Semaphore::new(site.connections));
        open.push((permits.clone(), site.connections));
        accepting.push(tokio::spawn(accept(site, permits, draining.clone())));
    }
    let time = stopped.await.unwrap_or_default();
    for task in accepting {
        task.abort();
        // So that the listener is closed before connections are.
        let _ = task.await;
    }
    drain.send_replace(true);
    let closed = async {
        for (permits, all) in open {
            let all = u32::try_from(all).unwrap_or(u32::MAX);
            // Nobody closes the semaphore.
            let _ = permits.acquire_many(all).await;
        }
    };
    let _ = timeout(time, closed).await;
}

async fn accept(site: Site, permits: Arc<Semaphore>, draining: watch::Receiver<bool>) {
    let metrics = site.shared.metrics.clone();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match site.listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                metrics.accept_errors.add(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        metrics.accepted.add(1);
        let connection = Connection::new(metrics.clone());
        let serve = connection::serve(site.shared.clone(), stream, peer, draining.clone());
        tokio::spawn(async move {
            serve.await;
            drop((connection, permit));
        });
    }
}

/// Counts as an open connection.
struct Connection(Arc<Metrics>);

impl Connection {
    fn new(metrics: Arc<Metrics>) -> Connection {
        metrics.connections.add(1);
        Connection(metrics)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.sub(1);
    }
}
