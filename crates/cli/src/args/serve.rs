//! The command line of `tiered serve`. Options that wasmtime's `serve` has, too, are spelled alike and mean the same.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ProgramArgs, parse_count, parse_duration, parse_number, parse_size, text};

/// What `tiered serve --help` says of the limits that `run` has, too.
const EACH_REQUEST: &str = "\
A component of WASI 0.2 gets an instance for each request, one of 0.3 answers
several in an instance, unless the options about reuse say otherwise. --max-memory
and --max-open-fds limit an instance; --timeout, --fuel and --max-outgoing each
request. With the latter two, an instance answers one request at a time.";

/// `tiered serve`.
#[derive(Debug, Args)]
#[command(after_help = EACH_REQUEST)]
pub(crate) struct ServeArgs {
    /// Listen on this address; port 0 lets the system pick a port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) addr: SocketAddr,
    /// Shut down when somebody connects to this address, as after SIGINT or SIGTERM
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) shutdown_addr: Option<SocketAddr>,
    /// Show metrics, in Prometheus's text format, at this address
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) metrics_addr: Option<SocketAddr>,
    /// Append a line for each request to this file; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
    /// Pass on what the program writes as it is, without `stdout [ID] :: ` before each line, with the request's number
    #[arg(long)]
    pub(crate) no_logging_prefix: bool,
    #[command(flatten)]
    pub(crate) program: ProgramArgs,
    /// Limit how many descriptors a request may have open [default: a quarter of `ulimit -n`]
    #[arg(long, value_name = "N", value_parser = text(parse_number))]
    pub(crate) max_open_fds: Option<usize>,
    /// Limit the time of a request, from its head to the end of its response: 500ms, 2s, 1.5, 10m; beyond, 504
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = text(parse_duration))]
    pub(crate) timeout: Duration,
    /// Close a connection that sends and takes nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = text(parse_duration))]
    pub(crate) idle_timeout: Duration,
    /// Let requests finish for this long when shutting down, then cut them off
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = text(parse_duration))]
    pub(crate) shutdown_timeout: Duration,
    /// Limit how many connections are open; more wait
    #[arg(long, alias = "max-concurrent-connections", value_name = "N", default_value = "1024", value_parser = text(parse_positive))]
    pub(crate) max_connections: usize,
    /// Limit how many requests run at a time, each on a thread; more wait
    #[arg(long, alias = "max-concurrent-requests", value_name = "N", default_value = "32", value_parser = text(parse_positive))]
    pub(crate) max_concurrency: usize,
    /// Limit how many requests wait; beyond, 503
    #[arg(long, value_name = "N", default_value = "256", value_parser = text(parse_number))]
    pub(crate) max_queue: usize,
    /// Limit the body of a request; k, m and g mean KiB, MiB and GiB; beyond, 413
    #[arg(long, value_name = "SIZE", default_value = "64m", value_parser = text(parse_size))]
    pub(crate) max_body: u64,
    /// Limit the headers of a request, and of a response, to this many bytes, at most 4m; beyond, 431
    #[arg(long, value_name = "SIZE", default_value = "32k", value_parser = text(parse_size))]
    pub(crate) max_header_bytes: u64,
    /// Limit how many requests to other servers each request may make [default: 64 at a time]
    #[arg(long, value_name = "N", value_parser = text(parse_count))]
    pub(crate) max_outgoing: Option<u64>,
    /// Limit how many requests an instance answers before it is dropped [default: 1 with WASI 0.2, 128 with 0.3]
    #[arg(long, value_name = "N", value_parser = text(parse_positive))]
    pub(crate) max_instance_reuse_count: Option<usize>,
    /// Limit how many requests an instance answers at the same time, with WASI 0.3 [default: 16; 1 with --fuel or --max-outgoing]
    #[arg(long, value_name = "N", value_parser = text(parse_positive))]
    pub(crate) max_instance_concurrent_reuse_count: Option<usize>,
    /// Drop an instance that has waited for another request for this long
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = text(parse_idle))]
    pub(crate) idle_instance_timeout: Duration,
    /// The component, binary or text; `-` reads it from standard input
    #[arg(value_name = "COMPONENT")]
    component: OsString,
}

impl ServeArgs {
    /// The component's file as written.
    pub(crate) fn component(&self) -> &OsStr {
        &self.component
    }
}

/// A time, which may be none.
fn parse_idle(text: &str) -> Result<Duration, String> {
    match text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) {
        "0" => Ok(Duration::ZERO),
        _ => parse_duration(text),
    }
}

fn parse_positive(text: &str) -> Result<usize, String> {
    match parse_number(text)? {
        0 => Err("expected a number above zero".into()),
        number => Ok(number),
    }
}
