//! Compares what compiling is foreseen to take with what it takes: `cargo run --release -p tiered-jit --example cost --
//! FILE.wasm [LEAST]`, for each function of at least LEAST bytes, 0 by default.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::decode::index::FuncIdx;
use tiered_jit::{Config, Entry, Jit};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("expected a file")?;
    let least = args.next().map_or(Ok(0), |least| least.parse())?;
    let module = Arc::new(Module::new(std::fs::read(file)?)?);
    let mut compiler = Jit::new(&Config::default())?.compiler()?;
    println!("function  body B  foreseen ms  taken ms  times  foreseen KiB  allocator");
    for index in module.imported_funcs()..module.funcs().len() as u32 {
        let func = FuncIdx(index);
        let bytes = module.body(func).map_or(0, |body| body.len());
        if bytes < least {
            continue;
        }
        let begin = Instant::now();
        match compiler.compile(&module, func, Entry::Start, false) {
            Ok(code) => {
                let taken = begin.elapsed().as_secs_f64() * 1e3;
                let estimate = code.estimate();
                let foreseen = estimate.time.as_secs_f64() * 1e3;
                let (times, memory) = (taken / foreseen, estimate.bytes / 1024);
                println!(
                    "{index:8} {bytes:7} {foreseen:12.2} {taken:9.2} {times:6.2} {memory:13}  {:?}",
                    estimate.allocator
                );
            }
            Err(error) => println!("{index:8} {bytes:7} {error}"),
        }
    }
    Ok(())
}
