//! Telling a profiler of the host which function the code at an address is of.
//!
//! Compiled code is told where it is placed. Interpreted functions run by code that is none's in particular, so each gets
//! a [`Trampoline`], which is told instead: a profiler that keeps call chains (`perf record -g`) finds its name above
//! the interpreter's.
//!
//! Two forms that Linux's `perf` reads. A *map* is a text file with a line for each function: names in reports. A *dump*
//! holds the code too, so that `perf annotate` can show it: `perf record -k 1`, then `perf inject --jit`.
//!
//! * *Invariant:* a profiler that can't be told anything never keeps code from being made: errors end the telling.
//! * *Invariant:* there is one file a process and form, to which all engines write: the profiler asks for no more.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ptr::NonNull;
use std::time::Duration;

use cranelift_jit::{JITMemoryKind, JITMemoryProvider};
use parking_lot::Mutex;
use rustix::mm::{MapFlags, ProtFlags};
use tiered_runtime::code::FuncRecord;
use tiered_runtime::trampoline::{Trampoline, TrampolineFn};

use crate::code_memory::{Backing, CodeMemory, Mapping};
use crate::compiler::func_name;

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

/// Tells the profiler of code that was placed.
pub(crate) fn placed(form: Profile, address: *const u8, code: &[u8], name: &str) {
    let mut profiler = PROFILERS[form as usize].lock();
    let profiler = profiler.get_or_insert_with(|| Profiler::new(form));
    profiler.placed(address, code, name);
}

impl Profile {
    /// What makes trampolines whose addresses this profiler is told; `None` on a machine that they are not made for.
    #[must_use]
    pub fn trampolines(self) -> Option<TrampolineFn> {
        cfg!(target_arch = "x86_64").then_some(match self {
            Profile::PerfMap => |func| trampoline(Profile::PerfMap, func),
            Profile::JitDump => |func| trampoline(Profile::JitDump, func),
        })
    }

    /// Where code must be for this profiler to find its name.
    pub(crate) fn backing(self) -> Backing {
        match self {
            Profile::PerfMap => Backing::Anonymous,
            Profile::JitDump => Backing::File,
        }
    }
}

/// A trampoline of x86-64. A profiler takes the innermost frame pointer for that of the caller of the code that runs,
/// whose own caller it would miss if that code made no frame; so there are two frames, one within the other.
const TRAMPOLINE: [u8; 20] = [
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0xe8, 0x02, 0x00, 0x00, 0x00, // call the second half
    0x5d, // pop rbp
    0xc3, // ret
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0xff, 0x55, 0x20, // call [rbp + 32]: the first argument on the stack
    0x5d, // pop rbp
    0xc3, // ret
];

/// Bytes of memory that is got for trampolines at once.
const TRAMPOLINES: usize = 1 << 20;

fn trampoline(form: Profile, func: &FuncRecord) -> Option<Trampoline> {
    // By form: each wants memory of its own kind.
    static MEMORY: [Mutex<Option<CodeMemory>>; 2] = [const { Mutex::new(None) }; 2];
    let module = func.module()?;
    let mut memory = MEMORY[form as usize].lock();
    let address = match memory.as_mut().and_then(place_trampoline) {
        Some(address) => address,
        None => {
            // The one before is full. Functions that it has trampolines of may run at any time.
            std::mem::forget(memory.take());
            let fresh = memory.insert(CodeMemory(Mapping::new(TRAMPOLINES, form.backing()).ok()?));
            place_trampoline(fresh)?
        }
    };
    drop(memory);
    let name = func_name(module, func.index);
    placed(
        form,
        address.as_ptr(),
        &TRAMPOLINE,
        &format!("{name} (interpreted)"),
    );
    // SAFETY: the code does what a trampoline does, and is never unmapped.
    Some(unsafe { Trampoline::new(address) })
}

fn place_trampoline(memory: &mut CodeMemory) -> Option<NonNull<u8>> {
    let room = memory.allocate(TRAMPOLINE.len(), 16, JITMemoryKind::Executable);
    let room = room.ok()?;
    // SAFETY: the room is writable, long enough, and nobody else's.
    unsafe { room.copy_from_nonoverlapping(TRAMPOLINE.as_ptr(), TRAMPOLINE.len()) };
    NonNull::new(memory.0.executable(room).cast_mut())
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
    fn placed(&mut self, address: *const u8, code: &[u8], name: &str) {
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

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// The innermost return address of the chain of frame pointers, as a profiler sees it that stops here; the arguments
    /// must have come through.
    #[unsafe(naked)]
    unsafe extern "sysv64" fn first_return_address() -> usize {
        std::arch::naked_asm!(
            "mov rax, [rbp + 8]",
            "imul rdi, rsi, 1000",
            "add rdi, r9",
            "cvttsd2si rsi, xmm3",
            "add rdi, rsi",
            "mov [r8], rdi",
            "ret",
        )
    }

    type Through = unsafe extern "sysv64" fn(
        u64,
        u64,
        u64,
        u64,
        *mut u64,
        u64,
        f64,
        f64,
        f64,
        f64,
        unsafe extern "sysv64" fn() -> usize,
    ) -> usize;

    #[test]
    fn the_chain_of_frame_pointers_leads_over_the_trampoline() {
        let mut memory =
            CodeMemory(Mapping::new(TRAMPOLINES, Backing::Anonymous).expect("there is memory"));
        for _ in 0..3 {
            let code = place_trampoline(&mut memory).expect("there is room");
            let mut seen = 0;
            // SAFETY: the trampoline calls its argument, with the others in place.
            let address = unsafe {
                let through = std::mem::transmute::<*mut u8, Through>(code.as_ptr());
                through(
                    0,
                    7,
                    0,
                    0,
                    &raw mut seen,
                    5,
                    0.0,
                    0.0,
                    0.0,
                    80.0,
                    first_return_address,
                )
            };
            assert_eq!(seen, 7085);
            let start = code.addr().get();
            assert!((start..start + TRAMPOLINE.len()).contains(&(address - 1)));
        }
    }

    #[test]
    fn trampolines_end_with_their_memory() {
        let mut memory = CodeMemory(Mapping::new(1, Backing::File).expect("there is memory"));
        let room = memory.0.range().len();
        let mut placed = 0;
        while place_trampoline(&mut memory).is_some() {
            placed += 1;
        }
        assert_eq!(placed, room / TRAMPOLINE.len().next_multiple_of(16));
    }
}
