//! Telling a profiler of the host which function the code at an address is of.
//!
//! Two forms that Linux's `perf` reads. A *map* is a text file with a line for each function: names in reports. A *dump*
//! holds the code too, so that `perf annotate` can show it: `perf record -k 1`, then `perf inject --jit`.
//!
//! * *Invariant:* a profiler that can't be told anything never keeps code from being made: errors end the telling.
//! * *Invariant:* there is one file a process and form, to which all engines write: the profiler asks for no more.
//! * *Invariant:* what is written to is a file that was made here ([`create`]): the names are known to all, and a guest or
//!   another user may have put a link there that leads to a file which is worth something. With [`Profile::open`] it is
//!   made before a guest runs that could.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
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
    /// Makes the file, unless the process has it already. What stood at its name, a link too, is removed and not written
    /// to.
    ///
    /// # Errors
    /// The file can't be made; nothing is told then, now or later.
    pub fn open(self) -> io::Result<()> {
        match &self.lock().file {
            Ok(_) => Ok(()),
            Err(error) => Err(copy(error)),
        }
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
    file: io::Result<BufWriter<File>>,
    count: u64,
}

impl Profiler {
    fn new(form: Profile) -> Profiler {
        let pid = std::process::id();
        let file = match form {
            Profile::PerfMap => create(Path::new(&format!("/tmp/perf-{pid}.map"))),
            Profile::JitDump => begin_dump(Path::new(&format!("jit-{pid}.dump"))),
        };
        Profiler {
            form,
            file: file.map(BufWriter::new),
            count: 0,
        }
    }

    /// Code was placed.
    fn tell(&mut self, code: &[u8], name: &str) {
        let address = code.as_ptr();
        let Ok(file) = &mut self.file else {
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
        if let Err(error) = written.and_then(|()| file.flush()) {
            self.file = Err(error);
        }
    }
}

/// The same error again, as far as it can be said.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}

/// Makes a file that is this user's alone, at a name that others know and may have taken: what stands there is removed,
/// whatever it is, and never opened.
fn create(path: &Path) -> io::Result<File> {
    // Somebody may put something there each time.
    const TRIES: usize = 16;
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut created = options.open(path);
    for _ in 1..TRIES {
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AlreadyExists;
        if !created.as_ref().is_err_and(is_taken) {
            break;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => created = options.open(path),
        }
    }
    created
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
fn begin_dump(path: &Path) -> io::Result<File> {
    let mut file = create(path)?;
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
) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    /// Makes a directory of the test's own.
    fn directory(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("tiered-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        path
    }

    #[test]
    fn what_stands_at_a_files_name_is_not_written_to() {
        let dir = directory("links");
        let (precious, path) = (dir.join("precious"), dir.join("known"));
        let plants: [fn(&Path, &Path); 4] = [
            |to, at| symlink(to, at).expect("a link"),
            |_, at| symlink("nowhere", at).expect("a link"),
            |to, at| fs::hard_link(to, at).expect("a second name"),
            |_, at| fs::write(at, "old").expect("a file"),
        ];
        for plant in plants {
            fs::write(&precious, "precious").expect("a file");
            plant(&precious, &path);
            let mut file = create(&path).expect("it can be made");
            file.write_all(b"profile").expect("it can be written");
            assert_eq!(fs::read(&precious).expect("it is there"), b"precious");
            assert!(!dir.join("nowhere").exists());
            assert_eq!(fs::read(&path).expect("it is there"), b"profile");
            let stat = fs::symlink_metadata(&path).expect("it is there");
            assert_eq!((stat.mode() & 0o7777, stat.nlink()), (0o600, 1));
            fs::remove_file(&path).expect("it can go");
        }
        // What can't be removed is an error, and stays.
        fs::create_dir(&path).expect("a directory");
        create(&path).expect_err("there is a directory");
        assert!(path.is_dir());
        fs::remove_dir_all(dir).expect("it can go");
    }
}
