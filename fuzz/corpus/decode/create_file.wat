;; Creates a file, makes a directory and removes a file below the first directory granted; prints each errno. A
;; read-only grant refuses all three.
;;
;; RUN: --dir granted --invoke create %m
;; STDOUT: 0
;; RUN: --dir granted --invoke make %m
;; STDOUT: 0
;; RUN: --dir granted --invoke remove %m
;; STDOUT: 0
;; RUN: --dir granted::ro --invoke create %m
;; STDOUT: 76
;; RUN: --dir granted::/data::ro --invoke make %m
;; STDOUT: 76
;; RUN: --dir granted::ro --invoke remove %m
;; STDOUT: 76
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "new.txt")
  (data (i32.const 32) "file.txt")
  (func (export "create") (result i32)
    (call $open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 7)
      (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 8)))
  (func (export "make") (result i32) (call $mkdir (i32.const 3) (i32.const 16) (i32.const 7)))
  (func (export "remove") (result i32) (call $unlink (i32.const 3) (i32.const 32) (i32.const 8))))
