//! Answers requests: the context and the store of an instance, and what is said if that fails.

use std::ffi::OsString;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tiered::decode::printable::Name;
use tiered::{Engine, Store};
use tiered_component::InstancePre;
use tiered_http::client::Client;
use tiered_http::{Cancel, HandlerError, Reason, Request, Responder};
use tiered_wasi::p2::http::{HandleError, HttpLimits};
use tiered_wasi::serve::{Reuse, Service};
use tiered_wasi::{GrantedDir, Stdout, WasiCtx};

use super::log::Log;
use crate::args::ServeArgs;
use crate::context;
use crate::failure::Failure;
use crate::network::NetworkArgs;

/// What each instance is given.
pub(crate) struct Grants {
    argv0: OsString,
    env: Vec<(String, OsString)>,
    network: NetworkArgs,
    /// Has what is granted open; no guest has it.
    granted: WasiCtx,
    dirs: Vec<GrantedDir>,
    max_open_fds: Option<usize>,
    http_limits: HttpLimits,
    client: Option<Client>,
    /// What guests write has the request's number before each line.
    prefix: bool,
}

impl Grants {
    /// What `args` grant; it is all there, and the same for each request.
    ///
    /// # Errors
    /// As [`context::build`].
    pub(crate) fn new(args: &ServeArgs) -> Result<Grants, Failure> {
        let program = &args.program;
        let granted = context::build(program, args.component(), WasiCtx::builder())?;
        let env = context::environment(program)?;
        let mut http_limits = HttpLimits::default();
        http_limits.all_requests = args.max_outgoing.unwrap_or(http_limits.all_requests);
        Ok(Grants {
            argv0: context::argv0(program, args.component()).to_owned(),
            env: env
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            network: program.network.clone(),
            dirs: granted.granted_dirs(),
            granted,
            max_open_fds: args.max_open_fds,
            http_limits,
            client: None,
            prefix: !args.no_logging_prefix,
        })
    }

    /// What is granted, open.
    pub(crate) fn granted(&self) -> &WasiCtx {
        &self.granted
    }

    /// Has guests make requests to other servers by `client`.
    pub(crate) fn set_client(&mut self, client: Client) {
        self.client = Some(client);
    }

    /// The context of the instance that is made for the request with this number.
    fn context(&self, id: u64) -> Result<WasiCtx, HandlerError> {
        let mut builder = WasiCtx::builder()
            .arg(&self.argv0)
            .http_limits(self.http_limits.clone())
            .stdout(self.output("stdout", id))
            .stderr(self.output("stderr", id));
        if let Some(limit) = self.max_open_fds {
            builder = builder.max_open_fds(limit);
        }
        if let Some(client) = &self.client {
            builder = builder.http_client(client.clone());
        }
        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        builder = builder.env("REQUEST_ID", id.to_string());
        for dir in &self.dirs {
            builder = builder.preopen_granted(dir)?;
        }
        Ok(self.network.grant(builder).build()?)
    }

    fn output(&self, name: &str, id: u64) -> Stdout {
        match self.prefix {
            true => Stdout::Lines(format!("{name} [{id}] :: ")),
            false => Stdout::Inherit,
        }
    }
}

/// Has instances of a component answer requests.
pub(crate) struct Handler {
    service: Service<WasiCtx>,
    timeout: Duration,
    log: Arc<Log>,
}

impl Handler {
    pub(crate) fn new(
        engine: Engine,
        instances: InstancePre<WasiCtx>,
        grants: Grants,
        reuse: Reuse,
        timeout: Duration,
        log: Arc<Log>,
    ) -> Handler {
        let context: fn(&mut WasiCtx) -> &mut WasiCtx = |context| context;
        let service = Service::new(instances, context, reuse, move |id| {
            Ok(Store::new(&engine, grants.context(id)?)?)
        });
        Handler {
            service,
            timeout,
            log,
        }
    }

    /// Tells people why a request failed, and returns what the access log says of it.
    fn report(&self, asked: &Asked, error: HandlerError) -> HandlerError {
        let reason = match asked.cancel.reason() {
            // It did nothing wrong, and there is nobody to answer to.
            Some(Reason::ClientGone) => return error,
            Some(Reason::TimedOut) => format!("interrupted: timeout of {:?}", self.timeout),
            Some(Reason::Shutdown) => "interrupted: the server shuts down".into(),
            Some(_) | None => error.to_string(),
        };
        let mut message = format!("Error: request {} ({}): {reason}", asked.id, asked.what);
        if let Some(HandleError::Guest(tiered_component::Error::Trap(trap))) = error.downcast_ref()
        {
            let backtrace = trap.backtrace().to_string();
            if !backtrace.is_empty() {
                message.push_str("\n    wasm backtrace:");
            }
            for line in backtrace.lines() {
                // A string takes all that is written.
                let _ = write!(message, "\n    {line}");
            }
        }
        self.log.note(message);
        reason.into()
    }
}

/// What is known of a request once it is over.
struct Asked {
    id: u64,
    /// Method and path, without the query: that may hold what is secret.
    what: String,
    cancel: Cancel,
}

impl tiered_http::Handler for Handler {
    fn handle(&self, request: Request, responder: Responder) -> Result<(), HandlerError> {
        let asked = Asked {
            id: request.id,
            what: format!("{} {:?}", request.method, Name(request.path.path())),
            cancel: request.cancel.clone(),
        };
        self.service
            .handle(request, responder)
            .map_err(|error| self.report(&asked, error))
    }
}
