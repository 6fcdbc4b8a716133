;; Opens a file until that fails; prints how many there are, by a letter, and ends with the error number.
;;
;; RUN: --max-open-fds 6 --dir granted %m
;; STDOUT: C
;; EXIT: 33
;; RUN: --max-open-fds 4 --dir granted %m
;; STDOUT: A
;; EXIT: 33
;; RUN: --max-open-fds 3 --dir granted %m
;; STDERR: --max-open-fds 3: too few for the standard streams and what is granted
;; EXIT: 1
;; RUN: --max-open-fds many %m
;; STDERR: expected a number
;; EXIT: 2
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "file.txt")
  (data (i32.const 16) "A\0a")
  (data (i32.const 32) "\10\00\00\00\02\00\00\00")
  (func (export "_start") (local $errno i32)
    (loop $next
      (local.set $errno
        (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 0) (i64.const 2) (i64.const 0)
          (i32.const 0) (i32.const 64)))
      (if (i32.eqz (local.get $errno))
        (then
          (i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 1)))
          (br $next))))
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 64)))
    (call $exit (local.get $errno))))
