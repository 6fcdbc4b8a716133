//! What an engine knows of a module: the heat of its functions, how far their code has come, and the code itself.
//!
//! It is attached to the module's code ([`ModuleCode::attachment`]), so samples of all instances and threads add up
//! here, and it goes with the module.
//!
//! * *Invariant:* a part of a function is compiled once at most: it is claimed before it is compiled, and it ends as ready
//!   or as failed. Only a claim that found no room in the queue is taken back.
//! * *Invariant:* nothing here blocks, compiles or reads a clock; the caller holds the lock and passes the time.
//! * *Invariant:* code that was made stays until the profile goes: calls of it may be running.
//!
//! [`ModuleCode::attachment`]: tiered_runtime::module_code::ModuleCode::attachment

use std::collections::HashMap;

use tiered_runtime::code::{EntryFn, FuncCode, HotPoint, Sample};
use tiered_runtime::module_code::ModuleCode;

use crate::policy::{Heat, Policy, Seen, Siblings, Stay};
use crate::queue::{FuncKey, Job, Part};

/// How far the code of a part has come.
#[derive(Clone, Copy, Debug, Default)]
enum Status {
    #[default]
    Cold,
    InFlight,
    Ready {
        entry: EntryFn,
        /// Which of the module's codes it is.
        code: usize,
        published: bool,
        /// The work of the function when it became ready.
        work: u64,
    },
    Failed,
}

#[derive(Debug)]
struct LoopProfile {
    offset: u32,
    status: Status,
}

/// The size of a body as far as compiling it takes time: a call takes two or three bytes, but as long as so many.
fn bytes_to_compile(code: &ModuleCode, key: FuncKey) -> usize {
    const BYTES_PER_CALL: usize = 30;
    let body = code.module().body(key.func).map_or(0, |body| body.len());
    let func = code.set(key.metered).func(key.func);
    let calls = func
        .and_then(|func| func.body())
        .map_or(0, |body| body.calls());
    body + calls as usize * BYTES_PER_CALL
}

#[derive(Debug)]
struct FuncProfile {
    /// As [`bytes_to_compile`] has it.
    bytes: usize,
    heat: Heat,
    function: Status,
    loops: Vec<LoopProfile>,
}

impl FuncProfile {
    fn new(code: &ModuleCode, key: FuncKey) -> FuncProfile {
        FuncProfile {
            bytes: bytes_to_compile(code, key),
            heat: Heat::default(),
            function: Status::Cold,
            loops: Vec::new(),
        }
    }

    fn status(&mut self, part: Part) -> &mut Status {
        let Part::Loop(offset) = part else {
            return &mut self.function;
        };
        let known = self.loops.iter().position(|of| of.offset == offset);
        let at = known.unwrap_or_else(|| {
            self.loops.push(LoopProfile {
                offset,
                status: Status::Cold,
            });
            self.loops.len() - 1
        });
        &mut self.loops[at].status
    }

    fn siblings(&self, offset: u32) -> Siblings {
        let mut siblings = Siblings::default();
        for other in self.loops.iter().filter(|other| other.offset != offset) {
            siblings.in_flight |= matches!(other.status, Status::InFlight);
            if let Status::Ready { work, .. } = other.status {
                let beside = self.heat.work().saturating_sub(work);
                let least = siblings
                    .work_beside_code
                    .map_or(beside, |old| old.min(beside));
                siblings.work_beside_code = Some(least);
            }
        }
        siblings
    }

    /// The parts that a sample makes due: the loop that is running first, for it can't wait for the next call.
    fn due(&mut self, policy: &Policy, all_work: u64, at: Point) -> [Option<Part>; 2] {
        let function = matches!(self.function, Status::Cold)
            && policy.wants_function(&self.heat, all_work, self.bytes);
        let running = at.running.and_then(|(offset, stay)| {
            let siblings = self.siblings(offset);
            let part = Part::Loop(offset);
            let cold = matches!(self.status(part), Status::Cold);
            let due = cold && policy.wants_loop(&self.heat, stay, siblings, all_work, self.bytes);
            due.then_some(part)
        });
        [running, function.then_some(Part::Function)]
    }

    /// The parts that wait and that a sample makes hotter, with their heat.
    fn in_flight(&self, policy: &Policy, at: Point) -> impl Iterator<Item = (Part, f64)> {
        let function = matches!(self.function, Status::InFlight)
            .then(|| (Part::Function, policy.spent_ns(&self.heat)));
        // Whichever loop of the function is running: all lead to the same code.
        let running = at.running.and_then(|(_, stay)| {
            let mut loops = self.loops.iter();
            let waiting = loops.find(|of| matches!(of.status, Status::InFlight))?;
            Some((Part::Loop(waiting.offset), policy.stay_ns(&self.heat, stay)))
        });
        function.into_iter().chain(running)
    }
}

/// Where a sample found its function.
#[derive(Clone, Copy)]
struct Point {
    seen: Seen,
    /// The loop that is running, and how long.
    running: Option<(u32, Stay)>,
}

impl Point {
    fn of(sample: &Sample<'_>) -> Point {
        let (of, samples) = match sample.at {
            HotPoint::Call { .. } => {
                return Point {
                    seen: Seen::Called,
                    running: None,
                };
            }
            HotPoint::Loop { of, stay } => (Some(of), stay),
            HotPoint::CallOut { of, stay } => (of, stay),
        };
        let work = sample.work;
        Point {
            seen: Seen::Staying(samples),
            running: of.map(|of| (of.offset, Stay { work, samples })),
        }
    }
}

/// A part that is due, and why.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) job: Job,
    pub(crate) samples: u64,
    pub(crate) spent_ns: f64,
    pub(crate) estimate_ns: f64,
    pub(crate) slow: bool,
}

/// What came of a sample: what is to be compiled, and what waits and is hotter now.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) due: Vec<Request>,
    pub(crate) warmer: Vec<(Job, f64)>,
}

/// See the module. `C` is code.
#[derive(Debug)]
pub(crate) struct ModuleProfile<C> {
    funcs: HashMap<FuncKey, FuncProfile>,
    /// The work of all samples.
    work: u64,
    /// All code that was made for the module.
    codes: Vec<C>,
}

impl<C> Default for ModuleProfile<C> {
    fn default() -> Self {
        ModuleProfile {
            funcs: HashMap::new(),
            work: 0,
            codes: Vec::new(),
        }
    }
}

impl<C> ModuleProfile<C> {
    fn func(&mut self, code: &ModuleCode, key: FuncKey) -> &mut FuncProfile {
        self.funcs
            .entry(key)
            .or_insert_with(|| FuncProfile::new(code, key))
    }

    /// Takes a sample of a function of `code` into account, and claims what is due by now.
    pub(crate) fn note(
        &mut self,
        policy: &Policy,
        code: &ModuleCode,
        sample: &Sample<'_>,
    ) -> Noted {
        let (key, at) = (FuncKey::of(sample.func), Point::of(sample));
        self.work = self.work.saturating_add(sample.work);
        let all_work = self.work;
        self.note_call(code, sample);
        let func = self.func(code, key);
        func.heat.add(sample.work, at.seen);
        let job = |part, bytes| Job {
            code: code.to_weak(),
            key,
            part,
            bytes,
        };
        let mut noted = Noted::default();
        for part in func.due(policy, all_work, at).into_iter().flatten() {
            *func.status(part) = Status::InFlight;
            let spent_ns = match (part, at.running) {
                (Part::Loop(_), Some((_, stay))) => policy.stay_ns(&func.heat, stay),
                _ => policy.spent_ns(&func.heat),
            };
            noted.due.push(Request {
                job: job(part, func.bytes),
                samples: func.heat.samples(),
                spent_ns,
                estimate_ns: policy.compile_ns(func.bytes),
                slow: policy.is_slow(func.bytes),
            });
        }
        let warmer = func.in_flight(policy, at);
        noted.warmer = warmer
            .map(|(part, heat)| (job(part, func.bytes), heat))
            .collect();
        noted
    }

    /// If the sample found a call within the module, it is one that the caller made of an interpreted function.
    fn note_call(&mut self, code: &ModuleCode, sample: &Sample<'_>) {
        let HotPoint::Call {
            caller: Some(caller),
        } = sample.at
        else {
            return;
        };
        let same = |of: &FuncCode| of.set().map(std::ptr::from_ref);
        if same(caller) == same(sample.func) {
            let caller = self.func(code, FuncKey::of(caller));
            caller.heat.add_call(sample.func.cost());
        }
    }

    /// Claims a part that nobody has compiled or is compiling.
    pub(crate) fn claim(&mut self, code: &ModuleCode, key: FuncKey, part: Part) -> Option<Job> {
        let func = self.func(code, key);
        let bytes = func.bytes;
        let status = func.status(part);
        if !matches!(status, Status::Cold) {
            return None;
        }
        *status = Status::InFlight;
        Some(Job {
            code: code.to_weak(),
            key,
            part,
            bytes,
        })
    }

    /// Takes a claim back that found no room.
    pub(crate) fn unclaim(&mut self, job: &Job) {
        if let Some(func) = self.funcs.get_mut(&job.key) {
            *func.status(job.part) = Status::Cold;
        }
    }

    /// The code of a part, if it is ready.
    pub(crate) fn ready(&mut self, key: FuncKey, part: Part) -> Option<EntryFn> {
        match self.funcs.get_mut(&key)?.status(part) {
            Status::Ready { entry, .. } => Some(*entry),
            _ => None,
        }
    }

    /// The code of a part that is ready but not published, which the caller does now.
    pub(crate) fn unpublished(
        &mut self,
        module: &ModuleCode,
        key: FuncKey,
        part: Part,
    ) -> Option<(&C, Job)> {
        let func = self.funcs.get_mut(&key)?;
        let bytes = func.bytes;
        let Status::Ready {
            code, published, ..
        } = func.status(part)
        else {
            return None;
        };
        if std::mem::replace(published, true) {
            return None;
        }
        let job = Job {
            code: module.to_weak(),
            key,
            part,
            bytes,
        };
        Some((&self.codes[*code], job))
    }

    /// Ends a job: keeps its code, which is entered by its entry and may be published; or it has failed.
    pub(crate) fn finish(&mut self, job: &Job, code: Option<(C, EntryFn)>, published: bool) {
        let Some(func) = self.funcs.get_mut(&job.key) else {
            return;
        };
        let work = func.heat.work();
        match code {
            Some((code, entry)) => {
                *func.status(job.part) = Status::Ready {
                    entry,
                    code: self.codes.len(),
                    published,
                    work,
                };
                self.codes.push(code);
            }
            None => *func.status(job.part) = Status::Failed,
        }
    }
}
