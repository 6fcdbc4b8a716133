//! Calls of host functions on flat core values by components whose canonical options are not those that such functions are
//! written for: strings in another encoding than UTF-8, or a memory of 64-bit addresses.
//!
//! The arguments are lifted from the guest's memory and lowered into a memory that exists for the call alone, in which the
//! function finds them; its result goes back the same way. Handles are passed as the numbers that they are: the function looks
//! them up as in any call.
//!
//! *Invariant:* that memory is no larger than what the values of one call may take of the host's.

use std::sync::Arc;

use tiered::{Caller, Memory, Slots, SlotsFunc, Trap};

use crate::abi::{
    self, AbiError, FlatValues, Guest, HandleError, HandleType, LiftContext, LiftHandles,
    LowerContext,
};
use crate::component::Component;
use crate::func::{LoweredTo, realloc_trap};
use crate::linker::LoweredBody;
use crate::lowered::{Args, Lowered, Lowering, set_flag};
use crate::types::{CallKind, FuncTypeId, MAX_FLAT_PARAMS};
use crate::val::{Handle, Val};

/// The options that host functions on flat core values are written for.
const OPTIONS: abi::Options = abi::Options {
    encoding: abi::StringEncoding::Utf8,
    address: crate::types::AddressType::I32,
};

/// How a component has lowered a function that is called so.
pub(crate) struct Conversion<T: 'static> {
    pub(crate) component: Component,
    /// The function's name for messages.
    pub(crate) name: Box<str>,
    pub(crate) ty: FuncTypeId,
    /// The guest's.
    pub(crate) options: abi::Options,
    pub(crate) memory: Option<Memory>,
    pub(crate) realloc: Option<SlotsFunc>,
    /// How many flat arguments there are.
    pub(crate) params: usize,
    pub(crate) lifted_bytes: u64,
    /// For the function: without the guest's memory.
    pub(crate) lowering: Arc<Lowering<T>>,
}

impl<T: 'static> Conversion<T> {
    /// Calls the function with the guest's arguments in `slots`, where the result goes.
    pub(crate) fn call(
        &self,
        mut caller: Caller<'_, T>,
        mut slots: Slots<'_>,
        body: &LoweredBody<T>,
    ) -> Result<(), Trap> {
        // One more than the parameters: where the result goes.
        let mut args = [0; MAX_FLAT_PARAMS + 1];
        let args = &mut args[..self.params];
        for (index, arg) in args.iter_mut().enumerate() {
            *arg = slots.get(index);
        }
        let values = self.lift_params(&mut caller, args)?;
        let mut scratch = Box::new(Scratch::new(self.lifted_bytes));
        let (lowered, result_at) = self.lower_params(&mut scratch, &values)?;
        drop(values);
        let passed = lowered.iter().copied().chain(result_at);
        for (index, arg) in passed.enumerate() {
            slots.set(index, arg);
        }
        let mut lowered = Lowered {
            caller,
            args: Args::Slots(slots),
            lowering: &self.lowering,
            pending: None,
            scratch: Some(scratch),
        };
        body(&mut lowered)?;
        let Lowered {
            mut caller,
            args: Args::Slots(mut slots),
            scratch,
            ..
        } = lowered
        else {
            unreachable!("the function was called with slots");
        };
        let flat = match (result_at, slots.is_empty()) {
            (Some(at), _) => at,
            (None, true) => 0,
            (None, false) => slots.get(0),
        };
        let memory = scratch.as_ref().map_or(&[][..], |scratch| &scratch.bytes);
        let result = self.lift_result(memory, flat)?;
        drop(scratch);
        let lowered = self.lower_result(&mut caller, result.as_ref(), args)?;
        if let Some(&result) = lowered.first() {
            slots.set(0, result);
        }
        Ok(())
    }

    fn lift_params(&self, caller: &mut Caller<'_, T>, args: &[u64]) -> Result<Vec<Val>, Trap> {
        let bytes = match self.memory {
            Some(memory) => memory.data(caller),
            None => &[],
        };
        let types = self.component.types();
        let mut handles = AsTheyAre;
        let cx = LiftContext::new(types, self.options, bytes, args, &mut handles);
        let values = cx
            .with_budget(self.lifted_bytes)
            .params(self.ty, CallKind::Lower);
        values.map_err(|error| self.trap(error))
    }

    /// Lowers the arguments; they, and where the result goes if it is not a core value.
    fn lower_params(
        &self,
        scratch: &mut Scratch,
        values: &[Val],
    ) -> Result<(FlatValues, Option<u64>), Trap> {
        let types = self.component.types();
        let mut cx = LowerContext::new(types, OPTIONS, scratch);
        let lowered = cx.params(self.ty, CallKind::Lower, values);
        let lowered = lowered.map_err(|error| self.trap(error))?;
        let abi = types.func(self.ty).result_abi();
        if usize::from(abi.flat) <= CallKind::Lower.max_flat_results() {
            return Ok((lowered, None));
        }
        let layout = abi.layout(OPTIONS.address);
        let at = scratch.allocate(layout.align.into(), layout.size.into())?;
        Ok((lowered, Some(at.into())))
    }

    /// The result is a core value, or lies at one: as that of a function that is lifted.
    fn lift_result(&self, memory: &[u8], flat: u64) -> Result<Option<Val>, Trap> {
        let (types, flat) = (self.component.types(), [flat]);
        let mut handles = AsTheyAre;
        let cx = LiftContext::new(types, OPTIONS, memory, &flat, &mut handles);
        let result = cx
            .with_budget(self.lifted_bytes)
            .result(self.ty, CallKind::Lift);
        result.map_err(|error| self.trap(error))
    }

    fn lower_result(
        &self,
        caller: &mut Caller<'_, T>,
        result: Option<&Val>,
        args: &[u64],
    ) -> Result<FlatValues, Trap> {
        let Lowering {
            shared,
            instance,
            may_leave,
            ..
        } = &*self.lowering;
        set_flag(caller, *may_leave, false);
        let mut guest = Passing(LoweredTo {
            store: caller,
            shared,
            instance: *instance,
            options: self.options,
            memory: self.memory,
            realloc: self.realloc,
        });
        let mut cx = LowerContext::new(self.component.types(), self.options, &mut guest);
        let lowered = cx.result(self.ty, CallKind::Lower, result, args);
        let lowered = lowered.map_err(|error| self.trap(error))?;
        set_flag(caller, *may_leave, true);
        Ok(lowered)
    }

    fn trap(&self, error: AbiError) -> Trap {
        match realloc_trap(error) {
            Ok(trap) => trap,
            Err(error) => Trap::message(format!("{}: {error}", self.name)),
        }
    }
}

/// The memory of one call, in which a function on flat core values finds its arguments and puts its result.
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    limit: u64,
}

impl Scratch {
    fn new(limit: u64) -> Scratch {
        Scratch {
            // No value is at address 0.
            bytes: vec![0; 16],
            limit: limit.min(u32::MAX.into()),
        }
    }

    /// A new range of zeros.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn allocate(&mut self, align: u64, size: u64) -> Result<u32, Trap> {
        let at = (self.bytes.len() as u64).next_multiple_of(align.max(1));
        let end = at.saturating_add(size);
        if end > self.limit {
            return Err(Trap::message(
                "values of one call take more memory of the host than is allowed",
            ));
        }
        self.bytes.resize(end as usize, 0);
        Ok(at as u32)
    }

    /// What `realloc` of a guest does.
    ///
    /// # Errors
    /// There is no room, or the old range is none.
    pub(crate) fn reallocate(
        &mut self,
        old: u64,
        old_size: u64,
        align: u64,
        size: u64,
    ) -> Result<u32, Trap> {
        if size <= old_size && old_size > 0 {
            return Ok(old as u32);
        }
        let at = self.allocate(align, size)?;
        let end = old.saturating_add(old_size);
        if end > at.into() {
            return Err(Trap::message("the old range of `realloc` is out of bounds"));
        }
        let old = old as usize..end as usize;
        self.bytes.copy_within(old, at as usize);
        Ok(at)
    }
}

impl Guest for Scratch {
    fn memory(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn realloc(
        &mut self,
        old: u64,
        old_size: u64,
        align: u32,
        size: u64,
    ) -> Result<u64, tiered::Error> {
        Ok(self.reallocate(old, old_size, align.into(), size)?.into())
    }

    fn lower_handle(&mut self, _: HandleType, handle: Handle) -> Result<u32, HandleError> {
        number(handle)
    }
}

/// Handles that stay in their table.
struct AsTheyAre;

impl LiftHandles for AsTheyAre {
    fn lift_handle(&mut self, _: HandleType, index: u32) -> Result<Handle, HandleError> {
        Ok(Handle {
            owner: 0,
            index: index.into(),
        })
    }
}

fn number(handle: Handle) -> Result<u32, HandleError> {
    u32::try_from(handle.index).map_err(|_| HandleError::Foreign)
}

/// The guest, to whom the function has given the handles already.
struct Passing<'a>(LoweredTo<'a>);

impl Guest for Passing<'_> {
    fn memory(&mut self) -> &mut [u8] {
        self.0.memory()
    }

    fn realloc(
        &mut self,
        old: u64,
        old_size: u64,
        align: u32,
        size: u64,
    ) -> Result<u64, tiered::Error> {
        self.0.realloc(old, old_size, align, size)
    }

    fn lower_handle(&mut self, _: HandleType, handle: Handle) -> Result<u32, HandleError> {
        number(handle)
    }
}
