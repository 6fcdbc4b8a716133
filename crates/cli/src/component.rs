//! `tiered run` of a component: its command, or the function that `--invoke` names.

use std::process::ExitCode;
use std::time::Instant;

use tiered::decode::printable::Name;
use tiered::{Engine, Store};
use tiered_component::wave::Call;
use tiered_component::{Component, Error, Func, Instance, ItemType, Linker, Progress, Val};
use tiered_wasi::{WasiCtx, WasiCtxBuilder};

use crate::args::RunArgs;
use crate::context;
use crate::failure::Failure;
use crate::output;
use crate::run::{MOST_NAMES, Session, Stop, module_name};
use crate::watchdog::Watchdog;

/// What a command exports: a function `run` that says whether all went well, in one of these interfaces. The first of them
/// counts: what is built for 0.3 may bring a libc's `run` of 0.2 as well.
const RUN: [&str; 2] = ["wasi:cli/run@0.3.2", "wasi:cli/run@0.2.12"];

/// Runs the component; its exit code is the result.
///
/// # Errors
/// An option does not go with components, the host cannot run it, or it traps.
pub(crate) fn run(
    args: &RunArgs,
    begin: Instant,
    watchdog: Option<Watchdog>,
    engine: &Engine,
    component: &Component,
) -> Result<ExitCode, Failure> {
    refuse_options(args)?;
    let builder = with_http(args, component, WasiCtx::builder());
    let ctx = context::of_run(args, builder)?;
    let session = Session::enter(args, engine, begin, watchdog, &ctx)?;
    let failure = |err: &dyn std::fmt::Display| Failure::host(args.module().display(), err);
    let mut store = Store::new(engine, ctx).map_err(|err| failure(&err))?;
    session.guard(&store);
    let mut linker = Linker::new();
    let linked = tiered_wasi::p2::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx)
        .and_then(|()| tiered_wasi::p3::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx));
    linked.map_err(|err| failure(&err))?;
    let instance = linker.instantiate(&mut store, component);
    let ending = instance
        .map_err(|err| stop(args, err))
        .and_then(|instance| execute(args, &mut store, &instance));
    // What a command says by its result, not by an exit.
    let (ending, failed) = match ending {
        Ok(well) => (Ok(()), !well),
        Err(stop) => (Err(stop), false),
    };
    let exit_code = session.end(&store, ending);
    // As for modules: the system is faster.
    std::mem::forget((store, linker));
    match exit_code {
        Ok(ExitCode::SUCCESS) if failed => Ok(ExitCode::FAILURE),
        exit_code => exit_code,
    }
}

/// A context that the component can make requests with, if it is granted any.
#[cfg(feature = "http")]
fn with_http(args: &RunArgs, component: &Component, builder: WasiCtxBuilder) -> WasiCtxBuilder {
    match crate::http_client::Prepared::new(&args.program.network, component) {
        Some(client) => client.grant(builder),
        None => builder,
    }
}

#[cfg(not(feature = "http"))]
fn with_http(_: &RunArgs, _: &Component, builder: WasiCtxBuilder) -> WasiCtxBuilder {
    builder
}

/// Options that are for modules alone would be passed over in silence.
fn refuse_options(args: &RunArgs) -> Result<(), Failure> {
    let option = match (args.preload.first(), args.tcplisten.first()) {
        (Some(preload), _) => format!("--preload {}={}", preload.name, preload.file.display()),
        (None, Some(addr)) => format!("--tcplisten {addr}"),
        (None, None) => return Ok(()),
    };
    let reason = format!(
        "{} is a component, and this is for modules",
        module_name(args)
    );
    Err(Failure::usage(option, reason))
}

/// Whatever stops a component, as what stops a program.
fn stop(args: &RunArgs, err: Error) -> Stop {
    match err {
        Error::Trap(trap) => Stop::Trap(trap),
        err => Stop::Failure(Failure::host(args.module().display(), err)),
    }
}

/// Calls what the command line says, or the command; whether that says that all went well.
fn execute(args: &RunArgs, store: &mut Store<WasiCtx>, instance: &Instance) -> Result<bool, Stop> {
    if let Some(text) = &args.invoke {
        return invoke(args, store, instance, text);
    }
    let run = RUN.iter().find_map(|run| instance.func(run, "run").ok());
    let Some(run) = run else {
        return Err(nothing_to_run(args, instance.component()).into());
    };
    let run = run.typed::<(), Result<(), ()>>();
    let run = run.map_err(|err| stop(args, err))?;
    let result = run.call(store, &()).map_err(|err| stop(args, err))?;
    finish(store, instance).map_err(|err| stop(args, err))?;
    Ok(result.is_ok())
}

/// A command may go on after it has said how it went: it is given the time, as long as there is anything that can go on.
fn finish(store: &mut Store<WasiCtx>, instance: &Instance) -> Result<(), Error> {
    while instance.tasks(store)? > 0 && instance.run(store)? != Progress::Idle {}
    Ok(())
}

/// Calls the export that `--invoke` names with the arguments in its text, and prints the result.
fn invoke(
    args: &RunArgs,
    store: &mut Store<WasiCtx>,
    instance: &Instance,
    text: &str,
) -> Result<bool, Stop> {
    let culprit = format!("--invoke {text}");
    let usage = |reason: &dyn std::fmt::Display| Failure::usage(&culprit, reason);
    if !args.args().is_empty() {
        let reason = "the arguments of a component's function stand in parentheses: 'f(1, \"x\")'";
        return Err(usage(&reason).into());
    }
    let call = Call::parse(text).map_err(|err| usage(&err))?;
    let func = find(instance, call.name()).map_err(|found| {
        usage(&match found {
            0 => format!(
                "{} exports no such function{}",
                module_name(args),
                exported_functions(instance.component())
            ),
            found => format!("{found} interfaces export such a function: write INTERFACE#NAME"),
        })
    })?;
    let types = instance.component().types();
    let values = call.args(types, func.ty()).map_err(|err| usage(&err))?;
    let result = func.call(store, &values).map_err(|err| stop(args, err))?;
    // Nothing is the empty tuple.
    let text = result.map_or_else(|| "()".into(), |result: Val| result.to_string());
    output::print(&(text + "\n"))?;
    Ok(true)
}

/// The exported function of this name: `INTERFACE#NAME`, or a name alone, if it stands outside of interfaces or in one of
/// them only. If there is none, how many have it.
fn find(instance: &Instance, name: &str) -> Result<Func, usize> {
    let func = |interface: &str, name: &str| instance.func(interface, name).ok();
    if let Some((interface, name)) = name.rsplit_once('#') {
        return func(interface, name).ok_or(0);
    }
    if let Some(func) = func("", name) {
        return Ok(func);
    }
    let exports = functions(instance.component());
    let mut found = exports.filter(|(_, func)| **func == *name);
    let first = found.next();
    match (first, found.count()) {
        (Some((interface, name)), 0) => func(interface.unwrap_or(""), &name).ok_or(0),
        (first, more) => Err(usize::from(first.is_some()) + more),
    }
}

/// The functions that a component exports, each with its interface.
fn functions(component: &Component) -> impl Iterator<Item = (Option<&str>, Box<str>)> {
    component.exports().flat_map(|(name, item)| match item {
        ItemType::Func(_) => vec![(None, name.into())],
        ItemType::Instance(items) => {
            let funcs = items
                .into_iter()
                .filter(|(_, item)| matches!(item, ItemType::Func(_)));
            funcs.map(|(func, _)| (Some(name), func)).collect()
        }
        _ => Vec::new(),
    })
}

fn nothing_to_run(args: &RunArgs, component: &Component) -> Failure {
    let exports = exported_functions(component);
    Failure::host(
        args.module().display(),
        format!(
            "no `wasi:cli/run` to run; `--invoke 'NAME(ARGUMENTS)'` calls another function{exports}"
        ),
    )
}

/// What can be named after `--invoke`, or the first of that, as the end of a message.
pub(crate) fn exported_functions(component: &Component) -> String {
    let mut names = functions(component).map(|(interface, name)| match interface {
        Some(interface) => format!("{:?}", Name(&format!("{interface}#{name}"))),
        None => format!("{:?}", Name(&name)),
    });
    let first: Vec<_> = names.by_ref().take(MOST_NAMES).collect();
    match (first.len(), names.count()) {
        (0, _) => String::new(),
        (_, 0) => format!("; it exports {}", first.join(", ")),
        (_, more) => format!("; it exports {}, and {more} more", first.join(", ")),
    }
}
