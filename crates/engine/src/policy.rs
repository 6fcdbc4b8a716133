//! What is worth compiling: interpreting is renting a ski, compiling is buying it.
//!
//! The time that the interpreter has spent is estimated from samples ([`Heat`]), each of which stands for a period of
//! work, by the [`CostModel`]. A function, or a loop, is due when that time would have paid for compiling it; what
//! ran that long is expected to run as long again. That never takes more than twice the time of the better of the two
//! fixed choices. Where compiling takes place in the background, waiting for it is free, and being wrong costs the time
//! of an idle core only: there, a fraction of the price is enough ([`CostModel::eagerness`]). But only for what does a
//! large part of the module's work ([`CostModel::large_share`]); the smaller its part, the more a function has to earn. So
//! a program that ends soon does not pay for hundreds of small functions that were all a little hot.
//!
//! * *Invariant:* nothing here reads a clock, locks, or knows a thread: the same samples get the same answers.
//! * *Invariant:* more heat never makes less due.
//!
//! # Function or loop
//! The function's code helps the next call, a loop's code the call that is running. So the function is wanted only once
//! it was seen to be called, or in two activations; and a loop as long as one activation stays: its price is compared
//! with the work of the samples that found this very activation ([`HotPoint::Loop`]). If the function is due
//! by itself, its loop has to earn the full price within one stay: else that call will be over before the code is there.
//!
//! # Callers and callees
//! Between compiled and interpreted code a call takes longer than within either. A leaf that does less than such a call
//! costs ([`Policy::is_part_of_caller`]) wins nothing by itself, so its work counts as its caller's, and the two are
//! compiled together, for the price of both. Of others, a function that mostly calls them has little to win before they
//! are compiled. What mostly makes calls is not compiled eagerly: compiled calls take half the time, other code a quarter
//! or less, so it has to earn more.
//!
//! # Sets
//! Where hundreds of tiny functions are called equally often, each is found by one sample in hundreds, and chance decides
//! which is due early and which late. So those that are called are also weighed together ([`WorkingSet`]): once all of them have
//! earned the price of all, all are compiled, and so is each that is found later, as long as all of them have. That comes
//! to nothing where few functions do most of the work, since none counts for more than makes it due.
//!
//! # Pauses
//! While something is compiled in the background its function is interpreted on, which takes a processor as much time as the
//! compile, and gets as little done as its code will in a tenth of that. So a guest that does little else pauses meanwhile
//! once half of the price is earned ([`Policy::pauses`]): if what ran that long runs as long again, its code will be there
//! before. It pauses for a moment at a time and goes on in between, and for no longer than the price all in all, so a
//! compile that takes longer than was thought holds nobody up.
//!
//! # Which loop of a nest
//! All loops of a nest lead to the same compiled body, and none leads back. So one is compiled: that which most of the
//! function's last samples found, for it begins again soonest. Another of the function only if the function has earned the price once more since code was ready,
//! for it keeps clear of that.
//!
//! # How work became time
//! The unit of work is a cell of bytecode ([`CostModel::cell_ns`]). The account was calibrated by letting the programs of
//! `benches` run without a compiler and dividing their time by the work of all samples: 0.25 to 0.8 ns a cell, 0.43 in the
//! geometric mean. Long rows of cells take longer, and weigh more in the account. Only where most of a body is not run (a
//! loop around a large `br_table`) it is off by more: 0.08. What compiling costs was measured on the same machine.
//!
//! [`HotPoint::Loop`]: tiered_runtime::code::HotPoint::Loop

use tiered_runtime::frame::MAX_STAY;

use crate::config::CostModel;
use crate::shape::Shape;

/// What is known of how much a function runs in the interpreter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heat {
    /// Samples.
    samples: u64,
    /// The work that they stand for.
    work: u64,
    /// The part of it that was found in leaves that are compiled with the function.
    leaf_work: u64,
    /// Samples that found the function being called.
    calls: u64,
    /// Samples that found an activation for the first time.
    activations: u64,
    /// The last samples that it was part of, the latest in the lowest bit: 1 if one found it calling an interpreted
    /// function, 0 if it found the function itself.
    recent: u64,
    /// The number of samples that it was part of.
    parts: u64,
    /// The cost of the callee that was found last.
    callee_cost: u32,
}

/// What a sample says of one activation of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It begins.
    Called,
    /// It is in a loop, and was found so by that many samples, this one included.
    Staying(u32),
}

impl Heat {
    /// Takes a sample into account.
    pub(crate) fn add(&mut self, work: u64, seen: Seen) {
        self.samples += 1;
        self.parts += 1;
        self.recent <<= 1;
        self.work = self.work.saturating_add(work);
        match seen {
            Seen::Called => self.calls += 1,
            Seen::Staying(1) => self.activations += 1,
            Seen::Staying(_) => {}
        }
    }

    /// A sample found it calling an interpreted function of this cost, which did the work.
    pub(crate) fn add_call(&mut self, cost: u32) {
        self.parts += 1;
        self.recent = self.recent << 1 | 1;
        self.callee_cost = cost;
    }

    /// As [`Heat::add`], in a callee that counts as part of it.
    pub(crate) fn add_in_callee(&mut self, work: u64, seen: Seen, cost: u32) {
        self.add(work, seen);
        self.leaf_work = self.leaf_work.saturating_add(work);
        self.recent |= 1;
        self.callee_cost = cost;
    }

    /// Work so far.
    pub(crate) fn work(&self) -> u64 {
        self.work
    }

    /// Samples that found the function being called.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Samples so far.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Whether the function is called again and again, as far as samples can tell. One alone may have come across any of
    /// hundreds.
    fn is_called_often(&self) -> bool {
        self.calls + self.activations > 1
    }
}

/// How the other loops of a function stand when one of them is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Siblings {
    /// One waits to be compiled, or is being compiled.
    pub(crate) in_flight: bool,
    /// One has code: the work that the function has done since then without coming around to it.
    pub(crate) work_beside_code: Option<u64>,
}

/// The functions that were found being called, all together. None counts for more than makes it due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkingSet {
    funcs: u64,
    samples: u64,
    spent_ns: f64,
    compile_ns: f64,
}

/// One stay in a loop: the work of the last sample, and how many samples found this activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    pub(crate) work: u64,
    pub(crate) samples: u32,
}

/// Samples of one activation before one of its loops is wanted. The first alone can't tell a long call from the many
/// short ones of a function that is called often.
const LEAST_STAY: u32 = 2;

/// Samples of two functions of a set, on average, before the set is wanted: with fewer, too many of the functions have not
/// been found.
const LEAST_SAMPLES_OF_TWO: u64 = 3;

/// Samples of one function that count in a set.
const MOST_SAMPLES_IN_SET: u64 = 4;

/// What [`Policy::most_ns`] takes for each byte and value that it may carry. Measured on hostile bodies of some 10 kB with up
/// to 4,000 locals or types of 2,000 values: 5 to 60.
const CARRIED_NS: f64 = 20.0;

/// What it takes for the ways in and out of what is called by one type: 250,000 were measured at five values, and 50 for
/// each pair of values.
const TYPE_NS: f64 = 85_000.0;
const PAIR_NS: f64 = 20.0;

/// The decisions.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    costs: CostModel,
    eagerness: f64,
}

impl Policy {
    /// Decides by `costs`; `in_background` if compiling holds nobody up.
    pub(crate) fn new(costs: CostModel, in_background: bool) -> Policy {
        let eagerness = if in_background { costs.eagerness } else { 1.0 };
        Policy { costs, eagerness }
    }

    pub(crate) fn costs(&self) -> &CostModel {
        &self.costs
    }

    /// The time that compiling a body of `bytes` takes, in ns. A loop takes as long as its whole function: what
    /// comes before it goes away, but only after it was translated.
    pub(crate) fn compile_ns(&self, bytes: usize) -> f64 {
        let bytes = bytes as f64;
        let growth = 1.0 + bytes / self.costs.compile_doubling_bytes;
        self.costs.compile_ns + self.costs.compile_byte_ns * bytes * growth
    }

    /// Whether compiling something for so long is slow.
    pub(crate) fn is_slow(&self, compile_ns: f64) -> bool {
        compile_ns > self.costs.slow_compile_ns
    }

    /// Whether something takes so much longer to compile than was thought that it has to wait for its turn again.
    pub(crate) fn is_dearer(&self, thought_ns: f64, compile_ns: f64) -> bool {
        const TIMES: f64 = 3.0;
        self.is_slow(compile_ns) && compile_ns > thought_ns * TIMES
    }

    /// Whether a compile takes too long for the guest's thread.
    pub(crate) fn is_noticed(&self, compile_ns: f64) -> bool {
        compile_ns > 2.0 * self.costs.pause_ns
    }

    /// What compiling a body may take before the compiler has said what it does, in ns: right within three times even if
    /// somebody made the body to be dear.
    pub(crate) fn most_ns(&self, shape: Shape) -> f64 {
        let (bytes, widest) = (shape.bytes as f64, shape.widest as f64);
        let carried = bytes * (shape.locals as f64 + widest);
        // A call takes two bytes; the function itself is called, too.
        let called = (bytes / 2.0 + 1.0).min(shape.types as f64);
        let a_type = TYPE_NS + widest * widest * PAIR_NS;
        self.compile_ns(shape.bytes) + carried * CARRIED_NS + called * a_type
    }

    /// Whether a compile takes too long for a thread whose guest may be stopped meanwhile.
    pub(crate) fn outlasts_interrupts(&self, compile_ns: f64) -> bool {
        compile_ns > self.costs.interruptible_compile_ns
    }

    /// How long a compile may take before its thread no longer counts as one that compiles.
    pub(crate) fn overdue_ns(&self, compile_ns: f64) -> f64 {
        const TIMES: f64 = 10.0;
        (compile_ns * TIMES).max(self.costs.hung_compile_ns)
    }

    /// Whether a module of `module_bytes` that has `code_bytes` of machine code may have more.
    pub(crate) fn has_room(&self, module_bytes: usize, code_bytes: usize) -> bool {
        let more = module_bytes.saturating_mul(self.costs.code_bytes_per_byte);
        code_bytes < self.costs.code_bytes.saturating_add(more)
    }

    /// The time that so much work takes, in ns.
    pub(crate) fn work_ns(&self, work: u64) -> f64 {
        work as f64 * self.costs.cell_ns
    }

    /// Whether a leaf of this cost is compiled together with its caller, and not by itself.
    pub(crate) fn is_part_of_caller(&self, leaf_cost: u32) -> bool {
        f64::from(leaf_cost) * self.costs.cell_ns <= 2.0 * self.costs.crossing_ns
    }

    /// What must be earned before something is compiled that takes `compile_ns`, in ns, if its function has done `heat` of
    /// all the work of its module.
    fn price_ns(&self, heat: &Heat, all_work: u64, compile_ns: f64) -> f64 {
        let share = heat.work as f64 / all_work.max(heat.work).max(1) as f64;
        let factor = self.costs.large_share / share.max(f64::EPSILON) / self.eagerness;
        let (least, most) = (1.0 / self.eagerness, self.costs.patience);
        let factor = if self.is_held_up(heat) { most } else { factor };
        let in_leaves = heat.leaf_work as f64 / heat.work.max(1) as f64;
        let factor = factor.clamp(least, most.max(least));
        compile_ns * factor.max(in_leaves * self.costs.call_patience)
    }

    /// Whether compiled code of the function would lose about as much by calling interpreted functions as it gains: then
    /// it is the callees that should be compiled first, or with it.
    fn is_held_up(&self, heat: &Heat) -> bool {
        let calls = heat.recent.count_ones();
        let seen = (heat.parts.min(u64::BITS.into()) - u64::from(calls)) as f64;
        // Each of the samples stands for as much work: of the callees in one case, of the function itself in the other.
        let lost = f64::from(calls) * self.costs.crossing_ns / f64::from(heat.callee_cost.max(1));
        lost * 2.0 > seen * self.costs.cell_ns
    }

    /// Whether the guest's own thread compiles what waits although it has earned its full price: a compile that no one
    /// notices.
    pub(crate) fn wants_now(&self, earned_ns: f64, bytes: usize) -> bool {
        let price = self.compile_ns(bytes);
        price <= self.costs.pause_ns && earned_ns >= price
    }

    /// Whether a guest pauses, for [`CostModel::pause_ns`], in a function of which a part is compiled that has earned
    /// `earned_ns` and takes `compile_ns`; it has paused `pauses` times.
    pub(crate) fn pauses(
        &self,
        heat: &Heat,
        all_work: u64,
        earned_ns: f64,
        compile_ns: f64,
        pauses: u32,
    ) -> bool {
        let does_most = heat.work >= all_work.saturating_sub(heat.work);
        let paused_ns = f64::from(pauses) * self.costs.pause_ns;
        does_most && earned_ns * 2.0 >= compile_ns && paused_ns < compile_ns
    }

    /// The time spent interpreting a function, in ns.
    pub(crate) fn spent_ns(&self, heat: &Heat) -> f64 {
        self.work_ns(heat.work)
    }

    /// The time that the activation that is running has spent in loops, in ns: once its samples are no longer counted, all
    /// of the function's.
    pub(crate) fn stay_ns(&self, heat: &Heat, stay: Stay) -> f64 {
        if stay.samples >= MAX_STAY {
            return self.spent_ns(heat);
        }
        self.work_ns(stay.work.saturating_mul(stay.samples.into()))
    }

    /// Whether the function should be compiled from its start, which takes `compile_ns`.
    pub(crate) fn wants_function(&self, heat: &Heat, all_work: u64, compile_ns: f64) -> bool {
        heat.is_called_often() && self.spent_ns(heat) >= self.price_ns(heat, all_work, compile_ns)
    }

    /// Takes a function into account that takes `compile_ns`.
    pub(crate) fn add_to_set(&self, set: &mut WorkingSet, heat: &Heat, compile_ns: f64) {
        set.funcs += 1;
        set.samples += heat.samples.min(MOST_SAMPLES_IN_SET);
        set.spent_ns += self.spent_ns(heat).min(compile_ns * self.costs.patience);
        set.compile_ns += compile_ns;
    }

    /// Whether all functions of a set should be compiled, those that are not due by themselves, too.
    pub(crate) fn wants_set(&self, set: &WorkingSet) -> bool {
        set.funcs > 0
            && set.samples * 2 >= set.funcs * LEAST_SAMPLES_OF_TWO
            && set.spent_ns >= set.compile_ns * self.costs.set_patience.max(1.0 / self.eagerness)
    }

    /// Whether a loop should be compiled in which an activation stays.
    pub(crate) fn wants_loop(
        &self,
        heat: &Heat,
        stay: Stay,
        siblings: Siblings,
        all_work: u64,
        compile_ns: f64,
    ) -> bool {
        let price = if self.wants_function(heat, all_work, compile_ns) {
            compile_ns
        } else {
            self.price_ns(heat, all_work, compile_ns)
        };
        // Once more the full price, for code that is there and may still come around.
        let keeps_clear = |work| self.work_ns(work) >= compile_ns;
        self.stay_ns(heat, stay) >= price
            && stay.samples >= LEAST_STAY
            && !siblings.in_flight
            && siblings.work_beside_code.is_none_or(keeps_clear)
    }
}

#[cfg(test)]
mod tests;
