;; Imports a WASI function under another type.
;;
;; RUN: %m
;; EXIT: 1
;; STDERR: wrong_import.wat:
;; STDERR: "wasi_snapshot_preview1" "fd_write"
(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i64)))
  (func (export "_start")))
