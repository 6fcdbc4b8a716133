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

use crate::component::call::Call;
use crate::component::guest::{Guest, MEMORY, RESULT};
use crate::component::lower::ResultForm;
use crate::ctx::WasiCtxBuilder;
use crate::p2::INTERFACES;

/// A guest that calls the functions of this version.
fn guest() -> Guest {
    guest_with(|builder| builder)
}

fn guest_with(add: impl FnOnce(WasiCtxBuilder) -> WasiCtxBuilder) -> Guest {
    Guest::new(INTERFACES, add)
}

/// Every row reads the arguments that it says it has, and stops at a result that does not fit into memory before it does
/// anything.
#[test]
fn a_bad_result_address_stops_the_guest_first() {
    for interface in INTERFACES {
        for row in interface.rows {
            if !matches!(row.result, ResultForm::Stored { .. }) {
                continue;
            }
            let mut guest = guest();
            guest.args = vec![0; row.params.len()];
            guest.args.push(MEMORY as u64 - 1);
            let stopped = (row.body)(&mut Call::new(&mut guest)).unwrap_err();
            let text = stopped.to_string();
            let says = text.contains("out of bounds") || text.contains("not a multiple");
            assert!(says, "{} {}: {text}", interface.name, row.name);
        }
    }
}
