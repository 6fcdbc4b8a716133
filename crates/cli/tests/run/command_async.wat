;; A component with a command of each version: that of 0.3 runs. It may go on after it has returned, and here it exits then.
;;
;; RUN: %m
;; EXIT: 7
(component
  (import "wasi:cli/exit@0.3.0" (instance $exit (export "exit-with-code" (func (param "status-code" u8)))))
  (core func $exit-with-code (canon lower (func $exit "exit-with-code")))
  (core func $return (canon task.return (result (result))))
  (core module $m
    (import "" "exit" (func $exit (param i32)))
    (import "" "return" (func $return (param i32)))
    (func (export "old") (result i32) (call $exit (i32.const 2)) (unreachable))
    ;; 1 is YIELD
    (func (export "run") (result i32) (call $return (i32.const 0)) (i32.const 1))
    (func (export "callback") (param i32 i32 i32) (result i32) (call $exit (i32.const 7)) (unreachable)))
  (core instance $i (instantiate $m (with "" (instance
    (export "exit" (func $exit-with-code))
    (export "return" (func $return))))))
  (func $run async (result (result))
    (canon lift (core func $i "run") async (callback (core func $i "callback"))))
  (func $old (result (result)) (canon lift (core func $i "old")))
  (instance (export "wasi:cli/run@0.3.0") (export "run" (func $run)))
  (instance (export "wasi:cli/run@0.2.0") (export "run" (func $old))))
