;; Question: what does a WASI call cost that fills 16 bytes of memory?
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (param $turns i32) (result i32)
    (local $errors i32)
    (loop $again
      (local.set $errors
        (i32.or (local.get $errors) (call $random_get (i32.const 0) (i32.const 16))))
      (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
    (local.get $errors)))
