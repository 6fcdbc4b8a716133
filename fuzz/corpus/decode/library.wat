;; Has nothing that runs by itself.
;;
;; RUN: %m
;; EXIT: 1
;; STDERR: library.wat: no `_start` to run; `--invoke NAME` calls another function; it exports "f", "g"
;; RUN: --invoke f %m
;; RUN: --invoke h %m
;; EXIT: 2
;; STDERR: Error: --invoke h:
;; STDERR: exports no such function; it exports "f", "g"
;; RUN: --invoke memory %m
;; EXIT: 2
;; STDERR: Error: --invoke memory:
(module
  (memory (export "memory") 1)
  (func (export "f"))
  (func (export "g")))
