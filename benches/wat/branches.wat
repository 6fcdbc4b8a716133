;; Question: what does a br_table cost when its index changes every time?
(module
  (func (export "run") (param $turns i32) (result i32)
    (local $value i32)
    (loop $again
      (block $done
        (block $three
          (block $two
            (block $one
              (block $zero
                (br_table $zero $one $two $three
                  (i32.and (i32.add (local.get $turns) (local.get $value)) (i32.const 3))))
              (local.set $value (i32.add (local.get $value) (i32.const 7)))
              (br $done))
            (local.set $value (i32.rotl (local.get $value) (i32.const 5)))
            (br $done))
          (local.set $value (i32.mul (local.get $value) (i32.const 0x01000193)))
          (br $done))
        (local.set $value (i32.xor (local.get $value) (i32.shr_u (local.get $value) (i32.const 15)))))
      (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
    (local.get $value)))
