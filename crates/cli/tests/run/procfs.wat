;; Opens this process's environment below a grant, to read it and then to write it; ends with the two error numbers,
;; 76 each if the sandbox refuses, as `first * 16 + second` modulo 256: 16 * 76 + 76 is 12 in the low 8 bits.
;;
;; RUN: --dir / %m proc/self/environ
;; STDERR: Warning: --dir /: gives away every file of this user, to read and to change, and devices; only /proc is kept back
;; EXIT: 12
;; RUN: --dir /::ro %m proc/self/environ
;; STDERR: Warning: --dir /::ro: shows every file of this user, keys and passwords included; only /proc is kept back
;; EXIT: 12
;; RUN: --dir /usr/..::/ %m proc/self/environ
;; STDERR: Warning: --dir /usr/..::/: gives away
;; EXIT: 12
;; RUN: --dir /proc %m self/environ
;; STDERR: Warning: --dir /proc: shows the environment, the memory and the open files of this process
;; STDERR: nothing there can be changed
;; EXIT: 76
;; RUN: --dir /proc/self %m environ
;; STDERR: Warning: --dir /proc/self: shows the environment
;; EXIT: 76
;; RUN: --dir . %m proc/self/environ
;; EXIT: 236
(module
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  ;; The rights to read and to write.
  (func $try (param $rights i64) (result i32)
    (call $open (i32.const 3) (i32.const 1) (i32.load (i32.const 4))
      (i32.sub (i32.sub (i32.load (i32.const 12)) (i32.sub (i32.load (i32.const 4)) (i32.const 64))) (i32.const 1))
      (i32.const 0) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 16)))
  (func (export "_start")
    (drop (call $sizes (i32.const 8) (i32.const 12)))
    (drop (call $args (i32.const 0) (i32.const 64)))
    (call $exit (i32.add (i32.mul (call $try (i64.const 2)) (i32.const 16)) (call $try (i64.const 64))))))
