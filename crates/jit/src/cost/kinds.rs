//! The kinds of bodies that grow in one number each, with locals: what a compiler may take more for than in proportion.
//! For the tests of [`cost`](super) and for the example of this name.

use std::fmt::Write;

/// What is repeated or nested that often.
pub(crate) const KINDS: [&str; 36] = [
    "loops",
    "nest",
    "nest of ifs",
    "nest around",
    "ifs",
    "ifs both",
    "ifelse",
    "small loops",
    "br_table",
    "switch",
    "switch loop",
    "straight",
    "operands",
    "br_ifs",
    "br_ifs back",
    "one label",
    "small tables",
    "calls",
    "results",
    "call chain",
    "indirect calls",
    "tail calls",
    "values",
    "objects",
    "casts",
    "br_on_casts",
    "arrays",
    "handlers",
    "nested handlers",
    "catches",
    "divisions",
    "memory64",
    "bulk",
    "vectors",
    "types",
    "vector types",
];

/// The pieces that bodies are made of.
struct Pieces {
    count: usize,
    locals: usize,
    /// Sets each local.
    touch: String,
    /// Leaves all locals on the stack.
    args: String,
    /// Sets all locals from the stack.
    keep: String,
    /// The results of that many values.
    values: String,
}

impl Pieces {
    fn new(count: usize, locals: usize) -> Pieces {
        let mut pieces = Pieces {
            count,
            locals,
            touch: String::new(),
            args: String::new(),
            keep: String::new(),
            values: "i32 ".repeat(locals),
        };
        for local in 1..=locals {
            let _ = write!(
                pieces.touch,
                "(local.set {local} (i32.add (local.get {local}) (local.get 0)))"
            );
            let _ = write!(pieces.args, "(local.get {local})");
            let _ = write!(pieces.keep, "(local.set {local})");
        }
        pieces
    }

    fn local(&self, at: usize) -> usize {
        1 + at % self.locals
    }

    fn numbers(&self) -> String {
        (0..self.count).map(|at| format!("{at} ")).collect()
    }

    fn repeat(&self, each: impl Fn(usize) -> String) -> String {
        (0..self.count).map(each).collect()
    }

    fn nested(&self, open: &str, inner: &str, close: &str) -> String {
        let (open, close) = (open.repeat(self.count), close.repeat(self.count));
        format!("{open}{inner}{close}")
    }

    /// Loops, conditions and blocks.
    fn control(&self, kind: &str) -> Option<String> {
        let Pieces { count, touch, .. } = self;
        let count = *count;
        let both = format!("(if (local.get 0) (then {touch}) (else {touch}))");
        Some(match kind {
            "loops" => format!("(loop {touch} (br_if 0 (local.get 0)))").repeat(count),
            "nest" => self.nested("(loop ", touch, "(br_if 0 (local.get 0)))"),
            "nest of ifs" => {
                self.nested("(loop ", touch, &format!("{both}(br_if 0 (local.get 0)))"))
            }
            "nest around" => self.nested(&format!("(loop {touch}"), "", "(br_if 0 (local.get 0)))"),
            "ifs" => self.nested("(if (local.get 0) (then ", touch, "))"),
            "ifs both" => self.nested(
                &format!("(if (local.get 0) (then {touch}) (else {touch}"),
                "",
                "))",
            ),
            "ifelse" => both.repeat(count),
            "small loops" => {
                "(loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))".repeat(count)
            }
            "br_ifs" => {
                let branch = |at: usize| {
                    let local = self.local(at);
                    format!("(br_if {at} (local.tee {local} (i32.load (local.get 0))))")
                };
                let (blocks, ends) = ("(block ".repeat(count), ")".repeat(count));
                format!("{blocks}{}{ends}", self.repeat(branch))
            }
            "br_ifs back" => {
                format!("(loop {touch} {})", "(br_if 0 (local.get 0))".repeat(count))
            }
            "one label" => {
                let branch = |at| {
                    let local = self.local(at);
                    format!("(local.set {local} (i32.load (local.get 0))) (br_if 0 (local.get 0))")
                };
                format!("(block {})", self.repeat(branch))
            }
            _ => return None,
        })
    }

    /// Jump tables.
    fn tables(&self, kind: &str) -> Option<String> {
        let (count, blocks) = (self.count, "(block ".repeat(self.count));
        Some(match kind {
            "br_table" => format!(
                "(block (block (br_table {} (local.get 0))))",
                "0 1 ".repeat(count / 2 + 1)
            ),
            "switch" => {
                let arm = |at| format!("(local.set {} (local.get 0)))", self.local(at));
                let (numbers, arms) = (self.numbers(), self.repeat(arm));
                format!("{blocks}(br_table {numbers} (local.get 0)){arms}")
            }
            "switch loop" => {
                let arm = |at: usize| {
                    let (local, out) = (self.local(at), count - 1 - at);
                    format!(
                        ") (local.set {local} (i32.add (local.get 0) (local.get {local}))) (br {out})"
                    )
                };
                let (numbers, arms) = (self.numbers(), self.repeat(arm));
                format!("(loop {blocks}(br_table {numbers} (local.get 0)){arms} (br 0))")
            }
            "small tables" => self.repeat(|at| {
                let set =
                    |at: usize| format!("(local.set {} (i32.load (local.get 0)))", self.local(at));
                let [one, two] = [set(2 * at), set(2 * at + 1)];
                format!("(block (block (br_table 0 1 0 1 1 (local.get 0))) {one}) {two}")
            }),
            _ => return None,
        })
    }

    /// Code without branches, and what calls and blocks give and take.
    fn values(&self, kind: &str) -> Option<String> {
        let Pieces {
            count,
            touch,
            args,
            keep,
            values,
            ..
        } = self;
        let count = *count;
        Some(match kind {
            "straight" => touch.repeat(count),
            "operands" => {
                let pushed = "(local.get 0) (i32.load8_u (local.get 0))".repeat(count);
                format!("{pushed}{}(local.set 0)", "(i32.xor)".repeat(2 * count - 1))
            }
            "calls" => format!("(call 1 {args})").repeat(count),
            "results" => format!("(call 2) {keep}").repeat(count),
            "call chain" => format!("(call 2) {} {keep}", "(call 3)".repeat(count)),
            "values" => {
                let block =
                    format!("(block (param {values}) (result {values}) (br_if 0 (local.get 0)))");
                format!("{args} {} {keep}", block.repeat(count))
            }
            "indirect calls" => {
                format!("(call_indirect (param {values}) {args} (local.get 0))").repeat(count)
            }
            "tail calls" => {
                format!("(if (local.get 0) (then (return_call 4 {args})))").repeat(count)
            }
            _ => return None,
        })
    }

    /// What throws and catches.
    fn exceptions(&self, kind: &str) -> Option<String> {
        let Pieces {
            count, touch, args, ..
        } = self;
        let open = format!("(block (try_table (catch_all 0) {touch} (call 1 {args})");
        Some(match kind {
            "handlers" => format!("{open}))").repeat(*count),
            "nested handlers" => self.nested(&open, "", "))"),
            "catches" => {
                let clauses = "(catch 0 0)".repeat(self.locals);
                format!(
                    "(drop (block (result i32) (try_table {clauses} (call 1 {args})) (i32.const 0)))"
                )
                .repeat(*count)
            }
            _ => return None,
        })
    }

    /// Accesses of memory, and what may trap.
    fn accesses(&self, kind: &str) -> Option<String> {
        Some(match kind {
            "divisions" => self.repeat(|at| {
                let local = self.local(at);
                format!("(local.set {local} (i32.div_s (local.get {local}) (local.get 0)))")
            }),
            "memory64" => self.repeat(|at| {
                let local = self.local(at);
                format!(
                    "(local.set {local} (i32.load 1 offset=0x1_0000_0000 (i64.extend_i32_u (local.get {local}))))"
                )
            }),
            "bulk" => self.repeat(|at| {
                let [to, from] = [at, at + 1].map(|at| self.local(at));
                format!(
                    "(memory.copy (local.get {to}) (local.get {from}) (i32.const 16)) (memory.fill (local.get {from}) (local.get {to}) (i32.const 9))"
                )
            }),
            _ => return None,
        })
    }

    /// What makes structures, and what looks at them.
    fn objects(&self, kind: &str) -> Option<String> {
        let Pieces { count, args, .. } = self;
        Some(match kind {
            "objects" => {
                format!("(global.set 0 (struct.new 0 (global.get 0) {args}))").repeat(*count)
            }
            "casts" => self.repeat(|at| {
                let local = self.local(at);
                format!("(local.set {local} (struct.get 0 1 (ref.cast (ref 0) (global.get 0))))")
            }),
            "br_on_casts" => self.repeat(|at| {
                let local = self.local(at);
                format!(
                    "(drop (block (result anyref) (br_on_cast 0 anyref (ref 0) (global.get 0)) (local.set {local} (i32.load (local.get 0)))))"
                )
            }),
            "arrays" => {
                let locals = self.locals;
                format!(
                    "(global.set 0 (array.new_fixed 1 {locals} {args})) (array.set 1 (ref.cast (ref 1) (global.get 0)) (local.get 0) (local.get 1))"
                )
                .repeat(*count)
            }
            _ => return None,
        })
    }
}

/// Types of structures and arrays, and a place for one.
fn heap_types(values: &str) -> String {
    format!(
        "(type (sub (struct (field anyref) (field {values})))) (type (array (mut i32)))
            (global (mut anyref) (ref.null any))"
    )
}

/// What the module of a kind has behind its functions 0 to 3.
fn others(kind: &str, values: &str) -> String {
    match kind {
        "tail calls" => format!("(func (param {values}) (result i32) (i32.const 0))"),
        "indirect calls" => "(table 1 funcref)".to_owned(),
        "catches" => "(tag (param i32))".to_owned(),
        "memory64" => "(memory i64 1)".to_owned(),
        _ => String::new(),
    }
}

/// A module whose function 0 is such a body.
pub(crate) fn text(kind: &str, count: usize, locals: usize) -> String {
    module(kind, count, locals, ["", ""], "")
}

/// A program whose function 0 is such a body behind a loop that is soon hot. The body itself never runs.
#[allow(dead_code, reason = "for the example alone")]
pub(crate) fn program(kind: &str, count: usize, locals: usize) -> String {
    let before = "(block
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (br_if 0 (i32.eqz (local.get 0)))";
    let start = r#"(func (export "_start") (local i32)
        (drop (call 0 (i32.const 200_000_000)))
        (loop
            (drop (call 0 (i32.const 10_000)))
            (br_if 0 (i32.lt_u
                (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
                (i32.const 10_000)))))"#;
    module(kind, count, locals, [before, ")"], start)
}

/// A module whose function 0 has the body between the two pieces.
fn module(kind: &str, count: usize, locals: usize, around: [&str; 2], more: &str) -> String {
    let [before, behind] = around;
    match kind {
        "types" => return types(count, ["i32", "i64"], locals, around, more),
        "vector types" => return types(count, ["v128", "f32"], locals, around, more),
        "vectors" => return vectors(count, locals, around, more),
        _ => {}
    }
    let pieces = Pieces::new(count, locals);
    let body = pieces.control(kind).or_else(|| pieces.tables(kind));
    let body = body.or_else(|| pieces.values(kind));
    let body = body.or_else(|| pieces.exceptions(kind));
    let body = body.or_else(|| pieces.accesses(kind));
    let body = body.or_else(|| pieces.objects(kind));
    let body = body.unwrap_or_else(|| panic!("there is no kind {kind}"));
    // All locals differ, or the optimizer makes one of them.
    let (mut begin, mut fold) = (String::new(), String::new());
    for local in 1..=locals {
        let _ = write!(
            begin,
            "(local.set {local} (i32.load offset={local}00 (local.get 0)))"
        );
        let _ = write!(
            fold,
            "(local.set 0 (i32.xor (local.get 0) (local.get {local})))"
        );
    }
    let Pieces { values, args, .. } = pieces;
    let types = match kind {
        "objects" | "casts" | "br_on_casts" | "arrays" => heap_types(&values),
        _ => String::new(),
    };
    format!(
        "(module {types} (memory 1)
            (func (param i32) (result i32) (local {values})
                {before} {begin} {body} {fold} {behind} (local.get 0))
            (func (param {values}))
            (func (result {values}) (local {values}) (local.set 0 (i32.const 1)) {results})
            (func (param {values}) (result {values}) {results})
            {others} {more})",
        results = args.replace(&format!("(local.get {locals})"), "(local.get 0)"),
        others = others(kind, &values)
    )
}

/// A function of vector instructions that take several of the machine, on vectors that all live to the end.
fn vectors(count: usize, locals: usize, [before, behind]: [&str; 2], more: &str) -> String {
    let (mut begin, mut body, mut fold) = (String::new(), String::new(), String::new());
    for local in 1..=locals {
        let _ = write!(
            begin,
            "(local.set {local} (v128.load offset={local}00 (local.get 0)))"
        );
        let _ = write!(
            fold,
            "(v128.store offset={local}00 (local.get 0) (local.get {local}))"
        );
    }
    const OPS: [&str; 6] = [
        "(i64x2.mul",
        "(i8x16.shuffle 0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31",
        "(f64x2.pmin",
        "(i16x8.q15mulr_sat_s",
        "(i8x16.add (i8x16.popcnt (v128.const i64x2 7 9))",
        "(i64x2.mul (i32x4.trunc_sat_f32x4_u (v128.const f32x4 1 2 3 4))",
    ];
    for at in 0..count {
        let [to, other] = [at, at + 1].map(|at| 1 + at % locals);
        let op = OPS[at % OPS.len()];
        let first = if at % OPS.len() < 4 {
            format!("(local.get {to})")
        } else {
            String::new()
        };
        let _ = write!(body, "(local.set {to} {op} {first} (local.get {other})))");
    }
    let values = "v128 ".repeat(locals);
    format!(
        "(module (memory 1)
            (func (param i32) (result i32) (local {values})
                {before} {begin} {body} {fold} {behind} (local.get 0))
            {more})"
    )
}

/// A function that calls functions of `count` types, each with `values` parameters and results.
fn types(
    count: usize,
    of: [&str; 2],
    values: usize,
    [before, behind]: [&str; 2],
    more: &str,
) -> String {
    let (mut funcs, mut calls) = (String::new(), String::new());
    for number in 0..count {
        let ty = |at: usize| usize::from(at < 16 && number >> at & 1 == 1);
        let list = |each: &dyn Fn(usize) -> String| (0..values).map(each).collect::<String>();
        let types = list(&|at| format!("{} ", of[ty(at)]));
        let args = list(&|at| format!("(local.get {})", 1 + ty(at)));
        let _ = write!(funcs, "(func (param {types}) (result {types}) unreachable)");
        let _ = write!(
            calls,
            "(call {} {args}) {}",
            number + 1,
            "drop ".repeat(values)
        );
    }
    let locals = of.join(" ");
    format!(
        "(module
            (func (param i32) (result i32) (local {locals})
                {before} {calls} {behind} (local.get 0))
            {funcs} {more})"
    )
}
