//! What a run has done, as the broker confirmed it.

use serde::Serialize;

/// What a run has done with messages. Counted when the broker has confirmed it, never before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Messages acknowledged after their handler succeeded.
    pub succeeded: u64,
    /// Runs that failed: an error, a panic, a time-out, a rejection. One whose dead letter found
    /// the queue full and waits for room is counted here, and neither as retried nor as
    /// dead-lettered.
    pub failed: u64,
    /// Of the failed ones, how many were put back to be run again.
    pub retried: u64,
    /// Messages put off by their handler, or because it could not begin; nothing charged.
    pub deferred: u64,
    /// Messages handed back before their handler started, or when the drain time was over, because
    /// the run stopped or the handler could not run; nothing charged.
    pub released: u64,
    /// Messages given up, for whatever reason.
    pub dead_lettered: u64,
    /// Messages whose handler said that they need not be done.
    pub discarded: u64,
    /// Handlers that still ran when drain time and grace were over and were aborted. Their messages are
    /// among the released ones.
    #[serde(skip)]
    pub cut_off: u64,
    /// Leases that were lost while a message was held here: others may have run it as well. What fails
    /// after that records nothing, what succeeds counts.
    pub leases_lost: u64,
}

/// What one sweep over the messages of others has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recovered {
    /// Messages taken over and run: those whose time to be retried had come, and those whose
    /// consumer had been silent for a lease.
    pub taken: u64,
    /// Of these, how many succeeded.
    pub succeeded: u64,
    /// Messages given up, during the sweep or by their handler.
    pub dead_lettered: u64,
}

/// All that a run counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) totals: Totals,
    pub(crate) taken: u64,
}
