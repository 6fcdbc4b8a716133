//! `--dump`: what becomes of a function.

use std::process::ExitCode;

use tiered::decode::index::FuncIdx;
use tiered::decode::printable::Line;
use tiered::{Dump, DumpError, Engine, Module};

use crate::args::{self, RunArgs};
use crate::failure::Failure;
use crate::output;
use crate::source::Program;

/// Prints it.
///
/// # Errors
/// There is no such function, or it can't be compiled.
pub(crate) fn run(
    args: &RunArgs,
    engine: &Engine,
    program: &Program,
    what: args::Dump,
    func: &str,
) -> Result<ExitCode, Failure> {
    let found = find_module(program, func);
    let found = found.and_then(|(module, word)| Some((module, find(module, word)?)));
    let (module, (index, loop_offset)) = found.ok_or_else(|| {
        let reason = format!("{} has no such function", Line(args.module().display()));
        Failure::usage(format!("--func {func}"), reason)
    })?;
    let (what, name) = match what {
        args::Dump::Clif => (Dump::Clif, "clif"),
        args::Dump::Asm => (Dump::Asm, "asm"),
        args::Dump::Ir => (Dump::Ir, "ir"),
    };
    let text = engine.dump(module, index, loop_offset, what);
    let text = text.map_err(|err| match err {
        DumpError::NoBody | DumpError::NoLoop(_) => Failure::usage(format!("--func {func}"), err),
        err => Failure::host(format!("--dump {name}"), err),
    })?;
    output::print(&(text.trim_end().to_owned() + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The module that `word` is about, and what of it names a function: in a component, `N:` in front is the core module of
/// that number.
fn find_module<'a>(program: &'a Program, word: &'a str) -> Option<(&'a Module, &'a str)> {
    match program {
        Program::Module(module) => Some((module, word)),
        #[cfg(feature = "component")]
        Program::Component(component) => {
            let (number, word) = word.split_once(':')?;
            let module = component.modules().get(number.parse::<usize>().ok()?)?;
            Some((module, word))
        }
    }
}

/// The function that `word` names, and the loop if it names one behind `@`. A name may hold an `@` too, so the whole word
/// is tried first.
fn find(module: &Module, word: &str) -> Option<(FuncIdx, Option<u32>)> {
    if let Some(index) = find_func(module, word) {
        return Some((index, None));
    }
    let (name, offset) = word.rsplit_once('@')?;
    let offset = match offset.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => offset.parse().ok()?,
    };
    Some((find_func(module, name)?, Some(offset)))
}

/// The function of this index or name.
fn find_func(module: &Module, word: &str) -> Option<FuncIdx> {
    let count = u32::try_from(module.funcs().len()).unwrap_or(u32::MAX);
    if let Ok(index) = word.parse() {
        return (index < count).then_some(FuncIdx(index));
    }
    (0..count)
        .map(FuncIdx)
        .find(|&func| module.func_name(func) == Some(word))
        .or_else(|| match module.export(word)? {
            tiered::decode::module::ExportKind::Func(func) => Some(func),
            _ => None,
        })
}
