//! A stream, a group and a queue of a test's own, and short words for what tests do there.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{
    Backend, Begun, Beside, Charge, Cursor, Delivery, Died, Entry, Failed, Fault, Fence, How,
    IdRange, Joined, Lease, Membership, OnAck, Seat, Settled, Settlement, Tended, Waits,
};
use crate::dead_letter::{Layout, Reason, read};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::message::Fields;
use crate::names::{ConsumerName, EntryId, GroupStart, ProcessToken, Source, StreamKey};
use crate::selection::Order;

use super::{Lab, StateParts};

pub(super) const LEASE: Duration = Duration::from_secs(60);
pub(super) const FOREIGN_LEASE: Duration = Duration::from_secs(600);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const FINGERPRINT: &str = "0123456789abcdef";

/// A stream, a group and a dead-letter queue that no other test has.
pub(super) struct Room<'a> {
    pub(super) lab: &'a dyn Lab,
    pub(super) source: Source,
    pub(super) dlq: StreamKey,
    /// Of the one process in which all its consumers are, unless a test says otherwise.
    token: ProcessToken,
}

impl<'a> Room<'a> {
    pub(super) fn new(lab: &'a dyn Lab) -> Self {
        let source = Source::new(format!("stream-{:016x}", fastrand::u64(..)), "group").unwrap();
        let dlq = source.stream.default_dead_letters();
        Self {
            lab,
            source,
            dlq,
            token: ProcessToken::random(),
        }
    }

    pub(super) fn backend(&self) -> Arc<dyn Backend> {
        self.lab.backend()
    }

    pub(super) fn stream(&self) -> &StreamKey {
        &self.source.stream
    }

    pub(super) fn member(&self, consumer: &str) -> Membership {
        Membership {
            source: self.source.clone(),
            consumer: ConsumerName::new(consumer).unwrap(),
            token: self.token.clone(),
            start: GroupStart::First,
            lease: LEASE,
            foreign_lease: FOREIGN_LEASE,
            max_attempts: 1000,
            max_crashes: 1000,
            dead_letters: self.dlq.clone(),
            layout: Layout::Native,
            limit: None,
            on_ack: OnAck::Keep,
        }
    }

    pub(super) async fn join(&self, consumer: &str) -> Arc<dyn Seat> {
        self.join_as(self.member(consumer)).await
    }

    pub(super) async fn join_as(&self, membership: Membership) -> Arc<dyn Seat> {
        seated(self.backend().join(membership).await)
    }

    /// Adds that many entries, each with its number.
    pub(super) async fn add(&self, count: usize) -> Vec<EntryId> {
        let entries: Vec<_> = (0..count).map(numbered).collect();
        self.backend()
            .append(self.stream(), &entries)
            .await
            .unwrap()
    }

    /// One entry, received by this seat.
    pub(super) async fn hold_one(&self, seat: &dyn Seat) -> Fence {
        self.add(1).await;
        let mut got = seat.receive(1, None).await.unwrap();
        assert_eq!(got.len(), 1);
        got.remove(0).lease.fence
    }

    /// Lets the lease of the holder pass.
    pub(super) async fn expire(&self, id: EntryId) {
        self.lab.age(&self.source, id, LEASE).await;
    }

    /// Lets the lease of its holder pass, and takes this one message over.
    pub(super) async fn take(&self, seat: &dyn Seat, id: EntryId) -> Delivery {
        self.expire(id).await;
        self.take_due(seat, id).await
    }

    /// Takes this one message over, which is due or abandoned, and nothing else.
    pub(super) async fn take_due(&self, seat: &dyn Seat, id: EntryId) -> Delivery {
        let mut round = seat.tend(100, Cursor::START).await.unwrap();
        assert_eq!(taken(&round), [id]);
        round.taken.remove(0)
    }

    /// Takes one message over and begins it: what it answers then.
    pub(super) async fn run(&self, seat: &dyn Seat, id: EntryId) -> (Fence, u32, u32) {
        let lease = self.take(seat, id).await.lease;
        started(begin(seat, lease.fence, "nonce").await, id)
    }

    pub(super) async fn state(&self, id: EntryId) -> StateParts {
        self.lab.state(&self.source, id).await.unwrap()
    }

    /// Owner and delivery count of each pending entry.
    pub(super) async fn owners(&self) -> Vec<(EntryId, String, u64)> {
        let rows = self.lab.pel(&self.source).await;
        rows.into_iter()
            .map(|row| (row.id, row.consumer, row.count))
            .collect()
    }

    pub(super) async fn assert_nothing_pending(&self) {
        assert_eq!(self.owners().await, []);
        assert!(self.lab.is_clean(&self.source).await, "hints are left");
    }

    pub(super) async fn dead_letters(&self) -> Vec<Entry> {
        self.entries(&self.dlq).await
    }

    pub(super) async fn entries(&self, stream: &StreamKey) -> Vec<Entry> {
        let range = IdRange {
            low: EntryId::MIN,
            high: EntryId::MAX,
            order: Order::Oldest,
            limit: 100_000,
        };
        self.backend().entries(stream, range).await.unwrap()
    }

    /// What the ledger says of these: dead-lettered, replayed, purged; nothing else is in it.
    pub(super) async fn ledger(&self) -> [u64; 3] {
        let mut ledger = self.lab.ledger(&self.dlq).await;
        let counts =
            ["dead_lettered", "replayed", "purged"].map(|key| ledger.remove(key).unwrap_or(0));
        // Only that what others added can be told apart.
        ledger.remove("rewritten");
        assert!(ledger.is_empty(), "{ledger:?}");
        counts
    }

    /// That the books add up, and nothing of what was done looks like the work of others.
    pub(super) async fn assert_own(&self) {
        let counts = self.backend().counts(&self.dlq).await.unwrap().unwrap();
        let ledger = Ledger::of(&counts);
        assert!(ledger.balanced, "{counts:?}");
        let foreign = (ledger.foreign_in, ledger.foreign_out);
        assert_eq!(foreign, (Some(0), Some(0)), "{counts:?}");
    }

    /// That many dead letters of one seat, each of its own entry.
    pub(super) async fn kill(&self, count: usize) -> Vec<EntryId> {
        let seat = self.join("undertaker").await;
        self.add(count).await;
        let got = seat.receive(count, None).await.unwrap();
        let ends: Vec<_> = got
            .into_iter()
            .map(|delivery| Settlement {
                lease: delivery.lease,
                fields: delivery.fields,
                how: dead_letter("no"),
            })
            .collect();
        let answers = seat.settle(&ends).await.unwrap();
        answers
            .iter()
            .map(|answer| died(answer).dead_letter)
            .collect()
    }
}

/// The seat of who was let in.
#[track_caller]
pub(crate) fn seated(joined: Result<Joined, Error>) -> Arc<dyn Seat> {
    match joined.unwrap() {
        Joined::Seat(seat) => seat,
        Joined::Taken { left } => panic!("the name is another's for {left:?}"),
    }
}

pub(super) fn numbered(number: usize) -> Fields {
    [("number", number.to_string())].into_iter().collect()
}

pub(super) fn fault(error: &str) -> Box<Fault> {
    Box::new(Fault {
        error: error.to_owned(),
        kind: Some("Kind".to_owned()),
        fingerprint: FINGERPRINT.to_owned(),
    })
}

pub(super) fn retry(delay: Duration, error: &str) -> How {
    How::Retry {
        delay,
        fault: fault(error),
        waits: Waits::InTheGroup,
    }
}

pub(super) fn defer(delay: Duration) -> How {
    How::Defer {
        delay,
        waits: Waits::InTheGroup,
    }
}

pub(super) fn dead_letter(error: &str) -> How {
    How::DeadLetter {
        reason: Reason::Rejected,
        fault: fault(error),
        failed: Failed::Yes,
    }
}

/// All ways but success.
pub(super) fn unsuccessful() -> [How; 4] {
    [
        retry(HOUR, "no"),
        defer(HOUR),
        dead_letter("no"),
        How::Release,
    ]
}

/// The bytes of a message as a process holds them.
pub(super) fn held_bytes() -> Fields {
    [("held", "bytes")].into_iter().collect()
}

pub(super) fn settlement(fence: Fence, how: How) -> Settlement {
    let lease = Lease::new(fence.id, fence.token, fence.charge);
    Settlement {
        lease,
        fields: held_bytes(),
        how,
    }
}

pub(super) async fn settle(seat: &dyn Seat, fence: Fence, how: How) -> Settled {
    settle_as(seat, settlement(fence, how)).await
}

pub(super) async fn settle_as(seat: &dyn Seat, settlement: Settlement) -> Settled {
    let mut answers = seat.settle(&[settlement]).await.unwrap();
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

pub(super) async fn begin(seat: &dyn Seat, fence: Fence, nonce: &str) -> Begun {
    begin_beside(Beside::Others, seat, fence, nonce).await
}

pub(super) async fn begin_beside(
    beside: Beside,
    seat: &dyn Seat,
    fence: Fence,
    nonce: &str,
) -> Begun {
    let mut answers = seat.begin(&[fence], beside, nonce).await.unwrap();
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// The new fence, failures and crashes of a run that has begun.
#[expect(
    clippy::needless_pass_by_value,
    reason = "made to wrap a call of begin"
)]
#[track_caller]
pub(super) fn started(begun: Begun, id: EntryId) -> (Fence, u32, u32) {
    let Begun::Started {
        token,
        failures,
        crashes,
    } = begun
    else {
        panic!("not begun: {begun:?}");
    };
    let fence = Fence {
        id,
        token,
        charge: Charge::Begun,
    };
    (fence, failures, crashes)
}

#[track_caller]
pub(super) fn died(settled: &Settled) -> &Died {
    match settled {
        Settled::Died(died) => died,
        other => panic!("not dead: {other:?}"),
    }
}

#[track_caller]
pub(super) fn assert_done(settled: &Settled) {
    assert!(matches!(settled, Settled::Done), "{settled:?}");
}

#[track_caller]
pub(super) fn assert_stale(settled: &Settled) {
    assert!(matches!(settled, Settled::Stale), "{settled:?}");
}

#[track_caller]
pub(super) fn assert_gone(settled: &Settled) {
    assert!(matches!(settled, Settled::Gone), "{settled:?}");
}

pub(super) fn taken(round: &Tended) -> Vec<EntryId> {
    ids(&round.taken)
}

pub(super) fn ids(deliveries: &[Delivery]) -> Vec<EntryId> {
    deliveries.iter().map(|one| one.lease.fence.id).collect()
}

/// A whole sweep, in rounds of `max`.
pub(super) async fn sweep(seat: &dyn Seat, max: usize) -> Tended {
    let mut whole = Tended::default();
    let mut cursor = Cursor::START;
    for _ in 0..1_000 {
        let round = seat.tend(max, cursor).await.unwrap();
        assert!(round.taken.len() <= max, "{} taken", round.taken.len());
        whole.taken.extend(round.taken);
        whole.dead.extend(round.dead);
        whole.kept.extend(round.kept);
        whole.doubted.extend(round.doubted);
        whole.refused.extend(round.refused);
        whole.next_due = round.next_due;
        match round.cursor {
            Some(next) => cursor = next,
            None => return whole,
        }
    }
    panic!("a sweep that does not end");
}

/// The value of a dead letter's field, as text.
#[track_caller]
pub(super) fn field<'f>(fields: &'f Fields, name: &str) -> &'f str {
    let value = fields
        .get(name)
        .unwrap_or_else(|| panic!("no field {name}"));
    std::str::from_utf8(value).unwrap()
}

/// The message's own fields in a dead letter.
pub(super) fn user_fields(dead: &Entry) -> Fields {
    read(dead.id, dead.fields.clone()).fields
}
