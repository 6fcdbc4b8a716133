//! Coroutines: calls of the host on stacks of their own, which stop in the middle and go on later, while others run.
//!
//! Whoever starts or resumes one waits on its own stack until the coroutine stops or ends. A guest that is entered in a
//! coroutine has its frames on the coroutine's two stacks: interpreted ones on the value stack, compiled ones and those of
//! host functions on the native one.
//!
//! What of a store is about the stack that runs, and so is exchanged with each switch ([`StackState`]):
//!
//! | what | why |
//! |---|---|
//! | base, limits and free end of the value stack | frames of calls are laid where the innermost ones end |
//! | the native limits, and the one that compiled code compares with (`Guard::set_stack_limit`) | they are addresses of one stack; an interrupt that was raised stays so, since the guard keeps `STOP` apart |
//! | the outermost entry into the guest | scanning for references ends there, and traps and panics are taken there |
//! | the list of activations, and the calling instance | they are links from frame to frame. A back trace of a coroutine ends where that was begun: who resumes it is no caller of its guest |
//! | scopes of handles | they are left in the reverse order of their begin, on one stack |
//! | what compiled code has left for its next exit, and the code that was refused last | both are about the stack that ran |
//!
//! What is not: fuel, the account of work, interrupts and deadlines, the heap. A trap that was raised, an exception in
//! flight and a fault that was taken down are taken where the guest is left, before anything can be switched. Signal handlers run
//! on the thread's alternate stack and find an entry by the frame pointer at fault, on whatever stack. Neither traps nor exceptions
//! nor panics unwind over the begin of a coroutine: its body's result is handed over by value.
//!
//! * *Invariant:* each stack that does not run is known to the collector by one [`Aside`]: the stack of a coroutine that has
//!   stopped, or the stack that a running one was resumed from. All registers that may hold a reference are on that stack then.
//! * *Invariant:* a coroutine goes on only on the thread that it was started on, so what its frames hold need not be `Send`, and
//!   no frame has an address of another thread's.
//! * *Invariant:* the frames of a coroutine that has stopped are not just forgotten. When the store ends, each goes on once
//!   more, with an error that its guest can't catch, so that frames of the host drop what they have. On another thread that
//!   is not possible: then its native stack, and what the frames of the host have, is leaked.
//! * *Invariant:* a native stack has an inaccessible page at its end, so an overflow of a host function is a fault.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::thread::{self, ThreadId};

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use parking_lot::Mutex;
use tiered_heap::ScopedRoots;

use crate::vm::backtrace::Activation;
use crate::vm::frame::Slot;
use crate::vm::host_limit::Request;
use crate::vm::limits::{LimitError, Limits};
use crate::vm::native_stack::Bounds;
use crate::vm::pages::{self, HOST_PAGE_BYTES};
use crate::vm::registers;
use crate::vm::stack::ValueStack;
use crate::vm::store_ctx::{StoreCtx, TailCall};
use crate::vm::trap::Trap;
use crate::vm::vmctx::VmCtx;

/// Bytes of a native stack beyond those that the guest may use.
const HOST_BYTES: usize = 256 << 10;

/// The fewest and the most bytes of a native stack that the guest may use.
const GUEST_BYTES: (usize, usize) = (64 << 10, 8 << 20);

/// Bytes next to its base that a native stack keeps in the pool; few coroutines use more.
const KEPT_BYTES: usize = 16 << 10;

/// How many native stacks the pool keeps.
const KEPT: usize = 64;

/// How many pairs of stacks a store keeps, just as they are.
const KEPT_BY_STORE: usize = 16;

/// The native stacks that nobody uses, of whatever size.
static POOL: Mutex<Vec<DefaultStack>> = Mutex::new(Vec::new());

/// What a coroutine is given that starts or goes on: its store.
type Order = NonNull<()>;

/// How a coroutine has ended.
type Ended = thread::Result<Result<(), Trap>>;

type Switch = Yielder<Order, ()>;

/// The two stacks of a coroutine.
struct Stacks {
    native: DefaultStack,
    values: ValueStack,
}

impl Stacks {
    fn new(limits: &Limits) -> Result<Stacks, LimitError> {
        let guest = limits.native_stack_bytes;
        let size = guest.clamp(GUEST_BYTES.0, GUEST_BYTES.1) + HOST_BYTES;
        let size = size.next_multiple_of(HOST_PAGE_BYTES);
        let bytes = |stack: &DefaultStack| stack.base().get() - stack.limit().get();
        let pooled = {
            let mut pool = POOL.lock();
            let fits = |stack: &DefaultStack| bytes(stack) == size + HOST_PAGE_BYTES;
            let place = pool.iter().rposition(fits);
            place.map(|place| pool.swap_remove(place))
        };
        let native = match pooled {
            Some(native) => native,
            None => DefaultStack::new(size).map_err(|error| {
                let request = Request::reserved(size).writable(size);
                LimitError::host("a native stack", error, request)
            })?,
        };
        let values = ValueStack::new(limits.stack_bytes)?;
        Ok(Stacks { native, values })
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            low: self.native.limit().get() + HOST_PAGE_BYTES,
            high: self.native.base().get(),
        }
    }

    /// Gives the stacks back: nothing is on them.
    fn recycle(self) {
        let Bounds { low, high } = self.bounds();
        let kept = high - KEPT_BYTES;
        let start = std::ptr::with_exposed_provenance_mut(low);
        // SAFETY: the pages belong to the stack, on which nothing runs.
        let discarded =
            NonNull::new(start).map(|low| unsafe { pages::discard(low, kept - low.addr().get()) });
        let mut pool = POOL.lock();
        if discarded.is_some_and(|done| done.is_ok()) && pool.len() < KEPT {
            pool.push(self.native);
        }
    }
}

/// What of a store's context is about the stack that runs; see the module.
struct StackState {
    stack_limit: NonNull<Slot>,
    stack_base: NonNull<Slot>,
    last_stack_limit: NonNull<Slot>,
    free: NonNull<Slot>,
    deep: bool,
    native_limit: usize,
    compiled_limit: usize,
    native_top: usize,
    bounds: Option<Bounds>,
    activation: *const Activation,
    caller: *const VmCtx,
    store: Option<NonNull<()>>,
    arrival: u8,
    misfit: (usize, usize),
    tail_call: Option<TailCall>,
    switch: *const Switch,
    scopes: ScopedRoots,
}

impl StackState {
    /// That of a coroutine before it starts.
    fn new(stacks: &mut Stacks) -> StackState {
        let values = &mut stacks.values;
        StackState {
            stack_limit: values.first_limit(),
            stack_base: values.base(),
            last_stack_limit: values.limit(),
            free: values.base(),
            deep: false,
            native_limit: 0,
            compiled_limit: 0,
            native_top: 0,
            bounds: Some(stacks.bounds()),
            activation: std::ptr::null(),
            caller: std::ptr::null(),
            store: None,
            arrival: 0,
            misfit: (0, 0),
            tail_call: None,
            switch: std::ptr::null(),
            scopes: ScopedRoots::default(),
        }
    }
}

/// A stack that does not run.
struct Aside {
    state: StackState,
    /// Its native stack pointer.
    stack: usize,
}

/// What a store's context knows of coroutines.
#[derive(Default)]
pub(crate) struct Coroutines {
    /// By the coroutines that have begun and not ended: its own stack, or, while it runs, the one that it was resumed from.
    aside: RefCell<Vec<Option<Box<Aside>>>>,
    /// Places that no coroutine has.
    vacant: RefCell<Vec<usize>>,
    /// The bounds of the native stack that runs, if it is a coroutine's.
    bounds: Cell<Option<Bounds>>,
    /// How the coroutine that runs stops; null if none runs.
    switch: Cell<*const Switch>,
    /// The native stack pointer of the coroutine that has stopped last.
    stopped_at: Cell<usize>,
    /// The store ends.
    is_ending: Cell<bool>,
}

impl Coroutines {
    /// Where the native stack that runs is, if it is a coroutine's.
    #[inline]
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        self.bounds.get()
    }

    /// Gives `each` what is in use of both stacks of those that do not run and have guest code on them.
    pub(crate) fn each_aside(&self, mut each: impl FnMut(Range<*const Slot>, Range<usize>)) {
        for aside in self.aside.borrow().iter().flatten() {
            let state = &aside.state;
            if state.native_limit != 0 {
                let base = state.stack_base.as_ptr().cast_const();
                each(
                    base..state.free.as_ptr().cast_const(),
                    aside.stack..state.native_top,
                );
            }
        }
    }

    /// A place for a new coroutine.
    fn add(&self, state: StackState) -> usize {
        let aside = Some(Box::new(Aside { state, stack: 0 }));
        let mut asides = self.aside.borrow_mut();
        match self.vacant.borrow_mut().pop() {
            Some(place) => {
                asides[place] = aside;
                place
            }
            None => {
                asides.push(aside);
                asides.len() - 1
            }
        }
    }

    /// The coroutine of this place has ended; whether its value stack is deep.
    fn remove(&self, place: usize) -> bool {
        let aside = self.aside.borrow_mut()[place].take();
        self.vacant.borrow_mut().push(place);
        aside.is_some_and(|aside| aside.state.deep)
    }
}

impl StoreCtx {
    /// Exchanges what is about the stack that runs with what is at `place`; `stack` is the stack pointer that belongs to the
    /// former.
    fn exchange(&self, place: usize, stack: usize) {
        fn swap<V: Copy>(cell: &Cell<V>, value: &mut V) {
            *value = cell.replace(*value);
        }
        let mut asides = self.coroutines.aside.borrow_mut();
        let Some(aside) = &mut asides[place] else {
            unreachable!("a coroutine has a place until it has ended");
        };
        aside.stack = stack;
        let other = &mut aside.state;
        swap(&self.stack_limit, &mut other.stack_limit);
        swap(&self.stack_base, &mut other.stack_base);
        swap(&self.last_stack_limit, &mut other.last_stack_limit);
        swap(&self.free, &mut other.free);
        swap(&self.deep, &mut other.deep);
        swap(&self.native_limit, &mut other.native_limit);
        swap(&self.compiled_limit, &mut other.compiled_limit);
        swap(&self.native_top, &mut other.native_top);
        swap(&self.coroutines.bounds, &mut other.bounds);
        swap(&self.activation, &mut other.activation);
        swap(&self.caller, &mut other.caller);
        swap(&self.store, &mut other.store);
        swap(&self.arrival, &mut other.arrival);
        swap(&self.misfit, &mut other.misfit);
        swap(&self.tail_call, &mut other.tail_call);
        swap(&self.coroutines.switch, &mut other.switch);
        self.references.exchange_scopes(&mut other.scopes);
        // One that has not entered the guest sets it when it does.
        if self.native_limit.get() != 0 {
            self.guard.set_stack_limit(self.compiled_limit.get());
        }
    }

    /// Whether a coroutine runs.
    pub(crate) fn is_in_coroutine(&self) -> bool {
        !self.coroutines.switch.get().is_null()
    }

    /// Whether the store ends, and coroutines with it.
    pub(crate) fn is_ending(&self) -> bool {
        self.coroutines.is_ending.get()
    }

    /// The coroutine that runs stops, and its resumer goes on. Returns when it is resumed, with the store.
    ///
    /// # Safety
    /// A coroutine of this store runs.
    pub(crate) unsafe fn stop(&self) -> Option<Order> {
        let mut order = None;
        // The registers are on the stack now, where a collection looks for references.
        registers::with_saved(|stack| {
            self.coroutines.stopped_at.set(stack);
            // SAFETY: the caller's promise; the coroutine's body has it as long as it runs.
            order = Some(unsafe { &*self.coroutines.switch.get() }.suspend(()));
        });
        order
    }
}

/// A coroutine that does not run.
struct Stopped {
    coroutine: Coroutine<Order, (), Ended, DefaultStack>,
    values: ValueStack,
    thread: ThreadId,
}

/// The coroutines that a store has, and stacks for more.
#[derive(Default)]
pub(crate) struct CoroutineTable {
    /// By their places; none for those that run.
    stopped: Vec<Option<Box<Stopped>>>,
    /// How many there are, those that run among them.
    count: usize,
    /// Stacks that nobody uses.
    idle: Vec<Stacks>,
}

/// What has become of a coroutine for now.
pub(crate) enum Ran {
    Ended(Result<(), Trap>),
    Panicked(Box<dyn Any + Send>),
    Stopped,
}

/// Where a coroutine is that is about to run, out of the store's table.
pub(crate) struct Ready {
    place: usize,
    stopped: Box<Stopped>,
}

impl CoroutineTable {
    /// How many have begun and not ended.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// A new coroutine, which runs `body` with what it is given.
    ///
    /// # Errors
    /// [`LimitError::Count`], or the host has no room for its stacks.
    pub(crate) fn begin(
        &mut self,
        ctx: &StoreCtx,
        body: impl FnOnce(Order) -> Result<(), Trap> + 'static,
    ) -> Result<Ready, LimitError> {
        let limit = ctx.limits.coroutines;
        if self.count >= limit {
            let what = "coroutines (tasks that wait in the middle)";
            return Err(LimitError::Count { what, limit });
        }
        let mut stacks = match self.idle.pop() {
            Some(stacks) => stacks,
            None => Stacks::new(&ctx.limits)?,
        };
        self.count += 1;
        let place = ctx.coroutines.add(StackState::new(&mut stacks));
        let Stacks { native, values } = stacks;
        let context = NonNull::from(ctx);
        let coroutine = Coroutine::with_stack(native, move |switch: &Switch, order| {
            // SAFETY: the context lives as long as the store, which ends its coroutines first.
            unsafe { context.as_ref() }.coroutines.switch.set(switch);
            catch_unwind(AssertUnwindSafe(|| body(order)))
        });
        let thread = thread::current().id();
        let stopped = Box::new(Stopped {
            coroutine,
            values,
            thread,
        });
        Ok(Ready { place, stopped })
    }

    /// Takes the coroutine at `place` out, to run it; `None` if it was started on another thread.
    pub(crate) fn take(&mut self, place: usize) -> Option<Ready> {
        let slot = self.stopped.get_mut(place)?;
        let here = thread::current().id();
        let stopped = slot.take_if(|stopped| stopped.thread == here)?;
        Some(Ready { place, stopped })
    }

    /// Where those are that do not run.
    pub(crate) fn places(&self) -> Vec<usize> {
        let all = self.stopped.iter().enumerate();
        all.filter_map(|(place, stopped)| stopped.is_some().then_some(place))
            .collect()
    }

    /// Puts back a coroutine that has run.
    pub(crate) fn put_back(&mut self, ctx: &StoreCtx, mut ready: Ready, ran: &Ran) {
        let place = ready.place;
        if matches!(ran, Ran::Stopped) {
            if self.stopped.len() <= place {
                self.stopped.resize_with(place + 1, || None);
            }
            self.stopped[place] = Some(ready.stopped);
            return;
        }
        self.count -= 1;
        if ctx.coroutines.remove(place) {
            ready.stopped.values.set_deep();
        }
        let stacks = Stacks {
            native: ready.stopped.coroutine.into_stack(),
            values: ready.stopped.values,
        };
        if self.idle.len() < KEPT_BY_STORE {
            self.idle.push(stacks);
        } else {
            stacks.recycle();
        }
    }

    /// Gives back all stacks, and leaks those that frames are on: the store ends.
    pub(crate) fn release(&mut self) {
        for mut stopped in self.stopped.drain(..).flatten() {
            stopped.values.set_deep();
            // What is on it can't be dropped, so it stays where it is.
            std::mem::forget(stopped.coroutine);
        }
        self.idle.drain(..).for_each(Stacks::recycle);
    }
}

impl Ready {
    /// Where it is.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Runs it until it stops or ends.
    ///
    /// # Safety
    /// `order` is what the body of a coroutine of `ctx`'s store expects, as long as it runs.
    pub(crate) unsafe fn run(&mut self, ctx: &StoreCtx, order: Order) -> Ran {
        let mut result = None;
        let coroutine = &mut self.stopped.coroutine;
        // The registers are on the stack now, where a collection looks for references.
        registers::with_saved(|stack| {
            ctx.exchange(self.place, stack);
            result = Some(coroutine.resume(order));
            ctx.exchange(self.place, ctx.coroutines.stopped_at.get());
        });
        match result {
            Some(CoroutineResult::Return(Ok(ended))) => Ran::Ended(ended),
            Some(CoroutineResult::Return(Err(payload))) => Ran::Panicked(payload),
            Some(CoroutineResult::Yield(())) | None => Ran::Stopped,
        }
    }
}

impl StoreCtx {
    /// From now on, coroutines that go on are told that the store ends.
    pub(crate) fn begin_to_end(&self) {
        self.coroutines.is_ending.set(true);
    }
}

impl std::fmt::Debug for CoroutineTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoroutineTable")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
