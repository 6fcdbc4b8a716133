;; Loads that trap, whose values are used at once: a compiler makes one instruction of the two.
(module
  (global $steps (export "the counter") (mut i32) (i32.const 1000))
  (memory (export "memory") 1 1)
  (func (export "chain") (param $p i32) (result i32) (local $i i32)
    (loop $again
      (global.set $steps (i32.sub (global.get $steps) (i32.const 1)))
      (i32.store (local.get $i) (i32.const 70000))
      (local.set $p (i32.and (i32.load offset=4 (local.get $p)) (i32.const 0x7fffff)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 40))))
    (local.get $p))
  (func (export "compare") (param $p i32) (result i32)
    (i32.lt_u (i32.load offset=65533 (local.get $p)) (i32.load8_s offset=1 (local.get $p))))
  (func (export "far") (param $p i32) (result i64)
    (i64.load32_s offset=0xfffffff0 (local.get $p))))
