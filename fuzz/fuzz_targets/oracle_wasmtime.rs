//! Gives inputs of libFuzzer to the target `oracle_wasmtime`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tiered_fuzz::oracle_wasmtime::run(bytes));
