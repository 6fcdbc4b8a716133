//! Gives inputs of libFuzzer to the target `component_values`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::component_values::run(bytes));
