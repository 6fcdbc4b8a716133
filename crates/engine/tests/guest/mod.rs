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
    let module = module(&engine, text);
    let mut store = Store::new(&engine, data).expect("a store has a stack");
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("it has its imports");
    (store, instance)
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

/// A module that exports as `f` a function that calls the import `host.f` of the same type.
pub(crate) fn forwarding(params: &str, results: &str, count: usize) -> String {
    let args: String = (0..count)
        .map(|index| format!("(local.get {index})"))
        .collect();
    format!(
        "(module (import \"host\" \"f\" (func $f (param {params}) (result {results})))
        (func (export \"f\") (param {params}) (result {results}) {args} (call $f)))"
    )
}
