//! A garbage-collected heap for WebAssembly: objects never move, stacks may be scanned without knowing what is on them, and
//! compiled code allocates inline.
//!
//! ```text
//! one reservation:   [ … | block | block | block … ]         a block of 64 KiB has cells of one size
//! a block:           [ object | free | free | object | … ]   free cells are given out in runs
//! an object:         [ address of its type's descriptor | fields ]
//! ```
//!
//! It knows of types what a [`Descriptor`] says, and nothing of instances, stacks and tiers: roots are shown to it
//! ([`Roots`]). Use it through a [`Heap`], or, without `unsafe`, through a [`TypedHeap`].
//!
//! ```
//! use tiered_heap::{HeapConfig, Storage, TypedHeap};
//!
//! let mut heap = TypedHeap::<&str>::new(HeapConfig::default());
//! let node = heap.struct_type(None, &[Storage::Reference])?;
//! let scope = heap.enter();
//! for _ in 0..1000 {
//!     heap.new_struct(node)?;
//! }
//! let name = heap.new_extern("a value of the host")?;
//! let name = heap.keep(name)?;
//! heap.leave(scope);
//! heap.collect();
//! assert_eq!(heap.stats().live_objects, 1);
//! assert_eq!(heap.value(name)?, &"a value of the host");
//! # Ok::<(), tiered_heap::AccessError>(())
//! ```
//!
//! # What holds for the whole heap
//! * *Invariant:* an object stays where it is until it is dead. Addresses are what running code has as references, and it
//!   may have an address *in* an object instead of the object's own.
//! * *Invariant:* an allocated cell holds an object, from its first word on, or is ahead of its class's cursor. So whoever
//!   takes a cell writes the descriptor before anything else can happen, and all references before the next collection.
//! * *Invariant:* an allocated cell stays so until a collection has found that no root leads to it. A root that is not shown
//!   is an object that is given out twice; there is nothing here that could notice, except under [`HeapConfig::stress`]
//!   and [`HeapConfig::poison`].
//! * *Invariant:* a collection happens only within a call that is given roots.
//! * *Invariant:* a word from anywhere, whatever it is, is looked at safely: only an address in an allocated cell leads to
//!   an object. So null, an `i31`, the address of a function's record and a stale word of a stack need no distinction.
//! * *Invariant:* no size, length or number of objects that a guest can choose makes the heap panic, abort, recurse or
//!   exceed its limit: it is an [`AllocError`]. The mark stack, too, has a bound.
//! * *Invariant:* the heap's memory is used through raw pointers and cells. There is never a Rust reference to an object.
//!
//! # Why it is built so
//! Frames of the host, of the interpreter and of compiled code are mixed on the stacks, and none says where its references
//! are. So roots are conservative, and what they lead to can't move. Without moving there is no compaction, which size
//! classes make up for, and there are no barriers and no maps of stacks. Allocation is as fast as in a heap that moves: it is a
//! bump within a run of free cells.

mod block_set;
mod class;
mod cursors;
mod descriptor;
mod error;
mod externs;
mod heap;
pub mod layout;
mod mark;
pub mod object;
mod roots;
mod space;
mod sweep;
mod typed;
mod verify;

pub use class::{ALIGN, BLOCK_BYTES, CLASSES, MAX_CELL, SizeClass};
pub use cursors::Cursors;
pub use descriptor::{Descriptor, Kind, MAX_DEPTH, OwnedDescriptor, SHORT_DISPLAY, TypeInfo};
pub use error::AllocError;
pub use externs::ExternTable;
pub use heap::{Heap, HeapConfig, HeapStats, Liveness};
pub use layout::{Storage, StructLayout};
pub use mark::Marker;
pub use object::ObjectRef;
pub use roots::{Root, RootSet, Roots, Scope, ScopedRoots};
pub use space::POISON;
pub use typed::{AccessError, Reference, TypeId, TypedHeap};

/// The README's example is compiled and run, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
