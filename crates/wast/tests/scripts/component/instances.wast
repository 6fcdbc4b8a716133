;; Definitions and their instances: each has a state of its own.
(component definition $counter
  (core module $m
    (global $n (mut i32) (i32.const 0))
    (func (export "next") (result i32)
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (global.get $n)))
  (core instance $i (instantiate $m))
  (func (export "next") (result u32) (canon lift (core func $i "next"))))
(component instance $a $counter)
(component instance $b $counter)
(assert_return (invoke "next") (u32.const 1))
(assert_return (invoke "next") (u32.const 2))
(assert_return (invoke $a "next") (u32.const 1))
(assert_return (invoke $b "next") (u32.const 3))
(invoke $a "next")
(assert_return (invoke $a "next") (u32.const 3))
;; Without a name it is the last definition.
(component instance)
(assert_return (invoke "next") (u32.const 1))

;; Modules and components in one script.
(module $core (func (export "f") (param i32) (result i32) (local.get 0)))
(assert_return (invoke "f" (i32.const 5)) (i32.const 5))
(assert_return (invoke $b "next") (u32.const 4))
(assert_return (invoke $core "f" (i32.const 6)) (i32.const 6))

;; What its core modules do when they are instantiated.
(assert_trap
  (component (core module $m (func $start (unreachable)) (start $start)) (core instance (instantiate $m)))
  "unreachable")
(assert_trap
  (component (core module $m (memory 1) (data (i32.const 65536) "x")) (core instance (instantiate $m)))
  "out of bounds memory access")

;; Written as text that is read when it runs, and as bytes.
(component quote "(core module)")
(component binary "\00asm" "\0d\00\01\00")
(assert_malformed (component quote "(core modul)") "unexpected token")
(assert_malformed (component binary "\00asm" "\0e\00\01\00") "unknown binary version")
(assert_invalid (component quote "(export \"x\" (func 0))") "unknown func")
