//! Which proposals are accepted: the one readable set.
//!
//! *Invariant:* nothing outside [`ACCEPTED`] gets into a [`Module`](crate::Module), whatever a configuration asks
//! for: the tiers implement exactly this set, and their memory safety stands on it.

use std::sync::atomic::{AtomicBool, Ordering};

use wasmparser::WasmFeatures;

/// WebAssembly 2.0 without the vector instructions.
pub const ACCEPTED: WasmFeatures = WasmFeatures::WASM2.difference(WasmFeatures::SIMD);

static VECTORS: AtomicBool = AtomicBool::new(false);

/// Has this process accept vectors where a [`Config`](crate::Config) asks for them. For tests: what can be done with a
/// vector so far is to move it, to load and to store it.
#[doc(hidden)]
pub fn accept_vectors() {
    VECTORS.store(true, Ordering::Relaxed);
}

/// What a module may use at most.
pub(crate) fn accepted() -> WasmFeatures {
    match VECTORS.load(Ordering::Relaxed) {
        true => ACCEPTED
            .union(WasmFeatures::SIMD)
            .union(WasmFeatures::RELAXED_SIMD),
        false => ACCEPTED,
    }
}
