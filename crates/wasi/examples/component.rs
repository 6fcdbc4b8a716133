//! Runs a component of the world `wasi:cli/command`, with what it is granted on the command line:
//!
//! ```text
//! cargo run -p tiered-wasi --features component --example component -- \
//!     [--dir HOST::GUEST] [--env NAME=VALUE] [--connect PEERS] [--listen ADDRESSES] [--resolve NAME] FILE [ARGUMENTS]
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use tiered::{Engine, Store};
use tiered_component::{Component, Error as Stopped, Linker, Val};
use tiered_wasi::{Access, Peers, WasiCtx, p2, p3};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut builder = WasiCtx::builder().inherit_stdio();
    let file = loop {
        let arg = args.next().ok_or("name a component")?;
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        builder = match arg.as_str() {
            "--dir" => {
                let value = value()?;
                let (host, guest) = value.split_once("::").unwrap_or((&value, &value));
                builder.preopen_dir(host, guest, Access::ReadWrite)
            }
            "--env" => {
                let value = value()?;
                let (name, value) = value.split_once('=').ok_or("--env NAME=VALUE")?;
                builder.env(name, value)
            }
            "--connect" => builder.allow_connect(value()?.parse::<Peers>()?),
            "--listen" => builder.allow_listen(value()?.parse::<Peers>()?),
            "--resolve" => builder.allow_resolve(value()?),
            _ => break arg,
        };
    };
    let name = Path::new(&file).file_name().unwrap_or_default();
    let ctx = builder.arg(name).args(args).build()?;
    let engine = Engine::default();
    let component = Component::from_file(&engine, &file)?;
    let mut linker = Linker::new();
    p2::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx)?;
    p3::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx)?;
    let mut store = Store::new(&engine, ctx)?;
    let instance = linker.instantiate(&mut store, &component)?;
    // What has both is a program of 0.3 with a libc of 0.2.
    let run = instance.func("wasi:cli/run@0.3.2", "run");
    let run = run.or_else(|_| instance.func("wasi:cli/run@0.2.12", "run"))?;
    match run.call(&mut store, &[]) {
        Ok(Some(Val::Result(Ok(_)))) | Ok(None) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        Err(Stopped::Trap(trap)) => match trap.exit_code() {
            Some(code) => Ok(ExitCode::from(code as u8)),
            None => Err(trap.into()),
        },
        Err(error) => Err(error.into()),
    }
}
