//! `error-context`: a text that passes between components, by reference.

use std::sync::Arc;

use tiered::{AnyStore, Trap};

use crate::abi::{HandleError, LiftContext, LowerContext, Place};
use crate::concurrent::ErrorContext;
use crate::concurrent::builtin::BoundOptions;
use crate::func::{LiftedFrom, LoweredTo, realloc_trap};
use crate::handles::Item;
use crate::lowered::set_flag;
use crate::slab::Id;
use crate::state::{Shared, State};
use crate::types::ValType;
use crate::val::{Handle, Val};

/// Whose handles are error contexts that the host has as values.
const VALUES: u64 = u64::MAX - 2;

impl State {
    fn error_context(&mut self, instance: u32, index: u32) -> Result<Id<ErrorContext>, Trap> {
        match self.table(instance).item(index).map_err(Trap::host)? {
            Item::ErrorContext(id) => Ok(id),
            _ => Err(Trap::host(HandleError::OtherType(index))),
        }
    }

    /// Gives an instance a handle to an error context.
    pub(crate) fn give_error_context(
        &mut self,
        instance: u32,
        id: Id<ErrorContext>,
    ) -> Result<u32, Trap> {
        let index = self.table(instance).insert_item(Item::ErrorContext(id));
        let index = index.map_err(Trap::host)?;
        if let Some(error) = self.concurrent.error_contexts.get_mut(id) {
            error.handles += 1;
        }
        Ok(index)
    }

    /// The host takes an error context as a value; the instance has it still.
    pub(crate) fn lift_error_context(
        &mut self,
        instance: u32,
        index: u32,
    ) -> Result<Handle, HandleError> {
        let Item::ErrorContext(id) = self.table(instance).item(index)? else {
            return Err(HandleError::OtherType(index));
        };
        Ok(Handle {
            owner: VALUES,
            index: id.bits(),
        })
    }

    /// The host gives an instance an error context that it has as a value, and some instance still has.
    pub(crate) fn lower_error_context(
        &mut self,
        instance: u32,
        handle: Handle,
    ) -> Result<u32, HandleError> {
        let id = Id::from_bits(handle.index);
        if handle.owner != VALUES || self.concurrent.error_contexts.get(id).is_none() {
            return Err(HandleError::Foreign);
        }
        self.give_error_context(instance, id)
            .map_err(|_| HandleError::Full)
    }

    /// An adapter passes an error context to another instance; the first one has it still.
    pub(crate) fn transfer_error_context(
        &mut self,
        from: u32,
        to: u32,
        index: u32,
    ) -> Result<u32, Trap> {
        let id = self.error_context(from, index)?;
        self.give_error_context(to, id)
    }

    /// `error-context.drop`
    pub(crate) fn drop_error_context(&mut self, instance: u32, index: u32) -> Result<(), Trap> {
        let id = self.error_context(instance, index)?;
        self.table(instance).remove_item(index);
        let contexts = &mut self.concurrent.error_contexts;
        if let Some(error) = contexts.get_mut(id) {
            error.handles -= 1;
            if error.handles == 0 {
                let bytes = error.message.len() as u64;
                contexts.remove(id);
                self.concurrent.error_context_bytes -= bytes;
            }
        }
        Ok(())
    }
}

/// `error-context.new`
pub(crate) fn new(
    store: &mut AnyStore,
    shared: &Shared,
    options: &BoundOptions,
    text: [u64; 2],
) -> Result<u32, Trap> {
    let instance = options.instance;
    let (state, bytes) = shared.state_and_bytes(store, options.memory);
    let mut handles = LiftedFrom { state, instance };
    let types = shared.component.types();
    let cx = LiftContext::new(types, options.abi, bytes, &text, &mut handles);
    let mut cx = cx.with_budget(shared.limits.lifted_bytes);
    let message = cx.val(ValType::String, Place::Flat(0));
    let message =
        message.map_err(|error| Trap::message(format!("invalid debug message: {error}")))?;
    let Val::String(mut message) = message else {
        unreachable!("a string is lifted as one");
    };
    let state = shared.state(store);
    let used = state.concurrent.error_context_bytes;
    let left = shared.limits.error_context_bytes.saturating_sub(used);
    let mut end = message
        .len()
        .min(usize::try_from(left).unwrap_or(usize::MAX));
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message.shrink_to_fit();
    state.concurrent.error_context_bytes += message.len() as u64;
    let handles = 0;
    let id = state.concurrent.error_contexts.insert(ErrorContext {
        message,
        handles,
    });
    state.give_error_context(instance, id)
}

/// `error-context.debug-message`: address and length go to `pointer`.
pub(crate) fn debug_message(
    store: &mut AnyStore,
    shared: &Arc<Shared>,
    options: &BoundOptions,
    index: u32,
    pointer: u64,
) -> Result<(), Trap> {
    let state = shared.state(store);
    let id = state.error_context(options.instance, index)?;
    let message = state.concurrent.error_contexts.get(id);
    let message =
        Val::String(message.map_or_else(Default::default, |error| error.message.as_str().into()));
    set_flag(store, options.may_leave, false);
    let mut guest = LoweredTo {
        store,
        shared,
        instance: options.instance,
        memory: options.memory,
        options: options.abi,
        realloc: options.realloc,
    };
    let types = shared.component.types();
    let mut cx = LowerContext::new(types, options.abi, &mut guest);
    let put = cx.put_val(ValType::String, Place::Memory(pointer), &message);
    put.map_err(|error| match realloc_trap(error) {
        Ok(trap) => trap,
        Err(error) => Trap::message(format!("a debug message: {error}")),
    })?;
    set_flag(store, options.may_leave, true);
    Ok(())
}
