#!/bin/sh
# Runs the programs that real.sh built and compares what they print: one line each, `ok` or `FAILED`; ends with 1 if any
# failed.
#
# Usage: real_check.sh ENGINE DIR      (as in: real_check.sh target/release/tiered /tmp/real)
#
# ENGINE is called as `ENGINE run [--dir HOST::GUEST[::ro]] PROGRAM ARGS...`. Of the peers, wasmtime has no read-only
# grants and wasmi no names for grants: what they cannot be asked is left out.
set -u
engine=$(command -v "${1:?usage: real_check.sh ENGINE DIR}") || { echo "$1: not found" >&2; exit 2; }
case $engine in /*) ;; *) engine=$PWD/$engine ;; esac
dir=$(cd "${2:?usage: real_check.sh ENGINE DIR}" && pwd) || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/grant"
cd "$work/grant" || exit 2
failed=0

# check NAME EXIT TEXT COMMAND...: the command ends with EXIT ("fail": any but 0) and TEXT is in what it prints.
check() {
    name=$1 wanted=$2 text=$3
    shift 3
    output=$("$@" 2>&1 </dev/null)
    code=$?
    verify
}

verify() {
    good=yes
    case $wanted in
    fail) [ "$code" -ne 0 ] || good=no ;;
    *) [ "$code" -eq "$wanted" ] || good=no ;;
    esac
    case $output in *"$text"*) ;; *) good=no ;; esac
    if [ $good = yes ]; then
        echo "ok      $name"
    else
        failed=$((failed + 1))
        echo "FAILED  $name: exit $code (wanted $wanted), printed:"
        echo "$output" | head -20 | sed 's/^/        | /'
        echo "        wanted in it: $text"
    fi
}

sealed() { "$engine" run "$@"; }
granted() { "$engine" run --dir . "$@"; }
# Programs written in Go look from the root for the current folder.
granted_as_root() { "$engine" run --dir .::/ "$@"; }
readonly_grant() { "$engine" run --dir .::.::ro "$@"; }
readonly_root() { "$engine" run --dir .::/::ro "$@"; }
read_only=yes
case $(basename "$engine") in
wasmi*)
    read_only=
    granted_as_root() { "$engine" run --dir / --env "PWD=$PWD" "$@"; }
    ;;
wasmtime*) read_only= ;;
esac

sqlite=$dir/sqlite_shell.wasm lua=$dir/lua_runner.wasm bzip2=$dir/bzip2.wasm esbuild=$dir/esbuild.wasm

# sqlite
fill='CREATE TABLE word(id INTEGER PRIMARY KEY, text TEXT UNIQUE, weight REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO word SELECT i, printf("word-%05d", i * 7919 % 2003), i / 4.0 FROM n;'
query='SELECT count(*), min(text), max(text), sum(weight) FROM word;'
check 'sqlite creates and fills a database' 0 '' granted "$sqlite" words.db "$fill"
check 'sqlite queries it in another process' 0 '2000|word-00001|word-02002|500250.0' granted "$sqlite" words.db "$query"
check 'sqlite uses an index' 0 'USING INDEX' granted "$sqlite" words.db "EXPLAIN QUERY PLAN SELECT * FROM word WHERE text = 'word-00500'"
check 'sqlite rolls back' 0 '2000' granted "$sqlite" words.db 'BEGIN; DELETE FROM word; ROLLBACK; SELECT count(*) FROM word'
check 'sqlite finds its database sound' 0 'ok' granted "$sqlite" words.db 'PRAGMA integrity_check'
check 'sqlite names an error in SQL' 1 'no such table: absent' granted "$sqlite" words.db 'SELECT * FROM absent'
check 'sqlite without a grant is refused' 1 'unable to open database file' sealed "$sqlite" words.db "$query"
check 'sqlite outside the grant is refused' 1 'unable to open database file' \
    granted "$sqlite" "$work/outside.db" "$fill"
ln -s "$work" up
ln -s .. up_relative
check 'sqlite through an absolute link is refused' 1 'unable to open database file' \
    granted "$sqlite" up/outside.db "$fill"
check 'nothing was created outside' 1 '' test -e ../outside.db
output=$(echo "$query" | "$engine" run --dir . "$sqlite" words.db 2>&1)
code=$? name='sqlite reads SQL from stdin' wanted=0 text='2000|word-00001|word-02002|500250.0'
verify
if [ -n "$read_only" ]; then
    check 'sqlite queries in a read-only grant' 0 '2000|word-00001' readonly_grant "$sqlite" words.db "$query"
    check 'sqlite inserts in a read-only grant: refused' 1 'attempt to write a readonly database' \
        readonly_grant "$sqlite" words.db "INSERT INTO word VALUES (3000, 'x', 1)"
    check 'sqlite creates in a read-only grant: refused' 1 'unable to open database file' \
        readonly_grant "$sqlite" new.db "$fill"
    check 'nothing was created by it' 1 '' test -e new.db
fi

# Lua
cat >script.lua <<'LUA'
local counts, order = {}, {}
for line in io.lines(arg[1]) do
  for word in line:gmatch("%a+") do
    word = word:lower()
    if not counts[word] then counts[word] = 0; order[#order + 1] = word end
    counts[word] = counts[word] + 1
  end
end
table.sort(order, function(a, b) return counts[a] > counts[b] or counts[a] == counts[b] and a < b end)
for i = 1, 3 do io.write(order[i], "=", counts[order[i]], i < 3 and " " or "\n") end
local sieve, primes = {}, 0
for i = 2, 20000 do
  if not sieve[i] then
    primes = primes + 1
    for j = i * i, 20000, i do sieve[j] = true end
  end
end
print(primes, string.format("%.6f", math.pi), #("x"):rep(1000))
if arg[2] then
  local out = assert(io.open(arg[2], "w"))
  out:write(primes, "\n")
  out:close()
end
LUA
printf 'the cat and the dog\nand THE bird, the end\n' >input.txt
check 'lua runs a script over a file' 0 'the=4 and=2 bird=1' granted "$lua" script.lua input.txt
check 'lua computes' 0 "2262	3.141593	1000" granted "$lua" script.lua input.txt
check 'lua writes a file' 0 '' granted "$lua" script.lua input.txt primes.txt
check 'the file has its text' 0 '2262' cat primes.txt
check 'lua without a grant is refused' 1 'cannot open script.lua' sealed "$lua" script.lua input.txt
check 'lua reading outside the grant is refused' 1 '/etc/passwd' granted "$lua" script.lua /etc/passwd
echo 'secret words' >../secret.txt
for way in ../secret.txt up/secret.txt up_relative/secret.txt; do
    check "lua reading $way is refused" 1 "$way" granted "$lua" script.lua $way
done
if [ -n "$read_only" ]; then
    check 'lua reads in a read-only grant' 0 'the=4' readonly_grant "$lua" script.lua input.txt
    check 'lua writes in a read-only grant: refused' 1 'refused.txt' \
        readonly_grant "$lua" script.lua input.txt refused.txt
    check 'nothing was written by it' 1 '' test -e refused.txt
fi

# bzip2
i=0
while [ $i -lt 500 ]; do
    echo "line $i of some text that repeats itself, line $i"
    i=$((i + 1))
done >plain.txt
cp plain.txt kept.txt
check 'bzip2 compresses a file in place' 0 '' granted "$bzip2" plain.txt
check 'the plain file is gone' 1 '' test -e plain.txt
check 'bzip2 tests it' 0 'ok' granted "$bzip2" -tv plain.txt.bz2
check 'bzip2 brings it back' 0 '' granted "$bzip2" -d plain.txt.bz2
check 'the file is the same' 0 '' cmp plain.txt kept.txt
if [ -n "$read_only" ]; then
    check 'bzip2 in a read-only grant: refused' fail '' readonly_grant "$bzip2" kept.txt
    check 'the file is still there' 0 '' cmp plain.txt kept.txt
fi

# esbuild
mkdir src
cat >src/main.ts <<'TS'
import { greet, Shape } from "./greet";
const shapes: Shape[] = [{ kind: "circle", radius: 2 }, { kind: "square", side: 3 }];
console.log(greet<string>("world"), shapes.length as number);
TS
cat >src/greet.ts <<'TS'
export type Shape = { kind: "circle"; radius: number } | { kind: "square"; side: number };
export function greet<T>(whom: T): string { return `hello, ${whom}`; }
export const unused = () => 42;
TS
echo 'import "./absent";' >src/bad.ts
bundled='(()=>{function e(r){return`hello, ${r}`}'
check 'esbuild --version' 0 '0.27.2' sealed "$esbuild" --version
output=$(echo 'enum Color { Red, Green } let c: Color = Color.Green; console.log(c)' | "$engine" run "$esbuild" --loader=ts --minify 2>&1)
code=$? name='esbuild turns TypeScript from stdin into JavaScript' wanted=0 text='console.log(c)'
verify
check 'esbuild bundles and minifies a granted folder' 0 "$bundled" granted_as_root "$esbuild" --bundle --minify src/main.ts
check 'esbuild writes the bundle' 0 'out.js' granted_as_root "$esbuild" --bundle --minify src/main.ts --outfile=out.js
check 'the bundle has its text' 0 "$bundled" cat out.js
check 'esbuild names an error in TypeScript' 1 'Could not resolve "./absent"' granted_as_root "$esbuild" --bundle src/bad.ts
check 'esbuild without a grant is refused' 1 'Could not resolve "src/main.ts"' sealed "$esbuild" --bundle src/main.ts
if [ -n "$read_only" ]; then
    check 'esbuild bundles in a read-only grant' 0 "$bundled" readonly_root "$esbuild" --bundle --minify src/main.ts
    check 'esbuild writes in a read-only grant: refused' 1 'refused.js' \
        readonly_root "$esbuild" --bundle src/main.ts --outfile=refused.js
    check 'nothing was written by it' 1 '' test -e refused.js
fi

if [ $failed -gt 0 ]; then
    echo "$failed failed"
    exit 1
fi
