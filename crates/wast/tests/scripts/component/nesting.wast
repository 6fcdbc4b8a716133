;; Components in components: instantiated with each other's functions, aliased from outside, instantiated twice.
(component
  (component $add
    (import "by" (func $by (result u32)))
    (core func $by (canon lower (func $by)))
    (core module $m
      (import "" "by" (func $by (result i32)))
      (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (call $by))))
    (core instance $i (instantiate $m (with "" (instance (export "by" (func $by))))))
    (func (export "add") (param "x" u32) (result u32) (canon lift (core func $i "add"))))
  (component $one
    (core module $m (func (export "n") (result i32) (i32.const 1)))
    (core instance $i (instantiate $m))
    (func (export "n") (result u32) (canon lift (core func $i "n"))))
  (component $ten
    (core module $m (func (export "n") (result i32) (i32.const 10)))
    (core instance $i (instantiate $m))
    (func (export "n") (result u32) (canon lift (core func $i "n"))))
  (component $both
    (alias outer 1 $add (component $add))
    (import "one" (func $one (result u32)))
    (import "ten" (func $ten (result u32)))
    (instance $a (instantiate $add (with "by" (func $one))))
    (instance $b (instantiate $add (with "by" (func $ten))))
    (export "one" (func $a "add"))
    (export "ten" (func $b "add")))
  (instance $one (instantiate $one))
  (instance $ten (instantiate $ten))
  (instance $both (instantiate $both (with "one" (func $one "n")) (with "ten" (func $ten "n"))))
  (export "one" (func $both "one"))
  (export "ten" (func $both "ten")))
(assert_return (invoke "one" (u32.const 5)) (u32.const 6))
(assert_return (invoke "ten" (u32.const 5)) (u32.const 15))

;; A trap inside ends all.
(component
  (component $inner
    (core module $m (func (export "f") (unreachable)) (func (export "g") (result i32) (i32.const 1)))
    (core instance $i (instantiate $m))
    (func (export "f") (canon lift (core func $i "f")))
    (func (export "g") (result u32) (canon lift (core func $i "g"))))
  (instance $i (instantiate $inner))
  (export "f" (func $i "f"))
  (export "g" (func $i "g")))
(assert_return (invoke "g") (u32.const 1))
(assert_trap (invoke "f") "unreachable")
(assert_trap (invoke "g") "cannot enter component instance")

(assert_invalid
  (component (component $c (import "f" (func))) (instance (instantiate $c)))
  "missing import named `f`")
(assert_invalid
  (component
    (component $c (import "f" (func (param "x" u32))))
    (component $d (core module $m (func (export "f"))) (core instance $i (instantiate $m))
      (func (export "f") (canon lift (core func $i "f"))))
    (instance $d (instantiate $d))
    (instance (instantiate $c (with "f" (func $d "f")))))
  "type mismatch in import `f`")
(assert_invalid (component (component (alias outer 3 0 (type)))) "invalid outer alias count of 3")
