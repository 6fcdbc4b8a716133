//! `tiered serve`: a component answers HTTP requests, each with an instance of its own.
//!
//! *Invariant:* what a request does to its instance no other request sees: store, instance and context are made for it and
//! gone with it. What all share is the code and what is known of its heat.
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
    let component = load(
        args,
        source::load(&engine, cache.as_ref(), args.component())?,
    )?;
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
    let handler = Handler::new(engine, instances, grants, args.timeout, Arc::clone(&log));
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

/// The component, if it is one that serves.
fn load(args: &ServeArgs, program: Program) -> Result<Component, Failure> {
    let refused = |reason: &dyn Display| Failure::host(args.component().display(), reason);
    let component = match program {
        Program::Component(component) => component,
        Program::Module(_) => {
            return Err(refused(
                &"it is a core module, and only components serve; `tiered run` runs it",
            ));
        }
    };
    let (interface, _) = INCOMING_HANDLER;
    let exports = |wanted: &str| component.exports().any(|(name, _)| is_of(name, wanted));
    match exports(interface) {
        true => Ok(component),
        false => {
            let hint = match exports("wasi:cli/run@0.2") {
                true => "; `tiered run` runs it",
                false => "",
            };
            let exports = exported_functions(&component);
            Err(refused(&format!(
                "it exports no `wasi:http/incoming-handler` 0.2 to answer requests with{exports}{hint}"
            )))
        }
    }
}

/// Whether an interface is `wanted`, in some release of its 0.2 or in none.
fn is_of(name: &str, wanted: &str) -> bool {
    let parts = |name| str::split_once(name, '@').unwrap_or((name, "0.2"));
    let ((name, version), (wanted, _)) = (parts(name), parts(wanted));
    name == wanted && (version == "0.2" || version.starts_with("0.2."))
}

/// The component with all that it imports.
fn prepare(file: &OsStr, component: &Component) -> Result<InstancePre<WasiCtx>, Failure> {
    let failure = |err: &dyn Display| Failure::host(file.display(), err);
    let mut linker = Linker::new();
    tiered_wasi::p2::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx)
        .map_err(|err| failure(&err))?;
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
    fn interfaces_of_any_0_2_serve() {
        let serves = |name| is_of(name, INCOMING_HANDLER.0);
        assert!(serves("wasi:http/incoming-handler@0.2.0"));
        assert!(serves("wasi:http/incoming-handler@0.2.99"));
        assert!(!serves("wasi:http/incoming-handler@0.3.0"));
        assert!(!serves("wasi:http/incoming-handler@0.20.0"));
        assert!(!serves("wasi:http/outgoing-handler@0.2.0"));
    }
}
