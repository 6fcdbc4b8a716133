//! The rows against the interfaces' own definitions.

use crate::component::definitions::Definitions;
use crate::component::resources::Version;
use crate::p3::INTERFACES;
use crate::p3::codes::{DescriptorType, FileError, LookupError, SocketError, StreamError};

/// The packages, each after those that it uses.
const PACKAGES: [(&str, &str); 5] = [
    ("clocks.wit", include_str!("../../../wit/p3/clocks.wit")),
    ("random.wit", include_str!("../../../wit/p3/random.wit")),
    (
        "filesystem.wit",
        include_str!("../../../wit/p3/filesystem.wit"),
    ),
    ("sockets.wit", include_str!("../../../wit/p3/sockets.wit")),
    ("cli.wit", include_str!("../../../wit/p3/cli.wit")),
];

/// What a program exports and no host has.
const EXPORTS: &[&str] = &["wasi:cli/run@0.3.2"];

pub(super) fn definitions() -> Definitions {
    Definitions::read(&PACKAGES)
}

#[test]
fn every_function_has_its_row() {
    let count = definitions().assert_table(INTERFACES, EXPORTS);
    // By the definitions; the three of `timezone`, and `run`, are not among them.
    assert_eq!(count, 89);
}

#[test]
fn every_resource_type_is_known() {
    definitions().assert_resources(Version::P3);
}

#[test]
fn cases_of_variants_are_in_order() {
    let definitions = definitions();
    let filesystem = "wasi:filesystem/types@0.3.2";
    let sockets = "wasi:sockets/types@0.3.2";
    definitions.assert_cases(filesystem, "error-code", FileError::ALL);
    definitions.assert_cases(filesystem, "descriptor-type", DescriptorType::ALL);
    definitions.assert_cases(sockets, "error-code", SocketError::ALL);
    let lookup = "wasi:sockets/ip-name-lookup@0.3.2";
    definitions.assert_cases(lookup, "error-code", LookupError::ALL);
    definitions.assert_cases("wasi:cli/types@0.3.2", "error-code", StreamError::ALL);
}
