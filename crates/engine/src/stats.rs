//! What the tiers have done so far, in numbers.
//!
//! # Why there is no time per tier
//! These numbers cost next to nothing. To know how long each tier ran, every change between tiers would have to read a
//! clock, and there may be one for each call; a `Sampler` estimates it on demand.

use std::time::Duration;

/// What an engine's tiers have done since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Time since the engine was made.
    pub uptime: Duration,
    /// Samples of what runs in the interpreter.
    pub samples: u64,
    /// Functions compiled.
    pub functions_compiled: u64,
    /// Loops compiled, to be entered while they run.
    pub loops_compiled: u64,
    /// Functions and loops that could not be compiled.
    pub failures: u64,
    /// Requests that gave way to hotter ones in the queue.
    pub dropped: u64,
    /// Functions whose calls were moved to compiled code.
    pub published: u64,
    /// Loops whose compiled code was entered by a running frame.
    pub entered: u64,
    /// When compiled code was first ready to run, as time since the engine was made.
    pub first_compiled: Option<Duration>,
    /// Time spent compiling, on all threads, failures included.
    pub compile_time: Duration,
    /// The longest compile.
    pub longest_compile: Duration,
    /// Time that requests waited before they were compiled.
    pub queue_wait: Duration,
    /// The longest of these waits.
    pub longest_wait: Duration,
    /// Bytes of the bodies compiled, once for each time.
    pub body_bytes: u64,
    /// Bytes of machine code made.
    pub code_bytes: u64,
    /// Whether the sink of [`Config::trace`](crate::Config::trace) has panicked; it is called no more then.
    pub trace_panicked: bool,
    /// Functions and loops of which code was made in a single pass, since anything else would have taken too long.
    pub single_pass: u64,
    /// Bytes of memory that the largest compile took, as was foreseen.
    pub compile_memory: u64,
    /// How long the guest waited for the policy.
    pub pauses: Pauses,
}

/// How often the guest's thread was held up by the policy for how long, in each case from the sample to going on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    pub(crate) counts: [u64; BUCKETS],
    pub(crate) longest: Duration,
}

/// The last one holds all that is longer.
pub(crate) const BUCKETS: usize = 32;

impl Pauses {
    /// The pauses by length: from which length on, up to twice that length, and how many. Empty ones are left out.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|&(_, &count)| count > 0)
            .map(|(at, &count)| (Duration::from_nanos(1 << at), count))
    }

    /// The longest pause.
    pub fn longest(&self) -> Duration {
        self.longest
    }
}
