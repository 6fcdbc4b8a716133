//! The compiler behind the tier policy: the one file of the engine that takes code for what it is said to be.
//!
//! * *Invariant:* code is kept together with what it was compiled from ([`Compiled`]), and is given to nothing else: it
//!   runs that function, or that loop, of instances of that module.
//! * *Invariant:* code lives as long as the module's: it is kept in the module's profile. So does the compiler, which the
//!   tier holds.
//!
//! # Why here
//! [`Tier`] is unsafe to implement, because running code trusts its answers. The decisions of what is hot are in safe
//! code, and can at worst be bad.
#![expect(
    unsafe_code,
    reason = "the contract between tiers can't be checked by the compiler"
)]

use std::sync::Arc;
use std::time::Duration;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_interp::entry_points;
use tiered_jit::{Allocator, Code, Compiler, Entry, Jit};
use tiered_runtime::code::{EntryFn, EntryPoints, Sample, Tier};
use tiered_runtime::module_code::ModuleCode;

use crate::backend::{Backend, Size};
use crate::config::{Config, Profile};
use crate::dump::{self, Dump, DumpError};
use crate::profile::trampolines;
use crate::queue::{FuncKey, Job, Part};
use crate::stats::Stats;
use crate::tier::{Sampling, Tiering};
use crate::workers::Threads;

impl From<Part> for Entry {
    fn from(part: Part) -> Entry {
        match part {
            Part::Function => Entry::Start,
            Part::Loop(offset) => Entry::Loop { offset },
        }
    }
}

/// Code, and what it is the code of.
pub(crate) struct Compiled {
    code: Code,
    module: Arc<Module>,
    key: FuncKey,
    part: Part,
}

impl Backend for Jit {
    type Code = Compiled;
    type Compiler = Compiler;

    fn compiler(&self) -> Result<Compiler, String> {
        Jit::compiler(self).map_err(|error| error.to_string())
    }

    fn compile(
        &self,
        compiler: &mut Compiler,
        module: &Arc<Module>,
        job: &Job,
    ) -> Result<Compiled, String> {
        let FuncKey { func, metered } = job.key;
        let code = compiler.compile(module, func, job.part.into(), metered);
        Ok(Compiled {
            code: code.map_err(|error| error.to_string())?,
            module: Arc::clone(module),
            key: job.key,
            part: job.part,
        })
    }

    fn estimate(
        &self,
        compiler: &mut Compiler,
        module: &Arc<Module>,
        job: &Job,
    ) -> Option<Duration> {
        let FuncKey { func, metered } = job.key;
        let estimate = compiler.estimate(module, func, job.part.into(), metered);
        estimate.ok().map(|estimate| estimate.time)
    }

    fn size(compiled: &Compiled) -> Size {
        let estimate = compiled.code.estimate();
        Size {
            code: compiled.code.bytes(),
            memory: estimate.bytes,
            single_pass: estimate.allocator == Allocator::SinglePass,
        }
    }

    fn entry(compiled: &Compiled) -> EntryFn {
        compiled.code.entry()
    }

    fn publish(compiled: &Compiled, module: &ModuleCode) {
        assert!(
            Arc::ptr_eq(&compiled.module, module.module()),
            "code of another module"
        );
        let set = module.set(compiled.key.metered);
        let Some(func) = set.func(compiled.key.func) else {
            return;
        };
        match compiled.part {
            // SAFETY: it is code of this function, and counts fuel as its callers do; it lives as long as the module's.
            Part::Function => unsafe { compiled.code.publish(func) },
            Part::Loop(offset) => {
                let mut loops = func.body().into_iter().flat_map(|body| body.loops());
                if let Some(of) = loops.find(|of| of.offset == offset) {
                    // SAFETY: it is code of this function from this loop on; as above.
                    unsafe { compiled.code.publish_loop(of) };
                }
            }
        }
    }
}

/// The tier of stores whose functions begin in the interpreter and may be compiled.
struct Upward {
    tiering: Arc<Tiering<Jit>>,
    points: EntryPoints,
}

// SAFETY: the entry points are the interpreter's, with what compiled code needs; an entry is given for the function and the
// loop that it was compiled for, and the compiler, which this holds, made it.
unsafe impl Tier for Upward {
    fn entry_points(&self) -> EntryPoints {
        self.points
    }

    fn sample(&self, sample: &Sample<'_>) -> Option<EntryFn> {
        self.tiering.sample(sample)
    }
}

/// The tier of stores whose functions stay in the interpreter, where a profiler of the host may look at them.
struct Flat {
    points: EntryPoints,
}

// SAFETY: the entry points are the interpreter's, with what it enters functions through; no entry is ever given.
unsafe impl Tier for Flat {
    fn entry_points(&self) -> EntryPoints {
        self.points
    }

    fn sample(&self, _: &Sample<'_>) -> Option<EntryFn> {
        None
    }
}

/// The tier of an engine without a compiler.
pub(crate) fn interpreting(config: &Config) -> Arc<dyn Tier> {
    let profile = config.profile.map(tiered_jit::Profile::from);
    let trampoline = profile.and_then(trampolines);
    Arc::new(Flat {
        points: EntryPoints {
            trampoline,
            relaxed: config.relaxed,
            ..entry_points()
        },
    })
}

/// Makes the file for `perf`, before any guest runs.
///
/// # Errors
/// It can't be made.
pub(crate) fn open_profile(profile: Profile) -> std::io::Result<()> {
    tiered_jit::Profile::from(profile).open()
}

/// Opens what [`interpreting`] engines open later.
pub(crate) fn open_ahead_interpreting(config: &Config) {
    if config.profile.is_some() {
        tiered_jit::open_ahead();
    }
}

impl From<Profile> for tiered_jit::Profile {
    fn from(profile: Profile) -> tiered_jit::Profile {
        match profile {
            Profile::PerfMap => tiered_jit::Profile::PerfMap,
            Profile::JitDump => tiered_jit::Profile::JitDump,
        }
    }
}

/// A compiler, and the tier that uses it.
pub(crate) struct Compiling {
    jit: Jit,
    tiering: Arc<Tiering<Jit>>,
    tier: Arc<dyn Tier>,
}

impl Compiling {
    /// # Errors
    /// Why nothing can be compiled here.
    pub(crate) fn new(config: &Config) -> Result<Compiling, String> {
        let jit = Jit::new(&jit_config(config)).map_err(|error| error.to_string())?;
        let tiering = Arc::new(Tiering::new(jit.clone(), config));
        let sampling = Sampling::of(config);
        let points = EntryPoints {
            period: sampling.period,
            sample_first_calls: sampling.first_calls,
            trampoline: jit_config(config).profile.and_then(trampolines),
            ..jit.entry_points(entry_points())
        };
        let tier = Arc::new(Upward {
            tiering: Arc::clone(&tiering),
            points,
        });
        Ok(Compiling { jit, tiering, tier })
    }

    pub(crate) fn tier(&self) -> Arc<dyn Tier> {
        Arc::clone(&self.tier)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.tiering.stats()
    }

    pub(crate) fn open_ahead(&self) {
        self.jit.open_ahead();
    }

    /// What a compiler makes of a function, or of its loop at a byte of the module.
    ///
    /// # Errors
    /// The function can't be compiled.
    pub(crate) fn dump(
        &self,
        module: &ModuleCode,
        func: FuncIdx,
        loop_offset: Option<u32>,
        what: Dump,
    ) -> Result<String, DumpError> {
        let entry = loop_offset.map_or(Entry::Start, |offset| Entry::Loop { offset });
        let what = match what {
            Dump::Clif => tiered_jit::Dump::Clif,
            Dump::Asm => tiered_jit::Dump::Asm,
            Dump::Ir => return dump::interpreted(module, func),
        };
        let compiler = self.jit.compiler();
        let mut compiler = compiler.map_err(|error| DumpError::NoCompiler(error.to_string()))?;
        let text = compiler.dump(module.module(), func, entry, what);
        text.map_err(|error| DumpError::Compile(error.to_string()))
    }
}

/// Bytes that compiling may take in an engine, unless it is told otherwise.
const COMPILE_BYTES: usize = 512 << 20;

/// There are as many threads on a machine of any size, and to ask for its own takes a while.
const CORES: usize = 2;

fn jit_config(config: &Config) -> tiered_jit::Config {
    let default = tiered_jit::Config::default();
    tiered_jit::Config {
        code_bytes: config.max_code.unwrap_or(default.code_bytes),
        compile_bytes: config.max_compile_memory.unwrap_or(COMPILE_BYTES)
            / Threads::new(config.compile_threads, CORES).bound(),
        verify: config.verify.unwrap_or(default.verify),
        spectre_guards: config.spectre_guards.unwrap_or(default.spectre_guards),
        relaxed: config.relaxed,
        profile: config.profile.map(Into::into),
        ..default
    }
}
