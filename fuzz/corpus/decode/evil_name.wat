;; Traps in a function whose name holds an escape sequence.
;;
;; RUN: %m
;; EXIT: 134
;; STDERR: evil\u{1b}[2J
(module
  (func (@name "evil\1b[2J") (export "_start") (unreachable)))
