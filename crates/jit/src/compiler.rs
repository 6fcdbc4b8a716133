//! From a body to placed machine code.
//!
//! * *Invariant:* a compile that fails leaves nothing behind: code is placed once all of it is there.
//! * *Invariant:* code refers to nothing by address but entries and exits, which name functions of this program and
//!   code that was placed before, and calls of code of the same module, which are relative and filled in where it is
//!   placed. Any other relocation is an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{self, ExternalName};
use cranelift_codegen::{
    CodegenError, CompiledCode, Context, FinalizedMachExceptionHandler, FinalizedMachReloc,
    FinalizedRelocTarget,
};
use cranelift_frontend::FunctionBuilderContext;
use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::types::FuncType;
use tiered_runtime::code::{EntryFn, FuncRecord};

use crate::entry::{self, Callee};
use crate::error::CompileError;
use crate::jit::{Address, Jit, Ways, entry_kind, merge_places};
use crate::placement::Phases;
use crate::registry::Kind;
use crate::translate::{self, Entry, FUNCS, Job, Translated};

/// Machine code that is not placed yet.
pub(crate) struct Piece {
    pub(crate) bytes: Box<[u8]>,
    /// The calls that are to be filled in.
    pub(crate) calls: Box<[DirectCall]>,
    /// Where it begins within a cache line.
    pub(crate) phases: Phases,
    pub(crate) traps: Box<[(u32, u8)]>,
    pub(crate) places: Box<[(u32, u32)]>,
    pub(crate) kind: Kind,
}

/// A call whose callee is known.
pub(crate) struct DirectCall {
    /// Where the distance to the callee stands.
    pub(crate) at: u32,
    pub(crate) callee: Target,
}

/// Code that is called directly.
pub(crate) enum Target {
    /// That which has the call.
    Itself,
    /// Code that was placed.
    Placed(Address),
}

/// What [`Compiler::dump`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// Cranelift's intermediate code, as it is translated.
    Clif,
    /// The machine code.
    Asm,
}

/// Compiles functions, one at a time. Each thread has its own.
pub struct Compiler {
    jit: Jit,
    context: Context,
    builder: FunctionBuilderContext,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler")
            .field("jit", &self.jit)
            .finish_non_exhaustive()
    }
}

/// A compiled function, or a loop of one to the function's end. Keeps its [`Jit`] alive.
#[derive(Clone, Debug)]
pub struct Code {
    jit: Jit,
    entry: EntryFn,
    code: *const u8,
    bytes: usize,
}

// SAFETY: the code is immutable.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Code {
    /// The way in: for a function everybody's door, for a loop one that takes the frame at the loop's header.
    #[must_use]
    pub fn entry(&self) -> EntryFn {
        self.entry
    }

    /// Bytes of machine code.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The tier that made it.
    #[must_use]
    pub fn jit(&self) -> &Jit {
        &self.jit
    }

    /// Opens the doors of `record` to this code.
    ///
    /// # Safety
    /// The code is that of the record's function, from its start, and counts fuel if the record's store does. The tier
    /// of that store has this [`Jit`]'s doors and keeps it.
    pub unsafe fn publish(&self, record: &FuncRecord) {
        // SAFETY: the caller's promise.
        unsafe { record.publish(self.entry, record.doors().native, self.code) };
    }
}

impl Compiler {
    pub(crate) fn new(jit: Jit) -> Compiler {
        Compiler {
            jit,
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
        }
    }

    /// Compiles function `func` of `module` from `at` on, with or without counting fuel.
    ///
    /// # Errors
    /// [`CompileError`]: the function can't be compiled, and is to stay where it is.
    pub fn compile(
        &mut self,
        module: &Arc<Module>,
        func: FuncIdx,
        at: Entry,
        metered: bool,
    ) -> Result<Code, CompileError> {
        self.guarded(|compiler| compiler.compile_and_place(module, func, at, metered))
    }

    /// What [`Compiler::compile`] makes of a function, for people.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn dump(
        &mut self,
        module: &Arc<Module>,
        func: FuncIdx,
        at: Entry,
        what: Dump,
    ) -> Result<String, CompileError> {
        self.guarded(|compiler| {
            compiler.translate(module, func, at, false)?;
            if what == Dump::Clif {
                return Ok(compiler.context.func.display().to_string());
            }
            compiler.context.set_disasm(true);
            let assembly = compiler.generate().map(|code| code.vcode.clone());
            compiler.context.set_disasm(false);
            assembly?.ok_or_else(|| CompileError::Codegen("there is no listing".into()))
        })
    }

    /// Runs `body`; a panic in it is an error, and costs nothing but what this compiler kept for the next time.
    fn guarded<R>(
        &mut self,
        body: impl FnOnce(&mut Compiler) -> Result<R, CompileError>,
    ) -> Result<R, CompileError> {
        let result = catch_unwind(AssertUnwindSafe(|| body(self)));
        if !matches!(result, Ok(Ok(_))) {
            self.context = Context::new();
            self.builder = FunctionBuilderContext::new();
        }
        self.context.clear();
        result.unwrap_or_else(|payload| {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(CompileError::Panicked(text.unwrap_or_default()))
        })
    }

    fn compile_and_place(
        &mut self,
        module: &Arc<Module>,
        func: FuncIdx,
        at: Entry,
        metered: bool,
    ) -> Result<Code, CompileError> {
        let translated = self.translate(module, func, at, metered)?;
        let kind = Kind::Func {
            module: Arc::clone(module),
            func,
        };
        let shared = self.jit.clone();
        let mut piece = piece(self.generate()?, kind, translated.calls_itself)?;
        let (code, made_of) = (self.context.compiled_code(), &self.context.func);
        let code = code.expect("it was generated");
        piece.calls = calls(code, made_of, |callee| {
            match shared.shared().code_of(module, callee, metered) {
                None if callee == func && at == Entry::Start => Some(Target::Itself),
                code => code.map(Target::Placed),
            }
        })?;
        let bytes = piece.bytes.len();
        for callee in translated.callees {
            self.ways(&module.types()[callee.index()])?;
        }
        let ty = module.func_type(func);
        let place = |piece| shared.shared().place(piece, &name(module, func, at));
        let (code, entry) = match at {
            Entry::Start => {
                let ways = self.ways(ty)?;
                let code = place(piece)?;
                shared.shared().keep_code(module, func, metered, code);
                (code, ways.entry)
            }
            Entry::Loop { .. } => {
                let code = place(piece)?;
                (code, self.entry(ty, Callee::Loop(code.0))?)
            }
        };
        Ok(Code {
            jit: self.jit.clone(),
            entry,
            code: code.0,
            bytes,
        })
    }

    fn translate(
        &mut self,
        module: &Arc<Module>,
        func: FuncIdx,
        entry: Entry,
        metered: bool,
    ) -> Result<Translated, CompileError> {
        self.context.clear();
        let shared = self.jit.shared();
        let has_code = |callee| {
            callee == func && entry == Entry::Start
                || shared.code_of(module, callee, metered).is_some()
        };
        let job = Job {
            module,
            func,
            entry,
            metered,
            has_code: &has_code,
        };
        let isa = &**shared.isa();
        translate::translate(&job, isa, &mut self.builder, &mut self.context.func)
    }

    /// Makes machine code of what is in the context.
    fn generate(&mut self) -> Result<&CompiledCode, CompileError> {
        let isa = &**self.jit.shared().isa();
        let result = self.context.compile(isa, &mut ControlPlane::default());
        result.map_err(|error| match error.inner {
            CodegenError::ImplLimitExceeded | CodegenError::CodeTooLarge => CompileError::TooLarge,
            other => CompileError::Codegen(other.to_string()),
        })
    }

    /// The ways in and out for a function type.
    fn ways(&mut self, ty: &FuncType) -> Result<Ways, CompileError> {
        let jit = self.jit.clone();
        jit.shared().ways(ty, || {
            let entry = self.entry(ty, Callee::Func)?;
            self.context.clear();
            let isa = &**jit.shared().isa();
            entry::build_exit(ty, isa, &mut self.builder, &mut self.context.func)?;
            let piece = piece(self.generate()?, Kind::Exit, false)?;
            let exit = jit.shared().place(piece, "tiered exit")?;
            Ok(Ways { entry, exit })
        })
    }

    fn entry(&mut self, ty: &FuncType, callee: Callee) -> Result<EntryFn, CompileError> {
        let jit = self.jit.clone();
        let isa = &**jit.shared().isa();
        self.context.clear();
        entry::build_entry(ty, callee, isa, &mut self.builder, &mut self.context.func)?;
        let code = self.generate()?;
        let kind = landing(code)?;
        let Address(address) = jit
            .shared()
            .place(piece(code, kind, false)?, "tiered entry")?;
        // SAFETY: `build_entry` made a function of this type.
        Ok(unsafe { std::mem::transmute::<*const u8, EntryFn>(address) })
    }
}

/// What people know a function by.
pub(crate) fn func_name(module: &Module, func: FuncIdx) -> String {
    match module.func_name(func) {
        Some(name) => name.to_owned(),
        None => format!("wasm function {}", func.0),
    }
}

fn name(module: &Module, func: FuncIdx, at: Entry) -> String {
    let name = func_name(module, func);
    match at {
        Entry::Start => name,
        Entry::Loop { offset } => format!("{name} (loop at {offset:#x})"),
    }
}

/// What is placed of compiled code; `repeats` as in [`Phases::of`].
fn piece(code: &CompiledCode, kind: Kind, repeats: bool) -> Result<Piece, CompileError> {
    let traps = code.buffer.traps().iter();
    let places = code.buffer.get_srclocs_sorted().iter();
    Ok(Piece {
        bytes: code.code_buffer().into(),
        calls: Box::default(),
        phases: Phases::of(code, repeats),
        traps: traps
            .map(|trap| (trap.offset, trap.code.as_raw().get()))
            .collect(),
        places: merge_places(places.map(|place| (place.start, place.end, place.loc.bits()))),
        kind,
    })
}

/// The calls in `code`, made of `func`, that are to be filled in; `code_of` knows the code of a callee.
fn calls(
    code: &CompiledCode,
    func: &ir::Function,
    code_of: impl Fn(FuncIdx) -> Option<Target>,
) -> Result<Box<[DirectCall]>, CompileError> {
    let call = |reloc: &FinalizedMachReloc| {
        let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = reloc.target else {
            return None;
        };
        let name = &func.params.user_named_funcs()[name];
        let is_call = (reloc.kind, reloc.addend) == (Reloc::X86CallPCRel4, -CALL_DISTANCE_BYTES);
        let callee = code_of(FuncIdx(name.index))?;
        (is_call && name.namespace == FUNCS).then_some(DirectCall {
            at: reloc.offset,
            callee,
        })
    };
    let calls = code.buffer.relocs().iter().map(call).collect();
    Option::ok_or_else(calls, || {
        CompileError::Codegen("the code refers to something by address".into())
    })
}

/// Bytes of the distance in a call of x86-64, which counts from behind them.
pub(crate) const CALL_DISTANCE_BYTES: i64 = 4;

/// Where an entry goes on after a trap.
fn landing(code: &CompiledCode) -> Result<Kind, CompileError> {
    let handlers = code.buffer.call_sites().find_map(|site| {
        let handler = site
            .exception_handlers
            .iter()
            .find_map(|handler| match handler {
                FinalizedMachExceptionHandler::Default(offset) => Some(*offset),
                _ => None,
            })?;
        Some(entry_kind(handler, site.frame_offset?))
    });
    handlers.ok_or_else(|| CompileError::Codegen("an entry has no handler".into()))
}
