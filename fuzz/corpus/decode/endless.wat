;; Never ends by itself.
;;
;; RUN: --timeout 100ms %m
;; EXIT: 134
;; STDERR: Error: failed to run main module `
;; STDERR: interrupted: timeout of 100ms
;; RUN: --fuel 10000 %m
;; EXIT: 134
;; STDERR: all fuel consumed
;; RUN: --fuel 10000 --invoke quick %m
;; RUN: --timeout 1h --invoke quick %m
(module
  (func (export "_start") (loop $again (br $again)))
  (func (export "quick")))
