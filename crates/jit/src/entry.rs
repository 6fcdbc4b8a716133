//! Trampolines into and out of compiled code: one of each for a function type, and one into each compiled loop.
//!
//! An *entry* is an [`EntryFn`](tiered_runtime::code::EntryFn): arguments from the frame's slots into registers, call,
//! results back. Its call is a `try_call` whose handler the signal handler goes on at when a trap ended the guest, and
//! [`unwind`] when an exception did, which the handler is given then.
//! An *exit* has the native convention and does the opposite: it lays the arguments down as a frame behind all others
//! and calls the callee by everybody's entry point. A compiled function that finds the native stack used up before it
//! has begun is replaced by the exit for its type, which then has the first tier run it ([`fault::overflow`]).
//!
//! Compiled code may end in a tail call of what is not compiled. Then the exit stands where that code stood. If it is an
//! entry that waits there, nothing of that entry's guest is left: so the exit hands the tail call over to whoever called
//! the entry ([`Outcome::TailCall`]), who has the frame with the arguments, and goes on there. Otherwise it calls the callee
//! as ever. So a chain of tail calls back and forth between tiers takes no native stack.
//!
//! * *Invariant:* an entry keeps nothing in its frame that a trap must undo but [`StoreCtx::free`], which both of its
//!   ends put back.
//! * *Invariant:* an entry's frame says which store it was entered for: the handler has no other way to know.
//! * *Invariant:* what comes to an entry's handler has left a note of what it is ([`fault::caught`]).
//! * *Invariant:* while compiled code runs, [`StoreCtx::free`] is the frame that it was entered with: arguments and live
//!   slots have been read before anything else runs, so what is called may overwrite them.
//!
//! [`StoreCtx::free`]: tiered_runtime::vmctx::StoreCtx

use std::ptr::NonNull;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    AbiParam, BlockArg, ExceptionTableData, ExceptionTableItem, Function, InstBuilder,
    MemFlagsData, SigRef, Signature, StackSlot, StackSlotData, StackSlotKind, UserFuncName, Value,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use tiered_decode::types::FuncType;
use tiered_runtime::backtrace::Activation;
use tiered_runtime::code::{self, FuncCode, Outcome};
use tiered_runtime::frame::Slot;
use tiered_runtime::layout::offsets::{FUNC_NATIVE, STORE_FREE, VMCTX_STORE};
use tiered_runtime::vmctx::{Arrival, VmCtx};
use tiered_runtime::{Trap, TrapCode};

use crate::abi::{
    SLOT_BYTES, load_slots, loop_signature, results_in_memory, signature, store_slots,
};
use crate::error::CompileError;
use crate::fault;
use crate::trap;
use crate::unwind;

/// What an entry calls.
#[derive(Clone, Copy)]
pub(crate) enum Callee {
    /// The function's present code, with its arguments.
    Func,
    /// The loop whose code is at this address, with the frame.
    Loop(*const u8),
}

/// Where in its frame an entry says which store is running.
pub(crate) fn store_slot() -> StackSlot {
    // The first and only one.
    StackSlot::from_u32(0)
}

/// Fills `func` with the entry of functions, or of a loop, of type `ty`.
pub(crate) fn build_entry(
    ty: &FuncType,
    callee: Callee,
    isa: &dyn TargetIsa,
    builder_ctx: &mut FunctionBuilderContext,
    func: &mut Function,
) -> Result<(), CompileError> {
    func.name = UserFuncName::testcase("entry");
    func.signature = Signature::new(isa.default_call_conv());
    func.signature.params.extend([AbiParam::new(I64); 3]);
    func.signature.returns.push(AbiParam::new(I64));
    let mut b = FunctionBuilder::new(func, builder_ctx);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let params = b.block_params(block);
    let (vmctx, callee_code, frame) = (params[0], params[1], params[2]);
    let plain = MemFlagsData::trusted();
    let store = b.ins().load(I64, plain, vmctx, VMCTX_STORE);
    let free = b.ins().load(I64, plain, store, STORE_FREE);
    let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, SLOT_BYTES as u32, 3);
    let slot = b.create_sized_stack_slot(slot);
    debug_assert_eq!(slot, store_slot());
    b.ins().stack_store(I64, store, slot, 0);
    let mut args = vec![vmctx, callee_code];
    let in_memory = results_in_memory(ty);
    let (code, native) = match callee {
        Callee::Func => {
            load_slots(&mut b, frame, &ty.params, &mut args)?;
            args.extend(in_memory.then_some(frame));
            let native = b.ins().load(I64, plain, callee_code, FUNC_NATIVE);
            (native, signature(ty)?)
        }
        Callee::Loop(code) => {
            args.push(frame);
            (address(&mut b, code.addr()), loop_signature(ty)?)
        }
    };
    b.ins().store(plain, frame, store, STORE_FREE);

    let (returned, failed) = (b.create_block(), b.create_block());
    let exception = b.append_block_param(failed, I64);
    let mut results = Vec::with_capacity(native.returns.len());
    for result in &native.returns {
        results.push(b.append_block_param(returned, result.value_type));
    }
    let native = b.import_signature(native);
    let pool = &mut b.func.dfg.value_lists;
    let given = (0..results.len() as u32).map(BlockArg::TryCallRet);
    let normal = cranelift_codegen::ir::BlockCall::new(returned, given, pool);
    let handler = cranelift_codegen::ir::BlockCall::new(failed, [BlockArg::TryCallExn(0)], pool);
    let table = ExceptionTableData::new(native, normal, [ExceptionTableItem::Default(handler)]);
    let table = b.func.dfg.exception_tables.push(table);
    b.ins().try_call_indirect(code, &args, table);

    b.switch_to_block(returned);
    store_slots(&mut b, frame, &results);
    let outcome = b.ins().iconst(I64, Outcome::Returned as i64);
    finish(&mut b, store, free, outcome);

    let (threw, trapped) = (b.create_block(), b.create_block());
    b.switch_to_block(failed);
    b.set_cold_block(failed);
    b.ins().brif(exception, threw, &[], trapped, &[]);
    b.switch_to_block(threw);
    b.set_cold_block(threw);
    let outcome = b.ins().iconst(I64, Outcome::Threw as i64);
    finish(&mut b, store, free, outcome);
    b.switch_to_block(trapped);
    b.set_cold_block(trapped);
    let signature = host_signature(&mut b, isa, 1, true);
    let caught = address(&mut b, fault::caught as *const () as usize);
    let call = b.ins().call_indirect(signature, caught, &[store]);
    let outcome = b.inst_results(call)[0];
    finish(&mut b, store, free, outcome);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
    Ok(())
}

/// Puts back the free slots and returns.
fn finish(b: &mut FunctionBuilder<'_>, store: Value, free: Value, outcome: Value) {
    b.ins()
        .store(MemFlagsData::trusted(), free, store, STORE_FREE);
    b.ins().return_(&[outcome]);
}

/// Fills `func` with the exit by which compiled code calls functions of type `ty` that are not compiled.
pub(crate) fn build_exit(
    ty: &FuncType,
    isa: &dyn TargetIsa,
    builder_ctx: &mut FunctionBuilderContext,
    func: &mut Function,
) -> Result<(), CompileError> {
    func.name = UserFuncName::testcase("exit");
    func.signature = signature(ty)?;
    let mut b = FunctionBuilder::new(func, builder_ctx);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let params = b.block_params(block).to_vec();
    let (vmctx, callee_code) = (params[0], params[1]);
    let plain = MemFlagsData::trusted();
    let store = b.ins().load(I64, plain, vmctx, VMCTX_STORE);
    let frame = b.ins().load(I64, plain, store, STORE_FREE);
    store_slots(&mut b, frame, &params[2..2 + ty.params.len()]);
    let fp = b.ins().get_frame_pointer(I64);
    let signature = host_signature(&mut b, isa, 4, true);
    let leave = address(&mut b, leave as *const () as usize);
    let call = b
        .ins()
        .call_indirect(signature, leave, &[vmctx, callee_code, frame, fp]);
    let outcome = b.inst_results(call)[0];
    let failed = b
        .ins()
        .icmp_imm_u(IntCC::NotEqual, outcome, Outcome::Returned as i64);
    let (returned, other) = (b.create_block(), b.create_block());
    b.ins().brif(failed, other, &[], returned, &[]);
    b.switch_to_block(other);
    b.set_cold_block(other);
    end_exit(&mut b, isa, vmctx, outcome);
    b.switch_to_block(returned);
    let mut results = Vec::with_capacity(ty.results.len());
    load_slots(&mut b, frame, &ty.results, &mut results)?;
    if results_in_memory(ty) {
        store_slots(&mut b, params[2 + ty.params.len()], &results);
        results.clear();
    }
    b.ins().return_(&results);
    b.seal_all_blocks();
    b.finalize(isa.frontend_config());
    Ok(())
}

/// Ends an exit whose callee did not return: hands a tail call over to the entry below, throws what the callee threw, or
/// traps.
fn end_exit(b: &mut FunctionBuilder<'_>, isa: &dyn TargetIsa, vmctx: Value, outcome: Value) {
    let is_tail_call = b
        .ins()
        .icmp_imm_u(IntCC::Equal, outcome, Outcome::TailCall as i64);
    let (tail_call, ended) = (b.create_block(), b.create_block());
    let (threw, trapped) = (b.create_block(), b.create_block());
    b.ins().brif(is_tail_call, tail_call, &[], ended, &[]);
    b.switch_to_block(ended);
    b.set_cold_block(ended);
    let is_exception = b
        .ins()
        .icmp_imm_u(IntCC::Equal, outcome, Outcome::Threw as i64);
    b.ins().brif(is_exception, threw, &[], trapped, &[]);
    b.switch_to_block(threw);
    b.set_cold_block(threw);
    let signature = host_signature(b, isa, 2, false);
    let raise = address(b, unwind::raise as *const () as usize);
    let in_flight = b.ins().iconst(I64, 0);
    b.ins().call_indirect(signature, raise, &[vmctx, in_flight]);
    // It does not come back.
    b.ins().jump(trapped, &[]);
    b.switch_to_block(tail_call);
    b.set_cold_block(tail_call);
    let signature = host_signature(b, isa, 0, false);
    let hand_over = address(b, hand_over as *const () as usize);
    b.ins().call_indirect(signature, hand_over, &[]);
    // It does not come back.
    b.ins().jump(trapped, &[]);
    b.switch_to_block(trapped);
    b.set_cold_block(trapped);
    b.ins().trap(trap::RAISED);
}

/// Goes on at the handler of the entry that the exit which calls this would return to.
///
/// # Safety
/// Called by exits only, with nothing of the host's between them and the entry.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn hand_over() {
    // The frame pointer is the exit's, which keeps its caller's: an entry's own. Its handler expects no other register but
    // that of an exception, of which there is none.
    std::arch::naked_asm!(
        "mov rdi, rbp",
        "sub rsp, 8",
        "call {landing}",
        "mov rbp, [rbp]",
        "mov rsp, rdx",
        "mov rcx, rax",
        "xor eax, eax",
        "jmp rcx",
        landing = sym fault::landing_of_tail_call,
    )
}

/// Never reached: nothing is compiled for this machine.
#[cfg(not(target_arch = "x86_64"))]
unsafe extern "C" fn hand_over() {}

/// An address of the host's program, which stays where it is.
fn address(b: &mut FunctionBuilder<'_>, address: usize) -> Value {
    b.ins().iconst(I64, address as i64)
}

fn host_signature(
    b: &mut FunctionBuilder<'_>,
    isa: &dyn TargetIsa,
    params: usize,
    result: bool,
) -> SigRef {
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = vec![AbiParam::new(I64); params];
    signature.returns = vec![AbiParam::new(I64); usize::from(result)];
    b.import_signature(signature)
}

/// Calls `func` by everybody's entry point, or in the first tier if its compiled code was refused, from the exit whose
/// frame pointer is `fp`. Or, if an entry waits below that exit, keeps the call for whoever called the entry.
///
/// # Safety
/// Called by exits only: the arguments are in the frame.
unsafe extern "C" fn leave(
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
    fp: *const usize,
) -> Outcome {
    // SAFETY: compiled code calls the function of this instance, so both are alive.
    let (vmctx, callee) = unsafe { (VmCtx::borrow(instance.as_ptr()), func.as_ref()) };
    let ctx = vmctx.store();
    let arrival = ctx.take_arrival(func.as_ptr());
    ctx.lays_out(callee);
    // SAFETY: an exit's frame begins with its caller's frame pointer and the return address; the frame of the callee has
    // its arguments, and is below the limit.
    unsafe {
        let caller: *const Slot = std::ptr::with_exposed_provenance(*fp);
        let back = *fp.add(1);
        Activation::leave(ctx, fault::walk, back, caller, || {
            if !ctx.may_start_at(frame.as_ptr()) {
                ctx.raise(Trap::new(TrapCode::StackOverflow));
                return Outcome::Trapped;
            }
            if arrival != Arrival::Call {
                return leave_in_place(arrival, back, instance, func, frame);
            }
            code::call(instance, func, frame)
        })
    }
}

/// As [`leave`], from an exit that may stand in the place of code that is gone: `back` is where it would return to.
///
/// # Safety
/// As for [`leave`].
#[cold]
#[inline(never)]
unsafe fn leave_in_place(
    arrival: Arrival,
    back: usize,
    instance: NonNull<VmCtx>,
    func: NonNull<FuncCode>,
    frame: NonNull<Slot>,
) -> Outcome {
    // SAFETY: the caller's promise; the exit is going to return to `back`. The frame is the one that the entry, if it is
    // one that waits, was called with ([`StoreCtx::free`]).
    unsafe {
        let vmctx = VmCtx::borrow(instance.as_ptr());
        let is_refused = arrival == Arrival::Refused;
        // What the host runs ends in no tail call.
        if func.as_ref().is_of_module() && fault::is_of_entry(back) {
            if is_refused {
                vmctx.store().set_interpreted_tail_call(instance, func);
            } else {
                vmctx.store().set_tail_call(instance, func);
            }
            return Outcome::TailCall;
        }
        if is_refused {
            return code::call_interpreted(instance, func, frame);
        }
        code::call(instance, func, frame)
    }
}
