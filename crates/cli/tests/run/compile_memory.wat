;; A compile that may take no memory does not take place, and the program runs on.
;;
;; RUN: --tier=jit --max-compile-memory 1k --stats --invoke run %m 5
;; STDOUT: 120
;; STDERR: 0 functions, 0 loops; 1 failed
;; RUN: --tier=jit --stats --invoke run %m 5
;; STDOUT: 120
;; STDERR: 1 functions, 0 loops; 0 failed
(module
  (func (export "run") (param i32) (result i32) (local i32)
    (local.set 1 (i32.const 1))
    (loop $next
      (local.set 1 (i32.mul (local.get 1) (local.get 0)))
      (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1)))
