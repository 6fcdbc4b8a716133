;; Question: what does a WASI call with buffers cost, here a line to a standard output that swallows it?
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Two buffers: "hello, " at 32 and "world\n" at 64.
  (data (i32.const 0) "\20\00\00\00\07\00\00\00\40\00\00\00\06\00\00\00")
  (data (i32.const 32) "hello, ")
  (data (i32.const 64) "world\n")
  (func (export "run") (param $turns i32) (result i32)
    (local $errors i32)
    (loop $again
      (local.set $errors
        (i32.or (local.get $errors)
          (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 16))))
      (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
    (local.get $errors)))
