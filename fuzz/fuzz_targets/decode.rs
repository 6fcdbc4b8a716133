//! Gives inputs of libFuzzer to the target `decode`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::decode::run(bytes));
