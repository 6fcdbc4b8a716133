;; What components import: of the host, and of instances with names.
(component
  (import "host-return-two" (func $two (result u32)))
  (import "host-echo-u32" (func $echo (param "x" u32) (result u32)))
  (import "host" (instance $host
    (export "return-three" (func (result u32)))
    (export "nested" (instance (export "return-four" (func (result u32)))))))
  (core func $two (canon lower (func $two)))
  (core func $echo (canon lower (func $echo)))
  (core func $three (canon lower (func $host "return-three")))
  (core func $four (canon lower (func $host "nested" "return-four")))
  (core module $m
    (import "" "two" (func $two (result i32)))
    (import "" "echo" (func $echo (param i32) (result i32)))
    (import "" "three" (func $three (result i32)))
    (import "" "four" (func $four (result i32)))
    (func (export "run") (result i32)
      (i32.add (i32.add (call $two) (i32.mul (i32.const 10) (call $three)))
        (call $echo (i32.mul (i32.const 100) (call $four))))))
  (core instance $i (instantiate $m (with "" (instance
    (export "two" (func $two)) (export "echo" (func $echo)) (export "three" (func $three)) (export "four" (func $four))))))
  (func (export "run") (result u32) (canon lift (core func $i "run"))))
(assert_return (invoke "run") (u32.const 432))

;; A core module of the host, and one of another component.
(component $library
  (core module (export "code") (func (export "f") (result i32) (i32.const 42))))
(component
  (import "library" (instance $library (export "code" (core module $code (export "f" (func (result i32)))))))
  (import "host" (instance $host (export "simple-module" (core module (export "f" (func (result i32)))))))
  (core instance $a (instantiate (module $library "code")))
  (core instance $b (instantiate (module $host "simple-module")))
  (func (export "a") (result u32) (canon lift (core func $a "f")))
  (func (export "b") (result u32) (canon lift (core func $b "f"))))
(assert_return (invoke "a") (u32.const 42))
(assert_return (invoke "b") (u32.const 101))
(register "renamed" $library)
(component (import "renamed" (instance (export "code" (core module)))))

;; Imports are compared whether they are used or not.
(assert_unlinkable (component (import "nobody" (func))) "was not found")
(assert_unlinkable (component (import "nobody" (core module))) "was not found")
(assert_unlinkable (component (import "host" (instance (export "nobody" (func))))) "was not found")
(assert_unlinkable (component (import "host" (instance (export "return-three" (func (result u64)))))) "type mismatch")
(assert_unlinkable (component (import "host" (func))) "expected function found instance")
(assert_unlinkable (component (import "host-return-two" (instance))) "expected instance found func")
(assert_unlinkable
  (component (import "host" (instance (export "return-three" (type (sub resource))))))
  "expected resource found func")
(assert_unlinkable
  (component (import "library" (instance (export "code" (core module (export "f" (func)))))))
  "export `f` has the wrong type")
(assert_unlinkable
  (component (import "host" (instance
    (export "resource1" (type $r (sub resource)))
    (export "resource2" (type (eq $r))))))
  "mismatched resource types")
(component (import "host" (instance
  (export "resource1" (type $r (sub resource)))
  (export "resource1-again" (type (eq $r))))))
(component (import "nobody" (instance (export "nothing" (instance)))))

;; Each instance of a component has resource types of its own.
(component definition $R (type $r (resource (rep i32))) (export "r" (type $r)))
(component instance $R1 $R)
(component instance $R2 $R)
(component (import "R1" (instance $a (export "r" (type (sub resource))))))
(assert_unlinkable
  (component
    (import "R1" (instance $a (export "r" (type $r (sub resource)))))
    (alias export $a "r" (type $r))
    (import "R2" (instance (export "r" (type (eq $r))))))
  "mismatched resource types")
