//! An embedder with something to lose: host functions on its own data, and limits on time, memory and stack.
//!
//! ```sh
//! cargo run --release -p tiered --example limits
//! ```

use std::time::{Duration, Instant};

use tiered::{Caller, Config, Engine, Error, Linker, MemoryError, Module, Store};

/// A guest that asks for more than it gets, in several ways.
const TEXT: &str = r#"(module
    (import "host" "log" (func $log (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) "hello from the guest")
    (func (export "greet") (call $log (i32.const 8) (i32.const 20)))
    (func (export "grow") (result i32) (memory.grow (i32.const 100)))
    (func $deep (export "deep") (param i32) (result i32)
        (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
    (func (export "forever") (loop (br 0))))"#;

#[derive(Default)]
struct Host {
    lines: Vec<String>,
}

/// What the guest says; it can't make the host read outside of its memory.
fn log(mut caller: Caller<'_, Host>, start: u32, length: u32) -> Result<(), MemoryError> {
    if let Some(memory) = caller.memory() {
        let line = memory.read_str(&caller, start as usize, length as usize)?;
        let line = line.to_owned();
        caller.data_mut().lines.push(line);
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let config = Config::new().max_memory(1 << 20).max_stack(1 << 20);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, TEXT)?;
    let mut linker = Linker::new();
    linker.func("host", "log", log)?;
    let mut store = Store::new(&engine, Host::default())?;
    let instance = linker.instantiate(&mut store, &module)?;

    let greet = instance.typed_func::<(), ()>(&store, "greet")?;
    greet.call(&mut store, ())?;
    println!("the guest said: {:?}", store.data().lines);

    let grow = instance.typed_func::<(), i32>(&store, "grow")?;
    println!("memory.grow over the limit: {}", grow.call(&mut store, ())?);

    let deep = instance.typed_func::<i32, i32>(&store, "deep")?;
    if let Err(trap) = deep.call(&mut store, 0) {
        println!("endless recursion: {trap}");
    }

    // The loop is compiled by then.
    store.set_deadline(Some(Instant::now() + Duration::from_millis(50)))?;
    let forever = instance.typed_func::<(), ()>(&store, "forever")?;
    if let Err(trap) = forever.call(&mut store, ()) {
        println!("an endless loop: {trap}");
    }
    store.set_deadline(None)?;
    greet.call(&mut store, ())?;
    println!("the guest said: {:?}", store.data().lines);
    Ok(())
}
