;; Does its work in its start function, and has nothing else to run.
;;
;; RUN: %m
;; EXIT: 7
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $start (call $exit (i32.const 7)))
  (start $start))
