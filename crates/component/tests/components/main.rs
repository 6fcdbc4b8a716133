//! Components that are instantiated and called, in all tier modes: as a host sees them, and as their instances see each other.
//! They are written as text here.

#[path = "../../../engine/tests/modes/mod.rs"]
mod modes;

mod calls;
mod composed;
mod converted;
mod guest;
mod libc;
mod linking;
mod lowered;
mod relatives;
mod resources;
mod strings;
mod values;
