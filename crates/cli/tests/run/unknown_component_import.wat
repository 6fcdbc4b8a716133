;; A component that calls a function whose name is misspelt.
;;
;; RUN: %m
;; EXIT: 1
;; STDERR: unknown import "get-stdoud" of "wasi:cli/stdout@0.2.0"
;; STDERR: get-stdout
(component
  (import "wasi:cli/stdout@0.2.0" (instance $stdout (export "get-stdoud" (func (result u32)))))
  (core func $lowered (canon lower (func $stdout "get-stdoud")))
  (core module $m
    (import "" "f" (func $f (result i32)))
    (func (export "run") (result i32) (drop (call $f)) (i32.const 0)))
  (core instance $i (instantiate $m (with "" (instance (export "f" (func $lowered))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance (export "wasi:cli/run@0.2.0") (export "run" (func $run))))
