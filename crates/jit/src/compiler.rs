//! From a body to placed machine code.
//!
//! * *Invariant:* a compile that fails leaves nothing behind but trampolines: code is placed once all of it is there.
//! * *Invariant:* there is nothing in code to relocate, or it is an error; so code could stand anywhere. Entries and exits
//!   contain addresses, but only of this program, and of the loop that an entry is made for.
//! * *Invariant:* dropping a [`Code`] frees its memory, so whoever published it keeps it as long as the module's code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::{CodegenError, CompiledCode, Context, FinalizedMachExceptionHandler};
use cranelift_frontend::FunctionBuilderContext;
use tiered_decode::Module;
use tiered_decode::index::FuncIdx;
use tiered_decode::types::FuncType;
use tiered_runtime::code::{EntryFn, FuncCode, LoopCode};

use crate::api::Jit;
use crate::entry::{self, Callee};
use crate::error::CompileError;
use crate::loader::{Blob, Unplaced};
use crate::placement::Phases;
use crate::position::{Positions, Sites};
use crate::registry::{Begin, CodeFacts, Kind};
use crate::trampolines::{Addresses, Pair, entry_fn};
use crate::translate::{self, Entry, Job, Translated};

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
///
/// *Invariant:* when it is dropped nothing runs it any more, and nothing leads to it: where it was published, its owner is
/// the module's code ([`ModuleCode::attachment`](tiered_runtime::module_code::ModuleCode::attachment)). Its memory is
/// used again at once.
#[derive(Debug)]
pub struct Code {
    entry: EntryFn,
    blob: Blob,
    /// The entry, if it is for this code alone.
    _entry: Option<Blob>,
    /// Last: it owns the other entries.
    jit: Jit,
}

impl Code {
    /// For a function everybody's entry point, for a loop one that takes the frame at the loop's header.
    #[must_use]
    pub fn entry(&self) -> EntryFn {
        self.entry
    }

    /// Bytes of machine code.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blob.len()
    }

    /// The tier that made it.
    #[must_use]
    pub fn jit(&self) -> &Jit {
        &self.jit
    }

    /// The entry point of compiled callers, for a function's code; for a loop's, what its entry calls.
    #[must_use]
    pub fn native(&self) -> *const u8 {
        self.blob.code()
    }

    /// Makes this code all entry points of `func`, for all instances.
    ///
    /// # Safety
    /// The code is that of this function of the module, from its start, and counts fuel if the function's callers do.
    /// The tier that the module's code is of has this [`Jit`]'s entry points and keeps it. The code is kept as long as
    /// the module's ([`ModuleCode::attachment`](tiered_runtime::module_code::ModuleCode::attachment)).
    ///
    /// # Panics
    /// If `func` is a host function.
    pub unsafe fn publish(&self, func: &FuncCode) {
        let module = func.module_code().expect("host functions have no body");
        let foreign = module.entry_points().foreign;
        // SAFETY: the caller's promise.
        unsafe { func.publish(self.entry, foreign, self.native()) };
    }

    /// Has whatever comes to the header of this loop go on in this code.
    ///
    /// # Safety
    /// As [`Code::publish`], for the code of that loop.
    pub unsafe fn publish_loop(&self, of: &LoopCode) {
        // SAFETY: the caller's promise.
        unsafe { of.publish(self.entry) };
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
        self.clear();
        result.unwrap_or_else(|payload| {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(CompileError::Panicked(text.unwrap_or_default()))
        })
    }

    fn clear(&mut self) {
        self.context.clear();
        // Cranelift forgets these, so they would pile up.
        self.context.func.dfg.exception_tables.clear();
    }

    fn compile_and_place(
        &mut self,
        module: &Arc<Module>,
        func: FuncIdx,
        at: Entry,
        metered: bool,
    ) -> Result<Code, CompileError> {
        let translated = self.translate(module, func, at, metered)?;
        let unplaced = unplaced(self.generate()?, translated.calls_itself)?;
        for callee in translated.callees {
            self.trampolines(&module.types()[callee.index()])?;
        }
        let jit = self.jit.clone();
        let place = |begin| {
            let kind = Kind::Func {
                module: Arc::clone(module),
                func,
                begin,
            };
            let told = || name(module, func, at);
            jit.shared().place(unplaced(kind), told)
        };
        let ty = module.func_type(func);
        let (entry, blob, own_entry) = match at {
            Entry::Start => {
                let Addresses { entry, exit } = self.trampolines(ty)?;
                let exit = exit.expose_provenance();
                (entry, place(Begin::Func { exit })?, None)
            }
            Entry::Loop { .. } => {
                let blob = place(Begin::Loop)?;
                let entry = self.entry(ty, Callee::Loop(blob.code()))?;
                (entry_fn(&entry), blob, Some(entry))
            }
        };
        Ok(Code {
            entry,
            blob,
            _entry: own_entry,
            jit: self.jit.clone(),
        })
    }

    fn translate(
        &mut self,
        module: &Arc<Module>,
        func: FuncIdx,
        entry: Entry,
        metered: bool,
    ) -> Result<Translated, CompileError> {
        self.clear();
        let shared = self.jit.shared();
        let job = Job {
            module,
            func,
            entry,
            metered,
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

    /// The trampolines for a function type.
    fn trampolines(&mut self, ty: &FuncType) -> Result<Addresses, CompileError> {
        let jit = self.jit.clone();
        jit.shared().trampolines().get_or_make(ty, || {
            Ok(Pair {
                entry: self.entry(ty, Callee::Func)?,
                exit: self.exit(ty)?,
            })
        })
    }

    fn entry(&mut self, ty: &FuncType, callee: Callee) -> Result<Blob, CompileError> {
        let jit = self.jit.clone();
        let isa = &**jit.shared().isa();
        self.clear();
        entry::build_entry(ty, callee, isa, &mut self.builder, &mut self.context.func)?;
        let code = self.generate()?;
        let unplaced = unplaced(code, false)?(landing(code)?);
        jit.shared().place(unplaced, || "tiered entry".into())
    }

    fn exit(&mut self, ty: &FuncType) -> Result<Blob, CompileError> {
        let jit = self.jit.clone();
        let isa = &**jit.shared().isa();
        self.clear();
        entry::build_exit(ty, isa, &mut self.builder, &mut self.context.func)?;
        let unplaced = unplaced(self.generate()?, false)?(Kind::Exit);
        jit.shared().place(unplaced, || "tiered exit".into())
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

/// What is placed of compiled code, once it is known what it is; `repeats` as in [`Phases::of`].
fn unplaced(
    code: &CompiledCode,
    repeats: bool,
) -> Result<impl FnOnce(Kind) -> Unplaced + use<>, CompileError> {
    if !code.buffer.relocs().is_empty() {
        let text = "the code refers to something by address";
        return Err(CompileError::Codegen(text.into()));
    }
    let traps = code.buffer.traps().iter();
    let sites = code.buffer.get_srclocs_sorted().iter();
    let sites = sites.map(|site| (site.start, site.end, site.loc.bits()));
    let traps = traps.map(|trap| (trap.offset, trap.code.as_raw().get()));
    let (bytes, phases) = (code.code_buffer().into(), Phases::of(code, repeats));
    let (traps, positions) = (traps.collect(), Positions::new(sites, Sites::Bytes));
    Ok(move |kind| Unplaced {
        bytes,
        phases,
        facts: CodeFacts {
            kind,
            traps,
            positions,
        },
    })
}

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
        let frame = site.frame_offset?;
        Some(Kind::Entry { handler, frame })
    });
    handlers.ok_or_else(|| CompileError::Codegen("an entry has no handler".into()))
}
