#!/bin/sh
# Builds real programs into DIR: sqlite_shell, lua_runner and bzip2 (C sources out of published crates) and esbuild (npm). Nothing of them is committed: this script says where each byte comes from.
#
# Usage: real.sh DIR
#
# Needs cargo and npm with a network, and `python3 -m ziglang` or `zig`. Sources are cached in DIR/src.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: real.sh DIR}/src"
dir=$(cd "$1" && pwd)

if [ -n "${WASI_CC:-}" ]; then
    cc=$WASI_CC
elif python3 -c 'import ziglang' 2>/dev/null; then
    cc='python3 -m ziglang cc -target wasm32-wasi'
else
    cc='zig cc -target wasm32-wasi'
fi

# `cargo vendor` copies each crate's published files, whatever the target, without building anything.
cat >"$dir/src/Cargo.toml" <<'TOML'
[package]
name = "sources"
version = "0.0.0"
edition = "2021"
[lib]
path = "lib.rs"
[workspace]
[dependencies]
libsqlite3-sys = "=0.35.0"
lua-src = "=547.0.0"
bzip2-sys = "=0.1.13"
TOML
: >"$dir/src/lib.rs"
if [ ! -d "$dir/src/vendor" ]; then
    (cd "$dir/src" && cargo vendor -q vendor >/dev/null)
fi
vendor=$dir/src/vendor

build() { # NAME FLAGS AND FILES...
    name=$1
    shift
    # shellcheck disable=SC2086 # words, on purpose
    $cc -O2 -w -fno-ident -Wl,--strip-all -Wl,-z,stack-size=1048576 -o "$dir/$name.wasm" "$@"
    printf '%9d %s\n' "$(wc -c <"$dir/$name.wasm")" "$name.wasm"
}

build sqlite_shell "$here/sqlite_shell.c" "$vendor/libsqlite3-sys/sqlite3/sqlite3.c" \
    -I"$vendor/libsqlite3-sys/sqlite3" -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_WAL \
    -DSQLITE_TEMP_STORE=3 -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_MATH_FUNCTIONS \
    -D_WASI_EMULATED_GETPID -D_WASI_EMULATED_MMAN -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS \
    -lwasi-emulated-getpid -lwasi-emulated-mman -lwasi-emulated-signal -lwasi-emulated-process-clocks -lm

build lua_runner "$here/lua_runner.c" -I"$vendor/lua-src/lua-5.4.7" \
    -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -lwasi-emulated-signal -lwasi-emulated-process-clocks -lm

# bzip2 copies the owner and the mode of a file, which preview 1 does not have.
cat >"$dir/src/no_owner.c" <<'C'
int no_chmod(const char *path, unsigned mode) { return 0; }
int no_fchmod(int fd, unsigned mode) { return 0; }
int chown(const char *path, unsigned user, unsigned group) { return 0; }
int fchown(int fd, unsigned user, unsigned group) { return 0; }
unsigned umask(unsigned mask) { return 0; }
C
bz=$vendor/bzip2-sys/bzip2-1.0.8
build bzip2 "$bz/bzip2.c" "$bz/bzlib.c" "$bz/blocksort.c" "$bz/compress.c" "$bz/crctable.c" "$bz/decompress.c" \
    "$bz/huffman.c" "$bz/randtable.c" "$dir/src/no_owner.c" -std=gnu89 -DBZ_UNIX=1 -Dchmod=no_chmod -Dfchmod=no_fchmod \
    -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -lwasi-emulated-signal -lwasi-emulated-process-clocks

if [ ! -f "$dir/esbuild.wasm" ]; then
    (cd "$dir/src" && npm install --silent --no-save --prefix . @esbuild/wasi-preview1@0.27.2 >/dev/null)
    cp "$dir/src/node_modules/@esbuild/wasi-preview1/esbuild.wasm" "$dir/esbuild.wasm"
fi
printf '%9d %s\n' "$(wc -c <"$dir/esbuild.wasm")" esbuild.wasm
