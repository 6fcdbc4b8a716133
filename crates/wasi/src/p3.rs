//! WASI 0.3 for components: every function of its packages `cli`, `clocks`, `filesystem`, `random` and `sockets`, and with the
//! feature `http` those of `http`, as rows of a table. What they do is what 0.2's do, on the same objects; a component may use both, and they share descriptors, streams
//! and limits. A test reads the interfaces' own definitions and compares every row with them.
//!
//! A function that the interfaces call `async` is a row like any other: whether the guest waits for it or goes on meanwhile
//! is a matter of the component model. Files are done with when the call returns. What has to wait, for a clock, a socket or a
//! pipe, returns what is pending, and the component model's event loop asks again when the host says so.
//!
//! What is gated there as unstable, the time zones, is left out.

mod cli;
mod clocks;
mod codes;
mod filesystem;
#[cfg(feature = "http")]
pub mod http;
mod lookup;
mod random;
mod streams;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

use tiered_component::{LinkError, Linker};

use crate::component::link;
use crate::component::resources::Version;
use crate::component::rows::Interface;
use crate::ctx::WasiCtx;

macro_rules! interfaces {
    ($($(#[$only:meta])? $name:literal = $rows:expr;)*) => {
        /// Every interface with functions, one with two resources in two parts. Those that have types only are told by the
        /// resources of these.
        pub(crate) const INTERFACES: &[Interface] = &[$(
            $(#[$only])?
            Interface { name: concat!("wasi:", $name, "@0.3.2"), rows: $rows },
        )*];
    };
}

interfaces! {
    "cli/environment" = cli::ENVIRONMENT;
    "cli/exit" = cli::EXIT;
    "cli/stdin" = cli::STDIN;
    "cli/stdout" = cli::STDOUT;
    "cli/stderr" = cli::STDERR;
    "cli/terminal-stdin" = cli::TERMINAL_STDIN;
    "cli/terminal-stdout" = cli::TERMINAL_STDOUT;
    "cli/terminal-stderr" = cli::TERMINAL_STDERR;
    "clocks/monotonic-clock" = clocks::MONOTONIC_CLOCK;
    "clocks/system-clock" = clocks::SYSTEM_CLOCK;
    "filesystem/types" = filesystem::TYPES;
    "filesystem/preopens" = filesystem::PREOPENS;
    "random/random" = random::RANDOM;
    "random/insecure" = random::INSECURE;
    "random/insecure-seed" = random::INSECURE_SEED;
    "sockets/ip-name-lookup" = lookup::ROWS;
    "sockets/types" = tcp::TCP;
    "sockets/types" = udp::UDP;
    #[cfg(feature = "http")]
    "http/types" = http::TYPES;
    #[cfg(feature = "http")]
    "http/client" = http::CLIENT;
    #[cfg(feature = "http")]
    "http/handler" = http::HANDLER_ROWS;
}

/// Defines WASI 0.3 in `linker`, HTTP with the feature `http`; `get` finds the context in the store's data.
///
/// ```
/// use tiered_wasi::WasiCtx;
///
/// let mut linker = tiered_component::Linker::<WasiCtx>::new();
/// tiered_wasi::p2::add_to_linker(&mut linker, |ctx| ctx)?;
/// tiered_wasi::p3::add_to_linker(&mut linker, |ctx| ctx)?;
/// # Ok::<(), tiered_component::LinkError>(())
/// ```
///
/// # Errors
/// The linker has a definition of one of these names.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> &mut WasiCtx,
) -> Result<(), LinkError> {
    link::define(linker, get, Version::P3, INTERFACES)
}
