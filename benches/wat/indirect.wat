;; Question: what does a call through a table cost when its target changes every time?
(module
  (type $step (func (param i32) (result i32)))
  (table funcref (elem $add $shift $multiply $mix))
  (func $add (type $step) (i32.add (local.get 0) (i32.const 7)))
  (func $shift (type $step) (i32.rotl (local.get 0) (i32.const 5)))
  (func $multiply (type $step) (i32.mul (local.get 0) (i32.const 0x01000193)))
  (func $mix (type $step) (i32.xor (local.get 0) (i32.shr_u (local.get 0) (i32.const 15))))
  (func (export "run") (param $turns i32) (result i32)
    (local $value i32)
    (loop $again
      (local.set $value
        (call_indirect (type $step)
          (local.get $value)
          (i32.and (i32.add (local.get $turns) (local.get $value)) (i32.const 3))))
      (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
    (local.get $value)))
