//! What stands in for the compiler in a build without one.

use std::sync::Arc;

use tiered_decode::index::FuncIdx;
use tiered_interp::Interpreter;
use tiered_runtime::code::Tier;
use tiered_runtime::module_code::ModuleCode;

use crate::config::{Config, Profile};
use crate::dump::{Dump, DumpError};
use crate::stats::Stats;

/// The tier of every engine.
pub(crate) fn interpreting(_: &Config) -> Arc<dyn Tier> {
    Interpreter::tier()
}

/// There are no names for a profiler.
pub(crate) fn open_profile(_: Profile) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// There is nothing that such engines open later.
pub(crate) fn open_ahead_interpreting(_: &Config) {}

/// A compiler, of which there is none.
pub(crate) enum Compiling {}

impl Compiling {
    pub(crate) fn new(config: &Config) -> Result<Compiling, String> {
        let Config {
            compile_threads: _,
            costs: _,
            max_code: _,
            verify: _,
            profile: _,
            trace: _,
            ..
        } = config;
        Err("this build has no compiler: its feature `jit` is off".to_owned())
    }

    pub(crate) fn tier(&self) -> Arc<dyn Tier> {
        match *self {}
    }

    pub(crate) fn stats(&self) -> Stats {
        match *self {}
    }

    pub(crate) fn open_ahead(&self) {
        match *self {}
    }

    pub(crate) fn dump(
        &self,
        _: &ModuleCode,
        _: FuncIdx,
        _: Option<u32>,
        _: Dump,
    ) -> Result<String, DumpError> {
        match *self {}
    }
}
