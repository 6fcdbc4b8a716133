;; A command on WASI 0.2, of a version older than ours: greets, and fails or exits if it was given arguments.
;;
;; RUN: %m
;; STDOUT: hello
;; RUN: %m fail
;; STDOUT: hello
;; EXIT: 1
;; RUN: %m twice 2
;; STDOUT: hello
;; EXIT: 7
;; RUN: --timeout 60s --fuel 100000 %m
;; STDOUT: hello
;; RUN: --fuel 1 %m
;; EXIT: 134
;; STDERR: all fuel consumed
;; RUN: --allow-connect example.com %m
;; EXIT: 2
;; STDERR: --allow-connect
;; STDERR: names no port
;; RUN: -S tcp,inherit-network=y --allow-resolve *.example.com %m
;; STDOUT: hello
;; RUN: -S tcp=n %m
;; EXIT: 2
;; STDERR: without a grant there is no tcp already
(component
  (import "wasi:io/error@0.2.1" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/streams@0.2.1" (instance $streams
    (export "output-stream" (type $out (sub resource)))
    (alias outer 1 $error-type (type $e'))
    (export "error" (type $e (eq $e')))
    (type $failure' (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $failure (eq $failure')))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $failure)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.1" (instance $stdout
    (alias outer 1 $stream (type $s'))
    (export "output-stream" (type $s (eq $s')))
    (export "get-stdout" (func (result (own $s))))))
  (import "wasi:cli/environment@0.2.1" (instance $environment
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:cli/exit@0.2.1" (instance $exit
    (export "exit-with-code" (func (param "status-code" u8)))))
  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next)
        (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory))))
  (core func $arguments (canon lower (func $environment "get-arguments")
    (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $exit-with (canon lower (func $exit "exit-with-code")))
  (core func $drop (canon resource.drop $stream))
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "wasi" "get-stdout" (func $get-stdout (result i32)))
    (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
    (import "wasi" "arguments" (func $arguments (param i32)))
    (import "wasi" "exit" (func $exit (param i32)))
    (import "wasi" "drop" (func $drop (param i32)))
    (data (i32.const 8) "hello\n")
    (func (export "run") (result i32) (local $out i32)
      (call $write (local.tee $out (call $get-stdout)) (i32.const 8) (i32.const 6) (i32.const 32))
      (call $drop (local.get $out))
      (if (i32.load8_u (i32.const 32)) (then (unreachable)))
      (call $arguments (i32.const 64))
      (if (i32.gt_u (i32.load (i32.const 68)) (i32.const 2)) (then (call $exit (i32.const 7)) (unreachable)))
      (i32.gt_u (i32.load (i32.const 68)) (i32.const 1))))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "wasi" (instance
      (export "get-stdout" (func $get-stdout))
      (export "write" (func $write))
      (export "arguments" (func $arguments))
      (export "exit" (func $exit-with))
      (export "drop" (func $drop))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance (export "wasi:cli/run@0.2.1") (export "run" (func $run))))
