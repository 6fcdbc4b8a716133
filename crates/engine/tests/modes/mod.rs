//! The tier modes that the tests of an engine run under, and the macro that makes a test of each.
//!
//! *Invariant:* a test sees no difference between modes but in time: whatever it expects, it expects in all of them.

use tiered::{Config, CostModel, Limits, Profile};

/// An engine in a mode that is named as on the command line; compile threads and costs matter to `auto` only, where
/// everything is worth compiling once it was seen twice.
pub(crate) fn config(mode: &str, compile_threads: usize) -> Config {
    let mut costs = CostModel::default();
    costs.period = 20;
    (costs.compile_ns, costs.compile_byte_ns) = (0.0, 0.0);
    let tier = mode.parse().expect("it is the name of a mode");
    Config::new()
        .tier(tier)
        .costs(costs)
        .compile_threads(Some(compile_threads))
}

/// What the stack of a thread that runs guests takes in bytes, if `profiled` is one of its test's modes.
pub(crate) const THREAD_STACK: usize = 8 << 20;

/// Runs `test` while `perf` is told of all functions. Interpreted calls nest on the host's stack then, as long as there is
/// some, and debug builds take much of it.
pub(crate) fn profiled(config: Config, test: fn(&Config)) {
    let limits = Limits {
        native_stack_bytes: 6 << 20,
        ..Limits::default()
    };
    let config = config.limits(limits).profile(Some(Profile::PerfMap));
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK);
    let thread = thread.spawn(move || test(&config)).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
    // Other tests go on writing to it; the last one that writes takes it away.
    let _ = std::fs::remove_file(format!("/tmp/perf-{}.map", std::process::id()));
}

/// Makes tests of functions that take a [`Config`], one for each mode: `NAME::jit` and so on.
macro_rules! in_all_modes {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            use crate::modes::config;

            #[test]
            fn interp() {
                super::$test(&config("interp", 0));
            }

            #[test]
            fn jit() {
                super::$test(&config("jit", 0));
            }

            #[test]
            fn osr() {
                super::$test(&config("osr", 0));
            }

            #[test]
            fn random_0() {
                super::$test(&config("random:0", 0));
            }

            #[test]
            fn random_9() {
                super::$test(&config("random:9", 0));
            }

            #[test]
            fn random_77() {
                super::$test(&config("random:77", 0));
            }

            #[test]
            fn auto() {
                super::$test(&config("auto", 1));
            }

            #[test]
            fn auto_in_the_foreground() {
                super::$test(&config("auto", 0));
            }

            #[test]
            fn interp_profiled() {
                crate::modes::profiled(config("interp", 0), super::$test);
            }

            #[test]
            fn auto_profiled() {
                crate::modes::profiled(config("auto", 0), super::$test);
            }
        }
    )*};
}

pub(crate) use in_all_modes;
