;; Flags: of one byte, of two, and of a word; bits beyond the last flag don't count.
(component
  (core module $m
    (func (export "id") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m))
  (type $three' (flags "a" "b" "c"))
  (export $three "three" (type $three'))
  (type $nine' (flags "f0" "f1" "f2" "f3" "f4" "f5" "f6" "f7" "f8"))
  (export $nine "nine" (type $nine'))
  (type $all' (flags
    "f0" "f1" "f2" "f3" "f4" "f5" "f6" "f7" "f8" "f9" "f10" "f11" "f12" "f13" "f14" "f15"
    "f16" "f17" "f18" "f19" "f20" "f21" "f22" "f23" "f24" "f25" "f26" "f27" "f28" "f29" "f30" "f31"))
  (export $all "all" (type $all'))
  (func (export "echo-three") (param "x" $three) (result $three) (canon lift (core func $i "id")))
  (func (export "echo-nine") (param "x" $nine) (result $nine) (canon lift (core func $i "id")))
  (func (export "echo-all") (param "x" $all) (result $all) (canon lift (core func $i "id")))
  (func (export "three-of") (param "x" u32) (result $three) (canon lift (core func $i "id")))
  (func (export "bits-of") (param "x" $all) (result u32) (canon lift (core func $i "id"))))
(assert_return (invoke "echo-three" (flags.const)) (flags.const))
(assert_return (invoke "echo-three" (flags.const "c" "a")) (flags.const "a" "c"))
(assert_return (invoke "echo-nine" (flags.const "f8")) (flags.const "f8"))
(assert_return (invoke "echo-all" (flags.const "f0" "f31")) (flags.const "f0" "f31"))
(assert_return (invoke "three-of" (u32.const 0xfffffffa)) (flags.const "b"))
(assert_return (invoke "bits-of" (flags.const "f31" "f1")) (u32.const 0x80000002))

(assert_invalid (component (type (flags))) "flags must have at least one entry")
(assert_invalid (component (type (flags "a" "a"))) "conflicts with previous name")
(assert_invalid
  (component (type (flags
    "f0" "f1" "f2" "f3" "f4" "f5" "f6" "f7" "f8" "f9" "f10" "f11" "f12" "f13" "f14" "f15"
    "f16" "f17" "f18" "f19" "f20" "f21" "f22" "f23" "f24" "f25" "f26" "f27" "f28" "f29" "f30" "f31" "f32")))
  "cannot have more than 32 flags")
