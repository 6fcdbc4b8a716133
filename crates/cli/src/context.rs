//! What the command line grants the program: arguments, environment, directories, sockets, the standard streams.
//!
//! Invariant: nothing is granted that no option names, but the standard streams, clocks and random numbers.

use std::env;
use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{PROC_SUPER_MAGIC, statfs};
use tiered::decode::printable::Line;
use tiered_wasi::{Access, BuildError, WasiCtx, WasiCtxBuilder};

use crate::args::{CacheOptions, EnvVar, Grant, ProgramArgs, RunArgs};
use crate::failure::Failure;
use crate::{cache, output};

/// How many descriptors the program may have open, if the process may have as many: it is the only guest.
const MAX_OPEN_FDS: usize = 65_536;

/// The WASI context of a run; `builder` has what no option says.
///
/// # Errors
/// A directory cannot be opened, a socket not bound, a variable to pass on is not set, or a text is none for a guest.
pub(crate) fn of_run(args: &RunArgs, builder: WasiCtxBuilder) -> Result<WasiCtx, Failure> {
    let mut builder = builder
        .inherit_stdio()
        .max_open_fds(args.max_open_fds.unwrap_or(MAX_OPEN_FDS))
        .arg(argv0(&args.program, args.module()))
        .args(args.args());
    for addr in &args.tcplisten {
        let listener = TcpListener::bind(addr)
            .map_err(|err| Failure::io(format!("--tcplisten {addr}"), &err))?;
        builder = builder.tcp_listener(listener);
    }
    build(&args.program, args.module(), builder)
}

/// The context of `builder`, with the directories, variables and network that the options of a program grant.
///
/// # Errors
/// As [`of_run`].
pub(crate) fn build(
    args: &ProgramArgs,
    module: &OsStr,
    mut builder: WasiCtxBuilder,
) -> Result<WasiCtx, Failure> {
    for (name, value) in environment(args)? {
        builder = builder.env(name, value);
    }
    for Grant {
        host,
        guest,
        read_only,
        ..
    } in &args.grants.0
    {
        let access = if *read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        builder = builder.preopen_dir(host, guest, access);
    }
    #[cfg(feature = "component")]
    {
        builder = args.network.grant(builder);
    }
    let ctx = builder.build().map_err(|err| refused(args, module, &err))?;
    for grant in &args.grants.0 {
        if let Some(danger) = danger(grant, &args.cache) {
            output::note(&format!("Warning: {}: {danger}", grant.option));
        }
    }
    Ok(ctx)
}

/// The variables for the program.
///
/// # Errors
/// One to pass on is not set.
pub(crate) fn environment(args: &ProgramArgs) -> Result<Vec<(&str, OsString)>, Failure> {
    let vars = args.env.iter();
    vars.map(|var| Ok((var.name.as_str(), value(var)?)))
        .collect()
}

/// What a grant gives away that its user may not think of.
fn danger(grant: &Grant, cache: &CacheOptions) -> Option<&'static str> {
    if statfs(&grant.host).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC) {
        Some(
            "shows the environment, the memory and the open files of this process and of others of this user; \
             nothing there can be changed",
        )
    } else if place(&grant.host).is_some_and(|found| place(Path::new("/")) == Some(found)) {
        Some(match grant.read_only {
            true => {
                "shows every file of this user, keys and passwords included; only /proc is kept back"
            }
            false => {
                "gives away every file of this user, to read and to change, and devices; only /proc is kept back"
            }
        })
    } else if !grant.read_only
        && cache::of_program(cache).is_some_and(|cache| reaches(grant, cache.path()))
    {
        Some("lets the program write to the cache of valid programs, which tiered trusts")
    } else {
        None
    }
}

/// Which file of the host is at a path.
fn place(path: &Path) -> Option<(u64, u64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether a directory or part of it is granted, whether it is there yet or not.
fn reaches(grant: &Grant, dir: &Path) -> bool {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
    let granted = place(&grant.host);
    let is_above = absolute.ancestors().any(|above| place(above) == granted);
    let host = grant.host.canonicalize().unwrap_or_default();
    granted.is_some()
        && (is_above
            || host
                .ancestors()
                .any(|above| place(above) == place(dir) && place(dir).is_some()))
}

/// The program's argument 0: as given, or the last part of the module's path.
pub(crate) fn argv0<'a>(args: &'a ProgramArgs, module: &'a OsStr) -> &'a OsStr {
    match &args.argv0 {
        Some(name) => name,
        None => Path::new(module).file_name().unwrap_or(module),
    }
}

/// The value of a variable: as given, or this process's own.
fn value(var: &EnvVar) -> Result<OsString, Failure> {
    let own = || env::var_os(&var.name);
    let value = var.value.as_ref().map(OsString::from).or_else(own);
    value.ok_or_else(|| Failure::host(format!("--env {}", var.name), "not set in the environment"))
}

/// Why there is no context, with the option to blame where there is one.
fn refused(args: &ProgramArgs, module: &OsStr, err: &BuildError) -> Failure {
    match err {
        BuildError::Preopen { path, source } => {
            Failure::io(option(args, |grant| grant.host == *path), source)
        }
        BuildError::ReadOnlyWithin {
            read_only,
            writable,
        } => {
            let outer = option(args, |grant| grant.host == *writable && !grant.read_only);
            Failure::usage(
                option(args, |grant| grant.host == *read_only && grant.read_only),
                format!("lies within {}, which is writable", Line(outer)),
            )
        }
        BuildError::TooManyFds { limit } => Failure::host(
            format!("--max-open-fds {limit}"),
            "too few for the standard streams and what is granted",
        ),
        BuildError::EnvNotUtf8 { name } => Failure::host(
            format!("--env {}", name.display()),
            "its value is not valid UTF-8",
        ),
        _ => Failure::host(module.display(), err),
    }
}

/// The option, as written, of the first grant that is meant.
fn option(args: &ProgramArgs, meant: impl Fn(&Grant) -> bool) -> &str {
    let grant = args.grants.0.iter().find(|grant| meant(grant));
    // Every directory of the context is one of them.
    grant.map_or("--dir", |grant| grant.option.as_str())
}
