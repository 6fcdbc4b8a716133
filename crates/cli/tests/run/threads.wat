;; RUN: --max-threads 3 %m
;; STDOUT: 3
;; RUN: --max-threads 0 %m
;; STDOUT: 0
;; RUN: --max-threads 2 %m x
;; STDOUT: 2
;; EXIT: 5
;; RUN: --max-threads 2 %m x x
;; STDOUT: 2
;; STDERR: unreachable
;; STDERR: - fail
;; STDERR: - wasi_thread_start
;; EXIT: 134
;; RUN: --max-threads=2 --timeout 2s %m x x x
;; STDOUT: 2
;; STDERR: interrupted: timeout of 2s
;; EXIT: 134
;; RUN: --max-threads 3 --preload c=%d/counter.wat %m
;; STDOUT: 3
;; RUN: --preload c=%d/own_shared_memory.wat %m
;; STDERR: --preload c=
;; STDERR: the module defines the shared memory that it exports as "memory", but each thread has an instance of it
;; EXIT: 1
;; RUN: --max-threads=2 --fuel 100000 %m x x x
;; STDOUT: 2
;; STDERR: all fuel consumed
;; EXIT: 134

;; Starts as many threads as it can, says how many, and ends in the way that its number of arguments says, in one of them.
(module
  (import "env" "memory" (memory 1 1 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (export "memory" (memory 0))
  ;; The letter that says how many, and the end of the line.
  (data (i32.const 17) "\0a")
  (func $fail (unreachable))
  (func (export "wasi_thread_start") (param $tid i32) (param $how i32)
    ;; None goes on before the main thread has written: a spinning one may use up the fuel at once. Then one of them ends
    ;; the program, and the others spin.
    (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1)))
    (if (i32.eq (local.get $tid) (i32.const 1))
      (then
        (if (i32.eq (local.get $how) (i32.const 2)) (then (call $proc_exit (i32.const 5))))
        (if (i32.eq (local.get $how) (i32.const 3)) (then (call $fail)))))
    (loop $again (br $again)))
  (func (export "_start") (local $how i32) (local $threads i32)
    (drop (call $args_sizes_get (i32.const 32) (i32.const 36)))
    (local.set $how (i32.load (i32.const 32)))
    (loop $again
      (if (i32.gt_s (call $spawn (local.get $how)) (i32.const 0))
        (then
          (local.set $threads (i32.add (local.get $threads) (i32.const 1)))
          (br $again))))
    (i32.store8 (i32.const 16) (i32.add (i32.const 48) (local.get $threads)))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 2))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.atomic.store (i32.const 64) (i32.const 1))
    (drop (memory.atomic.notify (i32.const 64) (i32.const -1)))
    (if (i32.eq (local.get $how) (i32.const 1)) (then (return)))
    (drop (memory.atomic.wait32 (i32.const 68) (i32.const 0) (i64.const -1)))))
