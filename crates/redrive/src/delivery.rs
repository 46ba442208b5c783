//! One delivery of a message on the seam: its identity, the right to end it, the ways it ends, and
//! what a broker answers to each.

use std::time::Duration;

use crate::dead_letter::{Layout, Reason};
use crate::error::Error;
use crate::message::Fields;
use crate::names::EntryId;

/// How long a message waits that a full dead-letter queue keeps pending, until it is looked at
/// again.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(60);

/// The same where the queue spills: it has room again as soon as that is done.
pub(crate) const SPILL_PAUSE: Duration = Duration::from_secs(1);

/// The identity of one delivery of one entry: who settles it must still have exactly this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) id: EntryId,
    /// The delivery count.
    pub(crate) token: u64,
    pub(crate) charge: Charge,
}

/// Whether a delivery is charged to the message: if its process ends now, that was a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// Yes, by the server: its first delivery, received by this seat.
    Fresh,
    /// No: taken over and not begun.
    TakenOver,
    /// Yes, by [`Seat::begin`](crate::backend::Seat::begin).
    Begun,
}

impl Fence {
    pub(crate) fn is_charged(self) -> bool {
        self.charge != Charge::TakenOver
    }
}

/// The right to settle one delivery. Not `Clone`: settling consumes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) fence: Fence,
    /// The tombstone that stands in the dead-letter queue since the entry was seen trimmed.
    pub(crate) tombstone: Option<EntryId>,
}

impl Lease {
    pub(crate) fn new(id: EntryId, token: u64, charge: Charge) -> Self {
        Self {
            fence: Fence { id, token, charge },
            tombstone: None,
        }
    }
}

/// A message received or taken over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) lease: Lease,
    pub(crate) fields: Fields,
    /// Recorded failures.
    pub(crate) failures: u32,
    /// Booked crashes, and the open one. Without a proof that they are its own, at most one less
    /// than [`Membership::max_crashes`].
    pub(crate) crashes: u32,
}

/// How far a sweep over what is pending has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor(pub(crate) EntryId);

impl Cursor {
    /// Where a sweep starts.
    pub(crate) const START: Self = Self(EntryId::MIN);
    /// Behind everything: a round that looks at nothing but what is due.
    pub(crate) const END: Self = Self(EntryId::MAX);
}

/// How long before the end of a lease, at most, a round tells of it and keeps what waits for its owner: the
/// third of the shortest lease where that is less.
pub(crate) const NEAR: Duration = Duration::from_secs(3);

/// What one round of taking over did.
#[derive(Debug, Default)]
pub(crate) struct Tended {
    pub(crate) taken: Vec<Delivery>,
    /// Messages given up in this round: those whose budget was used, those that were trimmed.
    pub(crate) dead: Vec<Died>,
    /// Messages that were to be given up to a full queue: still pending, due again after
    /// [`FULL_PAUSE`].
    pub(crate) kept: Vec<EntryId>,
    /// Messages that look like the end of too many processes. Whoever has them may still be only
    /// slow: they wait, and are given up if nobody has come back by then.
    pub(crate) doubted: Vec<EntryId>,
    /// Messages that were to be given up and could not be, each with the reason; still pending.
    pub(crate) refused: Vec<(EntryId, Error)>,
    /// Where the next round goes on; `None` after the end of a sweep.
    pub(crate) cursor: Option<Cursor>,
    /// Time to the next due message, if one waits.
    pub(crate) next_due: Option<Duration>,
    /// Time to the end of the lease of what is held, where a round has seen that it is [near](NEAR).
    pub(crate) next_over: Option<Duration>,
    /// Nothing is pending, and no other consumer of redrive's is known: nobody is about to put anything back.
    pub(crate) quiet: bool,
}

/// A message given up, and its dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Died {
    pub(crate) id: EntryId,
    pub(crate) reason: Reason,
    pub(crate) dead_letter: EntryId,
    /// As it was written: native where the one asked for could not hold the message.
    pub(crate) layout: Layout,
    /// How many older dead letters had to go for it.
    pub(crate) dropped: u64,
}

/// Answer of [`Seat::begin`](crate::backend::Seat::begin).
#[derive(Debug)]
pub(crate) enum Begun {
    /// Charged: run it. The token has changed.
    Started {
        token: u64,
        failures: u32,
        crashes: u32,
    },
    /// Somebody else has it, or it waits: do not run it.
    Lost,
    /// It is no longer pending: do not run it.
    Gone,
    /// Given up here.
    Died(Died),
    /// It was to be given up and the queue is full: still pending, due after [`FULL_PAUSE`].
    Full,
    /// It was to be given up and could not be; still pending.
    Refused(Error),
}

/// Answer of [`Seat::renew`](crate::backend::Seat::renew).
#[derive(Debug)]
pub(crate) enum Renewed {
    /// Held for another lease.
    Held,
    /// Somebody else has it.
    Lost,
    /// It is no longer pending.
    Gone,
    /// The entry was trimmed; this tombstone stands for it until the lease is settled.
    Trimmed {
        tombstone: EntryId,
        /// How many older dead letters had to go for it.
        dropped: u64,
    },
    /// The tombstone could not be written; still pending.
    Refused(Error),
}

/// How one delivery ends.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) lease: Lease,
    /// The message, for the case that the stream no longer has it.
    pub(crate) fields: Fields,
    pub(crate) how: How,
}

/// What is settled together, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Of a delivery that nothing is kept about.
    AckOfFresh,
    Ack,
    PutBack,
    DeadLetter,
    /// Its tombstone stands already.
    Resolve,
}

impl Way {
    pub(crate) const ALL: [Self; 5] = [
        Self::AckOfFresh,
        Self::Ack,
        Self::PutBack,
        Self::DeadLetter,
        Self::Resolve,
    ];
}

impl Settlement {
    pub(crate) fn way(&self) -> Way {
        match &self.how {
            _ if self.lease.tombstone.is_some() => Way::Resolve,
            How::Ack if self.lease.fence.charge == Charge::Fresh => Way::AckOfFresh,
            How::Ack => Way::Ack,
            How::Retry { .. } | How::Defer { .. } | How::Release => Way::PutBack,
            How::DeadLetter { .. } => Way::DeadLetter,
        }
    }
}

/// The ways a delivery ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Done. Not fenced: refusing it would only add a run.
    Ack,
    /// One failure recorded; due again after the delay.
    Retry {
        delay: Duration,
        /// In a place of its own: hardly any message fails, and every one is moved about.
        fault: Box<Fault>,
        waits: Waits,
    },
    /// Nothing charged; due again after the delay.
    Defer { delay: Duration, waits: Waits },
    /// Given up. `charge` says whether the run that ended it is a recorded failure.
    DeadLetter {
        reason: Reason,
        fault: Box<Fault>,
        failed: Failed,
    },
    /// Handed back: nothing charged, due at once.
    Release,
}

impl How {
    /// Whether the message stays with its holder, to be begun again.
    pub(crate) fn keeps(&self) -> bool {
        match self {
            Self::Retry { waits, .. } | Self::Defer { waits, .. } => *waits == Waits::WithHolder,
            Self::Ack | Self::DeadLetter { .. } | Self::Release => false,
        }
    }
}

/// Where a message waits that is to be run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// In the group: whoever claims first when it is due has it.
    InTheGroup,
    /// With its holder, who keeps it under its lease, as one that is taken over and not begun, and
    /// begins it when the delay is over. The broker keeps no due time: once nobody renews it any
    /// more it is taken over like anything else.
    WithHolder,
}

/// Whether a dead letter's last run counts among its recorded failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// A handler ran and failed.
    Yes,
    /// No handler ran.
    No,
}

/// What went wrong, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// UTF-8, at most 8 KiB.
    pub(crate) error: String,
    pub(crate) kind: Option<String>,
    /// 16 hex digits.
    pub(crate) fingerprint: String,
}

/// Answer of [`Seat::settle`](crate::backend::Seat::settle).
#[derive(Debug)]
pub(crate) enum Settled {
    /// As asked, now or before.
    Done,
    /// Given up, as asked, or because the entry was trimmed and its run did not succeed.
    Died(Died),
    /// To be given up, and the queue is full: its failure is recorded, it is still pending, due
    /// again after [`FULL_PAUSE`].
    Full,
    /// The lease was lost: nothing was recorded.
    Stale,
    /// No longer pending: nothing was recorded.
    Gone,
    /// The broker refused this one; still pending, ask again.
    Refused(Error),
}
