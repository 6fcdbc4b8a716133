//! `wasi:cli`: arguments and environment, ending, standard streams, and which of them are terminals.

use tiered_runtime::Trap;

use crate::abi::FileType;
use crate::args::Strings;
use crate::objects::Held;
use crate::p2::call::{Call, Outcome, trap};
use crate::p2::lower::New;
use crate::p2::resources::{TerminalInput, TerminalOutput};
use crate::p2::rows::{Row, row};
use crate::p2::streams::{Sink, Source, input, output};

pub(super) const ENVIRONMENT: &[Row] = &[
    row!("get-environment" [] get_environment),
    row!("get-arguments" [] get_arguments),
    row!("initial-cwd" [] initial_cwd),
];

pub(super) const EXIT: &[Row] = &[
    row!("exit" [I32] exit),
    row!("exit-with-code" [I32] exit_with_code),
];

pub(super) const STDIN: &[Row] = &[row!("get-stdin" [] get_stdin)];
pub(super) const STDOUT: &[Row] = &[row!("get-stdout" [] get_stdout)];
pub(super) const STDERR: &[Row] = &[row!("get-stderr" [] get_stderr)];
pub(super) const TERMINAL_STDIN: &[Row] = &[row!("get-terminal-stdin" [] get_terminal_stdin)];
pub(super) const TERMINAL_STDOUT: &[Row] = &[row!("get-terminal-stdout" [] get_terminal_stdout)];
pub(super) const TERMINAL_STDERR: &[Row] = &[row!("get-terminal-stderr" [] get_terminal_stderr)];

/// Copies strings out of the context, which pays for them.
fn copied<T>(
    call: &mut Call<'_>,
    strings: impl Fn(&crate::WasiCtx) -> &Strings,
    each: impl Fn(&str) -> T,
) -> Outcome<Vec<T>> {
    let mut parts = call.parts();
    let (copies, bytes) = {
        let strings = strings(parts.ctx);
        (strings.iter().map(each).collect(), strings.len())
    };
    let (_, env, _) = parts.split();
    env.work.bytes(bytes)?;
    Ok(copies)
}

fn get_environment(call: &mut Call<'_>) -> Outcome<Vec<(String, String)>> {
    copied(
        call,
        |ctx| &ctx.environ,
        |variable| {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            (name.to_owned(), value.to_owned())
        },
    )
}

fn get_arguments(call: &mut Call<'_>) -> Outcome<Vec<String>> {
    copied(call, |ctx| &ctx.args, str::to_owned)
}

/// A guest has no current directory unless its libc makes one of a preopen.
fn initial_cwd(_call: &mut Call<'_>) -> Outcome<Option<String>> {
    Ok(None)
}

fn exit(call: &mut Call<'_>) -> Outcome<()> {
    let is_err = call.case(2)?;
    Err(Trap::exit(is_err.cast_signed()))
}

fn exit_with_code(call: &mut Call<'_>) -> Outcome<()> {
    let code = call.u8();
    Err(Trap::exit(code.into()))
}

/// A standard stream: what is there under its number.
fn standard(call: &mut Call<'_>, number: u32) -> Outcome<std::sync::Arc<Held>> {
    let entry = call.ctx().table.get(number);
    let entry = entry.map_err(|_| trap("the standard stream is closed"))?;
    Ok(std::sync::Arc::clone(&entry.object))
}

fn get_stdin(call: &mut Call<'_>) -> Outcome<New> {
    Ok(input(Source::Standard(standard(call, 0)?)))
}

fn get_stdout(call: &mut Call<'_>) -> Outcome<New> {
    Ok(output(Sink::Standard(standard(call, 1)?)))
}

fn get_stderr(call: &mut Call<'_>) -> Outcome<New> {
    Ok(output(Sink::Standard(standard(call, 2)?)))
}

fn is_terminal(call: &mut Call<'_>, number: u32) -> Outcome<bool> {
    Ok(standard(call, number)?.filetype() == FileType::CharacterDevice)
}

fn get_terminal_stdin(call: &mut Call<'_>) -> Outcome<Option<New>> {
    Ok(is_terminal(call, 0)?.then(|| New::alone(TerminalInput)))
}

fn get_terminal_stdout(call: &mut Call<'_>) -> Outcome<Option<New>> {
    Ok(is_terminal(call, 1)?.then(|| New::alone(TerminalOutput)))
}

fn get_terminal_stderr(call: &mut Call<'_>) -> Outcome<Option<New>> {
    Ok(is_terminal(call, 2)?.then(|| New::alone(TerminalOutput)))
}
