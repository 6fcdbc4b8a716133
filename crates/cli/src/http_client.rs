//! What makes components' requests to other servers.
//!
//! *Invariant:* a program that is granted no server, or asks for none, costs nothing here.

use std::io;

use tiered::decode::printable::Line;
use tiered_component::Component;
use tiered_http::client::{Client, Tls};
use tiered_wasi::WasiCtxBuilder;

use crate::network::{Kept, NetworkArgs};
use crate::output;

/// The interfaces whose functions make requests: one of 0.2, and two of 0.3.
const OUTGOING: [&str; 3] = [
    "wasi:http/outgoing-handler@",
    "wasi:http/client@",
    "wasi:http/handler@",
];

/// What a client needs of the files of this system, read before the process closes its doors.
pub(crate) struct Prepared(Option<Tls>);

impl Prepared {
    /// What `component` needs with the grants of `network`; nothing if it can't make a request anyway.
    pub(crate) fn new(network: &NetworkArgs, component: &Component) -> Option<Prepared> {
        let mut imports = component.called_imports();
        let is_outgoing = |name: &str| OUTGOING.iter().any(|known| name.starts_with(known));
        let calls = imports.any(|(interface, ..)| is_outgoing(&interface));
        if network.kept() == Kept::Nothing || !calls {
            return None;
        }
        let tls = Tls::platform();
        let tls = tls.map_err(|err| output::note(&format!("Warning: no TLS: {}", Line(err))));
        Some(Prepared(tls.ok()))
    }

    /// Has `builder`'s guest make requests by a client that is started at the first one.
    pub(crate) fn grant(self, builder: WasiCtxBuilder) -> WasiCtxBuilder {
        match self.0 {
            Some(tls) => builder.http_tls(tls),
            None => builder,
        }
    }

    /// Starts the client, with its thread.
    ///
    /// # Errors
    /// There are no threads or descriptors for it.
    pub(crate) fn start(self) -> io::Result<Client> {
        let builder = Client::builder();
        match self.0 {
            Some(tls) => builder.tls(tls),
            None => builder,
        }
        .start()
    }
}
