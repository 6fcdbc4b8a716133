//! What one guest was given: arguments, environment, streams, directories with their grants, listeners.
//!
//! A guest may have several threads, each with a store of its own, all behind one context. What they share is what the
//! threads of a process share: descriptors with their positions, flags and rights, directory listings, limits.
//!
//! Invariant: nothing is reachable that was not named here. A context starts with no arguments, no environment, null
//! streams and no directory.
//!
//! # Locks
//! All calls take `&WasiCtx`. What never changes has no lock: arguments, environment, clocks, the tracer. Counters and
//! flags are atomics. These locks are left:
//!
//! 1. that of the descriptor table ([`FdTable`]), for looking up and exchanging entries;
//! 2. that of an [`InputBuffer`](crate::InputBuffer) or [`OutputBuffer`](crate::OutputBuffer), for copying bytes;
//! 3. that of an [`InterruptHandle`], for raising and clearing it;
//! 4. that of what a connection has not sent yet, which only the thread that uses the connection takes;
//! 5. one for each directory's listing, and one for each stream of the host's that can only wait. They are held while the
//!    host works, so nobody waits for them: who finds one taken does without.
//!
//! Invariant: nobody waits for a lock that is held over a call to the host that may block or take long: reading, writing,
//! polling, accepting, sleeping, syncing, opening, closing, listing. A call that waits holds nothing that others need.
//! Invariant: a thread that has one of the locks 1 to 3 takes no other, so there is no order to get wrong. One that has one of 4
//! or 5 may take any of 1 to 3.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use tiered_runtime::decode::printable::{Line, Quoted};

use crate::abi::Rights;
use crate::args::Strings;
use crate::clock::Monotonic;
use crate::fd_share::Share;
use crate::fd_table::{Entry, FdTable};
use crate::functions::Call;
use crate::guest::GuestMemory;
use crate::interrupt::{InterruptHandle, Interrupts};
use crate::kernel_fs::Origin;
#[cfg(feature = "component")]
use crate::net_grants::{NetGrants, Peers};
#[cfg(feature = "component")]
use crate::objects::lookup::Lookups;
use crate::objects::{Access, ByteBudget, Grant, Object, OpenDir};
use crate::path::reopened_for_reading;
use crate::stdio::{Input, Output, Stdin, Stdout};

/// How many bytes of entries may be read ahead for a guest unless told otherwise.
const DEFAULT_MAX_LISTING_BYTES: usize = 64 << 20;

/// Is shown every call after it returned.
pub(crate) type Tracer = Box<dyn Fn(&Call<'_>) + Send + Sync>;

/// The state behind a guest's WASI calls, for one thread of the guest or for several.
pub struct WasiCtx {
    pub(crate) args: Strings,
    pub(crate) environ: Strings,
    pub(crate) table: FdTable,
    pub(crate) listings: ByteBudget,
    /// Breaks the waiting of all threads.
    pub(crate) interrupt: InterruptHandle,
    pub(crate) monotonic: Monotonic,
    pub(crate) tracer: Option<Tracer>,
    /// What a component holds by handles.
    #[cfg(feature = "component")]
    pub(crate) resources: crate::component::Resources,
    #[cfg(feature = "component")]
    pub(crate) net: Arc<NetGrants>,
    #[cfg(feature = "http")]
    pub(crate) http: crate::component::http::Http,
    #[cfg(feature = "component")]
    pub(crate) lookups: Lookups,
    /// Bytes of datagrams that wait to be sent.
    #[cfg(feature = "component")]
    pub(crate) datagrams: ByteBudget,
    /// The most random bytes of one call.
    #[cfg(feature = "component")]
    pub(crate) max_random_bytes: u64,
}

impl WasiCtx {
    /// Starts a context that grants nothing.
    pub fn builder() -> WasiCtxBuilder {
        WasiCtxBuilder::default()
    }

    /// The granted directories, open, each with what may be done below it. All that the guest can reach by a path lies
    /// below one of them.
    pub fn granted_dirs(&self) -> Vec<GrantedDir> {
        let mut entries = self.table.entries();
        entries.retain(|entry| preopened(entry).is_some());
        entries.into_iter().map(GrantedDir).collect()
    }

    /// A handle that breaks blocking calls of this guest, those of all its threads, from any thread; they return `INTR`. A
    /// store that the calls are linked to by [`add_to_linker`](crate::add_to_linker) has its own handle, which breaks those
    /// of its thread alone.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.interrupt.give_out()
    }

    /// What may break the waiting of a call on `memory`.
    pub(crate) fn interrupts<'a>(&'a self, memory: &GuestMemory<'a>) -> Interrupts<'a> {
        Interrupts::new(&self.interrupt, memory.work())
    }
}

/// A granted directory of a context: see [`WasiCtx::granted_dirs`].
#[derive(Debug)]
pub struct GrantedDir(Arc<Entry>);

impl GrantedDir {
    /// What may be done below it.
    pub fn access(&self) -> Access {
        self.dir().grant.access
    }

    fn dir(&self) -> &OpenDir {
        preopened(&self.0).expect("nothing else is made one")
    }
}

impl AsFd for GrantedDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir().dir.as_fd()
    }
}

/// The directory, if it is one of the embedder's.
fn preopened(entry: &Entry) -> Option<&OpenDir> {
    match &**entry.object {
        Object::Dir(dir) if dir.preopen.is_some() => Some(dir),
        _ => None,
    }
}

impl fmt::Debug for WasiCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasiCtx")
            .field("args", &self.args)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// Why a context could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An argument is not UTF-8.
    #[error("argument {index} is not valid UTF-8: {value:?}")]
    ArgNotUtf8 {
        /// Its position, counted from 0.
        index: usize,
        /// The argument.
        value: OsString,
    },
    /// An argument contains a NUL byte.
    #[error("argument {index} contains a NUL byte: {}", Quoted(value))]
    ArgHasNul {
        /// Its position, counted from 0.
        index: usize,
        /// The argument.
        value: String,
    },
    /// An environment variable is not UTF-8.
    #[error("environment variable {name:?} is not valid UTF-8")]
    EnvNotUtf8 {
        /// Its name.
        name: OsString,
    },
    /// An environment variable's name is empty or contains `=`, or its name or value contains a NUL byte.
    #[error("environment variable {} has an invalid name or value", Quoted(name))]
    EnvInvalid {
        /// Its name.
        name: String,
    },
    /// Arguments or environment together exceed what a 32-bit guest can hold.
    #[error("arguments or environment are too long for a guest")]
    TooLong,
    /// A host directory could not be opened.
    #[error("cannot open directory {}: {source}", Line(path.display()))]
    Preopen {
        /// The directory on the host.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A read-only directory lies within, or is, one that is granted for writing: it could be changed through that one.
    #[error("cannot grant directory {} read-only: it lies within {}, which is writable", Line(read_only.display()), Line(writable.display()))]
    ReadOnlyWithin {
        /// The directory to be read-only, as it was given.
        read_only: PathBuf,
        /// The directory around it, as it was given.
        writable: PathBuf,
    },
    /// A guest's name for a directory is empty or contains a NUL byte.
    #[error("invalid guest path {} for a directory", Quoted(name))]
    GuestPath {
        /// The name.
        name: String,
    },
    /// More descriptors are preopened than may be open.
    #[error("more descriptors than the limit of {limit} open ones")]
    TooManyFds {
        /// The limit.
        limit: usize,
    },
    /// All guests of the process together have as many descriptors open as they may.
    #[error("the guests of this process have all {limit} descriptors open that they may")]
    NoFdsLeft {
        /// The limit.
        limit: usize,
    },
    /// A name of hosts was given to listen on: that is a matter of this host's addresses.
    #[cfg(feature = "component")]
    #[error(
        "cannot listen on {}: name an address of this host, or `*`",
        Line(addresses)
    )]
    ListenName {
        /// What was given.
        addresses: Peers,
    },
    /// The host refused something else.
    #[error("cannot set up the context: {0}")]
    Host(#[from] io::Error),
}

/// A directory to preopen.
#[derive(Debug)]
enum Source {
    Path(PathBuf),
    Dir(Dir),
}

#[derive(Debug)]
struct Preopen {
    source: Source,
    name: String,
    access: Access,
}

/// Collects what a guest is given; all checks happen in [`build`](Self::build).
pub struct WasiCtxBuilder {
    args: Vec<OsString>,
    environ: Vec<(OsString, OsString)>,
    stdin: Stdin,
    stdout: Stdout,
    stderr: Stdout,
    preopens: Vec<Preopen>,
    listeners: Vec<TcpListener>,
    max_open_fds: Option<usize>,
    max_listing_bytes: usize,
    tracer: Option<Tracer>,
    #[cfg(feature = "component")]
    components: ForComponents,
}

/// What only components can use.
#[cfg(feature = "component")]
struct ForComponents {
    net: NetGrants,
    listen: Vec<Peers>,
    max_resources: usize,
    max_random_bytes: u64,
    #[cfg(feature = "http")]
    http_limits: crate::component::http::HttpLimits,
    #[cfg(feature = "http")]
    http_client: Option<tiered_http::client::Client>,
    #[cfg(feature = "http")]
    http_tls: Option<tiered_http::client::Tls>,
}

#[cfg(feature = "component")]
impl Default for ForComponents {
    fn default() -> Self {
        Self {
            net: NetGrants::default(),
            listen: Vec::new(),
            max_resources: crate::component::DEFAULT_MAX_RESOURCES,
            max_random_bytes: crate::component::DEFAULT_MAX_RANDOM_BYTES,
            #[cfg(feature = "http")]
            http_limits: crate::component::http::HttpLimits::default(),
            #[cfg(feature = "http")]
            http_client: None,
            #[cfg(feature = "http")]
            http_tls: None,
        }
    }
}

#[cfg(feature = "component")]
impl ForComponents {
    /// Checks what could not be checked when it was given.
    fn checked(mut self) -> Result<Self, BuildError> {
        for addresses in std::mem::take(&mut self.listen) {
            if addresses.name().is_some() {
                return Err(BuildError::ListenName { addresses });
            }
            self.net.allow_listen(&addresses);
        }
        Ok(self)
    }
}

impl Default for WasiCtxBuilder {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            environ: Vec::new(),
            stdin: Stdin::Null,
            stdout: Stdout::Null,
            stderr: Stdout::Null,
            preopens: Vec::new(),
            listeners: Vec::new(),
            max_open_fds: None,
            max_listing_bytes: DEFAULT_MAX_LISTING_BYTES,
            tracer: None,
            #[cfg(feature = "component")]
            components: ForComponents::default(),
        }
    }
}

impl fmt::Debug for WasiCtxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasiCtxBuilder")
            .field("args", &self.args)
            .field("preopens", &self.preopens)
            .finish_non_exhaustive()
    }
}

impl WasiCtxBuilder {
    /// Appends an argument; the first is the program's name.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. Order is kept, and setting a name again replaces its value in place.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.environ.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.environ.push((name, value)),
        }
        self
    }

    /// Sets environment variables, as [`env`](Self::env) does.
    #[must_use]
    pub fn envs<N: Into<OsString>, V: Into<OsString>>(
        self,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        vars.into_iter()
            .fold(self, |builder, (name, value)| builder.env(name, value))
    }

    /// Sets the standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sets the standard output.
    #[must_use]
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// Sets the standard error.
    #[must_use]
    pub fn stderr(mut self, stderr: Stdout) -> Self {
        self.stderr = stderr;
        self
    }

    /// Gives the guest the process's own three streams.
    #[must_use]
    pub fn inherit_stdio(self) -> Self {
        self.stdin(Stdin::Inherit)
            .stdout(Stdout::Inherit)
            .stderr(Stdout::Inherit)
    }

    /// Grants the host directory `host`, which the guest sees as `name`. Descriptors count from 3, in this order.
    ///
    /// A grant covers all that lies below its directory, however it is reached. So a directory cannot be read-only within
    /// one that is granted for writing, or be granted both ways: [`build`](Self::build) refuses that
    /// ([`BuildError::ReadOnlyWithin`]). It compares the canonical paths of the directories named here; it does not see that
    /// one is mounted in another place too. Writing within a read-only grant is fine.
    ///
    /// Files of procfs are out of reach below it, and those of other interfaces of the kernel, such as sysfs, cannot be
    /// changed, unless the directory itself is on that file system. One that is on procfs can only be read.
    #[must_use]
    pub fn preopen_dir(
        self,
        host: impl Into<PathBuf>,
        name: impl Into<String>,
        access: Access,
    ) -> Self {
        self.preopen_source(Source::Path(host.into()), name.into(), access)
    }

    /// Grants an open directory, which the guest sees as `name`. Where it lies is not known here, so that no directory for
    /// writing is around a read-only one is the caller's to see to.
    #[must_use]
    pub fn preopen(self, dir: Dir, name: impl Into<String>, access: Access) -> Self {
        self.preopen_source(Source::Dir(dir), name.into(), access)
    }

    /// Grants a directory that another context has, as it has it: the same directory, by the same name, for the same access.
    /// Nothing is looked up again.
    ///
    /// # Errors
    /// The process has no descriptor left for it.
    pub fn preopen_granted(self, granted: &GrantedDir) -> io::Result<Self> {
        let dir = granted.dir();
        let source = Source::Dir(dir.dir.try_clone()?);
        let name = dir.preopen.as_deref().unwrap_or_default().to_owned();
        Ok(self.preopen_source(source, name, dir.grant.access))
    }

    fn preopen_source(mut self, source: Source, name: String, access: Access) -> Self {
        self.preopens.push(Preopen {
            source,
            name,
            access,
        });
        self
    }

    /// Gives the guest a listening socket; its descriptor follows those of the directories.
    #[must_use]
    pub fn tcp_listener(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Limits how many descriptors the guest may have open at once, standard streams and directories included. Beyond it,
    /// calls that open something fail with `MFILE`. Unless set, it is a quarter of what the process may have open (its soft
    /// limit on open files, `ulimit -n`, when the context is built), and at most 65,536.
    ///
    /// Whatever is set here, the guests of the process together get no more than three quarters of what the process may
    /// have open, so that there is always something left for the process itself.
    #[must_use]
    pub fn max_open_fds(mut self, limit: usize) -> Self {
        self.max_open_fds = Some(limit);
        self
    }

    /// Limits how many bytes of entries may be read ahead at once in all directories that the guest has begun to list and
    /// not read to their end. Beyond it nothing fails, but each call reads anew what did not fit into the guest's buffer
    /// before. 64 MiB unless set.
    #[must_use]
    pub fn max_listing_bytes(mut self, limit: usize) -> Self {
        self.max_listing_bytes = limit;
        self
    }

    /// Grants connecting to peers by TCP, and sending datagrams to them. A name also grants looking it up, and stands for the
    /// addresses that it is found to have then. Without a grant, nothing can be reached.
    ///
    /// A socket may then be bound to a port that the host picks; what others than granted peers send there is dropped.
    ///
    /// Preview 1 has no call that connects, so this is for components only, as the next four are.
    #[cfg(feature = "component")]
    #[must_use]
    pub fn allow_connect(mut self, peers: impl Into<Peers>) -> Self {
        self.components.net.allow_connect(peers.into());
        self
    }

    /// Grants binding to addresses of this host, to accept connections and to receive datagrams from anyone. An address for
    /// all interfaces (`0.0.0.0`, `[::]`) is one of its own, and port 0 lets the host pick one.
    #[cfg(feature = "component")]
    #[must_use]
    pub fn allow_listen(mut self, addresses: impl Into<Peers>) -> Self {
        self.components.listen.push(addresses.into());
        self
    }

    /// Grants looking up a name, all names below one (`*.example.com`), or all (`*`). Whether what is found may be connected
    /// to is another matter.
    #[cfg(feature = "component")]
    #[must_use]
    pub fn allow_resolve(mut self, name: impl AsRef<str>) -> Self {
        self.components.net.allow_resolve(name.as_ref());
        self
    }

    /// Limits how many resources (descriptors, streams, pollables, sockets, errors, …) a component may have of WASI at once;
    /// one more is a trap. 65,536 unless set.
    #[cfg(feature = "component")]
    #[must_use]
    pub fn max_resources(mut self, limit: usize) -> Self {
        self.components.max_resources = limit;
        self
    }

    /// Limits how many random bytes a component may ask for in one call; more is a trap. 64 MiB unless set.
    #[cfg(feature = "component")]
    #[must_use]
    pub fn max_random_bytes(mut self, limit: u64) -> Self {
        self.components.max_random_bytes = limit;
        self
    }

    /// Grants requests by HTTP to all servers, those of this host among them. Sockets are another matter. Without it, requests
    /// go where [`allow_connect`](Self::allow_connect) grants connecting.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn allow_http(mut self) -> Self {
        self.components.net.allow_http();
        self
    }

    /// Limits what a component may have of HTTP.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http_limits(mut self, limits: crate::component::http::HttpLimits) -> Self {
        self.components.http_limits = limits;
        self
    }

    /// Sets what makes requests by HTTP: clones of one client share its thread and its limits. Unless set, the first
    /// request that is granted starts one that trusts the system's roots, for this context alone.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http_client(mut self, client: tiered_http::client::Client) -> Self {
        self.components.http_client = Some(client);
        self
    }

    /// Sets what the client trusts that is started when there is none: for a process that can't read the system's roots any
    /// more when it makes its first request.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http_tls(mut self, tls: tiered_http::client::Tls) -> Self {
        self.components.http_tls = Some(tls);
        self
    }

    /// Shows every call and its outcome to `tracer`, on the thread that made it: a guest's threads call it at the same time.
    /// A tracer that panics ends the guest, as a host function's panic does: no call goes by unseen.
    #[must_use]
    pub fn trace(mut self, tracer: impl Fn(&Call<'_>) + Send + Sync + 'static) -> Self {
        self.tracer = Some(Box::new(tracer));
        self
    }

    /// Checks everything and opens the directories.
    pub fn build(self) -> Result<WasiCtx, BuildError> {
        #[cfg(feature = "component")]
        let components = self.components.checked()?;
        let share = Share::of_process();
        let limit = self.max_open_fds.unwrap_or(share.each);
        let table = FdTable::new(limit);
        let mut entries = vec![
            Entry::new(
                Object::Stdin(Input::from(self.stdin)),
                Rights::STDIN,
                Rights::NONE,
            ),
            output(self.stdout, rustix::stdio::stdout()),
            output(self.stderr, rustix::stdio::stderr()),
        ];
        require_no_read_only_within(&self.preopens)?;
        for (id, preopen) in (0..).zip(self.preopens) {
            entries.push(open(preopen, id)?);
        }
        for listener in self.listeners {
            listener.set_nonblocking(true)?;
            let object = Object::Listener(listener);
            entries.push(Entry::new(object, Rights::LISTENER, Rights::SOCKET));
        }
        for entry in entries {
            if table.is_full() {
                return Err(BuildError::TooManyFds { limit });
            }
            let inserted = table.insert_first(entry);
            inserted.map_err(|_| BuildError::NoFdsLeft {
                limit: share.together,
            })?;
        }
        Ok(WasiCtx {
            args: Strings::from_args(self.args)?,
            environ: Strings::from_environ(self.environ)?,
            table,
            listings: ByteBudget::new(self.max_listing_bytes),
            interrupt: InterruptHandle::new(),
            monotonic: Monotonic::starting_now(),
            tracer: self.tracer,
            #[cfg(feature = "component")]
            resources: crate::component::Resources::new(components.max_resources),
            #[cfg(feature = "component")]
            net: Arc::new(components.net),
            #[cfg(feature = "http")]
            http: crate::component::http::Http::new(
                components.http_limits,
                components.http_client,
                components.http_tls,
            ),
            #[cfg(feature = "component")]
            lookups: Lookups::default(),
            #[cfg(feature = "component")]
            datagrams: ByteBudget::new(crate::component::udp::MAX_WAITING_BYTES),
            #[cfg(feature = "component")]
            max_random_bytes: components.max_random_bytes,
        })
    }
}

fn output(stdout: Stdout, inherited: rustix::fd::BorrowedFd<'static>) -> Entry {
    let object = Object::Stdout(Output::new(stdout, inherited));
    Entry::new(object, Rights::STDOUT, Rights::NONE)
}

/// Opens a directory and makes it a grant of its own.
fn open(preopen: Preopen, id: u32) -> Result<Entry, BuildError> {
    let Preopen {
        source,
        name,
        access,
    } = preopen;
    if name.is_empty() || name.contains('\0') || u32::try_from(name.len()).is_err() {
        return Err(BuildError::GuestPath { name });
    }
    let dir = match source {
        Source::Dir(dir) => dir,
        Source::Path(path) => Dir::open_ambient_dir(&path, ambient_authority())
            .map_err(|source| BuildError::Preopen { path, source })?,
    };
    let origin = Origin::of(&dir).map_err(io::Error::from)?;
    let access = origin.limit(access);
    let grant = Grant { id, access, origin };
    let dir = OpenDir::preopen(reopened_for_reading(dir), name.into(), grant);
    Ok(Entry::preopen(dir))
}

/// Refuses a read-only directory that lies within one for writing, or is one.
fn require_no_read_only_within(preopens: &[Preopen]) -> Result<(), BuildError> {
    let (read_only, writable): (Vec<_>, Vec<_>) = preopens
        .iter()
        .partition(|preopen| preopen.access == Access::ReadOnly);
    // Without both there is nothing to compare, and no reason to ask the host.
    if read_only.is_empty() || writable.is_empty() {
        return Ok(());
    }
    let writable = canonical(&writable)?;
    for (read_only, place) in canonical(&read_only)? {
        if let Some((around, _)) = writable
            .iter()
            .find(|(_, around)| place.starts_with(around))
        {
            return Err(BuildError::ReadOnlyWithin {
                read_only: read_only.to_path_buf(),
                writable: around.to_path_buf(),
            });
        }
    }
    Ok(())
}

/// The directories given by path, each with its canonical path.
fn canonical<'a>(preopens: &[&'a Preopen]) -> Result<Vec<(&'a Path, PathBuf)>, BuildError> {
    preopens
        .iter()
        .filter_map(|preopen| match &preopen.source {
            Source::Path(path) => Some(path),
            Source::Dir(_) => None,
        })
        .map(|path| match fs::canonicalize(path) {
            Ok(canonical) => Ok((path.as_path(), canonical)),
            Err(source) => Err(BuildError::Preopen {
                path: path.clone(),
                source,
            }),
        })
        .collect()
}
