#!/bin/sh
# Runs every command of the WASI tutorial with its two programs and compares what they print: one line each, `ok` or
# `FAILED`; ends with 1 if any failed.
#
# Usage: check.sh ENGINE      (as in: check.sh target/release/tiered)
#
# ENGINE is called as the tutorial does: `ENGINE [--dir=DIR...] [--mapdir=GUEST:HOST] demo.wasm ARGS...`.
set -u
engine=$(command -v "${1:?usage: check.sh ENGINE}") || { echo "$1: not found" >&2; exit 2; }
case $engine in /*) ;; *) engine=$PWD/$engine ;; esac
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
somewhere=/tmp/somewhere.$$.txt
trap 'rm -rf "$work" "$somewhere"' EXIT
mkdir "$work/here" "$work/var" "$work/outside"
cd "$work/here" || exit 2
cp "$here/demo.wasm" "$here/demo_rs.wasm" .
echo hello world >test.txt
echo secret >"$work/outside/secret.txt"
failed=0

# check NAME EXIT TEXT COMMAND...: the command ends with EXIT and prints just TEXT.
check() {
    name=$1 wanted=$2 text=$3
    shift 3
    output=$("$@" 2>&1 </dev/null)
    code=$?
    if [ "$code" -eq "$wanted" ] && [ "$output" = "$text" ]; then
        echo "ok      $name"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n        exit %s (wanted %s), printed: %s\n        wanted: %s\n' \
            "$name" "$code" "$wanted" "$output" "$text"
    fi
}

# The C program, with the tutorial's own words.
denied='Capabilities insufficient'
check 'usage' 1 'usage: demo.wasm <from> <to>' "$engine" demo.wasm
check 'no grant' 1 "error opening input test.txt: $denied" "$engine" demo.wasm test.txt $somewhere
check '--dir=. --dir=/tmp' 0 '' "$engine" --dir=. --dir=/tmp demo.wasm test.txt $somewhere
check 'the copy' 0 'hello world' cat $somewhere
rm -f $somewhere
check '--dir=$PWD for a relative name' 1 "error opening input test.txt: $denied" \
    "$engine" "--dir=$PWD" --dir=/tmp demo.wasm test.txt $somewhere
for name in /tmp/../etc/tiered-must-not-be-here /tmp/../etc/passwd; do
    check "$name" 1 "error opening output $name: $denied" "$engine" --dir=. --dir=/tmp demo.wasm test.txt $name
    if [ -e /etc/tiered-must-not-be-here ]; then
        echo "FAILED  the sandbox is open: stopping before /etc/passwd is written"
        exit 1
    fi
done
for map in "--mapdir=/tmp:$work/var" "--mapdir=/tmp::$work/var" "--dir=$work/var::/tmp"; do
    rm -f "$work/var/somewhere.txt"
    check "$map" 0 '' "$engine" --dir=. "$map" demo.wasm test.txt /tmp/somewhere.txt
    check 'the copy' 0 'hello world' cat "$work/var/somewhere.txt"
done

# "This is true when resolving symbolic links as well."
ln -s "$work/outside" absolute
ln -s ../outside relative
ln -s "$work/outside/secret.txt" absolute.txt
ln -s ../outside/secret.txt relative.txt
ln -s test.txt inside.txt
for name in absolute/secret.txt relative/secret.txt absolute.txt relative.txt ../outside/secret.txt; do
    check "read $name" 1 "error opening input $name: $denied" "$engine" --dir=. demo.wasm $name copy.txt
done
for name in absolute/new.txt relative/new.txt absolute.txt relative.txt; do
    check "write $name" 1 "error opening output $name: $denied" "$engine" --dir=. demo.wasm test.txt $name
done
check 'nothing came into the other folder' 0 'secret.txt' ls "$work/outside"
check 'the file there is untouched' 0 'secret' cat "$work/outside/secret.txt"
check 'a link that stays inside' 0 '' "$engine" --dir=. demo.wasm inside.txt copy.txt
check 'the copy' 0 'hello world' cat copy.txt

# The Rust program prints its own message for a name outside each grant, and the system's for one that leads out.
unknown='failed to find a pre-opened file descriptor through which "test.txt" could be opened'
check 'Rust: usage' 0 'demo_rs.wasm <input_file> <output_file>' "$engine" demo_rs.wasm
check 'Rust: no grant' 0 "error opening input: $unknown" "$engine" demo_rs.wasm test.txt $somewhere
check 'Rust: --dir=. --dir=/tmp' 0 '' "$engine" --dir=. --dir=/tmp demo_rs.wasm test.txt $somewhere
check 'the copy' 0 'hello world' cat $somewhere
check 'Rust: /tmp/../etc/passwd' 0 "error opening output '/tmp/../etc/passwd': $denied (os error 76)" \
    "$engine" --dir=. --dir=/tmp demo_rs.wasm test.txt /tmp/../etc/passwd
check 'Rust: a link that leads out' 0 "error opening input: $denied (os error 76)" \
    "$engine" --dir=. demo_rs.wasm relative/secret.txt copy.txt
rm "$work/var/somewhere.txt"
check 'Rust: --mapdir' 0 '' "$engine" --dir=. "--mapdir=/tmp:$work/var" demo_rs.wasm test.txt /tmp/somewhere.txt
check 'the copy' 0 'hello world' cat "$work/var/somewhere.txt"

if [ $failed -gt 0 ]; then
    echo "$failed failed"
    exit 1
fi
