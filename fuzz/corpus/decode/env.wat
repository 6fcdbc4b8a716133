;; Prints its environment, one variable a line.
;;
;; RUN: %m
;; ENV: SECRET=not for guests
;; RUN: --env A=1 --env B= --env C=x=y %m
;; STDOUT: A=1
;; STDOUT: B=
;; STDOUT: C=x=y
;; RUN: --env TOKEN --env PLAIN=2 %m
;; ENV: TOKEN=from the host
;; STDOUT: TOKEN=from the host
;; STDOUT: PLAIN=2
;; RUN: --env TIERED_TEST_UNSET %m
;; EXIT: 1
;; STDERR: Error: --env TIERED_TEST_UNSET: not set in the environment
;; RUN: --env =x %m
;; EXIT: 2
;; STDERR: invalid value '=x' for '--env <NAME[=VALUE]>': the name is empty
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
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
    (drop (call $environ (i32.const 1024) (i32.const 4096)))
    (local.set $at (i32.const 1024))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (call $print (i32.load (local.get $at)) (call $len (i32.load (local.get $at))))
        (call $print (i32.const 16) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))))
