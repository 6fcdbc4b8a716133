;; Writes two buffers, of which the empty one points nowhere, as the empty slices of some languages do; then takes no random
;; bytes at the same place. Ends with the sum of the two error numbers.
;;
;; RUN: %m
;; STDOUT: ok
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\aa\aa\aa\aa\00\00\00\00\30\00\00\00\03\00\00\00")
  (data (i32.const 48) "ok\0a")
  (func (export "_start")
    (call $exit
      (i32.add
        (call $write (i32.const 1) (i32.const 16) (i32.const 2) (i32.const 0))
        (call $random (i32.const 0xaaaa_aaaa) (i32.const 0))))))
