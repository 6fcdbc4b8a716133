;; Grows its memory of one page.
;;
;; RUN: --invoke grow %m 15
;; STDOUT: 1
;; RUN: --max-memory 1m --invoke grow %m 15
;; STDOUT: 1
;; RUN: --max-memory 1m --invoke grow %m 16
;; STDOUT: -1
;; RUN: --max-memory 65536 --invoke grow %m 1
;; STDOUT: -1
;; RUN: --max-memory=128K --invoke grow %m 1
;; STDOUT: 1
;; RUN: --max-memory 64 %m
;; EXIT: 1
;; STDERR: memory.wat:
;; STDERR: memor
;; RUN: --max-memory lots %m
;; EXIT: 2
;; STDERR: invalid value 'lots' for '--max-memory <SIZE>': expected a number of bytes
;; RUN: --max-memory 99999999999g %m
;; EXIT: 2
;; STDERR: the size does not fit into 64 bits
(module
  (memory (export "memory") 1)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
