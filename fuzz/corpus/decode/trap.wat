;; Traps two calls deep.
;;
;; RUN: %m
;; EXIT: 134
;; STDERR: Error: failed to run main module `
;; STDERR: trap.wat`
;; STDERR: Caused by:
;; STDERR: integer divide by zero
;; STDERR: wasm backtrace:
;; STDERR: 0:     0x
;; STDERR: - divide
;; STDERR: - outer
;; STDERR: - _start
;; RUN: --invoke unreachable %m
;; EXIT: 134
;; STDERR: unreachable
;; RUN: --invoke deep %m
;; EXIT: 134
;; STDERR: stack overflow
;; RUN: --invoke wild %m
;; EXIT: 134
;; STDERR: out of bounds memory access
(module
  (memory (export "memory") 1)
  (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func $outer (drop (call $divide (i32.const 1) (i32.const 0))))
  (func (export "_start") (call $outer))
  (func (export "unreachable") (unreachable))
  (func $deep (export "deep") (call $deep))
  (func (export "wild") (result i32) (i32.load (i32.const 65533))))
