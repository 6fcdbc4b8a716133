//! `wasi:sockets/instance-network`: the one network there is.

use crate::component::call::{Call, Outcome};
use crate::component::lower::New;
use crate::component::resources::Network;
use crate::component::rows::{Row, row};

pub(super) const INSTANCE_NETWORK: &[Row] = &[row!("instance-network" [] instance_network)];

fn instance_network(_call: &mut Call<'_>) -> Outcome<New> {
    Ok(New::alone(Network))
}
