//! In the place of `component.rs` where the feature `component` is off: there are no components, and scripts that have some are
//! told so.

use std::convert::Infallible;

use tiered::{Engine, Trap};
use wast::{WastArg, WastRet};

/// There is none.
#[derive(Clone)]
pub(crate) struct Definition(Infallible);

/// There is none.
#[derive(Clone)]
pub(crate) struct Instance(Infallible);

/// There is none.
pub(crate) struct Outcome(Infallible);

/// Why there is no instance: never asked, for there is no definition.
pub(crate) struct Refusal(Infallible);

impl Refusal {
    pub(crate) fn message(&self) -> String {
        match self.0 {}
    }

    pub(crate) fn trap(self) -> Result<Trap, String> {
        match self.0 {}
    }

    pub(crate) fn is_of_linking(&self) -> bool {
        match self.0 {}
    }
}

pub(crate) struct Host;

impl Host {
    pub(crate) fn new(_: &Engine) -> Result<Host, String> {
        Ok(Host)
    }

    pub(crate) fn read(_: &Engine, _: Vec<u8>) -> Result<Definition, String> {
        Err("not supported: components are left out of this build".into())
    }

    pub(crate) fn instantiate(
        &self,
        _: &Engine,
        component: &Definition,
    ) -> Result<Instance, Refusal> {
        match component.0 {}
    }

    pub(crate) fn register(&mut self, _: &str, instance: &Instance) -> Result<(), String> {
        match instance.0 {}
    }
}

impl Instance {
    pub(crate) fn invoke(
        &self,
        _: &str,
        _: &[WastArg<'_>],
    ) -> Result<Result<Outcome, Trap>, String> {
        match self.0 {}
    }
}

pub(crate) fn compare(found: &Outcome, _: &[WastRet<'_>]) -> Result<(), String> {
    match found.0 {}
}

pub(crate) fn same_reason(_: &str, _: &str) -> bool {
    false
}
