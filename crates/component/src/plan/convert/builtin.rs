//! The built-ins of asynchronous calls, and the types of what they pass.

use wasmtime_environ::component::{
    self as environ, InterfaceType, OptionsIndex, RuntimeComponentInstanceIndex,
    TypeComponentLocalErrorContextTableIndex, TypeFutureTableIndex, TypeStreamTableIndex,
};

use wasmtime_environ::EntityRef;

use super::{Converter, Result};
use crate::error::InvalidComponent;
use crate::plan::{AsyncBuiltin, EndTable, EndTables, Side};
use crate::types::{TypeId, ValType};

impl Converter<'_> {
    /// A built-in of asynchronous calls; `None` if it is none.
    pub(super) fn async_builtin(
        &mut self,
        trampoline: &environ::Trampoline,
    ) -> Result<Option<AsyncBuiltin>> {
        use environ::Trampoline as From;
        let stream = |this: &mut Self, ty| this.end_type(InterfaceType::Stream(ty));
        let future = |this: &mut Self, ty| this.end_type(InterfaceType::Future(ty));
        Ok(Some(match *trampoline {
            From::BackpressureInc { instance } => AsyncBuiltin::BackpressureInc {
                instance: instance.as_u32(),
            },
            From::BackpressureDec { instance } => AsyncBuiltin::BackpressureDec {
                instance: instance.as_u32(),
            },
            From::TaskReturn {
                instance,
                results,
                options,
            } => AsyncBuiltin::TaskReturn {
                instance: instance.as_u32(),
                results: results.as_u32(),
                options: options.as_u32(),
            },
            From::TaskCancel { instance } => AsyncBuiltin::TaskCancel {
                instance: instance.as_u32(),
            },
            From::WaitableSetNew { instance } => AsyncBuiltin::WaitableSetNew {
                instance: instance.as_u32(),
            },
            From::WaitableSetWait { instance, options } => AsyncBuiltin::WaitableSetWait {
                instance: instance.as_u32(),
                options: options.as_u32(),
            },
            From::WaitableSetPoll { instance, options } => AsyncBuiltin::WaitableSetPoll {
                instance: instance.as_u32(),
                options: options.as_u32(),
            },
            From::WaitableSetDrop { instance } => AsyncBuiltin::WaitableSetDrop {
                instance: instance.as_u32(),
            },
            From::WaitableJoin { instance } => AsyncBuiltin::WaitableJoin {
                instance: instance.as_u32(),
            },
            From::SubtaskDrop { instance } => AsyncBuiltin::SubtaskDrop {
                instance: instance.as_u32(),
            },
            From::SubtaskCancel { instance, async_ } => AsyncBuiltin::SubtaskCancel {
                instance: instance.as_u32(),
                is_async: async_,
            },
            From::ThreadYield {
                instance,
                cancellable,
            } => AsyncBuiltin::Yield {
                instance: instance.as_u32(),
                is_cancellable: cancellable,
            },
            From::StreamNew { instance, ty } => AsyncBuiltin::New {
                instance: instance.as_u32(),
                ty: stream(self, ty)?,
            },
            From::FutureNew { instance, ty } => AsyncBuiltin::New {
                instance: instance.as_u32(),
                ty: future(self, ty)?,
            },
            From::StreamRead {
                instance,
                ty,
                options,
            } => copy(instance, stream(self, ty)?, Side::Read, options),
            From::StreamWrite {
                instance,
                ty,
                options,
            } => copy(instance, stream(self, ty)?, Side::Write, options),
            From::FutureRead {
                instance,
                ty,
                options,
            } => copy(instance, future(self, ty)?, Side::Read, options),
            From::FutureWrite {
                instance,
                ty,
                options,
            } => copy(instance, future(self, ty)?, Side::Write, options),
            From::StreamCancelRead {
                instance,
                ty,
                async_,
            } => cancel(instance, stream(self, ty)?, Side::Read, async_),
            From::StreamCancelWrite {
                instance,
                ty,
                async_,
            } => cancel(instance, stream(self, ty)?, Side::Write, async_),
            From::FutureCancelRead {
                instance,
                ty,
                async_,
            } => cancel(instance, future(self, ty)?, Side::Read, async_),
            From::FutureCancelWrite {
                instance,
                ty,
                async_,
            } => cancel(instance, future(self, ty)?, Side::Write, async_),
            From::StreamDropReadable { instance, ty } => {
                drop_end(instance, stream(self, ty)?, Side::Read)
            }
            From::StreamDropWritable { instance, ty } => {
                drop_end(instance, stream(self, ty)?, Side::Write)
            }
            From::FutureDropReadable { instance, ty } => {
                drop_end(instance, future(self, ty)?, Side::Read)
            }
            From::FutureDropWritable { instance, ty } => {
                drop_end(instance, future(self, ty)?, Side::Write)
            }
            From::ErrorContextNew {
                instance, options, ..
            } => AsyncBuiltin::ErrorContextNew {
                instance: instance.as_u32(),
                options: options.as_u32(),
            },
            From::ErrorContextDebugMessage {
                instance, options, ..
            } => AsyncBuiltin::ErrorContextMessage {
                instance: instance.as_u32(),
                options: options.as_u32(),
            },
            From::ErrorContextDrop { instance, .. } => AsyncBuiltin::ErrorContextDrop {
                instance: instance.as_u32(),
            },
            From::PrepareCall { memory } => AsyncBuiltin::PrepareCall {
                memory: memory.map(|memory| self.memories[memory.index()].clone()),
            },
            From::SyncStartCall { callback } => AsyncBuiltin::SyncStartCall {
                callback: callback.map(|func| self.callbacks[func.index()].clone()),
            },
            From::AsyncStartCall {
                callback,
                post_return,
            } => AsyncBuiltin::AsyncStartCall {
                callback: callback.map(|func| self.callbacks[func.index()].clone()),
                post_return: post_return.map(|func| self.post_returns[func.index()].clone()),
            },
            From::StreamTransfer => AsyncBuiltin::StreamTransfer,
            From::FutureTransfer => AsyncBuiltin::FutureTransfer,
            From::ErrorContextTransfer => AsyncBuiltin::ErrorContextTransfer,
            _ => return Ok(None),
        }))
    }

    /// The type of a stream or a future.
    fn end_type(&mut self, ty: InterfaceType) -> Result<TypeId> {
        match self.value(ty)? {
            ValType::Defined(id) => Ok(id),
            _ => Err(InvalidComponent::new("a stream or future of no type")),
        }
    }

    pub(super) fn end_tables(&mut self) -> Result<EndTables> {
        let component = self.component;
        let mut streams = Vec::with_capacity(component.num_stream_tables);
        for index in 0..component.num_stream_tables as u32 {
            let table = TypeStreamTableIndex::from_u32(index);
            streams.push(EndTable {
                ty: self.end_type(InterfaceType::Stream(table))?,
                instance: self.from[table].instance.as_u32(),
            });
        }
        let mut futures = Vec::with_capacity(component.num_future_tables);
        for index in 0..component.num_future_tables as u32 {
            let table = TypeFutureTableIndex::from_u32(index);
            futures.push(EndTable {
                ty: self.end_type(InterfaceType::Future(table))?,
                instance: self.from[table].instance.as_u32(),
            });
        }
        let tables = 0..component.num_error_context_tables as u32;
        let error_contexts = tables.map(|index| {
            let table = TypeComponentLocalErrorContextTableIndex::from_u32(index);
            self.from[table].instance.as_u32()
        });
        Ok(EndTables {
            streams,
            futures,
            error_contexts: error_contexts.collect(),
        })
    }
}

fn copy(
    instance: RuntimeComponentInstanceIndex,
    ty: TypeId,
    side: Side,
    options: OptionsIndex,
) -> AsyncBuiltin {
    AsyncBuiltin::Copy {
        instance: instance.as_u32(),
        ty,
        side,
        options: options.as_u32(),
    }
}

fn cancel(
    instance: RuntimeComponentInstanceIndex,
    ty: TypeId,
    side: Side,
    is_async: bool,
) -> AsyncBuiltin {
    AsyncBuiltin::CancelCopy {
        instance: instance.as_u32(),
        ty,
        side,
        is_async,
    }
}

fn drop_end(instance: RuntimeComponentInstanceIndex, ty: TypeId, side: Side) -> AsyncBuiltin {
    AsyncBuiltin::DropEnd {
        instance: instance.as_u32(),
        ty,
        side,
    }
}

/// The canonical built-in that a trampoline is, one of those for cooperative threads.
pub(super) fn thread_name(trampoline: &environ::Trampoline) -> &'static str {
    use environ::Trampoline as From;
    match trampoline {
        From::ThreadIndex { .. } => "thread.index",
        From::ThreadNewIndirect { .. } => "thread.new-indirect",
        From::ThreadResumeLater { .. } => "thread.resume-later",
        From::ThreadSuspend { .. } => "thread.suspend",
        From::ThreadSuspendThenResume { .. } => "thread.suspend-then-resume",
        From::ThreadYieldThenResume { .. } => "thread.yield-then-resume",
        From::ThreadSuspendThenPromote { .. } => "thread.suspend-then-promote",
        From::ThreadYieldThenPromote { .. } => "thread.yield-then-promote",
        _ => "a built-in that is not known",
    }
}
