//! Validates function bodies, on all cores when there is enough code.
//!
//! *Invariant:* the error found is that of the first invalid body, whatever the number of threads.
//! *Invariant:* nothing is allocated per function: a thread reuses its validator's stacks.
//! Called by [`Module::with_config`](crate::Module::with_config) after the sections are read.
//!
//! # Why batches, biggest first
//! One atomic increment per function would bounce between cores, and a big function met last would keep one core busy
//! while the others wait.

use crate::body::BodyRange;
use crate::error::Error;
use crate::index::{FuncIdx, TypeIdx};
use std::cmp::Reverse;
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use wasmparser::{
    BinaryReader, FuncToValidate, FuncValidatorAllocations, ValidatorResources, WasmFeatures,
};

/// Code sections smaller than this are validated by the calling thread: to start a thread costs as much.
const MIN_PARALLEL_BYTES: usize = 64 << 10;
/// A thread is started for each so many bytes of code, up to the number of cores.
const BYTES_PER_THREAD: usize = 32 << 10;
/// The code a thread takes at once.
const BATCH_BYTES: usize = 16 << 10;

/// All that the validation of bodies needs.
pub(crate) struct Bodies<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) bodies: &'a [BodyRange],
    /// The type of each function, imports first.
    pub(crate) funcs: &'a [TypeIdx],
    pub(crate) imported: usize,
    pub(crate) resources: &'a ValidatorResources,
    pub(crate) features: WasmFeatures,
}

impl Bodies<'_> {
    /// Validates every body on at most `threads` threads, or on all cores.
    pub(crate) fn validate(&self, threads: Option<usize>) -> Result<(), Error> {
        let workers = self.workers(threads);
        if workers <= 1 {
            let mut allocations = FuncValidatorAllocations::default();
            return (0..self.bodies.len())
                .try_for_each(|body| self.validate_body(body, &mut allocations));
        }
        let queue = Queue::new(self.batches());
        thread::scope(|scope| {
            for _ in 1..workers {
                // A thread that cannot be started is one worker less: the calling thread is always one.
                let _ = thread::Builder::new().spawn_scoped(scope, || self.work(&queue));
            }
            self.work(&queue);
        });
        queue.into_result()
    }

    fn workers(&self, threads: Option<usize>) -> usize {
        let code: usize = self.bodies.iter().map(|body| body.range().len()).sum();
        if code < MIN_PARALLEL_BYTES {
            return 1;
        }
        let cores =
            threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
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

    fn into_result(self) -> Result<(), Error> {
        let first = self
            .error
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}

#[cfg(test)]
mod tests {
    use super::Bodies;
    use crate::proposals::ACCEPTED;
    use crate::section::{self, Sections};

    fn with_bodies<R>(funcs: &str, check: impl FnOnce(&Bodies<'_>) -> R) -> R {
        let bytes = wat::parse_str(format!("(module {funcs})")).unwrap();
        let (
            Sections {
                bodies,
                funcs,
                resources,
                ..
            },
            _,
        ) = section::read(&bytes, ACCEPTED);
        let (bytes, bodies, funcs, resources) = (&bytes, &bodies, &funcs, &resources.unwrap());
        check(&Bodies {
            bytes,
            bodies,
            funcs,
            imported: 0,
            resources,
            features: ACCEPTED,
        })
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
