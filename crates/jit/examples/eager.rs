//! The compiler by itself, without the interpreter: every function is compiled when it is called first.
//!
//! ```sh
//! cargo run --release -p tiered-jit --example eager
//! cargo run --release -p tiered-jit --example eager -- asm     # what it is compiled to, too
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use tiered_jit::runtime::decode::{Module, index::FuncIdx};
use tiered_jit::runtime::{Limits, Linker, Store};
use tiered_jit::{Config, Dump, Eager, Entry, Jit};

const TEXT: &str = r#"(module
    (func $fib (export "fib") (param $n i32) (result i64)
        (if (result i64) (i32.lt_u (local.get $n) (i32.const 2))
            (then (i64.extend_i32_u (local.get $n)))
            (else (i64.add
                (call $fib (i32.sub (local.get $n) (i32.const 1)))
                (call $fib (i32.sub (local.get $n) (i32.const 2))))))))"#;

fn main() -> Result<(), Box<dyn Error>> {
    let module = Arc::new(Module::new(TEXT.as_bytes().to_vec())?);
    let jit = Jit::new(&Config::default())?;
    if std::env::args().nth(1).as_deref() == Some("asm") {
        let mut compiler = jit.compiler()?;
        println!(
            "{}",
            compiler.dump(&module, FuncIdx(0), Entry::Start, Dump::Asm)?
        );
    }
    let mut store = Store::with_tier(Eager::tier(&jit), Limits::default(), ())?;
    let instance = Linker::new().instantiate(&mut store, &module)?;
    let fib = instance.typed_func::<(i32,), i64>(&store, "fib")?;
    let start = Instant::now();
    let result = fib.call(&mut store, (32,))?;
    println!(
        "fib(32) = {result} in {:?}, compiling included; {} bytes of code",
        start.elapsed(),
        jit.code_bytes()
    );
    Ok(())
}
