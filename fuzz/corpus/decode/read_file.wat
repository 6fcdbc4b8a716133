;; Prints the file named by its first argument, below the first directory granted; exits with the errno if it cannot.
;;
;; RUN: --dir granted %m file.txt
;; STDOUT: hello
;; RUN: --dir granted::ro %m file.txt
;; STDOUT: hello
;; RUN: --dir granted::/data %m file.txt
;; STDOUT: hello
;; RUN: --dir granted::/data::ro %m ./sub/../file.txt
;; STDOUT: hello
;; RUN: --mapdir /data::granted %m file.txt
;; STDOUT: hello
;; RUN: --mapdir /data:granted %m file.txt
;; STDOUT: hello
;; RUN: --dir granted %m missing.txt
;; EXIT: 44
;; RUN: --dir granted %m ../outside.txt
;; EXIT: 76
;; RUN: --dir granted %m /etc/passwd
;; EXIT: 76
;; RUN: --dir granted %m out
;; EXIT: 76
;; RUN: %m file.txt
;; EXIT: 8
;; RUN: --dir nosuchdir %m file.txt
;; EXIT: 1
;; STDERR: Error: --dir nosuchdir: No such file or directory
;; RUN: --dir outside.txt %m file.txt
;; EXIT: 1
;; STDERR: Error: --dir outside.txt: Not a directory
;; RUN: --mapdir /data::nosuchdir %m file.txt
;; EXIT: 1
;; STDERR: Error: --mapdir /data::nosuchdir: No such file or directory
;; RUN: --dir a::b::c %m file.txt
;; EXIT: 2
;; STDERR: invalid value 'a::b::c' for '--dir <HOST[::GUEST][::ro]>': expected HOST[::GUEST][::ro]
;; RUN: --mapdir granted %m file.txt
;; EXIT: 2
;; STDERR: expected GUEST::HOST or GUEST:HOST
;; RUN: --dir= %m file.txt
;; EXIT: 2
;; STDERR: --dir
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $check (param $errno i32) (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func (export "_start")
    (local $path i32) (local $len i32)
    (call $check (call $sizes (i32.const 0) (i32.const 4)))
    (call $check (call $args (i32.const 64) (i32.const 1024)))
    (local.set $path (i32.load (i32.const 68)))
    ;; The strings lie one after the other, the path last, each with its NUL.
    (local.set $len (i32.sub
      (i32.add (i32.const 1023) (i32.load (i32.const 4)))
      (local.get $path)))
    (call $check (call $open (i32.const 3) (i32.const 1) (local.get $path) (local.get $len)
      (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 8192))
    (i32.store (i32.const 4) (i32.const 4096))
    (call $check (call $read (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 12)))
    (i32.store (i32.const 4) (i32.load (i32.const 12)))
    (call $check (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))))
