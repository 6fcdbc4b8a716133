//! What the threads and the tiers ask of a compiler.
//!
//! # Why a trait
//! Threads, order and failures are tested with one that does nothing, takes as long as the test likes, and panics.

use std::sync::Arc;
use std::time::Duration;

use tiered_decode::Module;
use tiered_runtime::code::EntryFn;
use tiered_runtime::module_code::ModuleCode;

use crate::queue::Job;

/// What makes machine code.
pub(crate) trait Backend: Clone + Send + Sync + 'static {
    /// Code of a function or of a loop, with what it is the code of.
    type Code: Send + Sync + 'static;
    /// What one thread compiles with.
    type Compiler: Send;

    /// # Errors
    /// Why there is none.
    fn compiler(&self) -> Result<Self::Compiler, String>;

    /// # Errors
    /// Why there is no code.
    fn compile(
        &self,
        compiler: &mut Self::Compiler,
        module: &Arc<Module>,
        job: &Job,
    ) -> Result<Self::Code, String>;

    /// How long a compile is foreseen to take; `None` if it will fail. If it comes next, what this did is not done again.
    fn estimate(
        &self,
        compiler: &mut Self::Compiler,
        module: &Arc<Module>,
        job: &Job,
    ) -> Option<Duration>;

    /// What code takes, and took to make.
    fn size(code: &Self::Code) -> Size;

    /// What runs the code, with the frame of its function.
    fn entry(code: &Self::Code) -> EntryFn;

    /// Has all calls of the code's function, in all instances of `module`, or all that comes to its loop, enter the code,
    /// which is kept as long as `module`.
    fn publish(code: &Self::Code, module: &ModuleCode);
}

/// What code takes, and took to make.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    /// Bytes of machine code.
    pub(crate) code: usize,
    /// Bytes of memory that making it took, as foreseen.
    pub(crate) memory: usize,
    /// It was made in the way for bodies that take too long otherwise.
    pub(crate) single_pass: bool,
}
