//! What is counted for [`Stats`].
//!
//! *Invariant:* counting takes no lock: counters are read one by one while others go on, so their sums may be off by
//! what is happening just then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::stats::{BUCKETS, Pauses, Stats};

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) samples: Count,
    pub(crate) functions_compiled: Count,
    pub(crate) loops_compiled: Count,
    pub(crate) failures: Count,
    pub(crate) dropped: Count,
    pub(crate) published: Count,
    pub(crate) entered: Count,
    pub(crate) first_compiled: Least,
    pub(crate) compile_time: Times,
    pub(crate) queue_wait: Times,
    pub(crate) body_bytes: Count,
    pub(crate) code_bytes: Count,
    pub(crate) single_pass: Count,
    pub(crate) compile_memory: Most,
    pub(crate) pauses: Histogram,
}

impl Counters {
    pub(crate) fn read(&self, uptime: Duration) -> Stats {
        Stats {
            uptime,
            samples: self.samples.get(),
            functions_compiled: self.functions_compiled.get(),
            loops_compiled: self.loops_compiled.get(),
            failures: self.failures.get(),
            dropped: self.dropped.get(),
            published: self.published.get(),
            entered: self.entered.get(),
            first_compiled: self.first_compiled.get(),
            compile_time: self.compile_time.sum(),
            longest_compile: self.compile_time.longest(),
            queue_wait: self.queue_wait.sum(),
            longest_wait: self.queue_wait.longest(),
            body_bytes: self.body_bytes.get(),
            code_bytes: self.code_bytes.get(),
            single_pass: self.single_pass.get(),
            compile_memory: self.compile_memory.get(),
            trace_panicked: false,
            pauses: self.pauses.read(),
        }
    }
}

/// A number of things.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The largest of some numbers.
#[derive(Debug, Default)]
pub(crate) struct Most(AtomicU64);

impl Most {
    pub(crate) fn note(&self, number: usize) {
        self.0.fetch_max(number as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The earliest of some times; nothing if there was none.
#[derive(Debug)]
pub(crate) struct Least(AtomicU64);

impl Default for Least {
    fn default() -> Least {
        Least(AtomicU64::new(u64::MAX))
    }
}

impl Least {
    pub(crate) fn note(&self, time: Duration) {
        self.0.fetch_min(nanos(time), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        let time = self.0.load(Ordering::Relaxed);
        (time != u64::MAX).then(|| Duration::from_nanos(time))
    }
}

/// Sum and maximum of some times.
#[derive(Debug, Default)]
pub(crate) struct Times {
    sum: AtomicU64,
    longest: AtomicU64,
}

impl Times {
    pub(crate) fn note(&self, time: Duration) {
        self.sum.fetch_add(nanos(time), Ordering::Relaxed);
        self.longest.fetch_max(nanos(time), Ordering::Relaxed);
    }

    fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum.load(Ordering::Relaxed))
    }

    fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Ordering::Relaxed))
    }
}

/// Times by the power of two that they reach.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    longest: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: [const { AtomicU64::new(0) }; BUCKETS],
            longest: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(crate) fn note(&self, time: Duration) {
        let nanos = nanos(time).max(1);
        let at = (nanos.ilog2() as usize).min(BUCKETS - 1);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
    }

    fn read(&self) -> Pauses {
        Pauses {
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            longest: Duration::from_nanos(self.longest.load(Ordering::Relaxed)),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_fall_into_powers_of_two() {
        let histogram = Histogram::default();
        for nanos in [0, 1, 2, 3, 1023, 1024, 1025, 2047] {
            histogram.note(Duration::from_nanos(nanos));
        }
        histogram.note(Duration::MAX);
        let pauses = histogram.read();
        let buckets: Vec<_> = pauses
            .buckets()
            .map(|(from, count)| (from.as_nanos(), count))
            .collect();
        assert_eq!(buckets, [(1, 2), (2, 2), (512, 1), (1024, 3), (1 << 31, 1)]);
        assert!(pauses.longest() > Duration::from_secs(1 << 30));
    }

    #[test]
    fn the_first_time_is_kept() {
        let first = Least::default();
        assert_eq!(first.get(), None);
        first.note(Duration::from_millis(5));
        first.note(Duration::from_millis(7));
        assert_eq!(first.get(), Some(Duration::from_millis(5)));
    }
}
