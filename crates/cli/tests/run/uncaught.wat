;; Throws two calls deep, and nothing catches it.
;;
;; RUN: %m
;; EXIT: 134
;; STDERR: Error: failed to run main module `
;; STDERR: uncaught.wat`
;; STDERR: Caused by:
;; STDERR: uncaught exception bad (i32 7, f64 1.5)
;; STDERR: wasm backtrace:
;; STDERR: 0:     0x
;; STDERR: - throw
;; STDERR: - outer
;; STDERR: - _start
;; RUN: --invoke plain %m
;; EXIT: 134
;; STDERR: uncaught exception plain ()
(module
  (memory (export "memory") 1)
  (tag $bad (param i32 f64))
  (func $throw (throw $bad (i32.const 7) (f64.const 1.5)))
  (func $outer (call $throw))
  (func (export "_start") (call $outer))
  (tag $plain)
  (func (export "plain") (throw $plain)))
