//! Where a sequence happens: names that no other sequence has, and who joins. The hours of leases
//! are odd and ages are even, so that no real time that passes meanwhile changes who is late.

use std::time::Duration;

use crate::backend::{Membership, OnAck};
use crate::dead_letter::{DeadLetterLimit, Layout, Overflow};
use crate::names::{ConsumerName, EntryId, GroupStart, ProcessToken, Source, StreamKey};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Delays are multiples of this many hours and some minutes of their own, so that no two due times
/// are equal, and none is near.
pub(super) const DUE_HOURS: u64 = 4;

pub(super) struct Room {
    pub(super) source: Source,
    pub(super) dlq: StreamKey,
    /// The other stream that dead letters are replayed to.
    pub(super) other: StreamKey,
    token: ProcessToken,
}

impl Room {
    pub(super) fn new(name: &str) -> Self {
        let source = Source::new(name, "group").unwrap();
        Self {
            dlq: source.stream.default_dead_letters(),
            other: StreamKey::new(format!("{name}:other")).unwrap(),
            token: ProcessToken::random(),
            source,
        }
    }

    /// Three who differ in all that a consumer may choose.
    pub(super) fn memberships(&self) -> [Membership; 3] {
        let member = |consumer: &str, lease: u32, foreign_lease: u32, max_attempts, max_crashes| {
            Membership {
                source: self.source.clone(),
                consumer: ConsumerName::new(consumer).unwrap(),
                token: self.token.clone(),
                start: GroupStart::First,
                lease: lease * HOUR,
                foreign_lease: foreign_lease * HOUR,
                max_attempts,
                max_crashes,
                dead_letters: self.dlq.clone(),
                layout: Layout::Native,
                limit: None,
                on_ack: OnAck::Keep,
            }
        };
        [
            Membership {
                limit: Some(DeadLetterLimit::new(3, Overflow::Stop)),
                ..member("a", 5, 21, 1, 2)
            },
            Membership {
                on_ack: OnAck::Delete,
                layout: Layout::Envelope,
                ..member("b", 9, 15, 4, 4)
            },
            Membership {
                layout: Layout::Flat,
                limit: Some(DeadLetterLimit::new(4, Overflow::DropOldest)),
                ..member("c", 13, 31, 2, 2)
            },
        ]
    }
}

/// Beyond what a double holds, in the future so that ids of the server's choice follow, and of one
/// width so that they sort as text as they do as numbers.
pub(super) const FIRST_ID: EntryId = EntryId::new(9_007_199_254_740_993, 1_000_000);

/// The minutes of the `nth` due time: never near a whole hour.
pub(super) fn minutes(nth: u64) -> Duration {
    Duration::from_secs(60 * (5 + nth % 50 + 60 * (nth / 50 % DUE_HOURS)))
}
