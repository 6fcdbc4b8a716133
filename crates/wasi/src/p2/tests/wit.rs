//! The rows against the interfaces' own definitions.

use wit_parser::Type;

use crate::component::definitions::Definitions;
use crate::component::filesystem::{DescriptorType, ErrorCode};
use crate::component::network::NetError;
use crate::component::resources::Version;
use crate::p2::INTERFACES;
use crate::p2::udp::OUTGOING;

/// The packages, each after those that it uses.
pub(crate) const PACKAGES: &[(&str, &str)] = &[
    ("io.wit", include_str!("../../../wit/io.wit")),
    ("clocks.wit", include_str!("../../../wit/clocks.wit")),
    ("random.wit", include_str!("../../../wit/random.wit")),
    (
        "filesystem.wit",
        include_str!("../../../wit/filesystem.wit"),
    ),
    ("sockets.wit", include_str!("../../../wit/sockets.wit")),
    ("cli.wit", include_str!("../../../wit/cli.wit")),
    #[cfg(feature = "http")]
    ("http.wit", include_str!("../../../wit/http.wit")),
];

/// What a program exports and no host has.
const EXPORTS: &[&str] = &[
    "wasi:cli/run@0.2.12",
    #[cfg(feature = "http")]
    "wasi:http/incoming-handler@0.2.12",
];

/// What is gated as unstable, and here all the same.
const FEATURES: &[&str] = &["informational-outbound-responses"];

/// How many functions there are by the definitions; the two of `timezone`, `network-error-code` and what programs export are
/// not among them.
const COUNT: usize = if cfg!(feature = "http") {
    123 + 53
} else {
    123
};

pub(super) fn definitions() -> Definitions {
    Definitions::read_with(PACKAGES, FEATURES)
}

#[test]
fn every_function_has_its_row() {
    let count = definitions().assert_table(INTERFACES, EXPORTS);
    assert_eq!(count, COUNT);
}

#[test]
fn every_resource_type_is_known() {
    definitions().assert_resources(Version::P2);
}

#[test]
fn what_lies_in_lists_has_its_layout() {
    let definitions = definitions();
    let sockets = definitions.interfaces()["wasi:sockets/udp@0.2.12"];
    let outgoing = Type::Id(sockets.types["outgoing-datagram"]);
    let layout = (
        definitions.sizes.size(&outgoing).size_wasm32() as u32,
        definitions.sizes.align(&outgoing).align_wasm32() as u32,
    );
    assert_eq!(OUTGOING, layout);
}

#[cfg(feature = "http")]
#[test]
fn cases_of_http_are_in_order() {
    use crate::component::http::code::ErrorCode;
    use crate::component::http::message::METHODS;
    use crate::p2::http::fields::HeaderError;
    let definitions = definitions();
    let of = |name: &str| definitions.variant_cases("wasi:http/types@0.2.12", name);
    assert_eq!(of("error-code"), ErrorCode::NAMES);
    let spelled = ["invalid-syntax", "forbidden", "immutable"];
    assert_eq!(of("header-error"), spelled);
    assert_eq!(HeaderError::ALL.len(), spelled.len());
    let methods = METHODS
        .iter()
        .map(|method| method.as_str().to_ascii_lowercase());
    let methods: Vec<_> = methods.chain(["other".to_owned()]).collect();
    assert_eq!(of("method"), methods);
    assert_eq!(of("scheme"), ["HTTP", "HTTPS", "other"]);
}

#[test]
fn cases_of_enums_are_in_order() {
    let definitions = definitions();
    let filesystem = "wasi:filesystem/types@0.2.12";
    definitions.assert_cases(filesystem, "error-code", ErrorCode::ALL);
    definitions.assert_cases(filesystem, "descriptor-type", DescriptorType::ALL);
    definitions.assert_cases("wasi:sockets/network@0.2.12", "error-code", NetError::ALL);
}
