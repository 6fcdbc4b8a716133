;; Writes without end. With its output as the error too and nobody reading, only the clock ends it: tests/cli.
;;
;; RUN: --timeout 100ms --invoke nothing %m
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\00\10\00\00\00\20\00\00")
  (func (export "nothing"))
  (func (export "_start")
    (loop $again
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (br $again))))
