//! The component that answers requests.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interfaces, each after those that it uses.
const PACKAGES: &[(&str, &str)] = &[
    ("io.wit", include_str!("../../../wasi/wit/io.wit")),
    ("clocks.wit", include_str!("../../../wasi/wit/clocks.wit")),
    ("random.wit", include_str!("../../../wasi/wit/random.wit")),
    (
        "filesystem.wit",
        include_str!("../../../wasi/wit/filesystem.wit"),
    ),
    ("sockets.wit", include_str!("../../../wasi/wit/sockets.wit")),
    ("cli.wit", include_str!("../../../wasi/wit/cli.wit")),
    ("http.wit", include_str!("../../../wasi/wit/http.wit")),
];

const WORLD: &str = "package test:guest;
    world guest {
        include wasi:http/proxy@0.2.12;
        import wasi:cli/exit@0.2.12;
        import wasi:cli/environment@0.2.12;
    }";

/// The component around `guest.wat`.
pub(crate) fn component() -> Vec<u8> {
    let mut module = wat::parse_str(include_str!("guest.wat")).expect("it is a module");
    let mut resolve = Resolve::default();
    for (name, text) in PACKAGES {
        resolve.push_str(name, text).expect("it is a package");
    }
    let package = resolve.push_str("guest.wit", WORLD).expect("a package");
    let world = resolve
        .select_world(&[package], Some("guest"))
        .expect("it has a world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("the module takes its types");
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(&module).expect("it fits the world");
    encoder.encode().expect("it makes a component")
}
