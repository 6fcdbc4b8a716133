//! Gives inputs of libFuzzer to the target `compile_cost`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::compile_cost::run(bytes));
