//! The sections of a component and of those in it, before anything is checked.

use std::ops::ControlFlow;

use wasmtime_environ::wasmparser::{Chunk, Parser, Payload};

/// Calls `visit` with each section until it has an answer; what is in core modules is left out. A component in another one
/// begins with [`Payload::ComponentSection`], and each ends with [`Payload::End`]. `None` if the bytes are not valid, or `visit`
/// finds that they are not, or has no answer in the end.
pub(super) fn walk<'a, R>(
    bytes: &'a [u8],
    mut visit: impl FnMut(&Payload<'a>) -> Option<ControlFlow<R>>,
) -> Option<R> {
    let mut rest = bytes;
    let (mut parser, mut outer) = (Parser::new(0), Vec::new());
    loop {
        let Chunk::Parsed { payload, consumed } = parser.parse(rest, true).ok()? else {
            return None;
        };
        rest = rest.get(consumed..)?;
        if let ControlFlow::Break(answer) = visit(&payload)? {
            return Some(answer);
        }
        match payload {
            Payload::ModuleSection {
                unchecked_range, ..
            } => rest = rest.get(unchecked_range.len()..)?,
            Payload::ComponentSection { parser: inner, .. } => {
                outer.push(std::mem::replace(&mut parser, inner));
            }
            Payload::End(_) => parser = outer.pop()?,
            _ => {}
        }
    }
}
