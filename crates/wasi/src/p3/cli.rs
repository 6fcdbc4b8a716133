//! `wasi:cli`: its functions, and the standard streams.

use crate::component::bytes::{Sink, Source};
use crate::component::call::{Call, Outcome};
use crate::component::cli::{
    exit, exit_with_code, get_arguments, get_environment, get_terminal_stderr, get_terminal_stdin,
    get_terminal_stdout, initial_cwd, standard,
};
use crate::component::concurrent::Readable;
use crate::component::rows::{Row, row};
use crate::p3::codes::StreamError;
use crate::p3::streams::{StreamAndEnding, reading, writing};

pub(super) const ENVIRONMENT: &[Row] = &[
    row!("get-environment" [] get_environment),
    row!("get-arguments" [] get_arguments),
    row!("get-initial-cwd" [] initial_cwd),
];

pub(super) const EXIT: &[Row] = &[
    row!("exit" [I32] exit),
    row!("exit-with-code" [I32] exit_with_code),
];

pub(super) const STDIN: &[Row] = &[row!("read-via-stream" [] read_stdin)];
pub(super) const STDOUT: &[Row] = &[row!("write-via-stream" [I32] write_stdout)];
pub(super) const STDERR: &[Row] = &[row!("write-via-stream" [I32] write_stderr)];
pub(super) const TERMINAL_STDIN: &[Row] = &[row!("get-terminal-stdin" [] get_terminal_stdin)];
pub(super) const TERMINAL_STDOUT: &[Row] = &[row!("get-terminal-stdout" [] get_terminal_stdout)];
pub(super) const TERMINAL_STDERR: &[Row] = &[row!("get-terminal-stderr" [] get_terminal_stderr)];

fn read_stdin(call: &mut Call<'_>) -> Outcome<StreamAndEnding> {
    Ok(reading::<StreamError>(Source::Standard(standard(call, 0)?)))
}

fn write(call: &mut Call<'_>, number: u32) -> Outcome<Readable> {
    let handle = call.u32();
    let sink = Sink::Standard(standard(call, number)?);
    writing::<StreamError>(call, handle, sink)
}

fn write_stdout(call: &mut Call<'_>) -> Outcome<Readable> {
    write(call, 1)
}

fn write_stderr(call: &mut Call<'_>) -> Outcome<Readable> {
    write(call, 2)
}
