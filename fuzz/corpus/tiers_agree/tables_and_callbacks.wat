(module
  (type $many (func (param i32 i64 i32 i64 i32 i64 i32 i64 i32 i64) (result i64 i32 i64 i32 i64 i32 i64 i32 i64 i32)))
  (type $unary (func (param i32) (result i32)))
  (import "host" "f" (func $host (param i32 i64) (result i32)))
  (global $steps (export "the counter") (mut i32) (i32.const 1000))
  (table $t (export "table") 6 20 funcref)
  (table $e (export "externs") 2 10 externref)
  (memory (export "memory") 1 3)
  (elem (table $t) (i32.const 0) func $twice $count $pick)
  (elem $passive func $pick $twice)
  (data $d "some bytes to copy")
  (func $step
    (if (i32.eqz (global.get $steps)) (then unreachable))
    (global.set $steps (i32.sub (global.get $steps) (i32.const 1))))
  (func $twice (export "twice") (type $unary) (call $step) (i32.shl (local.get 0) (i32.const 1)))
  (func $count (export "count") (type $unary) (local $i i32) (local $sum i32)
    call $step
    (loop $again
      call $step
      (local.set $sum (i32.add (local.get $sum)
        (call_indirect $t (type $unary) (local.get $i) (i32.and (local.get $i) (i32.const 2)))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))
    local.get $sum)
  (func $pick (export "pick") (type $unary)
    call $step
    (block $a (block $b (block $c (br_table $a $b $c $a (i32.and (local.get 0) (i32.const 3)))) (return (i32.const 1)))
      (return (call $host (local.get 0) (i64.const -1))))
    i32.const 2)
  (func $swap (type $many)
    call $step
    local.get 9 local.get 8 local.get 7 local.get 6 local.get 5 local.get 4 local.get 3 local.get 2 local.get 1 local.get 0)
  (func (export "many") (param $n i32) (result i64 i32 i64 i32 i64 i32 i64 i32 i64 i32) (local $i i32)
    i32.const 1 i64.const 2 i32.const 3 i64.const 4 i32.const 5 i64.const 6 i32.const 7 i64.const 8 i32.const 9 i64.const 10
    call $swap
    (loop $again (param i64 i32 i64 i32 i64 i32 i64 i32 i64 i32) (result i64 i32 i64 i32 i64 i32 i64 i32 i64 i32)
      call $step
      local.get $n
      i32.add
      (call $host (local.get $i) (i64.const 5))
      i32.xor
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 9)))))
  (func (export "tables") (param $r externref) (param $f funcref) (result i32)
    (table.set $e (i32.const 1) (local.get $r))
    (table.set $t (i32.const 4) (local.get $f))
    (drop (table.grow $e (local.get $r) (i32.const 1)))
    (table.init $t $passive (i32.const 0) (i32.const 0) (i32.const 2))
    (table.copy $t $t (i32.const 3) (i32.const 0) (i32.const 2))
    (memory.init $d (i32.const 100) (i32.const 2) (i32.const 10))
    (memory.copy (i32.const 104) (i32.const 100) (i32.const 10))
    (memory.fill (i32.const 65530) (i32.const 9) (i32.const 6))
    (i32.add (table.size $e) (ref.is_null (table.get $t (i32.const 4))))))
