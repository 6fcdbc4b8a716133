;; A component without a command: functions for `--invoke`, in an interface and outside.
;;
;; RUN: --invoke add(2,3) %m
;; STDOUT: 5
;; RUN: --invoke greet("you") %m
;; STDOUT: "hello, you"
;; RUN: --invoke my:calc/ops#half(3) %m
;; STDOUT: none
;; RUN: --invoke half(8) %m
;; STDOUT: some(4)
;; RUN: --invoke nothing %m
;; STDOUT: ()
;; RUN: --invoke nothing() %m
;; STDOUT: ()
;; RUN: --invoke add(2) %m
;; EXIT: 2
;; STDERR: Error: --invoke add(2): the function takes 2 arguments, 1 given; they are (a: u32, b: u32)
;; RUN: --invoke add(2,-1) %m
;; EXIT: 2
;; STDERR: Error: --invoke add(2,-1): argument "b": `-1` is not a valid u32
;; RUN: --invoke add( %m
;; EXIT: 2
;; STDERR: Error: --invoke add(:
;; RUN: --invoke add %m 2 3
;; EXIT: 2
;; STDERR: the arguments of a component's function stand in parentheses
;; RUN: --invoke ad(2,3) %m
;; EXIT: 2
;; STDERR: exports no such function; it exports "add", "greet", "nothing", "divide", "my:calc/ops#half"
;; RUN: --invoke divide(1,0) %m
;; EXIT: 134
;; STDERR: Caused by:
;; STDERR:     integer divide by zero
;; STDERR: divide
;; RUN: %m
;; EXIT: 1
;; STDERR: no `wasi:cli/run` to run; `--invoke 'NAME(ARGUMENTS)'` calls another function; it exports "add"
;; RUN: --preload env=%d/library.wat %m
;; EXIT: 2
;; STDERR: Error: --preload env=
;; STDERR: is a component, and this is for modules
;; RUN: --tcplisten 127.0.0.1:0 %m
;; EXIT: 2
;; STDERR: Error: --tcplisten 127.0.0.1:0:
;; RUN: --dump ir --func 0:ad %m
;; EXIT: 2
;; STDERR: Error: --func 0:ad:
;; RUN: --dump ir --func 1:add %m
;; EXIT: 2
;; STDERR: Error: --func 1:add:
;; RUN: --dump ir --func add %m
;; EXIT: 2
;; STDERR: Error: --func add:
(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 16) "hello, ")
    (global $next (mut i32) (i32.const 64))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next)
        (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func $divide (export "divide") (param i32 i32) (result i32)
      (i32.div_u (local.get 0) (local.get 1)))
    (func (export "nothing"))
    (func (export "greet") (param $at i32) (param $length i32) (result i32)
      (memory.copy (i32.const 2048) (i32.const 16) (i32.const 7))
      (memory.copy (i32.const 2055) (local.get $at) (local.get $length))
      (i32.store (i32.const 1024) (i32.const 2048))
      (i32.store (i32.const 1028) (i32.add (local.get $length) (i32.const 7)))
      (i32.const 1024))
    (func (export "half") (param i32) (result i32)
      (i32.store8 (i32.const 1032) (i32.eqz (i32.and (local.get 0) (i32.const 1))))
      (i32.store (i32.const 1036) (i32.shr_u (local.get 0) (i32.const 1)))
      (i32.const 1032)))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func (export "greet") (param "name" string) (result string)
    (canon lift (core func $i "greet") (memory (core memory $memory)) (realloc (core func $realloc))))
  (func (export "nothing") (canon lift (core func $i "nothing")))
  (func (export "divide") (param "a" u32) (param "b" u32) (result u32)
    (canon lift (core func $i "divide")))
  (func $half (param "n" u32) (result (option u32))
    (canon lift (core func $i "half") (memory (core memory $memory))))
  (instance (export "my:calc/ops") (export "half" (func $half))))
