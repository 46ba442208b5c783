//! Looking around on the server: its streams, their groups, and what is pending in one.

use std::collections::BTreeSet;

use bytes::Bytes;
use redis::{Pipeline, Value, cmd};

use super::connection::Link;
use super::inspect;
use super::keys::{self, GroupKeys};
use super::wire::{self, Table, unexpected};
use crate::error::Error;
use crate::names::{EntryId, GroupName, Names, Source, StreamKey};
use crate::stats::Pending;

/// How many keys the server looks at in one go.
const SCAN: usize = 1_000;

/// All streams of the database. One that is added or renamed meanwhile may be missed.
pub(super) async fn streams(link: &Link) -> Result<Names<StreamKey>, Error> {
    let mut found = BTreeSet::new();
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor[..]).arg("COUNT").arg(SCAN);
        scan.arg("TYPE").arg("stream");
        let page = link.send(&scan, "looking for streams").await?;
        let mut page = wire::list(page, "a page of keys")?.into_iter();
        let (Some(next), Some(keys)) = (page.next(), page.next()) else {
            return Err(unexpected("a page of keys"));
        };
        for key in wire::list(keys, "keys")? {
            let key = wire::bytes(key, "a key")?;
            if !keys::is_beside(&key) {
                found.insert(key);
            }
        }
        cursor = wire::bytes(next, "a cursor")?;
        if cursor == "0" {
            return Ok(Names::read(found, |name| StreamKey::new(name)));
        }
    }
}

/// The groups of a stream; `None` when there is no such stream.
pub(super) async fn groups(
    link: &Link,
    stream: &StreamKey,
) -> Result<Option<Names<GroupName>>, Error> {
    let mut info = Pipeline::new();
    info.ignore_errors();
    info.cmd("XINFO").arg("GROUPS").arg(stream.as_str());
    let doing = "reading the groups of a stream";
    let value = link.send_all(&info, doing).await?.into_iter().next();
    let value = value.ok_or_else(|| unexpected("groups"))?;
    let told = inspect::unless_missing(link, value, doing);
    let Some(tables) = told.map_err(|error| error.during(stream))? else {
        return Ok(None);
    };
    let mut found = BTreeSet::new();
    for table in wire::list(tables, "groups")? {
        if let Some(name) = Table::read(table)?.take("name") {
            found.insert(wire::bytes(name, "a group's name")?);
        }
    }
    Ok(Some(Names::read(found, |name| GroupName::new(name))))
}

/// One page of what is pending, and what is kept of it. In two steps: what ends between them is
/// told as it was, with nothing kept of it.
pub(super) async fn pending(
    link: &Link,
    source: &Source,
    from: EntryId,
    limit: usize,
) -> Result<Vec<Pending>, Error> {
    let doing = "reading what is pending";
    let mut list = cmd("XPENDING");
    list.arg(source.stream.as_str()).arg(source.group.as_str());
    list.arg(from.to_string()).arg("+").arg(limit);
    let rows = link.send(&list, doing).await;
    let rows = wire::list(rows.map_err(|error| error.during(source))?, "rows")?;
    let rows: Vec<Row> = rows.into_iter().map(Row::read).collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }

    let keys = GroupKeys::of(source);
    let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    let consumers: Vec<&[u8]> = rows.iter().map(|row| &row.consumer[..]).collect();
    let mut kept = Pipeline::new();
    kept.ignore_errors();
    kept.cmd("HMGET").arg(&keys.state).arg(&ids);
    kept.cmd("ZMSCORE").arg(&keys.due).arg(&ids);
    kept.cmd("HMGET").arg(&keys.consumers).arg(&consumers);
    kept.cmd("TIME");
    let mut values = link.send_all(&kept, doing).await?.into_iter();
    let mut next = |key: &str| {
        let value = values.next().ok_or_else(|| unexpected("what is kept"))?;
        let value = link
            .answer(value, doing)
            .map_err(|error| error.during(key))?;
        wire::list(value, "what is kept")
    };
    let states = next(&keys.state)?;
    let due = next(&keys.due)?;
    let own = next(&keys.consumers)?;
    let now_ms = wire::clock_ms(next("the clock")?)?;

    let kept = states.into_iter().zip(due).zip(own);
    Ok(rows
        .into_iter()
        .zip(kept)
        .map(|(row, ((state, due), own))| {
            let state = State::read(state);
            let due_ms = score(due).filter(|_| {
                let hint = state.as_ref().map(|state| state.hint);
                hint == Some(row.deliveries)
            });
            Pending {
                id: row.id,
                consumer: String::from_utf8_lossy(&row.consumer).into_owned(),
                idle_ms: row.idle_ms,
                deliveries: row.deliveries,
                failures: state.as_ref().map(|state| state.failures),
                crashes: state.as_ref().map(|state| state.crashes),
                due_in_ms: due_ms.map(|at_ms| at_ms.saturating_sub(now_ms)),
                first_failed_at_ms: state.as_ref().and_then(|state| state.first_failure_ms),
                error: state.and_then(|state| state.error),
                own: own != Value::Nil,
            }
        })
        .collect())
}

/// A row of XPENDING.
pub(super) struct Row {
    pub(super) id: EntryId,
    pub(super) consumer: Bytes,
    pub(super) idle_ms: u64,
    pub(super) deliveries: u64,
}

impl Row {
    pub(super) fn read(row: Value) -> Result<Self, Error> {
        let mut items = wire::list(row, "a pending entry")?.into_iter();
        let mut next = || items.next().ok_or_else(|| unexpected("a pending entry"));
        Ok(Self {
            id: wire::id(next()?, "an entry id")?,
            consumer: wire::bytes(next()?, "a consumer's name")?,
            idle_ms: wire::count(next()?, "an idle time")?,
            deliveries: wire::count(next()?, "a delivery count")?,
        })
    }
}

/// What is told of the state of one message: the parts that `shared.lua` writes.
pub(super) struct State {
    pub(super) failures: u32,
    pub(super) crashes: u32,
    pub(super) hint: u64,
    pub(super) first_failure_ms: Option<u64>,
    pub(super) error: Option<String>,
}

impl State {
    /// `None` for none, and for what is no state: a look never fails for it.
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::BulkString(bytes) = value else {
            return None;
        };
        let text = String::from_utf8_lossy(&bytes);
        let parts: Vec<&str> = text.splitn(9, ' ').collect();
        let number = |at: usize| parts.get(at)?.parse::<u64>().ok();
        Some(Self {
            failures: wire::small(number(0)?),
            crashes: wire::small(number(1)?),
            hint: number(3)?,
            first_failure_ms: Some(number(7)?).filter(|ms| *ms != 0),
            error: Some((*parts.get(8)?).to_owned()).filter(|error| !error.is_empty()),
        })
    }
}

/// A due time, in Unix ms: the score of a member, if it is one.
pub(super) fn score(value: Value) -> Option<u64> {
    match value {
        Value::Nil => None,
        Value::Double(ms) => format!("{ms:.0}").parse().ok(),
        other => wire::count(other, "a due time").ok(),
    }
}
