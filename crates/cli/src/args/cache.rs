//! The options and the subcommand of the cache.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where `run` and `serve` look up what is known of a program.
#[derive(Debug, Default, Args)]
pub(crate) struct CacheOptions {
    /// Remember in this directory which large programs are valid, so that they start faster the next time
    /// [default: `tiered` in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Remember nothing, and use nothing that was remembered
    #[arg(long)]
    pub(crate) no_cache: bool,
}

/// `tiered cache`.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) action: CacheAction,
    /// Use this directory [default: `tiered` in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// What is done with the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum CacheAction {
    /// List what is remembered, the newest first
    List,
    /// Forget everything
    Clear,
    /// Remove entries that are damaged
    Verify,
}
