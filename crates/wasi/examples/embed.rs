//! Runs a WASI program from Rust: says what it may use, takes its output, and learns how it ended.
//!
//! From the top of the workspace: `cargo run -p tiered-wasi --example embed`

use tiered::{Config, Engine, Linker, Module, Store};
use tiered_wasi::{Access, OutputBuffer, Stdout, WasiCtx};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Config::new().max_memory(64 << 20).fuel(Some(1_000_000_000));
    let engine = Engine::new(&limits);
    let module = Module::from_file(&engine, "benches/programs/words/words.wasm")?;

    let output = OutputBuffer::new();
    let granted = WasiCtx::builder()
        .args(["words", "LICENSE-MIT"])
        .preopen_dir(".", ".", Access::ReadOnly)
        .stdout(Stdout::Buffer(output.clone()))
        .build()?;

    let mut linker = Linker::new();
    tiered_wasi::add_to_linker(&mut linker, |ctx| ctx)?;
    let mut store = Store::new(&engine, granted)?;
    let program = linker.instantiate(&mut store, &module)?;
    let start = program.typed_func::<(), ()>(&store, "_start")?;
    let exit_code = match start.call(&mut store, ()) {
        Ok(()) => 0,
        Err(trap) => trap.exit_code().ok_or(trap)?,
    };

    let text = String::from_utf8(output.take())?;
    println!(
        "exit code {exit_code}, {} lines of output",
        text.lines().count()
    );
    Ok(())
}
