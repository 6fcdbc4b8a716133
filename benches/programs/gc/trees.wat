;; Allocation and collection: trees of small structures, most of which die soon, beside one that lives on.
(module
  (type $tree (struct (field $left (ref null $tree)) (field $right (ref null $tree))))

  ;; What every program of this folder does: read the argument, print the name, the argument and the checksum.
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 2)
  (global $end (mut i32) (i32.const 0))

  ;; The first argument, a decimal number, or else `$default`.
  (func $argument (param $default i32) (result i32)
    (local $at i32) (local $value i32) (local $digit i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (if (i32.or (i32.lt_u (i32.load (i32.const 0)) (i32.const 2)) (i32.gt_u (i32.load (i32.const 4)) (i32.const 4096)))
      (then (return (local.get $default))))
    (if (i32.gt_u (i32.load (i32.const 0)) (i32.const 1000)) (then (return (local.get $default))))
    (drop (call $args_get (i32.const 65536) (i32.const 73728)))
    (local.set $at (i32.load (i32.const 65540)))
    (loop $digits
      (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (if (i32.lt_u (local.get $digit) (i32.const 10))
        (then
          (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 10)) (local.get $digit)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $digits))))
    (local.get $value))

  (func $put (param $byte i32)
    (i32.store8 (global.get $end) (local.get $byte))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))

  (func $put_number (param $value i64)
    (if (i64.ge_u (local.get $value) (i64.const 10))
      (then (call $put_number (i64.div_u (local.get $value) (i64.const 10)))))
    (call $put (i32.add (i32.wrap_i64 (i64.rem_u (local.get $value) (i64.const 10))) (i32.const 48))))

  ;; Prints the name, which is at 1024, the argument and the checksum.
  (func $report (param $name_length i32) (param $argument i32) (param $checksum i64)
    (global.set $end (i32.add (i32.const 1024) (local.get $name_length)))
    (call $put (i32.const 32))
    (call $put_number (i64.extend_i32_u (local.get $argument)))
    (call $put (i32.const 32))
    (call $put_number (local.get $checksum))
    (call $put (i32.const 10))
    (i32.store (i32.const 8) (i32.const 1024))
    (i32.store (i32.const 12) (i32.sub (global.get $end) (i32.const 1024)))
    (if (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)) (then (call $proc_exit (i32.const 1)))))

  (data (i32.const 1024) "trees")

  (func $grow (param $depth i32) (result (ref $tree))
    (if (result (ref $tree)) (local.get $depth)
      (then
        (struct.new $tree
          (call $grow (i32.sub (local.get $depth) (i32.const 1)))
          (call $grow (i32.sub (local.get $depth) (i32.const 1)))))
      (else (struct.new $tree (ref.null $tree) (ref.null $tree)))))

  ;; How many nodes there are.
  (func $count (param $tree (ref $tree)) (result i32)
    (local $left (ref null $tree))
    (local.set $left (struct.get $tree $left (local.get $tree)))
    (if (result i32) (ref.is_null (local.get $left))
      (then (i32.const 1))
      (else
        (i32.add
          (i32.const 1)
          (i32.add
            (call $count (ref.as_non_null (local.get $left)))
            (call $count (ref.as_non_null (struct.get $tree $right (local.get $tree)))))))))

  (func (export "_start")
    (local $deepest i32) (local $depth i32) (local $rounds i32) (local $sum i64) (local $lasting (ref null $tree))
    (local.set $deepest (call $argument (i32.const 17)))
    (local.set $sum (i64.extend_i32_u (call $count (call $grow (i32.add (local.get $deepest) (i32.const 1))))))
    (local.set $lasting (call $grow (local.get $deepest)))
    (local.set $depth (i32.const 4))
    (block $done
      (loop $depths
        (br_if $done (i32.gt_u (local.get $depth) (local.get $deepest)))
        (local.set $rounds (i32.shl (i32.const 1) (i32.add (i32.sub (local.get $deepest) (local.get $depth)) (i32.const 4))))
        (loop $again
          (local.set $sum
            (i64.add (local.get $sum) (i64.extend_i32_u (call $count (call $grow (local.get $depth))))))
          (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
        (local.set $depth (i32.add (local.get $depth) (i32.const 2)))
        (br $depths)))
    (local.set $sum
      (i64.add (local.get $sum) (i64.extend_i32_u (call $count (ref.as_non_null (local.get $lasting))))))
    (call $report (i32.const 5) (local.get $deepest) (local.get $sum))))
