;; Accepts a connection on descriptor 3 and sends what it has to say. `tests/cli` connects to it; here are the
;; command lines that fail.
;;
;; RUN: --tcplisten nonsense %m
;; EXIT: 1
;; STDERR: Error: --tcplisten nonsense:
;; RUN: %m
;; EXIT: 8
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\05\00\00\00")
  (data (i32.const 32) "hello")
  (func $check (param $errno i32) (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func (export "_start")
    (call $check (call $accept (i32.const 3) (i32.const 0) (i32.const 16)))
    (call $check
      (call $send (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 20)))))
