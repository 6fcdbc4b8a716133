//! Which proposals are accepted: the one readable set.
//!
//! *Invariant:* nothing outside [`ACCEPTED`] gets into a [`Module`](crate::Module), whatever a configuration asks
//! for: the tiers implement exactly this set, and their memory safety stands on it.

use wasmparser::WasmFeatures;

/// WebAssembly 2.0; of 3.0 the relaxed vector instructions, and memories and tables of any number and with 64-bit indices;
/// memories with pages of a byte.
pub const ACCEPTED: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES);
