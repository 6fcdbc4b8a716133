//! Which functions the grid has, and which values they are called with.

use tiered_decode::numeric::NumOp;
use tiered_decode::types::ValType;

/// Integers around the borders of all widths, and what an immediate of 32 bits can and can't hold.
const I32: &[u64] = &[
    0,
    1,
    0xffff_ffff,
    0x8000_0000,
    0x7fff_ffff,
    0x8000_0001,
    2,
    7,
    31,
    32,
    33,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x0123_4567,
    0xfedc_ba98,
];
const I32_FEW: &[u64] = &[0, 1, 0xffff_ffff, 0x8000_0000, 31, 0x1_0000];

const I64: &[u64] = &[
    0,
    1,
    u64::MAX,
    1 << 63,
    (1 << 63) - 1,
    (1 << 63) + 1,
    2,
    7,
    31,
    63,
    64,
    65,
    0x80,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0xffff_ffff_8000_0000,
    0xffff_ffff_7fff_ffff,
    0x0123_4567_89ab_cdef,
];
const I64_FEW: &[u64] = &[0, 1, u64::MAX, 1 << 63, 0x8000_0000, 0xffff_ffff];

/// The numbers that float ops are tried on, with their neighbors.
const FLOATS: &[f64] = &[
    0.0,
    0.5,
    1.0,
    1.5,
    2.5,
    3.5,
    255.0,
    2_147_483_648.0,
    4_294_967_296.0,
    9_223_372_036_854_775_808.0,
    18_446_744_073_709_551_616.0,
];
const F32_FEW: &[u64] = &[
    0,
    0x8000_0000,
    0x3fc0_0000,
    0xff80_0000,
    0x7fa0_0001,
    0x4f00_0000,
    0xffc0_beef,
    0xff81_2345,
];
const F64_FEW: &[u64] = &[
    0,
    1 << 63,
    0x3ff8_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff4_0000_0000_0001,
    0x41e0_0000_0000_0000,
    0xfff8_0000_0000_beef,
    0xfff0_1234_5678_9abc,
];

/// All edge values of a type, as bits.
pub(super) fn grid(ty: ValType) -> Vec<u64> {
    match ty {
        ValType::I32 => I32.to_vec(),
        ValType::I64 => I64.to_vec(),
        ValType::F32 => {
            let both = |bits: u32| [u64::from(bits), u64::from(bits ^ 0x8000_0000)];
            let special = [
                1,
                0x007f_ffff,
                0x0080_0000,
                0x7f7f_ffff,
                0x7f80_0000,
                0x7fc0_0000,
                0x7fc0_1234,
                0x7f80_0001,
                0x7fbf_ffff,
            ];
            let finite = FLOATS.iter().flat_map(|&value| {
                let value = value as f32;
                let next = if value > 2.0 {
                    vec![value.next_down(), value.next_up()]
                } else {
                    vec![]
                };
                std::iter::once(value).chain(next).map(f32::to_bits)
            });
            finite.chain(special).flat_map(both).collect()
        }
        ValType::F64 => {
            let both = |bits: u64| [bits, bits ^ 1 << 63];
            let special = [
                1,
                0x000f_ffff_ffff_ffff,
                0x0010_0000_0000_0000,
                0x7fef_ffff_ffff_ffff,
                0x7ff0_0000_0000_0000,
                0x7ff8_0000_0000_0000,
                0x7ff8_0000_0000_1234,
                0x7ff0_0000_0000_0001,
                0x7ff7_ffff_ffff_ffff,
                0x47f0_0000_0000_0000,
                0x36a0_0000_0000_0000,
            ];
            let finite = FLOATS.iter().flat_map(|&value| {
                let next = if value > 2.0 {
                    vec![value.next_down(), value.next_up()]
                } else {
                    vec![]
                };
                std::iter::once(value).chain(next).map(f64::to_bits)
            });
            finite.chain(special).flat_map(both).collect()
        }
        other => unreachable!("no numeric op takes {other}"),
    }
}

/// A few edge values of a type, for the places where there are many combinations.
pub(super) fn few(ty: ValType) -> &'static [u64] {
    match ty {
        ValType::I32 => I32_FEW,
        ValType::I64 => I64_FEW,
        ValType::F32 => F32_FEW,
        ValType::F64 => F64_FEW,
        other => unreachable!("no numeric op takes {other}"),
    }
}

/// Where an operand is when the op takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A parameter; a pinned one, if the function has a loop.
    Param,
    Const(u64),
    /// The result of the op before.
    Acc,
    /// A local that was just set from the accumulator.
    Tee,
    /// The operand's own slot.
    Slot,
    /// The result of a call.
    Call,
    /// A global.
    Global,
    /// Memory, from where the op takes it.
    Memory,
    /// The first operand again; only for the second one.
    First,
    /// The negated parameter; only for floats.
    Negated,
}

const PLACES: &[Place] = &[
    Place::Param,
    Place::Acc,
    Place::Tee,
    Place::Slot,
    Place::Call,
    Place::Global,
    Place::Memory,
];

/// What becomes of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    Return,
    /// To a local, and from there.
    Local,
    /// To a local while it stays an operand.
    Tee,
    /// To the local that is the first operand.
    First,
    /// To a global, and from there.
    Global,
    /// Stays under the operands of another op of its type.
    Under,
    /// The second argument of a call.
    Argument,
    /// The value of a branch that leaves operands behind.
    Branch,
    /// One of the values of a `select`.
    Selected,
    /// Into memory, and from there.
    Memory,
    /// Conditions, for results that are `i32`: 1 if the result is not zero.
    BrIf,
    BrIfEqz,
    BrIfValue,
    BackEdge,
    BackEdgeOfCalls,
    If,
    Select,
    Eqz,
    EqzEqz,
    BrTable,
}

const SINKS: &[Sink] = &[
    Sink::Return,
    Sink::Local,
    Sink::Tee,
    Sink::First,
    Sink::Global,
    Sink::Under,
    Sink::Argument,
    Sink::Branch,
    Sink::Selected,
    Sink::Memory,
    Sink::BrIf,
    Sink::BrIfEqz,
    Sink::BrIfValue,
    Sink::BackEdge,
    Sink::BackEdgeOfCalls,
    Sink::If,
    Sink::Select,
    Sink::Eqz,
    Sink::EqzEqz,
    Sink::BrTable,
];

impl Sink {
    pub(super) fn is_condition(self) -> bool {
        SINKS.iter().position(|&sink| sink == self)
            >= SINKS.iter().position(|&sink| sink == Sink::BrIf)
    }

    /// What the function returns for a result.
    pub(super) fn outcome(self, result: u64) -> u64 {
        match self {
            Sink::Eqz => u64::from(result == 0),
            Sink::BrTable => result.min(2),
            _ if self.is_condition() => u64::from(result != 0),
            _ => result,
        }
    }

    fn fits(self, op: NumOp) -> bool {
        match self {
            Sink::First => op.params()[0] == op.result(),
            _ => !self.is_condition() || op.result() == ValType::I32,
        }
    }
}

/// What is around the op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    Nothing,
    /// A loop without calls in which the first operand is used most, and then the second.
    FirstPinned,
    /// The other way round.
    SecondPinned,
    /// A loop in which the result is used most.
    ResultPinned,
    /// Two loops; the inner one is run through twice for each of the outer one.
    Nested,
    /// A loop that makes calls.
    Calls,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) op: NumOp,
    pub(super) places: [Place; 2],
    pub(super) around: Around,
    pub(super) sink: Sink,
    pub(super) all_values: bool,
}

impl Case {
    fn new(op: NumOp, a: Place, b: Place, around: Around, sink: Sink) -> Case {
        Case {
            op,
            places: [a, b],
            around,
            sink,
            all_values: false,
        }
    }

    fn on_all_values(mut self) -> Case {
        self.all_values = true;
        self
    }

    /// The operands of the op in a call with `args`.
    pub(super) fn operands(&self, args: &[u64]) -> Vec<u64> {
        let sign = |ty| 1 << if ty == ValType::F32 { 31 } else { 63 };
        let mut operands = args.to_vec();
        for (index, place) in (0..args.len()).zip(self.places) {
            match place {
                Place::First => operands[index] = operands[0],
                Place::Negated => operands[index] ^= sign(self.op.params()[index]),
                _ => {}
            }
        }
        operands
    }

    /// The values of the op's parameter `index`.
    pub(super) fn values(&self, index: usize) -> Vec<u64> {
        let ty = self.op.params()[index];
        match self.places[index] {
            Place::Const(bits) => vec![bits],
            _ if self.all_values => grid(ty),
            _ => few(ty).to_vec(),
        }
    }
}

fn is_float(ty: ValType) -> bool {
    matches!(ty, ValType::F32 | ValType::F64)
}

/// All cases of an op.
pub(super) fn cases(op: NumOp) -> Vec<Case> {
    let mut cases = Vec::new();
    let sinks = || SINKS.iter().copied().filter(|sink| sink.fits(op));
    let arounds = [
        Around::FirstPinned,
        Around::SecondPinned,
        Around::ResultPinned,
        Around::Nested,
        Around::Calls,
    ];
    let mut push = |a, b, around, sink| cases.push(Case::new(op, a, b, around, sink));
    if let &[a] = op.params() {
        let constants = grid(a).into_iter().map(Place::Const);
        let negated = is_float(a).then_some(Place::Negated);
        for place in PLACES.iter().copied().chain(constants).chain(negated) {
            push(place, Place::Param, Around::Nothing, Sink::Return);
        }
        for sink in sinks() {
            push(Place::Param, Place::Param, Around::Nothing, sink);
            push(Place::Acc, Place::Param, Around::Nothing, sink);
            push(Place::Const(few(a)[2]), Place::Param, Around::Nothing, sink);
            for around in arounds {
                push(Place::Param, Place::Param, around, sink);
            }
        }
        return cases.into_iter().map(Case::on_all_values).collect();
    }
    let &[a, b] = op.params() else {
        unreachable!("an op has one operand or two")
    };
    for left in PLACES {
        for right in PLACES.iter().chain(&[Place::First]) {
            push(*left, *right, Around::Nothing, Sink::Return);
        }
    }
    if is_float(a) {
        for (left, right) in [
            (Place::Negated, Place::Param),
            (Place::Param, Place::Negated),
            (Place::Negated, Place::Memory),
            (Place::Memory, Place::Negated),
            (Place::Negated, Place::Negated),
        ] {
            push(left, right, Around::Nothing, Sink::Return);
        }
    }
    for &left in few(a) {
        for right in PLACES {
            push(Place::Const(left), *right, Around::Nothing, Sink::Return);
        }
        for &right in few(b) {
            push(
                Place::Const(left),
                Place::Const(right),
                Around::Nothing,
                Sink::Return,
            );
        }
    }
    for &right in few(b) {
        for left in PLACES {
            push(*left, Place::Const(right), Around::Nothing, Sink::Return);
        }
    }
    for sink in sinks() {
        push(Place::Param, Place::Param, Around::Nothing, sink);
        push(Place::Acc, Place::Param, Around::Nothing, sink);
        push(Place::Param, Place::Const(few(b)[2]), Around::Nothing, sink);
        push(Place::Const(few(a)[1]), Place::Acc, Around::Nothing, sink);
        for around in arounds {
            push(Place::Param, Place::Param, around, sink);
        }
        push(
            Place::Param,
            Place::Const(few(b)[1]),
            Around::FirstPinned,
            sink,
        );
        push(Place::Acc, Place::Param, Around::SecondPinned, sink);
        push(Place::Param, Place::Acc, Around::SecondPinned, sink);
    }
    let all = |a, b| Case::new(op, a, b, Around::Nothing, Sink::Return).on_all_values();
    let constants = |ty| grid(ty).into_iter().map(Place::Const);
    cases.push(all(Place::Param, Place::Param));
    cases.extend(constants(b).map(|right| all(Place::Param, right)));
    cases.extend(constants(a).map(|left| all(left, Place::Param)));
    // What a compiler computes: all pairs would be too many.
    for left in constants(a).step_by(3) {
        cases.extend(
            constants(b)
                .skip(1)
                .step_by(3)
                .map(|right| all(left, right)),
        );
    }
    cases
}
