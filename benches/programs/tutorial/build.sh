#!/bin/sh
# Rebuilds the WASI tutorial's two programs. demo.c and demo.rs are the tutorial's text, character for character.
#
# demo.wasm wants a wasi-libc of 2022 or before, which says "Capabilities insufficient" for ENOTCAPABLE as the tutorial
# prints it (later ones say "No such file or directory", for no preopen found): Debian 12's packages clang, lld,
# wasi-libc, libclang-rt-14-dev-wasm32. demo_rs.wasm: rustc with the target wasm32-wasi (Debian's rustc and
# libstd-rust-dev-wasm32; wasm32-wasip1 in later releases).
#
# Usage: build.sh. CLANG, RUSTC and RUST_TARGET choose other tools.
set -eu
cd "$(dirname "$0")"
${CLANG:-clang} --target=wasm32-wasi -O1 -Wl,--strip-all -o demo.wasm demo.c
${RUSTC:-rustc} --edition 2021 --target "${RUST_TARGET:-wasm32-wasi}" -C opt-level=s -C lto=fat -C codegen-units=1 \
    -C panic=abort -C strip=symbols -C linker=wasm-ld --remap-path-prefix "$PWD=." -o demo_rs.wasm demo.rs
chmod 644 demo.wasm demo_rs.wasm
wc -c demo.wasm demo_rs.wasm
