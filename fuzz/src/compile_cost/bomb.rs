//! Bodies of shapes that a compiler may take more for than in proportion: the numbers of each come from the input.

use arbitrary::{Result, Unstructured};
use wasm_encoder::{
    BlockType, Catch, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, FieldType,
    Function, FunctionSection, GlobalSection, GlobalType, HeapType, ImportSection, Instruction,
    MemArg, MemArgTarget, MemorySection, MemoryType, Module, RefType, StorageType, TypeSection,
    ValType,
};

/// The most instructions of a body, about: two to the power of this.
const MOST_INSTRUCTIONS: u32 = 14;

/// The most targets of a jump table for two labels: two to the power of this.
const MOST_TARGETS: u32 = 18;

/// The types: of the body, of the function that it calls, of blocks that give and take values.
const BODY: u32 = 0;
const CALLEE: u32 = 1;
const CARRYING: u32 = 2;

/// A structure and an array of numbers.
const STRUCTURE: u32 = 3;
const ARRAY: u32 = 4;

/// The first of the types of many values, each of a function that is called; and the first of these functions.
const WIDE: u32 = 5;
const FIRST_WIDE: u32 = 1;

/// An access to memory.
const MEMARG: MemArg = MemArg {
    offset: 0x1_0000,
    align: 0,
    target: MemArgTarget::Memory(0),
    ordering: None,
};

/// One to a memory with 64-bit addresses, beyond what those of the other have.
const FAR_MEMARG: MemArg = MemArg {
    offset: 0x1_0000_0000,
    align: 0,
    target: MemArgTarget::Memory(1),
    ordering: None,
};

/// How a body is made.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    /// Locals beside the parameter.
    locals: u32,
    /// Locals that each piece sets.
    touched: u32,
    /// Values that blocks give and take, and arguments of calls.
    carried: u32,
    /// Instructions of a shape, about.
    instructions: u32,
}

/// A module with one function of one to three shapes, one after the other.
pub(super) fn module(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    // Small ones are as likely as large ones.
    let locals = 1 << u.int_in_range(0..=10)?;
    let locals = u.int_in_range(1..=locals)?;
    let touched = 1 << u.int_in_range(0..=6)?;
    let instructions = 1 << u.int_in_range(4..=MOST_INSTRUCTIONS)?;
    let numbers = Numbers {
        locals,
        touched: u.int_in_range(1..=touched)?.min(locals),
        carried: u.int_in_range(0..=16)?,
        instructions: u.int_in_range(instructions / 2..=instructions)?,
    };
    let mut body = Body {
        function: Function::new([(numbers.locals, ValType::I64)]),
        numbers,
        next: 0,
    };
    for _ in 0..u.int_in_range(1..=3)? {
        body.shape(u.int_in_range(0..=10)?);
    }
    // Last, so that what the inputs before this choice mean stays the same.
    let wide = if u.ratio(3, 4)? {
        Vec::new()
    } else {
        wide_types(u)?
    };
    for (number, ty) in (0..).zip(&wide) {
        body.call_wide(FIRST_WIDE + number, ty);
    }
    if !u.ratio(7, 8)? {
        let targets = 1 << u.int_in_range(0..=MOST_TARGETS)?;
        body.long_table(u.int_in_range(1..=targets)?);
    }
    // The function itself, to be called.
    let this = FIRST_WIDE + wide.len() as u32;
    for _ in 0..u.int_in_range(0..=2)? {
        body.later_shape(u.int_in_range(0..=9)?, this);
    }
    body.op(Instruction::End);
    Ok(of_body(&body.function, numbers.carried as usize, &wide))
}

/// The parameters and results of a type: of which type, and how many.
#[derive(Clone, Copy, Debug)]
struct Wide {
    ty: ValType,
    params: u32,
    results: u32,
}

/// Types of up to a thousand parameters and results.
fn wide_types(u: &mut Unstructured<'_>) -> Result<Vec<Wide>> {
    let most = 1 << u.int_in_range(3..=9)?;
    let (params, results) = (u.int_in_range(0..=most)?, u.int_in_range(0..=most)?);
    let count = 1 << u.int_in_range(0..=6)?;
    let mut types = Vec::new();
    for number in 0..u.int_in_range(1..=count)? {
        types.push(Wide {
            ty: *u.choose(&[
                ValType::I32,
                ValType::I64,
                ValType::F32,
                ValType::F64,
                ValType::V128,
            ])?,
            // Each another type.
            params: params + number,
            results,
        });
    }
    Ok(types)
}

fn of_body(body: &Function, carried: usize, wide: &[Wide]) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    let values = vec![ValType::I64; carried];
    types.ty().function([ValType::I32], []);
    types.ty().function(values.clone(), []);
    types.ty().function(values.clone(), values);
    let number = FieldType {
        element_type: StorageType::Val(ValType::I64),
        mutable: true,
    };
    types.ty().struct_(vec![number; carried + 1]);
    types.ty().array(&number.element_type, true);
    for ty in wide {
        let list = |count: u32| vec![ty.ty; count as usize];
        types.ty().function(list(ty.params), list(ty.results));
    }
    module.section(&types);
    let mut imports = ImportSection::new();
    imports.import("host", "f", EntityType::Function(CALLEE));
    for (ty, _) in (WIDE..).zip(wide) {
        imports.import("host", "wide", EntityType::Function(ty));
    }
    module.section(&imports);
    let mut funcs = FunctionSection::new();
    funcs.function(BODY);
    module.section(&funcs);
    let mut memories = MemorySection::new();
    for memory64 in [false, true] {
        memories.memory(MemoryType {
            minimum: 1,
            maximum: Some(1),
            memory64,
            shared: false,
            page_size_log2: None,
        });
    }
    module.section(&memories);
    let mut globals = GlobalSection::new();
    globals.global(
        GlobalType {
            val_type: ValType::Ref(RefType::ANYREF),
            mutable: true,
            shared: false,
        },
        &ConstExpr::ref_null(HeapType::ANY),
    );
    module.section(&globals);
    let mut exports = ExportSection::new();
    exports.export("f", ExportKind::Func, FIRST_WIDE + wide.len() as u32);
    module.section(&exports);
    let mut code = CodeSection::new();
    code.function(body);
    module.section(&code);
    module.finish()
}

struct Body {
    function: Function,
    numbers: Numbers,
    /// The local that comes next.
    next: u32,
}

impl Body {
    fn op(&mut self, op: Instruction<'_>) {
        self.function.instruction(&op);
    }

    /// How many pieces of this many instructions there are.
    fn count(&self, of: u32) -> u32 {
        (self.numbers.instructions / of.max(1)).max(1)
    }

    fn local(&mut self) -> u32 {
        self.next = (self.next + 1) % self.numbers.locals;
        1 + self.next
    }

    /// Sets some locals, each to a value that depends on another.
    fn touch(&mut self) {
        for _ in 0..self.numbers.touched {
            let (to, from) = (self.local(), self.local());
            self.op(Instruction::LocalGet(to));
            self.op(Instruction::LocalGet(from));
            self.op(Instruction::I64Add);
            self.op(Instruction::LocalSet(to));
        }
    }

    fn touch_len(&self) -> u32 {
        4 * self.numbers.touched
    }

    fn condition(&mut self) {
        self.op(Instruction::LocalGet(0));
    }

    fn values(&mut self) {
        for _ in 0..self.numbers.carried {
            let local = self.local();
            self.op(Instruction::LocalGet(local));
        }
    }

    fn keep_values(&mut self) {
        for _ in 0..self.numbers.carried {
            let local = self.local();
            self.op(Instruction::LocalSet(local));
        }
    }

    fn shape(&mut self, number: u32) {
        match number {
            0 => self.loops(false),
            1 => self.loops(true),
            2 => self.ifs(false),
            3 => self.ifs(true),
            4 => self.small_loops(),
            5 => self.switch(false),
            6 => self.switch(true),
            7 => self.branches_with_values(),
            8 => self.straight(),
            9 => self.operands(),
            _ => self.calls_and_accesses(),
        }
    }

    /// The shapes that came later than what chooses among the others.
    fn later_shape(&mut self, number: u32, this: u32) {
        match number {
            0 => self.branches_back(),
            1 => self.handlers(false),
            2 => self.handlers(true),
            3 => self.tail_calls(this),
            4 => self.far_accesses(),
            5 => self.bulk(),
            6 => self.vectors(),
            7 => self.objects(),
            8 => self.casts(),
            _ => self.arrays(),
        }
    }

    /// Many branches to the begin of a loop.
    fn branches_back(&mut self) {
        let count = self.count(2);
        self.op(Instruction::Loop(BlockType::Empty));
        self.touch();
        for _ in 0..count {
            self.condition();
            self.op(Instruction::BrIf(0));
        }
        self.op(Instruction::End);
    }

    /// Calls whose exceptions are caught, one after the other or in one another.
    fn handlers(&mut self, nested: bool) {
        let count = self.count(self.touch_len() + self.numbers.carried + 4);
        for _ in 0..count {
            self.op(Instruction::Block(BlockType::Empty));
            let catches = vec![Catch::All { label: 0 }];
            self.op(Instruction::TryTable(BlockType::Empty, catches.into()));
            self.touch();
            self.values();
            self.op(Instruction::Call(0));
            if !nested {
                self.op(Instruction::End);
                self.op(Instruction::End);
            }
        }
        for _ in 0..if nested { 2 * count } else { 0 } {
            self.op(Instruction::End);
        }
    }

    fn tail_calls(&mut self, this: u32) {
        for _ in 0..self.count(self.touch_len() + 5) {
            self.touch();
            self.condition();
            self.op(Instruction::If(BlockType::Empty));
            self.condition();
            self.op(Instruction::ReturnCall(this));
            self.op(Instruction::End);
        }
    }

    /// Accesses of a memory with 64-bit addresses, which are compared with its length.
    fn far_accesses(&mut self) {
        for _ in 0..self.count(3) {
            let (to, from) = (self.local(), self.local());
            self.op(Instruction::LocalGet(from));
            self.op(Instruction::I64Load(FAR_MEMARG));
            self.op(Instruction::LocalSet(to));
        }
    }

    /// Short copies, which are made in place.
    fn bulk(&mut self) {
        for number in 0..self.count(4) {
            self.condition();
            self.op(Instruction::I32Const(number as i32));
            self.op(Instruction::I32Const(16));
            self.op(Instruction::MemoryCopy {
                src_mem: 0,
                dst_mem: 0,
            });
        }
    }

    /// Vector instructions that take several of the machine.
    fn vectors(&mut self) {
        for _ in 0..self.count(6) {
            let (to, from) = (self.local(), self.local());
            self.op(Instruction::LocalGet(to));
            self.op(Instruction::I64x2Splat);
            self.op(Instruction::LocalGet(from));
            self.op(Instruction::I64x2Splat);
            self.op(Instruction::I64x2Mul);
            self.op(Instruction::I8x16Popcnt);
            self.op(Instruction::I64x2ExtractLane(1));
            self.op(Instruction::LocalSet(to));
        }
    }

    fn objects(&mut self) {
        for _ in 0..self.count(self.numbers.carried + 3) {
            self.values();
            let local = self.local();
            self.op(Instruction::LocalGet(local));
            self.op(Instruction::StructNew(STRUCTURE));
            self.op(Instruction::GlobalSet(0));
        }
    }

    fn casts(&mut self) {
        for _ in 0..self.count(4) {
            let local = self.local();
            self.op(Instruction::GlobalGet(0));
            self.op(Instruction::RefCastNonNull(HeapType::Concrete(STRUCTURE)));
            self.op(Instruction::StructGet {
                struct_type_index: STRUCTURE,
                field_index: 0,
            });
            self.op(Instruction::LocalSet(local));
        }
    }

    fn arrays(&mut self) {
        for _ in 0..self.count(self.numbers.carried + 2) {
            self.values();
            self.op(Instruction::ArrayNewFixed {
                array_type_index: ARRAY,
                array_size: self.numbers.carried,
            });
            self.op(Instruction::GlobalSet(0));
        }
    }

    /// Loops that carry locals, one after the other or in one another.
    fn loops(&mut self, nested: bool) {
        let count = self.count(self.touch_len() + 4);
        for _ in 0..count {
            self.op(Instruction::Loop(BlockType::Empty));
            self.touch();
            if !nested {
                self.condition();
                self.op(Instruction::BrIf(0));
                self.op(Instruction::End);
            }
        }
        for _ in 0..if nested { count } else { 0 } {
            self.condition();
            self.op(Instruction::BrIf(0));
            self.op(Instruction::End);
        }
    }

    /// Conditions of which both sides set locals, one after the other or in one another.
    fn ifs(&mut self, nested: bool) {
        let count = self.count(2 * self.touch_len() + 4);
        for _ in 0..count {
            self.condition();
            self.op(Instruction::If(BlockType::Empty));
            self.touch();
            self.op(Instruction::Else);
            self.touch();
            if !nested {
                self.op(Instruction::End);
            }
        }
        for _ in 0..if nested { count } else { 0 } {
            self.op(Instruction::End);
        }
    }

    fn small_loops(&mut self) {
        for _ in 0..self.count(4) {
            self.op(Instruction::Loop(BlockType::Empty));
            self.condition();
            self.op(Instruction::BrIf(0));
            self.op(Instruction::End);
        }
    }

    /// A jump table with as many targets as blocks, each of which sets locals; perhaps in a loop.
    fn switch(&mut self, in_loop: bool) {
        let count = self.count(self.touch_len() + 3);
        if in_loop {
            self.op(Instruction::Loop(BlockType::Empty));
        }
        for _ in 0..count {
            self.op(Instruction::Block(BlockType::Empty));
        }
        let targets: Vec<u32> = (0..count).collect();
        self.condition();
        self.op(Instruction::BrTable(targets.into(), count - 1));
        for arm in 0..count {
            self.op(Instruction::End);
            self.touch();
            if in_loop {
                self.condition();
                self.op(Instruction::BrIf(count - 1 - arm));
            }
        }
        if in_loop {
            self.op(Instruction::End);
        }
    }

    /// Jump tables of a block that takes values, with many times the same target.
    fn branches_with_values(&mut self) {
        let carried = self.numbers.carried;
        for _ in 0..self.count(40 + 2 * carried) {
            self.values();
            self.op(Instruction::Block(BlockType::FunctionType(CARRYING)));
            self.op(Instruction::Block(BlockType::FunctionType(CARRYING)));
            let targets: Vec<u32> = (0..30).map(|number| number % 2).collect();
            self.condition();
            self.op(Instruction::BrTable(targets.into(), 0));
            self.op(Instruction::End);
            self.condition();
            self.op(Instruction::BrIf(0));
            self.op(Instruction::End);
            self.keep_values();
        }
    }

    /// A jump table with many targets for two labels, past which all locals live.
    fn long_table(&mut self, targets: u32) {
        for local in 1..=self.numbers.locals {
            self.op(Instruction::LocalGet(0));
            self.op(Instruction::I64Load(MemArg {
                offset: u64::from(local) * 8,
                ..MEMARG
            }));
            self.op(Instruction::LocalSet(local));
        }
        self.op(Instruction::Block(BlockType::Empty));
        self.op(Instruction::Block(BlockType::Empty));
        let targets: Vec<u32> = (0..targets).map(|target| target % 2).collect();
        self.condition();
        self.op(Instruction::BrTable(targets.into(), 0));
        self.op(Instruction::End);
        self.op(Instruction::End);
        for local in 1..=self.numbers.locals {
            self.op(Instruction::LocalGet(local));
            self.op(Instruction::LocalGet(1));
            self.op(Instruction::I64Xor);
            self.op(Instruction::LocalSet(1));
        }
    }

    /// The same few instructions again and again.
    fn straight(&mut self) {
        for _ in 0..self.count(self.touch_len()) {
            self.touch();
        }
    }

    /// Many operands at one time.
    fn operands(&mut self) {
        let count = self.count(3);
        for number in 0..count {
            let local = self.local();
            self.op(Instruction::LocalGet(local));
            self.op(Instruction::I64Const(number.into()));
            self.op(Instruction::I64Mul);
        }
        for _ in 1..count {
            self.op(Instruction::I64Xor);
        }
        let local = self.local();
        self.op(Instruction::LocalSet(local));
    }

    /// Calls a function of a type of many values, with as many zeros.
    fn call_wide(&mut self, func: u32, ty: &Wide) {
        for _ in 0..ty.params {
            self.op(match ty.ty {
                ValType::I32 => Instruction::I32Const(0),
                ValType::F32 => Instruction::F32Const(0.0.into()),
                ValType::F64 => Instruction::F64Const(0.0.into()),
                ValType::V128 => Instruction::V128Const(0),
                _ => Instruction::I64Const(0),
            });
        }
        self.op(Instruction::Call(func));
        for _ in 0..ty.results {
            self.op(Instruction::Drop);
        }
    }

    fn calls_and_accesses(&mut self) {
        for _ in 0..self.count(self.numbers.carried + 6) {
            self.values();
            self.op(Instruction::Call(0));
            self.condition();
            self.condition();
            self.op(Instruction::I64Load32U(MEMARG));
            self.op(Instruction::I64Store(MEMARG));
        }
    }
}
