//! Bytes to a plan, by `wasmtime-environ`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tiered::decode::wasmparser::WasmFeatures;
use wasmtime_environ::component::{ComponentTypesBuilder, Translator};
use wasmtime_environ::wasmparser::{self, Validator};
use wasmtime_environ::{ScopeVec, Trap, Tunables};

use super::convert::Converter;
use super::relatives::{self, Translated};
use super::{Plan, asynchrony, expansion};
use crate::error::InvalidComponent;

/// Reads a binary component whose core modules may use the proposals `accepted`.
///
/// # Errors
/// What is wrong with it, or not supported.
pub(crate) fn translate(bytes: &[u8], accepted: WasmFeatures) -> Result<Plan, InvalidComponent> {
    // It asserts what it takes for granted. Should a component get it to panic, that is an error of this component.
    let outcome = catch_unwind(AssertUnwindSafe(|| translate_in(bytes, accepted)));
    outcome.unwrap_or_else(|_| {
        Err(InvalidComponent::new(
            "the component needs something that is not supported",
        ))
    })
}

fn translate_in(bytes: &[u8], accepted: WasmFeatures) -> Result<Plan, InvalidComponent> {
    expansion::check(bytes)?;
    let tunables = Tunables {
        // Nobody looks at what it would find.
        parse_wasm_debuginfo: false,
        debug_symbols: false,
        generate_address_map: false,
        // Two calls of the runtime in each call between components.
        concurrency_support: asynchrony::has_tasks(bytes),
        ..Tunables::default_host()
    };
    let features = features(accepted);
    let mut validator = Validator::new_with_features(features);
    let mut types = ComponentTypesBuilder::new(&validator);
    let adapters = ScopeVec::new();
    let translator = Translator::new(&tunables, &mut validator, &mut types, &adapters);
    let (translation, modules) = translator.translate(bytes).map_err(|error| {
        let place = error.downcast_ref::<wasmparser::BinaryReaderError>();
        match place {
            Some(place) => InvalidComponent::at(place.offset(), place.message()),
            None => InvalidComponent::new(&format!("{error:#}")),
        }
    })?;
    let translated = Translated {
        bytes,
        features,
        tunables: &tunables,
        translation: &translation,
        modules: &modules,
    };
    let replaced = relatives::replacements(&translated, &mut validator, &mut types);
    let resource_tables = types.num_resource_tables();
    let (types, _) = types.finish(&translation.component);
    Converter::new(
        &types,
        &translation,
        &modules,
        bytes,
        resource_tables,
        replaced,
    )
    .plan()
}

/// The proposals by their names, which both releases of the parser have, and those of the component model.
fn features(accepted: WasmFeatures) -> wasmparser::WasmFeatures {
    use wasmparser::WasmFeatures as Features;
    let named = accepted.iter_names();
    let named = named.filter_map(|(name, _)| Features::from_name(name));
    let core = named.fold(Features::empty(), |all, feature| all | feature);
    // Adapters have the memories of both sides.
    core | Features::MULTI_MEMORY
        | Features::COMPONENT_MODEL
        | Features::CM_ASYNC
        | Features::CM_ASYNC_STACKFUL
        | Features::CM_MORE_ASYNC_BUILTINS
        | Features::CM_ERROR_CONTEXT
        | Features::CM_FIXED_LENGTH_LISTS
        | Features::CM_IMPLEMENTS
        | Features::CM64
        | Features::CM_MAP
}

/// What an adapter has found that traps with this code.
pub(crate) fn trap_message(code: u32) -> String {
    let trap = u8::try_from(code).ok().and_then(Trap::from_u8);
    let message = trap.map(|trap| trap.to_string());
    let message = message
        .as_deref()
        .unwrap_or("an unknown trap of an adapter");
    message.trim_start_matches("wasm trap: ").to_owned()
}
