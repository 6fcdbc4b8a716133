//! The seam between tiers, seen from the other side: a tier of Rust functions that takes over calls and loops.
//!
//! *Invariant:* at a loop's header every local and every operand under the loop is in the slot that
//! [`FrameLayout`](tiered_interp::runtime::frame::FrameLayout) says, so that what is entered there needs nothing
//! else.
//! *Invariant:* an entry never panics, for nothing may unwind through it: it writes down what it sees, and the test
//! looks at that later.

mod account;
mod exception;
mod loop_code;
mod loops;
mod mixed;
mod probe;
mod publish;
mod refused;
mod sample;
mod sharing;
mod states;
mod stay;
mod tail_call;
