//! Tests of the rows without a component.

mod cli;
mod filesystem;
mod guests;
#[cfg(feature = "http")]
mod http;
mod sockets;
mod wit;

use crate::component::guest::{Guest, RESULT, check_bad_result_addresses};
use crate::ctx::WasiCtxBuilder;
use crate::p3::INTERFACES;

/// A guest that calls the functions of this version.
fn guest() -> Guest {
    guest_with(|builder| builder)
}

fn guest_with(add: impl FnOnce(WasiCtxBuilder) -> WasiCtxBuilder) -> Guest {
    Guest::new(INTERFACES, add)
}

/// A stream and the future of its ending, which are at [`RESULT`].
fn stream_and_ending(guest: &Guest) -> (u32, u32) {
    (guest.u32_at(RESULT), guest.u32_at(RESULT + 4))
}

#[test]
fn a_bad_result_address_stops_the_guest_first() {
    check_bad_result_addresses(INTERFACES);
}
