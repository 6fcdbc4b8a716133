//! From a body to placed machine code.
//!
//! * *Invariant:* a compile that fails leaves nothing behind but trampolines: code is placed once all of it is there.
//! * *Invariant:* there is nothing in code to relocate, or it is an error; so code could stand anywhere. Entries and exits
//!   contain addresses, but only of this program, and of the loop that an entry is made for.
//! * *Invariant:* dropping a [`Code`] frees its memory, so its publisher keeps it as long as the module's code.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{CodegenError, CompiledCode, Context, FinalizedMachExceptionHandler};
use cranelift_frontend::FunctionBuilderContext;
use tiered_decode::Module;
use tiered_decode::index::{FuncIdx, TypeIdx};
use tiered_decode::printable::Name;
use tiered_decode::types::FuncType;
use tiered_runtime::code::{EntryFn, FuncCode, LoopCode};

use crate::api::Jit;
use crate::cost::{Estimate, Trampolines, Work, trampoline_allocator};
use crate::entry::{self, Callee};
use crate::error::CompileError;
use crate::folded::{folded_loads, restore_sites};
use crate::loader::{Blob, Unplaced};
use crate::placement::Phases;
use crate::position::{Positions, Sites};
use crate::registry::{Begin, CodeFacts, Kind, Pad};
use crate::trampolines::{Addresses, Pair, entry_fn};
use crate::translate::{self, Entry, Job, Translated};
use crate::trap;

/// What [`Compiler::dump`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// Cranelift's intermediate code, as it is translated.
    Clif,
    /// The machine code.
    Asm,
}

/// What a compile works with is kept for the next one if it takes no more than these bytes.
const KEPT: usize = 16 << 20;

/// Compiles functions, one at a time. Each thread has its own.
pub struct Compiler {
    jit: Jit,
    /// Boxed, as `registers`: they are large, and a compiler is handed around where the native stack may be short.
    context: Box<Context>,
    builder: FunctionBuilderContext,
    /// What the allocator of registers keeps for the next time.
    registers: Box<regalloc2::Ctx>,
    /// What the context has, if it was translated to be weighed.
    weighed: Option<Weighed>,
}

/// A body that is translated and not compiled.
struct Weighed {
    subject: Subject,
    translated: Translated,
    work: Work,
    estimate: Estimate,
}

/// What is compiled.
#[derive(Clone)]
struct Subject {
    module: Arc<Module>,
    func: FuncIdx,
    at: Entry,
    metered: bool,
}

impl Subject {
    fn new(module: &Arc<Module>, func: FuncIdx, at: Entry, metered: bool) -> Subject {
        Subject {
            module: Arc::clone(module),
            func,
            at,
            metered,
        }
    }

    fn is(&self, other: &Subject) -> bool {
        Arc::ptr_eq(&self.module, &other.module)
            && (self.func, self.at, self.metered) == (other.func, other.at, other.metered)
    }
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
    estimate: Estimate,
    work: Work,
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

    /// What compiling it was foreseen to take.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.estimate
    }

    /// What was counted of it to foresee that.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
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
            context: Box::new(Context::new()),
            builder: FunctionBuilderContext::new(),
            registers: Box::default(),
            weighed: None,
        }
    }

    /// What compiling function `func` of `module` from `at` on takes. If it is compiled next, with the same words, what
    /// was done to find that out is not done again.
    ///
    /// # Errors
    /// [`CompileError`]: the function can't be compiled, and is to stay where it is.
    pub fn estimate(
        &mut self,
        module: &Arc<Module>,
        func: FuncIdx,
        at: Entry,
        metered: bool,
    ) -> Result<Estimate, CompileError> {
        let subject = Subject::new(module, func, at, metered);
        self.guarded(|compiler| {
            let weighed = compiler.weigh(subject)?;
            let estimate = weighed.estimate;
            compiler.weighed = Some(weighed);
            Ok(estimate)
        })
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
        let code = self.guarded(|compiler| compiler.compile_and_place(module, func, at, metered));
        if code.as_ref().is_ok_and(|code| code.estimate.bytes > KEPT) {
            self.forget();
        } else {
            self.clear();
        }
        code
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
        let subject = Subject::new(module, func, at, false);
        let text = self.guarded(|compiler| {
            if what == Dump::Clif {
                compiler.translate(&subject)?;
                return Ok(compiler.context.func.display().to_string());
            }
            let weighed = compiler.weigh(subject)?;
            let code = compiler.generate(&weighed, true)?;
            let listing = code.vcode;
            listing.ok_or_else(|| CompileError::Codegen("there is no listing".into()))
        });
        self.clear();
        text
    }

    /// Runs `body`; a panic in it is an error, and costs nothing but what this compiler kept for the next time.
    fn guarded<R>(
        &mut self,
        body: impl FnOnce(&mut Compiler) -> Result<R, CompileError>,
    ) -> Result<R, CompileError> {
        let result = catch_unwind(AssertUnwindSafe(|| body(self)));
        if !matches!(result, Ok(Ok(_))) {
            self.forget();
        }
        result.unwrap_or_else(|payload| {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(CompileError::Panicked(text.unwrap_or_default()))
        })
    }

    /// Frees all that it works with.
    fn forget(&mut self) {
        *self.context = Context::new();
        self.builder = FunctionBuilderContext::new();
        *self.registers = regalloc2::Ctx::default();
        self.weighed = None;
    }

    fn clear(&mut self) {
        self.weighed = None;
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
        let subject = Subject::new(module, func, at, metered);
        let weighed = match self.weighed.take() {
            Some(weighed) if weighed.subject.is(&subject) => weighed,
            _ => self.weigh(subject)?,
        };
        let code = self.generate(&weighed, false)?;
        let unplaced = unplaced(&self.context.func, &code, weighed.translated.calls_itself)?;
        for callee in weighed.translated.callees {
            self.trampolines(module.types().func(callee))?;
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
            estimate: weighed.estimate,
            work: weighed.work,
            _entry: own_entry,
            jit: self.jit.clone(),
        })
    }

    /// Translates into the context, and counts what came of it.
    fn weigh(&mut self, subject: Subject) -> Result<Weighed, CompileError> {
        let translated = self.translate(&subject)?;
        let bytes = self.jit.shared().compile_bytes();
        let goes_on = |work: &Work| work.may_be_compiled(bytes);
        let work = Work::of(&self.context.func, translated.definitions, goes_on);
        let work = work.ok_or(CompileError::TooLarge)?;
        let estimate = self.estimate_all(&work, &subject, &translated.callees);
        Ok(Weighed {
            estimate: estimate.ok_or(CompileError::TooLarge)?,
            subject,
            translated,
            work,
        })
    }

    /// What this work takes, and the trampolines that it lacks. Whether that is too much does not depend on which of them
    /// there are already.
    fn estimate_all(
        &self,
        work: &Work,
        subject: &Subject,
        callees: &[TypeIdx],
    ) -> Option<Estimate> {
        let (shared, module) = (self.jit.shared(), &*subject.module);
        let (mut all, mut lacking) = (Trampolines::default(), Trampolines::default());
        let callees = callees.iter().map(|&ty| module.types().func(ty));
        let mut types: HashSet<&FuncType> = callees.collect();
        if subject.at == Entry::Start {
            types.insert(module.func_type(subject.func));
        } else {
            all.add_loop();
            lacking.add_loop();
        }
        for ty in types {
            all.add(ty);
            if shared.trampolines().get(ty).is_none() {
                lacking.add(ty);
            }
        }
        let mut estimate = work.estimate_with(shared.compile_bytes(), &all)?;
        estimate.time += lacking.time();
        estimate.bytes += lacking.bytes();
        Some(estimate)
    }

    fn translate(&mut self, subject: &Subject) -> Result<Translated, CompileError> {
        self.clear();
        let shared = self.jit.shared();
        let job = Job {
            module: &subject.module,
            func: subject.func,
            entry: subject.at,
            metered: subject.metered,
            spectre_guards: shared.spectre_guards(),
            relaxed: shared.relaxed(),
            bytes: shared.compile_bytes(),
        };
        let isa = &**shared.isa();
        translate::translate(&job, isa, &mut self.builder, &mut self.context.func)
    }

    /// Makes machine code of what is in the context, which was weighed; with a listing, or without.
    fn generate(&mut self, weighed: &Weighed, listed: bool) -> Result<CompiledCode, CompileError> {
        let (work, allocator) = (&weighed.work, weighed.estimate.allocator);
        let jit = self.jit.clone();
        self.generate_with(&**jit.shared().isa_of(work, allocator), listed)
    }

    /// Makes machine code of what is in the context: what `Context::compile` does, with a step in between.
    fn generate_with(
        &mut self,
        isa: &dyn TargetIsa,
        listed: bool,
    ) -> Result<CompiledCode, CompileError> {
        let (context, control) = (&mut self.context, &mut ControlPlane::default());
        let failed = |error| match error {
            CodegenError::ImplLimitExceeded | CodegenError::CodeTooLarge => CompileError::TooLarge,
            other => CompileError::Codegen(other.to_string()),
        };
        context.optimize(isa, control).map_err(failed)?;
        restore_sites(&mut context.func);
        let (func, domtree) = (&context.func, &context.domtree);
        let code = isa.compile_function(func, domtree, &mut self.registers, listed, control);
        Ok(code.map_err(failed)?.apply_params(&func.params))
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
        let isa = &**jit
            .shared()
            .isa_of(&Work::default(), trampoline_allocator(ty));
        self.clear();
        entry::build_entry(ty, callee, isa, &mut self.builder, &mut self.context.func)?;
        let code = self.generate_with(isa, false)?;
        let landing = landing(&code)?;
        let unplaced = unplaced(&self.context.func, &code, false)?(landing);
        jit.shared().place(unplaced, || "tiered entry".into())
    }

    fn exit(&mut self, ty: &FuncType) -> Result<Blob, CompileError> {
        let jit = self.jit.clone();
        let isa = &**jit
            .shared()
            .isa_of(&Work::default(), trampoline_allocator(ty));
        self.clear();
        entry::build_exit(ty, isa, &mut self.builder, &mut self.context.func)?;
        let code = self.generate_with(isa, false)?;
        let unplaced = unplaced(&self.context.func, &code, false)?(Kind::Exit);
        jit.shared().place(unplaced, || "tiered exit".into())
    }
}

/// What a profiler is told that a function is called: its name as it is shown to people, so in one line and bounded.
pub(crate) fn func_name(module: &Module, func: FuncIdx) -> String {
    match module.func_name(func) {
        Some(name) => Name(name).to_string(),
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

/// What is placed of `code`, made of `func`, once it is known what it is; `repeats` as in [`Phases::of`].
fn unplaced(
    func: &Function,
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
    let folded = folded_loads(func, code);
    let traps = traps.map(|trap| (trap.offset, trap::reason(trap.code).as_raw().get()));
    let pads = pads(code)?;
    let (bytes, phases) = (code.code_buffer().into(), Phases::of(code, repeats));
    let (traps, positions) = (
        traps.collect(),
        Positions::new(sites, &folded, Sites::Bytes),
    );
    Ok(move |kind| Unplaced {
        bytes,
        phases,
        facts: CodeFacts {
            kind,
            traps,
            pads,
            positions,
        },
    })
}

/// The handler that all exceptions of a call go to, if it has one.
fn handler(handlers: &[FinalizedMachExceptionHandler]) -> Option<u32> {
    handlers.iter().find_map(|handler| match handler {
        FinalizedMachExceptionHandler::Default(offset) => Some(*offset),
        _ => None,
    })
}

/// What [`CodeFacts::pads`] says of this code.
fn pads(code: &CompiledCode) -> Result<Box<[Pad]>, CompileError> {
    let mut pads = Vec::new();
    for site in code.buffer.call_sites() {
        let Some(pad) = handler(site.exception_handlers) else {
            continue;
        };
        let Some(frame) = site.frame_offset else {
            return Err(CompileError::Codegen("a handler without a frame".into()));
        };
        pads.push((site.ret_addr, pad, frame));
    }
    pads.sort_unstable();
    Ok(pads.into())
}

/// Where an entry goes on after a trap.
fn landing(code: &CompiledCode) -> Result<Kind, CompileError> {
    let handlers = code.buffer.call_sites().find_map(|site| {
        let handler = handler(site.exception_handlers)?;
        let frame = site.frame_offset?;
        let layout = code.buffer.frame_layout()?;
        let slot = layout.stackslots.get(entry::store_slot())?;
        let store = layout.frame_to_fp_offset.checked_sub(slot.offset)?;
        Some(Kind::Entry {
            handler,
            frame,
            store,
        })
    });
    handlers.ok_or_else(|| CompileError::Codegen("an entry has no handler".into()))
}
