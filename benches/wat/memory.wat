;; Question: what do a load, a change and a store cost, in words and in bytes?
(module
  (memory 1)
  (func (export "run") (param $turns i32) (result i32)
    (local $at i32) (local $sum i32)
    (loop $again
      (local.set $at (i32.and (i32.mul (local.get $turns) (i32.const 52)) (i32.const 0xfff8)))
      (i32.store (local.get $at)
        (i32.add (i32.load (local.get $at)) (local.get $turns)))
      (i32.store8 offset=4 (local.get $at)
        (i32.add (i32.load8_u offset=5 (local.get $at)) (local.get $sum)))
      (local.set $sum (i32.add (local.get $sum) (i32.load16_s offset=2 (local.get $at))))
      (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
    (local.get $sum)))
