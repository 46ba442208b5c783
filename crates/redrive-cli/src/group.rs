//! The process group of a child: told to end, and never left behind.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// Between two looks whether a group is gone: nobody tells when it is.
const LOOK: Duration = Duration::from_millis(20);

/// The group that a child leads. Killed when this is dropped, unless it was [left](Self::leave).
#[derive(Debug)]
#[must_use = "a group is killed when this is dropped"]
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// Of a child that was started as the leader of a group.
    pub(crate) fn of(child: &tokio::process::Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// The child ended by itself: what it left running is its own affair.
    pub(crate) fn leave(mut self) {
        self.0 = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // It may be gone already.
            let _ = kill_process_group(leader, signal);
        }
    }

    /// Resolves when no process of the group is left. The leader must have been waited for.
    pub(crate) async fn gone(&self) {
        let Some(leader) = self.0 else { return };
        while test_kill_process_group(leader) != Err(Errno::SRCH) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
