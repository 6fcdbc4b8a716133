//! WASI 0.2 for components: every function of its packages `io`, `cli`, `clocks`, `filesystem`, `random` and `sockets`, and with
//! the feature `http` those of `http`, as rows of a table. What they do are the operations that preview 1 has, too; here are this interface's words for them.
//!
//! A row is a function's name, its flat parameters, and a body. A body reads its arguments one after another from a
//! `Call`, and returns a value of a type that knows how it lies in memory; so neither an argument's index nor a
//! field's offset is written down. A test reads the interfaces' own definitions and compares every row with them.
//!
//! What is gated there as unstable, the time zones and `network-error-code`, is left out.
//!
//! Invariant: what a guest can have made of the host's (resources, descriptors, look-ups, bytes of one call) has a limit.
//! Invariant: an interface is there whether or not the guest was granted anything that it does; its calls deny.

mod call;
mod cli;
mod clocks;
mod error;
mod filesystem;
#[cfg(feature = "http")]
pub mod http;
mod link;
mod lookup;
mod lower;
mod network;
mod poll;
mod random;
mod resources;
mod rows;
mod sockopt;
mod streams;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

pub use link::add_to_linker;
pub(crate) use resources::Resources;

use rows::Interface;

/// How many resources a guest may have at once unless told otherwise.
pub(crate) const DEFAULT_MAX_RESOURCES: usize = 65_536;

/// How many random bytes one call makes at most unless told otherwise.
pub(crate) const DEFAULT_MAX_RANDOM_BYTES: u64 = 64 << 20;

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
