//! Calls that run beside each other: what a server has of an instance.

use tiered::{AnyStore, Trap};

use super::Func;
use crate::concurrent::{self, Left, Start, Task};
use crate::error::Error;
use crate::instance::Instance;
use crate::plan::Side;
use crate::slab::Id;
use crate::types::CallKind;
use crate::val::{Handle, Val};

impl Func {
    /// Begins a call that runs while [`Instance::run`] does, beside others: of a server, one for each request. Its arguments
    /// are lowered when its turn comes; if they are not of the function's type, that is a trap.
    ///
    /// # Errors
    /// [`Error::Trap`] if there are as many tasks as there may be; [`Error::OtherStore`].
    pub fn start(&self, store: &mut AnyStore, args: Vec<Val>) -> Result<Call, Error> {
        let shared = &self.instance.0.shared;
        if !shared.belongs_to(store) {
            return Err(Error::OtherStore);
        }
        let (this, ty) = (self.clone(), self.func.ty);
        let start = Start::Host(Box::new(move |store, _| {
            let lowered = this.lower_args(store, |cx| cx.params(ty, CallKind::Lift, &args));
            match lowered {
                Ok(args) => Ok(args.as_ref().into()),
                Err(Error::Trap(trap)) => Err(trap),
                Err(error) => Err(Trap::host(error)),
            }
        }));
        let task = self.new_task(store, start, move |cx, kind| cx.result(ty, kind))?;
        shared.state(store).enqueue(task);
        let func = self.clone();
        Ok(Call { func, task })
    }
}

/// A call in progress, begun by [`Func::start`].
#[derive(Clone, Debug)]
pub struct Call {
    func: Func,
    task: Id<Task>,
}

impl Call {
    /// What the call has returned, if it has: the first time; afterwards the call is over for the host.
    ///
    /// # Errors
    /// [`Error::Trap`] if the result was taken before, or its instance has trapped; [`Error::OtherStore`].
    pub fn result(&self, store: &mut AnyStore) -> Result<Option<Option<Val>>, Error> {
        let shared = &self.func.instance.0.shared;
        if !shared.belongs_to(store) {
            return Err(Error::OtherStore);
        }
        let state = shared.state(store);
        if !state.task(self.task)?.state.is_resolved() {
            return Ok(None);
        }
        Ok(Some(self.func.take_result(state, self.task)?))
    }
}

/// Why [`Instance::run`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A call has returned.
    Returned,
    /// Nothing is left that could go on: all tasks have ended, or wait for calls that the host has not begun.
    Idle,
    /// The host's waiter has ended the wait, and nothing it waited for is ready.
    Woken,
}

impl Instance {
    /// Runs the tasks of this instance until one of the calls that the host has [begun](Func::start) has returned, until there
    /// is nothing left to do, or until the host's [waiter](crate::Linker::waiter) ends a wait with nothing ready: that is how a
    /// server comes to begin another call.
    ///
    /// # Errors
    /// As [`TypedFunc::call`](crate::TypedFunc::call).
    pub fn run(&self, store: &mut AnyStore) -> Result<Progress, Error> {
        let shared = &self.0.shared;
        if !shared.belongs_to(store) {
            return Err(Error::OtherStore);
        }
        shared.state(store).enter()?;
        let ran = concurrent::run(
            store,
            shared,
            &mut |state| std::mem::take(&mut state.concurrent.returned) > 0,
            true,
        );
        let ran = ran.and_then(|left| {
            shared.state(store).end_call()?;
            Ok(left)
        });
        shared.state(store).leave(ran.is_err());
        Ok(match ran? {
            Left::Done => Progress::Returned,
            Left::Nothing => Progress::Idle,
            Left::Woken => Progress::Woken,
        })
    }

    /// Runs the tasks of this instance until all have ended, also what they do after they have returned.
    ///
    /// # Errors
    /// As [`TypedFunc::call`](crate::TypedFunc::call); [`Error::Trap`] if one waits for what never comes.
    pub fn finish(&self, store: &mut AnyStore) -> Result<(), Error> {
        while self.tasks(store)? > 0 {
            let before = self.tasks(store)?;
            if self.run(store)? == Progress::Idle && self.tasks(store)? == before {
                return Err(concurrent::deadlock().into());
            }
        }
        Ok(())
    }

    /// How many tasks have not ended.
    ///
    /// # Errors
    /// [`Error::OtherStore`].
    pub fn tasks(&self, store: &mut AnyStore) -> Result<usize, Error> {
        let shared = &self.0.shared;
        if !shared.belongs_to(store) {
            return Err(Error::OtherStore);
        }
        Ok(shared.state(store).concurrent.tasks.len())
    }

    /// Drops the readable end of a stream or a future that the host was given as a value.
    ///
    /// # Errors
    /// [`Error::Value`] if the host has no such end; [`Error::OtherStore`]; [`Error::Trap`].
    pub fn drop_readable(&self, store: &mut AnyStore, handle: Handle) -> Result<(), Error> {
        let shared = &self.0.shared;
        if !shared.belongs_to(store) {
            return Err(Error::OtherStore);
        }
        let state = shared.state(store);
        let end = state.held_end(handle);
        let end = end.map_err(|error| Error::Value(error.to_string()))?;
        match state.end_dropped(end, Side::Read)? {
            Some(end) => Ok(concurrent::end(store, shared, end)?),
            None => Ok(()),
        }
    }
}
