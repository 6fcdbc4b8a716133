//! The body of a function: its locals and its ops, as they lie in the module's bytes.
//!
//! *Invariant:* a body handed out by a [`Module`](crate::Module) is valid, so reading it does not fail.
//! Called by the tiers, which translate bodies one at a time.

use crate::types::{Types, ValType};
use std::ops::Range;
use wasmparser::{BinaryReader, FunctionBody, OperatorsReader, WasmFeatures};

/// Where a body lies in the module's bytes: from the first byte after its size to the byte after its final `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRange {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl BodyRange {
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The body of a function.
#[derive(Clone, Copy, Debug)]
pub struct FuncBody<'a> {
    bytes: &'a [u8],
    offset: usize,
    features: WasmFeatures,
    types: &'a Types,
}

impl<'a> FuncBody<'a> {
    pub(crate) fn new(
        module: &'a [u8],
        range: BodyRange,
        features: WasmFeatures,
        types: &'a Types,
    ) -> FuncBody<'a> {
        FuncBody {
            bytes: &module[range.range()],
            offset: range.start as usize,
            features,
            types,
        }
    }

    /// Where the body begins in the module: its first byte after the size.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The body's bytes: locals, ops, the final `end`.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The number of bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a valid body holds two bytes at least"
    )]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The locals the body declares, in runs of one type; the parameters come before them and are not among them.
    pub fn locals(&self) -> impl Iterator<Item = (u32, ValType)> + use<'a> {
        let locals = self
            .to_wasmparser()
            .get_locals_reader()
            .into_iter()
            .flatten();
        let types = self.types;
        locals.map_while(move |local| {
            let (count, ty) = local.ok()?;
            Some((count, types.value(ty)?))
        })
    }

    /// The ops, with offsets from the start of the module.
    pub fn ops(&self) -> OperatorsReader<'a> {
        let body = self.to_wasmparser();
        // A valid body's locals can be read; an empty reader says "unexpected end" if they cannot.
        body.get_operators_reader()
            .unwrap_or_else(|_| OperatorsReader::new(self.reader_at_end()))
    }

    /// The same body as `wasmparser` has it.
    pub fn to_wasmparser(&self) -> FunctionBody<'a> {
        FunctionBody::new(BinaryReader::new_features(
            self.bytes,
            self.offset as u64,
            self.features,
        ))
    }

    fn reader_at_end(&self) -> BinaryReader<'a> {
        BinaryReader::new_features(&[], (self.offset + self.bytes.len()) as u64, self.features)
    }
}
