;; What another program imports: a counter that starts at what `_initialize` sets, and a step that traps at 3.
;;
;; RUN: --invoke next %m
;; STDOUT: 11
(module
  (global $count (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $count (i32.const 10)))
  (func (export "next") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (if (i32.eq (global.get $count) (i32.const 13)) (then unreachable))
    (global.get $count)))
