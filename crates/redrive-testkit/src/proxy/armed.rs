//! The test's side of a fault: whether it has met its request, and what becomes of what is held.

use std::sync::Arc;

use tokio::sync::watch;

use super::board::{Board, Order, Progress};
use super::label::Fault;

/// A fault that waits for its request, or has met it.
///
/// Dropping it leaves the fault armed, except that a request that is held goes on, and none is held any more.
pub struct Armed {
    pub(super) order: Order,
    pub(super) board: Arc<Board>,
}

impl Armed {
    /// Returns when the fault has met its request: it has arrived and not been passed on, or it has been executed and
    /// its reply not been passed on.
    ///
    /// It never returns if no such request comes: put a time-out around it.
    pub async fn struck(&self) {
        let mut progress = self.order.progress.subscribe();
        // The sender lives as long as this does.
        let _ = progress.wait_for(|now| *now >= Progress::Struck).await;
    }

    /// Whether the fault has met its request.
    pub fn has_struck(&self) -> bool {
        *self.order.progress.borrow() >= Progress::Struck
    }

    /// Lets a request, or a reply, that is held go on.
    pub fn go_on(&self) {
        self.tell(Progress::GoOn);
    }

    /// Closes the connection of what is held, which is passed on to nobody.
    pub fn cut(&self) {
        self.tell(Progress::Cut);
    }

    /// Takes the fault back, unless it has met its request already.
    pub fn disarm(&self) {
        self.board.disarm(&self.order.progress);
    }

    fn tell(&self, what: Progress) {
        let sender: &watch::Sender<Progress> = &self.order.progress;
        sender.send_if_modified(|now| {
            let is_first = *now <= Progress::Struck;
            if is_first {
                *now = what;
            }
            is_first
        });
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if self.order.fault == Fault::Hold {
            self.disarm();
            self.go_on();
        }
    }
}

impl std::fmt::Debug for Armed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Armed")
            .field("moment", &self.order.moment)
            .field("fault", &self.order.fault)
            .field("has_struck", &self.has_struck())
            .finish_non_exhaustive()
    }
}
