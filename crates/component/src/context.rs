//! `context.get` and `context.set`: two words that each task has to itself.
//!
//! Toolchains keep the address of the shadow stack in one, and read it in the prologue of most functions. So the two are globals,
//! and the built-ins functions of a small core module that has them: guests call them as they call each other, in each tier.
//! Whoever has another task or call go on [exchanges](Shared::exchange_context) the words.
//!
//! *Invariant:* while a guest's code runs, its words are in the globals, and those of all others in their tasks and calls. What
//! the canonical ABI calls for a guest, as its `realloc`, sees that guest's words.

use tiered::{AnyStore, DecodeError, Engine, Global, Module, Val};

use crate::state::Shared;

/// How many words there are.
pub(crate) const WORDS: usize = 2;

/// The words of a task or call.
pub(crate) type Context = [u32; WORDS];

/// What the module exports: the words, and the functions that get and set each.
pub(crate) const GLOBALS: [&str; WORDS] = ["w0", "w1"];
pub(crate) const FUNCS: [[&str; WORDS]; 2] = [["g0", "g1"], ["s0", "s1"]];

/// The module:
///
/// ```text
/// (module
///   (global (export "w0") (mut i32) (i32.const 0))
///   (global (export "w1") (mut i32) (i32.const 0))
///   (func (export "g0") (result i32) (global.get 0))
///   (func (export "g1") (result i32) (global.get 1))
///   (func (export "s0") (param i32) (global.set 0 (local.get 0)))
///   (func (export "s1") (param i32) (global.set 1 (local.get 0))))
/// ```
const MODULE: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x09\x02\x60\0\x01\x7f\x60\x01\x7f\0\
    \x03\x05\x04\0\0\x01\x01\
    \x06\x0b\x02\x7f\x01\x41\0\x0b\x7f\x01\x41\0\x0b\
    \x07\x1f\x06\x02w0\x03\0\x02w1\x03\x01\x02g0\0\0\x02g1\0\x01\x02s0\0\x02\x02s1\0\x03\
    \x0a\x19\x04\x04\0\x23\0\x0b\x04\0\x23\x01\x0b\x06\0\x20\0\x24\0\x0b\x06\0\x20\0\x24\x01\x0b";

/// The module, of an engine.
pub(crate) fn module(engine: &Engine) -> Result<Module, DecodeError> {
    Module::new(engine, MODULE)
}

impl Shared {
    /// Gives the code that runs from now on these words; those of the code that ran.
    pub(crate) fn exchange_context(&self, store: &mut AnyStore, words: Context) -> Context {
        let Some(globals) = self.state(store).context else {
            return [0; WORDS];
        };
        let mut before = [0; WORDS];
        for ((before, global), word) in before.iter_mut().zip(globals).zip(words) {
            *before = get(store, global);
            let set = global.set(store, Val::I32(word.cast_signed()));
            debug_assert!(set.is_ok(), "a word is a mutable i32");
        }
        before
    }
}

fn get(store: &AnyStore, global: Global) -> u32 {
    match global.get(store) {
        Val::I32(word) => word.cast_unsigned(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_as_its_text_says() {
        let text = r#"(module
            (global (export "w0") (mut i32) (i32.const 0))
            (global (export "w1") (mut i32) (i32.const 0))
            (func (export "g0") (result i32) (global.get 0))
            (func (export "g1") (result i32) (global.get 1))
            (func (export "s0") (param i32) (global.set 0 (local.get 0)))
            (func (export "s1") (param i32) (global.set 1 (local.get 0))))"#;
        let bytes = wat::parse_str(text).expect("a module");
        assert_eq!(bytes, MODULE);
    }
}
