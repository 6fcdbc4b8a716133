//! The engine that the options ask for.
//!
//! *Invariant:* a tier that was asked for by name is there, or the command fails; only `auto` makes do without.

use tiered::{Config, Engine, TierMode};

use crate::args::{Profile, ProgramArgs, Trace, YesNo};
use crate::failure::Failure;
use crate::output;

/// What of the main thread's stack the guest may have, if the thread has so much.
const NATIVE_STACK_BYTES: usize = 64 << 20;

/// An engine that works as `config` says.
///
/// # Errors
/// The tier needs a compiler, and there is none; or the file for a profiler can't be made.
pub(crate) fn new(config: &Config) -> Result<Engine, Failure> {
    let engine = Engine::new(config);
    let mode = engine.tier();
    if let Some(error) = engine.no_profile() {
        return Err(Failure::io("--profile", error));
    }
    match engine.no_compiler() {
        Some(reason) if !matches!(mode, TierMode::Interp | TierMode::Auto) => {
            Err(Failure::host(format!("--tier {mode}"), reason))
        }
        _ => Ok(engine),
    }
}

/// The settings for a tier.
pub(crate) fn config(tier: TierMode) -> Config {
    Config::new()
        .tier(tier)
        .max_native_stack(NATIVE_STACK_BYTES)
}

/// The settings that the options for a program name.
pub(crate) fn program_config(args: &ProgramArgs) -> Config {
    let mut config = config(args.tier)
        .fuel(args.fuel)
        .compile_threads(args.compile_threads)
        .spectre_guards(args.spectre_guards == YesNo::Yes)
        .deterministic_relaxed(args.deterministic_relaxed)
        .profile(args.profile.map(|profile| match profile {
            Profile::Perfmap => tiered::Profile::PerfMap,
            Profile::Jitdump => tiered::Profile::JitDump,
        }));
    if let Some(bytes) = args.max_memory {
        config = config.max_memory(bytes);
    }
    if let Some(bytes) = args.max_compile_memory {
        config = config.max_compile_memory(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    if args.trace.contains(&Trace::Tier) {
        config = config.trace(|event| output::note(&event.to_string()));
    }
    config
}
