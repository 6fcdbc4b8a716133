//! Programs in the text format.

use tiered_decode::types::ValType;

use super::program::{LOCALS, MASK, MAX_DEPTH, Node, PARAMS, REST, TYPES, local_type};

/// Writes programs in the text format, without names and without folding.
struct Writer {
    text: String,
}

impl Writer {
    fn types(&mut self, params: &[ValType], results: &[ValType]) {
        for (word, types) in [("param", params), ("result", results)] {
            let types: String = types.iter().map(|ty| format!(" {ty}")).collect();
            self.text += &format!(" ({word}{types})");
        }
        self.text += "\n";
    }

    fn body(&mut self, nodes: &[Node]) {
        nodes.iter().for_each(|node| self.node(node));
    }

    fn line(&mut self, line: &str) {
        self.text += line;
        self.text += "\n";
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Get(local) => self.line(&format!("local.get {local}")),
            Node::Set(local) => self.line(&format!("local.set {local}")),
            Node::Tee(local) => self.line(&format!("local.tee {local}")),
            Node::Const(ty, bits) => self.constant(*ty, *bits),
            Node::Num(op) => self.line(op.text()),
            Node::Load(op, offset) => {
                self.line(&format!("i32.const {MASK} i32.and {op} offset={offset}"));
            }
            Node::Store(op, offset) => self.line(&format!("{op} offset={offset}")),
            Node::GlobalGet(global) => self.line(&format!("global.get {global}")),
            Node::GlobalSet(global) => self.line(&format!("global.set {global}")),
            Node::Second(ty) => self.line(&format!("call {ty}")),
            Node::Swap => self.line("i32.const 0 call_indirect (type $swap)"),
            Node::Drop => self.line("drop"),
            Node::Select => self.line("select"),
            Node::Block(params, results, body) => {
                self.text += "block";
                self.types(params, results);
                self.body(body);
                self.line("end");
            }
            Node::If(params, results, then, other) => {
                self.text += "if";
                self.types(params, results);
                self.body(then);
                self.line("else");
                self.body(other);
                self.line("end");
            }
            Node::Loop(params, results, counter, times, body) => {
                self.line(&format!("i32.const {times} local.set {counter}"));
                self.text += "loop";
                self.types(params, results);
                self.body(body);
                self.line("end");
            }
            Node::Again(counter, depth) => self.line(&format!(
                "local.get {counter} i32.const 1 i32.sub local.tee {counter} i32.const 0 i32.gt_s br_if {depth}"
            )),
            Node::Br(depth) => self.line(&format!("br {depth}")),
            Node::BrIf(depth) => self.line(&format!("br_if {depth}")),
            Node::BrTable(targets, default) => {
                let targets: String = targets.iter().map(|target| format!("{target} ")).collect();
                self.line(&format!("br_table {targets}{default}"));
            }
            Node::Return => {
                self.locals();
                self.line("return");
            }
        }
    }

    /// By the bits, so that every NaN is told exactly.
    fn constant(&mut self, ty: ValType, bits: u64) {
        match ty {
            ValType::I32 => self.line(&format!("i32.const {}", bits as i32)),
            ValType::I64 => self.line(&format!("i64.const {}", bits.cast_signed())),
            ValType::F32 => {
                let value = f32::from_bits(bits as u32);
                let nan = nan(value.is_sign_negative(), bits & 0x007f_ffff);
                let text = if value.is_nan() {
                    nan
                } else {
                    format!("{value:?}")
                };
                self.line(&format!("f32.const {text}"));
            }
            _ => {
                let value = f64::from_bits(bits);
                let nan = nan(value.is_sign_negative(), bits & 0x000f_ffff_ffff_ffff);
                let text = if value.is_nan() {
                    nan
                } else {
                    format!("{value:?}")
                };
                self.line(&format!("f64.const {text}"));
            }
        }
    }

    fn locals(&mut self) {
        (0..LOCALS).for_each(|local| self.line(&format!("local.get {local}")));
    }
}

fn nan(negative: bool, payload: u64) -> String {
    let sign = if negative { "-" } else { "" };
    format!("{sign}nan:{payload:#x}")
}

pub(super) fn text(program: &[Node]) -> String {
    let mut writer = Writer {
        text: String::from("(module (memory (export \"memory\") 1)\n"),
    };
    writer.line("(type $swap (func (param i32 i64) (result i64 i32)))");
    writer.line("(table funcref (elem $swap))");
    for ty in TYPES {
        writer.line(&format!(
            "(global (export \"{ty}\") (mut {ty}) ({ty}.const 0))"
        ));
        writer.line(&format!(
            "(func ${ty} (param {ty} {ty}) (result {ty}) local.get 1)"
        ));
    }
    writer.line("(func $swap (type $swap) local.get 1 local.get 0)");
    writer.text += "(func (export \"run\")";
    let results: Vec<_> = REST
        .into_iter()
        .chain((0..LOCALS).map(local_type))
        .collect();
    writer.types(&PARAMS, &results);
    let more: String = (4..LOCALS + MAX_DEPTH + 1)
        .map(|local| format!(" {}", local_type(local)))
        .collect();
    writer.line(&format!("(local{more})"));
    writer.text += "block";
    writer.types(&[], &REST);
    writer.body(program);
    writer.line("end");
    writer.locals();
    writer.line("))");
    // Calls name functions by type.
    writer
        .text
        .replace("call i", "call $i")
        .replace("call f", "call $f")
}
