//! The compiler behind the tier policy: the one file of the engine that takes code for what it is said to be.
//!
//! * *Invariant:* code is kept together with what it was compiled from ([`Compiled`]), and is given to nothing else: it
//!   runs that function, or that loop, of an instance of that module.
//! * *Invariant:* code and the doors of a store live as long as the store: the store holds its tier, which holds the
//!   compiler, which owns all code.
//!
//! # Why here
//! [`Tier`] is unsafe to implement, because running code trusts its answers. Who decides what is hot stays in safe code,
//! and can at worst decide badly.
#![expect(
    unsafe_code,
    reason = "the contract between tiers can't be checked by the compiler"
)]

use std::ptr::NonNull;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_interp::doors;
use tiered_jit::{Code, Compiler, Entry, Jit};
use tiered_runtime::code::{Doors, EntryFn, FuncRecord, HotPoint, Liveness, Tier};

use crate::config::{Config, Profile};
use crate::dump::{self, Dump, DumpError};
use crate::ledger::Question;
use crate::queue::{Job, Part};
use crate::stats::Stats;
use crate::tier::{Asker, Tiering};
use crate::workers::Backend;

impl From<Part> for Entry {
    fn from(part: Part) -> Entry {
        match part {
            Part::Function => Entry::Start,
            Part::Loop(offset) => Entry::Loop { offset },
        }
    }
}

/// Code, and what it is the code of.
#[derive(Clone)]
pub(crate) struct Compiled {
    code: Code,
    module: Arc<Module>,
    func: FuncIdx,
    part: Part,
    metered: bool,
}

impl Compiled {
    /// Whether this is the code of `part` of the function of `record`.
    fn is_of(&self, record: &FuncRecord, part: Part) -> bool {
        let module = record.module();
        self.part == part
            && self.func == record.index
            && module.is_some_and(|module| Arc::ptr_eq(module, &self.module))
    }

    /// Moves the calls of `record` here; false if they were here before.
    fn publish(&self, record: &FuncRecord) -> bool {
        assert!(
            self.is_of(record, Part::Function),
            "code of another function"
        );
        // All functions of a type have this door, but this function has no other code.
        if std::ptr::fn_addr_eq(record.entry(), self.code.entry()) {
            return false;
        }
        // SAFETY: it is code of this function, and lives as long as the store.
        unsafe { self.code.publish(record) };
        true
    }
}

/// The record of a function, for another thread.
pub(crate) struct Remote {
    record: NonNull<FuncRecord>,
    liveness: Liveness,
    metered: bool,
}

// SAFETY: the record is looked at only while `liveness` keeps it there, and only what other threads may look at: its doors
// are atomic, and where it belongs to never changes.
unsafe impl Send for Remote {}

impl PartialEq for Remote {
    fn eq(&self, other: &Remote) -> bool {
        // A later store's record may lie where one of an earlier store was.
        self.record == other.record && self.liveness == other.liveness
    }
}

impl Backend for Jit {
    type Code = Compiled;
    type Record = Remote;
    type Compiler = Compiler;

    fn compiler(&self) -> Result<Compiler, String> {
        Jit::compiler(self).map_err(|error| error.to_string())
    }

    fn compile(&self, compiler: &mut Compiler, job: &Job) -> Result<Compiled, String> {
        let (func, metered) = (job.key.func, job.key.metered);
        let code = compiler.compile(&job.module, func, job.part.into(), metered);
        Ok(Compiled {
            code: code.map_err(|error| error.to_string())?,
            module: Arc::clone(&job.module),
            func,
            part: job.part,
            metered,
        })
    }

    fn code_bytes(code: &Compiled) -> usize {
        code.code.bytes()
    }

    fn publish(code: &Compiled, record: &Remote) -> bool {
        if code.metered != record.metered {
            return false;
        }
        let published = record.liveness.while_alive(|| {
            // SAFETY: the store is there, and so is what it owns.
            code.publish(unsafe { record.record.as_ref() })
        });
        published.unwrap_or(false)
    }
}

impl Asker<Jit> for FuncRecord {
    fn record(&self) -> Remote {
        Remote {
            record: NonNull::from(self),
            liveness: self.liveness(),
            metered: self.is_metered(),
        }
    }

    fn publish(&self, code: &Compiled) -> bool {
        code.publish(self)
    }

    fn set_budget(&self, calls: i32) {
        if !self.is_metered() {
            self.budget.set(calls);
        }
    }
}

/// The tier of stores whose functions begin in the interpreter and may be compiled.
struct Upward {
    tiering: Arc<Tiering<Jit>>,
    doors: Doors,
}

// SAFETY: the doors are the interpreter's, with what compiled code needs; an entry is given for the function and the place
// that it was compiled for, and the compiler, which this holds, owns it.
unsafe impl Tier for Upward {
    fn cold(&self) -> Doors {
        self.doors
    }

    fn hot(&self, func: &FuncRecord, at: HotPoint) -> Option<EntryFn> {
        let question = Question {
            module: func.module()?,
            func: func.index,
            metered: func.is_metered(),
            at,
            calls_left: func.budget.get(),
        };
        let compiled = self.tiering.hot(&question, func)?;
        assert!(compiled.is_of(func, Part::at(at)), "code of another place");
        Some(compiled.code.entry())
    }
}

/// The tier of stores whose functions stay in the interpreter, where a profiler of the host may look at them.
struct Flat {
    doors: Doors,
}

// SAFETY: the doors are the interpreter's, with what it enters functions through; no entry is ever given.
unsafe impl Tier for Flat {
    fn cold(&self) -> Doors {
        self.doors
    }

    fn hot(&self, _: &FuncRecord, _: HotPoint) -> Option<EntryFn> {
        None
    }
}

/// The tier of an engine without a compiler.
pub(crate) fn interpreting(config: &Config) -> Arc<dyn Tier> {
    let profile = config.profile.map(tiered_jit::Profile::from);
    let trampoline = profile.and_then(tiered_jit::Profile::trampolines);
    Arc::new(Flat {
        doors: Doors {
            trampoline,
            ..doors()
        },
    })
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
        let (call_budget, loop_budget) = Tiering::<Jit>::budgets(config);
        let doors = Doors {
            call_budget,
            loop_budget,
            ..jit.doors(doors())
        };
        let tier = Arc::new(Upward {
            tiering: Arc::clone(&tiering),
            doors,
        });
        Ok(Compiling { jit, tiering, tier })
    }

    pub(crate) fn tier(&self) -> Arc<dyn Tier> {
        Arc::clone(&self.tier)
    }

    pub(crate) fn stats(&self) -> Stats {
        self.tiering.stats()
    }

    /// What a compiler makes of a function, or of its loop at a byte of the module.
    ///
    /// # Errors
    /// The function can't be compiled.
    pub(crate) fn dump(
        &self,
        module: &Arc<Module>,
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
        let text = compiler.dump(module, func, entry, what);
        text.map_err(|error| DumpError::Compile(error.to_string()))
    }
}

fn jit_config(config: &Config) -> tiered_jit::Config {
    let default = tiered_jit::Config::default();
    tiered_jit::Config {
        code_bytes: config.max_code.unwrap_or(default.code_bytes),
        verify: config.verify.unwrap_or(default.verify),
        profile: config.profile.map(Into::into),
    }
}
