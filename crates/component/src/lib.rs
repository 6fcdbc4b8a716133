//! The component model on tiered: a component's core modules run in the tiers like any module, and what is between them
//! and the host is the canonical ABI.
//!
//! *Invariant:* the validator checks component-level types, and linking compares them with the host's once. A value that
//! comes from a guest is checked when it is lifted, as the specification says; a wrong one is a trap with the function,
//! the path to the value and the reason.
//! *Invariant:* nothing that a guest asks for is allocated before it is bounded.
//! *Invariant:* no slice of a guest's memory is held across a call into a guest.
//! *Invariant:* after a trap, a component instance is not entered again.
//! *Invariant:* this crate knows no WASI.

#![forbid(unsafe_code)]

pub mod abi;
pub mod types;
mod val;

pub use val::{Handle, Val};
