//! `wasi:cli`: its functions, and the standard streams as resources.

use crate::component::bytes::{Sink, Source};
use crate::component::call::{Call, Outcome};
use crate::component::cli::{
    exit, exit_with_code, get_arguments, get_environment, get_terminal_stderr, get_terminal_stdin,
    get_terminal_stdout, initial_cwd, standard,
};
use crate::component::lower::New;
use crate::component::rows::{Row, row};
use crate::p2::streams::{input, output};

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

fn get_stdin(call: &mut Call<'_>) -> Outcome<New> {
    Ok(input(Source::Standard(standard(call, 0)?)))
}

fn get_stdout(call: &mut Call<'_>) -> Outcome<New> {
    Ok(output(Sink::Standard(standard(call, 1)?)))
}

fn get_stderr(call: &mut Call<'_>) -> Outcome<New> {
    Ok(output(Sink::Standard(standard(call, 2)?)))
}
