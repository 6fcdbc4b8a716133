//! Garbage-collected objects: all storage types, all instructions on structures, arrays and `i31`, casts, traps, and that
//! what is referred to lives.
//!
//! *Invariant:* guests take and return numbers only, so that nothing of the host keeps their objects alive.
//! *Invariant:* what is called is called several times: other tiers take over in between, or in the middle.
//!
//! A tier's tests include this as a module. They run each test in stores that collect at each allocation, too.

#[path = "../deepen/mod.rs"]
mod deepen;

use std::cell::Cell;
use std::sync::Arc;

use tiered_decode::Module;
use tiered_runtime::{Instance, Linker, Store, Trap, TrapCode, Val};

/// What makes a store of the tier that is tested.
pub(crate) type New<'a> = &'a dyn Fn() -> Store<i32>;

thread_local! {
    /// How many operands of each function instructions can name; `None` for modules as they are.
    static NEAR: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Runs a test with functions that have enough operands below their own that only `near` slots of these can be named.
pub(crate) fn far_up(near: &[u32], test: impl Fn()) {
    for &near in near {
        NEAR.set(Some(near));
        test();
    }
    NEAR.set(None);
}

/// How often everything is called.
const ROUNDS: usize = 3;

struct Guest {
    store: Store<i32>,
    instance: Instance,
}

impl Guest {
    fn new(new: New<'_>, text: &str) -> Guest {
        let module = Module::new(text.as_bytes().to_vec());
        let module = module.unwrap_or_else(|err| panic!("{err}\n{text}"));
        let module = Arc::new(match NEAR.get() {
            Some(near) => deepen::deepen(&module, near),
            None => module,
        });
        let mut store = new();
        let instance = Linker::new().instantiate(&mut store, &module);
        let instance = instance.unwrap_or_else(|err| panic!("{err}\n{text}"));
        Guest { store, instance }
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Trap> {
        let func = self.instance.func(&self.store, name);
        let func = func.unwrap_or_else(|| panic!("{name} is exported"));
        func.call(&mut self.store, args)
    }

    /// Calls an export several times, always with the same end.
    fn expect(&mut self, name: &str, args: &[Val], expected: &[Val]) {
        for round in 0..ROUNDS {
            match self.call(name, args) {
                Ok(found) => assert_eq!(found, expected, "{name} of {args:?}, call {round}"),
                Err(trap) => panic!("{name} of {args:?}, call {round}: {trap:?}"),
            }
        }
    }

    /// As [`Guest::expect`], of what traps.
    fn traps(&mut self, name: &str, args: &[Val], code: TrapCode) {
        for round in 0..ROUNDS {
            let trap = self.call(name, args).err();
            let found = trap.and_then(|trap| trap.code());
            assert_eq!(found, Some(code), "{name} of {args:?}, call {round}");
        }
    }
}

fn i(n: i32) -> Val {
    Val::I32(n)
}

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

/// Numbers of 31 bits, constant or not.
pub(crate) fn numbers_are_references(new: New<'_>) {
    let text = r#"(module
        (type $box (struct (field (mut i31ref))))
        (func (export "signed") (param i32) (result i32) (i31.get_s (ref.i31 (local.get 0))))
        (func (export "unsigned") (param i32) (result i32) (i31.get_u (ref.i31 (local.get 0))))
        (func (export "constant") (result i32)
            (local $b (ref null $box))
            (local.set $b (struct.new $box (ref.i31 (i32.const -2))))
            (i32.mul (i31.get_s (struct.get $box 0 (local.get $b))) (i31.get_s (ref.i31 (i32.const 0x7fffffff))))
            (struct.set $box 0 (local.get $b) (ref.i31 (i32.const 0x40000000)))
            (i32.add (i31.get_u (struct.get $box 0 (local.get $b)))))
        (func (export "equal") (param i32 i32) (result i32)
            (ref.eq (ref.i31 (local.get 0)) (ref.i31 (local.get 1))))
        (func (export "is_null") (param i32) (result i32) (ref.is_null (ref.i31 (local.get 0))))
        (func (export "null_s") (result i32) (i31.get_s (ref.null i31)))
        (func (export "null_u") (result i32) (i31.get_u (ref.null i31))))"#;
    let mut guest = Guest::new(new, text);
    for (number, signed, unsigned) in [
        (0, 0, 0),
        (-1, -1, 0x7fff_ffff),
        (0x4000_0000, -0x4000_0000, 0x4000_0000),
        (0x3fff_ffff, 0x3fff_ffff, 0x3fff_ffff),
        (i32::MIN, 0, 0),
    ] {
        guest.expect("signed", &[i(number)], &[i(signed)]);
        guest.expect("unsigned", &[i(number)], &[i(unsigned)]);
        guest.expect("is_null", &[i(number)], &[i(0)]);
        guest.expect("equal", &[i(number), i(number)], &[i(1)]);
        guest.expect("equal", &[i(number), i(number ^ i32::MIN)], &[i(1)]);
        guest.expect("equal", &[i(number), i(number ^ 1)], &[i(0)]);
    }
    guest.expect("constant", &[], &[i(0x4000_0002)]);
    guest.traps("null_s", &[], TrapCode::NullI31Reference);
    guest.traps("null_u", &[], TrapCode::NullI31Reference);
}

/// Types in a chain this long: some are deeper than displays that all types have.
const CHAIN: usize = 12;

/// What can be cast: for each an instruction that makes it.
fn values() -> Vec<String> {
    let mut values: Vec<String> = (0..CHAIN)
        .map(|n| format!("(struct.new_default $c{n})"))
        .collect();
    values.extend(
        [
            "(ref.null none)",
            "(ref.i31 (i32.const 7))",
            "(array.new_default $a (i32.const 1))",
            "(array.new_default $f (i32.const 1))",
            "(struct.new_default $other)",
            "(any.convert_extern (extern.convert_any (ref.i31 (i32.const 3))))",
            "(any.convert_extern (extern.convert_any (struct.new_default $c3)))",
        ]
        .map(str::to_owned),
    );
    values
}

/// What is cast to: for each target whether each of the values is of the type, null left out.
fn targets() -> Vec<(String, Vec<bool>)> {
    let count = values().len();
    let set = |members: &[usize]| (0..count).map(|n| members.contains(&n)).collect::<Vec<_>>();
    let (i31, array, final_array, other, again, third) = (
        CHAIN + 1,
        CHAIN + 2,
        CHAIN + 3,
        CHAIN + 4,
        CHAIN + 5,
        CHAIN + 6,
    );
    let structs: Vec<usize> = (0..CHAIN).chain([other, third]).collect();
    let objects: Vec<usize> = structs
        .iter()
        .copied()
        .chain([array, final_array])
        .collect();
    let all: Vec<usize> = objects.iter().copied().chain([i31, again]).collect();
    let mut targets = vec![
        ("any".to_owned(), set(&all)),
        ("eq".to_owned(), set(&all)),
        ("i31".to_owned(), set(&[i31, again])),
        ("struct".to_owned(), set(&structs)),
        ("array".to_owned(), set(&[array, final_array])),
        ("none".to_owned(), set(&[])),
        ("$a".to_owned(), set(&[array])),
        ("$f".to_owned(), set(&[final_array])),
        ("$other".to_owned(), set(&[other])),
    ];
    for n in 0..CHAIN {
        let mut members: Vec<usize> = (n..CHAIN).collect();
        if n <= 3 {
            members.push(third);
        }
        targets.push((format!("$c{n}"), set(&members)));
    }
    targets
}

/// All casts of all values to all types, as tests, casts and branches, taken forward and back.
pub(crate) fn casts_tell_types_apart(new: New<'_>) {
    let mut types = String::from("(type $c0 (sub (struct (field i32))))\n");
    for n in 1..CHAIN {
        types += &format!("(type $c{n} (sub $c{} (struct (field i32))))\n", n - 1);
    }
    types += "(type $a (sub (array (mut i32)))) (type $f (array i8)) (type $other (struct (field i64)))\n";
    let values = values();
    let cases = values.iter().rev().fold(String::from("unreachable"), |rest, value| {
        format!("local.get $n i32.eqz if {value} return end local.get $n i32.const 1 i32.sub local.set $n {rest}")
    });
    let make = format!("(func $make (param $n i32) (result anyref) {cases})");
    for (target, members) in targets() {
        for null in [false, true] {
            let ty = if null {
                format!("(ref null {target})")
            } else {
                format!("(ref {target})")
            };
            let text = format!(
                r#"(module {types} {make}
                (func (export "test") (param i32) (result i32) (ref.test {ty} (call $make (local.get 0))))
                (func (export "not") (param i32) (result i32)
                    (i32.eqz (ref.test {ty} (call $make (local.get 0)))))
                (func (export "if") (param i32) (result i32) (local $r anyref)
                    (local.set $r (call $make (local.get 0)))
                    (if (result i32) (ref.test {ty} (local.get $r))
                        (then (i32.const 10)) (else (i32.const 20))))
                (func (export "select") (param i32) (result i32)
                    (select (i32.const 10) (i32.const 20) (ref.test {ty} (call $make (local.get 0)))))
                (func (export "cast") (param i32) (result i32)
                    (ref.is_null (ref.cast {ty} (call $make (local.get 0)))))
                (func (export "branch") (param i32) (result i32)
                    (drop (block $is (result {ty})
                        (drop (br_on_cast $is anyref {ty} (call $make (local.get 0))))
                        (return (i32.const 0))))
                    (i32.const 1))
                (func (export "fail") (param i32) (result i32) (local $r anyref)
                    (local.set $r (call $make (local.get 0)))
                    (drop (block $no (result anyref)
                        (drop (br_on_cast_fail $no anyref {ty} (local.get $r)))
                        (return (i32.const 1))))
                    (i32.const 0))
                ;; Back to the head of a loop with what comes along, until it is something else.
                (func (export "loop") (param i32) (result i32)
                    (local $r anyref) (local $count i32) (local $base i32)
                    (local.set $r (call $make (local.get 0)))
                    (i32.const 100) (local.get $r)
                    (loop $again (param i32 anyref) (result i32)
                        drop
                        local.set $base
                        (if (i32.eq (local.get $count) (i32.const 3))
                            (then (return (i32.add (local.get $base) (local.get $count)))))
                        (local.set $count (i32.add (local.get $count) (i32.const 1)))
                        (local.get $base)
                        (local.get $r)
                        (br_on_cast $again anyref {ty})
                        drop
                        (i32.add (local.get $count)))))"#
            );
            let mut guest = Guest::new(new, &text);
            for (n, value) in values.iter().enumerate() {
                let is_null = value.starts_with("(ref.null");
                let passes = if is_null { null } else { members[n] };
                let (n, one) = (i(n as i32), i(i32::from(passes)));
                guest.expect("test", &[n], &[one]);
                guest.expect("not", &[n], &[i(i32::from(!passes))]);
                let chosen = i(if passes { 10 } else { 20 });
                guest.expect("if", &[n], &[chosen]);
                guest.expect("select", &[n], &[chosen]);
                guest.expect("branch", &[n], &[one]);
                guest.expect("fail", &[n], &[one]);
                guest.expect("loop", &[n], &[i(if passes { 103 } else { 101 })]);
                match passes {
                    true => guest.expect("cast", &[n], &[i(i32::from(is_null))]),
                    false => guest.traps("cast", &[n], TrapCode::CastFailure),
                }
            }
        }
    }
}

/// Functions are cast by their types, and called through a table by them.
pub(crate) fn functions_have_supertypes(new: New<'_>) {
    let text = r#"(module
        (type $top (sub (func (result i32))))
        (type $mid (sub $top (func (result i32))))
        (type $low (sub final $mid (func (result i32))))
        (type $own (func (result i32)))
        (table $t 6 funcref)
        (elem (table $t) (i32.const 0) func $f_top $f_mid $f_low $f_own $two)
        (func $f_top (type $top) (i32.const 1))
        (func $f_mid (type $mid) (i32.const 2))
        (func $f_low (type $low) (i32.const 3))
        (func $f_own (type $own) (i32.const 4))
        (func $two (result i32 i32) (i32.const 5) (i32.const 6))
        (func (export "top") (param i32) (result i32) (call_indirect $t (type $top) (local.get 0)))
        (func (export "mid") (param i32) (result i32) (call_indirect $t (type $mid) (local.get 0)))
        (func (export "low") (param i32) (result i32) (call_indirect $t (type $low) (local.get 0)))
        (func (export "own") (param i32) (result i32) (call_indirect $t (type $own) (local.get 0)))
        (func (export "tail_top") (param i32) (result i32)
            (return_call_indirect $t (type $top) (local.get 0)))
        (func (export "tail_low") (param i32) (result i32)
            (return_call_indirect $t (type $low) (local.get 0)))
        (func (export "tests") (param i32) (result i32) (local $f funcref)
            (local.set $f (table.get $t (local.get 0)))
            (ref.test (ref func) (local.get $f))
            (i32.add (i32.mul (i32.const 2) (ref.test (ref $top) (local.get $f))))
            (i32.add (i32.mul (i32.const 4) (ref.test (ref $mid) (local.get $f))))
            (i32.add (i32.mul (i32.const 8) (ref.test (ref $low) (local.get $f))))
            (i32.add (i32.mul (i32.const 16) (ref.test (ref $own) (local.get $f))))
            (i32.add (i32.mul (i32.const 32) (ref.test (ref null nofunc) (local.get $f)))))
        (func (export "cast") (param i32) (result i32)
            (call_ref $mid (ref.cast (ref $mid) (table.get $t (local.get 0))))))"#;
    let mut guest = Guest::new(new, text);
    for (n, bits) in [
        (0, 0b11),
        (1, 0b111),
        (2, 0b1111),
        (3, 0b1_0001),
        (4, 1),
        (5, 32),
    ] {
        guest.expect("tests", &[i(n)], &[i(bits)]);
        for (bit, name) in [
            (2, "top"),
            (4, "mid"),
            (8, "low"),
            (16, "own"),
            (2, "tail_top"),
            (8, "tail_low"),
        ] {
            match (n, bits & bit) {
                (5, _) => guest.traps(name, &[i(n)], TrapCode::UninitializedElement),
                (_, 0) => guest.traps(name, &[i(n)], TrapCode::IndirectCallTypeMismatch),
                _ => guest.expect(name, &[i(n)], &[i(n + 1)]),
            }
        }
        match bits & 4 {
            0 => guest.traps("cast", &[i(n)], TrapCode::CastFailure),
            _ => guest.expect("cast", &[i(n)], &[i(n + 1)]),
        }
    }
}

/// Identity, and what a conversion to the host's side and back leaves of it.
pub(crate) fn objects_have_identity(new: New<'_>) {
    let text = r#"(module
        (type $s (struct (field i32)))
        (func (export "same") (result i32) (local $a (ref null $s)) (local $b (ref null $s))
            (local.set $a (struct.new $s (i32.const 1)))
            (local.set $b (struct.new $s (i32.const 1)))
            (i32.add
                (ref.eq (local.get $a) (local.get $a))
                (i32.mul (i32.const 10) (ref.eq (local.get $a) (local.get $b)))))
        (func (export "branch") (result i32) (local $a (ref null $s))
            (local.set $a (struct.new $s (i32.const 1)))
            (if (result i32) (ref.eq (local.get $a) (ref.null none))
                (then (i32.const 1)) (else (i32.const 2))))
        (func (export "there_and_back") (result i32) (local $e externref) (local $a (ref null $s))
            (local.set $a (struct.new $s (i32.const 5)))
            (local.set $e (extern.convert_any (local.get $a)))
            (local.set $a (struct.new $s (i32.const 6)))
            (struct.get $s 0 (ref.cast (ref $s) (any.convert_extern (local.get $e)))))
        (func (export "tests") (result i32) (local $e externref)
            (local.set $e (extern.convert_any (ref.i31 (i32.const 5))))
            (i32.add (ref.test (ref extern) (local.get $e))
                (i32.mul (i32.const 10) (ref.test (ref null noextern) (local.get $e)))))
        (func (export "selected") (param i32) (result i32)
            (ref.test (ref struct) (select (result anyref)
                (struct.new $s (i32.const 1)) (ref.i31 (i32.const 2)) (local.get 0)))))"#;
    let mut guest = Guest::new(new, text);
    guest.expect("same", &[], &[i(1)]);
    guest.expect("branch", &[], &[i(2)]);
    guest.expect("there_and_back", &[], &[i(5)]);
    guest.expect("tests", &[], &[i(1)]);
    guest.expect("selected", &[i(1)], &[i(1)]);
    guest.expect("selected", &[i(0)], &[i(0)]);
}

/// Objects that only locals, operands, blocks' parameters or other objects refer to live while others are made.
pub(crate) fn what_is_referred_to_lives(new: New<'_>) {
    let text = r#"(module
        (type $list (struct (field i32) (field (mut (ref null $list)))))
        (type $tree (struct (field (ref null $tree)) (field (ref null $tree))))
        (type $lists (array (mut (ref null $list))))
        (global $g (mut (ref null $list)) (ref.null $list))
        (func $tree (param $depth i32) (result (ref null $tree))
            (if (i32.eqz (local.get $depth)) (then (return (struct.new_default $tree))))
            (struct.new $tree
                (call $tree (i32.sub (local.get $depth) (i32.const 1)))
                (call $tree (i32.sub (local.get $depth) (i32.const 1)))))
        (func $count (param $tree (ref null $tree)) (result i32)
            (if (ref.is_null (local.get $tree)) (then (return (i32.const 0))))
            (i32.add (i32.const 1)
                (i32.add
                    (call $count (struct.get $tree 0 (local.get $tree)))
                    (call $count (struct.get $tree 1 (local.get $tree))))))
        (func (export "tree") (param i32) (result i32) (call $count (call $tree (local.get 0))))
        (func $sum (param $list (ref null $list)) (result i32) (local $sum i32)
            (block $done
                (loop $next
                    (br_on_null $done (local.get $list))
                    (local.set $sum (i32.add (struct.get $list 0) (local.get $sum)))
                    (local.set $list (struct.get $list 1 (local.get $list)))
                    (br $next)))
            (local.get $sum))
        ;; In a loop without calls, whose locals may be in registers.
        (func (export "list") (param $n i32) (result i32) (local $list (ref null $list))
            (loop $next
                (local.set $list (struct.new $list (local.get $n) (local.get $list)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (call $sum (local.get $list)))
        ;; As a parameter of the loop.
        (func (export "along") (param $n i32) (result i32)
            (ref.null $list)
            (loop $next (param (ref null $list)) (result (ref null $list))
                (struct.set $list 1 (struct.new $list (i32.const -1) (ref.null $list)) (ref.null $list))
                (global.set $g)
                (struct.new $list (local.get $n) (global.get $g))
                (global.set $g (ref.null $list))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (call $sum))
        ;; As operands below others.
        (func (export "operands") (result i32) (local $sum i32)
            (struct.get $list 0 (struct.new $list (i32.const 1) (ref.null $list)))
            (struct.new $list (i32.const 2) (ref.null $list))
            (struct.new $list (i32.const 4) (ref.null $list))
            (struct.new $list (i32.const 8) (ref.null $list))
            (drop (array.new_default $lists (i32.const 3)))
            (global.set $g (struct.new $list (i32.const 32) (ref.null $list)))
            (local.set $sum (struct.get $list 0))
            (local.set $sum (i32.add (struct.get $list 0) (local.get $sum)))
            (local.set $sum (i32.add (struct.get $list 0) (local.get $sum)))
            (i32.add (local.get $sum))
            (i32.add (struct.get $list 0 (struct.new $list (i32.const 16) (ref.null $list))))
            (i32.add (struct.get $list 0 (global.get $g))))
        (func (export "elements") (param $n i32) (result i32)
            (local $a (ref null $lists)) (local $i i32) (local $sum i32)
            (local.set $a (array.new_default $lists (local.get $n)))
            (loop $next
                (array.set $lists (local.get $a) (local.get $i)
                    (struct.new $list (local.get $i)
                        (array.get $lists (local.get $a) (i32.div_u (local.get $i) (i32.const 2)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
            (loop $next
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (local.set $sum (i32.add (local.get $sum)
                    (struct.get $list 0 (array.get $lists (local.get $a) (local.get $i)))))
                (br_if $next (local.get $i)))
            (local.get $sum)))"#;
    let mut guest = Guest::new(new, text);
    guest.expect("tree", &[i(5)], &[i(63)]);
    guest.expect("list", &[i(60)], &[i(1830)]);
    guest.expect("along", &[i(60)], &[i(1830)]);
    guest.expect("operands", &[], &[i(63)]);
    guest.expect("elements", &[i(40)], &[i(780)]);
}

/// More operands than instructions can name: all of a large object.
pub(crate) fn objects_may_have_many_operands(new: New<'_>) {
    const FIELDS: usize = 3000;
    let fields = |ty: &str| format!("(field {ty}) ").repeat(FIELDS);
    let numbers: String = (0..FIELDS).map(|n| format!("(i32.const {n}) ")).collect();
    let vectors = "(v128.const i64x2 7 9) ".repeat(FIELDS);
    let last = FIELDS - 1;
    let text = format!(
        r#"(module
        (type $words (struct {words}))
        (type $wide (struct {wide}))
        (type $a (array i32))
        (type $v (array v128))
        (func (export "words") (result i32) (local $s (ref null $words))
            (local.set $s (struct.new $words {numbers}))
            (i32.add (struct.get $words {last} (local.get $s)) (struct.get $words 1000 (local.get $s))))
        (func (export "wide") (result i32)
            (i32x4.extract_lane 2 (struct.get $wide {last} (struct.new $wide {vectors}))))
        (func (export "zeros") (result i32) (local $s (ref null $wide))
            (local.set $s (struct.new_default $wide))
            (v128.any_true (v128.or (struct.get $wide {last} (local.get $s)) (struct.get $wide 0 (local.get $s)))))
        (func (export "fixed") (result i32) (local $a (ref null $a))
            (local.set $a (array.new_fixed $a {FIELDS} {numbers}))
            (i32.add (array.get $a (local.get $a) (i32.const {last})) (array.len (local.get $a))))
        (func (export "vectors") (result i32)
            (i32x4.extract_lane 0 (array.get $v (array.new_fixed $v {FIELDS} {vectors}) (i32.const {last})))))"#,
        words = fields("i32"),
        wide = fields("v128"),
    );
    let mut guest = Guest::new(new, &text);
    guest.expect("words", &[], &[i(last as i32 + 1000)]);
    guest.expect("wide", &[], &[i(9)]);
    guest.expect("zeros", &[], &[i(0)]);
    guest.expect("fixed", &[], &[i((last + FIELDS) as i32)]);
    guest.expect("vectors", &[], &[i(7)]);
}

/// A heap that is full of what lives, and objects that are larger than it may be, are traps; what is freed makes room,
/// which the host has looked for once a program has ended so.
///
/// The stores' heaps may take `bytes`. A stale word on a stack may keep an object, but nothing that it does not lead to: so
/// the list grows at its end.
pub(crate) fn a_full_heap_is_a_trap(new: New<'_>, bytes: u64) {
    let text = r#"(module
        (type $list (struct (field (mut (ref null $list))) (field i64) (field i64) (field i64) (field i64)))
        (type $bytes (array i8))
        (global $first (mut (ref null $list)) (ref.null $list))
        (func (export "keep") (local $last (ref null $list))
            (global.set $first (struct.new_default $list))
            (local.set $last (global.get $first))
            (loop $next
                (struct.set $list 0 (local.get $last)
                    (struct.new $list (ref.null $list)
                        (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))
                (local.set $last (struct.get $list 0 (local.get $last)))
                (br $next)))
        (func (export "forget") (global.set $first (ref.null $list)))
        (func (export "drop") (param $n i32) (result i32)
            (loop $next
                (drop (struct.new_default $list))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
            (i32.const 1))
        (func (export "bytes") (param i32) (result i32)
            (array.len (array.new_default $bytes (local.get 0)))))"#;
    let mut guest = Guest::new(new, text);
    let many = i((bytes / 48 + 1000) as i32);
    guest.expect("drop", &[many], &[i(1)]);
    guest.traps("keep", &[], TrapCode::HeapExhausted);
    guest.expect("forget", &[], &[]);
    guest.store.collect_garbage();
    guest.expect("drop", &[many], &[i(1)]);
    guest.traps("bytes", &[i(-1)], TrapCode::ObjectTooLarge);
    guest.expect("bytes", &[i(100_000)], &[i(100_000)]);
}
