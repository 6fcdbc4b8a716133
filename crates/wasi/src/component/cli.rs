//! What `wasi:cli` has in all versions: arguments and environment, ending, and which standard streams are terminals.

use tiered_runtime::Trap;

use crate::abi::FileType;
use crate::args::Strings;
use crate::component::call::{Call, Outcome, trap};
use crate::component::lower::New;
use crate::component::resources::{TerminalInput, TerminalOutput};
use crate::objects::Held;

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

pub(crate) fn get_environment(call: &mut Call<'_>) -> Outcome<Vec<(String, String)>> {
    copied(
        call,
        |ctx| &ctx.environ,
        |variable| {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            (name.to_owned(), value.to_owned())
        },
    )
}

pub(crate) fn get_arguments(call: &mut Call<'_>) -> Outcome<Vec<String>> {
    copied(call, |ctx| &ctx.args, str::to_owned)
}

/// A guest has no current directory unless its libc makes one of a preopen.
pub(crate) fn initial_cwd(_call: &mut Call<'_>) -> Outcome<Option<String>> {
    Ok(None)
}

pub(crate) fn exit(call: &mut Call<'_>) -> Outcome<()> {
    let is_err = call.case(2)?;
    Err(Trap::exit(is_err.cast_signed()))
}

pub(crate) fn exit_with_code(call: &mut Call<'_>) -> Outcome<()> {
    let code = call.u8();
    Err(Trap::exit(code.into()))
}

/// A standard stream: what is there under its number.
pub(crate) fn standard(call: &mut Call<'_>, number: u32) -> Outcome<std::sync::Arc<Held>> {
    let entry = call.ctx().table.get(number);
    let entry = entry.map_err(|_| trap("the standard stream is closed"))?;
    Ok(std::sync::Arc::clone(&entry.object))
}

fn is_terminal(call: &mut Call<'_>, number: u32) -> Outcome<bool> {
    Ok(standard(call, number)?.filetype() == FileType::CharacterDevice)
}

pub(crate) fn get_terminal_stdin(call: &mut Call<'_>) -> Outcome<Option<New>> {
    Ok(is_terminal(call, 0)?.then(|| New::alone(TerminalInput)))
}

pub(crate) fn get_terminal_stdout(call: &mut Call<'_>) -> Outcome<Option<New>> {
    Ok(is_terminal(call, 1)?.then(|| New::alone(TerminalOutput)))
}

pub(crate) fn get_terminal_stderr(call: &mut Call<'_>) -> Outcome<Option<New>> {
    Ok(is_terminal(call, 2)?.then(|| New::alone(TerminalOutput)))
}
