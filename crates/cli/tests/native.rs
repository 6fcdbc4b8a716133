//! What a guest can do that has got to run native code, in a process that the kernel holds to the grants.
//!
//! The guest has a host function that no real guest has: it jumps to bytes in the guest's memory. They make a system call.
//! Every attempt is made twice: in a process that is held as `tiered run` holds its own, where it must fail, and in one that
//! is not held, where it must succeed; so it is known to be the kernel that is in the way.
//!
//! This file is a program of its own without a test harness, whose main thread would not be held: it starts itself for each
//! process. What the kernel lacks is skipped, and said.

#[cfg(target_arch = "x86_64")]
mod native {
    pub(crate) mod attempts;
    pub(crate) mod guest;
    pub(crate) mod parent;
}

#[cfg(target_arch = "x86_64")]
fn main() {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some("held") => native::attempts::run(true),
        Some("free") => native::attempts::run(false),
        Some("foreign") => native::attempts::foreign(),
        Some("--list") => {}
        _ => native::parent::run(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("skipped: the guest's native code is for x86-64");
}
