//! The tier of these tests, which writes down all samples and answers as it is told, and guests that run in it.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use tiered_interp::runtime::code::{
    EntryFn, EntryPoints, FuncCode, HotPoint, Outcome, Sample, Tier,
};
use tiered_interp::runtime::decode::Module;
use tiered_interp::runtime::decode::index::FuncIdx;
use tiered_interp::runtime::frame::Slot;
use tiered_interp::runtime::module_code::ModuleCode;
use tiered_interp::runtime::vmctx::VmCtx;
use tiered_interp::runtime::{Caller, Instance, Limits, Linker, Store, Trap, Val};

/// Where a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Call,
    /// In the loop whose instruction is at the byte `offset`.
    Loop {
        offset: u32,
        stay: u32,
    },
    /// In front of a call of what is not interpreted, in that loop if in any.
    CallOut {
        offset: Option<u32>,
        stay: u32,
    },
}

/// A sample that a [`Probe`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The function's index.
    pub(crate) func: u32,
    pub(crate) at: At,
    pub(crate) work: u64,
}

type Answer = dyn Fn(usize, &Sample<'_>) -> Option<EntryFn> + Send + Sync;

/// A tier that begins in the interpreter.
pub(crate) struct Probe {
    points: EntryPoints,
    seen: Mutex<Vec<Seen>>,
    /// Gets the number of samples before this one.
    answer: Box<Answer>,
}

impl Probe {
    pub(crate) fn new(
        period: i32,
        answer: impl Fn(usize, &Sample<'_>) -> Option<EntryFn> + Send + Sync + 'static,
    ) -> Arc<Probe> {
        let points = EntryPoints {
            period,
            ..tiered_interp::entry_points()
        };
        Arc::new(Probe {
            points,
            seen: Mutex::default(),
            answer: Box::new(answer),
        })
    }

    /// One that leaves everything where it is.
    pub(crate) fn silent(period: i32) -> Arc<Probe> {
        Probe::new(period, |_, _| None)
    }

    /// A silent one with entry points that `change` has changed.
    pub(crate) fn with_points(period: i32, change: impl FnOnce(&mut EntryPoints)) -> Arc<Probe> {
        let mut probe = Probe::silent(period);
        let own = Arc::get_mut(&mut probe).expect("nobody else has it yet");
        change(&mut own.points);
        probe
    }

    /// One that is asked only where function `func` is called, with the number of such samples before.
    pub(crate) fn at_calls(
        period: i32,
        func: u32,
        answer: impl Fn(usize, &Sample<'_>) -> Option<EntryFn> + Send + Sync + 'static,
    ) -> Arc<Probe> {
        let count = Mutex::new(0);
        Probe::new(period, move |_, sample| {
            let is_meant =
                sample.func.index.0 == func && matches!(sample.at, HotPoint::Call { .. });
            answer(next_of(&count, is_meant)?, sample)
        })
    }

    /// One that is asked only in loops, with the number of such samples before.
    pub(crate) fn at_loops(
        period: i32,
        answer: impl Fn(usize, &Sample<'_>) -> Option<EntryFn> + Send + Sync + 'static,
    ) -> Arc<Probe> {
        let count = Mutex::new(0);
        Probe::new(period, move |_, sample| {
            let is_meant = matches!(sample.at, HotPoint::Loop { .. });
            answer(next_of(&count, is_meant)?, sample)
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics with it").clone()
    }

    /// Forgets what was seen, and gives it back.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("no test panics with it"))
    }

    /// The bytes of the loops that were sampled.
    pub(crate) fn loops(&self) -> Vec<u32> {
        let offset = |seen: Seen| match seen.at {
            At::Loop { offset, .. } => Some(offset),
            At::Call | At::CallOut { .. } => None,
        };
        self.seen().into_iter().filter_map(offset).collect()
    }

    /// Number of samples where `func` was called.
    pub(crate) fn calls_of(&self, func: u32) -> usize {
        let is_call = |seen: &Seen| seen.func == func && seen.at == At::Call;
        self.seen().iter().filter(|seen| is_call(seen)).count()
    }

    pub(crate) fn as_tier(self: &Arc<Probe>) -> Arc<dyn Tier> {
        Arc::clone(self) as Arc<dyn Tier>
    }
}

/// The number before, if this is meant.
fn next_of(count: &Mutex<usize>, is_meant: bool) -> Option<usize> {
    is_meant.then(|| {
        let mut count = count.lock().expect("no test panics with it");
        *count += 1;
        *count - 1
    })
}

// SAFETY: the entry points are the interpreter's, and the entries of these tests keep the rules of the seam.
unsafe impl Tier for Probe {
    fn entry_points(&self) -> EntryPoints {
        self.points
    }

    fn sample(&self, sample: &Sample<'_>) -> Option<EntryFn> {
        let at = match sample.at {
            HotPoint::Call { .. } => At::Call,
            HotPoint::Loop { of, stay } => At::Loop {
                offset: of.offset,
                stay,
            },
            HotPoint::CallOut { of, stay } => At::CallOut {
                offset: of.map(|of| of.offset),
                stay,
            },
        };
        let number = {
            let mut seen = self.seen.lock().expect("no test panics with it");
            seen.push(Seen {
                func: sample.func.index.0,
                at,
                work: sample.work,
            });
            seen.len() - 1
        };
        (self.answer)(number, sample)
    }
}

/// The code of a module in the tier of `probe`.
pub(crate) fn code(text: &str, probe: &Arc<Probe>) -> Arc<ModuleCode> {
    let module =
        Module::new(text.as_bytes().to_vec()).unwrap_or_else(|err| panic!("{err}\n{text}"));
    ModuleCode::new(&probe.as_tier(), &Arc::new(module))
}

/// A store in the tier of `probe`.
pub(crate) fn store(probe: &Arc<Probe>) -> Store<u32> {
    Store::with_tier(probe.as_tier(), Limits::default(), 0).expect("a store has a stack")
}

/// An instance in a store, whose data is a number.
pub(crate) struct Guest {
    pub(crate) store: Store<u32>,
    pub(crate) instance: Instance,
    pub(crate) code: Arc<ModuleCode>,
    pub(crate) probe: Arc<Probe>,
}

impl Guest {
    pub(crate) fn new(text: &str, probe: Arc<Probe>) -> Guest {
        Guest::linked(text, probe, &Linker::new())
    }

    /// An instance whose imports are in `linker`.
    pub(crate) fn linked(text: &str, probe: Arc<Probe>, linker: &Linker<u32>) -> Guest {
        Guest::of_code(&code(text, &probe), probe, linker)
    }

    /// An instance of `code` in a store of its own.
    pub(crate) fn of_code(
        code: &Arc<ModuleCode>,
        probe: Arc<Probe>,
        linker: &Linker<u32>,
    ) -> Guest {
        let mut store = store(&probe);
        let instance = linker
            .instantiate(&mut store, code)
            .expect("it has its imports");
        Guest {
            store,
            instance,
            code: Arc::clone(code),
            probe,
        }
    }

    pub(crate) fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        call(&mut self.store, self.instance, name, args)
    }

    pub(crate) fn call_i32(&mut self, name: &str, args: &[i32]) -> i32 {
        call_i32(&mut self.store, self.instance, name, args)
    }

    /// What callers know of the function at `index`.
    pub(crate) fn func(&self, index: u32) -> &FuncCode {
        func(&self.code, index)
    }
}

/// What callers know of the function at `index`, in stores that do not count fuel.
pub(crate) fn func(code: &ModuleCode, index: u32) -> &FuncCode {
    let func = code.set(false).func(FuncIdx(index));
    func.expect("the module defines it")
}

pub(crate) fn call(
    store: &mut Store<u32>,
    instance: Instance,
    name: &str,
    args: &[Val],
) -> Result<Vec<Val>, Trap> {
    let func = instance.func(store, name);
    func.unwrap_or_else(|| panic!("{name} is exported"))
        .call(store, args)
}

pub(crate) fn call_i32(
    store: &mut Store<u32>,
    instance: Instance,
    name: &str,
    args: &[i32],
) -> i32 {
    let args: Vec<Val> = args.iter().copied().map(Val::I32).collect();
    match call(store, instance, name, &args) {
        Ok(results) => results[0].i32().expect("an integer"),
        Err(trap) => panic!("{name}: {trap:?}"),
    }
}

/// Moves `func` to `entry`, for all instances.
///
/// # Safety
/// `entry` runs the function by the rules of [`EntryFn`].
pub(crate) unsafe fn publish(func: &FuncCode, entry: EntryFn) {
    let code = func.module_code().expect("a module defines it");
    // SAFETY: the caller's promise.
    unsafe { func.publish(entry, code.entry_points().foreign, std::ptr::null()) };
}

/// Moves `func` back to the interpreter, which has translated it.
pub(crate) fn publish_interpreted(func: &FuncCode) {
    let code = func.module_code().expect("a module defines it");
    let body = func.body().expect("it has been called");
    let words = body.words().cast::<u64>().as_ptr().cast_const();
    let entry = code.entry_points().entry;
    // SAFETY: both are the interpreter's own for this function.
    unsafe { func.publish(entry, words, std::ptr::null()) };
}

/// The functions' names in a back trace, the innermost first.
pub(crate) fn names(trap: &Trap) -> Vec<String> {
    let name = |frame: &tiered_interp::runtime::Frame| frame.func_name().map(str::to_owned);
    let frames = trap.frames().iter();
    frames
        .map(|frame| name(frame).unwrap_or_default())
        .collect()
}

/// Takes over a function without parameters: returns how much of the period is spent.
///
/// # Safety
/// As for every [`EntryFn`], of a function that returns an `i64`.
pub(crate) unsafe extern "C" fn spent(
    instance: NonNull<VmCtx>,
    _: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the instance is alive, and the frame has room for the result.
    unsafe {
        let ctx = VmCtx::borrow(instance.as_ptr()).store();
        let left = i64::from(ctx.entry_points().period) - i64::from(ctx.work.get());
        frame.write(left.cast_unsigned());
    }
    Outcome::Returned
}

/// The variable that tells a test that it is the child that may end badly.
const CHILD: &str = "TIERED_SEAM_CHILD";

/// Runs the test `name` again in a process of its own, for what would end this one.
pub(crate) fn passes_alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let output = std::process::Command::new(program)
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A host function `host` `note` that counts its calls in the store's data and returns its argument.
pub(crate) fn noting() -> Linker<u32> {
    let mut linker = Linker::new();
    linker
        .func("host", "note", |mut caller: Caller<'_, u32>, value: i32| {
            *caller.data_mut() += 1;
            value
        })
        .expect("a new name");
    linker
}
