;; Each thread has an instance of what the program imports from, which starts anew.
;;
;; RUN: --preload c=%d/counter.wat --invoke run %m
;; STDOUT: 111112
;; RUN: --preload c=%d/counter.wat --tier=jit --invoke run %m
;; STDOUT: 111112
;; RUN: --invoke run %m
;; EXIT: 1
;; STDERR: unknown import "c" "next"
(module
  (import "env" "memory" (memory 1 1 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "c" "next" (func $next (result i32)))
  (func (export "wasi_thread_start") (param $tid i32) (param $at i32)
    (i32.atomic.store (local.get $at) (call $next))
    (drop (memory.atomic.notify (local.get $at) (i32.const 1))))
  ;; What the counter says in a thread.
  (func $in_thread (param $at i32) (result i32)
    (if (i32.le_s (call $spawn (local.get $at)) (i32.const 0)) (then unreachable))
    (drop (memory.atomic.wait32 (local.get $at) (i32.const 0) (i64.const -1)))
    (i32.atomic.load (local.get $at)))
  (func (export "run") (result i32)
    (if (i32.ne (call $next) (i32.const 11)) (then unreachable))
    (i32.add
      (i32.mul (call $in_thread (i32.const 0)) (i32.const 10000))
      (i32.add
        (i32.mul (call $in_thread (i32.const 4)) (i32.const 100))
        (call $next)))))
