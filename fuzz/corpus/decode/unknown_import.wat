;; Imports what nobody provides.
;;
;; RUN: %m
;; EXIT: 1
;; STDERR: unknown_import.wat: unknown import "env" "f": func [i32] -> []
(module
  (import "env" "f" (func (param i32)))
  (func (export "_start")))
