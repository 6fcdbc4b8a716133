//! How much memory of this process is resident.

use anyhow::{Context, Result};

/// The resident memory of this process in KiB, counted page by page: the cheaper counts lag behind.
pub(crate) fn resident_kib() -> Result<f64> {
    let path = "/proc/self/smaps_rollup";
    let text = std::fs::read_to_string(path).context(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    let kib = words.and_then(|word| word.parse().ok());
    kib.with_context(|| format!("{path} has no line Rss"))
}
