;; What a function's post-return does, and what it may not.
(component definition $P
  (import "host-return-two" (func $two (result u32)))
  (core func $two (canon lower (func $two)))
  (core module $m
    (import "" "two" (func $two (result i32)))
    (memory (export "memory") 1)
    (global $cleaned (mut i32) (i32.const 0))
    (data (i32.const 8) "\10\00\00\00\05\00\00\00")
    (data (i32.const 16) "hello")
    (func (export "text") (result i32) (i32.const 8))
    (func (export "clean") (param i32)
      (global.set $cleaned (i32.add (global.get $cleaned) (local.get 0)))
      (memory.fill (i32.const 16) (i32.const 120) (i32.const 5)))
    (func (export "cleaned") (result i32) (global.get $cleaned))
    (func (export "number") (result i32) (i32.const 7))
    (func (export "call-out") (param i32) (drop (call $two)))
    (func (export "trap") (param i32) (unreachable)))
  (core instance $i (instantiate $m (with "" (instance (export "two" (func $two))))))
  (func (export "text") (result string)
    (canon lift (core func $i "text") (memory (core memory $i "memory")) (post-return (core func $i "clean"))))
  (func (export "cleaned") (result u32) (canon lift (core func $i "cleaned")))
  (func (export "call-out") (result u32)
    (canon lift (core func $i "number") (post-return (core func $i "call-out"))))
  (func (export "trap") (result u32)
    (canon lift (core func $i "number") (post-return (core func $i "trap")))))
(component instance $i $P)
;; It is called with the core value, once the result is read.
(assert_return (invoke "text") (str.const "hello"))
(assert_return (invoke "cleaned") (u32.const 8))
(assert_return (invoke "text") (str.const "xxxxx"))
(assert_return (invoke "cleaned") (u32.const 16))
(assert_trap (invoke "call-out") "cannot leave component instance")
(component instance $i $P)
(assert_trap (invoke "trap") "unreachable")
(assert_trap (invoke "cleaned") "cannot enter component instance")

;; Nor may realloc call out, or clean up.
(component
  (import "host-return-two" (func $two (result u32)))
  (core func $two (canon lower (func $two)))
  (core module $m
    (import "" "two" (func $two (result i32)))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (drop (call $two)) (i32.const 16))
    (func (export "take") (param i32 i32)))
  (core instance $i (instantiate $m (with "" (instance (export "two" (func $two))))))
  (func (export "take") (param "s" string)
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
(assert_trap (invoke "take" (str.const "x")) "cannot leave component instance")

;; An exception of realloc, which a host function calls, is none to the guest that has called the function.
(component
  (import "host-echo-u32" (func $echo (param "x" u32) (result u32)))
  (core func $echo (canon lower (func $echo)))
  (core module $m
    (tag $t)
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (throw $t))
    (func (export "take") (param i32 i32)))
  (core instance $i (instantiate $m))
  (func (export "take") (param "s" string)
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
(assert_trap (invoke "take" (str.const "x")) "uncaught exception propagated out of component")

(assert_invalid
  (component
    (core module $m (func (export "f") (result i32) (unreachable)) (func (export "p")))
    (core instance $i (instantiate $m))
    (func (export "f") (result u32) (canon lift (core func $i "f") (post-return (core func $i "p")))))
  "post-return")
