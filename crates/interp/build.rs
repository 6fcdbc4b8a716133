//! Chooses how instructions are dispatched: by tail calls where the compiler makes jumps of them.
//!
//! Only optimized code turns a call in tail position into a jump, and checks that debug assertions add keep values
//! on the stack that would be in the way. The choice depends on the optimization level, which only a build script is
//! told.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(tail_calls)");
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let optimized = var("OPT_LEVEL") != "0";
    // Cargo says so of a profile, but not of flags given besides, which is how fuzzers turn the checks on.
    let checked = std::env::var_os("CARGO_CFG_DEBUG_ASSERTIONS").is_some()
        || var("CARGO_ENCODED_RUSTFLAGS")
            .split('\u{1f}')
            .any(is_debug_assertions);
    let known = matches!(var("CARGO_CFG_TARGET_ARCH").as_str(), "x86_64" | "aarch64");
    if optimized && !checked && known {
        println!("cargo::rustc-cfg=tail_calls");
    }
}

fn is_debug_assertions(flag: &str) -> bool {
    let flag = flag.strip_prefix("-C").unwrap_or(flag);
    flag.strip_prefix("debug-assertions")
        .is_some_and(|value| !matches!(value, "=no" | "=off" | "=n" | "=false"))
}
