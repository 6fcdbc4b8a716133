//! Where a module's bytes come from: the binary format, or the text format turned into it.
//!
//! *Invariant:* what begins with `\0asm` is never read as text, and text always begins with `(`, a comment or a space.
//! Called by [`Module::with_config`](crate::Module::with_config).

use crate::error::Error;
use bytes::Bytes;

/// Returns binary bytes as they are, and text as the binary module it describes.
pub(crate) fn into_binary(bytes: Bytes) -> Result<Bytes, Error> {
    if !is_text(&bytes) {
        return Ok(bytes);
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let position = position(&bytes[..error.valid_up_to()]);
        Error::in_text(Some(position), "malformed UTF-8 encoding", "")
    })?;
    wat::parse_str(text)
        .map(Bytes::from)
        .map_err(|error| text_error(&error))
}

fn is_text(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'(' | b';'))
}

/// Line and column after `text`, counted from 1, the column in characters.
fn position(text: &[u8]) -> (usize, usize) {
    let line = text.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let last = text
        .rsplit(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    (line, String::from_utf8_lossy(last).chars().count() + 1)
}

/// Takes `wat`'s message apart: the reason, then ` --> <anon>:line:column`, then the line with a mark under it; or, for
/// very long lines, the reason and ` at <anon>:line:column`. It has no accessors for these.
fn text_error(error: &wat::Error) -> Error {
    let message = error.to_string();
    if let Some((reason, rest)) = message.split_once("\n     --> <anon>:") {
        let (place, excerpt) = rest.split_once('\n').unwrap_or((rest, ""));
        return Error::in_text(parse_position(place), reason, excerpt);
    }
    match message.rsplit_once(" at <anon>:") {
        Some((reason, place)) => Error::in_text(parse_position(place), reason, ""),
        None => Error::in_text(None, message, ""),
    }
}

fn parse_position(place: &str) -> Option<(usize, usize)> {
    let (line, column) = place.split_once(':')?;
    Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
}
