;; Subtypes, casts and calls through references: the kernel of a small operating system, after Martin Richards' benchmark.
;; An idle task lets two devices go on in turn, a worker makes packets, and two handlers pass them on to the devices.
(module
  (rec
    (type $packet (struct
      (field $link (mut (ref null $packet))) (field $id (mut i32)) (field $is_work i32) (field $at (mut i32))
      (field $data (ref $data))))
    (type $data (array (mut i32)))
    (type $run (func (param (ref $task) (ref null $packet)) (result (ref null $block))))
    ;; What a task does, and what it keeps.
    (type $task (sub (struct (field $run (ref $run)))))
    (type $idle (sub final $task (struct (field $run (ref $run)) (field $bits (mut i32)) (field $count (mut i32)))))
    (type $worker (sub final $task (struct (field $run (ref $run)) (field $to (mut i32)) (field $last (mut i32)))))
    (type $handler (sub final $task (struct
      (field $run (ref $run)) (field $work (mut (ref null $packet))) (field $devices (mut (ref null $packet))))))
    (type $device (sub final $task (struct (field $run (ref $run)) (field $pending (mut (ref null $packet))))))
    ;; What the scheduler knows of a task.
    (type $block (struct
      (field $next (ref null $block)) (field $id i32) (field $priority i32) (field $queue (mut (ref null $packet)))
      (field $state (mut i32)) (field $task (ref $task))))
    (type $blocks (array (mut (ref null $block)))))

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

  (data (i32.const 1024) "tasks")

  ;; States are bits: 1 there is a packet, 2 waits for one, 4 held.
  (global $list (mut (ref null $block)) (ref.null $block))
  (global $current (mut (ref null $block)) (ref.null $block))
  (global $blocks (ref $blocks) (array.new_default $blocks (i32.const 6)))
  (global $queued (mut i32) (i32.const 0))
  (global $held (mut i32) (i32.const 0))
  (elem declare func $idle $worker $handler $device)

  ;; The list with the packet at its end.
  (func $append (param $packet (ref $packet)) (param $list (ref null $packet)) (result (ref $packet))
    (local $last (ref $packet)) (local $next (ref null $packet))
    (struct.set $packet $link (local.get $packet) (ref.null $packet))
    (if (ref.is_null (local.get $list)) (then (return (local.get $packet))))
    (local.set $last (ref.as_non_null (local.get $list)))
    (block $end
      (loop $links
        (local.set $next (struct.get $packet $link (local.get $last)))
        (br_if $end (ref.is_null (local.get $next)))
        (local.set $last (ref.as_non_null (local.get $next)))
        (br $links)))
    (struct.set $packet $link (local.get $last) (local.get $packet))
    (ref.as_non_null (local.get $list)))

  (func $add_state (param $block (ref null $block)) (param $bits i32)
    (struct.set $block $state (local.get $block)
      (i32.or (struct.get $block $state (local.get $block)) (local.get $bits))))

  ;; What a task does at the end of its turn; the result is the block to go on with.
  (func $wait (result (ref null $block))
    (call $add_state (global.get $current) (i32.const 2))
    (global.get $current))

  (func $hold (result (ref null $block))
    (global.set $held (i32.add (global.get $held) (i32.const 1)))
    (call $add_state (global.get $current) (i32.const 4))
    (struct.get $block $next (global.get $current)))

  (func $more_urgent (param $block (ref null $block)) (result (ref null $block))
    (select (result (ref null $block))
      (local.get $block)
      (global.get $current)
      (i32.gt_s
        (struct.get $block $priority (local.get $block))
        (struct.get $block $priority (global.get $current)))))

  (func $release (param $id i32) (result (ref null $block))
    (local $block (ref null $block))
    (local.set $block (array.get $blocks (global.get $blocks) (local.get $id)))
    (struct.set $block $state (local.get $block)
      (i32.and (struct.get $block $state (local.get $block)) (i32.const 3)))
    (call $more_urgent (local.get $block)))

  (func $send (param $packet (ref $packet)) (result (ref null $block))
    (local $block (ref null $block))
    (local.set $block (array.get $blocks (global.get $blocks) (struct.get $packet $id (local.get $packet))))
    (global.set $queued (i32.add (global.get $queued) (i32.const 1)))
    (struct.set $packet $link (local.get $packet) (ref.null $packet))
    (struct.set $packet $id (local.get $packet) (struct.get $block $id (global.get $current)))
    (if (ref.is_null (struct.get $block $queue (local.get $block)))
      (then
        (struct.set $block $queue (local.get $block) (local.get $packet))
        (call $add_state (local.get $block) (i32.const 1))
        (return (call $more_urgent (local.get $block)))))
    (struct.set $block $queue (local.get $block)
      (call $append (local.get $packet) (struct.get $block $queue (local.get $block))))
    (global.get $current))

  (func $idle (type $run)
    (local $self (ref $idle)) (local $bits i32) (local $count i32)
    (local.set $self (ref.cast (ref $idle) (local.get 0)))
    (local.set $count (i32.sub (struct.get $idle $count (local.get $self)) (i32.const 1)))
    (struct.set $idle $count (local.get $self) (local.get $count))
    (if (i32.eqz (local.get $count)) (then (return (call $hold))))
    (local.set $bits (struct.get $idle $bits (local.get $self)))
    (if (result (ref null $block)) (i32.and (local.get $bits) (i32.const 1))
      (then
        (struct.set $idle $bits (local.get $self)
          (i32.xor (i32.shr_u (local.get $bits) (i32.const 1)) (i32.const 0xd008)))
        (call $release (i32.const 5)))
      (else
        (struct.set $idle $bits (local.get $self) (i32.shr_u (local.get $bits) (i32.const 1)))
        (call $release (i32.const 4)))))

  (func $worker (type $run)
    (local $self (ref $worker)) (local $packet (ref $packet)) (local $last i32) (local $index i32)
    (if (ref.is_null (local.get 1)) (then (return (call $wait))))
    (local.set $packet (ref.as_non_null (local.get 1)))
    (local.set $self (ref.cast (ref $worker) (local.get 0)))
    ;; 2 and 3 are the handlers.
    (struct.set $worker $to (local.get $self) (i32.sub (i32.const 5) (struct.get $worker $to (local.get $self))))
    (struct.set $packet $id (local.get $packet) (struct.get $worker $to (local.get $self)))
    (struct.set $packet $at (local.get $packet) (i32.const 0))
    (local.set $last (struct.get $worker $last (local.get $self)))
    (loop $letters
      (local.set $last (i32.add (local.get $last) (i32.const 1)))
      (if (i32.gt_u (local.get $last) (i32.const 26)) (then (local.set $last (i32.const 1))))
      (array.set $data (struct.get $packet $data (local.get $packet)) (local.get $index) (local.get $last))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br_if $letters (i32.lt_u (local.get $index) (i32.const 4))))
    (struct.set $worker $last (local.get $self) (local.get $last))
    (call $send (local.get $packet)))

  (func $handler (type $run)
    (local $self (ref $handler)) (local $work (ref null $packet)) (local $device (ref null $packet)) (local $at i32)
    (local.set $self (ref.cast (ref $handler) (local.get 0)))
    (if (i32.eqz (ref.is_null (local.get 1)))
      (then
        (if (struct.get $packet $is_work (local.get 1))
          (then
            (struct.set $handler $work (local.get $self)
              (call $append (ref.as_non_null (local.get 1)) (struct.get $handler $work (local.get $self)))))
          (else
            (struct.set $handler $devices (local.get $self)
              (call $append (ref.as_non_null (local.get 1)) (struct.get $handler $devices (local.get $self))))))))
    (local.set $work (struct.get $handler $work (local.get $self)))
    (if (ref.is_null (local.get $work)) (then (return (call $wait))))
    (local.set $at (struct.get $packet $at (local.get $work)))
    (if (i32.ge_u (local.get $at) (i32.const 4))
      (then
        (struct.set $handler $work (local.get $self) (struct.get $packet $link (local.get $work)))
        (return (call $send (ref.as_non_null (local.get $work))))))
    (local.set $device (struct.get $handler $devices (local.get $self)))
    (if (ref.is_null (local.get $device)) (then (return (call $wait))))
    (struct.set $handler $devices (local.get $self) (struct.get $packet $link (local.get $device)))
    (struct.set $packet $at (local.get $device)
      (array.get $data (struct.get $packet $data (local.get $work)) (local.get $at)))
    (struct.set $packet $at (local.get $work) (i32.add (local.get $at) (i32.const 1)))
    (call $send (ref.as_non_null (local.get $device))))

  (func $device (type $run)
    (local $self (ref $device)) (local $pending (ref null $packet))
    (local.set $self (ref.cast (ref $device) (local.get 0)))
    (if (i32.eqz (ref.is_null (local.get 1)))
      (then
        (struct.set $device $pending (local.get $self) (local.get 1))
        (return (call $hold))))
    (local.set $pending (struct.get $device $pending (local.get $self)))
    (if (ref.is_null (local.get $pending)) (then (return (call $wait))))
    (struct.set $device $pending (local.get $self) (ref.null $packet))
    (call $send (ref.as_non_null (local.get $pending))))

  (func $schedule
    (local $block (ref null $block)) (local $packet (ref null $packet)) (local $state i32)
    (local.set $block (global.get $list))
    (block $done
      (loop $turns
        (br_if $done (ref.is_null (local.get $block)))
        (local.set $state (struct.get $block $state (local.get $block)))
        (if (i32.or (i32.and (local.get $state) (i32.const 4)) (i32.eq (local.get $state) (i32.const 2)))
          (then
            (local.set $block (struct.get $block $next (local.get $block)))
            (br $turns)))
        (global.set $current (local.get $block))
        (local.set $packet (ref.null $packet))
        (if (i32.eq (local.get $state) (i32.const 3))
          (then
            (local.set $packet (struct.get $block $queue (local.get $block)))
            (struct.set $block $queue (local.get $block) (struct.get $packet $link (local.get $packet)))
            (struct.set $block $state (local.get $block)
              (i32.eqz (ref.is_null (struct.get $block $queue (local.get $block)))))))
        (local.set $block
          (call_ref $run
            (struct.get $block $task (local.get $block))
            (local.get $packet)
            (struct.get $task $run (struct.get $block $task (local.get $block)))))
        (br $turns))))

  (func $packet (param $link (ref null $packet)) (param $id i32) (param $is_work i32) (result (ref $packet))
    (struct.new $packet
      (local.get $link) (local.get $id) (local.get $is_work) (i32.const 0) (array.new_default $data (i32.const 4))))

  (func $add (param $id i32) (param $queue (ref null $packet)) (param $state i32) (param $task (ref $task))
    (global.set $list
      (struct.new $block
        (global.get $list) (local.get $id) (i32.mul (local.get $id) (i32.const 1000)) (local.get $queue)
        (local.get $state) (local.get $task)))
    (array.set $blocks (global.get $blocks) (local.get $id) (global.get $list)))

  ;; Three packets for a device.
  (func $for_device (param $id i32) (result (ref $packet))
    (call $packet
      (call $packet (call $packet (ref.null $packet) (local.get $id) (i32.const 0)) (local.get $id) (i32.const 0))
      (local.get $id)
      (i32.const 0)))

  (func (export "_start")
    (local $argument i32) (local $rounds i32)
    (local.set $argument (call $argument (i32.const 200)))
    (local.set $rounds (local.get $argument))
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $rounds)))
        (global.set $list (ref.null $block))
        (call $add (i32.const 0) (ref.null $packet) (i32.const 0)
          (struct.new $idle (ref.func $idle) (i32.const 1) (i32.const 10000)))
        (call $add (i32.const 1)
          (call $packet (call $packet (ref.null $packet) (i32.const 1) (i32.const 1)) (i32.const 1) (i32.const 1))
          (i32.const 3)
          (struct.new $worker (ref.func $worker) (i32.const 2) (i32.const 0)))
        (call $add (i32.const 2) (call $for_device (i32.const 4)) (i32.const 3)
          (struct.new $handler (ref.func $handler) (ref.null $packet) (ref.null $packet)))
        (call $add (i32.const 3) (call $for_device (i32.const 5)) (i32.const 3)
          (struct.new $handler (ref.func $handler) (ref.null $packet) (ref.null $packet)))
        (call $add (i32.const 4) (ref.null $packet) (i32.const 2)
          (struct.new $device (ref.func $device) (ref.null $packet)))
        (call $add (i32.const 5) (ref.null $packet) (i32.const 2)
          (struct.new $device (ref.func $device) (ref.null $packet)))
        (call $schedule)
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (br $again)))
    (call $report (i32.const 5) (local.get $argument)
      (i64.add
        (i64.mul (i64.extend_i32_u (global.get $queued)) (i64.const 1000000))
        (i64.extend_i32_u (global.get $held))))))
