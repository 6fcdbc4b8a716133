//! Tests of the rows without a component.

mod cli;
mod filesystem;
mod guests;
#[cfg(feature = "http")]
mod http;
mod polling;
mod sockets;
mod streams;
pub(crate) mod wit;

use crate::component::guest::{Guest, MEMORY, RESULT, check_bad_result_addresses};
use crate::ctx::WasiCtxBuilder;
use crate::p2::INTERFACES;

/// A guest that calls the functions of this version.
fn guest() -> Guest {
    guest_with(|builder| builder)
}

fn guest_with(add: impl FnOnce(WasiCtxBuilder) -> WasiCtxBuilder) -> Guest {
    Guest::new(INTERFACES, add)
}

#[test]
fn a_bad_result_address_stops_the_guest_first() {
    check_bad_result_addresses(INTERFACES);
}
