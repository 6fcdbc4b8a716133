//! What has to happen before something goes on.

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;

use crate::abi::Errno;
use crate::objects::Object;
use crate::poll;
use crate::stdio::Readiness;

/// What has to happen before a resource is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait<'a> {
    /// Nothing.
    Ready,
    /// This much time, in nanoseconds.
    Time(u64),
    /// What the host is asked of a descriptor.
    Host(BorrowedFd<'a>, PollFlags),
    /// What HTTP's threads do: the bell of the resources rings then.
    #[cfg(feature = "http")]
    Bell,
}

impl Wait<'_> {
    /// Whether it has happened, as far as it is the host's to say.
    pub(crate) fn is_ready(&self) -> Result<bool, Errno> {
        match *self {
            Wait::Ready => Ok(true),
            Wait::Time(left) => Ok(left == 0),
            #[cfg(feature = "http")]
            Wait::Bell => Ok(false),
            Wait::Host(fd, events) => {
                let answers = poll::ask_now([(fd, events)].into_iter())?;
                Ok(answers.iter().any(|answer| !answer.is_empty()))
            }
        }
    }
}

/// What the host is asked whether a standard stream or a file is ready.
pub(crate) fn wait_of_object(object: &Object, events: PollFlags) -> Wait<'_> {
    match poll::readiness(object, events) {
        Ok(Readiness::Host(fd)) => Wait::Host(fd, events),
        // What cannot be waited for says why when it is used.
        Ok(Readiness::Now(_)) | Err(_) => Wait::Ready,
    }
}
