//! Runs every target on stable: on inputs from fixed seeds, and on all files in `corpus`. `compile_cost`, which measures what
//! the process allocates, is in a test of its own.

mod inputs;

macro_rules! targets {
    ($($(#[$attribute:meta])* $name:ident: $count:literal inputs of at most $most:literal bytes;)*) => {$(
        $(#[$attribute])*
        mod $name {
            #[test]
            fn seeds() {
                super::inputs::seeds(tiered_fuzz::$name::run, $count, $most);
            }

            #[test]
            fn files() {
                super::inputs::files(tiered_fuzz::$name::run, stringify!($name));
            }
        }
    )*};
}

targets! {
    component_values: 500 inputs of at most 1024 bytes;
    components: 300 inputs of at most 64 bytes;
    decode: 1000 inputs of at most 4096 bytes;
    execute: 400 inputs of at most 4096 bytes;
    heap: 50 inputs of at most 1024 bytes;
    #[cfg(feature = "oracle")]
    oracle: 400 inputs of at most 4096 bytes;
    #[cfg(feature = "oracle-wasmtime")]
    oracle_wasmtime: 400 inputs of at most 4096 bytes;
    tiers_agree: 150 inputs of at most 4096 bytes;
    wasi_calls: 300 inputs of at most 2048 bytes;
    wasi_race: 60 inputs of at most 512 bytes;
}
