//! Tells a module that needs a proposal that is not accepted from one that is wrong: the error then names the proposal.
//!
//! *Invariant:* called for a module that has been refused, once; the work is bounded: the sections, and the one body at
//! fault, are validated once with all proposals, and if only that settles what is missing, once with each.
//! Called by [`Module::with_config`](crate::Module::with_config).
//!
//! # Why validate again
//! What a validator says where a proposal is missing may be true of the bytes and still mislead: a memory index reads as a
//! malformed alignment to who knows one memory only. And what needs a proposal may be wrong all the same.

use crate::error::Error;
use crate::index::FuncIdx;
use crate::proposals;
use wasmparser::{Parser, ValidPayload, Validator, WasmFeatures};

/// The error of a module that is refused with `features`: `error`, or what is unsupported at its place.
pub(crate) fn explain(bytes: &[u8], features: WasmFeatures, error: Error) -> Error {
    let Some(offset) = error.offset().filter(|_| !Parser::is_component(bytes)) else {
        return error;
    };
    let func = error.func();
    let others = validate(bytes, proposals::all(), func);
    match (error.missing_feature(), others) {
        (Some(missing), Err(other)) if other.offset() as usize > offset => {
            error.unsupported(proposals::refusal(missing))
        }
        (Some(missing), Ok(())) => error.unsupported(proposals::refusal(missing)),
        // Wrong with the proposal as without it.
        (Some(_), Err(other)) => error.with_reason(other.message()),
        (None, Err(_)) => error,
        (None, Ok(())) => {
            let missing = proposals::refused(features)
                .find(|&proposal| gets_past(bytes, features | proposal, func, offset));
            // Several together, one of which has no effect alone.
            let missing = missing.unwrap_or(WasmFeatures::empty());
            error.unsupported(proposals::refusal(missing))
        }
    }
}

fn gets_past(bytes: &[u8], features: WasmFeatures, func: Option<FuncIdx>, offset: usize) -> bool {
    validate(bytes, features, func).map_or_else(|error| error.offset() as usize > offset, |()| true)
}

/// Validates the sections, and of the bodies that of `func` only.
fn validate(
    bytes: &[u8],
    features: WasmFeatures,
    func: Option<FuncIdx>,
) -> Result<(), wasmparser::Error> {
    let mut validator = Validator::new_with_features(features);
    let mut parser = Parser::new(0);
    parser.set_features(features);
    for payload in parser.parse_all(bytes) {
        if let ValidPayload::Func(to_validate, body) = validator.payload(&payload?)?
            && Some(FuncIdx(to_validate.index)) == func
        {
            to_validate
                .into_validator(Default::default())
                .validate(&body)?;
        }
    }
    Ok(())
}
