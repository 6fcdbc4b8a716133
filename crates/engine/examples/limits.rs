//! An embedder with something to lose: host functions on its own data, and limits on time, memory and stack.
//!
//! ```sh
//! cargo run --release -p tiered --example limits
//! ```

use std::error::Error;
use std::time::Duration;

use tiered::{Caller, Config, Engine, Linker, Module, Trap, TrapCode};

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
fn log(mut caller: Caller<'_, Host>, start: u32, length: u32) -> Result<(), Trap> {
    let (memory, host) = caller
        .memory_and_data()
        .ok_or_else(|| Trap::message("the guest exports no memory"))?;
    let end = start as usize + length as usize;
    let bytes = memory
        .get(start as usize..end)
        .ok_or(TrapCode::MemoryOutOfBounds)?;
    host.lines.push(String::from_utf8_lossy(bytes).into_owned());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::new().max_memory(1 << 20).max_stack(1 << 20);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, TEXT)?;
    let mut linker = Linker::new();
    linker.func("host", "log", log);
    let mut store = engine.store(Host::default())?;
    let instance = linker.instantiate(&mut store, &module)?;

    let func = |store: &_, name| instance.typed_func::<(), ()>(store, name);
    func(&store, "greet")?
        .ok_or("greet")?
        .call(&mut store, ())?;
    println!("the guest said: {:?}", store.data().lines);

    let grow = instance
        .typed_func::<(), i32>(&store, "grow")?
        .ok_or("grow")?;
    println!("memory.grow over the limit: {}", grow.call(&mut store, ())?);

    let deep = instance
        .typed_func::<(i32,), i32>(&store, "deep")?
        .ok_or("deep")?;
    println!(
        "endless recursion: {}",
        deep.call(&mut store, (0,)).expect_err("it is stopped")
    );

    // Another thread stops a loop that is compiled by then.
    let handle = store.interrupt_handle();
    let watchdog = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        handle.interrupt();
    });
    let forever = func(&store, "forever")?.ok_or("forever")?;
    println!(
        "an endless loop: {}",
        forever.call(&mut store, ()).expect_err("it is stopped")
    );
    watchdog.join().map_err(|_| "the watchdog panicked")?;
    Ok(())
}
