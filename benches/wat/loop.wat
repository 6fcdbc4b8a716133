;; Question: what does a turn of a tight loop over locals cost, 32 and 64 bits wide?
(module
  (func (export "run") (param $turns i32) (result i32)
    (local $hash i32) (local $wide i64)
    (local.set $wide (i64.const 88172645463325252))
    (loop $again
      (local.set $hash
        (i32.add (i32.mul (local.get $hash) (i32.const 31)) (local.get $turns)))
      (local.set $wide
        (i64.xor (local.get $wide) (i64.shl (local.get $wide) (i64.const 13))))
      (local.set $wide
        (i64.xor (local.get $wide) (i64.shr_u (local.get $wide) (i64.const 7))))
      (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
    (i32.xor (local.get $hash) (i32.wrap_i64 (local.get $wide)))))
