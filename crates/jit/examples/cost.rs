//! Compares what compiling is foreseen to take with what it takes, time and memory.
//!
//! `cargo run --release -p tiered-jit --example cost -- FILE [LEAST]` for each function of at least LEAST bytes, 0 by
//! default. `-- kinds [KIND [COUNT LOCALS]]` for bodies that are made: what is counted of them is printed, too.

#[path = "../src/cost/kinds.rs"]
mod kinds;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::decode::index::FuncIdx;
use tiered_jit::{Code, CompileError, Config, Entry, Jit};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// How often each kind is repeated or nested, and how many locals it has.
const SIZES: [(usize, usize); 8] = [
    (20, 4),
    (100, 1),
    (10, 100),
    (600, 1),
    (100, 30),
    (300, 10),
    (900, 3),
    (3_000, 1),
];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "what                 body B     ms: foreseen taken  times  KiB: foreseen taken  times  allocator"
    );
    let Some(file) = args.first().filter(|&file| file != "kinds") else {
        let kinds: Vec<&str> = match args.get(1) {
            Some(kind) => vec![kind],
            None => kinds::KINDS.to_vec(),
        };
        let sizes = match &args[..] {
            [_, _, count, locals] => vec![(count.parse()?, locals.parse()?)],
            _ => SIZES.to_vec(),
        };
        for kind in kinds {
            for &(count, locals) in &sizes {
                let module = Module::new(kinds::text(kind, count, locals).into_bytes())?;
                let what = format!("{kind} {count} {locals}");
                measure(&Arc::new(module), FuncIdx(0), &what, args.len() > 1);
            }
        }
        return Ok(());
    };
    let least = args.get(1).map_or(Ok(0), |least| least.parse())?;
    let module = Arc::new(Module::new(std::fs::read(file)?)?);
    for index in module.imported_funcs()..module.funcs().len() as u32 {
        let func = FuncIdx(index);
        if module.body(func).is_some_and(|body| body.len() >= least) {
            measure(&module, func, &format!("function {index}"), false);
        }
    }
    Ok(())
}

/// Compiles a function three times, each as the first of its tier, and prints the least time that was taken.
fn measure(module: &Arc<Module>, func: FuncIdx, what: &str, counts: bool) {
    let bytes = module.body(func).map_or(0, |body| body.len());
    let compiles: Result<Vec<_>, _> = (0..3).map(|_| compile(module, func)).collect();
    let compiles = match compiles {
        Ok(compiles) => compiles,
        Err(error) => return println!("{what:20} {bytes:7}  {error}"),
    };
    let (code, time, taken) = (compiles.iter().min_by_key(|compile| compile.1)).expect("three");
    let estimate = code.estimate();
    let (foreseen, time) = (estimate.time.as_secs_f64() * 1e3, time.as_secs_f64() * 1e3);
    let times = (time / foreseen, *taken as f64 / estimate.bytes as f64);
    let (memory, taken) = (estimate.bytes >> 10, *taken >> 10);
    println!(
        "{what:20} {bytes:7} {foreseen:12.2} {time:9.2} {:6.2} {memory:13} {taken:8} {:5.2}  {:?}",
        times.0, times.1, estimate.allocator
    );
    if counts {
        println!("    {:?}", code.work());
    }
}

fn compile(module: &Arc<Module>, func: FuncIdx) -> Result<(Code, Duration, usize), CompileError> {
    let jit = Jit::new(&Config::default()).expect("this machine can");
    let mut compiler = jit.compiler().expect("there is memory");
    ALLOCATED.reset_peak_usage();
    let (before, begin) = (ALLOCATED.current_usage(), Instant::now());
    let code = compiler.compile(module, func, Entry::Start, false)?;
    Ok((code, begin.elapsed(), ALLOCATED.peak_usage() - before))
}
