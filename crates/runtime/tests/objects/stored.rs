//! Fields and elements of all storage types.

use tiered_runtime::TrapCode;

use super::{Guest, New, i};

/// How a value is stored, and an example: its type, what is stored, how it is read, and what then.
struct Stored {
    /// Of a field.
    storage: &'static str,
    /// Of a value.
    ty: &'static str,
    /// The suffix of instructions that read it.
    suffix: &'static str,
    /// Two values, as instructions.
    values: [&'static str; 2],
    /// Whether a value, which is on the stack, is the one; for each of them, and for the default.
    is: [&'static str; 3],
}

/// All storage types. References are to functions, to objects, and numbers.
const STORED: &[Stored] = &[
    Stored {
        storage: "i8",
        ty: "i32",
        suffix: "_s",
        values: ["(i32.const 0x1234ff80)", "(i32.const 127)"],
        is: [
            "(i32.eq (i32.const -128))",
            "(i32.eq (i32.const 127))",
            "i32.eqz",
        ],
    },
    Stored {
        storage: "i8",
        ty: "i32",
        suffix: "_u",
        values: ["(i32.const 0x12340080)", "(i32.const -1)"],
        is: [
            "(i32.eq (i32.const 128))",
            "(i32.eq (i32.const 255))",
            "i32.eqz",
        ],
    },
    Stored {
        storage: "i16",
        ty: "i32",
        suffix: "_s",
        values: ["(i32.const 0x12348000)", "(i32.const 0x7fff)"],
        is: [
            "(i32.eq (i32.const -32768))",
            "(i32.eq (i32.const 32767))",
            "i32.eqz",
        ],
    },
    Stored {
        storage: "i16",
        ty: "i32",
        suffix: "_u",
        values: ["(i32.const 0x12348000)", "(i32.const -1)"],
        is: [
            "(i32.eq (i32.const 32768))",
            "(i32.eq (i32.const 65535))",
            "i32.eqz",
        ],
    },
    Stored {
        storage: "i32",
        ty: "i32",
        suffix: "",
        values: ["(i32.const -2)", "(i32.const 0x7fffffff)"],
        is: [
            "(i32.eq (i32.const -2))",
            "(i32.eq (i32.const 0x7fffffff))",
            "i32.eqz",
        ],
    },
    Stored {
        storage: "i64",
        ty: "i64",
        suffix: "",
        values: ["(i64.const -2)", "(i64.const 0x7fffffff00000001)"],
        is: [
            "(i64.eq (i64.const -2))",
            "(i64.eq (i64.const 0x7fffffff00000001))",
            "i64.eqz",
        ],
    },
    Stored {
        storage: "f32",
        ty: "f32",
        suffix: "",
        values: ["(f32.const -1.5)", "(f32.const 3.25)"],
        is: [
            "(f32.eq (f32.const -1.5))",
            "(f32.eq (f32.const 3.25))",
            "(f32.eq (f32.const 0))",
        ],
    },
    Stored {
        storage: "f64",
        ty: "f64",
        suffix: "",
        values: ["(f64.const -1.5)", "(f64.const 3.25)"],
        is: [
            "(f64.eq (f64.const -1.5))",
            "(f64.eq (f64.const 3.25))",
            "(f64.eq (f64.const 0))",
        ],
    },
    Stored {
        storage: "v128",
        ty: "v128",
        suffix: "",
        values: [
            "(v128.const i64x2 0x1122334455667788 0x99aabbccddeeff01)",
            "(v128.const i32x4 1 2 3 4)",
        ],
        is: [
            "(i64x2.all_true (i64x2.eq (v128.const i64x2 0x1122334455667788 0x99aabbccddeeff01)))",
            "(i64x2.all_true (i64x2.eq (v128.const i32x4 1 2 3 4)))",
            "(i32.eqz (v128.any_true))",
        ],
    },
    Stored {
        storage: "anyref",
        ty: "anyref",
        suffix: "",
        values: [
            "(ref.i31 (i32.const -5))",
            "(struct.new $pair (ref.i31 (i32.const 6)) (ref.null any))",
        ],
        is: [
            "(ref.cast (ref i31)) i31.get_s (i32.eq (i32.const -5))",
            "(ref.cast (ref $pair)) (struct.get $pair 0) (ref.cast (ref i31)) i31.get_u (i32.eq (i32.const 6))",
            "ref.is_null",
        ],
    },
    Stored {
        storage: "funcref",
        ty: "funcref",
        suffix: "",
        values: ["(ref.func $one)", "(ref.func $two)"],
        is: [
            "(ref.cast (ref $number)) (call_ref $number) (i32.eq (i32.const 1))",
            "(ref.cast (ref $number)) (call_ref $number) (i32.eq (i32.const 2))",
            "ref.is_null",
        ],
    },
];

/// What all modules that store values have besides.
const PRELUDE: &str = "
    (type $number (func (result i32)))
    (type $pair (struct (field anyref) (field anyref)))
    (func $one (type $number) (i32.const 1))
    (func $two (type $number) (i32.const 2))
    (elem declare func $one $two)";

impl Stored {
    /// The text with `ST`, `TY`, `SX`, `V0`, `V1`, `IS0`, `IS1` and `ISZ` replaced.
    fn fill(&self, text: &str) -> String {
        text.replace("ISZ", self.is[2])
            .replace("IS0", self.is[0])
            .replace("IS1", self.is[1])
            .replace("ST", self.storage)
            .replace("TY", self.ty)
            .replace("SX", self.suffix)
            .replace("V0", self.values[0])
            .replace("V1", self.values[1])
    }
}

/// A guest that stores each kind of value.
fn for_each_storage(new: New<'_>, text: &str, test: impl Fn(&mut Guest)) {
    for stored in STORED {
        let text = format!("(module {PRELUDE} {})", stored.fill(text));
        test(&mut Guest::new(new, &text));
    }
}

/// Fields of each storage type between others, made, read and written.
pub(crate) fn fields_hold_all_types(new: New<'_>) {
    const TEXT: &str = r#"
        (type $s (struct (field i8) (field (mut ST)) (field i16) (field (mut ST)) (field (mut i64))))
        ;; A bit for each thing that is right.
        (func (export "made") (result i32) (local $s (ref null $s))
            (local.set $s NEW)
            (i32.eq (struct.get_u $s 0 (local.get $s)) (i32.const 0x11))
            (struct.get SX $s 1 (local.get $s)) IS0
            i32.add
            (i32.add (i32.eq (struct.get_u $s 2 (local.get $s)) (i32.const 0x2222)))
            (struct.get SX $s 3 (local.get $s)) IS1
            i32.add
            (i32.add (i64.eq (struct.get $s 4 (local.get $s)) (i64.const 0x3333))))
        (func (export "set") (result i32) (local $s (ref null $s))
            (local.set $s NEW)
            (struct.set $s 3 (local.get $s) V0)
            (struct.set $s 1 (local.get $s) V1)
            (i32.eq (struct.get_s $s 0 (local.get $s)) (i32.const 0x11))
            (struct.get SX $s 1 (local.get $s)) IS1
            i32.add
            (i32.add (i32.eq (struct.get_s $s 2 (local.get $s)) (i32.const 0x2222)))
            (struct.get SX $s 3 (local.get $s)) IS0
            i32.add
            (i32.add (i64.eq (struct.get $s 4 (local.get $s)) (i64.const 0x3333))))
        ;; What is stored comes from a local, from the stack, and as the result of an instruction.
        (func (export "moved") (result i32) (local $s (ref null $s)) (local $v TY)
            (local.set $s NEW)
            (local.set $v (struct.get SX $s 1 (local.get $s)))
            (struct.set $s 1 (local.get $s) (struct.get SX $s 3 (local.get $s)))
            (struct.set $s 3 (local.get $s) (local.get $v))
            (struct.get SX $s 3 (local.get $s)) IS0
            (struct.get SX $s 1 (local.get $s)) IS1
            i32.add)
        (func (export "default") (result i32) (local $s (ref null $s))
            (local.set $s (struct.new_default $s))
            (i32.eqz (struct.get_u $s 0 (local.get $s)))
            (struct.get SX $s 1 (local.get $s)) ISZ
            i32.add
            (i32.add (i32.eqz (struct.get_u $s 2 (local.get $s))))
            (struct.get SX $s 3 (local.get $s)) ISZ
            i32.add
            (i32.add (i64.eqz (struct.get $s 4 (local.get $s)))))
        (func (export "null") (result i32)
            (struct.get SX $s 1 (ref.null $s)) IS0)
        (func (export "null_set")
            (struct.set $s 1 (ref.null $s) V0))
    "#;
    const NEW: &str =
        "(struct.new $s (i32.const 0x11) V0 (i32.const 0x2222) V1 (i64.const 0x3333))";
    let text = TEXT
        .replace("struct.get SX", "struct.getSX")
        .replace("NEW", NEW);
    for_each_storage(new, &text, |guest| {
        guest.expect("made", &[], &[i(5)]);
        guest.expect("set", &[], &[i(5)]);
        guest.expect("moved", &[], &[i(2)]);
        guest.expect("default", &[], &[i(5)]);
        guest.traps("null", &[], TrapCode::NullStructReference);
        guest.traps("null_set", &[], TrapCode::NullStructReference);
    });
}

/// Elements of each storage type, made in each way, read and written.
pub(crate) fn elements_hold_all_types(new: New<'_>) {
    const TEXT: &str = r#"
        (type $a (array (mut ST)))
        (func (export "fixed") (result i32) (local $a (ref null $a))
            (local.set $a (array.new_fixed $a 3 V0 V1 V0))
            (array.get SX $a (local.get $a) (i32.const 0)) IS0
            (array.get SX $a (local.get $a) (i32.const 1)) IS1
            i32.add
            (array.get SX $a (local.get $a) (i32.const 2)) IS0
            i32.add
            (i32.add (i32.eq (array.len (local.get $a)) (i32.const 3))))
        (func (export "empty") (result i32)
            (array.len (array.new_fixed $a 0)))
        ;; How many of the elements are right.
        (func (export "filled") (param $n i32) (result i32)
            (local $a (ref null $a)) (local $i i32) (local $right i32)
            (local.set $a (array.new $a V1 (local.get $n)))
            (block $done
                (loop $next
                    (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $a))))
                    (array.get SX $a (local.get $a) (local.get $i)) IS1
                    (local.set $right (i32.add (local.get $right)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next)))
            (local.get $right))
        (func (export "default") (param $n i32) (result i32)
            (local $a (ref null $a)) (local $i i32) (local $right i32)
            (local.set $a (array.new_default $a (local.get $n)))
            (loop $next
                (array.get SX $a (local.get $a) (local.get $i)) ISZ
                (local.set $right (i32.add (local.get $right)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
            (local.get $right))
        ;; Writes every second element, from a local whose loop has it in a register.
        (func (export "set") (param $n i32) (result i32)
            (local $a (ref null $a)) (local $i i32) (local $v TY) (local $right i32)
            (local.set $a (array.new $a V0 (local.get $n)))
            (local.set $v V1)
            (loop $next
                (array.set $a (local.get $a) (local.get $i) (local.get $v))
                (local.set $i (i32.add (local.get $i) (i32.const 2)))
                (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
            (local.set $i (i32.const 0))
            (loop $next
                (if (i32.and (local.get $i) (i32.const 1))
                    (then
                        (array.get SX $a (local.get $a) (local.get $i)) IS0
                        (local.set $right (i32.add (local.get $right))))
                    (else
                        (array.get SX $a (local.get $a) (local.get $i)) IS1
                        (local.set $right (i32.add (local.get $right)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
            ;; And one with a constant, at a constant place.
            (array.set $a (local.get $a) (i32.const 1) V1)
            (array.get SX $a (local.get $a) (i32.const 1)) IS1
            (i32.add (local.get $right)))
        (func (export "fill") (result i32) (local $a (ref null $a))
            (local.set $a (array.new_default $a (i32.const 6)))
            (array.fill $a (local.get $a) (i32.const 1) V0 (i32.const 3))
            (array.fill $a (local.get $a) (i32.const 6) V1 (i32.const 0))
            (array.get SX $a (local.get $a) (i32.const 0)) ISZ
            (array.get SX $a (local.get $a) (i32.const 1)) IS0
            i32.add
            (array.get SX $a (local.get $a) (i32.const 3)) IS0
            i32.add
            (array.get SX $a (local.get $a) (i32.const 4)) ISZ
            i32.add)
        (func (export "copy") (result i32) (local $a (ref null $a))
            (local.set $a (array.new_fixed $a 4 V0 V1 V1 V1))
            (array.copy $a $a (local.get $a) (i32.const 1) (local.get $a) (i32.const 0) (i32.const 2))
            (array.get SX $a (local.get $a) (i32.const 0)) IS0
            (array.get SX $a (local.get $a) (i32.const 1)) IS0
            i32.add
            (array.get SX $a (local.get $a) (i32.const 2)) IS1
            i32.add
            (array.get SX $a (local.get $a) (i32.const 3)) IS1
            i32.add)
        (func (export "get") (param i32) (result i32)
            (array.get SX $a (array.new $a V0 (i32.const 5)) (local.get 0)) IS0)
        (func (export "put") (param i32)
            (array.set $a (array.new $a V0 (i32.const 5)) (local.get 0) V1))
        (func (export "fill_at") (param i32 i32)
            (array.fill $a (array.new $a V0 (i32.const 5)) (local.get 0) V1 (local.get 1)))
        (func (export "copy_at") (param i32 i32 i32)
            (array.copy $a $a (array.new $a V0 (i32.const 5)) (local.get 0)
                (array.new $a V0 (i32.const 3)) (local.get 1) (local.get 2)))
        (func (export "null_get") (result i32)
            (array.get SX $a (ref.null $a) (i32.const 0)) IS0)
        (func (export "null_set") (array.set $a (ref.null $a) (i32.const 0) V0))
        (func (export "null_len") (result i32) (array.len (ref.null array)))
        (func (export "null_fill") (array.fill $a (ref.null $a) (i32.const 0) V0 (i32.const 0)))
        (func (export "null_copy")
            (array.copy $a $a (ref.null $a) (i32.const 0) (ref.null $a) (i32.const 0) (i32.const 0)))
    "#;
    let text = TEXT.replace("array.get SX", "array.getSX");
    for_each_storage(new, &text, |guest| {
        guest.expect("fixed", &[], &[i(4)]);
        guest.expect("empty", &[], &[i(0)]);
        for n in [0, 1, 2, 100] {
            guest.expect("filled", &[i(n)], &[i(n)]);
        }
        for n in [1, 2, 100] {
            guest.expect("default", &[i(n)], &[i(n)]);
        }
        for n in [2, 3, 50] {
            guest.expect("set", &[i(n)], &[i(n + 1)]);
        }
        guest.expect("fill", &[], &[i(4)]);
        guest.expect("copy", &[], &[i(4)]);
        guest.expect("get", &[i(4)], &[i(1)]);
        guest.expect("put", &[i(4)], &[]);
        guest.expect("fill_at", &[i(5), i(0)], &[]);
        guest.expect("copy_at", &[i(2), i(0), i(3)], &[]);
        for index in [5, -1] {
            guest.traps("get", &[i(index)], TrapCode::ArrayOutOfBounds);
            guest.traps("put", &[i(index)], TrapCode::ArrayOutOfBounds);
        }
        for (start, count) in [(0, 6), (6, 0), (5, 1), (-1, 2), (1, -1)] {
            guest.traps("fill_at", &[i(start), i(count)], TrapCode::ArrayOutOfBounds);
        }
        for (to, from, count) in [(3, 0, 3), (0, 1, 3), (6, 0, 0), (0, 4, 0), (-1, -1, 2)] {
            let args = [i(to), i(from), i(count)];
            guest.traps("copy_at", &args, TrapCode::ArrayOutOfBounds);
        }
        for name in ["null_get", "null_set", "null_len", "null_fill", "null_copy"] {
            guest.traps(name, &[], TrapCode::NullArrayReference);
        }
    });
}

/// Arrays of what segments have.
pub(crate) fn segments_become_arrays(new: New<'_>) {
    let text = r#"(module
        (type $bytes (array (mut i8)))
        (type $halves (array (mut i16)))
        (type $refs (array (mut anyref)))
        (data $d "\01\02\03\04\05\06\07\08")
        (elem $e anyref (ref.i31 (i32.const 10)) (ref.i31 (i32.const 20)) (ref.null any))
        (func (export "bytes") (param i32 i32) (result i32)
            (array.get_u $bytes (array.new_data $bytes $d (local.get 0) (local.get 1)) (i32.const 1)))
        (func (export "halves") (param i32 i32) (result i32)
            (array.get_u $halves (array.new_data $halves $d (local.get 0) (local.get 1)) (i32.const 1)))
        (func (export "refs") (param i32 i32) (result i32)
            (i31.get_u (ref.cast (ref i31)
                (array.get $refs (array.new_elem $refs $e (local.get 0) (local.get 1)) (i32.const 0)))))
        (func (export "init_data") (param i32 i32 i32) (result i32) (local $a (ref null $bytes))
            (local.set $a (array.new $bytes (i32.const 9) (i32.const 6)))
            (array.init_data $bytes $d (local.get $a) (local.get 0) (local.get 1) (local.get 2))
            (array.get_u $bytes (local.get $a) (i32.const 2)))
        (func (export "init_elem") (param i32 i32 i32) (result i32) (local $a (ref null $refs))
            (local.set $a (array.new $refs (ref.i31 (i32.const 1)) (i32.const 4)))
            (array.init_elem $refs $e (local.get $a) (local.get 0) (local.get 1) (local.get 2))
            (i31.get_u (ref.cast (ref i31) (array.get $refs (local.get $a) (i32.const 2)))))
        (func (export "drop") (data.drop $d) (elem.drop $e)))"#;
    let mut guest = Guest::new(new, text);
    guest.expect("bytes", &[i(2), i(6)], &[i(4)]);
    guest.expect("halves", &[i(1), i(3)], &[i(0x0504)]);
    guest.expect("refs", &[i(1), i(2)], &[i(20)]);
    guest.expect("init_data", &[i(1), i(3), i(2)], &[i(5)]);
    guest.expect("init_data", &[i(3), i(0), i(3)], &[i(9)]);
    guest.expect("init_elem", &[i(2), i(1), i(1)], &[i(20)]);
    for (from, count) in [(3, 6), (9, 0), (-1, 1), (0, -1)] {
        guest.traps("bytes", &[i(from), i(count)], TrapCode::MemoryOutOfBounds);
    }
    guest.traps("halves", &[i(1), i(4)], TrapCode::MemoryOutOfBounds);
    guest.traps("refs", &[i(2), i(2)], TrapCode::TableOutOfBounds);
    guest.traps("init_data", &[i(5), i(0), i(2)], TrapCode::ArrayOutOfBounds);
    guest.traps(
        "init_data",
        &[i(0), i(7), i(2)],
        TrapCode::MemoryOutOfBounds,
    );
    guest.traps("init_elem", &[i(4), i(0), i(1)], TrapCode::ArrayOutOfBounds);
    guest.traps("init_elem", &[i(0), i(3), i(1)], TrapCode::TableOutOfBounds);
    guest.expect("drop", &[], &[]);
    guest.traps("bytes", &[i(0), i(1)], TrapCode::MemoryOutOfBounds);
    guest.traps("refs", &[i(0), i(1)], TrapCode::TableOutOfBounds);
    guest.traps(
        "init_data",
        &[i(0), i(0), i(1)],
        TrapCode::MemoryOutOfBounds,
    );
    guest.expect("init_elem", &[i(0), i(0), i(0)], &[i(1)]);
}
