//! TCP sockets: making one, and what a connection's two directions share.
//!
//! All are non-blocking for the host. What a connection does not take at once is kept with it, up to what one write of the
//! guest has, and goes out before anything that is written later.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};

use super::socket;
use crate::abi::Errno;
use crate::fd_share::Hold;
use crate::interrupt::Interrupts;

/// The family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// Of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.is_ipv4() {
            true => Self::V4,
            false => Self::V6,
        }
    }

    /// All addresses of this host, and a port that it picks.
    pub(crate) fn anywhere(self) -> SocketAddr {
        let address = match self {
            Self::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        SocketAddr::new(address, 0)
    }
}

/// A new socket of the host's, which speaks its own family only.
pub(crate) fn create(family: Family, ty: SocketType) -> Result<OwnedFd, Errno> {
    let domain = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(domain, ty, flags, None)?;
    if family == Family::V6 {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    Ok(fd)
}

/// A TCP socket.
#[derive(Debug)]
pub(crate) struct TcpSocket {
    fd: OwnedFd,
    pub(crate) family: Family,
    receive_shut: AtomicBool,
    send_shut: AtomicBool,
    /// What was written and not sent yet.
    pending: Mutex<Vec<u8>>,
    /// Given back after the descriptor is closed.
    _hold: Option<Hold>,
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Receive,
    Send,
}

impl TcpSocket {
    pub(crate) fn new(fd: OwnedFd, family: Family, hold: Option<Hold>) -> Self {
        Self {
            fd,
            family,
            receive_shut: AtomicBool::new(false),
            send_shut: AtomicBool::new(false),
            pending: Mutex::default(),
            _hold: hold,
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn shut(&self, direction: Direction) -> &AtomicBool {
        match direction {
            Direction::Receive => &self.receive_shut,
            Direction::Send => &self.send_shut,
        }
    }

    /// Whether the guest has shut a direction down.
    pub(crate) fn is_shut(&self, direction: Direction) -> bool {
        self.shut(direction).load(Ordering::Relaxed)
    }

    /// Shuts a direction down, once. What is pending is sent before.
    pub(crate) fn shut_down(
        &self,
        direction: Direction,
        interrupts: Interrupts<'_>,
    ) -> Result<(), Errno> {
        if self.is_shut(direction) {
            return Ok(());
        }
        if direction == Direction::Send {
            self.drain(true, interrupts)?;
        }
        self.close(direction)
    }

    /// Shuts a direction down; what is pending is not sent.
    pub(crate) fn close(&self, direction: Direction) -> Result<(), Errno> {
        let how = match direction {
            Direction::Receive => Shutdown::Read,
            Direction::Send => Shutdown::Write,
        };
        self.shut(direction).store(true, Ordering::Relaxed);
        match rustix::net::shutdown(&self.fd, how) {
            // The other end has gone already.
            Err(rustix::io::Errno::NOTCONN) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Whether something was written and not sent yet.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.lock().is_empty()
    }

    /// Sends what is pending: what the host takes now, or everything.
    pub(crate) fn drain(&self, waits: bool, interrupts: Interrupts<'_>) -> Result<(), Errno> {
        let mut pending = self.pending.lock();
        while !pending.is_empty() {
            let slices = &[IoSlice::new(&pending)];
            match socket::send(&self.fd, slices, !waits, interrupts) {
                Ok(sent) => {
                    pending.drain(..sent);
                }
                Err(Errno::AGAIN) => break,
                // Nobody will take it any more; an interrupted guest is at its end as well.
                Err(errno) => {
                    pending.clear();
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    /// Sends what the host takes now, and keeps the rest.
    pub(crate) fn send(&self, bytes: &[u8], interrupts: Interrupts<'_>) -> Result<(), Errno> {
        self.drain(false, interrupts)?;
        let mut pending = self.pending.lock();
        let mut rest = bytes;
        while pending.is_empty() && !rest.is_empty() {
            match socket::send(&self.fd, &[IoSlice::new(rest)], true, interrupts) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        pending.extend_from_slice(rest);
        Ok(())
    }
}

/// The shortest and longest time that Linux takes for its keep-alive options, and the most packets.
const KEEP_ALIVE_SECONDS: (u64, u64) = (1, 32_767);
const KEEP_ALIVE_PACKETS: (u32, u32) = (1, 127);

/// A keep-alive time that the host takes, near the one that is asked for.
pub(crate) fn keep_alive_time(nanoseconds: u64) -> Duration {
    let (least, most) = KEEP_ALIVE_SECONDS;
    let seconds = nanoseconds.div_ceil(1_000_000_000);
    Duration::from_secs(seconds.clamp(least, most))
}

/// A number of keep-alive packets that the host takes, near the one that is asked for.
pub(crate) fn keep_alive_packets(count: u32) -> u32 {
    let (least, most) = KEEP_ALIVE_PACKETS;
    count.clamp(least, most)
}
