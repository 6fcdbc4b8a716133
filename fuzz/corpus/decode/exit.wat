;; Exits with the code it is given; the shell sees the low eight bits.
;;
;; RUN: --invoke exit %m 0
;; RUN: --invoke exit %m 1
;; EXIT: 1
;; RUN: --invoke exit %m 42
;; EXIT: 42
;; RUN: --invoke exit %m 126
;; EXIT: 126
;; RUN: --invoke exit %m 255
;; EXIT: 255
;; RUN: --invoke exit %m 256
;; RUN: --invoke exit %m 300
;; EXIT: 44
;; RUN: --invoke exit %m -1
;; EXIT: 255
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "exit") (param i32) (call $exit (local.get 0))))
