//! Gives inputs of libFuzzer to the target `heap`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::heap::run(bytes));
