;; Vectors as arguments and results, and relaxed instructions as they are on every machine.
;;
;; RUN: --invoke add %m 0x000000010000000200000003ffffffff 0x00000001000000010000000100000001
;; STDOUT: 0x00000002000000030000000400000000
;; RUN: --deterministic-relaxed --invoke trunc %m 1e20
;; STDOUT: 2147483647
;; RUN: --deterministic-relaxed --invoke trunc %m nan
;; STDOUT: 0
;; RUN: --deterministic-relaxed --tier=jit --invoke trunc %m 1e20
;; STDOUT: 2147483647
;; RUN: --deterministic-relaxed --tier=jit --invoke trunc %m nan
;; STDOUT: 0
(module
  (func (export "add") (param v128 v128) (result v128)
    (i32x4.add (local.get 0) (local.get 1)))
  (func (export "trunc") (param f32) (result i32)
    (i32x4.extract_lane 2 (i32x4.relaxed_trunc_f32x4_s (f32x4.splat (local.get 0))))))
