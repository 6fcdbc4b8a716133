//! Where the time goes that a component takes to start: `start FILE [TIMES]`.
//!
//! Reading, planning and validating are told apart; then the component is instantiated with functions that trap for what it
//! imports, as far as its start functions get with them.

use std::time::{Duration, Instant};

use tiered::{Engine, Module, Store};
use tiered_component::{Component, Linker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("usage: start FILE [TIMES]")?;
    let times: u32 = args.next().map_or(Ok(1), |times| times.parse())?;
    for _ in 0..times {
        let engine = Engine::default();
        let (bytes, read) = timed(|| tiered::read_file(&file));
        let bytes = bytes?;
        let (component, new) = timed(|| Component::new(&engine, bytes));
        let component = component?;
        let (_, modules) = timed(|| {
            for module in component.modules() {
                let again = Module::new(&engine, module.bytes().clone());
                again.expect("it is valid");
            }
        });
        let mut linker = Linker::<()>::new();
        linker.unknown_imports_trap(true);
        let (pre, link) = timed(|| linker.instantiate_pre(&component));
        let mut store = Store::new(&engine, ())?;
        let (instance, instantiate) = timed(|| pre.and_then(|pre| pre.instantiate(&mut store)));
        let plan = new.saturating_sub(modules);
        println!(
            "read {read:.1?}  plan {plan:.1?}  modules {modules:.1?} ({})  link {link:.1?}  instantiate {instantiate:.1?}{}",
            component.modules().len(),
            instance
                .err()
                .map_or(String::new(), |error| format!(": {error}"))
        );
    }
    Ok(())
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
