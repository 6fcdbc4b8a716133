//! Modules with vectors.

use std::sync::Arc;

use tiered_decode::Module;

/// The module of this text.
pub(crate) fn module(text: String) -> Arc<Module> {
    Arc::new(Module::new(text.into_bytes()).expect("it is valid"))
}
