//! Gives inputs of libFuzzer to the target `execute`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::execute::run(bytes));
