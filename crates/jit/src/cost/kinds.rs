//! The kinds of bodies that grow in one number each, with locals: what a compiler may take more for than in proportion.
//! For the tests of [`cost`](super) and for the example of this name.

use std::fmt::Write;

/// What is repeated or nested that often.
pub(crate) const KINDS: [&str; 20] = [
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
    "calls",
    "results",
    "call chain",
    "values",
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
            _ => return None,
        })
    }
}

/// A module whose function 0 is such a body.
pub(crate) fn text(kind: &str, count: usize, locals: usize) -> String {
    match kind {
        "types" => return types(count, ["i32", "i64"], locals),
        "vector types" => return types(count, ["v128", "f32"], locals),
        _ => {}
    }
    let pieces = Pieces::new(count, locals);
    let body = pieces.control(kind).or_else(|| pieces.tables(kind));
    let body = body.or_else(|| pieces.values(kind));
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
    format!(
        "(module (memory 1)
            (func (param i32) (result i32) (local {values})
                {begin} {body} {fold} (local.get 0))
            (func (param {values}))
            (func (result {values}) (local {values}) (local.set 0 (i32.const 1)) {results})
            (func (param {values}) (result {values}) {results}))",
        results = args.replace(&format!("(local.get {locals})"), "(local.get 0)")
    )
}

/// A function that calls functions of `count` types, each with `values` parameters and results.
fn types(count: usize, of: [&str; 2], values: usize) -> String {
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
    format!("(module (func (param i32) (local {locals}) {calls}) {funcs})")
}
