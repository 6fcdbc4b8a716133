//! WASI 0.2 for components: every function of its packages `io`, `cli`, `clocks`, `filesystem`, `random` and `sockets`, and with
//! the feature `http` those of `http`, as rows of a table. What they do are the operations that preview 1 has, too; here are
//! this interface's words for them. A test reads the interfaces' own definitions and compares every row with them.
//!
//! What is gated there as unstable, the time zones and `network-error-code`, is left out.

mod cli;
mod clocks;
pub(crate) mod error;
mod filesystem;
#[cfg(feature = "http")]
pub mod http;
mod lookup;
mod network;
pub(crate) mod poll;
mod random;
pub(crate) mod streams;
mod tcp;
mod udp;

#[cfg(test)]
pub(crate) mod tests;

use tiered_component::{LinkError, Linker};

use crate::component::link;
use crate::component::resources::Version;
use crate::component::rows::Interface;
use crate::ctx::WasiCtx;

macro_rules! interfaces {
    ($($(#[$only:meta])? $name:literal = $rows:expr;)*) => {
        /// Every interface with functions. Those that have types only are told by the resources of these.
        pub(crate) const INTERFACES: &[Interface] = &[$(
            $(#[$only])?
            Interface { name: concat!("wasi:", $name, "@0.2.12"), rows: $rows },
        )*];
    };
}

interfaces! {
    "io/error" = error::ROWS;
    "io/poll" = poll::ROWS;
    "io/streams" = streams::ROWS;
    "cli/environment" = cli::ENVIRONMENT;
    "cli/exit" = cli::EXIT;
    "cli/stdin" = cli::STDIN;
    "cli/stdout" = cli::STDOUT;
    "cli/stderr" = cli::STDERR;
    "cli/terminal-stdin" = cli::TERMINAL_STDIN;
    "cli/terminal-stdout" = cli::TERMINAL_STDOUT;
    "cli/terminal-stderr" = cli::TERMINAL_STDERR;
    "clocks/monotonic-clock" = clocks::MONOTONIC_CLOCK;
    "clocks/wall-clock" = clocks::WALL_CLOCK;
    "filesystem/types" = filesystem::TYPES;
    "filesystem/preopens" = filesystem::PREOPENS;
    "random/random" = random::RANDOM;
    "random/insecure" = random::INSECURE;
    "random/insecure-seed" = random::INSECURE_SEED;
    "sockets/instance-network" = network::INSTANCE_NETWORK;
    "sockets/ip-name-lookup" = lookup::ROWS;
    "sockets/tcp" = tcp::TCP;
    "sockets/tcp-create-socket" = tcp::CREATE;
    "sockets/udp" = udp::UDP;
    "sockets/udp-create-socket" = udp::CREATE;
    #[cfg(feature = "http")]
    "http/types" = http::TYPES;
    #[cfg(feature = "http")]
    "http/outgoing-handler" = http::OUTGOING_HANDLER;
}

/// Defines WASI 0.2 in `linker`, HTTP with the feature `http`; `get` finds the context in the store's data.
///
/// ```
/// use tiered_wasi::WasiCtx;
///
/// let mut linker = tiered_component::Linker::<WasiCtx>::new();
/// tiered_wasi::p2::add_to_linker(&mut linker, |ctx| ctx)?;
/// # Ok::<(), tiered_component::LinkError>(())
/// ```
///
/// # Errors
/// The linker has a definition of one of these names.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
) -> Result<(), LinkError> {
    link::define(linker, get, Version::P2, INTERFACES)
}
