//! Which proposals are accepted: the one readable set; and the names of all.
//!
//! *Invariant:* nothing outside [`ACCEPTED`] gets into a [`Module`](crate::Module), whatever a configuration asks
//! for: the tiers implement exactly this set, and their memory safety stands on it.

use wasmparser::WasmFeatures;

/// WebAssembly 3.0; exceptions as they were before it, threads, memories with pages of a byte, and wide arithmetic.
pub const ACCEPTED: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::WIDE_ARITHMETIC);

/// Every proposal for modules: its name as subject and verb.
///
/// One that contains another comes first.
#[rustfmt::skip]
const PROPOSALS: &[(WasmFeatures, &str)] = &[
    (WasmFeatures::TAIL_CALL, "tail calls are"),
    (WasmFeatures::FUNCTION_REFERENCES, "typed function references are"),
    (WasmFeatures::GC, "garbage-collected types (GC) are"),
    (WasmFeatures::EXCEPTIONS, "exceptions are"),
    (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exceptions are"),
    (WasmFeatures::THREADS, "threads are"),
    (WasmFeatures::MEMORY64, "64-bit memories and tables (memory64) are"),
    (WasmFeatures::MULTI_MEMORY, "several memories in a module (multi-memory) are"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes are"),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic is"),
    (WasmFeatures::STACK_SWITCHING, "stack switching is"),
    (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors are"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads are"),
    (WasmFeatures::ACQUIRE_RELEASE_ATOMICS, "acquire-release atomics are"),
    (WasmFeatures::MEMORY_CONTROL, "memory control is"),
    (WasmFeatures::MULTIBYTE_ARRAY_ACCESS, "multibyte array access is"),
    (WasmFeatures::COMPACT_IMPORTS, "compact import sections are"),
    // Accepted, but a configuration may narrow that.
    (WasmFeatures::MUTABLE_GLOBAL, "mutable globals in imports and exports are"),
    (WasmFeatures::SATURATING_FLOAT_TO_INT, "saturating conversions are"),
    (WasmFeatures::SIGN_EXTENSION, "sign extensions are"),
    (WasmFeatures::REFERENCE_TYPES, "reference types are"),
    (WasmFeatures::MULTI_VALUE, "several results or parameters of blocks (multi-value) are"),
    (WasmFeatures::BULK_MEMORY, "bulk memory instructions are"),
    (WasmFeatures::BULK_MEMORY_OPT, "bulk memory instructions are"),
    (WasmFeatures::SIMD, "vector instructions (SIMD) are"),
    (WasmFeatures::RELAXED_SIMD, "relaxed vector instructions (relaxed SIMD) are"),
    (WasmFeatures::EXTENDED_CONST, "extended constant expressions are"),
    (WasmFeatures::FLOATS, "floats are"),
    (WasmFeatures::GC_TYPES, "references to the host's values are"),
    (WasmFeatures::CALL_INDIRECT_OVERLONG, "long table indices in calls are"),
];

/// All proposals for modules, accepted or not.
pub(crate) fn all() -> WasmFeatures {
    PROPOSALS
        .iter()
        .fold(ACCEPTED, |all, &(proposal, _)| all.union(proposal))
}

/// The proposals that are not in `accepted`.
pub(crate) fn refused(accepted: WasmFeatures) -> impl Iterator<Item = WasmFeatures> {
    let all = PROPOSALS.iter().map(|&(proposal, _)| proposal);
    all.filter(move |&proposal| !accepted.contains(proposal))
}

/// What is said of a module that needs `proposal`.
pub(crate) fn refusal(proposal: WasmFeatures) -> String {
    let named = PROPOSALS.iter().find(|(known, _)| *known == proposal);
    let Some((_, subject)) = named else {
        return "the module needs a proposal that is not supported".to_owned();
    };
    if ACCEPTED.contains(proposal) {
        format!("{subject} turned off")
    } else {
        format!("{subject} not supported")
    }
}

#[cfg(test)]
mod tests {
    use super::all;
    use wasmparser::WasmFeatures;

    #[test]
    fn every_proposal_for_modules_has_a_name() {
        let of_components = |name: &str| name.starts_with("CM") || name == "COMPONENT_MODEL";
        for (name, feature) in WasmFeatures::all().iter_names() {
            assert_eq!(all().contains(feature), !of_components(name), "{name}");
        }
    }
}
