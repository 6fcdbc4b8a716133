//! A module in a store of its own, for tests of what an embedder does with it.

use tiered::{Config, Engine, Instance, Linker, Module, Store, Trap, Val};

pub(crate) fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text.as_bytes().to_vec()).unwrap_or_else(|err| panic!("{err}\n{text}"))
}

/// A store of an engine of its own, and an instance of the module in it.
pub(crate) fn guest<T: 'static>(
    config: &Config,
    text: &str,
    linker: &Linker<T>,
    data: T,
) -> (Store<T>, Instance) {
    let engine = Engine::new(config);
    let mut store = Store::new(&engine, data).expect("a store has a stack");
    let instance = instance(&mut store, &engine, linker, text);
    (store, instance)
}

/// An instance of the module in a store of this engine.
pub(crate) fn instance<T: 'static>(
    store: &mut Store<T>,
    engine: &Engine,
    linker: &Linker<T>,
    text: &str,
) -> Instance {
    linker
        .instantiate(store, &module(engine, text))
        .expect("it has its imports")
}

pub(crate) fn call<T>(
    store: &mut Store<T>,
    instance: Instance,
    name: &str,
    args: &[Val],
) -> Result<Vec<Val>, Trap> {
    let func = instance
        .func(store, name)
        .unwrap_or_else(|| panic!("{name} is exported"));
    func.call(store, args)
}
