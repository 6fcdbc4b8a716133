//! The owner of a module's code: what the tiers have made of a module, shared by all its instances.
//!
//! One [`ModuleCode`] stands for one module in one tier. It holds, for each function and for each way of metering, the
//! entry points ([`FuncCode`]) and the bytecode, and whatever the tier keeps for it: profiles, machine code
//! ([`ModuleCode::attachment`]). V8 calls such a thing a native module.
//!
//! * *Invariant:* it lives as long as anybody who may run its code: every instance holds it.
//! * *Invariant:* it refers to no instance and no store. What code needs of those, it finds from the instance that it
//!   runs on ([`crate::vm::layout`]).
//! * *Invariant:* bytecode and functions never move, and go with their owner.

use std::any::Any;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::RwLock;
use tiered_decode::Module;
use tiered_decode::index::{FuncIdx, TypeIdx};
use tiered_decode::types::TypeId;

use crate::vm::code::{EntryPoints, FuncCode, LoopCode, Tier};
use crate::vm::image::MemoryImage;
use crate::vm::layout::VmLayout;

/// See the module.
pub struct ModuleCode {
    this: Weak<ModuleCode>,
    module: Arc<Module>,
    layout: VmLayout,
    points: EntryPoints,
    plain: OnceLock<Box<CodeSet>>,
    metered: OnceLock<Box<CodeSet>>,
    attachment: OnceLock<Box<dyn Any + Send + Sync>>,
    image: OnceLock<Option<MemoryImage>>,
    was_instantiated: AtomicBool,
    /// Work that was done since the last sample in stores that have ended.
    unsampled: AtomicU32,
    /// Last: it owns what the others lead to.
    tier: Arc<dyn Tier>,
}

impl ModuleCode {
    /// The code of `module`, of which there is none yet, for stores with this very `tier`.
    #[must_use]
    pub fn new(tier: &Arc<dyn Tier>, module: &Arc<Module>) -> Arc<ModuleCode> {
        Arc::new_cyclic(|this| ModuleCode {
            this: this.clone(),
            layout: VmLayout::new(module),
            module: Arc::clone(module),
            points: tier.entry_points(),
            plain: OnceLock::new(),
            metered: OnceLock::new(),
            attachment: OnceLock::new(),
            image: OnceLock::new(),
            was_instantiated: AtomicBool::new(false),
            unsampled: AtomicU32::new(0),
            tier: Arc::clone(tier),
        })
    }

    /// The module.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Where everything stands in its instances.
    pub fn layout(&self) -> &VmLayout {
        &self.layout
    }

    /// The number of type `ty`.
    pub fn type_id(&self, ty: TypeIdx) -> TypeId {
        self.module.types().id(ty)
    }

    /// The tier that the code is of.
    pub fn tier(&self) -> &Arc<dyn Tier> {
        &self.tier
    }

    /// How its functions are entered at first.
    pub fn entry_points(&self) -> &EntryPoints {
        &self.points
    }

    /// The code of instances that count fuel, or of those that do not.
    pub fn set(&self, metered: bool) -> &CodeSet {
        let set = if metered { &self.metered } else { &self.plain };
        set.get_or_init(|| CodeSet::new(self, metered))
    }

    /// An owner more.
    ///
    /// # Panics
    /// If the last one is gone, which nobody who runs its code can see.
    pub fn to_owner(&self) -> Arc<ModuleCode> {
        self.this.upgrade().expect("whoever asks keeps it alive")
    }

    /// A reference that keeps nothing alive.
    pub fn to_weak(&self) -> Weak<ModuleCode> {
        self.this.clone()
    }

    /// What the tier keeps with this code, made when first asked for; freed with it.
    ///
    /// # Panics
    /// If it was made as another type.
    pub fn attachment<A: Send + Sync + 'static>(&self, make: impl FnOnce() -> A) -> &A {
        let any = self.attachment.get_or_init(|| Box::new(make()));
        any.downcast_ref().expect("one tier attaches one type")
    }

    /// What memory 0 of another instance begins with, if that is worth an image: from the second instance on, since to make
    /// one takes longer than to do without it once.
    pub(crate) fn image(&self) -> Option<&MemoryImage> {
        if !self.was_instantiated.swap(true, Ordering::Relaxed) {
            return None;
        }
        let image = self
            .image
            .get_or_init(|| MemoryImage::of_module(&self.module));
        image.as_ref()
    }

    /// Keeps `work` that a store did since its last sample for the next store's account.
    pub(crate) fn leave_unsampled(&self, work: u32) {
        // Work that does not fit is forgotten: some hundred samples' worth.
        let added = |left: u32| Some(left.saturating_add(work));
        let _ = self
            .unsampled
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }

    /// Takes at most `most` of what was left.
    pub(crate) fn take_unsampled(&self, most: u32) -> u32 {
        if self.unsampled.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let taken = self
            .unsampled
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                Some(left - left.min(most))
            });
        taken.map_or(0, |left| left.min(most))
    }

    /// Bytes of bytecode.
    pub fn bytecode_bytes(&self) -> usize {
        let sets = [&self.plain, &self.metered];
        let sets = sets.into_iter().filter_map(OnceLock::get);
        sets.map(|set| set.bytecode_bytes()).sum()
    }

    /// The function whose bytecode ends an instruction at `pc`, and the byte of the bytecode before that.
    pub fn func_at(&self, pc: usize) -> Option<(&FuncCode, usize)> {
        let sets = [&self.plain, &self.metered];
        let mut sets = sets.into_iter().filter_map(OnceLock::get);
        sets.find_map(|set| set.func_at(pc))
    }
}

impl std::fmt::Debug for ModuleCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleCode")
            .field("functions", &self.module.funcs().len())
            .field("bytecode_bytes", &self.bytecode_bytes())
            .finish_non_exhaustive()
    }
}

/// What can be instantiated: a module with the code that its instances share, or a module alone, which then gets code of
/// its own for each instance.
pub trait ToModuleCode {
    /// The code for stores with `tier`.
    fn to_module_code(&self, tier: &Arc<dyn Tier>) -> Arc<ModuleCode>;
}

impl ToModuleCode for Arc<Module> {
    fn to_module_code(&self, tier: &Arc<dyn Tier>) -> Arc<ModuleCode> {
        ModuleCode::new(tier, self)
    }
}

impl ToModuleCode for Arc<ModuleCode> {
    fn to_module_code(&self, _: &Arc<dyn Tier>) -> Arc<ModuleCode> {
        Arc::clone(self)
    }
}

/// Finds the bytes of the module for positions in a function's bytecode, given as distances in bytes from its start.
pub type OffsetsOf = fn(&FuncCode, &[usize]) -> Vec<Option<u32>>;

/// The bytecode of one function.
#[derive(Debug)]
pub struct Bytecode {
    words: NonNull<[u64]>,
    loops: Box<[LoopCode]>,
    /// From which word on exceptions of callees go to which word, if to any; ascending.
    pads: Box<[(u32, Option<u32>)]>,
    calls: u32,
    callees: Box<[FuncIdx]>,
    offsets_of: OffsetsOf,
}

// SAFETY: running code reads the words and writes only those that `LoopCode` changes atomically.
unsafe impl Send for Bytecode {}
// SAFETY: as above.
unsafe impl Sync for Bytecode {}

impl Bytecode {
    /// The bytecode of `words`, from which `offsets_of` finds back to the module.
    #[must_use]
    pub fn new(words: Box<[u64]>, offsets_of: OffsetsOf) -> Bytecode {
        Bytecode {
            words: NonNull::from(Box::leak(words)),
            loops: Box::default(),
            pads: Box::default(),
            calls: 0,
            callees: Box::default(),
            offsets_of,
        }
    }

    /// The words, which stay where they are.
    #[must_use]
    pub fn words(&self) -> NonNull<[u64]> {
        self.words
    }

    /// Adds the loops, in the order of the body.
    pub fn set_loops(&mut self, loops: Box<[LoopCode]>) {
        self.loops = loops;
    }

    /// Says where exceptions go that come from a call: from which word on to which word, if to any, in ascending order.
    pub fn set_pads(&mut self, pads: &[(u32, Option<u32>)]) {
        self.pads = pads.into();
    }

    /// Where an exception goes that comes from the instruction which the byte `byte` is of.
    #[must_use]
    pub fn pad(&self, byte: usize) -> Option<NonNull<u64>> {
        let word = (byte / size_of::<u64>()) as u32;
        let behind = self.pads.partition_point(|&(from, _)| from <= word);
        let (_, pad) = self.pads[behind.checked_sub(1)?];
        let words: NonNull<u64> = self.words.cast();
        // SAFETY: pads are words of the code.
        Some(unsafe { words.add(pad? as usize) })
    }

    /// The loops that can be reached.
    #[must_use]
    pub fn loops(&self) -> &[LoopCode] {
        &self.loops
    }

    /// Says how many calls there are in it, and which functions of the module it calls directly, in any order.
    pub fn set_calls(&mut self, calls: u32, mut callees: Vec<FuncIdx>) {
        callees.sort_unstable();
        callees.dedup();
        self.calls = calls;
        self.callees = callees.into();
    }

    /// The number of calls in it.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// The functions of the module that it calls directly, each once.
    #[must_use]
    pub fn callees(&self) -> &[FuncIdx] {
        &self.callees
    }

    /// True if it has neither loops nor calls, so that a call of it takes what [`FuncCode::cost`] says.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.calls == 0 && self.loops.is_empty()
    }

    /// The innermost loop around `pc`.
    #[must_use]
    pub fn loop_around(&self, pc: usize) -> Option<&LoopCode> {
        // An inner loop begins behind the one that it is in.
        self.loops.iter().rev().find(|of| of.contains(pc))
    }

    pub(crate) fn offsets_of(&self) -> OffsetsOf {
        self.offsets_of
    }
}

impl Drop for Bytecode {
    fn drop(&mut self) {
        // SAFETY: `new` took the words out of a box; whoever runs them keeps their owner.
        drop(unsafe { Box::from_raw(self.words.as_ptr()) });
    }
}

/// The code of a module, for instances that count fuel or for those that do not.
#[derive(Debug)]
pub struct CodeSet {
    owner: *const ModuleCode,
    metered: bool,
    /// Number of functions that the module imports.
    imported: u32,
    funcs: Box<[FuncCode]>,
    /// Whose bytecode begins at an address.
    by_address: RwLock<BTreeMap<usize, FuncIdx>>,
}

// SAFETY: the owner outlives its sets and is shared between threads; the rest is, by its type.
unsafe impl Send for CodeSet {}
// SAFETY: as above.
unsafe impl Sync for CodeSet {}

impl CodeSet {
    fn new(owner: &ModuleCode, metered: bool) -> Box<CodeSet> {
        let module = owner.module();
        let mut set = Box::new(CodeSet {
            owner,
            metered,
            imported: module.imported_funcs(),
            funcs: Box::default(),
            by_address: RwLock::default(),
        });
        let address = std::ptr::from_ref(&*set);
        let defined = (0..).zip(module.funcs()).skip(set.imported as usize);
        let func = |(index, ty): (u32, &TypeIdx)| {
            let (sig, points) = (owner.type_id(*ty), owner.entry_points());
            let ty = module.types().func(*ty);
            FuncCode::of_module(address, metered, FuncIdx(index), ty, sig, points)
        };
        set.funcs = defined.map(func).collect();
        set
    }

    /// The code of the module that this is a part of.
    pub fn module_code(&self) -> &ModuleCode {
        // SAFETY: the owner, which is never moved, outlives its sets.
        unsafe { &*self.owner }
    }

    /// True if callers of these functions count fuel.
    pub fn is_metered(&self) -> bool {
        self.metered
    }

    /// The functions that the module defines, one behind the other.
    pub(crate) fn funcs(&self) -> &[FuncCode] {
        &self.funcs
    }

    /// The function at `index` of the module's index space; `None` for an import.
    ///
    /// # Panics
    /// If there is no such function.
    pub fn func(&self, index: FuncIdx) -> Option<&FuncCode> {
        let defined = index.0.checked_sub(self.imported)?;
        Some(&self.funcs[defined as usize])
    }

    /// Keeps the bytecode of `func`, a function of this set, unless another thread was faster; what is kept.
    pub fn add_bytecode<'a>(&self, func: &'a FuncCode, bytecode: Bytecode) -> &'a Bytecode {
        let mut by_address = self.by_address.write();
        if let Some(known) = func.body() {
            return known;
        }
        by_address.insert(bytecode.words().addr().get(), func.index);
        func.keep_body(Box::new(bytecode))
    }

    fn bytecode_bytes(&self) -> usize {
        let by_address = self.by_address.read();
        let bodies = by_address
            .values()
            .filter_map(|&func| self.func(func)?.body());
        bodies
            .map(|body| body.words().len() * size_of::<u64>())
            .sum()
    }

    fn func_at(&self, pc: usize) -> Option<(&FuncCode, usize)> {
        let (start, func) = {
            let by_address = self.by_address.read();
            let (&start, &func) = by_address.range(..pc).next_back()?;
            (start, func)
        };
        let func = self.func(func)?;
        let end = start + func.body()?.words().len() * size_of::<u64>();
        (pc <= end).then_some((func, pc - 1 - start))
    }
}
