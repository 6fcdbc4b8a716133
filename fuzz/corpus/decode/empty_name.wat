;; Exports its program under the empty name; `_start` with another type than a program's is refused.
;;
;; RUN: %m
;; EXIT: 5
;; RUN: --invoke wrong %m
;; STDOUT: 1
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "") (call $exit (i32.const 5)))
  (func (export "wrong") (result i32) (i32.const 1)))
