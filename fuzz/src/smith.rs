//! Modules of `wasm-smith`, with exactly the features that tiered accepts.

use arbitrary::{Arbitrary, Result, Unstructured};
use tiered::decode::proposals::ACCEPTED;
use tiered::decode::wasmparser::{ExternalKind, Parser, Payload, WasmFeatures};
use wasm_encoder::{ExportKind, ExportSection, RawSection};
use wasm_smith::{Config, InstructionKind, InstructionKinds, Module};

/// What a module is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Whether floats are there, and whether every NaN is made the canonical one.
    pub(crate) floats: Floats,
    /// Whether tags and exceptions are there.
    pub(crate) exceptions: bool,
    /// Whether typed references and what is garbage-collected are there; the generator has one switch for both.
    pub(crate) gc: bool,
    /// Whether vectors are there.
    pub(crate) vectors: bool,
    /// Whether relaxed instructions on them are there.
    pub(crate) relaxed: bool,
    /// Whether tail calls are there.
    pub(crate) tail_calls: bool,
    /// Whether shared memories and atomic accesses are there. It has no instruction that waits.
    pub(crate) threads: bool,
    /// Makes every memory and table say how large it may become.
    pub(crate) maxima: bool,
    /// Adds a counter that stops the program by `unreachable`, at the same place in every engine: a number of calls and
    /// iterations.
    pub(crate) counted: Option<u32>,
}

/// What a module does with floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Arbitrary)]
pub(crate) enum Floats {
    /// There are none.
    None,
    /// Every NaN that is computed becomes the canonical one.
    Canonical,
    /// As they come.
    Raw,
}

impl Shape {
    /// Any shape.
    pub(crate) fn any(u: &mut Unstructured<'_>) -> Result<Shape> {
        Ok(Shape {
            floats: u.arbitrary()?,
            exceptions: u.arbitrary()?,
            gc: u.arbitrary()?,
            vectors: u.arbitrary()?,
            relaxed: u.arbitrary()?,
            tail_calls: u.arbitrary()?,
            threads: u.arbitrary()?,
            maxima: u.arbitrary()?,
            counted: u.ratio(1, 4)?.then_some(1000),
        })
    }
}

/// A valid module of any shape.
pub(crate) fn any_module(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let shape = Shape::any(u)?;
    module(u, &shape)
}

/// The most that a memory begins with or may say to become.
const MEMORY_BYTES: u64 = 5 << 16;

/// A valid module that tiered must accept.
pub(crate) fn module(u: &mut Unstructured<'_>, shape: &Shape) -> Result<Vec<u8>> {
    let accepted = accepted();
    let config = Config {
        exceptions_enabled: shape.exceptions && accepted.exceptions_enabled,
        gc_enabled: shape.gc && accepted.gc_enabled,
        allow_floats: shape.floats != Floats::None,
        canonicalize_nans: shape.floats == Floats::Canonical,
        disallow_traps: u.ratio(1, 3)?,
        export_everything: u.ratio(7, 8)?,
        allowed_instructions: instructions(u)?,
        simd_enabled: shape.vectors,
        relaxed_simd_enabled: shape.vectors && shape.relaxed,
        tail_call_enabled: shape.tail_calls,
        threads_enabled: shape.threads,
        max_instructions: u.int_in_range(1..=400)?,
        max_funcs: u.int_in_range(1..=12)?,
        min_funcs: 1,
        max_imports: u.int_in_range(0..=8)?,
        max_tables: u.int_in_range(0..=4)?,
        max_memories: u.int_in_range(0..=3)?,
        memory_max_size_required: shape.maxima,
        table_max_size_required: shape.maxima,
        min_uleb_size: u.int_in_range(1..=5)?,
        ..accepted
    };
    let mut module = Module::new(config, u)?;
    let Some(steps) = shape.counted else {
        return Ok(module.to_bytes());
    };
    let counter = module
        .ensure_termination(steps)
        .expect("no body is of raw bytes");
    Ok(export_global(&module.to_bytes(), counter))
}

/// The name under which a counter is exported.
pub(crate) const COUNTER: &str = "the counter";

/// The module with an export of a global added, as [`COUNTER`].
fn export_global(module: &[u8], global: u32) -> Vec<u8> {
    let mut exports = ExportSection::new();
    let mut result = wasm_encoder::Module::new();
    let mut pending = true;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.expect("the module is valid");
        if let Payload::ExportSection(section) = &payload {
            for export in section.clone() {
                let export = export.expect("the module is valid");
                let kind = match export.kind {
                    ExternalKind::Func => ExportKind::Func,
                    ExternalKind::Table => ExportKind::Table,
                    ExternalKind::Memory => ExportKind::Memory,
                    ExternalKind::Tag => ExportKind::Tag,
                    _ => ExportKind::Global,
                };
                exports.export(export.name, kind, export.index);
            }
            continue;
        }
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        // Only start, elements, data and code come behind the exports.
        if pending && matches!(id, 8..=12) {
            pending = false;
            exports.export(COUNTER, ExportKind::Global, global);
            result.section(&exports);
        }
        let data = &module[range.start as usize..range.end as usize];
        result.section(&RawSection { id, data });
    }
    if pending {
        exports.export(COUNTER, ExportKind::Global, global);
        result.section(&exports);
    }
    result.finish()
}

/// Any module at all, of any proposal, valid or not.
pub(crate) fn foreign_module(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let config = Config {
        allow_invalid_funcs: true,
        generate_custom_sections: true,
        max_instructions: 60,
        max_funcs: 8,
        ..Config::arbitrary(u)?
    };
    Ok(Module::new(config, u)?.to_bytes())
}

/// Most of the time all kinds of instructions, sometimes a few, which then come close together.
fn instructions(u: &mut Unstructured<'_>) -> Result<InstructionKinds> {
    if u.ratio(2, 3)? {
        return Ok(InstructionKinds::all());
    }
    let mut kinds = vec![InstructionKind::Variable];
    for kind in [
        InstructionKind::Numeric,
        InstructionKind::Reference,
        InstructionKind::Parametric,
        InstructionKind::Table,
        InstructionKind::Memory,
        InstructionKind::Control,
        InstructionKind::VectorInt,
        InstructionKind::Vector,
    ] {
        if u.ratio(2, 3)? {
            kinds.push(kind);
        }
    }
    Ok(InstructionKinds::new(&kinds))
}

/// The features of `tiered_decode::proposals::ACCEPTED`, no more and no less.
fn accepted() -> Config {
    Config {
        bulk_memory_enabled: true,
        custom_page_sizes_enabled: true,
        memory64_enabled: true,
        extended_const_enabled: true,
        multi_value_enabled: true,
        reference_types_enabled: true,
        relaxed_simd_enabled: true,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        simd_enabled: true,
        wide_arithmetic_enabled: true,
        acquire_release_atomics_enabled: false,
        compact_imports_enabled: false,
        custom_descriptors_enabled: false,
        exceptions_enabled: ACCEPTED.contains(WasmFeatures::EXCEPTIONS),
        gc_enabled: ACCEPTED.contains(WasmFeatures::GC),
        multibyte_array_access_enabled: false,
        shared_everything_threads_enabled: false,
        tail_call_enabled: true,
        threads_enabled: true,
        limit_arrays_in_const_exprs: true,
        max_memory32_bytes: MEMORY_BYTES,
        max_memory64_bytes: MEMORY_BYTES.into(),
        max_table_elements: 100,
        max_globals: 12,
        max_data_segments: 8,
        max_element_segments: 8,
        ..Config::default()
    }
}
