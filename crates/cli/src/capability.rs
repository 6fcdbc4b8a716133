//! What the imports of a module say about the capabilities it can use.
//!
//! Invariant: an import counts for all it may reach. Reading and writing counts as files only where a path can be
//! opened or a directory listed: without that, only the standard streams and granted sockets can be read.

use std::collections::BTreeSet;

use serde::Serialize;

/// Something a program can do only through its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Capability {
    Arguments,
    Environment,
    Stdio,
    Files,
    Sockets,
    Clocks,
    Random,
    ProcessExit,
    Threads,
    #[cfg(feature = "component")]
    Http,
}

impl Capability {
    /// The name people read.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Capability::Arguments => "arguments",
            Capability::Environment => "environment",
            Capability::Stdio => "standard input and output",
            Capability::Files => "files",
            Capability::Sockets => "sockets",
            Capability::Clocks => "clocks",
            Capability::Random => "random numbers",
            Capability::ProcessExit => "process exit",
            Capability::Threads => "threads",
            #[cfg(feature = "component")]
            Capability::Http => "outgoing HTTP requests",
        }
    }
}

/// The modules that WASI preview 1 defines.
const WASI_MODULES: &[&str] = &["wasi_snapshot_preview1", "wasi_unstable"];

/// What a module needs from its host.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Needs<'a> {
    /// Granted or refused by the command line.
    pub(crate) capabilities: BTreeSet<Capability>,
    /// Modules or interfaces imported from that are not WASI: this command has nothing to offer them.
    pub(crate) unknown_modules: BTreeSet<&'a str>,
}

impl<'a> Needs<'a> {
    /// The needs of a module that imports these names.
    pub(crate) fn of(imports: impl Iterator<Item = (&'a str, &'a str)>) -> Needs<'a> {
        let mut needs = Needs::default();
        for (module, name) in imports {
            if WASI_MODULES.contains(&module) {
                needs.capabilities.extend(implied(name));
            } else if (module, name) == tiered_wasi::THREAD_SPAWN {
                needs.capabilities.insert(Capability::Threads);
            } else {
                needs.unknown_modules.insert(module);
            }
        }
        needs
    }
}

/// The capability that a WASI function gives access to.
fn implied(function: &str) -> Option<Capability> {
    match function {
        "args_get" | "args_sizes_get" => Some(Capability::Arguments),
        "environ_get" | "environ_sizes_get" => Some(Capability::Environment),
        "clock_res_get" | "clock_time_get" | "poll_oneoff" => Some(Capability::Clocks),
        "random_get" => Some(Capability::Random),
        "proc_exit" | "proc_raise" => Some(Capability::ProcessExit),
        "fd_prestat_get" | "fd_prestat_dir_name" | "fd_readdir" => Some(Capability::Files),
        "sched_yield" => None,
        _ if function.starts_with("path_") => Some(Capability::Files),
        _ if function.starts_with("sock_") => Some(Capability::Sockets),
        _ if function.starts_with("fd_") => Some(Capability::Stdio),
        _ => None,
    }
}

/// The capability that a function of an interface that components import gives access to. What only works on something
/// that another function must give first, as a stream, is that one's.
#[cfg(feature = "component")]
pub(crate) fn implied_by(interface: &str, function: &str) -> Option<Capability> {
    let name = interface.strip_prefix("wasi:")?;
    let (name, _version) = name.split_once('@').unwrap_or((name, ""));
    let (package, interface) = name.split_once('/')?;
    match (package, interface) {
        ("cli", "environment") if function == "get-arguments" => Some(Capability::Arguments),
        ("cli", "environment") => Some(Capability::Environment),
        ("cli", "exit") => Some(Capability::ProcessExit),
        ("cli", _) => Some(Capability::Stdio),
        ("clocks", _) => Some(Capability::Clocks),
        ("random", _) => Some(Capability::Random),
        ("sockets", _) => Some(Capability::Sockets),
        ("http", "outgoing-handler" | "client" | "handler") => Some(Capability::Http),
        // Every C library asks for the directories; only these get at what is in them.
        ("filesystem", "types")
            if function.ends_with("-at") || function.ends_with("read-directory") =>
        {
            Some(Capability::Files)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "component")]
    fn functions_of_components_imply_capabilities() {
        for (interface, function, capability) in [
            (
                "wasi:cli/environment@0.2.0",
                "get-arguments",
                Some(Capability::Arguments),
            ),
            (
                "wasi:cli/environment@0.2.0",
                "get-environment",
                Some(Capability::Environment),
            ),
            (
                "wasi:cli/stdout@0.3.0",
                "write-via-stream",
                Some(Capability::Stdio),
            ),
            (
                "wasi:filesystem/types@0.2.12",
                "[method]descriptor.open-at",
                Some(Capability::Files),
            ),
            (
                "wasi:filesystem/types@0.2.12",
                "[method]descriptor.sync",
                None,
            ),
            ("wasi:filesystem/preopens@0.2.12", "get-directories", None),
            ("wasi:io/streams@0.2.12", "[method]input-stream.read", None),
            (
                "wasi:http/outgoing-handler@0.2.12",
                "handle",
                Some(Capability::Http),
            ),
            ("wasi:http/handler@0.3.0", "handle", Some(Capability::Http)),
            ("my:cli/environment", "get-arguments", None),
            (
                "wasi:random/random",
                "get-random-u64",
                Some(Capability::Random),
            ),
        ] {
            assert_eq!(
                implied_by(interface, function),
                capability,
                "{interface} {function}"
            );
        }
    }

    #[test]
    fn imports_imply_capabilities() {
        let wasi = |name| ("wasi_snapshot_preview1", name);
        let imports = [
            wasi("fd_write"),
            wasi("path_open"),
            ("env", "f"),
            ("wasi_unstable", "sock_accept"),
        ];
        let needs = Needs::of(imports.into_iter());
        let capabilities: Vec<_> = needs.capabilities.into_iter().collect();
        assert_eq!(
            capabilities,
            [Capability::Stdio, Capability::Files, Capability::Sockets]
        );
        assert_eq!(needs.unknown_modules, BTreeSet::from(["env"]));
        assert!(
            Needs::of([wasi("sched_yield")].into_iter())
                .capabilities
                .is_empty()
        );
    }
}
