;; Exports a `_start` that is no program.
;;
;; RUN: %m
;; EXIT: 1
;; STDERR: wrong_start.wat: export "_start":
(module
  (func (export "_start") (param i32)))
