;; Question: what does a turn of a loop of f64 arithmetic over locals cost?
(module
  (func (export "run") (param $turns i32) (result i32)
    (local $x f64) (local $y f64)
    (local.set $y (f64.const 0.25))
    (loop $again
      (local.set $x
        (f64.add (f64.mul (local.get $x) (f64.const 0.5)) (local.get $y)))
      (local.set $y
        (f64.sub (f64.const 1) (f64.mul (local.get $x) (local.get $y))))
      (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
    (i32.trunc_sat_f64_s (f64.mul (f64.add (local.get $x) (local.get $y)) (f64.const 1e6)))))
