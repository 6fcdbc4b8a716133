;; A program without threads may have it.
;;
;; RUN: --invoke size %m
;; STDOUT: 1
(module
  (memory (export "memory") 1 1 shared)
  (func (export "size") (result i32) (memory.size)))
