//! Validates function bodies, on all cores when there is enough code.
//!
//! *Invariant:* the error found is that of the first invalid body, whatever the number of threads.
//! *Invariant:* nothing is allocated per function: a thread reuses its validator's stacks.
//! Called by [`Module::with_config`](crate::Module::with_config) as soon as all bodies are found.
//!
//! # Why batches, biggest first
//! One atomic increment per function would bounce between cores, and a big function met last would keep one core busy
//! while the others wait.

use crate::body::BodyRange;
use crate::error::Error;
use crate::index::{FuncIdx, TypeIdx};
use crate::section::Sections;
use bytes::Bytes;
use std::cmp::Reverse;
use std::mem;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use wasmparser::{
    BinaryReader, FuncToValidate, FuncValidatorAllocations, ValidatorResources, WasmFeatures,
};

/// Code sections smaller than this are validated by the calling thread: to start a thread costs as much.
const MIN_PARALLEL_BYTES: usize = 64 << 10;
/// One thread is started per this number of bytes of code, up to the number of cores.
const BYTES_PER_THREAD: usize = 32 << 10;
/// The code a thread takes at once.
const BATCH_BYTES: usize = 16 << 10;

/// How many threads of the process run at the same time. The host is asked the first time, here at the latest when a module
/// with much code is validated: a process may later be unable to read the files that limit it.
#[must_use]
pub fn processors() -> usize {
    static ANSWER: OnceLock<usize> = OnceLock::new();
    *ANSWER.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// All that the validation of bodies needs.
pub(crate) struct Bodies {
    bytes: Bytes,
    bodies: Arc<Vec<BodyRange>>,
    /// The type of each function, imports first.
    funcs: Arc<Vec<TypeIdx>>,
    imported: usize,
    resources: ValidatorResources,
    features: WasmFeatures,
}

/// Bodies that are being validated while the module's other sections are read.
pub(crate) struct Validation {
    work: Arc<Work>,
    workers: Vec<JoinHandle<()>>,
}

struct Work {
    bodies: Bodies,
    queue: Queue,
}

impl Validation {
    /// Starts to validate every body on at most `threads` threads, or on all cores; the calling thread is one of
    /// them, and begins with [`Validation::finish`].
    pub(crate) fn start(bodies: Bodies, threads: Option<usize>) -> Validation {
        let others = bodies.workers(threads).saturating_sub(1);
        let queue = Queue::new(bodies.batches());
        let work = Arc::new(Work { bodies, queue });
        let start = |_| {
            let work = Arc::clone(&work);
            let worker = thread::Builder::new().name("validate".into());
            // A thread that cannot be started is one worker less: the calling thread is always one.
            worker.spawn(move || work.run()).ok()
        };
        let workers = (0..others).filter_map(start).collect();
        Validation { work, workers }
    }

    /// Waits until every body is validated.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.work.run();
        for worker in self.workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
        self.work.queue.result()
    }
}

impl Work {
    fn run(&self) {
        self.bodies.work(&self.queue);
    }
}

impl Bodies {
    /// What is to be validated; `None` if there are no bodies.
    pub(crate) fn new(
        bytes: &Bytes,
        sections: &Sections,
        features: WasmFeatures,
    ) -> Option<Bodies> {
        Some(Bodies {
            bytes: bytes.clone(),
            bodies: Arc::clone(&sections.bodies),
            funcs: Arc::clone(&sections.funcs),
            imported: sections.imported.funcs as usize,
            resources: sections.resources.clone()?,
            features,
        })
    }

    fn workers(&self, threads: Option<usize>) -> usize {
        let code: usize = self.bodies.iter().map(|body| body.range().len()).sum();
        if code < MIN_PARALLEL_BYTES {
            return 1;
        }
        let cores = threads.unwrap_or_else(processors);
        cores.min(code / BYTES_PER_THREAD)
    }

    /// Neighboring bodies in batches of about equal size; the biggest batches, that is big bodies, first.
    fn batches(&self) -> Vec<Range<usize>> {
        let size = |batch: &Range<usize>| -> usize {
            self.bodies[batch.clone()]
                .iter()
                .map(|body| body.range().len())
                .sum()
        };
        let mut batches = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (i, body) in self.bodies.iter().enumerate() {
            bytes += body.range().len();
            if bytes >= BATCH_BYTES {
                batches.push(start..i + 1);
                (start, bytes) = (i + 1, 0);
            }
        }
        batches.push(start..self.bodies.len());
        batches.sort_by_cached_key(|batch| Reverse(size(batch)));
        batches
    }

    fn work(&self, queue: &Queue) {
        let mut allocations = FuncValidatorAllocations::default();
        while let Some(batch) = queue.next() {
            for body in batch.take_while(|&body| queue.wants(body)) {
                if let Err(error) = self.validate_body(body, &mut allocations) {
                    queue.report(body, error);
                }
            }
        }
    }

    fn validate_body(
        &self,
        body: usize,
        allocations: &mut FuncValidatorAllocations,
    ) -> Result<(), Error> {
        let index = (self.imported + body) as u32;
        let to_validate = FuncToValidate {
            resources: self.resources.clone(),
            index,
            ty: self.funcs[index as usize].0,
            features: self.features,
        };
        let range = self.bodies[body].range();
        let offset = range.start as u64;
        let mut reader = BinaryReader::new_features(&self.bytes[range], offset, self.features);
        let mut validator = to_validate.into_validator(mem::take(allocations));
        let mut run = || {
            validator.read_locals(&mut reader)?;
            while !reader.eof() {
                reader.visit_operator(&mut validator.visitor(reader.original_position()))??;
            }
            reader.finish_expression(&validator.visitor(reader.original_position()))
        };
        run().map_err(|error: wasmparser::Error| Error::from(error).in_func(FuncIdx(index)))?;
        *allocations = validator.into_allocations();
        Ok(())
    }
}

/// What threads share: the batches, the next of them, and the first error.
struct Queue {
    batches: Vec<Range<usize>>,
    cursor: AtomicUsize,
    /// The first body known to be invalid; only those before it still matter.
    invalid: AtomicUsize,
    error: Mutex<Option<(usize, Error)>>,
}

impl Queue {
    fn new(batches: Vec<Range<usize>>) -> Queue {
        let (cursor, invalid) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        Queue {
            batches,
            cursor,
            invalid,
            error: Mutex::new(None),
        }
    }

    fn next(&self) -> Option<Range<usize>> {
        self.batches
            .get(self.cursor.fetch_add(1, Ordering::Relaxed))
            .cloned()
    }

    fn wants(&self, body: usize) -> bool {
        body < self.invalid.load(Ordering::Relaxed)
    }

    fn report(&self, body: usize, error: Error) {
        self.invalid.fetch_min(body, Ordering::Relaxed);
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|&(other, _)| body < other) {
            *first = Some((body, error));
        }
    }

    fn result(&self) -> Result<(), Error> {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.take().map_or(Ok(()), |(_, error)| Err(error))
    }
}

#[cfg(test)]
mod tests {
    use super::Bodies;
    use crate::proposals::ACCEPTED;
    use crate::section::{self, ReadTypes};
    use bytes::Bytes;

    fn with_bodies<R>(funcs: &str, check: impl FnOnce(&Bodies) -> R) -> R {
        let bytes = Bytes::from(wat::parse_str(format!("(module {funcs})")).unwrap());
        let (sections, _) = section::read(&bytes, ACCEPTED, ReadTypes::AtOnce, |_| {});
        check(&Bodies::new(&bytes, &sections, ACCEPTED).unwrap())
    }

    #[test]
    fn little_code_starts_no_thread() {
        with_bodies("(func) (func) (func)", |bodies| {
            assert_eq!(bodies.workers(None), 1);
            assert_eq!(bodies.workers(Some(8)), 1);
        });
    }

    #[test]
    fn much_code_is_shared_out_and_no_body_is_left() {
        let big = format!("(func {})", "nop ".repeat(100_000));
        let funcs = format!(
            "{} {big} {}",
            "(func nop nop)".repeat(9000),
            "(func nop)".repeat(9000)
        );
        with_bodies(&funcs, |bodies| {
            assert_eq!(bodies.workers(Some(3)), 3);
            let mut batches = bodies.batches();
            assert!(batches[0].contains(&9000), "the big body comes first");
            batches.sort_by_key(|batch| batch.start);
            let end = batches.iter().fold(0, |end, batch| {
                assert_eq!(end, batch.start);
                batch.end
            });
            assert_eq!(end, 18_001);
        });
    }
}
