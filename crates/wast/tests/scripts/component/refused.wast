;; Types and functions that are none.
(assert_invalid (component (type (record))) "record type must have at least one field")
(assert_invalid (component (type (variant))) "variant type must have at least one case")
(assert_invalid (component (type (enum))) "enum type must have at least one variant")
(assert_invalid (component (type (tuple))) "tuple type must have at least one type")
(assert_invalid (component (type (record (field "a" u8) (field "A" u8)))) "conflicts with previous field name")
(assert_invalid (component (type (enum "Not-Kebab" "not_kebab"))) "is not in kebab case")
(assert_invalid (component (type (list 7))) "unknown type 7")
(assert_invalid (component (type (func (param "a" u8) (param "a" u8)))) "conflicts with previous parameter name")
(assert_invalid (component (import "a" (func)) (import "a" (func))) "conflicts with previous name")
(assert_invalid (component (import "not a name" (func))) "is not a valid extern name")
(assert_invalid (component (import "a:b/c@x" (func))) "is not a valid semver")
;; Canonical options that are missing, or do not go with the function.
(assert_invalid
  (component
    (core module $m (func (export "f") (param i32 i32)))
    (core instance $i (instantiate $m))
    (func (export "f") (param "s" string) (canon lift (core func $i "f"))))
  "canonical option `memory` is required")
(assert_invalid
  (component
    (core module $m (memory (export "memory") 1) (func (export "f") (param i32 i32)))
    (core instance $i (instantiate $m))
    (func (export "f") (param "s" string) (canon lift (core func $i "f") (memory (core memory $i "memory")))))
  "canonical option `realloc` is required")
(assert_invalid
  (component
    (core module $m (func (export "f") (param i32)))
    (core instance $i (instantiate $m))
    (func (export "f") (param "x" u64) (canon lift (core func $i "f"))))
  "lowered parameter types `[I64]` do not match parameter types `[I32]`")
(assert_invalid
  (component (import "f" (func $f (param "s" string))) (core func (canon lower (func $f))))
  "canonical option `memory` is required")
;; A core module that is not valid.
(assert_invalid (component (core module (func (result i32)))) "type mismatch")
(assert_invalid
  (component (core module $m (import "a" "b" (func))) (core instance (instantiate $m)))
  "missing module instantiation argument named `a`")
(assert_malformed (component binary "\00asm" "\0d\00\01\00" "\0c\00") "invalid leading byte")
