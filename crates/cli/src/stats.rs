//! `--stats`: what the tiers did, for people or for programs.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};
use tiered::{Engine, HeapStats, Stats, TierTime};

use crate::args::StatsFormat;
use crate::sandbox;

/// What is known at a program's end beside what the engine knows.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Time since the command began.
    pub(crate) wall_time: Duration,
    /// How the program's processor time divides, if that is known.
    pub(crate) tier_time: Option<TierTime>,
    pub(crate) trapped: bool,
    /// Bytes of code that the interpreter made for itself.
    pub(crate) interpreter_bytes: usize,
    /// The garbage-collected heap.
    pub(crate) heap: HeapStats,
    /// The most memory that the process has held at a time, in bytes, where the system says so.
    pub(crate) peak_memory: Option<u64>,
    pub(crate) sandbox: sandbox::Status,
}

/// The numbers as text, without an end of line.
pub(crate) fn text(format: StatsFormat, engine: &Engine, ending: &Ending) -> String {
    let (tier, stats) = (engine.tier().to_string(), engine.stats());
    match format {
        StatsFormat::Text => for_people(&tier, &stats, ending),
        StatsFormat::Json => for_programs(&tier, &stats, ending).to_string(),
    }
}

fn for_people(tier: &str, stats: &Stats, ending: &Ending) -> String {
    let mut text = String::new();
    let mut line = |name: &str, rest: String| {
        let _ = writeln!(text, "{name:<10} {rest}");
    };
    let end = if ending.trapped {
        ", ended by a trap"
    } else {
        ""
    };
    line(
        "tier",
        format!("{tier}, {} in all{end}", millis(ending.wall_time)),
    );
    if let Some(time) = ending.tier_time {
        line(
            "time",
            format!(
                "{} in compiled code, {} elsewhere, by {} samples",
                millis(time.compiled),
                millis(time.other),
                time.samples
            ),
        );
    }
    line("sandbox", ending.sandbox.text());
    let first = stats.first_compiled.map(millis);
    line(
        "compiled",
        format!(
            "{} functions, {} loops; {} failed; first code after {}",
            stats.functions_compiled,
            stats.loops_compiled,
            stats.failures,
            first.as_deref().unwrap_or("-")
        ),
    );
    line(
        "moved",
        format!(
            "{} functions, {} running loops",
            stats.published, stats.entered
        ),
    );
    line(
        "compiling",
        format!(
            "{}, {} and {} KiB at most; {} in a single pass",
            millis(stats.compile_time),
            millis(stats.longest_compile),
            stats.compile_memory / 1024,
            stats.single_pass
        ),
    );
    line(
        "queue",
        format!(
            "waited {}, {} at most; {} dropped",
            millis(stats.queue_wait),
            millis(stats.longest_wait),
            stats.dropped
        ),
    );
    line(
        "code",
        format!(
            "{} bytes from bodies of {} bytes; {} bytes of the interpreter",
            stats.code_bytes, stats.body_bytes, ending.interpreter_bytes
        ),
    );
    if let Some(peak) = ending.peak_memory {
        line("memory", format!("{} KiB at most", peak / 1024));
    }
    let heap = &ending.heap;
    if heap.allocated_bytes > 0 {
        line(
            "heap",
            format!(
                "{} KiB held, {} KiB allocated in all; {} objects of {} KiB alive after {} collections",
                (heap.occupied_bytes + heap.retained_bytes) / 1024,
                heap.allocated_bytes / 1024,
                heap.live_objects,
                heap.live_bytes / 1024,
                heap.collections,
            ),
        );
        line(
            "collecting",
            format!(
                "{}, {} at most",
                millis(heap.pause_total),
                millis(heap.pause_max)
            ),
        );
    }
    line(
        "pauses",
        format!(
            "{} samples, {} at most",
            stats.samples,
            millis(stats.pauses.longest())
        ),
    );
    for (from, count) in stats.pauses.buckets() {
        line("", format!("from {:>9} ns {count:>8}", nanos(from)));
    }
    text.trim_end().to_owned()
}

fn for_programs(tier: &str, stats: &Stats, ending: &Ending) -> Value {
    let pauses = stats.pauses.buckets();
    let pauses: Vec<_> = pauses
        .map(|(from, count)| json!({"from_ns": nanos(from), "count": count}))
        .collect();
    json!({
        "tier": tier,
        "wall_ns": nanos(ending.wall_time),
        "compiled_time_ns": ending.tier_time.map(|time| nanos(time.compiled)),
        "other_time_ns": ending.tier_time.map(|time| nanos(time.other)),
        "time_samples": ending.tier_time.map(|time| time.samples),
        "trapped": ending.trapped,
        "sandbox": ending.sandbox.json(),
        "peak_memory_bytes": ending.peak_memory,
        "functions_compiled": stats.functions_compiled,
        "loops_compiled": stats.loops_compiled,
        "compile_failures": stats.failures,
        "first_compiled_ns": stats.first_compiled.map(nanos),
        "functions_published": stats.published,
        "loops_entered": stats.entered,
        "compile_ns": nanos(stats.compile_time),
        "longest_compile_ns": nanos(stats.longest_compile),
        "single_pass_compiles": stats.single_pass,
        "compile_memory_bytes": stats.compile_memory,
        "queue_wait_ns": nanos(stats.queue_wait),
        "longest_queue_wait_ns": nanos(stats.longest_wait),
        "queue_dropped": stats.dropped,
        "code_bytes": stats.code_bytes,
        "body_bytes": stats.body_bytes,
        "interpreter_code_bytes": ending.interpreter_bytes,
        "heap_bytes": ending.heap.occupied_bytes + ending.heap.retained_bytes,
        "heap_allocated_bytes": ending.heap.allocated_bytes,
        "heap_live_bytes": ending.heap.live_bytes,
        "heap_live_objects": ending.heap.live_objects,
        "collections": ending.heap.collections,
        "collecting_ns": nanos(ending.heap.pause_total),
        "longest_collection_ns": nanos(ending.heap.pause_max),
        "samples": stats.samples,
        "longest_pause_ns": nanos(stats.pauses.longest()),
        "pauses": pauses,
    })
}

/// Where the system says how much memory the process has held. Opened before the sandbox closes.
#[derive(Debug)]
pub(crate) struct PeakMemory(Option<File>);

impl PeakMemory {
    pub(crate) fn open() -> PeakMemory {
        PeakMemory(File::open("/proc/self/status").ok())
    }

    /// The most so far, in bytes.
    pub(crate) fn read(self) -> Option<u64> {
        let mut status = String::new();
        self.0?.read_to_string(&mut status).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    }
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_the_peak() {
        let peak = PeakMemory::open().read().expect("there is a /proc");
        assert!((1 << 20..1 << 40).contains(&peak), "{peak}");
    }
}
