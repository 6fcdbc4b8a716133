;; Answers requests by WASI 0.3, each as the first letter of its path says.
(module
  (import "wasi:http/types@0.3.2" "[method]request.get-path-with-query" (func $path (param i32 i32)))
  (import "wasi:http/types@0.3.2" "[method]request.set-path-with-query"
    (func $set-path (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.3.2" "[method]request.set-authority"
    (func $set-authority (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.3.2" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.3.2" "[static]response.new" (func $response (param i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.3.2" "[method]response.set-status-code" (func $set-status (param i32 i32) (result i32)))
  (import "wasi:http/types@0.3.2" "[stream-new-0][static]response.new" (func $stream-new (result i64)))
  (import "wasi:http/types@0.3.2" "[stream-write-0][static]response.new"
    (func $stream-write (param i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.3.2" "[stream-drop-writable-0][static]response.new" (func $stream-drop (param i32)))
  (import "wasi:http/types@0.3.2" "[future-new-1][static]response.new" (func $trailers-new (result i64)))
  (import "wasi:http/types@0.3.2" "[future-write-1][static]response.new"
    (func $trailers-write (param i32 i32) (result i32)))
  (import "wasi:http/types@0.3.2" "[future-drop-writable-1][static]response.new" (func $trailers-drop (param i32)))
  (import "wasi:http/types@0.3.2" "[future-drop-readable-2][static]response.new" (func $sent-drop (param i32)))
  (import "wasi:http/types@0.3.2" "[static]request.consume-body" (func $consume (param i32 i32 i32)))
  (import "wasi:http/types@0.3.2" "[future-new-0][static]request.consume-body" (func $taken-new (result i64)))
  (import "wasi:http/types@0.3.2" "[future-write-0][static]request.consume-body"
    (func $taken-write (param i32 i32) (result i32)))
  (import "wasi:http/types@0.3.2" "[future-drop-writable-0][static]request.consume-body"
    (func $taken-drop (param i32)))
  (import "wasi:http/types@0.3.2" "[resource-drop]request" (func $drop-request (param i32)))
  (import "wasi:http/client@0.3.2" "[async-lower]send" (func $send (param i32 i32) (result i32)))
  (import "wasi:clocks/monotonic-clock@0.3.2" "[async-lower]wait-for" (func $wait-for (param i64) (result i32)))
  (import "wasi:clocks/monotonic-clock@0.3.2" "wait-for" (func $wait-in-the-middle (param i64)))
  (import "[export]wasi:http/handler@0.3.2" "[task-return]handle"
    (func $return (param i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "$root" "[waitable-set-new]" (func $set-new (result i32)))
  (import "$root" "[waitable-set-drop]" (func $set-drop (param i32)))
  (import "$root" "[waitable-join]" (func $join (param i32 i32)))
  (import "$root" "[subtask-drop]" (func $subtask-drop (param i32)))
  (import "$root" "[context-get-0]" (func $get (result i32)))
  (import "$root" "[context-set-0]" (func $set (param i32)))

  ;; Up to 1024: what calls return. From 1024 on: texts. From 4096 on: what the host allocates, and the tasks' records, each
  ;; with what it does (4 bytes), the set that it waits with, and what `send` returns (from 16 on).
  (memory (export "memory") 64)
  (data (i32.const 1024) "hello\n")
  (data (i32.const 1040) "refused")
  (global $heap (mut i32) (i32.const 4096))
  ;; Requests that this instance has been asked.
  (global $count (mut i32) (i32.const 0))
  ;; Requests that have met here.
  (global $met (mut i32) (i32.const 0))

  (func $alloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get 2) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get 2))))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  ;; Returns a response with the body that is left of a stream, or none.
  (func $return-response (param $response i32)
    (call $return (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))

  ;; Makes a response; at 16 it is, with the future of its ending. At 24 are the writable ends of its stream and its trailers.
  (func $begin (local $stream i64) (local $trailers i64)
    (local.set $stream (call $stream-new))
    (local.set $trailers (call $trailers-new))
    (i32.store (i32.const 24) (i32.wrap_i64 (i64.shr_u (local.get $stream) (i64.const 32))))
    (i32.store (i32.const 28) (i32.wrap_i64 (i64.shr_u (local.get $trailers) (i64.const 32))))
    (call $response (call $fields) (i32.const 1) (i32.wrap_i64 (local.get $stream))
      (i32.wrap_i64 (local.get $trailers)) (i32.const 16))
    (call $sent-drop (i32.load (i32.const 20))))

  ;; Writes text to its body.
  (func $write (param $at i32) (param $len i32)
    (if (i32.ne (call $stream-write (i32.load (i32.const 24)) (local.get $at) (local.get $len))
                (i32.shl (local.get $len) (i32.const 4)))
      (then (unreachable))))

  ;; Ends its body, without trailers.
  (func $end
    (call $stream-drop (i32.load (i32.const 24)))
    (i32.store (i32.const 32) (i32.const 0))
    (i32.store (i32.const 40) (i32.const 0))
    (drop (call $trailers-write (i32.load (i32.const 28)) (i32.const 32)))
    (call $trailers-drop (i32.load (i32.const 28))))

  (func $text (param $at i32) (param $len i32)
    (call $begin)
    (call $write (local.get $at) (local.get $len))
    (call $end)
    (call $return-response (i32.load (i32.const 16))))

  (func $number (param $number i32) (local $at i32)
    (local.set $at (i32.const 1099))
    (i32.store8 (local.get $at) (i32.const 10))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digits (local.get $number)))
    (call $text (local.get $at) (i32.sub (i32.const 1100) (local.get $at))))

  ;; Waits for a subtask, if it is not done: the code that the task ends its turn with.
  (func $wait (param $subtask i32) (result i32) (local $record i32)
    (local.set $record (call $get))
    (call $join (i32.shr_u (local.get $subtask) (i32.const 4)) (i32.load offset=4 (local.get $record)))
    (i32.or (i32.const 2) (i32.shl (i32.load offset=4 (local.get $record)) (i32.const 4))))

  ;; Sends the request's body back: the host's stream and the host's trailers.
  (func $echo (param $request i32) (local $taken i64)
    (local.set $taken (call $taken-new))
    (call $consume (local.get $request) (i32.wrap_i64 (local.get $taken)) (i32.const 48))
    (i32.store (i32.const 64) (i32.const 0))
    (drop (call $taken-write (i32.wrap_i64 (i64.shr_u (local.get $taken) (i64.const 32))) (i32.const 64)))
    (call $taken-drop (i32.wrap_i64 (i64.shr_u (local.get $taken) (i64.const 32))))
    (call $response (call $fields) (i32.const 1) (i32.load (i32.const 48)) (i32.load (i32.const 52)) (i32.const 16))
    (call $sent-drop (i32.load (i32.const 20)))
    (call $return-response (i32.load (i32.const 16))))

  (func (export "[async-lift]wasi:http/handler@0.3.2#handle") (param $request i32) (result i32)
    (local $record i32) (local $at i32) (local $letter i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (local.set $record (call $alloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 128)))
    (call $set (local.get $record))
    (call $path (local.get $request) (i32.const 0))
    (local.set $at (i32.load (i32.const 4)))
    (if (i32.gt_u (i32.load (i32.const 8)) (i32.const 1))
      (then (local.set $letter (i32.load8_u offset=1 (local.get $at)))))
    (i32.store (local.get $record) (local.get $letter))
    (i32.store offset=4 (local.get $record) (call $set-new))
    ;; b: the body comes back
    (if (i32.eq (local.get $letter) (i32.const 98))
      (then (call $echo (local.get $request)) (return (i32.const 0))))
    ;; p: the request goes on to the authority behind the letter
    (if (i32.eq (local.get $letter) (i32.const 112))
      (then
        (drop (call $set-authority (local.get $request) (i32.const 1)
          (i32.add (local.get $at) (i32.const 2)) (i32.sub (i32.load (i32.const 8)) (i32.const 2))))
        (drop (call $set-path (local.get $request) (i32.const 0) (i32.const 0) (i32.const 0)))
        (return (call $sent (call $send (local.get $request) (i32.add (local.get $record) (i32.const 16)))))))
    (call $drop-request (local.get $request))
    ;; c: how many requests this instance has been asked
    (if (i32.eq (local.get $letter) (i32.const 99))
      (then (call $number (global.get $count)) (return (i32.const 0))))
    ;; m: waits until two have met
    (if (i32.eq (local.get $letter) (i32.const 109))
      (then
        (global.set $met (i32.add (global.get $met) (i32.const 1)))
        (return (call $wait (call $wait-for (i64.const 1000000))))))
    ;; w: waits for an hour
    (if (i32.eq (local.get $letter) (i32.const 119))
      (then (return (call $wait (call $wait-for (i64.const 3600000000000))))))
    ;; s: waits a while
    (if (i32.eq (local.get $letter) (i32.const 115))
      (then (return (call $wait (call $wait-for (i64.const 300000000))))))
    ;; d: waits a while in the middle
    (if (i32.eq (local.get $letter) (i32.const 100))
      (then (call $wait-in-the-middle (i64.const 300000000))))
    ;; t: traps
    (if (i32.eq (local.get $letter) (i32.const 116)) (then (unreachable)))
    ;; l: runs for ever
    (if (i32.eq (local.get $letter) (i32.const 108)) (then (loop $ever (br $ever))))
    ;; h: the head and half of the body go out, and then it traps
    (if (i32.eq (local.get $letter) (i32.const 104))
      (then
        (call $begin)
        (call $write (i32.const 1024) (i32.const 6))
        (call $return-response (i32.load (i32.const 16)))
        (return (call $wait (call $wait-for (i64.const 100000000))))))
    ;; u: the body is never finished
    (if (i32.eq (local.get $letter) (i32.const 117))
      (then
        (call $begin)
        (call $write (i32.const 1024) (i32.const 6))
        (call $stream-drop (i32.load (i32.const 24)))
        (call $return-response (i32.load (i32.const 16)))
        (return (i32.const 0))))
    ;; e: an error, `internal-error` with a text
    (if (i32.eq (local.get $letter) (i32.const 101))
      (then
        (call $return (i32.const 1) (i32.const 38) (i32.const 1) (i64.const 1040)
          (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0))
        (return (i32.const 0))))
    (call $text (i32.const 1024) (i32.const 6))
    (i32.const 0))

  ;; Goes on with a request that has been sent: returns what came, or waits.
  (func $sent (param $status i32) (result i32) (local $record i32)
    (local.set $record (call $get))
    (if (i32.ne (i32.and (local.get $status) (i32.const 15)) (i32.const 2))
      (then (return (call $wait (local.get $status)))))
    (call $forward)
    (i32.const 0))

  (func $forward (local $record i32)
    (local.set $record (call $get))
    (if (i32.load8_u offset=16 (local.get $record))
      (then
        (call $begin)
        (drop (call $set-status (i32.load (i32.const 16)) (i32.const 502)))
        (call $write (i32.const 1040) (i32.const 7))
        (call $end)
        (call $return-response (i32.load (i32.const 16))))
      (else (call $return-response (i32.load offset=24 (local.get $record))))))

  (func (export "[callback][async-lift]wasi:http/handler@0.3.2#handle")
    (param $event i32) (param $subtask i32) (param $status i32) (result i32)
    (local $letter i32)
    (if (i32.ne (local.get $event) (i32.const 1)) (then (unreachable)))
    (if (i32.ne (local.get $status) (i32.const 2))
      (then (return (call $wait (i32.shl (local.get $subtask) (i32.const 4))))))
    (call $join (local.get $subtask) (i32.const 0))
    (call $subtask-drop (local.get $subtask))
    (local.set $letter (i32.load (call $get)))
    (if (i32.eq (local.get $letter) (i32.const 104)) (then (unreachable)))
    (if (i32.eq (local.get $letter) (i32.const 112))
      (then (call $forward) (return (i32.const 0))))
    ;; Who waits for another one goes on once that is there.
    (if (i32.and (i32.eq (local.get $letter) (i32.const 109)) (i32.lt_u (global.get $met) (i32.const 2)))
      (then (return (call $wait (call $wait-for (i64.const 1000000))))))
    (call $text (i32.const 1024) (i32.const 6))
    (i32.const 0)))
