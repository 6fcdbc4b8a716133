(module
  (memory (export "memory") 1)
  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.tee 0 (i32.and (local.get 0) (i32.const 7))) (i32.const 2))
      (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "fill") (param $n i32) (local $i i32)
    (loop $again
      (i32.store offset=16 (i32.mul (local.get $i) (i32.const 4)) (i32.rotl (local.get $n) (local.get $i)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50))))))
