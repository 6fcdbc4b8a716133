//! Gives inputs of libFuzzer to the target `tiers_agree`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::tiers_agree::run(bytes));
