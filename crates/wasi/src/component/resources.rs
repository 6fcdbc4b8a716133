//! The guest's resources by their numbers, which the component model keeps behind its handles.
//!
//! A resource may be made from another, as a pollable is from a stream: then it is a child, and the parent may not be dropped
//! before it.
//!
//! Invariant: there are no more resources than the limit, and each takes bounded memory of the host's.
//! Invariant: a child's parent is there for as long as the child.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::PollFlags;
use tiered_component::HostResource;
use tiered_runtime::Trap;

use crate::abi::Errno;
use crate::component::call::{Outcome, trap};
use crate::component::filesystem::{Descriptor, DirectoryEntries};
#[cfg(feature = "http")]
use crate::component::http::{bell::Bell, fields::Fields, options::RequestOptions};
use crate::component::lookup::Lookup;
use crate::component::tcp::Tcp;
use crate::component::udp::{Incoming, Outgoing, Udp};
use crate::interrupt::Interrupts;
use crate::objects::tcp::TcpSocket;
use crate::p2::error::IoError;
#[cfg(feature = "http")]
use crate::p2::http::{
    ResponseOutparam, client::FutureIncomingResponse, incoming::IncomingRequest,
    incoming::IncomingResponse, incoming_body::FutureTrailers, incoming_body::IncomingBody,
    outgoing::OutgoingRequest, outgoing::OutgoingResponse, outgoing_body::OutgoingBody,
};
use crate::p2::poll::Pollable;
use crate::p2::streams::{InputStream, OutputStream};
#[cfg(feature = "http")]
use crate::p3::http::{Request, Response};
use crate::poll;

/// A version of WASI with components: a resource of one is none of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 0.2.
    P2,
    /// 0.3.
    P3,
}

/// How a version names a type of resources.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeName {
    /// The interface that has it.
    pub(crate) interface: &'static str,
    /// Its name there.
    pub(crate) name: &'static str,
    /// The type as the component model knows it.
    pub(crate) host: HostResource,
}

/// The name of a type in a version, if there is one.
macro_rules! type_name {
    ($version:literal $resource:literal) => {
        None
    };
    ($version:literal $resource:literal $interface:literal $name:literal) => {
        Some(TypeName {
            interface: concat!($interface, "@", $version),
            name: $name,
            host: const { HostResource::new(concat!($interface, "/", $name, "@", $resource)) },
        })
    };
}

/// A kind of resource: the enum's variant, the type of the value, and its interface and name in 0.2 and in 0.3, each in
/// brackets that are empty if it has none such.
macro_rules! kinds {
    ($($(#[$only:meta])? $kind:ident($ty:ty) = [$($interface2:literal $name2:literal)?] [$($interface3:literal $name3:literal)?];)*) => {
        /// The types of resources.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($(#[$only])? $kind,)* }

        impl Kind {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$($(#[$only])? Self::$kind,)*];

            /// How a version names it; `None` if it has none such.
            #[inline]
            pub(crate) const fn in_version(self, version: Version) -> Option<TypeName> {
                match (version, self) {
                    $($(#[$only])? (Version::P2, Self::$kind) => type_name!("0.2.12" "0.2" $($interface2 $name2)?),)*
                    $($(#[$only])? (Version::P3, Self::$kind) => type_name!("0.3.2" "0.3" $($interface3 $name3)?),)*
                }
            }

            /// Its name for messages.
            pub(crate) const fn name(self) -> &'static str {
                match (self.in_version(Version::P2), self.in_version(Version::P3)) {
                    (Some(ty), _) | (None, Some(ty)) => ty.name,
                    (None, None) => "",
                }
            }
        }

        /// A resource of the guest.
        #[derive(Debug)]
        pub(crate) enum Resource { $($(#[$only])? $kind($ty),)* }

        impl Resource {
            pub(crate) fn kind(&self) -> Kind {
                match self { $($(#[$only])? Self::$kind(_) => Kind::$kind,)* }
            }
        }

        $(
            $(#[$only])?
            impl From<$ty> for Resource {
                fn from(value: $ty) -> Self {
                    Self::$kind(value)
                }
            }

            $(#[$only])?
            impl InTable for $ty {
                const KIND: Kind = Kind::$kind;

                #[cfg(feature = "http")]
                fn take(resource: Resource) -> Option<Self> {
                    match resource {
                        Resource::$kind(value) => Some(value),
                        _ => None,
                    }
                }

                fn of(resource: &mut Resource) -> Option<&mut Self> {
                    match resource {
                        Resource::$kind(value) => Some(value),
                        _ => None,
                    }
                }
            }
        )*
    };
}

/// A type of the values that are in the table.
pub(crate) trait InTable: Sized {
    const KIND: Kind;

    #[cfg(feature = "http")]
    fn take(resource: Resource) -> Option<Self>;

    fn of(resource: &mut Resource) -> Option<&mut Self>;
}

/// The network, of which there is one.
#[derive(Debug)]
pub(crate) struct Network;

/// That the standard input is a terminal.
#[derive(Debug)]
pub(crate) struct TerminalInput;

/// That a standard output is a terminal.
#[derive(Debug)]
pub(crate) struct TerminalOutput;

kinds! {
    Error(IoError) = ["wasi:io/error" "error"] [];
    Pollable(Pollable) = ["wasi:io/poll" "pollable"] [];
    InputStream(InputStream) = ["wasi:io/streams" "input-stream"] [];
    OutputStream(OutputStream) = ["wasi:io/streams" "output-stream"] [];
    TerminalInput(TerminalInput) = ["wasi:cli/terminal-input" "terminal-input"] ["wasi:cli/terminal-input" "terminal-input"];
    TerminalOutput(TerminalOutput) = ["wasi:cli/terminal-output" "terminal-output"] ["wasi:cli/terminal-output" "terminal-output"];
    Descriptor(Descriptor) = ["wasi:filesystem/types" "descriptor"] ["wasi:filesystem/types" "descriptor"];
    DirectoryEntries(DirectoryEntries) = ["wasi:filesystem/types" "directory-entry-stream"] [];
    Network(Network) = ["wasi:sockets/network" "network"] [];
    Tcp(Tcp) = ["wasi:sockets/tcp" "tcp-socket"] ["wasi:sockets/types" "tcp-socket"];
    Udp(Udp) = ["wasi:sockets/udp" "udp-socket"] ["wasi:sockets/types" "udp-socket"];
    Incoming(Incoming) = ["wasi:sockets/udp" "incoming-datagram-stream"] [];
    Outgoing(Outgoing) = ["wasi:sockets/udp" "outgoing-datagram-stream"] [];
    Lookup(Lookup) = ["wasi:sockets/ip-name-lookup" "resolve-address-stream"] [];
    #[cfg(feature = "http")]
    Fields(Fields) = ["wasi:http/types" "fields"] ["wasi:http/types" "fields"];
    #[cfg(feature = "http")]
    IncomingRequest(IncomingRequest) = ["wasi:http/types" "incoming-request"] [];
    #[cfg(feature = "http")]
    OutgoingRequest(OutgoingRequest) = ["wasi:http/types" "outgoing-request"] [];
    #[cfg(feature = "http")]
    RequestOptions(RequestOptions) = ["wasi:http/types" "request-options"] ["wasi:http/types" "request-options"];
    #[cfg(feature = "http")]
    ResponseOutparam(ResponseOutparam) = ["wasi:http/types" "response-outparam"] [];
    #[cfg(feature = "http")]
    IncomingResponse(IncomingResponse) = ["wasi:http/types" "incoming-response"] [];
    #[cfg(feature = "http")]
    IncomingBody(IncomingBody) = ["wasi:http/types" "incoming-body"] [];
    #[cfg(feature = "http")]
    FutureTrailers(FutureTrailers) = ["wasi:http/types" "future-trailers"] [];
    #[cfg(feature = "http")]
    OutgoingResponse(OutgoingResponse) = ["wasi:http/types" "outgoing-response"] [];
    #[cfg(feature = "http")]
    OutgoingBody(OutgoingBody) = ["wasi:http/types" "outgoing-body"] [];
    #[cfg(feature = "http")]
    FutureIncomingResponse(FutureIncomingResponse) = ["wasi:http/types" "future-incoming-response"] [];
    #[cfg(feature = "http")]
    Request(Request) = [] ["wasi:http/types" "request"];
    #[cfg(feature = "http")]
    Response(Response) = [] ["wasi:http/types" "response"];
}

#[derive(Debug)]
struct Slot {
    resource: Resource,
    parent: Option<u32>,
    /// How many resources have it as their parent.
    children: u32,
}

/// All resources of a guest.
#[derive(Debug)]
pub(crate) struct Resources {
    slots: Vec<Option<Slot>>,
    /// Indices of the empty ones.
    free: Vec<u32>,
    limit: usize,
    /// Where what is read from the host lies until the guest has made room for it.
    scratch: Vec<u8>,
    /// Connections that have not sent all that was written to them: whenever the guest waits, they go on.
    unsent: Mutex<Vec<Arc<TcpSocket>>>,
    /// Rings when something of HTTP's may have become ready.
    #[cfg(feature = "http")]
    bell: Bell,
    /// The same for what the component model's event loop waits for.
    #[cfg(feature = "http")]
    loop_bell: Bell,
}

impl Resources {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            limit,
            scratch: Vec::new(),
            unsent: Mutex::default(),
            #[cfg(feature = "http")]
            bell: Bell::default(),
            #[cfg(feature = "http")]
            loop_bell: Bell::default(),
        }
    }

    /// Rings when something of HTTP's may have become ready that a call of 0.2 waits for.
    #[cfg(feature = "http")]
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Rings when something of HTTP's may have become ready that the component model's event loop waits for. It is another
    /// one, since a waiter silences its bell.
    #[cfg(feature = "http")]
    pub(crate) fn loop_bell(&self) -> &Bell {
        &self.loop_bell
    }

    /// Takes note of a connection that has not sent everything yet.
    pub(crate) fn note_unsent(&self, socket: &Arc<TcpSocket>) {
        let mut unsent = self.unsent.lock();
        if socket.is_pending() && !unsent.iter().any(|known| Arc::ptr_eq(known, socket)) {
            unsent.push(Arc::clone(socket));
        }
    }

    /// Sends what connections have kept, as far as the host takes it now.
    pub(crate) fn send_unsent(&self, interrupts: Interrupts<'_>) {
        // Where it fails nobody takes it any more; what is written next is told.
        let goes_on = |socket: &Arc<TcpSocket>| {
            socket.drain(false, interrupts).is_ok() && socket.is_pending()
        };
        self.unsent.lock().retain(goes_on);
    }

    /// Waits until the host says something about one of `watches`, or until the time is over, and says what about each.
    /// Connections go on sending meanwhile.
    pub(crate) fn wait(
        &self,
        watches: &[(BorrowedFd<'_>, PollFlags)],
        timeout: Option<Duration>,
        interrupts: Interrupts<'_>,
    ) -> Result<Vec<PollFlags>, Errno> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.send_unsent(interrupts);
            let unsent = self.unsent.lock().clone();
            let sending = unsent.iter().map(|socket| (socket.fd(), PollFlags::OUT));
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let asked = watches.iter().copied().chain(sending);
            let mut answers = poll::ask(asked, left, interrupts)?;
            answers.truncate(watches.len());
            let is_over = left.is_some_and(|left| left.is_zero());
            let is_told = answers.iter().any(|answer| !answer.is_empty());
            if is_told || is_over {
                return Ok(answers);
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds one, a child of `parent`.
    pub(crate) fn insert(&mut self, resource: Resource, parent: Option<u32>) -> Outcome<u32> {
        if self.len() >= self.limit {
            let limit = self.limit;
            return Err(trap(format!("more than {limit} resources of WASI at once")));
        }
        if let Some(parent) = parent {
            self.slot(parent)?.children += 1;
        }
        let slot = Some(Slot {
            resource,
            parent,
            children: 0,
        });
        if let Some(rep) = self.free.pop() {
            self.slots[rep as usize] = slot;
            return Ok(rep);
        }
        let rep = u32::try_from(self.slots.len()).map_err(|_| trap("too many resources"))?;
        self.slots.push(slot);
        Ok(rep)
    }

    fn slot(&mut self, rep: u32) -> Outcome<&mut Slot> {
        let slot = self.slots.get_mut(rep as usize);
        slot.and_then(Option::as_mut).ok_or_else(|| missing(rep))
    }

    /// The resource, to look at.
    pub(crate) fn peek(&self, rep: u32) -> Option<&Resource> {
        let slot = self.slots.get(rep as usize)?.as_ref()?;
        Some(&slot.resource)
    }

    /// The resource, whatever it is.
    pub(crate) fn any(&mut self, rep: u32) -> Outcome<&mut Resource> {
        Ok(&mut self.slot(rep)?.resource)
    }

    /// The resource, which is of that type: its handle said so.
    pub(crate) fn get<R: InTable>(&mut self, rep: u32) -> Outcome<&mut R> {
        R::of(self.any(rep)?).ok_or_else(|| missing(rep))
    }

    /// Two resources of one type at once, which may be the same only if they are read.
    pub(crate) fn both<R: InTable, S>(
        &mut self,
        one: u32,
        other: u32,
        read: impl Fn(&R) -> S,
    ) -> Outcome<(S, S)> {
        let first = read(self.get(one)?);
        Ok((first, read(self.get(other)?)))
    }

    /// Takes one out, whose last handle is gone.
    pub(crate) fn remove(&mut self, rep: u32) -> Outcome<Resource> {
        let children = self.slot(rep)?.children;
        if children > 0 {
            let name = self.any(rep)?.kind().name();
            return Err(trap(format!(
                "a resource `{name}` is dropped before {children} that were made from it"
            )));
        }
        let slot = self.slots[rep as usize]
            .take()
            .ok_or_else(|| missing(rep))?;
        self.free.push(rep);
        if let Some(parent) = slot.parent {
            self.slot(parent)?.children -= 1;
        }
        Ok(slot.resource)
    }

    /// Takes one out that the guest gives away.
    #[cfg(feature = "http")]
    pub(crate) fn take<R: InTable>(&mut self, rep: u32) -> Outcome<R> {
        R::take(self.remove(rep)?).ok_or_else(|| missing(rep))
    }

    /// The resource that one was made from.
    pub(crate) fn parent(&mut self, rep: u32) -> Outcome<Option<u32>> {
        Ok(self.slot(rep)?.parent)
    }

    /// Room for `len` bytes that are read from the host. It is given back, so that the next read has it.
    pub(crate) fn take_scratch(&mut self, len: usize) -> Vec<u8> {
        let mut scratch = std::mem::take(&mut self.scratch);
        if scratch.len() < len {
            scratch.resize(len, 0);
        }
        scratch
    }

    /// Gives back what [`take_scratch`](Self::take_scratch) gave.
    pub(crate) fn put_scratch(&mut self, scratch: Vec<u8>) {
        self.scratch = scratch;
    }
}

/// The component model has a handle of it, so only a fault of ours can be the reason.
#[cold]
fn missing(rep: u32) -> Trap {
    trap(format!("there is no such resource: {rep}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Resource {
        Network.into()
    }

    #[test]
    fn a_parent_outlives_its_children() {
        let mut resources = Resources::new(10);
        let parent = resources.insert(network(), None).unwrap();
        let child = resources.insert(network(), Some(parent)).unwrap();
        let early = resources.remove(parent).unwrap_err();
        assert!(early.to_string().contains("`network` is dropped before 1"));
        assert_eq!(resources.parent(child).unwrap(), Some(parent));
        resources.remove(child).unwrap();
        resources.remove(parent).unwrap();
        assert_eq!(resources.len(), 0);
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let mut resources = Resources::new(2);
        let first = resources.insert(network(), None).unwrap();
        resources.insert(network(), None).unwrap();
        let beyond = resources.insert(network(), None).unwrap_err();
        assert!(beyond.to_string().contains("more than 2 resources"));
        resources.remove(first).unwrap();
        assert_eq!(resources.insert(network(), None).unwrap(), first);
    }

    #[test]
    fn a_resource_is_of_its_type() {
        let mut resources = Resources::new(2);
        let rep = resources.insert(network(), None).unwrap();
        assert!(resources.get::<Network>(rep).is_ok());
        assert!(resources.get::<TerminalInput>(rep).is_err());
        assert!(resources.get::<Network>(7).is_err());
        resources.remove(rep).unwrap();
        assert!(resources.remove(rep).is_err());
    }

    #[test]
    fn names_of_types_tell_them_apart() {
        let types = |version| {
            Kind::ALL
                .iter()
                .filter_map(move |kind| kind.in_version(version))
        };
        let types = types(Version::P2).chain(types(Version::P3));
        let mut names: Vec<_> = types.map(|ty| ty.host.name()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
