//! What the server tells of a group: its consumers, what is pending, and what redrive keeps of it.

use std::collections::{BTreeSet, HashSet};

use redis::{Pipeline, Value, cmd};

use super::{DOING, told};
use crate::backend::{Entry, IdRange};
use crate::doctor::facts::{ConsumerFacts, GroupFacts, LOOK, Lag, Row, StreamFacts, Told};
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, GroupName, Source};
use crate::redis::connection::Link;
use crate::redis::keys::GroupKeys;
use crate::redis::wire::{self, Table};
use crate::redis::{CALL, look, page};
use crate::selection::Order;

/// How many rows of what is pending are asked for at once: about a millisecond of the server's.
const PAGE: usize = 1_000;
/// How many consumers are listed; the server makes the list of all of them in one go.
const CONSUMERS: u64 = 10_000;
/// How many entries are looked at whether they are still there, and how many states.
const ENTRIES: usize = 1_000;
const STATES: usize = 10_000;
/// From when on an id is a time: 2001.
const A_TIME_MS: u64 = 1_000_000_000_000;

/// `None` where the group is gone meanwhile.
pub(super) async fn facts(
    link: &Link,
    stream: &StreamFacts,
    group: GroupName,
    mut table: Table,
    now_ms: u64,
) -> Result<Option<GroupFacts>, Error> {
    let asked = Asked {
        link,
        stream,
        source: Source {
            stream: stream.stream.clone(),
            group: group.clone(),
        },
    };
    let known = stream.added.is_some();
    let last_delivered = table.id("last-delivered-id").unwrap_or(EntryId::MIN);
    let mut facts = GroupFacts {
        group,
        last_delivered,
        lag: match (table.count("lag"), known) {
            (Some(lag), _) => Lag::Count(lag),
            (None, true) => Lag::Unknown,
            (None, false) => Lag::NotTold,
        },
        counts: known.then(|| table.count("entries-read").is_some()),
        pending: table.count("pending").unwrap_or(0),
        unread_ms: None,
        marked: false,
        consumers: Told::Yes(Vec::new()),
        own: Told::Yes(()),
        rows: Told::Yes(Vec::new()),
        deleted: Vec::new(),
        unseen: 0,
        unsettled: Told::Yes(Vec::new()),
    };
    let consumers = table.count("consumers").unwrap_or(0);
    match asked.fill(&mut facts, consumers, now_ms).await {
        Err(error) if error.kind() == ErrorKind::NoGroup => Ok(None),
        answer => answer.map(|()| Some(facts)),
    }
}

struct Asked<'a> {
    link: &'a Link,
    stream: &'a StreamFacts,
    source: Source,
}

impl Asked<'_> {
    async fn fill(&self, facts: &mut GroupFacts, consumers: u64, now_ms: u64) -> Result<(), Error> {
        facts.consumers = if consumers > CONSUMERS {
            Told::No(format!("there are {consumers}"))
        } else {
            told(self.consumers().await)?
        };
        let keys = GroupKeys::of(&self.source);
        if let Told::Yes(consumers) = &mut facts.consumers {
            facts.own = told(self.own(&keys, consumers).await)?;
        }
        let mark = self.link.send(cmd("EXISTS").arg(&keys.meta), DOING).await;
        facts.marked = match told(mark)? {
            Told::Yes(mark) => wire::int(mark, "whether there is a mark")? == 1,
            Told::No(_) => false,
        };
        if facts.pending > 0 {
            facts.rows = told(self.rows().await)?;
        }
        (facts.deleted, facts.unseen) = self.deleted(facts.rows()).await?;
        facts.unread_ms = self.unread_ms(facts.last_delivered, now_ms).await?;
        facts.unsettled = told(self.unsettled(&keys, facts).await)?;
        Ok(())
    }

    async fn consumers(&self) -> Result<Vec<ConsumerFacts>, Error> {
        let Source { stream, group } = &self.source;
        let mut list = cmd("XINFO");
        list.arg("CONSUMERS")
            .arg(stream.as_str())
            .arg(group.as_str());
        let list = self.link.send(&list, DOING).await?;
        let mut consumers = Vec::new();
        for table in wire::list(list, "consumers")? {
            let mut table = Table::read(table)?;
            let name = table.take("name");
            let name = name.map(|name| wire::text(name, "a consumer's name"));
            consumers.push(ConsumerFacts {
                name: name.transpose()?.unwrap_or_default(),
                pending: table.count("pending").unwrap_or(0),
                idle_ms: table.count("idle").unwrap_or(0),
                lease_ms: None,
                alive: false,
            });
        }
        Ok(consumers)
    }

    /// Which of these are redrive's, and which of those live.
    async fn own(&self, keys: &GroupKeys, consumers: &mut [ConsumerFacts]) -> Result<(), Error> {
        for some in consumers.chunks_mut(CALL) {
            let names: Vec<&str> = some.iter().map(|one| one.name.as_str()).collect();
            let mut ask = Pipeline::new();
            ask.ignore_errors();
            ask.cmd("HMGET").arg(&keys.consumers).arg(&names);
            for name in names {
                ask.cmd("EXISTS").arg(keys.alive(name));
            }
            let mut answers = self.link.send_all(&ask, DOING).await?.into_iter();
            let mut next = || {
                self.link
                    .answer(answers.next().unwrap_or(Value::Nil), DOING)
            };
            let leases = wire::list(next()?, "leases")?;
            for (one, lease) in some.iter_mut().zip(leases) {
                let alive = wire::int(next()?, "a sign of life")? == 1;
                one.lease_ms = match lease {
                    Value::Nil => None,
                    lease => Some(wire::count(lease, "a lease").unwrap_or(0)),
                };
                one.alive = alive && one.lease_ms.is_some();
            }
        }
        Ok(())
    }

    /// What is pending, the lowest id first, up to what is looked at.
    async fn rows(&self) -> Result<Vec<Row>, Error> {
        let mut rows: Vec<Row> = Vec::new();
        let mut start = "-".to_owned();
        while (rows.len() as u64) < LOOK {
            let page = self.page(&start, "+", PAGE).await?;
            let whole = page.len() == PAGE;
            rows.extend(page);
            match rows.last() {
                Some(last) if whole => start = format!("({}", last.id),
                _ => break,
            }
        }
        Ok(rows)
    }

    async fn page(&self, from: &str, to: &str, count: usize) -> Result<Vec<Row>, Error> {
        let Source { stream, group } = &self.source;
        let mut list = cmd("XPENDING");
        list.arg(stream.as_str()).arg(group.as_str());
        list.arg(from).arg(to).arg(count);
        let page = self.link.send(&list, DOING).await?;
        let rows = wire::list(page, "rows")?.into_iter();
        rows.map(|row| look::Row::read(row).map(Row::from))
            .collect()
    }

    /// Of these, what is pending now.
    async fn pending(&self, ids: &[EntryId]) -> Result<BTreeSet<EntryId>, Error> {
        let Source { stream, group } = &self.source;
        let mut found = BTreeSet::new();
        for some in ids.chunks(CALL) {
            let mut ask = Pipeline::new();
            ask.ignore_errors();
            for id in some {
                let id = id.to_string();
                ask.cmd("XPENDING").arg(stream.as_str()).arg(group.as_str());
                ask.arg(&id).arg(&id).arg(1);
            }
            for (id, answer) in some.iter().zip(self.link.send_all(&ask, DOING).await?) {
                let rows = wire::list(self.link.answer(answer, DOING)?, "rows")?;
                if !rows.is_empty() {
                    found.insert(*id);
                }
            }
        }
        Ok(found)
    }

    /// Of these, what is in the stream.
    async fn present(&self, ids: &[EntryId]) -> Result<HashSet<EntryId>, Error> {
        let mut found = HashSet::new();
        let mut rest = ids;
        while !rest.is_empty() {
            let some = page::named(self.link, &self.source.stream, rest).await?;
            // It answers for one at least.
            let (_, after) = rest.split_at(some.len().clamp(1, rest.len()));
            rest = after;
            found.extend(some.into_iter().flatten().map(|entry: Entry| entry.id));
        }
        Ok(found)
    }

    /// Pending entries that were deleted by themselves: only up to the highest id that ever was, and
    /// below the first entry all are gone without being looked at. And how many were not looked at.
    async fn deleted(&self, rows: &[Row]) -> Result<(Vec<EntryId>, u64), Error> {
        let may_be = rows.iter().map(|row| row.id).filter(|id| {
            let deleted = self.stream.deleted;
            !self.stream.is_trimmed(*id) && deleted.is_none_or(|highest| *id <= highest)
        });
        let mut may_be: Vec<EntryId> = may_be.collect();
        let unseen = may_be.len().saturating_sub(ENTRIES) as u64;
        may_be.truncate(ENTRIES);
        if may_be.is_empty() {
            return Ok((may_be, unseen));
        }
        let present = self.present(&may_be).await?;
        let mut gone = may_be;
        gone.retain(|id| !present.contains(id));
        // What is acknowledged and deleted in one go was done.
        let pending = self.pending(&gone).await?;
        gone.retain(|id| pending.contains(id));
        Ok((gone, unseen))
    }

    /// How old the first entry is that the group was not given, where ids are times.
    async fn unread_ms(&self, delivered: EntryId, now_ms: u64) -> Result<Option<u64>, Error> {
        if delivered >= self.stream.last {
            return Ok(None);
        }
        let range = IdRange {
            low: delivered.successor(),
            high: EntryId::MAX,
            order: Order::Oldest,
            limit: 1,
        };
        let next = told(page::plain(self.link, &self.source.stream, range).await)?;
        let next = next.known().and_then(|entries| entries.first());
        let at_ms = next.map(|entry| entry.id.millis());
        Ok(at_ms
            .filter(|at_ms| *at_ms >= A_TIME_MS)
            .and_then(|at_ms| now_ms.checked_sub(at_ms)))
    }

    /// What redrive keeps a state of, and is in the stream, and is not pending. A state goes in one
    /// step with the end of its message, so it is looked for again behind the others.
    async fn unsettled(&self, keys: &GroupKeys, facts: &GroupFacts) -> Result<Vec<EntryId>, Error> {
        let held: HashSet<EntryId> = facts.rows().iter().map(|row| row.id).collect();
        let states = self.states(keys).await?.into_iter();
        let may_be = states.filter(|id| *id <= facts.last_delivered && !held.contains(id));
        let mut left: Vec<EntryId> = may_be.take(ENTRIES).collect();
        if left.is_empty() {
            return Ok(left);
        }
        let present = self.present(&left).await?;
        left.retain(|id| present.contains(id));
        let pending = self.pending(&left).await?;
        left.retain(|id| !pending.contains(id));
        if left.is_empty() {
            return Ok(left);
        }
        let ids: Vec<String> = left.iter().map(ToString::to_string).collect();
        let mut again = cmd("HMGET");
        again.arg(&keys.state).arg(&ids);
        let again = wire::list(self.link.send(&again, DOING).await?, "states")?;
        let kept = left.into_iter().zip(again);
        Ok(kept
            .filter(|(_, state)| *state != Value::Nil)
            .map(|(id, _)| id)
            .collect())
    }

    /// The ids of which redrive keeps a state, in their order.
    async fn states(&self, keys: &GroupKeys) -> Result<BTreeSet<EntryId>, Error> {
        let mut found = BTreeSet::new();
        let mut cursor = bytes::Bytes::from_static(b"0");
        loop {
            let mut scan = cmd("HSCAN");
            scan.arg(&keys.state)
                .arg(&cursor[..])
                .arg("COUNT")
                .arg(CALL);
            let page = self.link.send(&scan, DOING).await?;
            let mut page = wire::list(page, "a page of states")?.into_iter();
            let (Some(next), Some(pairs)) = (page.next(), page.next()) else {
                return Err(wire::unexpected("a page of states"));
            };
            let pairs = wire::list(pairs, "states")?.into_iter();
            found.extend(pairs.step_by(2).filter_map(|id| wire::id(id, "an id").ok()));
            cursor = wire::bytes(next, "a cursor")?;
            if cursor == "0" || found.len() >= STATES {
                return Ok(found);
            }
        }
    }
}

impl From<look::Row> for Row {
    fn from(row: look::Row) -> Self {
        Self {
            id: row.id,
            consumer: String::from_utf8_lossy(&row.consumer).into_owned(),
            idle_ms: row.idle_ms,
            deliveries: row.deliveries,
        }
    }
}
