//! Gives inputs of libFuzzer to the target `wasi_race`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::wasi_race::run(bytes));
