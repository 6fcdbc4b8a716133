//! Sections of very many types.
//!
//! The validator keeps all that types are and, if one may refer to another, a table in which it finds equal ones: a million
//! types of ten parameters take it 600 MB, much more than they take afterwards. So
//!
//! * what a module repeats without end it is told to keep once ([`repeated_types`]);
//! * where types refer to no others, a module is first taken for one that has no such types at all ([`plain_types`]): the
//!   validator needs no table then. And types become ours only when it is gone. A module that is refused so is read again.
//!
//! *Invariant:* which way a module is read has no effect on whether it is accepted.
//! Called by [`Module::with_config`](crate::Module::with_config) and `section.rs`.

use std::collections::HashMap;

use wasmparser::{BinaryReader, Parser, Payload, TypeSectionReader, WasmFeatures};

use crate::error::Error;
use crate::section::unsupported_type;
use crate::types::Types;

/// The byte that function types begin with.
const FUNC: u8 = 0x60;

/// The byte that explicit recursion groups begin with.
const REC: u8 = 0x4e;

/// A section of fewer types is read as it is.
const MIN_REPEATED_TYPES: usize = 4096;

/// For each type, the first one that has the same bytes; `None` unless there are many and few are distinct, for a section
/// with explicit recursion groups, and for one that is not valid.
pub(crate) fn repeated_types(bytes: &[u8], section: &TypeSectionReader<'_>) -> Option<Vec<u32>> {
    let count = section.count() as usize;
    if count < MIN_REPEATED_TYPES {
        return None;
    }
    let end = section.range().end;
    let mut starts = section.clone().into_iter_with_offsets();
    let mut start = starts.next()?.ok()?.0;
    let mut known: HashMap<&[u8], u32> = HashMap::new();
    let mut places = Vec::new();
    loop {
        let next = starts.next().transpose().ok()?.map(|(offset, _)| offset);
        let ty = bytes.get(start as usize..next.unwrap_or(end) as usize)?;
        if ty.first() == Some(&REC) {
            return None;
        }
        let place = places.len() as u32;
        let place = *known.entry(ty).or_insert(place);
        places.push(place);
        if known.len() > count / 8 {
            return None;
        }
        match next {
            Some(next) => start = next,
            None => return Some(places),
        }
    }
}

/// The section of types of a module that has many, of which few are equal and none refers to another one. It may not be
/// valid.
pub(crate) fn plain_types(bytes: &[u8]) -> Option<TypeSectionReader<'_>> {
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.ok()? {
            Payload::Version { .. } | Payload::CustomSection(_) => {}
            Payload::TypeSection(section) => {
                let count = section.count() as usize;
                let is_taken = count >= MIN_REPEATED_TYPES
                    && repeated_types(bytes, &section).is_none()
                    && are_plain(bytes, &section)?;
                return is_taken.then_some(section);
            }
            _ => return None,
        }
    }
    None
}

/// Whether all are function types of values whose types are a byte each; `None` if that can't be read.
fn are_plain(bytes: &[u8], section: &TypeSectionReader<'_>) -> Option<bool> {
    let range = section.range();
    let contents = bytes.get(range.start as usize..range.end as usize)?;
    let mut reader = BinaryReader::new(contents, range.start);
    for _ in 0..reader.read_var_u32().ok()? {
        if reader.read_u8().ok()? != FUNC {
            return Some(false);
        }
        // Parameters and results.
        for _ in 0..2 {
            let count = reader.read_var_u32().ok()?;
            let types = reader.read_bytes(count as usize).ok()?;
            if !types.iter().all(|&ty| is_plain(ty)) {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// Whether this is the whole of a type of WebAssembly 2.0.
fn is_plain(ty: u8) -> bool {
    matches!(ty, 0x7b..=0x7f | 0x70 | 0x6f)
}

/// What has types that refer to other types, and exceptions: with these, the validator looks for equal types.
const NOT_PLAIN: WasmFeatures = WasmFeatures::FUNCTION_REFERENCES
    .union(WasmFeatures::GC)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS);

/// What is accepted of a module with plain types at first.
pub(crate) fn features(accepted: WasmFeatures) -> WasmFeatures {
    accepted.difference(NOT_PLAIN)
}

/// The types of a section that the validator has accepted.
pub(crate) fn read(section: TypeSectionReader<'_>) -> Result<Types, Error> {
    let mut types = Types::default();
    types.reserve(section.count() as usize);
    types.reserve_groups(section.count() as usize);
    for group in section {
        types.push(&group?).ok_or_else(unsupported_type)?;
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Module;

    /// Distinct function types, and what is behind them.
    fn text(count: usize, rest: &str) -> String {
        let ty = |index: usize| {
            let params = (0..8)
                .map(|digit| ["i32 ", "f64 ", "v128 ", "externref "][index >> (2 * digit) & 3]);
            format!(
                "(type (func (param {}) (result i32)))",
                params.collect::<String>()
            )
        };
        format!("(module {} {rest})", (0..count).map(ty).collect::<String>())
    }

    fn binary(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn are_taken(text: &str) -> bool {
        plain_types(&binary(text)).is_some()
    }

    #[test]
    fn many_types_that_refer_to_none_are_plain() {
        assert!(are_taken(&text(5000, "")));
        assert!(are_taken(&text(5000, "(func (local funcref))")));
        assert!(!are_taken(&text(4000, "")), "few");
        for other in [
            "(type (func (param (ref null 3))))",
            "(type (func (result (ref extern))))",
            "(type (func (param exnref)))",
            "(rec (type (func)))",
            "(type (sub (func)))",
        ] {
            assert!(!are_taken(&text(5000, other)), "{other}");
        }
        let few = "(type (func (param i64)))".repeat(5000);
        assert!(!are_taken(&format!("(module {few})")), "equal");
        let bytes = binary(&text(5000, ""));
        for end in [20, 3000, bytes.len() - 1] {
            assert!(plain_types(&bytes[..end]).is_none(), "{end}");
        }
    }

    /// What is behind the types decides nothing of whether they can be there.
    #[test]
    fn modules_of_many_types_are_accepted_as_others_are() {
        let rests = [
            "(func (export \"f\") (type 7) (i32.const 1))",
            "(func (param funcref) (drop (ref.as_non_null (local.get 0))))",
            "(tag (type 5000)) (func) (table (ref null 3) (elem))",
            "(type (func (param i64))) (tag (type 5000)) (func (block (try_table (catch_all 0))))",
            "(table 1 funcref) (func (param (ref 3)) (local (ref null 7)))",
            "(global i32 (i32.const 1)) (global i32 (global.get 0))",
            "(func (result i32))",
            "(func (local.get 9))",
            "(func (struct.new 0))",
            "(table 1 (ref null 3) (ref.null 4))",
        ];
        for rest in rests {
            let outcome = |count| {
                let text = text(count, rest).replace("5000", &count.to_string());
                let module = Module::new(text.into_bytes());
                module.map(|module| module.types().len() - count)
            };
            let (few, many) = (outcome(4000), outcome(5000));
            match (few, many) {
                (Ok(few), Ok(many)) => assert_eq!(few, many, "{rest}"),
                (Err(few), Err(many)) => assert_eq!(few.reason(), many.reason(), "{rest}"),
                (few, many) => panic!("{rest}: {few:?} {many:?}"),
            }
        }
    }

    #[test]
    fn types_that_are_read_later_are_the_same() {
        let rest = "(func (type 9) (i32.const 1))";
        let module = Module::new(text(5000, rest).into_bytes()).expect("it is valid");
        let few = Module::new(text(1000, rest).into_bytes()).expect("it is valid");
        assert_eq!(module.types().ids()[..1000], few.types().ids()[..1000]);
        assert_eq!(module.types().len(), 5000);
        assert_eq!(module.types().groups(), 5000);
    }
}
