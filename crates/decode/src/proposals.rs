//! Which proposals are accepted: the one readable set; and the names of all.
//!
//! *Invariant:* nothing outside [`ACCEPTED`] gets into a [`Module`](crate::Module), whatever a configuration asks
//! for: the tiers implement exactly this set, and their memory safety stands on it.

use wasmparser::WasmFeatures;

/// WebAssembly 2.0; of 3.0 the relaxed vector instructions, typed references to functions, tail calls, exceptions, extended
/// constant expressions, and memories and tables of any number and with 64-bit indices; exceptions as they were before 3.0,
/// memories with pages of a byte, and wide arithmetic.
pub const ACCEPTED: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::WIDE_ARITHMETIC);

/// What has no types that refer to other types, nor exceptions: the validator keeps types once for each that is written, and
/// looks for no equal ones.
pub(crate) const PLAIN_TYPES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::CUSTOM_PAGE_SIZES)
    .union(WasmFeatures::WIDE_ARITHMETIC);

/// Every proposal for modules: its name as subject and verb, and whether it is meant to be accepted one day.
///
/// One that contains another comes first.
#[rustfmt::skip]
const PROPOSALS: &[(WasmFeatures, &str, bool)] = &[
    (WasmFeatures::TAIL_CALL, "tail calls are", true),
    (WasmFeatures::FUNCTION_REFERENCES, "typed function references are", true),
    (WasmFeatures::GC, "garbage-collected types (GC) are", true),
    (WasmFeatures::EXCEPTIONS, "exceptions are", true),
    (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exceptions are", true),
    (WasmFeatures::THREADS, "threads are", true),
    (WasmFeatures::MEMORY64, "64-bit memories and tables (memory64) are", true),
    (WasmFeatures::MULTI_MEMORY, "several memories in a module (multi-memory) are", true),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes are", true),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic is", true),
    (WasmFeatures::STACK_SWITCHING, "stack switching is", false),
    (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors are", false),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads are", false),
    (WasmFeatures::ACQUIRE_RELEASE_ATOMICS, "acquire-release atomics are", false),
    (WasmFeatures::MEMORY_CONTROL, "memory control is", false),
    (WasmFeatures::MULTIBYTE_ARRAY_ACCESS, "multibyte array access is", false),
    (WasmFeatures::COMPACT_IMPORTS, "compact import sections are", false),
    // Accepted, but a configuration may narrow that.
    (WasmFeatures::MUTABLE_GLOBAL, "mutable globals in imports and exports are", true),
    (WasmFeatures::SATURATING_FLOAT_TO_INT, "saturating conversions are", true),
    (WasmFeatures::SIGN_EXTENSION, "sign extensions are", true),
    (WasmFeatures::REFERENCE_TYPES, "reference types are", true),
    (WasmFeatures::MULTI_VALUE, "several results or parameters of blocks (multi-value) are", true),
    (WasmFeatures::BULK_MEMORY, "bulk memory instructions are", true),
    (WasmFeatures::BULK_MEMORY_OPT, "bulk memory instructions are", true),
    (WasmFeatures::SIMD, "vector instructions (SIMD) are", true),
    (WasmFeatures::RELAXED_SIMD, "relaxed vector instructions (relaxed SIMD) are", true),
    (WasmFeatures::EXTENDED_CONST, "extended constant expressions are", true),
    (WasmFeatures::FLOATS, "floats are", true),
    (WasmFeatures::GC_TYPES, "references to the host's values are", true),
    (WasmFeatures::CALL_INDIRECT_OVERLONG, "long table indices in calls are", true),
];

/// All proposals for modules, accepted or not.
pub(crate) fn all() -> WasmFeatures {
    PROPOSALS
        .iter()
        .fold(ACCEPTED, |all, &(proposal, ..)| all.union(proposal))
}

/// The proposals that are not in `accepted`.
pub(crate) fn refused(accepted: WasmFeatures) -> impl Iterator<Item = WasmFeatures> {
    let all = PROPOSALS.iter().map(|&(proposal, ..)| proposal);
    all.filter(move |&proposal| !accepted.contains(proposal))
}

/// What is said of a module that needs `proposal`.
pub(crate) fn refusal(proposal: WasmFeatures) -> String {
    let named = PROPOSALS.iter().find(|(known, ..)| *known == proposal);
    let Some((_, subject, is_planned)) = named else {
        return "the module needs a proposal that is not supported".to_owned();
    };
    if ACCEPTED.contains(proposal) {
        return format!("{subject} turned off");
    }
    let yet = if *is_planned { " yet" } else { "" };
    format!("{subject} not supported{yet}")
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
