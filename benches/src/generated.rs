//! A module of any number of functions, each of them ordinary and no two alike: what decoding and translating cost
//! where a module is large.
//!
//! *Invariant:* the same number of functions gives the same bytes, on every machine.
//! *Invariant:* `run` calls every function once and ends soon, whatever its argument.

use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, InstructionSink,
    MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// The locals of a function: its parameter, then these.
pub(crate) const INTS: u32 = 5;
const COUNTER: u32 = INTS;
const WIDE: u32 = INTS + 1;
const FLOAT: u32 = INTS + 2;

/// Where the choices begin.
const SEED: u64 = 0x2545_f491_4f6c_dd1d;

/// A parameter that `run` never hands on, so that what it guards is compiled and not run.
const NEVER: i32 = i32::MIN;

/// A module with `funcs` functions of about 400 bytes each, and `run: [i32] -> [i32]`, which calls all of them.
pub fn module(funcs: u32) -> Vec<u8> {
    let mut choice = Choice::new(0);
    let mut bodies: Vec<Function> = (0..funcs).map(|index| body(index, &mut choice)).collect();
    bodies.push(call_all(funcs));
    assemble(&bodies)
}

/// A module whose function 0 is huge, `statements` long, and takes long to compile; and `run: [i32] -> [i32]`, which calls it half as often as its
/// argument says; the calls of an even argument return at once, those of an odd one run through all of it.
pub fn huge(statements: u32) -> Vec<u8> {
    let mut choice = Choice::new(0);
    let mut huge = Function::new([(INTS, ValType::I32)]);
    let mut code = huge.instructions();
    code.local_get(0).i32_eqz();
    code.if_(BlockType::Empty).i32_const(0).return_().end();
    for _ in 0..statements {
        maybe(&mut code, &mut choice);
    }
    code.local_get(choice.int()).end();

    let mut run = Function::new([(2, ValType::I32)]);
    let mut code = run.instructions();
    code.local_get(0).i32_const(1).i32_and().local_set(1);
    code.local_get(0).i32_const(1).i32_shr_u().local_set(0);
    code.loop_(BlockType::Empty);
    code.local_get(1)
        .call(0)
        .local_get(2)
        .i32_add()
        .local_set(2);
    code.local_get(0).i32_const(1).i32_sub().local_tee(0);
    code.br_if(0).end().local_get(2).end();
    assemble(&[huge, run])
}

/// A module of functions `[i32] -> [i32]` with a memory of a page; the last of them is exported as `run`.
pub(crate) fn assemble(bodies: &[Function]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for body in bodies {
        functions.function(0);
        code.function(body);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    let last = bodies.len().saturating_sub(1);
    exports.export("run", ExportKind::Func, last as u32);

    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories)
        .section(&exports)
        .section(&code);
    module.finish()
}

/// Xorshift: choices that look random and are always the same.
pub(crate) struct Choice(u64);

impl Choice {
    /// Choices that differ from those of another `seed`.
    pub(crate) fn new(seed: u32) -> Choice {
        Choice(SEED ^ (u64::from(seed) << 20))
    }

    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % u64::from(end)) as u32
    }

    pub(crate) fn int(&mut self) -> u32 {
        self.below(INTS)
    }

    fn constant(&mut self) -> i32 {
        self.below(1 << 16) as i32 - (1 << 12)
    }
}

fn body(index: u32, choice: &mut Choice) -> Function {
    let mut function = Function::new([(INTS, ValType::I32), (1, ValType::I64), (1, ValType::F64)]);
    let mut code = function.instructions();
    for _ in 0..16 + choice.below(16) {
        match choice.below(8) {
            0 | 1 => arithmetic(&mut code, choice),
            2 => store(&mut code, choice),
            3 => load(&mut code, choice),
            4 => branch(&mut code, choice),
            5 => count(&mut code, choice),
            6 => floats(&mut code, choice),
            _ => call(&mut code, choice, index),
        }
    }
    code.local_get(0)
        .local_get(1)
        .i32_xor()
        .local_get(2)
        .i32_add()
        .local_get(WIDE)
        .i32_wrap_i64()
        .i32_xor()
        .end();
    function
}

/// A statement without loop or call, over a memory of a page.
pub(crate) fn straight(code: &mut InstructionSink<'_>, choice: &mut Choice) {
    match choice.below(8) {
        0..4 => arithmetic(code, choice),
        4 => store(code, choice),
        5 | 6 => load(code, choice),
        _ => branch(code, choice),
    }
}

fn arithmetic(code: &mut InstructionSink<'_>, choice: &mut Choice) {
    code.local_get(choice.int())
        .local_get(choice.int())
        .i32_const(choice.constant());
    match choice.below(4) {
        0 => code.i32_mul().i32_add(),
        1 => code.i32_add().i32_xor(),
        2 => code.i32_and().i32_sub(),
        _ => code.i32_rotl().i32_or(),
    };
    code.local_set(choice.int());
}

fn address(code: &mut InstructionSink<'_>, choice: &mut Choice) -> MemArg {
    code.local_get(choice.int()).i32_const(0x7ff8).i32_and();
    MemArg {
        offset: u64::from(choice.below(64) * 4),
        align: 2,
        target: MemArgTarget::Memory(0),
        ordering: None,
    }
}

fn store(code: &mut InstructionSink<'_>, choice: &mut Choice) {
    let at = address(code, choice);
    code.local_get(choice.int());
    match choice.below(2) {
        0 => code.i32_store(at),
        _ => code.i32_store8(MemArg { align: 0, ..at }),
    };
}

fn load(code: &mut InstructionSink<'_>, choice: &mut Choice) {
    let at = address(code, choice);
    match choice.below(3) {
        0 => code.i32_load(at),
        1 => code.i32_load16_s(MemArg { align: 1, ..at }),
        _ => code.i32_load8_u(MemArg { align: 0, ..at }),
    };
    code.local_set(choice.int());
}

fn branch(code: &mut InstructionSink<'_>, choice: &mut Choice) {
    code.local_get(choice.int())
        .local_get(choice.int())
        .i32_lt_s()
        .if_(BlockType::Empty);
    arithmetic(code, choice);
    code.else_();
    arithmetic(code, choice);
    code.end();
}

/// A statement that some other one decides on: thousands in a row, over so few locals, take long to compile.
fn maybe(code: &mut InstructionSink<'_>, choice: &mut Choice) {
    code.local_get(choice.int())
        .local_get(choice.int())
        .i32_lt_s()
        .if_(BlockType::Empty);
    code.local_get(choice.int())
        .i32_const(choice.constant())
        .i32_add()
        .local_set(choice.int())
        .end();
}

/// A loop of a few turns over the 64-bit local.
fn count(code: &mut InstructionSink<'_>, choice: &mut Choice) {
    code.i32_const(1 + choice.below(3) as i32)
        .local_set(COUNTER)
        .loop_(BlockType::Empty);
    code.local_get(WIDE)
        .i64_const(6_364_136_223_846_793_005)
        .i64_mul();
    code.local_get(choice.int())
        .i64_extend_i32_u()
        .i64_add()
        .local_set(WIDE);
    code.local_get(COUNTER)
        .i32_const(1)
        .i32_sub()
        .local_tee(COUNTER)
        .br_if(0)
        .end();
}

fn floats(code: &mut InstructionSink<'_>, choice: &mut Choice) {
    code.local_get(FLOAT).f64_const(0.5.into()).f64_mul();
    code.local_get(choice.int())
        .f64_convert_i32_s()
        .f64_add()
        .local_set(FLOAT);
    code.local_get(FLOAT)
        .i32_trunc_sat_f64_s()
        .local_set(choice.int());
}

/// A call of some function, which never happens.
fn call(code: &mut InstructionSink<'_>, choice: &mut Choice, index: u32) {
    code.local_get(COUNTER)
        .i32_const(NEVER)
        .i32_eq()
        .if_(BlockType::Empty);
    code.local_get(choice.int())
        .call(choice.below(index + 1))
        .local_set(choice.int())
        .end();
}

fn call_all(funcs: u32) -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    for index in 0..funcs {
        code.local_get(0)
            .call(index)
            .local_get(1)
            .i32_add()
            .local_set(1);
    }
    code.local_get(1).end();
    function
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_bytes() {
        let bytes = module(100);
        assert_eq!(bytes, module(100));
        assert!(
            (20_000..200_000).contains(&bytes.len()),
            "{} bytes",
            bytes.len()
        );
    }

    #[test]
    fn it_is_valid_and_every_function_has_a_body() {
        let module = tiered_decode::Module::new(module(100)).unwrap();
        assert_eq!(module.funcs().len(), 101);
        assert!(module.export("run").is_some());
    }

    #[test]
    fn a_huge_function_is_valid() {
        let module = tiered_decode::Module::new(huge(1_000)).unwrap();
        assert_eq!(module.funcs().len(), 2);
    }
}
