//! `tiered run`: from the module's file to the program's exit code.

use std::ffi::OsStr;
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tiered::decode::printable::{Line, Name};
use tiered::{
    Engine, Extern, Func, Instance, InstantiateError, Linker, Module, Sampler, Store, Trap,
};
use tiered_cache::Cache;
use tiered_wasi::{PreloadError, Threads, WasiCtx};

use crate::args::{Preload, RunArgs};
#[cfg(feature = "component")]
use crate::component;
use crate::failure::Failure;
use crate::source::Program;
use crate::stats::{Ending, PeakMemory};
use crate::watchdog::Watchdog;
use crate::{cache, context, dump, engine, invoke, output, sandbox, source, stats};

/// Exported names that a message lists.
pub(crate) const MOST_NAMES: usize = 20;

/// How many threads a program may start, unless told otherwise.
const MAX_THREADS: usize = 128;

/// What the store of each of the program's threads holds.
type Context = Arc<WasiCtx>;

/// Why a program does not run to its end.
pub(crate) enum Stop {
    Trap(Trap),
    Failure(Failure),
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Stop {
        Stop::Trap(trap)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

/// Runs the program; its exit code is the result.
///
/// # Errors
/// The host cannot run it, or it traps.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let begin = Instant::now();
    let watchdog = watch(args)?;
    let engine = engine::new(&engine::program_config(&args.program))?;
    let cache = cache::of_program(&args.program.cache);
    let program = source::load(&engine, cache.as_ref(), args.module())?;
    if let (Some(what), Some(func)) = (args.dump, &args.func) {
        return dump::run(args, &engine, &program, what, func);
    }
    match program {
        Program::Module(module) => {
            run_module(args, begin, watchdog, &engine, cache.as_ref(), module)
        }
        #[cfg(feature = "component")]
        Program::Component(component) => component::run(args, begin, watchdog, &engine, &component),
    }
}

fn run_module(
    args: &RunArgs,
    begin: Instant,
    watchdog: Option<Watchdog>,
    engine: &Engine,
    cache: Option<&Cache>,
    module: Module,
) -> Result<ExitCode, Failure> {
    let preloads = args.preload.iter();
    let preloads = preloads
        .map(|preload| Ok((preload, source::load_module(engine, cache, &preload.file)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let ctx = context::of_run(args, WasiCtx::builder())?;
    let session = Session::enter(args, engine, begin, watchdog, &ctx)?;
    let (mut threads, mut store) = threads(args, engine, &module, Arc::new(ctx))?;
    session.guard(&store);
    let ending = preload(&mut store, &mut threads, &preloads).and_then(|()| {
        let instance = instantiated(args.module(), threads.instantiate(&mut store))?;
        execute(args, &mut store, instance, &module)
    });
    let ending = finish(&threads, ending);
    let exit_code = session.end(&store, ending);
    // The process ends now: the system takes the memory back faster than this program could give it, and nobody waits
    // for what is still being compiled.
    std::mem::forget((store, threads, preloads, module, engine.clone()));
    exit_code
}

/// What is around a program while it runs.
pub(crate) struct Session<'a> {
    args: &'a RunArgs,
    engine: &'a Engine,
    begin: Instant,
    watchdog: Option<Watchdog>,
    peak_memory: Option<PeakMemory>,
    sandbox: sandbox::Status,
    /// Without a timer the numbers say less.
    sampler: Option<Sampler>,
}

impl<'a> Session<'a> {
    /// Has the kernel hold the process to what `ctx` was granted, and begins to measure.
    pub(crate) fn enter(
        args: &'a RunArgs,
        engine: &'a Engine,
        begin: Instant,
        mut watchdog: Option<Watchdog>,
        ctx: &WasiCtx,
    ) -> Result<Session<'a>, Failure> {
        let peak_memory = args.stats.map(|_| PeakMemory::open());
        let sandbox = sandbox::enter(&args.program, engine, ctx, watchdog.as_mut())?;
        Ok(Session {
            args,
            engine,
            begin,
            watchdog,
            peak_memory,
            sandbox,
            sampler: args.stats.and_then(|_| Sampler::start().ok()),
        })
    }

    /// From here on the program itself is stopped when its time is up.
    pub(crate) fn guard<T>(&self, store: &Store<T>) {
        if let Some(watchdog) = &self.watchdog {
            let guest = store.interrupt_handle();
            watchdog.guard(move || guest.interrupt());
        }
    }

    /// Says what there is to say at the end.
    pub(crate) fn end<T>(
        self,
        store: &Store<T>,
        ending: Result<(), Stop>,
    ) -> Result<ExitCode, Failure> {
        if let Some(format) = self.args.stats {
            let summary = Ending {
                tier_time: self.sampler.and_then(|sampler| sampler.time().ok()),
                wall_time: self.begin.elapsed(),
                trapped: matches!(&ending, Err(Stop::Trap(trap)) if trap.exit_code().is_none()),
                interpreter_bytes: store.bytecode_bytes(),
                heap: store.heap_stats(),
                peak_memory: self.peak_memory.and_then(|peak| peak.read()),
                sandbox: self.sandbox,
            };
            output::note(&stats::text(format, self.engine, &summary));
        }
        let expired = self.watchdog.filter(Watchdog::has_expired);
        exit_code(self.args, ending, expired)
    }
}

/// The one place where the end of a program becomes an exit code. With `expired`, its time was up before its end: it
/// was interrupted, whatever it made of that.
fn exit_code(
    args: &RunArgs,
    ending: Result<(), Stop>,
    expired: Option<Watchdog>,
) -> Result<ExitCode, Failure> {
    let backtrace = |trap: &Trap| trap.backtrace().to_string();
    match (ending, expired) {
        (Err(Stop::Failure(failure)), _) => Err(failure),
        (Err(Stop::Trap(trap)), Some(watchdog)) => Err(trapped(
            &headline(args),
            &watchdog.reason(),
            &backtrace(&trap),
        )),
        (Ok(()), Some(watchdog)) => Err(trapped(&headline(args), &watchdog.reason(), "")),
        (Ok(()), None) => Ok(ExitCode::SUCCESS),
        (Err(Stop::Trap(trap)), None) => match trap.exit_code() {
            Some(code) => Ok(ExitCode::from(code.to_le_bytes()[0])),
            None => Err(trapped(
                &headline(args),
                &trap.to_string(),
                &backtrace(&trap),
            )),
        },
    }
}

/// The program with what it imports, and the store of its first thread.
fn threads(
    args: &RunArgs,
    engine: &Engine,
    module: &Module,
    ctx: Context,
) -> Result<(Threads<Context>, Store<Context>), Failure> {
    let failure = |err: &dyn Display| Failure::host(args.module().display(), err);
    let mut linker = Linker::new();
    tiered_wasi::add_to_linker(&mut linker, |ctx: &Context| ctx).map_err(|err| failure(&err))?;
    let max_threads = args.max_threads.unwrap_or(MAX_THREADS);
    let context = move || Arc::clone(&ctx);
    Threads::new(engine, module, linker, max_threads, context).map_err(|err| failure(&err))
}

/// Stops the program's other threads, one of which may have ended it.
fn finish(threads: &Threads<Context>, ending: Result<(), Stop>) -> Result<(), Stop> {
    match ending {
        Ok(()) => Ok(threads.finish(Ok(()))?),
        Err(Stop::Trap(trap)) => Ok(threads.finish(Err(trap))?),
        Err(Stop::Failure(failure)) => {
            // Whatever another thread has met, this is what there is to say.
            let _ = threads.finish(Ok(()));
            Err(failure.into())
        }
    }
}

/// Starts the clock if there is a time limit.
fn watch(args: &RunArgs) -> Result<Option<Watchdog>, Failure> {
    let Some(timeout) = args.timeout else {
        return Ok(None);
    };
    let headline = headline(args);
    let watchdog = Watchdog::start(timeout, move |reason| trapped(&headline, reason, ""));
    watchdog
        .map(Some)
        .map_err(|err| Failure::io("--timeout", &err))
}

/// Instantiates the modules that the program imports from.
fn preload(
    store: &mut Store<Context>,
    threads: &mut Threads<Context>,
    preloads: &[(&Preload, Module)],
) -> Result<(), Stop> {
    for (Preload { name, file }, module) in preloads {
        let option = || format!("--preload {name}={}", file.display());
        let preloaded = threads.preload(store, name, module);
        preloaded.map_err(|error| match error {
            PreloadError::Trap(trap) | PreloadError::Instantiate(InstantiateError::Trap(trap)) => {
                Stop::Trap(trap)
            }
            PreloadError::Link(error) => Failure::usage(option(), error).into(),
            PreloadError::Instantiate(_) | PreloadError::Initialize(_) => {
                Failure::host(file.display(), error).into()
            }
            error => Failure::host(option(), error).into(),
        })?;
    }
    Ok(())
}

/// The instance of a file's module, or why there is none.
fn instantiated(
    file: &OsStr,
    result: Result<Instance, InstantiateError>,
) -> Result<Instance, Stop> {
    result.map_err(|err| match err {
        InstantiateError::Trap(trap) => Stop::Trap(trap),
        err => Failure::host(file.display(), err).into(),
    })
}

/// Calls what the command line or WASI says, in WASI's order.
fn execute(
    args: &RunArgs,
    store: &mut Store<Context>,
    instance: Instance,
    module: &Module,
) -> Result<(), Stop> {
    let initialize = instance.func(store, "_initialize");
    if let Some(initialize) = initialize {
        call(args.module(), store, "_initialize", initialize)?;
    }
    if let Some(name) = &args.invoke {
        return invoke_export(args, store, instance, name);
    }
    for name in ["_start", ""] {
        if let Some(start) = instance.func(store, name) {
            return call(args.module(), store, name, start);
        }
    }
    match initialize.is_some() || module.start().is_some() {
        true => Ok(()),
        false => Err(nothing_to_run(args, store, instance).into()),
    }
}

/// Calls a function that takes and returns nothing.
fn call(file: &OsStr, store: &mut Store<Context>, name: &str, func: Func) -> Result<(), Stop> {
    let func = func
        .typed::<(), ()>(store)
        .map_err(|err| Failure::host(file.display(), format!("export {:?}: {err}", Name(name))))?;
    Ok(func.call(store, ())?)
}

/// Calls the export that `--invoke` names, and prints its results.
fn invoke_export(
    args: &RunArgs,
    store: &mut Store<Context>,
    instance: Instance,
    name: &str,
) -> Result<(), Stop> {
    let Some(func) = instance.func(store, name) else {
        let exports = exported_functions(store, instance);
        return Err(Failure::usage(
            format!("--invoke {name}"),
            format!("{} exports no such function{exports}", module_name(args)),
        )
        .into());
    };
    let values = invoke::parse_args(name, &func.ty(store), args.args())?;
    let results = func.call(store, &values)?;
    Ok(output::print(&invoke::results_text(&results))?)
}

fn nothing_to_run(args: &RunArgs, store: &Store<Context>, instance: Instance) -> Failure {
    let exports = exported_functions(store, instance);
    Failure::host(
        args.module().display(),
        format!("no `_start` to run; `--invoke NAME` calls another function{exports}"),
    )
}

/// What can be named after `--invoke`, or the first of that, as the end of a message.
fn exported_functions(store: &Store<Context>, instance: Instance) -> String {
    let funcs = instance
        .exports(store)
        .filter(|(_, value)| matches!(value, Extern::Func(_)));
    let mut names = funcs.map(|(name, _)| format!("{:?}", Name(name)));
    let first: Vec<_> = names.by_ref().take(MOST_NAMES).collect();
    match (first.len(), names.count()) {
        (0, _) => String::new(),
        (_, 0) => format!("; it exports {}", first.join(", ")),
        (_, more) => format!("; it exports {}, and {more} more", first.join(", ")),
    }
}

/// The module's file, in one line.
pub(crate) fn module_name(args: &RunArgs) -> impl Display {
    Line(args.module().display())
}

fn headline(args: &RunArgs) -> String {
    format!("failed to run main module `{}`", module_name(args))
}

/// The failure of a program that trapped, by itself or because its time is up.
fn trapped(headline: &str, reason: &str, backtrace: &str) -> Failure {
    let mut message = format!("{headline}\n\nCaused by:\n    {reason}");
    if !backtrace.is_empty() {
        message.push_str("\n    wasm backtrace:");
        backtrace
            .lines()
            .for_each(|line| message.extend(["\n    ", line]));
    }
    Failure::trap(message)
}
