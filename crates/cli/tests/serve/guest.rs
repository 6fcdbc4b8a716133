//! The components that answer requests, one by WASI 0.2 and one by 0.3.

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
    (
        "p3/clocks.wit",
        include_str!("../../../wasi/wit/p3/clocks.wit"),
    ),
    (
        "p3/random.wit",
        include_str!("../../../wasi/wit/p3/random.wit"),
    ),
    (
        "p3/filesystem.wit",
        include_str!("../../../wasi/wit/p3/filesystem.wit"),
    ),
    (
        "p3/sockets.wit",
        include_str!("../../../wasi/wit/p3/sockets.wit"),
    ),
    ("p3/cli.wit", include_str!("../../../wasi/wit/p3/cli.wit")),
    ("p3/http.wit", include_str!("../../../wasi/wit/p3/http.wit")),
];

const WORLD: &str = "package test:guest;
    world guest {
        include wasi:http/proxy@0.2.12;
        import wasi:cli/exit@0.2.12;
        import wasi:cli/environment@0.2.12;
    }";

/// What the guest of 0.3 is.
const SERVICE: &str = "package test:guest;
    world guest {
        include wasi:http/service@0.3.2;
    }";

/// The component around `guest.wat`.
pub(crate) fn component() -> Vec<u8> {
    encode(include_str!("guest.wat"), WORLD)
}

/// The component around `guest3.wat`, which answers by WASI 0.3.
pub(crate) fn service() -> Vec<u8> {
    encode(include_str!("guest3.wat"), SERVICE)
}

/// A component that exports the handlers of both versions. That of 0.2 traps.
pub(crate) fn both() -> Vec<u8> {
    let text = include_str!("guest3.wat");
    let text = text.trim_end().strip_suffix(')').expect("a module");
    let old = r#"(func (export "wasi:http/incoming-handler@0.2.12#handle") (param i32 i32) unreachable))"#;
    let world = "package test:guest;
        world guest {
            include wasi:http/service@0.3.2;
            export wasi:http/incoming-handler@0.2.12;
        }";
    encode(&format!("{text} {old}"), world)
}

/// What is put before another handler: it passes requests on.
pub(crate) fn middleware() -> Vec<u8> {
    let text = include_str!("guest3.wat").replace(
        r#""wasi:http/client@0.3.2" "[async-lower]send""#,
        r#""wasi:http/handler@0.3.2" "[async-lower]handle""#,
    );
    let world = "package test:guest;
        world guest {
            include wasi:http/middleware@0.3.2;
        }";
    encode(&text, world)
}

fn encode(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).expect("it is a module");
    let mut resolve = Resolve::default();
    for (name, text) in PACKAGES {
        resolve.push_str(name, text).expect("it is a package");
    }
    let package = resolve.push_str("guest.wit", world).expect("a package");
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
