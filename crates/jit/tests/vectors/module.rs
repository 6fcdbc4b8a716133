//! Modules with vectors.

use std::sync::Arc;

use tiered_decode::module::Config;
use tiered_decode::wasmparser::WasmFeatures;
use tiered_decode::{Module, proposals};

/// The module of this text.
pub(crate) fn module(text: String) -> Arc<Module> {
    proposals::accept_vectors();
    let config = Config {
        proposals: proposals::ACCEPTED | WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD,
        ..Config::default()
    };
    Arc::new(Module::with_config(text.into_bytes(), &config).expect("it is valid"))
}
