;; Never ends to be instantiated.
;;
;; RUN: --timeout 0.1 %m
;; EXIT: 134
;; STDERR: interrupted: timeout of 100ms
(module
  (func $start (loop $again (br $again)))
  (start $start))
