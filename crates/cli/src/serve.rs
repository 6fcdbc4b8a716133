//! `tiered serve`: a component answers HTTP requests, with an instance for each, or for several if it is one of WASI 0.3 or the
//! options say so.
//!
//! *Invariant:* what a request does to its instance only those see that share the instance. What all share is the code and
//! what is known of its heat.
//! *Invariant:* all sockets listen, and all files are open, before the kernel is asked to hold the process; no thread is
//! started before.

mod handler;
mod log;
mod stop;

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tiered_component::{Component, InstancePre, Linker};
use tiered_http::{Limits, Server};
use tiered_wasi::WasiCtx;
use tiered_wasi::p2::http::INCOMING_HANDLER;
use tiered_wasi::p3::http::HANDLER;
use tiered_wasi::serve::Reuse;

use crate::args::ServeArgs;
use crate::component::exported_functions;
use crate::failure::Failure;
use crate::source::Program;
use crate::{cache, engine, http_client, output, sandbox, source};

use handler::{Grants, Handler};
use log::Log;
use stop::Stop;

pub(crate) use stop::{hold_signals, release_signals};

/// Bytes of native stack of a thread that runs a guest: as many as the main thread mostly has.
const STACK_BYTES: usize = 8 << 20;

/// Serves until it is told to stop.
///
/// # Errors
/// The component can't serve, an address can't be listened at, or the host refuses something else.
pub(crate) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let mut stop = Stop::new().map_err(|err| Failure::io("the signals to stop", &err))?;
    allow_many_files();
    let engine = engine::new(&engine::program_config(&args.program))?;
    let cache = cache::of_program(&args.program.cache);
    let program = source::load(&engine, cache.as_ref(), args.component())?;
    let (component, version) = load(args, program)?;
    let reuse = reuse(args, version)?;
    let instances = prepare(args.component(), &component)?;
    let mut grants = Grants::new(args)?;
    let client = http_client::Prepared::new(&args.program.network, &component);

    let listener = listen("--addr", args.addr)?;
    if let Some(addr) = args.shutdown_addr {
        let listener = listen("--shutdown-addr", addr)?;
        if let Ok(addr) = listener.local_addr() {
            output::note(&format!("Shutting down on a connection to {addr}"));
        }
        stop.listen(listener);
    }
    let metrics = args.metrics_addr.map(|addr| listen("--metrics-addr", addr));
    let metrics = metrics.transpose()?;
    let access_log = args.access_log.as_deref().map(open_log).transpose()?;

    sandbox::enter_to_serve(&args.program, &engine, grants.granted())?;
    let host = |err: &dyn Display| Failure::host("the server", err);
    if let Some(client) = client {
        grants.set_client(client.start().map_err(|err| host(&err))?);
    }
    let log = Arc::new(Log::start().map_err(|err| host(&err))?);
    let mut builder = Server::builder().limits(limits(args));
    if let Some(out) = access_log {
        builder = builder.access_log(out);
    }
    if let Some(listener) = metrics {
        say_address("Showing metrics on", &listener);
        builder = builder.metrics_listener(listener);
    }
    say_address("Serving HTTP on", &listener);
    let log_of_handler = Arc::clone(&log);
    let handler = Handler::new(
        engine,
        instances,
        grants,
        reuse,
        args.timeout,
        log_of_handler,
    );
    let server = builder.start(listener, handler).map_err(|err| host(&err))?;

    stop.wait().map_err(|err| host(&err))?;
    // Who asks twice does not want to wait.
    stop.end_at_the_next_signal().map_err(|err| host(&err))?;
    let shutdown = server.shutdown(args.shutdown_timeout);
    log.end();
    match shutdown.cut {
        0 => {}
        1 => output::note("Cut off 1 unfinished request"),
        cut => output::note(&format!("Cut off {cut} unfinished requests")),
    }
    Ok(ExitCode::SUCCESS)
}

/// A server may have as many files open as the system lets it: each connection is one.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // It goes on with what it has.
    let _ = setrlimit(Resource::Nofile, most);
}

/// What a component answers requests with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `wasi:http/incoming-handler` 0.2.
    P2,
    /// `wasi:http/handler` 0.3.
    P3,
}

/// The component, if it is one that serves. If it can do so by both versions, it does by 0.3.
fn load(args: &ServeArgs, program: Program) -> Result<(Component, Version), Failure> {
    let refused = |reason: &dyn Display| Failure::host(args.component().display(), reason);
    let component = match program {
        Program::Component(component) => component,
        Program::Module(_) => {
            return Err(refused(
                &"it is a core module, and only components serve; `tiered run` runs it",
            ));
        }
    };
    let exports = |wanted: &str| component.exports().any(|(name, _)| is_of(name, wanted));
    if exports(HANDLER.0) {
        return Ok((component, Version::P3));
    }
    if exports(INCOMING_HANDLER.0) {
        return Ok((component, Version::P2));
    }
    let hint = match exports("wasi:cli/run@0.2.0") || exports("wasi:cli/run@0.3.0") {
        true => "; `tiered run` runs it",
        false => "",
    };
    let exports = exported_functions(&component);
    Err(refused(&format!(
        "it exports no `wasi:http/handler` 0.3 and no `wasi:http/incoming-handler` 0.2 to answer requests with{exports}{hint}"
    )))
}

/// Whether an interface is `wanted`, in any release of the same version 0.x.
fn is_of(name: &str, wanted: &str) -> bool {
    let parts = |name| str::split_once(name, '@').unwrap_or((name, "0.2.0"));
    // A release candidate is compatible with nothing else.
    let minor = |version: &str| {
        let (minor, patch) = version.strip_prefix("0.")?.split_once('.')?;
        patch.parse::<u64>().ok()?;
        minor.parse::<u64>().ok()
    };
    let ((name, version), (wanted, wanted_version)) = (parts(name), parts(wanted));
    name == wanted && minor(version).is_some() && minor(version) == minor(wanted_version)
}

/// How instances are used again.
fn reuse(args: &ServeArgs, version: Version) -> Result<Reuse, Failure> {
    let each_alone = args.program.fuel.is_some() || args.max_outgoing.is_some();
    let concurrent = args.max_instance_concurrent_reuse_count;
    if each_alone && version == Version::P3 && concurrent.is_some_and(|count| count > 1) {
        return Err(Failure::host(
            "--max-instance-concurrent-reuse-count",
            "what --fuel and --max-outgoing count is each request's, so an instance can answer one at a time only",
        ));
    }
    let (requests, most) = match version {
        Version::P2 => (1, 1),
        Version::P3 if each_alone => (128, 1),
        Version::P3 => (128, 16),
    };
    let mut reuse = Reuse::default();
    reuse.requests = args.max_instance_reuse_count.unwrap_or(requests);
    reuse.concurrent = concurrent.unwrap_or(most);
    reuse.idle = args.idle_instance_timeout;
    reuse.fuel = args.program.fuel;
    Ok(reuse)
}

/// The component with all that it imports.
fn prepare(file: &OsStr, component: &Component) -> Result<InstancePre<WasiCtx>, Failure> {
    let failure = |err: &dyn Display| Failure::host(file.display(), err);
    let mut linker = Linker::new();
    let context: fn(&mut WasiCtx) -> &mut WasiCtx = |ctx| ctx;
    tiered_wasi::p2::add_to_linker(&mut linker, context).map_err(|err| failure(&err))?;
    tiered_wasi::p3::add_to_linker(&mut linker, context).map_err(|err| failure(&err))?;
    let prepared = linker.instantiate_pre(component);
    prepared.map_err(|err| failure(&err))
}

fn listen(option: &str, addr: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(addr).map_err(|err| Failure::io(format!("{option} {addr}"), &err))
}

/// Says where a socket listens: the system may have picked its port.
fn say_address(what: &str, listener: &TcpListener) {
    if let Ok(addr) = listener.local_addr() {
        output::note(&format!("{what} http://{addr}/"));
    }
}

/// The access log: a file that is appended to, or standard output.
fn open_log(path: &Path) -> Result<Box<dyn Write + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    match file {
        Ok(file) => Ok(Box::new(file)),
        Err(err) => Err(Failure::io(
            format!("--access-log {}", path.display()),
            &err,
        )),
    }
}

/// What clients get at most.
fn limits(args: &ServeArgs) -> Limits {
    let mut limits = Limits::default();
    limits.header_bytes = usize::try_from(args.max_header_bytes).unwrap_or(usize::MAX);
    limits.request_body = args.max_body;
    limits.head_time = args.idle_timeout;
    limits.idle_time = args.idle_timeout;
    limits.response_time = args.timeout;
    limits.connections = args.max_connections;
    limits.concurrency = args.max_concurrency;
    limits.queue = args.max_queue;
    limits.stack = STACK_BYTES;
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_of_any_release_serve() {
        let serves = |name| is_of(name, INCOMING_HANDLER.0);
        assert!(serves("wasi:http/incoming-handler@0.2.0"));
        assert!(serves("wasi:http/incoming-handler@0.2.99"));
        assert!(!serves("wasi:http/incoming-handler@0.3.0"));
        assert!(!serves("wasi:http/incoming-handler@0.20.0"));
        assert!(!serves("wasi:http/outgoing-handler@0.2.0"));
        let serves = |name| is_of(name, HANDLER.0);
        assert!(serves("wasi:http/handler@0.3.0"));
        assert!(serves("wasi:http/handler@0.3.2"));
        assert!(!serves("wasi:http/handler@0.3.0-rc-2026-03-15"));
        assert!(!serves("wasi:http/handler@0.2.0"));
        assert!(!serves("wasi:http/client@0.3.0"));
    }
}
