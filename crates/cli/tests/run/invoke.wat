;; Functions of every type, for `--invoke`.
;;
;; RUN: --invoke i32 %m -7
;; STDOUT: -7
;; RUN: --invoke i32 %m 0xffffffff
;; STDOUT: -1
;; RUN: --invoke i64 %m 18446744073709551615
;; STDOUT: -1
;; RUN: --invoke i64 %m 9007199254740993
;; STDOUT: 9007199254740993
;; RUN: --invoke f32 %m 1.5
;; STDOUT: 1.5
;; RUN: --invoke f64 %m -1e-3
;; STDOUT: -0.001
;; RUN: --invoke f64 %m inf
;; STDOUT: inf
;; RUN: --invoke f32 %m nan
;; STDOUT: NaN
;; RUN: --invoke funcref %m null
;; STDOUT: null
;; RUN: --invoke externref %m null
;; STDOUT: null
;; RUN: --invoke func %m
;; STDOUT: funcref
;; RUN: --invoke add %m 2 3
;; STDOUT: 5
;; RUN: --invoke many %m
;; STDOUT: 1
;; STDOUT: 2
;; STDOUT: 0.5
;; STDOUT: -0.25
;; RUN: --invoke nothing %m
;; RUN: --invoke add %m 2
;; EXIT: 2
;; STDERR: Error: --invoke add: the function takes 2 arguments, 1 given; its type is [i32 i32] -> [i32]
;; RUN: --invoke nothing %m x
;; EXIT: 2
;; STDERR: Error: --invoke nothing: the function takes 0 arguments, 1 given; its type is [] -> []
;; RUN: --invoke add %m 2 x
;; EXIT: 2
;; STDERR: Error: --invoke add: argument 2: `x` is not a valid i32
;; RUN: --invoke i32 %m 4294967296
;; EXIT: 2
;; STDERR: `4294967296` is not a valid i32
(module
  (func (export "i32") (param i32) (result i32) (local.get 0))
  (func (export "i64") (param i64) (result i64) (local.get 0))
  (func (export "f32") (param f32) (result f32) (local.get 0))
  (func (export "f64") (param f64) (result f64) (local.get 0))
  (func (export "funcref") (param funcref) (result funcref) (local.get 0))
  (func (export "externref") (param externref) (result externref) (local.get 0))
  (func $func (export "func") (result funcref) (ref.func $func))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "many") (result i32 i64 f32 f64)
    (i32.const 1) (i64.const 2) (f32.const 0.5) (f64.const -0.25))
  (func (export "nothing")))
