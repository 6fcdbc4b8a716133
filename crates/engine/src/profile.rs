//! Profiles of the host: what part of a thread's time is spent in compiled code, and names for interpreted functions.
//!
//! Each of the two does one thing that only `unsafe` code can: one handles a signal, the other makes machine code.

mod sampler;
mod trampoline;

pub use sampler::{Sampler, TierTime};
pub(crate) use trampoline::maker as trampolines;
