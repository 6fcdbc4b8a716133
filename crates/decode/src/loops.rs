//! Loop headers: the places where a running function can change its tier.
//!
//! *Invariant:* headers come in the order of the code, one for each `loop` that can be reached.
//! *Invariant:* a header's height is what validation says, so every tier agrees on it.
//! Called by [`Module::loop_headers`](crate::Module::loop_headers), on demand: few functions ever become hot.

use crate::index::FuncIdx;
use crate::module::Module;
use wasmparser::{FrameKind, FuncValidator, Result, ValidatorResources};

/// The header of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoopHeader {
    /// The `loop` opcode, in bytes from the start of the module.
    pub offset: u32,
    /// How many operands are on the function's stack at the header, the loop's parameters among them.
    pub height: u32,
}

/// The headers of a function's loops; none for an import.
pub(crate) fn loop_headers(module: &Module, func: FuncIdx) -> Vec<LoopHeader> {
    let mut headers = Vec::new();
    if let (Some(body), Some(mut validator)) = (module.body(func), module.func_validator(func)) {
        // The body has been validated, so this does not fail; if it did, the headers so far are right.
        let _ = collect(&body.to_wasmparser(), &mut validator, &mut headers);
    }
    headers
}

fn collect(
    body: &wasmparser::FunctionBody<'_>,
    validator: &mut FuncValidator<ValidatorResources>,
    headers: &mut Vec<LoopHeader>,
) -> Result<()> {
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    // The height of the control stack at which the code became unreachable, with all that it nests.
    let mut dead: Option<u32> = None;
    while !reader.eof() {
        let offset = reader.original_position();
        let depth = validator.control_stack_height();
        reader.visit_operator(&mut validator.visitor(offset))??;
        let new_depth = validator.control_stack_height();
        let Some(frame) = validator.get_control_frame(0) else {
            break;
        };
        match dead {
            None if frame.unreachable => dead = Some(new_depth),
            None if new_depth > depth && frame.kind == FrameKind::Loop => {
                headers.push(LoopHeader {
                    offset: offset as u32,
                    height: validator.operand_stack_height(),
                });
            }
            Some(at) if new_depth < at || (new_depth == at && !frame.unreachable) => dead = None,
            _ => {}
        }
    }
    Ok(())
}
