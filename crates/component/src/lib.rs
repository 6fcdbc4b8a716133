//! The component model on tiered: a component's core modules run in the tiers like any module, and what is between them
//! and the host is the canonical ABI.
//!
//! ```
//! use tiered::{Engine, Store};
//! use tiered_component::{Component, Linker};
//!
//! # fn main() -> Result<(), tiered_component::Error> {
//! let engine = Engine::default();
//! let component = Component::new(&engine, r#"(component
//!     (import "double" (func $double (param "n" u32) (result u32)))
//!     (core func $lowered (canon lower (func $double)))
//!     (core module $m
//!         (import "" "double" (func $double (param i32) (result i32)))
//!         (func (export "run") (param i32) (result i32)
//!             (i32.add (call $double (local.get 0)) (i32.const 1))))
//!     (core instance $i (instantiate $m (with "" (instance (export "double" (func $lowered))))))
//!     (func (export "run") (param "n" u32) (result u32) (canon lift (core func $i "run"))))"#)?;
//! let mut linker = Linker::<()>::new();
//! linker.func("", "double", |_, (n,): (u32,)| Ok(n * 2))?;
//! let mut store = Store::new(&engine, ())?;
//! let instance = linker.instantiate(&mut store, &component)?;
//! let run = instance.func("", "run")?.typed::<(u32,), u32>()?;
//! assert_eq!(run.call(&mut store, &(20,))?, 41);
//! # Ok(())
//! # }
//! ```
//!
//! * `plan` reads a component and takes its nesting apart: [`Component`].
//! * `linker` compares what it imports with what a host has: [`Linker`].
//! * `instance` takes the plan's steps on a store: [`Instance`]; `state` is what an instance keeps, `handles` its tables.
//! * `lowered` and `host` are calls from components to the host, `func` the other way round: [`Func`], [`TypedFunc`].
//! * `converted` is for calls of host functions on flat core values by components with other canonical options.
//! * `trampoline` has the runtime's own functions, `transcode` strings between components.
//! * [`types`] and [`abi`] are the canonical ABI by itself, which knows no store.
//!
//! *Invariant:* the validator checks component-level types, and linking compares them with the host's once. A value that
//! comes from a guest is checked when it is lifted, as the specification says; a wrong one is a trap with the function,
//! the path to the value and the reason.
//! *Invariant:* nothing that a guest asks for is allocated before it is bounded.
//! *Invariant:* no slice of a guest's memory is held across a call into a guest.
//! *Invariant:* after a trap, a component instance is not entered again.
//! *Invariant:* nothing takes it for granted that a caller's frame is below the callee's on one native stack.
//! *Invariant:* this crate knows no WASI.

#![deny(unsafe_code)]

pub mod abi;
mod component;
pub mod concurrent;
mod context;
mod converted;
mod error;
mod func;
mod handles;
mod host;
mod instance;
mod limits;
mod linker;
mod lowered;
mod names;
mod plan;
mod resource;
mod slab;
mod state;
mod trampoline;
mod transcode;
pub mod types;
mod val;
#[cfg(feature = "wave")]
pub mod wave;

pub use component::{Component, ItemType};
pub use error::{Error, InvalidComponent};
pub use func::{Call, Func, Progress, TypedFunc};
pub use instance::Instance;
pub use limits::Limits;
pub use linker::{InstancePre, LinkError, Linker};
pub use lowered::Lowered;
pub use resource::{HostResource, ResourceType};
pub use val::{Handle, Val};
