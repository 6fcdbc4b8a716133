;; Hands WASI a pointer outside of its memory.
;;
;; RUN: %m
;; EXIT: 134
;; STDERR: bad_pointer.wat`
;; STDERR: random_get
;; STDERR: _start
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $random (i32.const 65530) (i32.const 16)))))
