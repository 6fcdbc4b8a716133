//! What the host has for components of scripts: the functions and the instance `host` that the scripts of the component model
//! import, with resources whose drops are counted.

use tiered::{Caller, Engine, Module, Trap};
use tiered_component::{Error, Handle, HostResource, Linker, Val};

/// What a store keeps for the host's functions.
#[derive(Default)]
pub(super) struct State {
    /// How many resources have been dropped.
    drops: u32,
    /// The number of the last one.
    last_drop: u32,
}

const RESOURCE_1: HostResource = HostResource::new("host/resource1");
const RESOURCE_2: HostResource = HostResource::new("host/resource2");

/// Defines all of it.
pub(super) fn define(engine: &Engine, linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func("", "host-return-two", |_, (): ()| Ok(2u32))?;
    linker.func("", "host-echo-u32", |_, (value,): (u32,)| Ok(value))?;
    linker.func("host", "return-three", |_, (): ()| Ok(3u32))?;
    linker.func("host/nested", "return-four", |_, (): ()| Ok(4u32))?;
    let module = r#"(module
        (global (export "g") i32 (i32.const 100))
        (func (export "f") (result i32) (i32.const 101)))"#;
    let module = wast::parser::ParseBuffer::new(module).and_then(|text| {
        wast::parser::parse::<wast::Wat<'_>>(&text).and_then(|mut module| module.encode())
    });
    let module = module.map_err(|err| Error::Value(err.to_string()))?;
    let module = Module::new(engine, module).map_err(|error| Error::Module { index: 0, error })?;
    linker.module("host", "simple-module", &module)?;
    resources(linker)
}

fn resources(linker: &mut Linker<State>) -> Result<(), Error> {
    let drop_1 = |mut caller: Caller<'_, State>, rep| {
        let state = caller.data_mut();
        state.drops += 1;
        state.last_drop = rep;
        Ok(())
    };
    linker
        .resource("host", "resource1", RESOURCE_1, drop_1)?
        .resource("host", "resource1-again", RESOURCE_1, drop_1)?
        .resource("host", "resource2", RESOURCE_2, |_, _| Ok(()))?;
    linker.func_new("host", "[constructor]resource1", |_, args| match args {
        [Val::U32(rep)] => Ok(Some(Val::Resource(RESOURCE_1.handle(*rep)))),
        _ => Err(unexpected(args)),
    })?;
    for name in ["[static]resource1.assert", "[method]resource1.simple"] {
        linker.func_new("host", name, |_, args| match args {
            [Val::Resource(resource), Val::U32(expected)] => {
                let rep = rep(*resource)?;
                match rep == *expected {
                    true => Ok(None),
                    false => Err(Trap::message(format!(
                        "resource {rep}, expected {expected}"
                    ))),
                }
            }
            _ => Err(unexpected(args)),
        })?;
    }
    for name in [
        "[method]resource1.take-borrow",
        "[method]resource1.take-own",
    ] {
        linker.func_new("host", name, |_, args| match args {
            [Val::Resource(first), Val::Resource(second)] => {
                rep(*first).and(rep(*second)).map(|_| None)
            }
            _ => Err(unexpected(args)),
        })?;
    }
    linker.func("host", "[static]resource1.drops", |caller, (): ()| {
        Ok(caller.data().drops)
    })?;
    linker.func("host", "[static]resource1.last-drop", |caller, (): ()| {
        Ok(caller.data().last_drop)
    })?;
    Ok(())
}

/// The number of a resource of the first type.
fn rep(resource: Handle) -> Result<u32, Trap> {
    let rep = RESOURCE_1.rep(resource);
    rep.ok_or_else(|| Trap::message("a resource of another type than resource1"))
}

/// What a function whose type says otherwise gets from a script that calls it by another one.
fn unexpected(args: &[Val]) -> Trap {
    Trap::message(format!(
        "unexpected arguments: {}",
        Val::Tuple(args.to_vec())
    ))
}
