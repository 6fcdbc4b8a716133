//! Asynchronous calls in all tier modes: what the host does for guests, what guests do for each other, and what traps.

#[path = "../../../engine/tests/modes/mod.rs"]
mod modes;

#[path = "../components/guest.rs"]
mod guest;

mod between;
mod ends;
mod errors;
mod host;
mod middle;
mod tasks;
