//! Calls: within an instance, to other instances and the host, and through tables.
//!
//! A call writes the header of the callee's frame and goes on in the callee's bytecode with the callee's [`FuncCode`] in
//! the accumulator. Where it returns to is the cell behind the call; where the callee may be of another instance, that
//! cell is a [`Reload`], which a call that stayed within the instance skips.
//!
//! *Invariant:* `mem` and `instance` are those of the instance whose code runs; that is also what the header of each
//! frame says ([`HEADER_INSTANCE`]).
//! *Invariant:* [`StoreCtx::caller`](tiered_runtime::vmctx::StoreCtx) is the calling instance whenever a function
//! of the host or of another instance is entered.

use std::marker::PhantomData;
use std::ptr::NonNull;

use tiered_decode::types::{IndexType, TypeId};
use tiered_runtime::code::{FuncCode, FuncRecord};
use tiered_runtime::frame::{HEADER_INSTANCE, MAX_STAY};
use tiered_runtime::vmctx::VmCtx;
use tiered_runtime::{TableRecord, TrapCode};

use crate::exec::{CallSpent, StackCheck, StackOverflow};
use crate::operand::{A, B, Class, D, Reg, Src, WithSrc};
use crate::regs::{Ended, Handler, Op, Regs, exec};

/// Words of a [`Reload`].
const RELOAD_WORDS: usize = 2;

/// Enters `func` with the frame at `frame`; it is to return to `back`, of the function whose frame is at `regs.fp`.
#[inline(always)]
unsafe fn enter(
    mut regs: Regs,
    func: *const FuncCode,
    frame: *mut u64,
    header: usize,
    back: *const u64,
) -> Ended {
    // SAFETY: the function is alive; behind the limit there is room for one more header, so the start of the frame may be
    // checked after it is written (stack.rs).
    unsafe {
        let header = frame.add(header);
        *header = back.expose_provenance() as u64;
        *header.add(1) = regs.fp.expose_provenance() as u64;
        *header.add(HEADER_INSTANCE).cast() = regs.instance;
        regs.fp = frame;
        regs.acc = func.expose_provenance() as u64;
        if frame > regs.ctx().stack_limit.get().as_ptr() {
            return regs.become_op::<StackCheck>();
        }
        charge(regs, func)
    }
}

/// Takes the call off the account of work and goes on in the callee, whose frame has its header.
#[inline(always)]
pub(crate) unsafe fn charge(regs: Regs, func: *const FuncCode) -> Ended {
    // SAFETY: the function is alive.
    unsafe {
        let work = &regs.ctx().work;
        let left = work.get().wrapping_sub((*func).charge());
        work.set(left);
        if left < 0 {
            return regs.become_op::<CallSpent>();
        }
        regs.jump((*func).bytecode())
    }
}

/// Where the slot of a callee's frame stands in the cell of a call.
trait FrameField: 'static {
    /// The frame of a call that has `NEAR` as its field for slots within reach, and `FAR` for all others.
    ///
    /// # Safety
    /// The cell was written with this field.
    unsafe fn frame<const NEAR: usize, const FAR: usize>(regs: &Regs) -> *mut u64;
}

struct Near;
struct Far;

impl FrameField for Near {
    #[inline(always)]
    unsafe fn frame<const NEAR: usize, const FAR: usize>(regs: &Regs) -> *mut u64 {
        // SAFETY: the caller's promise.
        unsafe { regs.slot::<NEAR>() }
    }
}

impl FrameField for Far {
    #[inline(always)]
    unsafe fn frame<const NEAR: usize, const FAR: usize>(regs: &Regs) -> *mut u64 {
        // SAFETY: the caller's promise.
        unsafe { regs.far_slot::<FAR>() }
    }
}

/// Calls a function of the same instance. The fields: `a` the slot of the frame, or `b` if that is far, `d` the slot of
/// the header within it; then the function.
struct Call<F>(PhantomData<F>);

impl<F: FrameField> Op for Call<F> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            let func = regs.pointer::<FuncCode, 2>();
            enter(
                regs,
                func,
                F::frame::<A, B>(&regs),
                usize::from(regs.u16::<D>()),
                regs.pc.add(3),
            )
        }
    }
}

/// Calls an imported function: as [`Call`], but with the offset of the record's address in the instance; then a
/// [`Reload`].
struct CallImport<F>(PhantomData<F>);

impl<F: FrameField> Op for CallImport<F> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; the records of imports are filled in.
        unsafe {
            let record = *regs.in_instance::<*const FuncRecord, 2>();
            let (frame, header) = (F::frame::<A, B>(&regs), usize::from(regs.u16::<D>()));
            let back = regs.pc.add(3);
            let (code, instance) = (*record).parts();
            let regs = leave_instance(regs, instance);
            enter(regs, code.as_ptr(), frame, header, back)
        }
    }
}

/// Makes the registers those of the instance that is entered.
#[inline(always)]
pub(crate) unsafe fn leave_instance(mut regs: Regs, instance: NonNull<VmCtx>) -> Regs {
    regs.ctx().caller.set(regs.instance());
    regs.instance = f64::from_bits(instance.as_ptr().expose_provenance() as u64);
    // SAFETY: an instance is alive as long as its functions.
    regs.mem = unsafe { VmCtx::borrow(instance.as_ptr()) }
        .memory_bounds()
        .as_ptr();
    regs
}

/// The type of a table's indices.
pub(crate) trait Index: Reg + Into<u64> {}

impl Index for u32 {}
impl Index for u64 {}

/// Calls through a table. The fields: `a` the index, `d` the slot of the frame, `b` that of the header within it;
/// then the offset of the table's address in the instance, the type and the slot of a frame that is far, then a
/// [`Reload`].
struct CallIndirect<S, I, F>(PhantomData<(S, I, F)>);

/// Byte of the type of an indirect call.
pub(crate) const SIG: usize = 24;
/// Byte of the slot of an indirect call's frame that is far.
const FAR_FRAME: usize = 28;

/// The function that an indirect call leads to, whatever its type.
#[inline(always)]
unsafe fn any_element<S: Src, I: Index>(regs: &Regs) -> Result<*const FuncRecord, TrapCode> {
    // SAFETY: the translator wrote the cell; elements of a function table are addresses of records, filled in.
    unsafe {
        let index: u64 = S::read::<I, A>(regs).into();
        let table = *regs.in_instance::<*const TableRecord, 2>();
        let Some(element) = (*table).get(index) else {
            return Err(TrapCode::UndefinedElement);
        };
        let record = std::ptr::with_exposed_provenance::<FuncRecord>(element as usize);
        if record.is_null() {
            return Err(TrapCode::UninitializedElement);
        }
        Ok(record)
    }
}

/// The function that an indirect call leads to, if it has the very type that the call asks for.
/// [`TrapCode::IndirectCallTypeMismatch`] is for the caller to look further into: it may be a subtype.
#[inline(always)]
pub(crate) unsafe fn element<S: Src, I: Index>(regs: &Regs) -> Result<*const FuncRecord, TrapCode> {
    // SAFETY: the translator wrote the cell; records that references point to are filled in.
    unsafe {
        let record = any_element::<S, I>(regs)?;
        if (*record).sig().number() != regs.u32::<SIG>() {
            return Err(TrapCode::IndirectCallTypeMismatch);
        }
        Ok(record)
    }
}

/// As [`element`], if the function's type is a subtype of that.
#[inline(always)]
pub(crate) unsafe fn element_of_subtype<S: Src, I: Index>(
    regs: &Regs,
) -> Result<*const FuncRecord, TrapCode> {
    // SAFETY: as above; the cell has the number of a type of the module.
    unsafe {
        let record = any_element::<S, I>(regs)?;
        if !is_subtype(record, *regs.pc.byte_add(SIG).cast()) {
            return Err(TrapCode::IndirectCallTypeMismatch);
        }
        Ok(record)
    }
}

/// # Safety
/// It is the record of a function.
#[inline(never)]
unsafe fn is_subtype(record: *const FuncRecord, ty: TypeId) -> bool {
    // SAFETY: the caller's promise.
    unsafe { &*record }.sig().is_subtype_of(ty)
}

/// Calls the function with that record.
#[inline(always)]
unsafe fn call_element<F: FrameField>(regs: Regs, record: *const FuncRecord) -> Ended {
    // SAFETY: the translator wrote the cell; records that references point to are filled in.
    unsafe {
        let frame = F::frame::<D, FAR_FRAME>(&regs);
        let header = usize::from(regs.u16::<B>());
        let back = regs.pc.add(4);
        let (code, instance) = (*record).parts();
        let code = code.as_ptr();
        if instance.as_ptr() == regs.instance() {
            return enter(regs, code, frame, header, back.add(RELOAD_WORDS));
        }
        enter(leave_instance(regs, instance), code, frame, header, back)
    }
}

impl<S: Src, I: Index, F: FrameField> Op for CallIndirect<S, I, F> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell.
        unsafe {
            match element::<S, I>(&regs) {
                Ok(record) => call_element::<F>(regs, record),
                Err(TrapCode::IndirectCallTypeMismatch) => regs.become_op::<CallSubtype<S, I, F>>(),
                Err(code) => regs.trap(code),
            }
        }
    }
}

/// As [`CallIndirect`], of a function of another type, which may be a subtype.
struct CallSubtype<S, I, F>(PhantomData<(S, I, F)>);

impl<S: Src, I: Index, F: FrameField> Op for CallSubtype<S, I, F> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            match element_of_subtype::<S, I>(&regs) {
                Ok(record) => call_element::<F>(regs, record),
                Err(code) => regs.trap(code),
            }
        }
    }
}

/// The record that the field `a` refers to; `None` if that is null.
///
/// # Safety
/// The cell was written for a call of a reference.
#[inline(always)]
pub(crate) unsafe fn referred_to<S: Src>(regs: &Regs) -> Option<*const FuncRecord> {
    // SAFETY: the caller's promise.
    let reference = unsafe { S::read::<u64, A>(regs) };
    let record = std::ptr::with_exposed_provenance::<FuncRecord>(reference as usize);
    (!record.is_null()).then_some(record)
}

/// Calls what a reference is to. The fields: `a` the reference, `d` the slot of the frame, `b` that of the header within
/// it; then the slot of a frame that is far, then a [`Reload`].
struct CallRef<S, F>(PhantomData<(S, F)>);

/// Byte of the slot of such a call's frame that is far.
const FAR_FRAME_OF_REF: usize = 16;

impl<S: Src, F: FrameField> Op for CallRef<S, F> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; references to functions are addresses of records, filled in.
        unsafe {
            let Some(record) = referred_to::<S>(&regs) else {
                return regs.trap(TrapCode::NullFunctionReference);
            };
            let frame = F::frame::<D, FAR_FRAME_OF_REF>(&regs);
            let header = usize::from(regs.u16::<B>());
            let back = regs.pc.add(3);
            let (code, instance) = (*record).parts();
            let code = code.as_ptr();
            if instance.as_ptr() == regs.instance() {
                return enter(regs, code, frame, header, back.add(RELOAD_WORDS));
            }
            enter(leave_instance(regs, instance), code, frame, header, back)
        }
    }
}

/// Back from another instance: what is this one's comes from the header of the frame, whose slot the field `a` has.
struct Reload;

impl Op for Reload {
    #[inline(always)]
    unsafe fn run(mut regs: Regs) -> Ended {
        // SAFETY: the translator wrote the cell; whoever entered the function wrote the header.
        unsafe {
            let bits = *regs.slot::<A>().add(HEADER_INSTANCE) & !u64::from(MAX_STAY);
            regs.instance = f64::from_bits(bits);
            let instance = VmCtx::borrow(regs.instance());
            regs.mem = instance.memory_bounds().as_ptr();
            regs.next::<RELOAD_WORDS>()
        }
    }
}

/// Sets the slots from `a` on, as many as `b` says, to zero: a function's locals.
struct ZeroLocals;

impl Op for ZeroLocals {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: the slots are within the frame.
        unsafe {
            let (start, count) = (regs.slot::<A>(), regs.u32::<B>() as usize);
            std::ptr::write_bytes(start, 0, count);
            regs.next::<2>()
        }
    }
}

/// A function whose frame is so large that the stack is not shallow any more.
struct LargeFrame;

impl Op for LargeFrame {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        regs.ctx().set_deep();
        // SAFETY: a cell follows.
        unsafe { regs.next::<1>() }
    }
}

/// A function whose frame is so large that where it starts does not tell whether there is room. The second word has its
/// slots.
struct HugeFrame;

/// Words of its cell.
pub(crate) const HUGE_FRAME_WORDS: usize = 2;

impl Op for HugeFrame {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        regs.ctx().set_deep();
        // SAFETY: the translator wrote the cell; another one follows. The call left the callee in the accumulator.
        unsafe {
            if !regs.ctx().has_room_at(regs.fp, regs.word::<1>() as usize) {
                return regs.become_op::<StackOverflow>();
            }
            regs.next::<HUGE_FRAME_WORDS>()
        }
    }
}

/// As [`ZeroLocals`], for so few that it is better done here.
struct ZeroFewLocals<const N: usize>;

impl<const N: usize> Op for ZeroFewLocals<N> {
    #[inline(always)]
    unsafe fn run(regs: Regs) -> Ended {
        // SAFETY: as above.
        unsafe {
            let start = regs.slot::<A>();
            for index in 0..N {
                *start.add(index) = 0;
            }
            regs.next::<2>()
        }
    }
}

/// The handler that sets `count` locals to zero.
pub(crate) fn zero_handler(count: u32) -> Handler {
    const FEW: [Handler; 12] = [
        exec::<ZeroFewLocals<1>>,
        exec::<ZeroFewLocals<2>>,
        exec::<ZeroFewLocals<3>>,
        exec::<ZeroFewLocals<4>>,
        exec::<ZeroFewLocals<5>>,
        exec::<ZeroFewLocals<6>>,
        exec::<ZeroFewLocals<7>>,
        exec::<ZeroFewLocals<8>>,
        exec::<ZeroFewLocals<9>>,
        exec::<ZeroFewLocals<10>>,
        exec::<ZeroFewLocals<11>>,
        exec::<ZeroFewLocals<12>>,
    ];
    let few = (count as usize)
        .checked_sub(1)
        .and_then(|index| FEW.get(index));
    few.copied().unwrap_or(exec::<ZeroLocals>)
}

struct PickIndirect<I, F>(PhantomData<(I, F)>);

impl<I: Index, F: FrameField> WithSrc for PickIndirect<I, F> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<CallIndirect<S, I, F>>
    }
}

fn indirect_handler_of<I: Index>(a: Class, far: bool) -> Handler {
    if far {
        I::pick_a(a, PickIndirect::<I, Far>(PhantomData))
    } else {
        I::pick_a(a, PickIndirect::<I, Near>(PhantomData))
    }
}

/// The handler of an indirect call with an index of class `a` and of this type, and a frame that is near or far.
pub(crate) fn indirect_handler(a: Class, index: IndexType, far: bool) -> Handler {
    match index {
        IndexType::I32 => indirect_handler_of::<u32>(a, far),
        IndexType::I64 => indirect_handler_of::<u64>(a, far),
    }
}

struct PickCallRef<F>(PhantomData<F>);

impl<F: FrameField> WithSrc for PickCallRef<F> {
    type Out = Handler;
    fn with<S: Src>(self) -> Handler {
        exec::<CallRef<S, F>>
    }
}

/// The handler of a call of a reference of class `a`, with a frame that is near or far.
pub(crate) fn call_ref_handler(a: Class, far: bool) -> Handler {
    if far {
        u64::pick_a(a, PickCallRef::<Far>(PhantomData))
    } else {
        u64::pick_a(a, PickCallRef::<Near>(PhantomData))
    }
}

/// The handler that a function with a large frame begins with.
pub(crate) const LARGE_FRAME: Handler = exec::<LargeFrame>;
/// The handler that a function with a frame larger than what is within reach begins with.
pub(crate) const HUGE_FRAME: Handler = exec::<HugeFrame>;
/// The handlers of a call within the instance: with a near frame, with a far one.
pub(crate) const CALL: [Handler; 2] = [exec::<Call<Near>>, exec::<Call<Far>>];
/// The handlers of a call to an import: with a near frame, with a far one.
pub(crate) const CALL_IMPORT: [Handler; 2] = [exec::<CallImport<Near>>, exec::<CallImport<Far>>];
/// The handler behind a call that may leave the instance.
pub(crate) static RELOAD: Handler = exec::<Reload>;

/// The function that is entered, as a call leaves it in the accumulator.
#[inline(always)]
pub(crate) fn entered(regs: &Regs) -> NonNull<FuncCode> {
    let func = std::ptr::with_exposed_provenance_mut(regs.acc as usize);
    NonNull::new(func).expect("a call leaves the callee in the accumulator")
}
