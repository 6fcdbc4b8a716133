#!/bin/sh
# Rebuilds the guest programs of this folder: each NAME.c becomes NAME.wasm, as does each gc/NAME.wat (or those named as
# arguments).
#
# Usage: build.sh [FILE...]
#
# WASI_CC chooses the compiler. Without it: `python3 -m ziglang cc` if that package is installed, else `zig cc`, else
# clang with Debian's wasi-libc. The committed files are made by ziglang 0.15.2.
set -eu
cd "$(dirname "$0")"

if [ -n "${WASI_CC:-}" ]; then
    cc=$WASI_CC
elif python3 -c 'import ziglang' 2>/dev/null; then
    cc='python3 -m ziglang cc -target wasm32-wasi'
elif command -v zig >/dev/null; then
    cc='zig cc -target wasm32-wasi'
else
    cc='clang --target=wasm32-wasi -msign-ext -mbulk-memory -mnontrapping-fptoint'
fi

# The output names no path of the machine it is built on, and no time: the same compiler gives the same bytes.
flags='-O2 -std=c11 -Wall -Wextra -fno-ident -Wl,--strip-all -Wl,-z,stack-size=1048576'

if [ $# -eq 0 ]; then
    set -- *.c gc/*.wat
fi
for source in "$@"; do
    name=${source%.*}
    if [ "$source" != "$name.c" ]; then
        cargo run -q -p tiered-decode --example binary -- "$source" "$name.wasm"
        printf '%8d %s\n' "$(wc -c <"$name.wasm")" "$name.wasm"
        continue
    fi
    vectors=
    case $name in
        sqlite_shell | lua_runner) continue ;; # by real.sh, against libraries
        blake3 | blur | utf8) vectors=-msimd128 ;;
    esac
    # shellcheck disable=SC2086 # words, on purpose
    $cc $flags $vectors -o "$name.wasm" "$name.c" -lm
    chmod 644 "$name.wasm"
    printf '%8d %s\n' "$(wc -c <"$name.wasm")" "$name.wasm"
done
