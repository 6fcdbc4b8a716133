;; Exceptions as they were before WebAssembly 3.0: try, catch, catch_all, rethrow, delegate.

(module $tags
  (tag (export "shared") (param i32))
  (func (export "throw") (param i32) (throw 0 (local.get 0))))
(register "tags")

(module
  (import "tags" "shared" (tag $shared (param i32)))
  (import "tags" "throw" (func $throw_shared (param i32)))
  (tag $none) (tag $int (param i32)) (tag $two (param i64 f64)) (tag $ref (param funcref externref))
  (func $throws (param i32)
    (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $none)))
    (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $int (i32.const 22))))
    (if (i32.eq (local.get 0) (i32.const 3)) (then (throw $two (i64.const 3) (f64.const 3.5))))
    (if (i32.eq (local.get 0) (i32.const 4)) (then (call $throw_shared (i32.const 44))))
    (if (i32.eq (local.get 0) (i32.const 5)) (then (unreachable))))

  ;; try_catch
  (func (export "empty") try end)
  (func (export "uncaught") (param i32) try local.get 0 call $throws end)
  (func (export "catch") (param i32) (result i32)
    try (result i32)
      local.get 0
      call $throws
      i32.const 0
    catch $none
      i32.const 11
    catch $int
    catch $shared
      i32.const 1
      i32.add
    end)
  (func (export "catch_two") (param i32) (result i64 f64)
    try (result i64 f64)
      local.get 0
      call $throws
      i64.const 0
      f64.const 0
    catch $two
    catch_all
      i64.const -1
      f64.const -1
    end)
  (func (export "catch_refs") (param externref) (result i32 externref)
    try (result i32 externref)
      ref.null func
      local.get 0
      throw $ref
    catch $ref
      local.set 0
      ref.is_null
      local.get 0
    end)
  (func (export "params") (param i32) (result i32)
    i32.const 100
    local.get 0
    try (param i32) (result i32)
      call $throws
      i32.const 1
    catch_all
      i32.const 2
    end
    i32.add)
  (func (export "locals") (param i32) (result i32)
    (local i32)
    i32.const 1
    local.set 1
    try
      i32.const 2
      local.set 1
      local.get 0
      call $throws
      i32.const 3
      local.set 1
    catch_all
    end
    local.get 1)
  (func (export "branch_out") (param i32) (result i32)
    block (result i32)
      try
        local.get 0
        call $throws
        i32.const 5
        br 1
      catch_all
        i32.const 6
        br 1
      end
      i32.const 7
    end)
  (func (export "return_inside") (param i32) (result i32)
    try
      local.get 0
      call $throws
      i32.const 8
      return
    catch_all
      i32.const 9
      return
    end
    i32.const 10)
  (func (export "dead_handler") (result i32)
    try (result i32)
      i32.const 1
    catch $int
      drop
      unreachable
    catch_all
      unreachable
    end)
  (func (export "throw_in_handler") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throws
        i32.const 0
      catch $none
        i32.const 77
        throw $int
      end
    catch $int
    end)

  ;; rethrow
  (func (export "rethrow") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throws
        i32.const 0
      catch $int
        drop
        rethrow 0
      catch_all
        rethrow 0
      end
    catch $int
      i32.const 2
      i32.mul
    catch $none
      i32.const 1
    end)
  (func (export "rethrow_outer") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throws
        i32.const 0
      catch $int
        drop
        try (result i32)
          throw $none
        catch $none
          block
            rethrow 2
          end
          i32.const 4
        end
      end
    catch $int
      i32.const 1
      i32.add
    end)
  (func (export "rethrow_uncaught") (param i32)
    try
      local.get 0
      call $throws
    catch_all
      rethrow 0
    end)

  ;; delegate
  (func (export "delegate") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throws
        i32.const 0
      delegate 0
    catch $int
    catch_all
      i32.const 1
    end)
  (func (export "delegate_over") (param i32) (result i32)
    try (result i32)
      try (result i32)
        block (result i32)
          try (result i32)
            local.get 0
            call $throws
            i32.const 0
          delegate 2
        end
      catch_all
        i32.const -1
      end
    catch_all
      i32.const 2
    end)
  (func (export "delegate_to_block") (param i32) (result i32)
    try (result i32)
      block (result i32)
        try (result i32)
          local.get 0
          call $throws
          i32.const 0
        delegate 0
      end
    catch_all
      i32.const 3
    end)
  (func $out (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throws
        i32.const 0
      delegate 1
    catch_all
      i32.const -1
    end)
  (func (export "delegate_out") (param i32) (result i32)
    try (result i32)
      local.get 0
      call $out
    catch_all
      i32.const 4
    end)
  (func (export "delegate_from_handler") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        call $throws
        i32.const 0
      catch_all
        try (result i32)
          i32.const 2
          call $throws
          i32.const -1
        delegate 0
      end
    catch $int
    end)

  ;; together with what replaced it
  (func (export "mixed") (param i32) (result i32)
    (block $h (result i32)
      (try_table (catch $int $h)
        try
          local.get 0
          call $throws
        catch $none
          (return (i32.const 1))
        end)
      (i32.const 0))))

(assert_return (invoke "empty"))
(assert_return (invoke "uncaught" (i32.const 0)))
(assert_exception (invoke "uncaught" (i32.const 1)))
(assert_exception (invoke "uncaught" (i32.const 4)))
(assert_trap (invoke "uncaught" (i32.const 5)) "unreachable")
(assert_return (invoke "catch" (i32.const 0)) (i32.const 0))
(assert_return (invoke "catch" (i32.const 1)) (i32.const 11))
(assert_return (invoke "catch" (i32.const 2)) (i32.const 22))
(assert_exception (invoke "catch" (i32.const 3)))
(assert_return (invoke "catch" (i32.const 4)) (i32.const 45))
(assert_trap (invoke "catch" (i32.const 5)) "unreachable")
(assert_return (invoke "catch_two" (i32.const 0)) (i64.const 0) (f64.const 0))
(assert_return (invoke "catch_two" (i32.const 1)) (i64.const -1) (f64.const -1))
(assert_return (invoke "catch_two" (i32.const 3)) (i64.const 3) (f64.const 3.5))
(assert_trap (invoke "catch_two" (i32.const 5)) "unreachable")
(assert_return (invoke "catch_refs" (ref.extern 7)) (i32.const 1) (ref.extern 7))
(assert_return (invoke "params" (i32.const 0)) (i32.const 101))
(assert_return (invoke "params" (i32.const 3)) (i32.const 102))
(assert_return (invoke "locals" (i32.const 0)) (i32.const 3))
(assert_return (invoke "locals" (i32.const 2)) (i32.const 2))
(assert_return (invoke "branch_out" (i32.const 0)) (i32.const 5))
(assert_return (invoke "branch_out" (i32.const 1)) (i32.const 6))
(assert_return (invoke "return_inside" (i32.const 0)) (i32.const 8))
(assert_return (invoke "return_inside" (i32.const 1)) (i32.const 9))
(assert_return (invoke "dead_handler") (i32.const 1))
(assert_return (invoke "throw_in_handler" (i32.const 1)) (i32.const 77))
(assert_return (invoke "throw_in_handler" (i32.const 2)) (i32.const 22))
(assert_exception (invoke "throw_in_handler" (i32.const 3)))
(assert_return (invoke "rethrow" (i32.const 0)) (i32.const 0))
(assert_return (invoke "rethrow" (i32.const 1)) (i32.const 1))
(assert_return (invoke "rethrow" (i32.const 2)) (i32.const 44))
(assert_exception (invoke "rethrow" (i32.const 3)))
(assert_return (invoke "rethrow_outer" (i32.const 0)) (i32.const 0))
(assert_return (invoke "rethrow_outer" (i32.const 2)) (i32.const 23))
(assert_exception (invoke "rethrow_outer" (i32.const 1)))
(assert_return (invoke "rethrow_uncaught" (i32.const 0)))
(assert_exception (invoke "rethrow_uncaught" (i32.const 4)))
(assert_trap (invoke "rethrow_uncaught" (i32.const 5)) "unreachable")
(assert_return (invoke "delegate" (i32.const 0)) (i32.const 0))
(assert_return (invoke "delegate" (i32.const 2)) (i32.const 22))
(assert_return (invoke "delegate" (i32.const 3)) (i32.const 1))
(assert_return (invoke "delegate_over" (i32.const 0)) (i32.const 0))
(assert_return (invoke "delegate_over" (i32.const 1)) (i32.const 2))
(assert_return (invoke "delegate_to_block" (i32.const 1)) (i32.const 3))
(assert_return (invoke "delegate_out" (i32.const 0)) (i32.const 0))
(assert_return (invoke "delegate_out" (i32.const 1)) (i32.const 4))
(assert_return (invoke "delegate_from_handler" (i32.const 0)) (i32.const 0))
(assert_return (invoke "delegate_from_handler" (i32.const 1)) (i32.const 22))
(assert_return (invoke "mixed" (i32.const 0)) (i32.const 0))
(assert_return (invoke "mixed" (i32.const 1)) (i32.const 1))
(assert_return (invoke "mixed" (i32.const 2)) (i32.const 22))
(assert_exception (invoke "mixed" (i32.const 3)))

(assert_invalid (module (func try rethrow 0 end)) "invalid rethrow label")
(assert_invalid (module (func block try delegate 5 end)) "unknown label")
(assert_invalid (module (tag (param i32)) (func try catch 0 end)) "type mismatch")
(assert_invalid (module (func try catch 0 end)) "unknown tag")
