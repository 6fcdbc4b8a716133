//! Telling a profiler of the host which function the code at an address is of.
//!
//! Two forms that Linux's `perf` reads. A *map* is a text file with a line for each function: names in reports. A *dump*
//! holds the code too, so that `perf annotate` can show it: `perf record -k 1`, then `perf inject --jit`.
//!
//! * *Invariant:* a profiler that can't be told anything never keeps code from being made: errors end the telling.
//! * *Invariant:* there is one file a process and form, to which all engines write: the profiler asks for no more.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use rustix::mm::{MapFlags, ProtFlags};

/// Which form a profiler of the host is told of code in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// `/tmp/perf-PID.map`.
    PerfMap,
    /// `jit-PID.dump` in the working directory.
    JitDump,
}

/// The files, by form.
static PROFILERS: [Mutex<Option<Profiler>>; 2] = [const { Mutex::new(None) }; 2];

impl Profile {
    /// Creates the file now, for a process that will not be able to. Otherwise the first function does.
    pub fn open_ahead(self) {
        drop(self.lock());
    }

    fn lock(self) -> MappedMutexGuard<'static, Profiler> {
        MutexGuard::map(PROFILERS[self as usize].lock(), |profiler| {
            profiler.get_or_insert_with(|| Profiler::new(self))
        })
    }

    /// Tells the profiler that `code`, where it is, is the function `name`.
    pub fn tell(self, code: &[u8], name: &str) {
        self.lock().tell(code, name);
    }
}

/// Writes the file.
struct Profiler {
    form: Profile,
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Profiler {
    fn new(form: Profile) -> Profiler {
        let pid = std::process::id();
        let file = match form {
            Profile::PerfMap => File::create(format!("/tmp/perf-{pid}.map")),
            Profile::JitDump => begin_dump(&format!("jit-{pid}.dump")),
        };
        Profiler {
            form,
            file: file.ok().map(BufWriter::new),
            count: 0,
        }
    }

    /// Code was placed.
    fn tell(&mut self, code: &[u8], name: &str) {
        let address = code.as_ptr();
        let Some(file) = &mut self.file else {
            return;
        };
        let name = name.replace(['\n', '\0'], " ");
        let written = match self.form {
            Profile::PerfMap => {
                writeln!(file, "{:x} {:x} {name}", address.addr(), code.len())
            }
            Profile::JitDump => dump_code(file, self.count, address.addr() as u64, code, &name),
        };
        self.count += 1;
        if written.and_then(|()| file.flush()).is_err() {
            self.file = None;
        }
    }
}

/// `JITHEADER_MAGIC` and the version of the format, in the kernel's `jitdump-specification.txt`.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER_BYTES: u32 = 40;
/// `JIT_CODE_LOAD`
const CODE_LOAD: u32 = 0;
const CODE_LOAD_BYTES: usize = 56;
/// `EM_X86_64`, `EM_AARCH64`
const MACHINE: u32 = if cfg!(target_arch = "x86_64") {
    62
} else {
    183
};

/// Creates the dump with its header. Mapping it executable is how perf comes to know of it.
fn begin_dump(path: &str) -> std::io::Result<File> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let mut header = Vec::new();
    for word in [MAGIC, VERSION, HEADER_BYTES, MACHINE, 0, std::process::id()] {
        header.extend(word.to_ne_bytes());
    }
    header.extend(now().to_ne_bytes());
    header.extend(0u64.to_ne_bytes());
    file.write_all(&header)?;
    let protection = ProtFlags::READ | ProtFlags::EXEC;
    // SAFETY: a fresh mapping at an address of the kernel's choice, which nobody uses: perf sees that it was made.
    let mapped = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            4096,
            protection,
            MapFlags::PRIVATE,
            &file,
            0,
        )
    };
    mapped?;
    Ok(file)
}

/// The time of the clock that `perf record -k 1` uses, in nanoseconds.
fn now() -> u64 {
    // SAFETY: the time is written to a value of this function.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_nanos() as u64
}

fn dump_code(
    file: &mut impl Write,
    index: u64,
    address: u64,
    code: &[u8],
    name: &str,
) -> std::io::Result<()> {
    let size = CODE_LOAD_BYTES + name.len() + 1 + code.len();
    let pid = std::process::id();
    file.write_all(&CODE_LOAD.to_ne_bytes())?;
    file.write_all(&(size as u32).to_ne_bytes())?;
    file.write_all(&now().to_ne_bytes())?;
    file.write_all(&pid.to_ne_bytes())?;
    file.write_all(&pid.to_ne_bytes())?;
    for word in [address, address, code.len() as u64, index] {
        file.write_all(&word.to_ne_bytes())?;
    }
    file.write_all(name.as_bytes())?;
    file.write_all(&[0])?;
    file.write_all(code)
}
