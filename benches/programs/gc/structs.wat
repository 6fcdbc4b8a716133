;; A hash map of structures with chained entries: it grows, is searched, changed and shrunk by keys at random.
(module
  (rec
    (type $entry (struct (field $key i64) (field $value (mut i64)) (field $next (mut (ref null $entry)))))
    (type $table (array (mut (ref null $entry)))))
  (type $map (struct (field $table (mut (ref $table))) (field $count (mut i32))))

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

  (data (i32.const 1024) "structs")

  (func $hash (param $key i64) (result i32)
    (local.set $key (i64.mul (local.get $key) (i64.const 0x9e3779b97f4a7c15)))
    (i32.wrap_i64 (i64.xor (local.get $key) (i64.shr_u (local.get $key) (i64.const 32)))))

  (func $slot (param $table (ref $table)) (param $key i64) (result i32)
    (i32.and (call $hash (local.get $key)) (i32.sub (array.len (local.get $table)) (i32.const 1))))

  (func $find (param $map (ref $map)) (param $key i64) (result (ref null $entry))
    (local $entry (ref null $entry)) (local $table (ref $table))
    (local.set $table (struct.get $map $table (local.get $map)))
    (local.set $entry (array.get $table (local.get $table) (call $slot (local.get $table) (local.get $key))))
    (block $none
      (loop $chain
        (br_if $none (ref.is_null (local.get $entry)))
        (if (i64.eq (struct.get $entry $key (local.get $entry)) (local.get $key)) (then (return (local.get $entry))))
        (local.set $entry (struct.get $entry $next (local.get $entry)))
        (br $chain)))
    (ref.null $entry))

  ;; Doubles the table; the entries stay what they are.
  (func $rehash (param $map (ref $map))
    (local $old (ref $table)) (local $new (ref $table)) (local $entry (ref null $entry)) (local $next (ref null $entry))
    (local $index i32) (local $to i32)
    (local.set $old (struct.get $map $table (local.get $map)))
    (local.set $new (array.new_default $table (i32.shl (array.len (local.get $old)) (i32.const 1))))
    (loop $slots
      (local.set $entry (array.get $table (local.get $old) (local.get $index)))
      (block $empty
        (loop $chain
          (br_if $empty (ref.is_null (local.get $entry)))
          (local.set $next (struct.get $entry $next (local.get $entry)))
          (local.set $to (call $slot (local.get $new) (struct.get $entry $key (local.get $entry))))
          (struct.set $entry $next (local.get $entry) (array.get $table (local.get $new) (local.get $to)))
          (array.set $table (local.get $new) (local.get $to) (local.get $entry))
          (local.set $entry (local.get $next))
          (br $chain)))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br_if $slots (i32.lt_u (local.get $index) (array.len (local.get $old)))))
    (struct.set $map $table (local.get $map) (local.get $new)))

  (func $add (param $map (ref $map)) (param $key i64) (param $value i64)
    (local $entry (ref null $entry)) (local $table (ref $table)) (local $slot i32) (local $count i32)
    (local.set $entry (call $find (local.get $map) (local.get $key)))
    (if (i32.eqz (ref.is_null (local.get $entry)))
      (then
        (struct.set $entry $value (local.get $entry)
          (i64.add (struct.get $entry $value (local.get $entry)) (local.get $value)))
        (return)))
    (local.set $table (struct.get $map $table (local.get $map)))
    (local.set $slot (call $slot (local.get $table) (local.get $key)))
    (array.set $table (local.get $table) (local.get $slot)
      (struct.new $entry (local.get $key) (local.get $value) (array.get $table (local.get $table) (local.get $slot))))
    (local.set $count (i32.add (struct.get $map $count (local.get $map)) (i32.const 1)))
    (struct.set $map $count (local.get $map) (local.get $count))
    (if (i32.gt_u (local.get $count) (array.len (local.get $table))) (then (call $rehash (local.get $map)))))

  (func $remove (param $map (ref $map)) (param $key i64)
    (local $entry (ref null $entry)) (local $before (ref null $entry)) (local $table (ref $table)) (local $slot i32)
    (local.set $table (struct.get $map $table (local.get $map)))
    (local.set $slot (call $slot (local.get $table) (local.get $key)))
    (local.set $entry (array.get $table (local.get $table) (local.get $slot)))
    (block $none
      (loop $chain
        (br_if $none (ref.is_null (local.get $entry)))
        (if (i64.eq (struct.get $entry $key (local.get $entry)) (local.get $key))
          (then
            (if (ref.is_null (local.get $before))
              (then
                (array.set $table (local.get $table) (local.get $slot) (struct.get $entry $next (local.get $entry))))
              (else
                (struct.set $entry $next (local.get $before) (struct.get $entry $next (local.get $entry)))))
            (struct.set $map $count (local.get $map)
              (i32.sub (struct.get $map $count (local.get $map)) (i32.const 1)))
            (return)))
        (local.set $before (local.get $entry))
        (local.set $entry (struct.get $entry $next (local.get $entry)))
        (br $chain))))

  (func (export "_start")
    (local $rounds i32) (local $steps i32) (local $random i64) (local $key i64) (local $sum i64) (local $map (ref $map))
    (local $entry (ref null $entry)) (local $argument i32)
    (local.set $argument (call $argument (i32.const 60)))
    (local.set $rounds (local.get $argument))
    (local.set $random (i64.const 88172645463325252))
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $rounds)))
        (local.set $map (struct.new $map (array.new_default $table (i32.const 16)) (i32.const 0)))
        (local.set $steps (i32.const 200000))
        (loop $step
          (local.set $random (i64.xor (local.get $random) (i64.shl (local.get $random) (i64.const 13))))
          (local.set $random (i64.xor (local.get $random) (i64.shr_u (local.get $random) (i64.const 7))))
          (local.set $random (i64.xor (local.get $random) (i64.shl (local.get $random) (i64.const 17))))
          (local.set $key (i64.and (i64.shr_u (local.get $random) (i64.const 8)) (i64.const 0x7fff)))
          (if (i64.eqz (i64.and (local.get $random) (i64.const 3)))
            (then (call $remove (local.get $map) (local.get $key)))
            (else
              (if (i64.eqz (i64.and (local.get $random) (i64.const 1)))
                (then (call $add (local.get $map) (local.get $key) (i64.const 1)))
                (else
                  (local.set $entry (call $find (local.get $map) (local.get $key)))
                  (if (i32.eqz (ref.is_null (local.get $entry)))
                    (then
                      (local.set $sum (i64.add (local.get $sum) (struct.get $entry $value (local.get $entry))))))))))
          (br_if $step (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
        (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (struct.get $map $count (local.get $map)))))
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (br $again)))
    (call $report (i32.const 7) (local.get $argument) (local.get $sum))))
