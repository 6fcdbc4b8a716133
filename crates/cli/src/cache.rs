//! `tiered cache`: shows and empties the directory of what is remembered; and which one `run` and `serve` use.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use tiered_cache::{Cache, OpenError};

use crate::args::{CacheAction, CacheArgs, CacheOptions};
use crate::failure::Failure;
use crate::output;

/// The cache that a program is loaded with.
pub(crate) fn of_program(options: &CacheOptions) -> Option<Cache> {
    match options.no_cache {
        true => None,
        false => chosen(options.cache_dir.as_deref()),
    }
}

fn chosen(dir: Option<&Path>) -> Option<Cache> {
    dir.map(Cache::new).or_else(Cache::of_user)
}

/// # Errors
/// There is no such directory to be, it is not the user's own, or the host refuses to read or change it.
pub(crate) fn run(args: &CacheArgs) -> Result<ExitCode, Failure> {
    let Some(cache) = chosen(args.cache_dir.as_deref()) else {
        let reason = "neither $XDG_CACHE_HOME nor $HOME is an absolute path; name a directory with --cache-dir";
        return Err(Failure::host("cache", reason));
    };
    let failure = |error: OpenError| Failure::host(cache.path().display().to_string(), error);
    let text = match args.action {
        CacheAction::List => list(&cache).map_err(failure)?,
        CacheAction::Clear => removed(cache.clear().map_err(failure)?),
        CacheAction::Verify => removed(cache.verify().map_err(failure)?),
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn removed(files: usize) -> String {
    match files {
        1 => "removed 1 entry\n".into(),
        _ => format!("removed {files} entries\n"),
    }
}

fn list(cache: &Cache) -> Result<String, OpenError> {
    let mut entries = cache.entries()?;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.written()));
    let mut text = String::new();
    for entry in entries {
        let kind = match entry.is_component() {
            true => "component",
            false => "module",
        };
        let (name, bytes) = (entry.name(), entry.bytes());
        let written = entry.written().map(humantime::format_rfc3339_seconds);
        let written = written.map_or_else(String::new, |time| time.to_string());
        // It cannot fail: a string takes everything.
        let _ = writeln!(
            text,
            "{}  {written}  {kind:9}  {bytes:>10} bytes",
            &name[..16]
        );
    }
    Ok(text)
}
