;; Traps before it is instantiated.
;;
;; RUN: %m
;; EXIT: 134
;; STDERR: start_trap.wat`
;; STDERR: unreachable
(module
  (func $start (unreachable))
  (start $start)
  (func (export "_start")))
