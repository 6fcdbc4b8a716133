//! The engine that the options ask for.
//!
//! *Invariant:* a tier that was asked for by name is there, or the command fails; only `auto` makes do without.

use rustix::process::{Resource, getrlimit};
use tiered::{Config, Engine, TierMode};

use crate::args::{Profile, RunArgs, Trace, YesNo};
use crate::failure::Failure;
use crate::output;

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
        .max_native_stack(native_stack_bytes(getrlimit(Resource::Stack).current))
}

/// The settings that the options of a run name.
pub(crate) fn run_config(args: &RunArgs) -> Config {
    let mut config = config(args.tier)
        .fuel(args.fuel)
        .compile_threads(args.compile_threads)
        .spectre_guards(args.spectre_guards == YesNo::Yes)
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

/// What of the main thread's stack the guest may have: all that the system grants, up to a bound, but for what this
/// program and its host functions need.
fn native_stack_bytes(granted: Option<u64>) -> usize {
    const MOST: u64 = 64 << 20;
    const LEAST: u64 = 512 << 10;
    const OWN: u64 = 1 << 20;
    let bytes = granted.unwrap_or(MOST).min(MOST);
    usize::try_from(bytes.saturating_sub(OWN).max(LEAST)).unwrap_or(LEAST as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_gets_most_of_the_stack() {
        assert_eq!(native_stack_bytes(Some(8 << 20)), 7 << 20);
        assert_eq!(native_stack_bytes(None), 63 << 20);
        assert_eq!(native_stack_bytes(Some(1 << 40)), 63 << 20);
        for little in [0, 100 << 10, 1 << 20, 1_500_000] {
            assert_eq!(native_stack_bytes(Some(little)), 512 << 10);
        }
    }
}
