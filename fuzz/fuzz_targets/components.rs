//! Gives inputs of libFuzzer to the target `components`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::components::run(bytes));
