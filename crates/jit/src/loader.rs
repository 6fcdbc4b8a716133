//! From compiled bytes to code that can be entered.
//!
//! cranelift-jit places it: into a buffer, which goes to its final place in one write. Each blob has a module of
//! cranelift-jit's of its own, which is dropped when the blob stands: a module remembers everything it ever placed.
//!
//! * *Invariant:* code refers to nothing by its own address, so it can be written elsewhere than where it runs.
//! * *Invariant:* everything about code is in the registry before its address leaves [`place`].
//! * *Invariant:* a blob's memory is freed when the blob is dropped: its owner does that once nothing of it runs any
//!   more, or will.

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_jit::{BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule};
use cranelift_module::{DataDescription, Module as _, ModuleError, ModuleResult};

use crate::code_space::{self, CodeSpace, FILLER, Stretch, Target, Writer};
use crate::error::CompileError;
use crate::placement::Phases;
use crate::registry::{CodeFacts, CodeInfo};

/// Machine code that is not placed yet.
pub(crate) struct Unplaced {
    pub(crate) bytes: Box<[u8]>,
    /// Where it begins within a cache line.
    pub(crate) phases: Phases,
    pub(crate) facts: CodeFacts,
}

/// Bytes of code that somebody may have.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: usize,
    used: AtomicUsize,
}

impl Quota {
    pub(crate) fn new(limit: usize) -> Arc<Quota> {
        let used = AtomicUsize::new(0);
        Arc::new(Quota { limit, used })
    }

    /// Bytes that are used.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(self: &Arc<Quota>, bytes: usize) -> Result<Taken, CompileError> {
        let add = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.map_err(|_| CompileError::OutOfCodeMemory)?;
        Ok(Taken {
            quota: Arc::clone(self),
            bytes,
        })
    }
}

/// Part of a quota, given back when dropped.
struct Taken {
    quota: Arc<Quota>,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.quota.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Code that stands where it runs.
pub(crate) struct Blob {
    info: NonNull<CodeInfo>,
    code: NonNull<u8>,
    stretch: Stretch,
    _taken: Taken,
}

// SAFETY: code and what is known of it are immutable.
unsafe impl Send for Blob {}
// SAFETY: as above.
unsafe impl Sync for Blob {}

impl Blob {
    /// The first instruction.
    pub(crate) fn code(&self) -> *const u8 {
        self.code.as_ptr()
    }

    /// The code itself.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the code can be read, and stays as it is as long as this.
        unsafe { std::slice::from_raw_parts(self.code(), self.len()) }
    }

    /// Bytes of code.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: it is freed with this.
        let info = unsafe { self.info.as_ref() };
        info.end - info.start
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("code", &self.code)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        self.stretch.register(std::ptr::null_mut());
        // SAFETY: `place` took it out of a box; only code of this blob leads to it, and none of that runs.
        drop(unsafe { Box::from_raw(self.info.as_ptr()) });
    }
}

/// Places code for the owner of `quota`.
pub(crate) fn place(
    space: &'static CodeSpace,
    quota: &Arc<Quota>,
    isa: &OwnedTargetIsa,
    unplaced: Unplaced,
) -> Result<Blob, CompileError> {
    let Unplaced {
        bytes,
        phases,
        facts,
    } = unplaced;
    let (stretch, code) = write(space, &bytes, phases, |target, bytes| {
        finalize(target, bytes, isa)
    })?;
    // A blob has a unit of its own at least, so quotas count units.
    let taken = quota.take(stretch.len())?;
    let start = code.addr().get();
    let info = Box::new(CodeInfo {
        start,
        end: start + bytes.len(),
        facts,
    });
    let info = NonNull::from(Box::leak(info));
    stretch.register(info.as_ptr());
    Ok(Blob {
        info,
        code,
        stretch,
        _taken: taken,
    })
}

/// Takes memory for `bytes` and has `write` fill it, by one writer after the other; the memory, and where code begins.
fn write(
    space: &'static CodeSpace,
    bytes: &[u8],
    phases: Phases,
    write: impl Fn(Target, &[u8]) -> io::Result<()>,
) -> Result<(Stretch, NonNull<u8>), CompileError> {
    for &writer in space.writers() {
        let stretch = space.take(phases.lowest() + bytes.len(), writer);
        let stretch = stretch.map_err(|_| CompileError::OutOfCodeMemory)?;
        let slack = stretch.len() - bytes.len();
        let gap = phases.choose(slack, stretch.first_unit());
        let mut all = vec![FILLER; stretch.len()];
        all[gap..][..bytes.len()].copy_from_slice(bytes);
        match write(stretch.target(writer), &all) {
            Ok(()) => {
                // SAFETY: the code begins behind the filler.
                let code = unsafe { stretch.start().add(gap) };
                return Ok((stretch, code));
            }
            // Its pages may have been left writable.
            Err(_) if writer == Writer::WholePages => std::mem::forget(stretch),
            Err(_) => {}
        }
    }
    Err(CompileError::OutOfCodeMemory)
}

/// Places `bytes`, machine code that can stand anywhere, for as long as the process runs; `None` if the system has no
/// memory for it.
///
/// It does not count as compiled code ([`crate::is_compiled_code`]).
#[must_use]
pub fn place_for_good(bytes: &[u8]) -> Option<NonNull<u8>> {
    let space = code_space::get().ok()?;
    let placed = write(space, bytes, Phases::ANY, |target, bytes| {
        target.write(bytes)
    });
    let (stretch, code) = placed.ok()?;
    std::mem::forget(stretch);
    Some(code)
}

/// Has cranelift-jit put `bytes` where they belong.
///
/// It takes them for data: functions it tells `perf record` of, as if they ran in its buffer, and panics if it can't.
fn finalize(target: Target, bytes: &[u8], isa: &OwnedTargetIsa) -> io::Result<()> {
    let names = cranelift_module::default_libcall_names();
    let mut builder = JITBuilder::with_isa(isa.clone(), names);
    builder.memory_provider(Box::new(Staging {
        target,
        buffer: Box::default(),
    }));
    let mut module = JITModule::new(builder);
    let failed = |error| match error {
        ModuleError::Allocation { err } => err,
        other => io::Error::other(other.to_string()),
    };
    let id = module.declare_anonymous_data(false, false);
    let mut data = DataDescription::new();
    data.define(bytes.into());
    data.set_align(1);
    let defined = module.define_data(id.map_err(failed)?, &data);
    defined.map_err(failed)?;
    module.finalize_definitions().map_err(failed)
}

/// Gives cranelift-jit a buffer, and writes it to where it belongs.
struct Staging {
    target: Target,
    buffer: Box<[u8]>,
}

impl JITMemoryProvider for Staging {
    fn allocate(&mut self, size: usize, _: u64, _: JITMemoryKind) -> io::Result<*mut u8> {
        if size != self.target.len() || !self.buffer.is_empty() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.buffer = vec![0; size].into();
        Ok(self.buffer.as_mut_ptr())
    }

    unsafe fn free_memory(&mut self) {
        // The buffer goes with this.
    }

    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        let written = self.target.write(&self.buffer);
        written.map_err(|err| ModuleError::Allocation { err })
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::position::Positions;
    use crate::registry::{Kind, UNIT};
    use crate::target::{Isas, Settings};

    /// A space of a test's own, which stays.
    fn space(writers: &'static [Writer]) -> &'static CodeSpace {
        let space = CodeSpace::reserve(64 << 20).expect("there is address space");
        Box::leak(Box::new(space.with_writers(writers)))
    }

    /// Code of `len` bytes or a few more that returns `value`.
    fn returning(value: u32, len: usize) -> Unplaced {
        let mut bytes = vec![0x90; len.saturating_sub(6)];
        bytes.push(0xb8);
        bytes.extend(value.to_le_bytes());
        bytes.push(0xc3);
        Unplaced {
            bytes: bytes.into(),
            phases: Phases::ANY,
            facts: CodeFacts {
                kind: Kind::Exit,
                traps: Box::default(),
                pads: Box::default(),
                positions: Positions::default(),
            },
        }
    }

    fn run(blob: &Blob) -> u32 {
        // SAFETY: the code of these tests is a function of this type.
        unsafe { std::mem::transmute::<*const u8, unsafe extern "C" fn() -> u32>(blob.code())() }
    }

    const BOTH: [&[Writer]; 2] = [
        &[Writer::MemoryFile, Writer::WholePages],
        &[Writer::WholePages],
    ];

    #[test]
    fn code_runs_where_it_was_placed_and_is_known_as_long() {
        let isas = Isas::new(Settings::default()).expect("this machine can");
        let isa = isas.usual();
        for space in BOTH.map(space) {
            let quota = Quota::new(1 << 20);
            let place = |value, len| {
                let placed = place(space, &quota, isa, returning(value, len));
                placed.expect("there is room")
            };
            let blobs: Vec<Blob> = (0..40).map(|n| place(n, 6 + 37 * n as usize)).collect();
            for (n, blob) in (0..).zip(&blobs) {
                assert_eq!(run(blob), n);
                let start = blob.code().addr();
                // SAFETY: the blob lives.
                let find = |pc| unsafe { space.find(pc) }.map(|info| info.start);
                assert_eq!(find(start), Some(start));
                assert_eq!(find(start + blob.len() - 1), Some(start));
                assert_ne!(find(start - 1), Some(start));
                assert_ne!(find(start + blob.len()), Some(start));
            }
            let kept = run(&blobs[7]);
            let starts: Vec<usize> = blobs.iter().map(|blob| blob.code().addr()).collect();
            let mut blobs = blobs;
            let survivor = blobs.swap_remove(7);
            drop(blobs);
            assert_eq!(run(&survivor), kept);
            for start in starts {
                assert_eq!(space.has(start), start == survivor.code().addr());
            }
            drop(survivor);
            assert_eq!(quota.used(), 0);
        }
    }

    #[test]
    fn a_quota_is_kept() {
        let isas = Isas::new(Settings::default()).expect("this machine can");
        let isa = isas.usual();
        let quota = Quota::new(3 * UNIT);
        let space = space(BOTH[0]);
        let place = |len| place(space, &quota, isa, returning(1, len));
        let two = place(UNIT + 10).expect("there is room");
        assert!(matches!(
            place(UNIT + 1),
            Err(CompileError::OutOfCodeMemory)
        ));
        let one = place(UNIT - 1).expect("there is room");
        assert_eq!(quota.used(), 3 * UNIT);
        assert!(matches!(place(1), Err(CompileError::OutOfCodeMemory)));
        drop(two);
        place(UNIT + 1).expect("there is room again");
        drop(one);
        assert_eq!(quota.used(), 0);
    }

    /// Nothing piles up, in the system's memory or in ours.
    #[test]
    fn what_is_dropped_leaves_nothing_behind() {
        let isas = Isas::new(Settings::default()).expect("this machine can");
        let isa = isas.usual();
        for space in BOTH.map(space) {
            let quota = Quota::new(64 << 20);
            let rounds = |count: u32| {
                for n in 0..count {
                    // Some live for a while, so that there are gaps to fill.
                    let blobs: Vec<Blob> = (0..10)
                        .map(|size| {
                            let unplaced = returning(n, 100 + 3000 * size);
                            place(space, &quota, isa, unplaced).expect("there is room")
                        })
                        .collect();
                    assert!(blobs.iter().all(|blob| run(blob) == n));
                }
            };
            rounds(100);
            let covered = space.covered();
            rounds(1000);
            assert_eq!(space.covered(), covered, "the same memory is used again");
            assert!(space.is_all_free());
            assert_eq!(space.resident_pages(), 0);
        }
    }

    /// What runs is found while others place and free code beside it, in the same pages and the same lines of the table.
    #[test]
    fn running_code_is_found_while_other_code_comes_and_goes() {
        const ROUNDS: u32 = 3000;
        let isas = Isas::new(Settings::default()).expect("this machine can");
        let isa = isas.usual();
        let space = space(BOTH[0]);
        let quota = Quota::new(64 << 20);
        let place = |value, len| {
            let placed = place(space, &quota, isa, returning(value, len));
            placed.expect("there is room")
        };
        let (mine, other) = (place(7, 200), place(8, 200).code().addr());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..ROUNDS {
                    // Pages become free, too.
                    let blobs = [50, 5000, 300].map(|len| place(n, len));
                    assert!(blobs.iter().all(|blob| run(blob) == n));
                }
                done.store(true, Ordering::Relaxed);
            });
            let mut rounds = 0u64;
            while !done.load(Ordering::Relaxed) && rounds < 1 << 40 {
                assert_eq!(run(&mine), 7);
                for pc in mine.code().addr()..mine.code().addr() + mine.len() {
                    // SAFETY: the blob lives.
                    let found = unsafe { space.find(pc) }.map(|info| info.start);
                    assert_eq!(found, Some(mine.code().addr()));
                }
                // Of code that may be freed just now only this may be asked.
                std::hint::black_box(space.has(other));
                rounds += 1;
            }
        });
    }
}
