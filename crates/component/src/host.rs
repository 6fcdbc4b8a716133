//! Calls of host functions whose arguments are lifted and whose results are lowered: the canonical ABI's `lower` for those that
//! are not written on flat core values.
//!
//! *Invariant:* what the guest lends to such a call can't be dropped until it returns, and what the host holds by it is gone
//! then.

use std::sync::Arc;

use tiered::{Caller, Global, Memory, Slots, SlotsFunc, Trap};

use crate::abi::{self, AbiError, FlatValues, LiftContext, LowerContext};
use crate::component::Component;
use crate::concurrent::SubtaskState;
use crate::context::Context;
use crate::func::{LiftedFrom, LoweredTo, realloc_trap};
use crate::lowered::set_flag;
use crate::state::Shared;
use crate::types::{CallKind, FuncTypeId, MAX_FLAT_PARAMS};

/// How a component has lowered a function whose values are lifted.
pub(crate) struct HostLowering {
    pub(crate) shared: Arc<Shared>,
    pub(crate) component: Component,
    /// The function's name for messages.
    pub(crate) name: Box<str>,
    pub(crate) ty: FuncTypeId,
    /// The calling one of the component's instances.
    pub(crate) instance: u32,
    pub(crate) options: abi::Options,
    pub(crate) memory: Option<Memory>,
    pub(crate) realloc: Option<SlotsFunc>,
    pub(crate) may_leave: Global,
    /// How many flat arguments there are.
    pub(crate) params: usize,
    /// Whether the guest does not wait; it is told at once that the function has returned.
    pub(crate) is_async: bool,
    pub(crate) lifted_bytes: u64,
}

/// A call of such a function.
pub(crate) struct HostCall<'a, T: 'static> {
    pub(crate) caller: Caller<'a, T>,
    pub(crate) slots: Slots<'a>,
    pub(crate) lowering: &'a HostLowering,
}

impl<T: 'static> HostCall<'_, T> {
    /// Runs a function: `lift` takes the arguments, `lower` gives the result.
    pub(crate) fn run<P, R>(
        &mut self,
        lift: impl FnOnce(&mut LiftContext<'_>, FuncTypeId, CallKind) -> Result<P, AbiError>,
        body: impl FnOnce(&mut Caller<'_, T>, P) -> Result<R, Trap>,
        lower: impl FnOnce(
            &mut LowerContext<'_>,
            FuncTypeId,
            CallKind,
            &R,
            &[u64],
        ) -> Result<FlatValues, AbiError>,
    ) -> Result<(), Trap> {
        let HostLowering {
            shared,
            component,
            name,
            ty,
            instance,
            options,
            memory,
            realloc,
            may_leave,
            params,
            is_async,
            lifted_bytes,
        } = self.lowering;
        let kind = match is_async {
            true => CallKind::LowerAsync,
            false => CallKind::Lower,
        };
        // One more than the parameters: where the result goes.
        let mut args = [0; MAX_FLAT_PARAMS + 1];
        let args = &mut args[..*params];
        for (index, arg) in args.iter_mut().enumerate() {
            *arg = self.slots.get(index);
        }
        let trap = |error: &AbiError| Trap::message(format!("{name}: {error}"));

        shared
            .state(&mut self.caller)
            .begin_call(Context::default())?;
        let (state, bytes) = shared.state_and_bytes(&mut self.caller, *memory);
        let mut handles = LiftedFrom {
            state,
            instance: *instance,
        };
        let cx = LiftContext::new(component.types(), *options, bytes, args, &mut handles);
        let lifted = lift(&mut cx.with_budget(*lifted_bytes), *ty, kind);
        let lifted = lifted.map_err(|error| trap(&error))?;

        let result = body(&mut self.caller, lifted)?;

        set_flag(&mut self.caller, *may_leave, false);
        let mut guest = LoweredTo {
            store: &mut self.caller,
            shared,
            instance: *instance,
            options: *options,
            memory: *memory,
            realloc: *realloc,
        };
        let mut cx = LowerContext::new(component.types(), *options, &mut guest);
        let lowered = lower(&mut cx, *ty, kind, &result, args);
        let lowered = lowered.map_err(|error| match realloc_trap(error) {
            Ok(trap) => trap,
            Err(error) => trap(&error),
        })?;
        set_flag(&mut self.caller, *may_leave, true);
        shared.state(&mut self.caller).end_call()?;
        match (is_async, lowered.first()) {
            (true, _) => self.slots.set(0, SubtaskState::Returned as u64),
            (false, Some(&result)) => self.slots.set(0, result),
            (false, None) => {}
        }
        Ok(())
    }
}
