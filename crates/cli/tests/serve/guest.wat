;; Answers requests, each as the first letter of its path says.
(module
  (import "wasi:http/types@0.2.12" "[method]incoming-request.path-with-query" (func $path (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]incoming-request.consume" (func $consume (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]incoming-body.stream" (func $stream (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.12" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-body.write" (func $body-write (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]outgoing-body.finish" (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-splice" (func $splice (param i32 i32 i64 i32)))
  (import "wasi:io/streams@0.2.12" "[resource-drop]output-stream" (func $drop-output (param i32)))
  (import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.12" "subscribe-duration" (func $after (param i64) (result i32)))
  (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $get-stdout (result i32)))
  (import "wasi:cli/stderr@0.2.12" "get-stderr" (func $get-stderr (result i32)))
  (import "wasi:cli/environment@0.2.12" "get-environment" (func $environment (param i32)))
  (import "wasi:cli/exit@0.2.12" "exit" (func $exit (param i32)))

  ;; Up to 1024: what calls return. From 1024 on: texts. From 4096 on: what the host allocates.
  (memory (export "memory") 2)
  (data (i32.const 1024) "hello\n")
  (data (i32.const 1040) "a line\nno end")
  (data (i32.const 1072) "\1b[2J an error\n")
  (data (i32.const 1104) "refused\n")
  (global $heap (mut i32) (i32.const 4096))
  ;; Requests that this instance has answered.
  (global $count (mut i32) (i32.const 0))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get 2) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get 2))))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  ;; Sets a response of status 200; its body.
  (func $begin (param $out i32) (result i32)
    (local $response i32)
    (local.set $response (call $response (call $fields)))
    (call $body (local.get $response) (i32.const 0))
    (call $set (local.get $out) (i32.const 0) (local.get $response)
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (i32.load (i32.const 4)))

  (func $stream-of (param $body i32) (result i32)
    (call $body-write (local.get $body) (i32.const 0))
    (i32.load (i32.const 4)))

  (func $end (param $body i32) (param $stream i32)
    (call $drop-output (local.get $stream))
    (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0)))

  ;; Answers with this text.
  (func $answer (param $out i32) (param $at i32) (param $length i32)
    (local $body i32) (local $stream i32)
    (local.set $body (call $begin (local.get $out)))
    (local.set $stream (call $stream-of (local.get $body)))
    (call $write (local.get $stream) (local.get $at) (local.get $length) (i32.const 16))
    (call $end (local.get $body) (local.get $stream)))

  ;; Answers with the body of the request.
  (func $echo (param $request i32) (param $out i32)
    (local $from i32) (local $body i32) (local $to i32)
    (call $consume (local.get $request) (i32.const 0))
    (call $stream (i32.load (i32.const 4)) (i32.const 0))
    (local.set $from (i32.load (i32.const 4)))
    (local.set $body (call $begin (local.get $out)))
    (local.set $to (call $stream-of (local.get $body)))
    (loop $more
      (call $splice (local.get $to) (local.get $from) (i64.const 65536) (i32.const 0))
      (br_if $more (i32.eqz (i32.load8_u (i32.const 0)))))
    (call $end (local.get $body) (local.get $to)))

  ;; Enough of a loop to be compiled.
  (func $work (local $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 100000)))))

  (func (export "wasi:http/incoming-handler@0.2.12#handle") (param $request i32) (param $out i32)
    (local $letter i32) (local $stream i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (call $path (local.get $request) (i32.const 0))
    (if (i32.gt_u (i32.load (i32.const 8)) (i32.const 1))
      (then (local.set $letter (i32.load8_u offset=1 (i32.load (i32.const 4))))))
    ;; /trap
    (if (i32.eq (local.get $letter) (i32.const 0x74)) (then (unreachable)))
    ;; /late: after half of the response
    (if (i32.eq (local.get $letter) (i32.const 0x6c))
      (then
        (local.set $stream (call $stream-of (call $begin (local.get $out))))
        (call $write (local.get $stream) (i32.const 1024) (i32.const 6) (i32.const 16))
        (unreachable)))
    ;; /run, /wait: says so first
    (if (i32.or
          (i32.eq (local.get $letter) (i32.const 0x72))
          (i32.eq (local.get $letter) (i32.const 0x77)))
      (then (call $write (call $get-stdout) (i32.const 1040) (i32.const 7) (i32.const 16))))
    ;; /run: for ever
    (if (i32.eq (local.get $letter) (i32.const 0x72)) (then (loop $again (br $again))))
    ;; /wait: for an hour
    (if (i32.eq (local.get $letter) (i32.const 0x77))
      (then (call $block (call $after (i64.const 3600000000000)))))
    ;; /quiet: no response
    (if (i32.eq (local.get $letter) (i32.const 0x71)) (then (return)))
    ;; /exit
    (if (i32.eq (local.get $letter) (i32.const 0x78)) (then (call $exit (i32.const 1))))
    ;; /output
    (if (i32.eq (local.get $letter) (i32.const 0x6f))
      (then
        (call $write (call $get-stdout) (i32.const 1040) (i32.const 13) (i32.const 16))
        (call $write (call $get-stderr) (i32.const 1072) (i32.const 14) (i32.const 16))))
    ;; /memory: until there is no more
    (if (i32.eq (local.get $letter) (i32.const 0x6d))
      (then
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (call $answer (local.get $out) (i32.const 1104) (i32.const 8))
        (return)))
    ;; /body
    (if (i32.eq (local.get $letter) (i32.const 0x62))
      (then (call $echo (local.get $request) (local.get $out)) (return)))
    ;; /count
    (if (i32.eq (local.get $letter) (i32.const 0x63))
      (then
        (call $work)
        (i32.store8 (i32.const 1200) (i32.add (i32.const 0x30) (global.get $count)))
        (i32.store8 (i32.const 1201) (i32.const 0x0a))
        (call $answer (local.get $out) (i32.const 1200) (i32.const 2))
        (return)))
    ;; /environment: the value of the last variable
    (if (i32.eq (local.get $letter) (i32.const 0x65))
      (then
        (call $environment (i32.const 0))
        (local.set $stream (i32.add (i32.load (i32.const 0))
          (i32.shl (i32.sub (i32.load (i32.const 4)) (i32.const 1)) (i32.const 4))))
        (call $answer (local.get $out)
          (i32.load offset=8 (local.get $stream)) (i32.load offset=12 (local.get $stream)))
        (return)))
    (call $answer (local.get $out) (i32.const 1024) (i32.const 6))))
