//! The rules of the source tree that no compiler checks: headers, sizes, names, where `unsafe` may stand, which crate may
//! depend on which, what a crate's lower floor may name, and that the documents name only files and flags that exist.
//!
//! Each rule is a test that lists every place where it is broken. An exception is a row with its reason, and a row that is
//! no longer needed breaks the rule too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest a source file may be, in lines.
const MAX_LINES: usize = 800;

/// Files that may be longer.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names that say nothing about what is in a module.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];

/// The crates that may hold `unsafe` code: what works with memory that running code has addresses of, and with the code.
const UNSAFE_CRATES: &[&str] = &["pages", "heap", "runtime", "interp", "jit"];

/// Other files that may, each with the reason. Their crates deny it, and allow it there.
const UNSAFE_FILES: &[(&str, &str)] = &[
    (
        "crates/engine/src/seam.rs",
        "implements the unsafe trait between tiers",
    ),
    (
        "crates/engine/src/profile/sampler.rs",
        "handles a signal of the host",
    ),
    (
        "crates/engine/src/profile/trampoline.rs",
        "gives machine code its type",
    ),
    (
        "crates/decode/src/module.rs",
        "asks for a promise that bodies are valid",
    ),
    ("crates/engine/src/engine.rs", "hands the promise on"),
    ("crates/component/src/component.rs", "hands the promise on"),
    (
        "crates/cache/src/lib.rs",
        "makes the promise, of what it has seen validated",
    ),
];

/// Folder of a crate, the crates of the workspace that it may depend on, and the families of others where those are
/// restricted too.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "tiered",
            "tiered-cache",
            "tiered-component",
            "tiered-http",
            "tiered-sandbox",
            "tiered-wasi",
            "tiered-wast",
        ],
    ),
    ("sandbox", &[]),
    ("wast", &["tiered", "tiered-component"]),
    (
        "engine",
        &[
            "tiered-jit",
            "tiered-interp",
            "tiered-runtime",
            "tiered-decode",
        ],
    ),
    ("cache", &["tiered", "tiered-component"]),
    ("component", &["tiered"]),
    (
        "wasi",
        &["tiered-component", "tiered-http", "tiered-runtime"],
    ),
    // For how it shows text of strangers in its log.
    ("http", &["tiered-decode"]),
    ("jit", &["tiered-runtime", "tiered-decode"]),
    ("interp", &["tiered-runtime", "tiered-decode"]),
    ("runtime", &["tiered-decode", "tiered-heap", "tiered-pages"]),
    ("heap", &["tiered-pages"]),
    ("pages", &[]),
    ("decode", &[]),
];

/// A module of a crate that stands below others of the crate, as its path without extension, and the crate's modules that
/// it and what is in it may name.
const FLOORS: &[(&str, &[&str])] = &[("crates/runtime/src/vm", &["vm"])];

/// Flags in the documents that are another program's, each with that program.
const FOREIGN_FLAGS: &[(&str, &str)] = &[
    ("--release", "cargo"),
    ("--workspace", "cargo"),
    ("--package", "cargo"),
    ("--bin", "cargo"),
    ("--test", "cargo"),
    ("--bench", "cargo"),
    ("--example", "cargo"),
    ("--profile", "cargo"),
    ("--path", "cargo"),
    ("--locked", "cargo"),
    ("--features", "cargo"),
    ("--no-default-features", "cargo"),
    ("--nocapture", "cargo test"),
    ("--target", "cargo and clang"),
    ("--jit", "perf inject"),
    ("--children", "perf report"),
    ("--sort", "perf report"),
];

/// The top of the workspace.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/cli is two below the top");
    root.to_path_buf()
}

/// All files below `dir` with this extension, as paths from the top of the workspace.
fn files(dir: &str, extension: &str) -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    let mut pending = vec![root.join(dir)];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display())) {
            let path = entry.expect("an entry can be read").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(
                    path.strip_prefix(&root)
                        .expect("it is below the top")
                        .to_path_buf(),
                );
            }
        }
    }
    found.sort();
    found
}

/// The sources of the crates, without their tests and benches.
fn sources() -> Vec<PathBuf> {
    files("crates", "rs")
        .into_iter()
        .filter(|path| path.iter().nth(2).is_some_and(|part| part == "src"))
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// The folder of the crate that a source belongs to.
fn folder(path: &Path) -> &str {
    path.iter()
        .nth(1)
        .and_then(|part| part.to_str())
        .unwrap_or_default()
}

fn assert_none(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// The code of a Rust source, line by line: comments, strings and characters are blanked.
fn code_lines(source: &str) -> Vec<String> {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let skipped = skipped_len(rest, code.chars().next_back());
        let taken = if skipped > 0 {
            skipped
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        let (token, after) = rest.split_at(taken);
        if skipped > 0 {
            code.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(token);
        }
        rest = after;
    }
    code.lines().map(str::to_string).collect()
}

/// How many bytes at the start of `rest` are a comment, a string or a character; 0 if it starts with code.
fn skipped_len(rest: &str, before: Option<char>) -> usize {
    let after_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if rest.starts_with('"') {
        return quoted_len(rest, 1, '"');
    }
    if !after_word && let Some(hashes) = raw_string_hashes(rest) {
        let open = rest.find('"').map_or(rest.len(), |at| at + 1);
        let close = format!("\"{}", "#".repeat(hashes));
        return rest[open..]
            .find(&close)
            .map_or(rest.len(), |at| open + at + close.len());
    }
    let mut chars = rest
        .strip_prefix('\'')
        .map(str::chars)
        .into_iter()
        .flatten();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted_len(rest, 1, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a quoted token whose inside starts at `open`; a backslash hides the next character.
fn quoted_len(rest: &str, open: usize, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(open);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

/// The number of `#` of a raw string, if one starts here.
fn raw_string_hashes(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// Whether `word` stands in `line`, not as a part of another word.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next())
    })
}

#[test]
fn the_scanner_knows_code_from_text() {
    let source = "let a = \"unsafe\"; // unsafe\nlet b = r#\"unsafe \"\" \"#; /* unsafe /* */ unsafe */ call('\"', '\\'', b'x');\n\
                  fn f<'a>(x: &'a str) { unsafe { g() } }";
    let lines = code_lines(source);
    assert_eq!(lines.len(), 3);
    assert!(
        !has_word(&lines[0], "unsafe") && !has_word(&lines[1], "unsafe"),
        "{lines:?}"
    );
    assert!(
        has_word(&lines[1], "call") && has_word(&lines[2], "unsafe"),
        "{lines:?}"
    );
    assert!(!has_word("unsafe_code", "unsafe") && has_word("(unsafe)", "unsafe"));
}

#[test]
fn every_source_says_what_it_is() {
    let headless = sources()
        .into_iter()
        .filter(|path| !read(path).starts_with("//! "));
    assert_none(
        &headless
            .map(|path| format!("{}: does not start with `//! `", path.display()))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_source_is_too_long() {
    let mut problems = Vec::new();
    for path in sources() {
        let lines = read(&path).lines().count();
        let excused = LONG_FILES.iter().any(|(file, _)| path == Path::new(file));
        match (lines > MAX_LINES, excused) {
            (true, false) => problems.push(format!(
                "{}: {lines} lines, {MAX_LINES} are the limit",
                path.display()
            )),
            (false, true) => problems.push(format!(
                "{}: {lines} lines, and still excused",
                path.display()
            )),
            _ => {}
        }
    }
    assert_none(&problems);
}

#[test]
fn no_module_has_an_empty_name() {
    let named = |path: &Path| {
        path.with_extension("")
            .iter()
            .any(|part| EMPTY_NAMES.iter().any(|name| part == *name))
    };
    let problems = sources().into_iter().filter(|path| named(path));
    assert_none(
        &problems
            .map(|path| format!("{}: says nothing about its content", path.display()))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let mut problems = Vec::new();
    for path in sources()
        .into_iter()
        .filter(|path| !UNSAFE_CRATES.contains(&folder(path)))
    {
        let excused = UNSAFE_FILES.iter().any(|(file, _)| path == Path::new(file));
        let lines = code_lines(&read(&path));
        let mut found = (1..)
            .zip(&lines)
            .filter(|(_, line)| has_word(line, "unsafe"));
        match found.next() {
            Some((number, _)) if !excused => {
                problems.push(format!("{}:{number}: unsafe", path.display()));
            }
            None if excused => {
                problems.push(format!("{}: no unsafe, and still excused", path.display()));
            }
            _ => {}
        }
    }
    assert_none(&problems);
}

#[test]
fn crates_without_unsafe_forbid_it() {
    let folders: BTreeSet<_> = sources()
        .iter()
        .map(|path| folder(path).to_string())
        .collect();
    let mut problems = Vec::new();
    for folder in folders
        .iter()
        .filter(|folder| !UNSAFE_CRATES.contains(&folder.as_str()))
    {
        let tops = ["lib.rs", "main.rs"]
            .map(|name| Path::new("crates").join(folder).join("src").join(name));
        let mut tops = tops.iter().filter(|path| root().join(path).exists());
        let excused = UNSAFE_FILES
            .iter()
            .any(|(file, _)| self::folder(Path::new(file)) == folder);
        let lint = match excused {
            true => "#![deny(unsafe_code)]",
            false => "#![forbid(unsafe_code)]",
        };
        if !tops.all(|path| read(path).contains(lint)) {
            problems.push(format!("crates/{folder}: lacks {lint}"));
        }
    }
    assert_none(&problems);
}

#[test]
fn nothing_is_left_for_later() {
    let mut problems = Vec::new();
    for path in files("crates", "rs") {
        for (index, line) in code_lines(&read(&path)).iter().enumerate() {
            for mark in ["todo!", "unimplemented!", "#[ignore"] {
                if line.contains(mark) {
                    problems.push(format!("{}:{}: {mark}", path.display(), index + 1));
                }
            }
        }
    }
    assert_none(&problems);
}

/// The names in a manifest's `[dependencies]`, those for one platform too.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section == "dependencies" || section.ends_with(".dependencies");
            names.extend(section.strip_prefix("dependencies.").map(str::to_string));
        } else if inside && let Some((name, _)) = line.split_once('=') {
            names.insert(
                name.trim()
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .trim_matches('"')
                    .to_string(),
            );
        }
    }
    names
}

#[test]
fn crates_depend_only_downward() {
    let mut problems = Vec::new();
    let mut folders = BTreeSet::new();
    for path in files("crates", "toml")
        .into_iter()
        .filter(|path| path.ends_with("Cargo.toml"))
    {
        let folder = folder(&path).to_string();
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == folder) else {
            problems.push(format!(
                "{}: a crate without a row in ARROWS",
                path.display()
            ));
            continue;
        };
        for name in dependencies(&read(&path)) {
            let ours = name == "tiered" || name.starts_with("tiered-");
            let cranelift = name.starts_with("cranelift") && folder != "jit";
            if cranelift || ours && !allowed.contains(&name.as_str()) {
                problems.push(format!("{}: may not depend on {name}", path.display()));
            }
        }
        folders.insert(folder);
    }
    let gone = ARROWS
        .iter()
        .filter(|(folder, _)| !folders.contains(*folder));
    problems.extend(
        gone.map(|(folder, _)| format!("crates/{folder}: has a row in ARROWS, but no manifest")),
    );
    assert_none(&problems);
}

#[test]
fn manifests_are_read_as_cargo_does() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = { version = \"1\" }\n\n\
                    [dependencies.c]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\nd = \"1\"\n\
                    [dev-dependencies]\ne = \"1\"\n";
    assert_eq!(
        dependencies(manifest)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
        ["a", "b", "c", "d"]
    );
}

/// The paths in some code that lead to modules of its crate which are not `allowed`, each with the number of its line. The
/// code is that of a module `depth` below the floor: that many `super` stay within it. Modules within a file are not
/// counted.
fn paths_off_floor(lines: &[String], depth: usize, allowed: &[&str]) -> Vec<(usize, String)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (number, line) in (1..).zip(lines) {
        for (at, _) in line.match_indices("crate::") {
            let module = line[at + "crate::".len()..].split(|c| !is_part(c)).next();
            let module = module.unwrap_or_default();
            if !line[..at].ends_with(is_part) && !allowed.contains(&module) {
                found.push((number, format!("crate::{module}")));
            }
        }
        for (at, _) in line.match_indices("super::") {
            let rest = &line[at..];
            let path = &rest[..rest.len() - rest.trim_start_matches("super::").len()];
            let starts = !line[..at].ends_with(|c| is_part(c) || c == ':');
            if starts && path.matches("super").count() > depth {
                found.push((number, path.to_string()));
            }
        }
    }
    found
}

/// How deep the module of a source is below a floor; `None` if it is not of the floor.
fn depth_in(path: &Path, floor: &str) -> Option<usize> {
    let module = path.with_extension("");
    let below = module.strip_prefix(floor).ok()?;
    Some(below.iter().filter(|part| *part != "mod").count())
}

#[test]
fn floors_name_only_what_is_below() {
    let mut problems = Vec::new();
    for (floor, allowed) in FLOORS {
        let mut is_empty = true;
        for path in sources() {
            let Some(depth) = depth_in(&path, floor) else {
                continue;
            };
            is_empty = false;
            let lines = code_lines(&read(&path));
            for (number, found) in paths_off_floor(&lines, depth, allowed) {
                problems.push(format!(
                    "{}:{number}: {found} is not below {floor}",
                    path.display()
                ));
            }
        }
        if is_empty {
            problems.push(format!("{floor}: has a row in FLOORS, but no source"));
        }
    }
    assert_none(&problems);
}

#[test]
fn a_path_off_a_floor_is_found() {
    let source = "use crate::vm::frame::Slot; // crate::store\n\
                  use crate::store::AnyStore;\n\
                  use crate::{func, vm};\n\
                  pub(crate) fn f(x: super::guard::Guard) -> my_crate::X { \"crate::store\" }\n\
                  use super::super::value::Val;\n\
                  fn g() -> vm::Result<Box<crate::vmx::Y>, $crate::host::Z> {}\n";
    let found = |depth| paths_off_floor(&code_lines(source), depth, &["vm"]);
    let named = [
        (2, "crate::store"),
        (3, "crate::"),
        (5, "super::super::"),
        (6, "crate::vmx"),
        (6, "crate::host"),
    ]
    .map(|(line, path)| (line, path.to_string()));
    assert_eq!(found(1), named);
    assert_eq!(found(2).len(), 4, "`super::super` is the floor itself");
    assert_eq!(found(0).len(), 6, "no `super` of the floor is in it");
    let depth = |path| depth_in(Path::new(path), "crates/a/src/vm");
    assert_eq!(depth("crates/a/src/vm/mod.rs"), Some(0));
    assert_eq!(depth("crates/a/src/vm.rs"), Some(0));
    assert_eq!(depth("crates/a/src/vm/guard/tests.rs"), Some(2));
    assert_eq!(depth("crates/a/src/vmx.rs"), None);
}

/// The documents that users and contributors read.
fn documents() -> Vec<PathBuf> {
    files(".", "md")
}

/// A document's lines outside of fenced blocks, with their numbers.
fn prose(document: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in document.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The texts between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of a line's Markdown links.
fn links(line: &str) -> Vec<&str> {
    let targets = line.match_indices("](").map(|(at, _)| &line[at + 2..]);
    targets
        .filter_map(|rest| rest.split_once(')'))
        .filter_map(|(target, _)| target.split_whitespace().next())
        .collect()
}

/// Whether a quoted text is meant as a path in this repository: it starts with one of our folders and names a file.
fn is_repository_path(text: &str) -> bool {
    let tops = ["crates/", "benches/", "fuzz/", ".ci/"];
    tops.iter().any(|top| text.starts_with(top)) && !text.contains([' ', '*', '<', '{', '$', '…'])
}

#[test]
fn documents_name_only_files_that_exist() {
    let mut problems = Vec::new();
    for document in documents() {
        let text = read(&document);
        let dir = document.parent().unwrap_or(Path::new(""));
        for (number, line) in prose(&text) {
            let linked = links(line)
                .into_iter()
                .filter(|link| !link.contains(':'))
                .map(|link| {
                    let path = link.split('#').next().unwrap_or_default();
                    (link, dir.join(path))
                });
            let named = quoted(line)
                .filter(|text| is_repository_path(text))
                .map(|text| (text, PathBuf::from(text)));
            for (written, path) in linked.chain(named) {
                if !root().join(&path).exists() {
                    problems.push(format!(
                        "{}:{number}: {written} does not exist",
                        document.display()
                    ));
                }
            }
        }
    }
    assert_none(&problems);
}

/// Every long flag that some `--help` of the command names.
fn known_flags() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for subcommand in [
        None,
        Some("run"),
        Some("validate"),
        Some("wast"),
        Some("inspect"),
        #[cfg(feature = "http")]
        Some("serve"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tiered"))
            .args(subcommand)
            .arg("--help")
            .output();
        let output = output.expect("the command runs");
        known.extend(flags(&String::from_utf8_lossy(&output.stdout)).map(str::to_string));
    }
    known
}

/// The words of a text that are long flags, without their values.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || "[](),;:'\"=".contains(c));
    words.filter(|word| {
        word.strip_prefix("--")
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
    })
}

#[test]
fn documents_name_only_flags_that_exist() {
    let known = known_flags();
    assert!(
        known.contains("--dir") && known.contains("--json"),
        "{known:?}"
    );
    let users = documents().into_iter().filter(|path| {
        path.ends_with("README.md")
            && (path.parent() == Some(Path::new("")) || path.starts_with("crates"))
    });
    let mut problems = Vec::new();
    for document in users {
        for (index, line) in read(&document).lines().enumerate() {
            for flag in quoted(line).flat_map(flags) {
                let foreign = FOREIGN_FLAGS.iter().any(|(name, _)| *name == flag);
                if !foreign && !known.contains(flag) {
                    problems.push(format!(
                        "{}:{}: {flag} is no flag",
                        document.display(),
                        index + 1
                    ));
                }
            }
        }
    }
    assert_none(&problems);
}
