//! Addresses of the network, and why something on it failed: what `wasi:sockets` has in all versions.
//!
//! No handle grants anything: the embedder does, address by address, and each call that binds, connects, sends or looks up asks
//! that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::abi::Errno;
use crate::component::call::{Call, Outcome};
use crate::component::lower::{Answer, Lower, ResultForm, enums};
use crate::objects::tcp::Family;

enums! {
    /// Why an operation failed: the `error-code` of 0.2.
    NetError {
        Unknown,
        AccessDenied,
        NotSupported,
        InvalidArgument,
        OutOfMemory,
        Timeout,
        ConcurrencyConflict,
        NotInProgress,
        WouldBlock,
        InvalidState,
        NewSocketLimit,
        AddressNotBindable,
        AddressInUse,
        RemoteUnreachable,
        ConnectionRefused,
        ConnectionReset,
        ConnectionAborted,
        DatagramTooLarge,
        NameUnresolvable,
        TemporaryResolverFailure,
        PermanentResolverFailure,
    }
}

impl From<Errno> for NetError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ACCES | Errno::PERM | Errno::NOTCAPABLE => Self::AccessDenied,
            Errno::NOTSUP | Errno::NOPROTOOPT | Errno::PROTONOSUPPORT => Self::NotSupported,
            Errno::INVAL | Errno::AFNOSUPPORT | Errno::DESTADDRREQ => Self::InvalidArgument,
            Errno::NOMEM | Errno::NOBUFS => Self::OutOfMemory,
            Errno::TIMEDOUT => Self::Timeout,
            Errno::ALREADY => Self::ConcurrencyConflict,
            Errno::AGAIN | Errno::INPROGRESS => Self::WouldBlock,
            Errno::ISCONN | Errno::NOTCONN => Self::InvalidState,
            Errno::MFILE | Errno::NFILE => Self::NewSocketLimit,
            Errno::ADDRNOTAVAIL => Self::AddressNotBindable,
            Errno::ADDRINUSE => Self::AddressInUse,
            Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN | Errno::NETRESET => {
                Self::RemoteUnreachable
            }
            Errno::CONNREFUSED => Self::ConnectionRefused,
            Errno::CONNRESET | Errno::PIPE => Self::ConnectionReset,
            Errno::CONNABORTED => Self::ConnectionAborted,
            Errno::MSGSIZE => Self::DatagramTooLarge,
            _ => Self::Unknown,
        }
    }
}

/// What an operation comes to.
pub(crate) type Done<T> = Result<T, NetError>;

impl Answer for Family {
    const RESULT: ResultForm = ResultForm::I32;

    fn answer(self, call: &mut Call<'_>, _at: u32) -> Outcome<()> {
        call.set_result(self as u64);
        Ok(())
    }
}

/// `ip-address-family`, an argument.
pub(crate) fn family(call: &mut Call<'_>) -> Outcome<Family> {
    Ok(match call.case(2)? {
        0 => Family::V4,
        _ => Family::V6,
    })
}

/// How many flat arguments an `ip-socket-address` is.
const ADDRESS_SLOTS: usize = 12;

/// `ip-socket-address`, an argument.
pub(crate) fn socket_address(call: &mut Call<'_>) -> Outcome<SocketAddr> {
    let first = call.read_args();
    let address = match call.case(2)? {
        0 => {
            let port = call.u16();
            let octets = [call.u8(), call.u8(), call.u8(), call.u8()];
            SocketAddr::V4(SocketAddrV4::new(octets.into(), port))
        }
        _ => {
            let (port, flow) = (call.u16(), call.u32());
            let segments: [u16; 8] = std::array::from_fn(|_| call.u16());
            let scope = call.u32();
            SocketAddr::V6(SocketAddrV6::new(segments.into(), port, flow, scope))
        }
    };
    // The shorter case leaves the rest of the slots unused.
    call.skip(first + ADDRESS_SLOTS - call.read_args());
    Ok(address)
}

/// `option<ip-socket-address>`, an argument.
pub(crate) fn optional_address(call: &mut Call<'_>) -> Outcome<Option<SocketAddr>> {
    match call.case(2)? {
        0 => {
            call.skip(ADDRESS_SLOTS);
            Ok(None)
        }
        _ => socket_address(call).map(Some),
    }
}

/// Bytes of an `ip-socket-address` in memory.
pub(crate) const ADDRESS_SIZE: usize = 32;

/// `ip-socket-address` from its bytes in memory; `None` for a case that there is not.
pub(crate) fn address_in(bytes: &[u8; ADDRESS_SIZE]) -> Option<SocketAddr> {
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    match bytes[0] {
        0 => {
            let octets = [bytes[6], bytes[7], bytes[8], bytes[9]];
            Some(SocketAddrV4::new(octets.into(), u16_at(4)).into())
        }
        1 => {
            let segments: [u16; 8] = std::array::from_fn(|index| u16_at(12 + 2 * index));
            let address = Ipv6Addr::from(segments);
            Some(SocketAddrV6::new(address, u16_at(4), u32_at(8), u32_at(28)).into())
        }
        _ => None,
    }
}

impl Lower for SocketAddr {
    const SIZE: u32 = ADDRESS_SIZE as u32;
    const ALIGN: u32 = 4;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        let mut bytes = [0; ADDRESS_SIZE];
        bytes[4..6].copy_from_slice(&self.port().to_le_bytes());
        match self {
            Self::V4(v4) => bytes[6..10].copy_from_slice(&v4.ip().octets()),
            Self::V6(v6) => {
                bytes[0] = 1;
                bytes[8..12].copy_from_slice(&v6.flowinfo().to_le_bytes());
                let segments = v6.ip().segments();
                for (to, segment) in bytes[12..28].chunks_exact_mut(2).zip(segments) {
                    to.copy_from_slice(&segment.to_le_bytes());
                }
                bytes[28..32].copy_from_slice(&v6.scope_id().to_le_bytes());
            }
        }
        call.write(at, &bytes)
    }
}

impl Lower for IpAddr {
    const SIZE: u32 = 18;
    const ALIGN: u32 = 2;

    fn store(self, call: &mut Call<'_>, at: u32) -> Outcome<()> {
        let mut bytes = [0; Self::SIZE as usize];
        match self {
            Self::V4(v4) => bytes[2..6].copy_from_slice(&v4.octets()),
            Self::V6(v6) => {
                bytes[0] = 1;
                for (to, segment) in bytes[2..].chunks_exact_mut(2).zip(v6.segments()) {
                    to.copy_from_slice(&segment.to_le_bytes());
                }
            }
        }
        call.write(at, &bytes)
    }
}

/// Refuses an address of another family, one of many hosts, and one of the other family in disguise, which grants would not
/// know.
pub(crate) fn require_unicast(address: SocketAddr, family: Family) -> Done<()> {
    let is_unicast = match address.ip() {
        IpAddr::V4(v4) => !v4.is_multicast() && v4 != Ipv4Addr::BROADCAST,
        IpAddr::V6(v6) => !v6.is_multicast() && v6.to_ipv4_mapped().is_none(),
    };
    match is_unicast && Family::of(address.ip()) == family {
        true => Ok(()),
        false => Err(NetError::InvalidArgument),
    }
}

/// Refuses what cannot be the address of a peer.
pub(crate) fn require_peer(address: SocketAddr, family: Family) -> Done<()> {
    require_unicast(address, family)?;
    match address.ip().is_unspecified() || address.port() == 0 {
        true => Err(NetError::InvalidArgument),
        false => Ok(()),
    }
}
