//! Every knob of an engine.
//!
//! *Invariant:* a number that the tier policy weighs stands in [`CostModel`], with the reason for its default; none
//! stands elsewhere.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use tiered_decode::vector::Relaxed;
use tiered_runtime::Limits;

use crate::event::{TierEvent, Trace};

/// Which tiers run functions.
///
/// As text, as the command line has it: `interp`, `jit`, `auto`, `osr`, `random:SEED`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TierMode {
    /// The interpreter alone.
    Interp,
    /// Each function is compiled at its first call, for which the thread that calls it waits. One that can't be compiled stays
    /// interpreted.
    Jit,
    /// Each loop is compiled at its first back edge, on the thread that runs it, and goes on in compiled code at once.
    /// Functions are entered in the interpreter. For tests of the way from one tier to the other.
    Osr,
    /// Tiers change at random places, the same ones for the same seed as long as the guest has one thread. For tests.
    Random {
        /// Where the random numbers begin.
        seed: u64,
    },
    /// All code begins in the interpreter; what is hot is compiled in the background, and moves over while it runs.
    #[default]
    Auto,
}

impl fmt::Display for TierMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TierMode::Interp => f.write_str("interp"),
            TierMode::Jit => f.write_str("jit"),
            TierMode::Osr => f.write_str("osr"),
            TierMode::Random { seed } => write!(f, "random:{seed}"),
            TierMode::Auto => f.write_str("auto"),
        }
    }
}

/// A text that names no [`TierMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected interp, jit, auto, osr or random:SEED")]
pub struct NoTierMode;

impl FromStr for TierMode {
    type Err = NoTierMode;

    fn from_str(text: &str) -> Result<TierMode, NoTierMode> {
        match text {
            "interp" => Ok(TierMode::Interp),
            "jit" => Ok(TierMode::Jit),
            "osr" => Ok(TierMode::Osr),
            "auto" => Ok(TierMode::Auto),
            _ => {
                let seed = text.strip_prefix("random:").ok_or(NoTierMode)?;
                let seed = seed.parse().map_err(|_| NoTierMode)?;
                Ok(TierMode::Random { seed })
            }
        }
    }
}

/// What `perf` is told about functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// `/tmp/perf-PID.map`: the name and place of each function.
    PerfMap,
    /// `jit-PID.dump`: the code itself as well, for `perf inject --jit`.
    JitDump,
}

/// What interpreting and compiling are taken to cost: the tier policy weighs one against the other.
///
/// The unit is the nanosecond of one core of a server of 2025; only ratios matter, so a slower machine needs no other
/// numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CostModel {
    /// Units of work between two samples: a unit is a cell of bytecode, which most instructions become. An interrupt is
    /// seen at the next sample, and a sample takes some 0.2 µs.
    pub period: i32,
    /// Interpreting one cell.
    pub cell_ns: f64,
    /// Compiling an empty body.
    pub compile_ns: f64,
    /// Compiling one byte of a small body. Fitted together with the next: 2.3 kB 1.2 ms, 7.7 kB 3.3 ms, 19 kB 9.4 ms,
    /// 77 kB 57 ms, 157 kB 172 ms; this gives 1.0, 3.4, 9.4, 56 and 167.
    pub compile_byte_ns: f64,
    /// The body size at which a byte takes twice as long: register allocation grows faster than the body.
    pub compile_doubling_bytes: f64,
    /// How many times cheaper than on the guest's thread a compile in the background counts: the ski is rented until
    /// `spent × eagerness` would have bought it. 1 is the break-even that never costs more than twice the best fixed
    /// choice; in the background a compile that was not worth it costs only the time of an idle core.
    pub eagerness: f64,
    /// The part of a module's work from which on a function is that eager. With a smaller part of it, the price rises in
    /// proportion.
    pub large_share: f64,
    /// What a call between compiled and interpreted code takes longer than one between interpreted functions.
    pub crossing_ns: f64,
    /// The highest price, in times of what compiling costs.
    pub patience: f64,
    /// The price, in times of what compiling costs, of what does all its work in calls of small leaves that are compiled
    /// with it.
    pub call_patience: f64,
    /// The price of all functions together that have been found being called, in times of what compiling costs.
    pub set_patience: f64,
    /// A compile that takes no longer than this can be done on the guest's thread without anybody noticing: that is done if
    /// something has earned its full price and still waits. So long a guest pauses, at most, before it goes on interpreting
    /// what another thread compiles.
    pub pause_ns: f64,
    /// A compile that is foreseen to take longer than this is left to a compile thread where the guest's own would compile:
    /// the guest waits, and an interrupt or a deadline ends its waiting. It is foreseen within three times, so others hold
    /// up an interrupt for three times this at most. Where nothing can stop the guest, its thread compiles. So it does where
    /// a trace sink calls the guest.
    pub interruptible_compile_ns: f64,
    /// A compile that takes longer than this is slow: not every thread may be busy with those.
    pub slow_compile_ns: f64,
    /// A compile that takes longer than this, and ten times as long as was foreseen, hangs: another thread takes the place
    /// of its own.
    pub hung_compile_ns: f64,
    /// The most compiles that may wait; the coldest gives way and is asked for again if it stays hot.
    pub queue_len: usize,
    /// Bytes of machine code of a module behind which no more is made,
    pub code_bytes: usize,
    /// and how many more for each byte of the module. Programs have some five for each byte of their functions; but a call
    /// of two bytes that passes a thousand values on has ten thousand.
    pub code_bytes_per_byte: usize,
}

impl Default for CostModel {
    fn default() -> CostModel {
        CostModel {
            period: 100_000,
            cell_ns: 0.45,
            compile_ns: 25_000.0,
            compile_byte_ns: 420.0,
            compile_doubling_bytes: 95_000.0,
            eagerness: 8.0,
            large_share: 0.125,
            crossing_ns: 4.0,
            patience: 2.0,
            call_patience: 6.5,
            set_patience: 0.75,
            pause_ns: 400_000.0,
            interruptible_compile_ns: 5_000_000.0,
            slow_compile_ns: 10_000_000.0,
            hung_compile_ns: 2_000_000_000.0,
            queue_len: 1_024,
            code_bytes: 16 << 20,
            code_bytes_per_byte: 64,
        }
    }
}

/// How an [`Engine`](crate::Engine) works.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) tier: TierMode,
    pub(crate) limits: Limits,
    pub(crate) fuel: Option<u64>,
    pub(crate) gc_stress: bool,
    pub(crate) decode: tiered_decode::Config,
    pub(crate) compile_threads: Option<usize>,
    pub(crate) costs: CostModel,
    pub(crate) max_code: Option<usize>,
    pub(crate) max_compile_memory: Option<usize>,
    pub(crate) verify: Option<bool>,
    pub(crate) spectre_guards: Option<bool>,
    pub(crate) relaxed: Relaxed,
    pub(crate) profile: Option<Profile>,
    pub(crate) trace: Option<Trace>,
}

impl Config {
    /// What most programs want.
    #[must_use]
    pub fn new() -> Config {
        Config::default()
    }

    /// The proposals that modules may use.
    #[must_use]
    pub fn proposals(&self) -> tiered_decode::wasmparser::WasmFeatures {
        self.decode.proposals
    }

    /// Which tiers run functions; [`TierMode::Auto`] by default.
    #[must_use]
    pub fn tier(mut self, tier: TierMode) -> Config {
        self.tier = tier;
        self
    }

    /// What each store may use; [`Limits::default`] by default.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// Bytes of linear memory that each store may have.
    #[must_use]
    pub fn max_memory(mut self, bytes: u64) -> Config {
        self.limits.memory_bytes = bytes;
        self
    }

    /// Bytes of stack for the guest's frames; a deeper recursion traps. A frame counts as what it takes when it is
    /// interpreted. Where compiled code runs, a guest may go deeper, but not twice as deep. This holds in every
    /// [`TierMode`] and on every thread. Recursion through host functions is also limited by the thread's stack:
    /// [`Config::max_native_stack`].
    #[must_use]
    pub fn max_stack(mut self, bytes: usize) -> Config {
        self.limits.stack_bytes = bytes;
        self
    }

    /// Bytes of the calling thread's own stack that the guest may use; 1 MiB by default. Where the thread has less, the
    /// guest uses less, down to none; a quarter of the stack, 32 to 256 KiB, is kept for host functions.
    ///
    /// * Frames of compiled code take up to half of it. Deeper recursion goes on in the interpreter, more slowly.
    /// * Guest and host functions that call one another may use all of it; then they trap with a stack overflow.
    ///
    /// A stack that is not the thread's own, say a coroutine's, can't be asked how long it is: it must have these bytes,
    /// and those that host functions need.
    #[must_use]
    pub fn max_native_stack(mut self, bytes: usize) -> Config {
        self.limits.native_stack_bytes = bytes;
        self
    }

    /// Bytes of the garbage-collected heap that each store may have; 4 GiB by default. So much address space is reserved
    /// with the first object.
    #[must_use]
    pub fn max_gc_heap(mut self, bytes: u64) -> Config {
        self.limits.gc_heap_bytes = bytes;
        self
    }

    /// Whether the heap is collected at each allocation, and what is freed is overwritten. For tests: what is used and not
    /// known to be in use is found out.
    #[must_use]
    pub fn gc_stress(mut self, stress: bool) -> Config {
        self.gc_stress = stress;
        self
    }

    /// The fuel that each store begins with: a call or a loop iteration takes one unit, and so do each 4 KiB that one
    /// instruction fills or copies. `None`, the default, does not count.
    #[must_use]
    pub fn fuel(mut self, fuel: Option<u64>) -> Config {
        self.fuel = fuel;
        self
    }

    /// The threads that validate a module, all cores by default.
    #[must_use]
    pub fn validation_threads(mut self, threads: usize) -> Config {
        self.decode.threads = Some(threads);
        self
    }

    /// The threads that compile in [`TierMode::Auto`]. `None`, the default, is one on a machine of one or two cores and
    /// two on others, and one more for small functions while a huge one is compiled if otherwise nothing else could
    /// be. With `Some(0)` the guest's thread compiles, and waits. Threads start when there is something to compile.
    ///
    /// In all modes in which a guest waits for compiles, those that take long run on one of these threads if something
    /// may stop the guest; with `Some(0)` there is one for them: [`CostModel::interruptible_compile_ns`].
    #[must_use]
    pub fn compile_threads(mut self, threads: Option<usize>) -> Config {
        self.compile_threads = threads;
        self
    }

    /// What the policy of [`TierMode::Auto`] takes interpreting and compiling to cost.
    #[must_use]
    pub fn costs(mut self, costs: CostModel) -> Config {
        self.costs = costs;
        self
    }

    /// Bytes of machine code that the engine may make; 1 GiB by default. What finds no room stays interpreted, and so does
    /// what is left of a module with more code than in proportion: [`CostModel::code_bytes`].
    #[must_use]
    pub fn max_code(mut self, bytes: usize) -> Config {
        self.max_code = Some(bytes);
        self
    }

    /// Bytes of memory that compiling may take, on all threads together; 512 MiB by default. It is foreseen, not measured: a
    /// function that would take more than its thread's part stays interpreted.
    #[must_use]
    pub fn max_compile_memory(mut self, bytes: usize) -> Config {
        self.max_compile_memory = Some(bytes);
        self
    }

    /// Whether the compiler checks its own intermediate code; by default only in debug builds.
    #[must_use]
    pub fn verify_compiler(mut self, verify: bool) -> Config {
        self.verify = Some(verify);
        self
    }

    /// Whether compiled code is guarded against Spectre's variant 1: no access that is compared with a limit leaves
    /// what is reserved for its memory, or its table, not even in advance. It is by default. Interpreted code always is.
    #[must_use]
    pub fn spectre_guards(mut self, guards: bool) -> Config {
        self.spectre_guards = Some(guards);
        self
    }

    /// Whether relaxed vector instructions have the results of the spec's deterministic profile, which are the same on every
    /// machine. By default they have those that this processor computes fastest. Tiers agree either way.
    #[must_use]
    pub fn deterministic_relaxed(mut self, deterministic: bool) -> Config {
        self.relaxed = match deterministic {
            true => Relaxed::DETERMINISTIC,
            false => Relaxed::of_host(),
        };
        self
    }

    /// Tells `perf` where compiled code is, and has interpreted functions run below trampolines that it is told of, which
    /// takes native stack and time at each of their calls; `None` by default. The file is made with the engine, in place of
    /// what stands at its name: [`Engine::no_profile`](crate::Engine::no_profile).
    #[must_use]
    pub fn profile(mut self, profile: Option<Profile>) -> Config {
        self.profile = profile;
        self
    }

    /// Has `sink` called with each decision and step of the tiers, on the thread where it happens. It runs while that
    /// thread could run the guest, so it should be quick. A sink that panics is not called again, and everything else goes
    /// on: [`Stats::trace_panicked`](crate::Stats::trace_panicked).
    #[must_use]
    pub fn trace(mut self, sink: impl Fn(&TierEvent<'_>) + Send + Sync + 'static) -> Config {
        self.trace = Some(Trace::new(sink));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_they_are_written() {
        for mode in [
            TierMode::Interp,
            TierMode::Jit,
            TierMode::Osr,
            TierMode::Auto,
            TierMode::Random { seed: 0 },
            TierMode::Random { seed: u64::MAX },
        ] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for text in [
            "",
            "Auto",
            "random",
            "random:",
            "random:x",
            "random:-1",
            "jit ",
        ] {
            assert_eq!(text.parse::<TierMode>(), Err(NoTierMode), "{text:?}");
        }
    }
}
