//! `wasi:random`: its functions.

use crate::component::random::{bytes, number, seed};
use crate::component::rows::{Row, row};

pub(super) const RANDOM: &[Row] = &[
    row!("get-random-bytes" [I64] bytes),
    row!("get-random-u64" [] number),
];

pub(super) const INSECURE: &[Row] = &[
    row!("get-insecure-random-bytes" [I64] bytes),
    row!("get-insecure-random-u64" [] number),
];

pub(super) const INSECURE_SEED: &[Row] = &[row!("insecure-seed" [] seed)];
