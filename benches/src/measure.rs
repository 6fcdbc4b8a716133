//! One process, timed from before its start to after its end, with what the kernel says of its resources.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use wait4::Wait4;

/// What one run of a process was like.
pub struct Sample {
    /// From before its start to after its end.
    pub wall: Duration,
    /// User and kernel time of all threads.
    pub cpu: Duration,
    /// The most memory that was resident at once, in bytes.
    pub peak_memory: u64,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it printed as errors.
    pub stderr: String,
}

/// Runs `command` with no input. Its output goes to files, so that nothing of ours works while it does.
///
/// # Errors
/// There is no such program, or no place for a temporary file.
pub fn measure(mut command: Command) -> Result<Sample> {
    let stdout = tempfile::tempfile()?;
    let stderr = tempfile::tempfile()?;
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    let start = Instant::now();
    let used = command.spawn()?.wait4()?;
    let wall = start.elapsed();
    Ok(Sample {
        wall,
        cpu: used.rusage.utime + used.rusage.stime,
        peak_memory: used.rusage.maxrss,
        status: used.status,
        stdout: read_back(stdout)?,
        stderr: String::from_utf8_lossy(&read_back(stderr)?).into_owned(),
    })
}

fn read_back(mut file: File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_with_its_output() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let sample = measure(command).unwrap();
        assert_eq!(sample.status.code(), Some(3));
        assert_eq!(sample.stdout, b"out\n");
        assert_eq!(sample.stderr, "err\n");
        assert!(sample.peak_memory > 100_000, "bytes, not kilobytes");
        assert!(sample.wall > Duration::ZERO);
    }
}
