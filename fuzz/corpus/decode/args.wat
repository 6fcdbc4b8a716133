;; Prints its arguments, one a line.
;;
;; RUN: %m
;; STDOUT: args.wat
;; RUN: %m a -b --dir . -- --help
;; STDOUT: args.wat
;; STDOUT: a
;; STDOUT: -b
;; STDOUT: --dir
;; STDOUT: .
;; STDOUT: --
;; STDOUT: --help
;; RUN: run %m run
;; STDOUT: args.wat
;; STDOUT: run
;; RUN: run -- %m -- x
;; STDOUT: args.wat
;; STDOUT: --
;; STDOUT: x
;; RUN: --argv0 other %m x
;; STDOUT: other
;; STDOUT: x
;; RUN: --argv0=-x run --tier interp %m
;; STDOUT: -x
;; RUN: --tier auto %m
;; STDOUT: args.wat
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\n")
  (func $print (param $text i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $len (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $text)))
  (func (export "_start")
    (local $left i32) (local $at i32)
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (local.set $left (i32.load (i32.const 0)))
    (drop (call $args (i32.const 1024) (i32.const 4096)))
    (local.set $at (i32.const 1024))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (call $print (i32.load (local.get $at)) (call $len (i32.load (local.get $at))))
        (call $print (i32.const 16) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))))
