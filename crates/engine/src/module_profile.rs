//! What an engine knows of a module: the heat of its functions, how far their code has come, and the code itself.
//!
//! It is attached to the module's code ([`ModuleCode::attachment`]), so samples of all instances and threads add up
//! here, and it goes with the module.
//!
//! * *Invariant:* a part of a function is compiled once at most: it is claimed before it is compiled, and it ends as ready
//!   or as failed. Only a claim that found no room in the queue is taken back, or one of a loop that was left while it waited.
//! * *Invariant:* nothing here blocks, compiles or reads a clock; the caller holds the lock and passes the time.
//! * *Invariant:* code that was made stays until the profile goes: calls of it may be running.
//!
//! [`ModuleCode::attachment`]: tiered_runtime::module_code::ModuleCode::attachment

use std::collections::HashMap;

use tiered_runtime::code::{Caller, EntryFn, FuncCode, HotPoint, LoopCode, Sample};
use tiered_runtime::module_code::{Bytecode, ModuleCode};

use crate::policy::{Heat, Policy, Seen, Siblings, Stay, WorkingSet};
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
    /// How many of the function's last samples found it in this loop: each counts [`SAMPLE_WEIGHT`], and less with every
    /// one that comes after.
    weight: u32,
}

/// What a sample adds to the weight of its loop.
const SAMPLE_WEIGHT: u32 = 64;

/// What part of its weight a loop loses with each sample of the function.
const FADING: u32 = 8;

/// The size of a body as far as compiling it takes time: a call is two or three bytes, but takes as
/// long as this many.
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
    /// What compiling its leaves takes, in ns, as it was when there were half of the samples or more.
    leaves: Option<Leaves>,
    function: Status,
    loops: Vec<LoopProfile>,
    /// It was claimed with others that were due together, which have earned its price.
    in_set: bool,
    /// Times that a guest has paused for what is compiled of it.
    pauses: u32,
}

/// What the leaves that are to be compiled together with a function cost.
#[derive(Clone, Copy, Debug)]
struct Leaves {
    compile_ns: f64,
    /// The function's samples when that was found out.
    samples: u64,
}

impl FuncProfile {
    fn new(code: &ModuleCode, key: FuncKey) -> FuncProfile {
        FuncProfile {
            bytes: bytes_to_compile(code, key),
            heat: Heat::default(),
            leaves: None,
            function: Status::Cold,
            loops: Vec::new(),
            in_set: false,
            pauses: 0,
        }
    }

    fn status(&mut self, part: Part) -> &mut Status {
        match part {
            Part::Function => &mut self.function,
            Part::Loop(offset) => &mut self.loop_at(offset).status,
        }
    }

    fn loop_at(&mut self, offset: u32) -> &mut LoopProfile {
        let known = self.loops.iter().position(|of| of.offset == offset);
        let at = known.unwrap_or_else(|| {
            self.loops.push(LoopProfile {
                offset,
                status: Status::Cold,
                weight: 0,
            });
            self.loops.len() - 1
        });
        &mut self.loops[at]
    }

    /// A sample has found the loop running, or what it calls.
    fn see(&mut self, offset: u32) {
        for of in &mut self.loops {
            of.weight -= of.weight / FADING;
        }
        self.loop_at(offset).weight += SAMPLE_WEIGHT;
    }

    /// The loop that most of the last samples found, unless it can't be compiled: where the function is now, and will soon
    /// begin again.
    fn busiest_loop(&self) -> Option<u32> {
        let may_be = |of: &&LoopProfile| !matches!(of.status, Status::Failed) && of.weight > 0;
        let busiest = self
            .loops
            .iter()
            .filter(may_be)
            .max_by_key(|of| of.weight)?;
        Some(busiest.offset)
    }

    /// Claims a part.
    fn request(
        &mut self,
        policy: &Policy,
        code: &ModuleCode,
        key: FuncKey,
        part: Part,
        spent_ns: f64,
    ) -> Request {
        *self.status(part) = Status::InFlight;
        let bytes = self.bytes;
        Request {
            job: Job {
                code: code.to_weak(),
                key,
                part,
                bytes,
            },
            samples: self.heat.samples(),
            spent_ns,
            estimate_ns: policy.compile_ns(bytes),
            slow: policy.is_slow(policy.compile_ns(bytes)),
        }
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

    /// The parts that a sample makes due if they take `compile_ns`: the loop that is running first, for it can't wait for
    /// the next call.
    fn due(
        &mut self,
        policy: &Policy,
        all_work: u64,
        compile_ns: f64,
        at: Point,
    ) -> [Option<Part>; 2] {
        let function = matches!(self.function, Status::Cold)
            && policy.wants_function(&self.heat, all_work, compile_ns);
        let running = at.running.zip(self.busiest_loop());
        let running = running.and_then(|((_, stay), offset)| {
            let siblings = self.siblings(offset);
            let part = Part::Loop(offset);
            let cold = matches!(self.status(part), Status::Cold);
            let due = cold && policy.wants_loop(&self.heat, stay, siblings, all_work, compile_ns);
            due.then_some(part)
        });
        [running, function.then_some(Part::Function)]
    }

    /// Weighs it together with others.
    fn add_to(&self, policy: &Policy, set: &mut WorkingSet) {
        let leaves_ns = self.leaves.map_or(0.0, |leaves| leaves.compile_ns);
        policy.add_to_set(set, &self.heat, policy.compile_ns(self.bytes) + leaves_ns);
    }

    /// The parts that wait and that a sample makes hotter, with their heat.
    fn in_flight(&self, policy: &Policy, at: Point) -> impl Iterator<Item = (Part, f64)> {
        let earned = if self.in_set {
            policy.compile_ns(self.bytes)
        } else {
            0.0
        };
        let function = matches!(self.function, Status::InFlight)
            .then(|| (Part::Function, policy.spent_ns(&self.heat).max(earned)));
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
    /// What the leaf costs in which it was found, if that counts as part of the function.
    leaf_cost: Option<u32>,
}

impl Point {
    fn of(sample: &Sample<'_>) -> Point {
        match sample.at {
            HotPoint::Call { .. } => Point {
                seen: Seen::Called,
                running: None,
                leaf_cost: None,
            },
            HotPoint::Loop { of, stay } => Point::staying(Some(of), stay, sample.work),
            HotPoint::CallOut { of, stay } => Point::staying(of, stay, sample.work),
        }
    }

    fn staying(of: Option<&LoopCode>, samples: u32, work: u64) -> Point {
        Point {
            seen: Seen::Staying(samples),
            running: of.map(|of| (of.offset, Stay { work, samples })),
            leaf_cost: None,
        }
    }

    /// In a leaf that counts as part of its caller.
    fn in_leaf(caller: &Caller<'_>, work: u64, leaf_cost: u32) -> Point {
        Point {
            leaf_cost: Some(leaf_cost),
            ..Point::staying(caller.of, caller.count_stay(), work)
        }
    }
}

/// What a function costs if it is a leaf that counts as part of what calls it.
fn small_leaf(policy: &Policy, func: &FuncCode) -> Option<u32> {
    let is_small =
        func.body().is_some_and(Bytecode::is_leaf) && policy.is_part_of_caller(func.cost());
    is_small.then(|| func.cost())
}

/// The caller, if it is of the same code.
fn fellow_caller<'a>(sample: &Sample<'a>) -> Option<Caller<'a>> {
    let HotPoint::Call { caller } = sample.at else {
        return None;
    };
    let set = |of: &FuncCode| of.set().map(std::ptr::from_ref);
    caller.filter(|caller| set(caller.func) == set(sample.func))
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
    /// The guest may pause for what is hotter now, if it is being compiled.
    pub(crate) may_pause: bool,
}

/// Samples of a module before its functions are weighed together; and how much they grow by until the next time.
const LEAST_SAMPLES: u64 = 64;
const GROWTH: u64 = 8;

/// See the module. `C` is code.
#[derive(Debug)]
pub(crate) struct ModuleProfile<C> {
    funcs: HashMap<FuncKey, FuncProfile>,
    /// The work of all samples.
    work: u64,
    /// All samples.
    samples: u64,
    /// How many there are when the functions that are called are next weighed together.
    set_due_at: u64,
    /// They were due together then, with what has joined them since.
    set: Option<WorkingSet>,
    /// All code that was made for the module.
    codes: Vec<C>,
    /// Bytes of it.
    code_bytes: usize,
}

impl<C> Default for ModuleProfile<C> {
    fn default() -> Self {
        ModuleProfile {
            funcs: HashMap::new(),
            work: 0,
            samples: 0,
            set_due_at: LEAST_SAMPLES,
            set: None,
            codes: Vec::new(),
            code_bytes: 0,
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
        self.work = self.work.saturating_add(sample.work);
        self.samples += 1;
        let (key, at) = self.attribute(policy, code, sample);
        let func = self.func(code, key);
        if let Some((offset, _)) = at.running {
            func.see(offset);
        }
        match at.leaf_cost {
            Some(cost) => func.heat.add_in_callee(sample.work, at.seen, cost),
            None => func.heat.add(sample.work, at.seen),
        }
        let mut noted = Noted {
            due: self.due(policy, code, key, at),
            ..Noted::default()
        };
        let all_work = self.work;
        let func = self.func(code, key);
        let job = |part| Job {
            code: code.to_weak(),
            key,
            part,
            bytes: func.bytes,
        };
        let warmer = func.in_flight(policy, at);
        noted
            .warmer
            .extend(warmer.map(|(part, heat)| (job(part), heat)));
        let hottest = noted
            .warmer
            .iter()
            .map(|warmer| warmer.1)
            .fold(0.0, f64::max);
        let compile_ns = policy.compile_ns(func.bytes);
        noted.may_pause = policy.pauses(&func.heat, all_work, hottest, compile_ns, func.pauses);
        if self.samples >= self.set_due_at {
            self.set_due_at = self.samples + self.samples / GROWTH;
            noted.due.extend(self.due_set(policy, code));
        } else if self.joins_set(policy, key) {
            noted.due.extend(self.claim_set(policy, code, &[key]));
        }
        noted
    }

    /// Whether a function belongs to those that were due together, but was found after that.
    fn joins_set(&mut self, policy: &Policy, key: FuncKey) -> bool {
        let (Some(mut set), Some(func)) = (self.set, self.funcs.get(&key)) else {
            return false;
        };
        let is_cold = matches!(func.function, Status::Cold) && func.heat.calls() > 0;
        func.add_to(policy, &mut set);
        let joins = is_cold && policy.wants_set(&set);
        if joins {
            self.set = Some(set);
        }
        joins
    }

    /// Claims the functions that are called and are due together.
    fn due_set(&mut self, policy: &Policy, code: &ModuleCode) -> Vec<Request> {
        let mut set = WorkingSet::default();
        for func in self.funcs.values().filter(|func| func.heat.calls() > 0) {
            func.add_to(policy, &mut set);
        }
        self.set = policy.wants_set(&set).then_some(set);
        if self.set.is_none() {
            return Vec::new();
        }
        let is_due =
            |func: &FuncProfile| matches!(func.function, Status::Cold) && func.heat.calls() > 0;
        let funcs = self.funcs.iter().filter(|(_, func)| is_due(func));
        let mut keys: Vec<FuncKey> = funcs.map(|(&key, _)| key).collect();
        // In the same order each time.
        keys.sort_unstable();
        self.claim_set(policy, code, &keys)
    }

    /// Claims functions that are due together with others, and their leaves.
    fn claim_set(&mut self, policy: &Policy, code: &ModuleCode, keys: &[FuncKey]) -> Vec<Request> {
        let mut due = Vec::new();
        for &key in keys {
            let leaves = self.leaves(policy, code, key);
            for key in std::iter::once(key).chain(leaves) {
                let func = self.func(code, key);
                if matches!(func.function, Status::Cold) {
                    func.in_set = true;
                    let spent_ns = policy.spent_ns(&func.heat);
                    due.push(func.request(policy, code, key, Part::Function, spent_ns));
                }
            }
        }
        due
    }

    /// Whose work a sample stands for, and where it found that function.
    fn attribute(
        &mut self,
        policy: &Policy,
        code: &ModuleCode,
        sample: &Sample<'_>,
    ) -> (FuncKey, Point) {
        let own = (FuncKey::of(sample.func), Point::of(sample));
        let Some(caller) = fellow_caller(sample) else {
            return own;
        };
        let caller_key = FuncKey::of(caller.func);
        if let Some(cost) = small_leaf(policy, sample.func) {
            return (caller_key, Point::in_leaf(&caller, sample.work, cost));
        }
        let calling = self.func(code, caller_key);
        calling.heat.add_call(sample.func.cost());
        if let Some(of) = caller.of {
            calling.see(of.offset);
        }
        own
    }

    /// Claims what a sample at `at` makes due: parts of the function `key`, and the leaves that go with it.
    fn due(&mut self, policy: &Policy, code: &ModuleCode, key: FuncKey, at: Point) -> Vec<Request> {
        let all_work = self.work;
        let func = self.func(code, key);
        let own_ns = policy.compile_ns(func.bytes);
        // Without its leaves it costs least.
        if func.due(policy, all_work, own_ns, at) == [None; 2] {
            return Vec::new();
        }
        let leaves_ns = self.leaves_ns(policy, code, key);
        let func = self.func(code, key);
        let parts = func.due(policy, all_work, own_ns + leaves_ns, at);
        let mut due = Vec::new();
        for part in parts.into_iter().flatten() {
            let spent_ns = match (part, at.running) {
                (Part::Loop(_), Some((_, stay))) => policy.stay_ns(&func.heat, stay),
                _ => policy.spent_ns(&func.heat),
            };
            due.push(func.request(policy, code, key, part, spent_ns));
        }
        let Some(first) = due.first() else {
            return due;
        };
        // They come after it: a call of a compiled leaf takes its caller longer until that is compiled, too.
        const AFTER: f64 = 0.9;
        let (spent_ns, estimate_ns) = (first.spent_ns * AFTER, first.estimate_ns);
        for leaf in self.leaves(policy, code, key) {
            let func = self.func(code, leaf);
            let spent_ns = spent_ns / estimate_ns * policy.compile_ns(func.bytes);
            due.push(func.request(policy, code, leaf, Part::Function, spent_ns));
        }
        due
    }

    /// The leaves that count as part of a function and that nothing was done about.
    fn leaves(&mut self, policy: &Policy, code: &ModuleCode, key: FuncKey) -> Vec<FuncKey> {
        let set = code.set(key.metered);
        let body = set.func(key.func).and_then(FuncCode::body);
        let mut leaves = Vec::new();
        for &func in body.map_or(&[][..], Bytecode::callees) {
            let is_leaf = set
                .func(func)
                .is_some_and(|func| small_leaf(policy, func).is_some());
            let leaf = FuncKey { func, ..key };
            if is_leaf && matches!(self.func(code, leaf).function, Status::Cold) {
                leaves.push(leaf);
            }
        }
        leaves
    }

    /// What compiling those takes, as it was found out not too long ago.
    fn leaves_ns(&mut self, policy: &Policy, code: &ModuleCode, key: FuncKey) -> f64 {
        let func = self.func(code, key);
        let samples = func.heat.samples();
        if let Some(leaves) = func.leaves.filter(|leaves| samples < leaves.samples * 2) {
            return leaves.compile_ns;
        }
        let leaves = self.leaves(policy, code, key);
        let compile_ns = |leaf: &FuncKey| policy.compile_ns(self.funcs[leaf].bytes);
        let compile_ns = leaves.iter().map(compile_ns).sum();
        self.func(code, key).leaves = Some(Leaves {
            compile_ns,
            samples,
        });
        compile_ns
    }

    /// Claims a part that is neither compiled nor being compiled.
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

    /// If a job is of a loop that the function has left meanwhile, makes it one of the loop where the function is now.
    pub(crate) fn keep_up(&mut self, job: &mut Job) -> bool {
        let (Part::Loop(waited), Some(func)) = (job.part, self.funcs.get_mut(&job.key)) else {
            return false;
        };
        let Some(offset) = func.busiest_loop().filter(|&offset| offset != waited) else {
            return false;
        };
        let now = Part::Loop(offset);
        if !matches!(func.status(now), Status::Cold) {
            return false;
        }
        *func.status(job.part) = Status::Cold;
        *func.status(now) = Status::InFlight;
        job.part = now;
        true
    }

    /// A guest pauses for a part of the function, unless its job has ended.
    pub(crate) fn pauses(&mut self, key: FuncKey, part: Part) -> bool {
        let pauses = self.is_in_flight(key, part);
        if let Some(func) = self.funcs.get_mut(&key).filter(|_| pauses) {
            func.pauses += 1;
        }
        pauses
    }

    /// Whether a part is claimed and its job has not ended.
    pub(crate) fn is_in_flight(&mut self, key: FuncKey, part: Part) -> bool {
        let func = self.funcs.get_mut(&key);
        func.is_some_and(|func| matches!(func.status(part), Status::InFlight))
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

    /// Bytes of machine code that were made for the module.
    pub(crate) fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Adds the size of code that was made.
    pub(crate) fn add_code(&mut self, bytes: usize) {
        self.code_bytes = self.code_bytes.saturating_add(bytes);
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
