//! Why the host refuses memory, and what would help.
//!
//! The kernel answers `ENOMEM` to all of it, and says no more. So the figures that may be in the way are read, once it
//! has happened, and compared.
//!
//! *Invariant:* [`Figures::cause`] is a function of figures alone; reading them is apart.

use std::fmt;

use rustix::process::{Resource, getrlimit};

use crate::vm::native_stack;
use crate::vm::own_file::OwnFile;

/// Which of the operating system's limits is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostCause {
    /// The number of mappings of the process: `vm.max_map_count`.
    Mappings {
        /// How many the process has.
        used: u64,
        /// How many it may have.
        limit: u64,
    },
    /// The address space of the process: `RLIMIT_AS`, which `ulimit -v` sets.
    AddressSpace {
        /// Bytes that the process has reserved.
        used: u64,
        /// Bytes that were asked for.
        wanted: u64,
        /// Bytes that it may reserve.
        limit: u64,
    },
    /// The writable memory of the process: `RLIMIT_DATA`, which `ulimit -d` sets.
    Data {
        /// Bytes that the process has.
        used: u64,
        /// Bytes that were asked for.
        wanted: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// The addresses that the processor has.
    Addresses {
        /// Bytes that the process has reserved.
        used: u64,
        /// Bytes that there are.
        limit: u64,
    },
    /// What the whole system may promise to all processes, under `vm.overcommit_memory=2`.
    Commitment {
        /// Bytes that are promised.
        used: u64,
        /// Bytes that may be promised.
        limit: u64,
    },
    /// None of the others: the system, or the process's control group, has no memory left.
    Memory,
    /// The host gives another reason than a lack of memory.
    Other,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Bytes of address space.
    reserved: u64,
    /// Bytes among them that are writable.
    writable: u64,
}

impl Request {
    /// Address space that can't be written.
    pub(crate) fn reserved(bytes: usize) -> Request {
        Request {
            reserved: bytes as u64,
            writable: 0,
        }
    }

    /// The same, of which `bytes` can be written.
    pub(crate) fn writable(self, bytes: usize) -> Request {
        Request {
            writable: bytes as u64,
            ..self
        }
    }
}

/// What the process has and may have. A figure that can't be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    mappings: Option<u64>,
    max_mappings: Option<u64>,
    reserved: u64,
    max_reserved: Option<u64>,
    data: u64,
    max_data: Option<u64>,
    /// What is promised and may be, if the system keeps account of it.
    commitment: Option<(u64, u64)>,
}

/// How many bytes a process can address.
const ADDRESSES: u64 = if cfg!(target_arch = "x86_64") {
    1 << 47
} else {
    1 << 48
};

/// Of which some are in holes too small for a memory.
const USABLE_ADDRESSES: u64 = ADDRESSES / 64 * 63;

/// So many mappings below the limit count as at the limit: what was asked for may take several, and is given up by now.
const MAPPINGS_SLACK: u64 = 16;

impl HostCause {
    /// Finds out why the host has refused `request` with `error`.
    pub(crate) fn of(error: &std::io::Error, request: Request) -> HostCause {
        if error.kind() == std::io::ErrorKind::OutOfMemory {
            Figures::read().cause(request)
        } else {
            HostCause::Other
        }
    }
}

/// Where the figures are.
static MAPS: OwnFile = OwnFile::to_read("/proc/self/maps");
static STATUS: OwnFile = OwnFile::to_read("/proc/self/status");
static SYSTEM: OwnFile = OwnFile::to_read("/proc/meminfo");
static MAX_MAPPINGS: OwnFile = OwnFile::to_read("/proc/sys/vm/max_map_count");
static OVERCOMMIT: OwnFile = OwnFile::to_read("/proc/sys/vm/overcommit_memory");

/// Opens now what this crate opens later, to find out why the host refuses memory: for a process that will not be able to.
/// What can't be opened is missing from the reasons. Also asks where the present thread's stack is, which for a process's
/// first thread the C library reads from a file.
pub fn open_ahead() {
    let _ = native_stack::left();
    for file in [&MAPS, &STATUS, &SYSTEM, &MAX_MAPPINGS, &OVERCOMMIT] {
        file.keep();
    }
}

impl Figures {
    /// Reads them from `/proc`.
    fn read() -> Figures {
        let text = |file: &OwnFile| String::from_utf8(file.read().ok()?).ok();
        let number = |file: &OwnFile| text(file)?.trim().parse().ok();
        let status = text(&STATUS).unwrap_or_default();
        let system = text(&SYSTEM).unwrap_or_default();
        let strict = number(&OVERCOMMIT) == Some(2);
        let commitment = field(&system, "Committed_AS:").zip(field(&system, "CommitLimit:"));
        Figures {
            mappings: MAPS.read().ok().map(|maps| {
                let lines = maps.iter().filter(|&&byte| byte == b'\n');
                lines.count() as u64
            }),
            max_mappings: number(&MAX_MAPPINGS),
            reserved: field(&status, "VmSize:").unwrap_or_default(),
            max_reserved: getrlimit(Resource::As).current,
            data: field(&status, "VmData:").unwrap_or_default(),
            max_data: getrlimit(Resource::Data).current,
            commitment: commitment.filter(|_| strict),
        }
    }

    /// What of all this is in the way of `request`.
    fn cause(&self, request: Request) -> HostCause {
        let (reserved, writable) = (request.reserved, request.writable);
        let exceeds = |used: u64, wanted, limit| used.saturating_add(wanted) > limit;
        match *self {
            Figures {
                reserved: used,
                max_reserved: Some(limit),
                ..
            } if exceeds(used, reserved, limit) => HostCause::AddressSpace {
                used,
                wanted: reserved,
                limit,
            },
            Figures {
                data: used,
                max_data: Some(limit),
                ..
            } if exceeds(used, writable, limit) => HostCause::Data {
                used,
                wanted: writable,
                limit,
            },
            Figures {
                mappings: Some(used),
                max_mappings: Some(limit),
                ..
            } if exceeds(used, MAPPINGS_SLACK, limit) => HostCause::Mappings { used, limit },
            Figures { reserved: used, .. } if exceeds(used, reserved, USABLE_ADDRESSES) => {
                let limit = ADDRESSES;
                HostCause::Addresses { used, limit }
            }
            Figures {
                commitment: Some((used, limit)),
                ..
            } if exceeds(used, writable, limit) => HostCause::Commitment { used, limit },
            _ => HostCause::Memory,
        }
    }
}

/// The bytes that a line of `/proc` says, `NAME 123 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1 << 10)
}

impl fmt::Display for HostCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: &u64| bytes >> 10;
        match self {
            HostCause::Mappings { used, limit } => write!(
                f,
                "the process has {used} mappings, and vm.max_map_count allows {limit}; raise it with \
                 `sysctl -w vm.max_map_count={}`",
                limit.saturating_mul(4).next_power_of_two(),
            ),
            HostCause::AddressSpace {
                used,
                wanted,
                limit,
            } => write!(
                f,
                "the process has reserved {} KiB of address space and needs {} KiB more, and its RLIMIT_AS allows {} KiB; \
                 raise it with `ulimit -v unlimited`",
                kib(used),
                kib(wanted),
                kib(limit),
            ),
            HostCause::Data {
                used,
                wanted,
                limit,
            } => write!(
                f,
                "the process has {} KiB of writable memory and needs {} KiB more, and its RLIMIT_DATA allows {} KiB; \
                 raise it with `ulimit -d unlimited`",
                kib(used),
                kib(wanted),
                kib(limit),
            ),
            HostCause::Addresses { used, limit } => write!(
                f,
                "the process has reserved {} GiB of the {} GiB that it can address; keep fewer memories at a time, or \
                 share them among several processes",
                used >> 30,
                limit >> 30,
            ),
            HostCause::Commitment { used, limit } => write!(
                f,
                "the system has promised {} KiB to its processes, and vm.overcommit_memory=2 allows {} KiB; raise it with \
                 `sysctl -w vm.overcommit_ratio=…`, or end the accounting with `sysctl -w vm.overcommit_memory=0`",
                kib(used),
                kib(limit),
            ),
            HostCause::Memory => f.write_str(
                "no limit of the process is in the way; the system, or the process's control group, has no memory left",
            ),
            HostCause::Other => f.write_str("not for lack of memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with nothing in its way.
    fn figures() -> Figures {
        Figures {
            mappings: Some(100),
            max_mappings: Some(65_530),
            reserved: 1 << 30,
            data: 1 << 20,
            ..Figures::default()
        }
    }

    fn request() -> Request {
        Request::reserved(4 << 30).writable(64 << 10)
    }

    #[test]
    fn each_limit_is_told_from_the_others() {
        let commitment = Some((1 << 40, 1 << 40));
        let cases = [
            (figures(), HostCause::Memory),
            (
                Figures {
                    mappings: Some(65_525),
                    ..figures()
                },
                HostCause::Mappings {
                    used: 65_525,
                    limit: 65_530,
                },
            ),
            (
                Figures {
                    max_reserved: Some(3 << 30),
                    ..figures()
                },
                HostCause::AddressSpace {
                    used: 1 << 30,
                    wanted: 4 << 30,
                    limit: 3 << 30,
                },
            ),
            (
                Figures {
                    max_data: Some(1 << 20),
                    ..figures()
                },
                HostCause::Data {
                    used: 1 << 20,
                    wanted: 64 << 10,
                    limit: 1 << 20,
                },
            ),
            (
                Figures {
                    reserved: ADDRESSES - (1 << 30),
                    ..figures()
                },
                HostCause::Addresses {
                    used: ADDRESSES - (1 << 30),
                    limit: ADDRESSES,
                },
            ),
            (
                Figures {
                    commitment,
                    ..figures()
                },
                HostCause::Commitment {
                    used: 1 << 40,
                    limit: 1 << 40,
                },
            ),
            (Figures::default(), HostCause::Memory),
        ];
        for (figures, cause) in cases {
            assert_eq!(figures.cause(request()), cause, "{figures:?}");
        }
    }

    #[test]
    fn messages_name_the_limit_and_how_to_raise_it() {
        let says = |cause: HostCause, parts: &[&str]| {
            let text = cause.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        };
        let (used, wanted, limit) = (65_530, 4096, 65_530);
        says(
            HostCause::Mappings { used, limit },
            &[
                "65530 mappings",
                "vm.max_map_count",
                "sysctl -w vm.max_map_count=262144",
            ],
        );
        says(
            HostCause::AddressSpace {
                used,
                wanted,
                limit,
            },
            &["RLIMIT_AS", "4 KiB more", "ulimit -v"],
        );
        says(
            HostCause::Data {
                used,
                wanted,
                limit,
            },
            &["RLIMIT_DATA", "ulimit -d"],
        );
        says(
            HostCause::Commitment { used, limit },
            &["vm.overcommit_memory"],
        );
        says(
            HostCause::Addresses {
                used: 127 << 40,
                limit: 128 << 40,
            },
            &["131072 GiB"],
        );
    }

    #[test]
    fn figures_are_read() {
        let figures = Figures::read();
        assert!(
            figures.mappings.is_some_and(|mappings| mappings > 10),
            "{figures:?}"
        );
        assert!(
            figures.max_mappings.is_some_and(|limit| limit > 1000),
            "{figures:?}"
        );
        assert!(
            figures.reserved > 1 << 20 && figures.data > 0,
            "{figures:?}"
        );
    }

    #[test]
    fn only_a_lack_of_memory_is_looked_into() {
        let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(HostCause::of(&error, request()), HostCause::Other);
        let error = std::io::Error::from(rustix::io::Errno::NOMEM);
        assert_ne!(HostCause::of(&error, request()), HostCause::Other);
    }
}
