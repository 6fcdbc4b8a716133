//! What the tiers do, as it happens: one event for each decision and each step.
//!
//! *Invariant:* an event is told outside of every lock of the engine, so a sink may take its time or ask the engine.
//! *Invariant:* no panic of a sink leaves [`Trace::tell`].

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::printable::{Line, Name};

/// A decision or a step of the tiers, about one function or one of its loops.
///
/// Its text is a line for people: when, what, of what, why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TierEvent<'a> {
    /// What happened.
    pub kind: TierEventKind<'a>,
    /// The module that the function belongs to.
    pub module: &'a Arc<Module>,
    /// The function.
    pub func: FuncIdx,
    /// The loop that it is about, by the byte of its `loop` instruction in the module; `None` for the whole function.
    pub loop_offset: Option<u32>,
    /// Time since the engine was made.
    pub at: Duration,
}

/// What a [`TierEvent`] tells.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TierEventKind<'a> {
    /// It is hot, and now waits to be compiled.
    Queued {
        /// Samples of the function so far, in all instances.
        samples: u64,
        /// The time that the interpreter is taken to have spent in it.
        spent: Duration,
        /// The time that compiling it is expected to take.
        estimate: Duration,
        /// How many wait, this one included.
        waiting: usize,
    },
    /// It takes the place of another loop of the function that waited to be compiled, and that the function has left.
    Moved {
        /// The other's `loop` instruction, a byte of the module.
        from: u32,
    },
    /// It has been compiled.
    Compiled {
        /// How long it waited for that.
        waited: Duration,
        /// How long the compiler took.
        took: Duration,
        /// Bytes of machine code.
        code_bytes: usize,
    },
    /// New calls of the function, in all instances, enter compiled code from now on.
    Published,
    /// A frame that was running goes on in the loop's compiled code, for the first time.
    Entered,
    /// It can't be compiled and stays interpreted.
    Failed {
        /// How long the attempt took.
        took: Duration,
        /// Why.
        reason: &'a str,
    },
    /// It gave way in the queue to something hotter, and may be asked for again.
    Dropped,
}

impl TierEvent<'_> {
    /// The function's name in the module, if it has one. It may hold anything; the event's `Display` shows it escaped and
    /// bounded.
    pub fn func_name(&self) -> Option<&str> {
        self.module.func_name(self.func)
    }
}

impl fmt::Display for TierEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            TierEventKind::Queued { .. } => "queued",
            TierEventKind::Moved { .. } => "moved",
            TierEventKind::Compiled { .. } => "compiled",
            TierEventKind::Published => "published",
            TierEventKind::Entered => "entered",
            TierEventKind::Failed { .. } => "failed",
            TierEventKind::Dropped => "dropped",
        };
        write!(f, "[{:>10.3} ms] {verb:<9} ", millis(self.at))?;
        if let Some(offset) = self.loop_offset {
            write!(f, "loop @{offset:#x} of ")?;
        }
        write!(f, "func {}", self.func)?;
        if let Some(name) = self.func_name() {
            write!(f, " <{}>", Name(name))?;
        }
        match self.kind {
            TierEventKind::Queued {
                samples,
                spent,
                estimate,
                waiting,
            } => write!(
                f,
                ": after {samples} sample{}, {:.3} ms interpreted, {:.3} ms to compile, {waiting} waiting",
                if samples == 1 { "" } else { "s" },
                millis(spent),
                millis(estimate)
            ),
            TierEventKind::Compiled {
                waited,
                took,
                code_bytes,
            } => write!(
                f,
                ": {:.3} ms, {code_bytes} bytes of code, after {:.3} ms in the queue",
                millis(took),
                millis(waited)
            ),
            TierEventKind::Failed { took, reason } => {
                write!(
                    f,
                    ": {:.3} ms, {}; it stays interpreted",
                    millis(took),
                    Line(reason)
                )
            }
            TierEventKind::Moved { from } => {
                write!(
                    f,
                    ": in place of loop @{from:#x}, which the function has left"
                )
            }
            TierEventKind::Dropped => f.write_str(": hotter ones wait"),
            TierEventKind::Published | TierEventKind::Entered => Ok(()),
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What an embedder is told events by.
type Callback = dyn Fn(&TierEvent<'_>) + Send + Sync;

/// Where events are told.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Sink<Callback>>);

struct Sink<F: ?Sized> {
    has_panicked: AtomicBool,
    call: F,
}

#[cfg_attr(
    not(feature = "jit"),
    expect(dead_code, reason = "without a compiler nothing happens")
)]
impl Trace {
    pub(crate) fn new(call: impl Fn(&TierEvent<'_>) + Send + Sync + 'static) -> Trace {
        Trace(Arc::new(Sink {
            has_panicked: AtomicBool::new(false),
            call,
        }))
    }

    /// Tells the sink, unless it has panicked.
    ///
    /// Events happen below code of the guest, which can't be unwound through, and on compile threads, which others wait
    /// for. So a panic ends here. The program's panic hook has reported it.
    pub(crate) fn tell(&self, event: &TierEvent<'_>) {
        if self.has_panicked() {
            return;
        }
        let _telling = Telling::begin();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.0.call)(event))) {
            self.0.has_panicked.store(true, Ordering::Relaxed);
            // Its destructor may panic, too.
            std::mem::forget(payload);
        }
    }

    /// Whether this thread is telling an event. A guest that a sink runs must not wait for a compile: it may be the one that
    /// the event is about.
    pub(crate) fn is_telling() -> bool {
        TELLING.get()
    }

    /// Whether the sink has panicked and is told nothing more.
    pub(crate) fn has_panicked(&self) -> bool {
        self.0.has_panicked.load(Ordering::Relaxed)
    }
}

thread_local! {
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, its thread is telling an event.
struct Telling {
    before: bool,
}

impl Telling {
    fn begin() -> Telling {
        Telling {
            before: TELLING.replace(true),
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        TELLING.set(self.before);
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("has_panicked", &self.0.has_panicked)
            .finish_non_exhaustive()
    }
}
