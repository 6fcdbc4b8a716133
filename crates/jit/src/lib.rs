//! The compiling tier: from a validated body to machine code, by Cranelift.
//!
//! Nothing is compiled yet. What this crate will stand on is in place and tested without it, in `tiered-runtime`:
//!
//! * `frame`: the one layout of a function's frame, which is complete at every loop header, so that a loop can go on
//!   in compiled code with the interpreter's frame as its arguments;
//! * `code`: [`FuncRecord`](tiered_runtime::code::FuncRecord) with the two doors of a function and how they are
//!   replaced, [`EntryFn`](tiered_runtime::code::EntryFn), the call that crosses tiers, and
//!   [`Tier`](tiered_runtime::code::Tier), who is asked when a budget is spent;
//! * `builtin`: the bodies of instructions that are calls in compiled code;
//! * `backtrace`: where every tier registers its code.
//!
//! Absent on purpose: running code, and deciding what is hot.

#![forbid(unsafe_code)]
