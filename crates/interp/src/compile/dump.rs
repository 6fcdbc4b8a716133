//! The code of a function as text for people: for each instruction of the body the words that it became.
//!
//! Handlers have no names at run time, so a cell's first word shows as `op`: the instruction says which it is. An
//! instruction without words became part of a later one, or of nothing: operands that are locals or constants are named
//! by whoever takes them.

use std::fmt::Write;

use tiered_runtime::code::FuncCode;

use super::{Error, Translator};

/// The listing of `func`, an instruction a line: its byte in the module, its name, its words.
pub(crate) fn dump(func: &FuncCode) -> Result<String, Error> {
    let translator = Translator::run(func, true)?;
    let body = translator
        .module
        .body(func.index)
        .ok_or(Error::Unreadable)?;
    let marks = translator.marks.unwrap_or_default();
    let mut text = String::new();
    let mut ops = body.ops();
    while !ops.eof() {
        let offset = ops.original_position() as u32;
        let op = format!("{:?}", ops.read()?);
        let first = marks.partition_point(|&(_, mark)| mark < offset);
        let here = marks[first..]
            .iter()
            .take_while(|&&(_, mark)| mark == offset);
        let start = here.clone().map(|&(at, _)| at as usize).next();
        let behind = marks[first + here.count()..]
            .iter()
            .map(|&(at, _)| at as usize)
            .next();
        let end = behind.unwrap_or(translator.code.len());
        let words = start.map_or(&[][..], |start| &translator.code[start..end.max(start)]);
        // Writing to a string does not fail.
        let _ = write!(text, "{offset:#8x}  {op:<48}");
        for (index, word) in words.iter().enumerate() {
            let _ = match index {
                0 => write!(text, " {:5}: op", start.unwrap_or(0)),
                1 => write!(
                    text,
                    " a={} d={} b={:#x}",
                    word & 0xffff,
                    (word >> 16) & 0xffff,
                    word >> 32
                ),
                _ => write!(text, " {word:#x}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    Ok(text)
}
