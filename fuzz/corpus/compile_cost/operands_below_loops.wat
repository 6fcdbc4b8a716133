(module
  (global $steps (export "the counter") (mut i32) (i32.const 1000))
  (memory (export "memory") 1)
  (func $step
    (if (i32.eqz (global.get $steps)) (then unreachable))
    (global.set $steps (i32.sub (global.get $steps) (i32.const 1))))
  (func (export "nest") (param $n i32) (param $x i64) (param $y f64) (result i32 i64 f64) (local $i i32) (local $j i32) (local $k i32)
    (local.set $n (i32.and (local.get $n) (i32.const 7)))
    local.get $x
    i32.const 77
    loop $outer (param i64 i32) (result i64 i32)
      call $step
      i32.const 3
      (local.set $j (i32.const 0))
      loop $middle (param i32) (result i32)
        call $step
        local.get $j
        i64.extend_i32_u
        (local.set $k (i32.const 5))
        loop $inner
          call $step
          (i32.store offset=65500
            (i32.and (i32.mul (local.get $k) (local.get $i)) (i32.const 31))
            (i32.add (local.get $j) (local.get $k)))
          (br_if $inner (local.tee $k (i32.sub (local.get $k) (i32.const 1))))
        end
        local.get $x
        i64.add
        local.set $x
        local.get $k
        i32.add
        (br_if $middle (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n)))
      end
      i32.add
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4)))
    end
    local.set $k
    local.set $x
    local.get $k
    local.get $x
    (f64.convert_i64_s (local.get $x))))
