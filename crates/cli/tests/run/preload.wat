;; Imports from a module that the command line names; it can be given again under another name, which is another instance.
;;
;; RUN: --preload c=%d/counter.wat --invoke two %m
;; STDOUT: 12
;; RUN: --preload d=%d/counter.wat --preload c=%d/counter.wat --invoke two %m
;; STDOUT: 12
;; RUN: --preload c=%d/counter.wat --invoke three %m
;; EXIT: 134
;; STDERR: unreachable
;; RUN: --preload d=%d/counter.wat --invoke two %m
;; EXIT: 1
;; STDERR: preload.wat: unknown import "c" "next"
;; RUN: --preload c=%d/counter.wat --preload c=%d/counter.wat --invoke two %m
;; EXIT: 2
;; STDERR: Error: --preload c=
;; STDERR: is defined already
;; RUN: --preload c=%d/counter.wat --preload x=nosuchfile %m
;; EXIT: 1
;; STDERR: Error: nosuchfile: No such file or directory
;; RUN: --preload c=%d/counter.wat --preload again=%m --invoke two %m
;; STDOUT: 12
;; RUN: --preload again=%m --preload c=%d/counter.wat --invoke two %m
;; EXIT: 1
;; STDERR: unknown import "c" "next"
;; RUN: --preload c %m
;; EXIT: 2
;; STDERR: expected NAME=FILE
;; RUN: --preload c= %m
;; EXIT: 2
;; STDERR: the file's name is empty
(module
  (import "c" "next" (func $next (result i32)))
  (func (export "two") (result i32) (drop (call $next)) (call $next))
  (func (export "three") (result i32) (drop (call $next)) (drop (call $next)) (call $next)))
