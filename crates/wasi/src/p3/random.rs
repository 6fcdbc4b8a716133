//! `wasi:random`: its functions. What is asked for beyond the limit of one call is not made, as the interface allows.

use crate::component::call::{Call, Outcome};
use crate::component::lower::InPlace;
use crate::component::random::{make, number, seed};
use crate::component::rows::{Row, row};

pub(super) const RANDOM: &[Row] = &[
    row!("get-random-bytes" [I64] bytes),
    row!("get-random-u64" [] number),
];

pub(super) const INSECURE: &[Row] = &[
    row!("get-insecure-random-bytes" [I64] bytes),
    row!("get-insecure-random-u64" [] number),
];

pub(super) const INSECURE_SEED: &[Row] = &[row!("get-insecure-seed" [] seed)];

fn bytes(call: &mut Call<'_>) -> Outcome<InPlace> {
    let most = call.u64();
    let limit = call.ctx().max_random_bytes.max(1);
    make(call, most.min(limit))
}
