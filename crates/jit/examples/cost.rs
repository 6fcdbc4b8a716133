//! Compares what compiling is foreseen to take with what it takes, time and memory.
//!
//! `cargo run --release -p tiered-jit --example cost -- FILE [LEAST]` for each function of at least LEAST bytes, 0 by
//! default. `-- kinds [KIND [COUNT LOCALS]]` for bodies that are made: what is counted of them is printed, too.
//!
//! `-- dearest FOLDER [KIND]` looks for those of each kind that take the most, among modules below a megabyte, and writes them
//! into FOLDER as programs.

#[path = "../src/cost/kinds.rs"]
mod kinds;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use tiered_jit::runtime::decode::Module;
use tiered_jit::runtime::decode::index::FuncIdx;
use tiered_jit::{Code, CompileError, Config, Entry, Estimate, Jit};

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
    if let [word, folder, only @ ..] = &args[..]
        && word == "dearest"
    {
        fs::create_dir_all(folder)?;
        for kind in kinds::KINDS {
            if only.is_empty() || only.iter().any(|name| name == kind) {
                dearest(kind, Path::new(folder))?;
            }
        }
        return Ok(());
    }
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

/// Bytes that a module stays below.
const MOST_MODULE: usize = 1_000_000;

/// How many locals the modules have that are searched.
const LOCALS: [usize; 6] = [1, 8, 40, 150, 600, 3_000];

/// How many of a kind are kept, of those that take the most memory and of those that take the most time.
const KEPT: usize = 3;

/// One of the modules that are searched.
struct Tried {
    count: usize,
    locals: usize,
    body: usize,
    time: Duration,
    bytes: usize,
    /// What was foreseen; `None` if it was refused.
    foreseen: Option<Estimate>,
}

/// Compiles one, once; `None` if there is no such module.
fn tried(kind: &str, count: usize, locals: usize) -> Result<Option<Tried>, Box<dyn Error>> {
    // There are more values than a type may have, or it is too long.
    let module = Module::new(kinds::text(kind, count, locals).into_bytes());
    let Some(module) = module
        .ok()
        .filter(|module| module.bytes().len() <= MOST_MODULE)
    else {
        return Ok(None);
    };
    let module = Arc::new(module);
    let jit = Jit::new(&Config::default())?;
    let mut compiler = jit.compiler()?;
    ALLOCATED.reset_peak_usage();
    let (before, begin) = (ALLOCATED.current_usage(), Instant::now());
    let code = compiler.compile(&module, FuncIdx(0), Entry::Start, false);
    let (time, peak) = (begin.elapsed(), ALLOCATED.peak_usage());
    let foreseen = match code {
        Ok(code) => Some(code.estimate()),
        Err(CompileError::TooLarge) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Tried {
        count,
        locals,
        body: module.body(FuncIdx(0)).map_or(0, |body| body.len()),
        time,
        bytes: peak.saturating_sub(before),
        foreseen,
    }))
}

/// Tries bodies of a kind, four sizes to the factor ten; keeps those that take the most.
fn dearest(kind: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut all = Vec::new();
    for locals in LOCALS {
        for step in 4..=20 {
            let count = 10f64.powf(f64::from(step) / 4.0) as usize;
            let Some(tried) = tried(kind, count, locals)? else {
                break;
            };
            all.push(tried);
        }
    }
    let mut kept: Vec<(usize, usize)> = Vec::new();
    let orders: [fn(&Tried) -> u64; 3] = [
        |tried| tried.bytes as u64,
        |tried| tried.time.as_nanos() as u64,
        |tried| tried.foreseen.map_or(tried.bytes as u64, |_| 0),
    ];
    for order in orders {
        all.sort_by_key(|tried| std::cmp::Reverse(order(tried)));
        for tried in &all[..KEPT.min(all.len())] {
            if !kept.contains(&(tried.count, tried.locals)) {
                kept.push((tried.count, tried.locals));
                show(kind, tried);
                let text = kinds::program(kind, tried.count, tried.locals);
                let name = format!("{kind} {} {}.wasm", tried.count, tried.locals);
                let module = Module::new(text.into_bytes())?;
                fs::write(folder.join(name.replace(' ', "_")), module.bytes())?;
            }
        }
    }
    Ok(())
}

fn show(kind: &str, tried: &Tried) {
    let what = format!("{kind} {} {}", tried.count, tried.locals);
    let (time, kib) = (tried.time.as_secs_f64() * 1e3, tried.bytes >> 10);
    match tried.foreseen {
        Some(estimate) => {
            let (foreseen, memory) = (estimate.time.as_secs_f64() * 1e3, estimate.bytes >> 10);
            let times = (time / foreseen, tried.bytes as f64 / estimate.bytes as f64);
            println!(
                "{what:25} {:7} {foreseen:7.1} {time:9.2} {:6.2} {memory:13} {kib:8} {:5.2}  {:?}",
                tried.body, times.0, times.1, estimate.allocator
            );
        }
        None => println!("{what:25} {:7} refused {time:9.2} {kib:29}", tried.body),
    }
}
