//! Compiling: what it takes is foreseen, whatever the body, and what takes too much is refused for little.
//!
//! What is measured is memory, by the allocator, and what was made: instructions and bytes of machine code. Time is looked
//! at in optimized builds alone, by the clock of the thread and with a wide margin.
//!
//! *Invariant:* nothing else may allocate meanwhile, so no other thread runs a target.

mod bomb;

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use tiered::decode::Module;
use tiered::decode::index::FuncIdx;
use tiered_jit::{
    Code, CompileError, Compiler, Config, Dump, Entry, Estimate, Jit, MOST_BYTES, MOST_TIME,
};

use crate::{input, program, smith};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Memory may be this many times what is foreseen, and a fixed amount more for what is made at the first compile of a kind.
const TIMES_BYTES: usize = 3;
const MORE_BYTES: usize = 2 << 20;

/// Time may be this many times what is foreseen, and a fixed time more.
const TIMES: u32 = 6;
const MORE_TIME: Duration = Duration::from_millis(50);

/// Bytes of memory are foreseen for each instruction of the machine, at least.
const BYTES_AN_INSTRUCTION: usize = 30;

/// Finding out that a body is too large takes at most this part of what a compile may take, one over this, and a fixed
/// amount more.
const REFUSAL_PART: usize = 2;

/// How many loops of a function are compiled.
const LOOPS: usize = 3;

/// What a compile took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Functions and loops that were compiled.
    pub compiled: u64,
    /// Those that were refused.
    pub refused: u64,
    /// The most memory that was taken, in hundredths of what was foreseen, of compiles that took over a megabyte.
    pub most_bytes: u64,
}

/// Compiles the functions of the module that `bytes` are or describe.
pub fn run(bytes: &[u8]) {
    cost(bytes);
}

/// As [`run`], and tells what it took.
pub fn cost(bytes: &[u8]) -> Cost {
    let mut cost = Cost::default();
    // Too few bytes for the choices to be made are no finding.
    let Ok((module, metered, limit)) = plan(bytes) else {
        return cost;
    };
    let Ok(module) = Module::new(module) else {
        return cost;
    };
    let module = Arc::new(module);
    let config = Config {
        compile_bytes: limit,
        verify: false,
        ..Config::default()
    };
    let jit = Jit::new(&config).expect("the machine is one that there is code for");
    for func in module.imported_funcs()..module.funcs().len() as u32 {
        let func = FuncIdx(func);
        let loops = module.loop_headers(func);
        let loops = loops.iter().take(LOOPS).map(|header| Entry::Loop {
            offset: header.offset,
        });
        for entry in std::iter::once(Entry::Start).chain(loops) {
            Subject {
                jit: &jit,
                module: &module,
                func,
                entry,
                metered,
                limit,
            }
            .compile(&mut cost);
        }
    }
    cost
}

/// The module that an input is or describes, to be looked at.
pub fn module(bytes: &[u8]) -> Option<Vec<u8>> {
    plan(bytes).ok().map(|plan| plan.0)
}

/// A module, whether it counts fuel, and the memory that a compile may take.
fn plan(bytes: &[u8]) -> Result<(Vec<u8>, bool, usize)> {
    if input::is_module(bytes) {
        return Ok((bytes.to_vec(), false, MOST_BYTES));
    }
    let u = &mut Unstructured::new(bytes);
    let metered = u.ratio(1, 4)?;
    let limit = if u.ratio(1, 8)? {
        u.int_in_range(0..=16)? << 20
    } else {
        MOST_BYTES
    };
    let module = match u.int_in_range(0..=5)? {
        0 => {
            let extent = program::Extent::any(u)?;
            program::module(u, extent)?
        }
        1 => smith::any_module(u)?,
        _ => bomb::module(u)?,
    };
    Ok((module, metered, limit))
}

/// What is compiled.
struct Subject<'a> {
    jit: &'a Jit,
    module: &'a Arc<Module>,
    func: FuncIdx,
    entry: Entry,
    metered: bool,
    limit: usize,
}

impl Subject<'_> {
    fn compiler(&self) -> Compiler {
        self.jit.compiler().expect("there is room for code")
    }

    fn compile(&self, cost: &mut Cost) {
        let mut compiler = self.compiler();
        let (foreseen, taken) =
            measured(|| compiler.estimate(self.module, self.func, self.entry, self.metered));
        let what = format!("function {} from {:?}", self.func.0, self.entry);
        let foreseen = match foreseen {
            Ok(foreseen) => foreseen,
            Err(CompileError::TooLarge) => {
                let most = self.limit.min(MOST_BYTES) / REFUSAL_PART + MORE_BYTES;
                assert!(taken.bytes <= most, "{what} is refused for {taken:?}");
                cost.refused += 1;
                return;
            }
            // Validation takes the end of every block for reached, so it knows headers that no tier comes to.
            Err(CompileError::Unsupported(_)) if self.entry != Entry::Start => {
                cost.refused += 1;
                return;
            }
            Err(error) => panic!("{what}: {error}"),
        };
        assert!(foreseen.time <= MOST_TIME, "{what}: {foreseen:?}");
        assert!(
            foreseen.bytes <= self.limit.min(MOST_BYTES),
            "{what}: {foreseen:?}"
        );
        drop(compiler);
        // Anew, so that all of it is measured.
        let mut compiler = self.compiler();
        let (code, taken) =
            measured(|| compiler.compile(self.module, self.func, self.entry, self.metered));
        let code = code.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(code.estimate(), foreseen, "{what}: the same each time");
        taken.check(&foreseen, &what, &code);
        self.check_code(code.bytes(), &foreseen, &what);
        cost.compiled += 1;
        if taken.bytes > 1 << 20 {
            let percent = taken.bytes as u64 * 100 / foreseen.bytes.max(1) as u64;
            cost.most_bytes = cost.most_bytes.max(percent);
        }
    }

    /// What was made is in proportion too.
    fn check_code(&self, bytes: usize, foreseen: &Estimate, what: &str) {
        // The longest instruction of the machine has 15 bytes.
        let most = foreseen.bytes / BYTES_AN_INSTRUCTION * 15 + 4096;
        assert!(bytes <= most, "{what}: {bytes} bytes of code, {foreseen:?}");
        if self.metered || foreseen.bytes > 4 << 20 {
            return;
        }
        let listing = self
            .compiler()
            .dump(self.module, self.func, self.entry, Dump::Asm);
        let lines = listing.expect("it was compiled before").lines().count();
        assert!(
            lines <= foreseen.bytes / BYTES_AN_INSTRUCTION + 200,
            "{what}: {lines} instructions of the machine, {foreseen:?}"
        );
    }
}

/// What something took.
#[derive(Clone, Copy, Debug)]
struct Taken {
    bytes: usize,
    time: Duration,
}

impl Taken {
    fn check(&self, foreseen: &Estimate, what: &str, code: &Code) {
        let work = code.work();
        let most = TIMES_BYTES * foreseen.bytes + MORE_BYTES;
        assert!(
            self.bytes <= most,
            "{what}: {self:?}, {foreseen:?}, {work:?}"
        );
        // What counts branches, and code that is not optimized, is slower by more than the margin.
        if !cfg!(any(debug_assertions, feature = "libfuzzer")) {
            let most = TIMES * foreseen.time + MORE_TIME;
            assert!(
                self.time <= most,
                "{what}: {self:?}, {foreseen:?}, {work:?}"
            );
        }
    }
}

/// The memory that is taken meanwhile, at most, and the time of the thread.
fn measured<R>(run: impl FnOnce() -> R) -> (R, Taken) {
    ALLOCATED.reset_peak_usage();
    let (before, begin) = (ALLOCATED.current_usage(), now());
    let result = run();
    let taken = Taken {
        bytes: ALLOCATED.peak_usage().saturating_sub(before),
        time: now().saturating_sub(begin),
    };
    (result, taken)
}

/// The time that this thread ran.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
