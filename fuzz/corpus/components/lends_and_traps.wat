(component
  (component $a
    (type $r' (resource (rep i32)))
    (export $r "r" (type $r'))
    (core func $new (canon resource.new $r'))
    (core module $m
      (import "" "new" (func $new (param i32) (result i32)))
      (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
      (func (export "take") (param i32) (if (i32.and (local.get 0) (i32.const 1)) (then (unreachable)))))
    (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
    (func (export "make") (param "x" u32) (result (own $r)) (canon lift (core func $i "make")))
    (func (export "take") (param "r" (borrow $r)) (canon lift (core func $i "take"))))
  (component $b
    (import "a" (instance $a
      (export "r" (type $r (sub resource)))
      (export "make" (func (param "x" u32) (result (own $r))))
      (export "take" (func (param "r" (borrow $r))))))
    (core func $make (canon lower (func $a "make")))
    (core func $take (canon lower (func $a "take")))
    (core module $m
      (import "" "make" (func $make (param i32) (result i32)))
      (import "" "take" (func $take (param i32)))
      (func (export "run") (param i32) (call $take (call $make (local.get 0)))))
    (core instance $i (instantiate $m (with "" (instance (export "make" (func $make)) (export "take" (func $take))))))
    (func (export "run") (param "x" u32) (canon lift (core func $i "run"))))
  (instance $a (instantiate $a))
  (instance $b (instantiate $b (with "a" (instance $a))))
  (export "run" (func $b "run")))
