;; Offsets of 64 bits, as instructions and as bytes.

(module
  (memory i64 1)
  (data (i64.const 0) "\01\02\03\04\05\06\07\08")
  (data (i64.const 0xfff8) "\11\12\13\14\15\16\17\18")
  (func (export "near") (param i64) (result i32) (i32.load offset=4 (local.get 0)))
  (func (export "last") (param i64) (result i64) (i64.load offset=0xfff8 (local.get 0)))
  (func (export "guard") (param i64) (result i32) (i32.load8_u offset=0x1ff_ffff (local.get 0)))
  (func (export "behind-guard") (param i64) (result i32) (i32.load8_u offset=0x200_0000 (local.get 0)))
  (func (export "32-bits") (param i64) (result i32) (i32.load8_u offset=0xffff_ffff (local.get 0)))
  (func (export "33-bits") (param i64) (result i32) (i32.load8_u offset=0x1_0000_0000 (local.get 0)))
  (func (export "all-bits") (param i64) (result i32) (i32.load8_u offset=0xffff_ffff_ffff_ffff (local.get 0)))
  (func (export "all-but-one") (param i64) (result i32) (i32.load8_u offset=0xffff_ffff_ffff_fffe (local.get 0)))
  (func (export "wraps") (param i64) (result i64) (i64.load offset=0xffff_ffff_ffff_fff9 (local.get 0)))
  (func (export "store-near") (param i64 i64) (i64.store offset=8 (local.get 0) (local.get 1)))
  (func (export "store-all-bits") (param i64) (i32.store8 offset=0xffff_ffff_ffff_ffff (local.get 0) (i32.const 1)))
  (func (export "store-33-bits") (param i64) (i32.store8 offset=0x1_0000_0000 (local.get 0) (i32.const 1))))

(assert_return (invoke "near" (i64.const 0)) (i32.const 0x08070605))
(assert_return (invoke "near" (i64.const 0xfff8)) (i32.const 0x18171615))
(assert_trap (invoke "near" (i64.const 0xfff9)) "out of bounds memory access")
(assert_trap (invoke "near" (i64.const 0x1_0000)) "out of bounds memory access")
(assert_trap (invoke "near" (i64.const 0x1_0000_0000)) "out of bounds memory access")
(assert_trap (invoke "near" (i64.const -4)) "out of bounds memory access")
(assert_trap (invoke "near" (i64.const -1)) "out of bounds memory access")
(assert_return (invoke "last" (i64.const 0)) (i64.const 0x1817161514131211))
(assert_trap (invoke "last" (i64.const 1)) "out of bounds memory access")
(assert_trap (invoke "last" (i64.const -0xfff8)) "out of bounds memory access")
(assert_trap (invoke "guard" (i64.const 0)) "out of bounds memory access")
(assert_trap (invoke "guard" (i64.const -0x1ff_ffff)) "out of bounds memory access")
(assert_trap (invoke "behind-guard" (i64.const 0)) "out of bounds memory access")
(assert_trap (invoke "behind-guard" (i64.const -0x200_0000)) "out of bounds memory access")
(assert_trap (invoke "32-bits" (i64.const 0)) "out of bounds memory access")
(assert_trap (invoke "32-bits" (i64.const 1)) "out of bounds memory access")
(assert_trap (invoke "32-bits" (i64.const -0xffff_ffff)) "out of bounds memory access")
(assert_trap (invoke "33-bits" (i64.const 0)) "out of bounds memory access")
(assert_trap (invoke "33-bits" (i64.const -0x1_0000_0000)) "out of bounds memory access")
(assert_trap (invoke "all-bits" (i64.const 0)) "out of bounds memory access")
(assert_trap (invoke "all-bits" (i64.const 1)) "out of bounds memory access")
(assert_trap (invoke "all-but-one" (i64.const 0)) "out of bounds memory access")
(assert_trap (invoke "all-but-one" (i64.const 2)) "out of bounds memory access")
(assert_trap (invoke "wraps" (i64.const 0)) "out of bounds memory access")
(assert_trap (invoke "wraps" (i64.const 7)) "out of bounds memory access")
(assert_return (invoke "store-near" (i64.const 0xfff0) (i64.const 5)))
(assert_return (invoke "last" (i64.const 0)) (i64.const 5))
(assert_trap (invoke "store-near" (i64.const 0xfff1) (i64.const -1)) "out of bounds memory access")
(assert_return (invoke "last" (i64.const 0)) (i64.const 5))
(assert_trap (invoke "store-all-bits" (i64.const 1)) "out of bounds memory access")
(assert_trap (invoke "store-33-bits" (i64.const 0)) "out of bounds memory access")
(assert_return (invoke "near" (i64.const 0)) (i32.const 0x08070605))

(assert_invalid
  (module (memory 1) (func (drop (i32.load offset=0x1_0000_0000 (i32.const 0)))))
  "offset out of range")

;; An offset takes up to ten bytes: type section, function, memory (i64 1), code (i64.const 0, i32.load8_u, drop).
(module binary
  "\00asm\01\00\00\00" "\01\04\01\60\00\00" "\03\02\01\00" "\05\03\01\04\01"
  "\0a\13\01\11\00\42\00\2d\00\80\80\80\80\80\80\80\80\80\00\1a\0b")
(module binary
  "\00asm\01\00\00\00" "\01\04\01\60\00\00" "\03\02\01\00" "\05\03\01\04\01"
  "\0a\13\01\11\00\42\00\2d\00\ff\ff\ff\ff\ff\ff\ff\ff\ff\01\1a\0b")
(assert_malformed
  (module binary
    "\00asm\01\00\00\00" "\01\04\01\60\00\00" "\03\02\01\00" "\05\03\01\04\01"
    "\0a\13\01\11\00\42\00\2d\00\ff\ff\ff\ff\ff\ff\ff\ff\ff\02\1a\0b")
  "integer too large")
(assert_malformed
  (module binary
    "\00asm\01\00\00\00" "\01\04\01\60\00\00" "\03\02\01\00" "\05\03\01\04\01"
    "\0a\14\01\12\00\42\00\2d\00\80\80\80\80\80\80\80\80\80\80\00\1a\0b")
  "integer representation too long")
;; So do limits.
(module binary "\00asm\01\00\00\00" "\05\0c\01\04\81\80\80\80\80\80\80\80\80\00" )
(assert_malformed
  (module binary "\00asm\01\00\00\00" "\05\0c\01\04\81\80\80\80\80\80\80\80\80\02")
  "integer too large")
