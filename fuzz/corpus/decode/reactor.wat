;; Is initialized, then waits for calls.
;;
;; RUN: %m
;; RUN: --invoke state %m
;; STDOUT: 1
(module
  (global $state (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $state (i32.add (global.get $state) (i32.const 1))))
  (func (export "state") (result i32) (global.get $state)))
