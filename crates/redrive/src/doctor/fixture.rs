//! Facts as a healthy stream has them, for tests to make ill.

use super::Patience;
use super::facts::{ConsumerFacts, GroupFacts, Lag, Purpose, Row, StreamFacts, Told};
use crate::names::{EntryId, GroupName, StreamKey};
use std::time::Duration;

pub(super) const PATIENCE: Patience = Patience {
    foreign_lease: Duration::from_secs(300),
    silent: Duration::from_secs(3_600),
};

pub(super) const MINUTE: u64 = 60_000;

pub(super) fn id(n: u64) -> EntryId {
    EntryId::new(n, 0)
}

/// A stream of the entries `1-0` to `LENGTH-0`.
pub(super) fn stream(length: u64, groups: impl IntoIterator<Item = GroupFacts>) -> StreamFacts {
    let groups: Vec<GroupFacts> = groups.into_iter().collect();
    StreamFacts {
        stream: StreamKey::new("orders").unwrap(),
        purpose: Purpose::Work,
        length,
        first: (length > 0).then(|| id(1)),
        last: id(length),
        added: Some(length),
        deleted: Some(EntryId::MIN),
        nodes: None,
        all_groups: groups.len() as u64,
        groups,
        unnamed: 0,
        vanished: Told::Yes(Vec::new()),
        rights: None,
    }
}

/// A group that was given all up to here, and has done with it.
pub(super) fn group(name: &str, delivered: u64) -> GroupFacts {
    GroupFacts {
        group: GroupName::new(name).unwrap(),
        last_delivered: id(delivered),
        lag: Lag::Count(0),
        counts: Some(true),
        pending: 0,
        unread_ms: None,
        marked: false,
        consumers: Told::Yes(Vec::new()),
        own: Told::Yes(()),
        rows: Told::Yes(Vec::new()),
        deleted: Vec::new(),
        unseen: 0,
        unsettled: Told::Yes(Vec::new()),
    }
}

pub(super) fn row(n: u64, consumer: &str, idle_ms: u64, deliveries: u64) -> Row {
    Row {
        id: id(n),
        consumer: consumer.to_owned(),
        idle_ms,
        deliveries,
    }
}

/// One that is not redrive's.
pub(super) fn foreign(name: &str, idle_ms: u64) -> ConsumerFacts {
    ConsumerFacts {
        name: name.to_owned(),
        pending: 0,
        idle_ms,
        lease_ms: None,
        alive: false,
    }
}

/// One of redrive's, that lives, with a lease of half a minute.
pub(super) fn own(name: &str) -> ConsumerFacts {
    ConsumerFacts {
        lease_ms: Some(30_000),
        alive: true,
        ..foreign(name, 0)
    }
}

impl GroupFacts {
    pub(super) fn with(mut self, consumers: impl IntoIterator<Item = ConsumerFacts>) -> Self {
        self.consumers = Told::Yes(consumers.into_iter().collect());
        self.counted()
    }

    pub(super) fn holding(mut self, rows: impl IntoIterator<Item = Row>) -> Self {
        self.rows = Told::Yes(rows.into_iter().collect());
        self.counted()
    }

    fn counted(mut self) -> Self {
        let rows = self.rows().to_vec();
        self.pending = rows.len() as u64;
        if let Told::Yes(consumers) = &mut self.consumers {
            for consumer in consumers {
                let held = rows.iter().filter(|row| row.consumer == consumer.name);
                consumer.pending = held.count() as u64;
            }
        }
        self
    }
}
