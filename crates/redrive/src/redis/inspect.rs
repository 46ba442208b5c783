//! The health of a source and of its dead-letter queue, as the server tells it.

use std::collections::BTreeSet;
use std::fmt::Display;

use redis::{Pipeline, Value, cmd};

use super::connection::Link;
use super::wire::{self, Table};
use super::{keys, transaction};
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, GroupName, Source, StreamKey};
use crate::stats::{ConsumerStats, GroupState, Stats};

const DOING: &str = "reading stats";

pub(super) async fn stats(
    link: &Link,
    key: &StreamKey,
    group: Option<&GroupName>,
    dlq: &StreamKey,
) -> Result<Stats, Error> {
    let stream = key.as_str();
    // One step, so that the numbers belong together.
    let mut commands = Pipeline::new();
    commands.cmd("XLEN").arg(dlq.as_str());
    commands
        .cmd("HMGET")
        .arg(keys::ledger(dlq))
        .arg(&["dead_lettered", "imported", "dropped"]);
    commands.cmd("XINFO").arg("STREAM").arg(stream);
    commands.cmd("XINFO").arg("GROUPS").arg(stream);
    let mut due_key = String::new();
    if let Some(group) = group {
        let source = Source {
            stream: key.clone(),
            group: group.clone(),
        };
        commands
            .cmd("XINFO")
            .arg("CONSUMERS")
            .arg(stream)
            .arg(group.as_str());
        commands
            .cmd("XPENDING")
            .arg(stream)
            .arg(group.as_str())
            .arg("-")
            .arg("+")
            .arg(1);
        due_key = keys::GroupKeys::of(&source).due;
        commands.cmd("ZCARD").arg(&due_key);
    }
    let values = transaction::look(link, commands, DOING).await;
    let mut values = values.map_err(|error| about(error, key, dlq))?.into_iter();
    // An error of one command is about its key.
    let mut next = |key: &dyn Display| {
        let value = values.next().ok_or_else(|| wire::unexpected("stats"))?;
        let told = unless_missing(link, value, DOING);
        told.map_err(|error| error.during(key))
            .map(|value| value.unwrap_or(Value::Nil))
    };

    let mut stats = Stats::empty(
        key.clone(),
        group.cloned(),
        dlq.clone(),
        GroupState::Missing,
    );
    stats.dlq_length = wire::count(next(dlq)?, "a length")?;
    let mut ledger = wire::list(next(&keys::ledger(dlq))?, "the ledger")?.into_iter();
    let mut counted = || match ledger.next() {
        None | Some(Value::Nil) => 0,
        Some(value) => wire::count(value, "a count").unwrap_or(0),
    };
    stats.dlq_arrivals = counted() + counted();
    stats.dlq_dropped = counted();

    let info = next(key)?;
    if info == Value::Nil {
        return Ok(stats);
    }
    let mut info = Table::read(info)?;
    let length = info.count("length");
    let added = info.count("entries-added");
    stats.stream_length = length;
    // A stream that was made for its group alone says 0-0.
    stats.last_entry_id = info.id("last-generated-id").filter(|id| *id > EntryId::MIN);
    stats.state = GroupState::NoGroup;

    for table in wire::list(next(key)?, "groups")? {
        let mut table = Table::read(table)?;
        let name = table
            .take("name")
            .map(|name| wire::bytes(name, "a group's name"))
            .transpose()?;
        let wanted = group.map(|group| group.as_str().as_bytes());
        if name.is_none() || name.as_deref() != wanted {
            continue;
        }
        stats.state = GroupState::Ok;
        stats.pending_messages = table.count("pending");
        stats.consumers = table.count("consumers");
        stats.last_delivered_id = table.id("last-delivered-id");
        // Servers lose count when entries are trimmed or deleted, but nothing is behind the end.
        let at_the_end = stats.last_delivered_id >= stats.last_entry_id;
        stats.lag = if at_the_end {
            Some(0)
        } else {
            table.count("lag")
        };
        stats.lag_exact = at_the_end || (stats.lag.is_some() && added.is_some() && added == length);
    }
    if stats.state == GroupState::NoGroup {
        return Ok(stats);
    }

    for table in wire::list(next(key)?, "consumers")? {
        let mut table = Table::read(table)?;
        stats.consumer_list.push(ConsumerStats {
            name: table
                .take("name")
                .map(|name| wire::text(name, "a consumer's name"))
                .transpose()?
                .unwrap_or_default(),
            pending: table.count("pending").unwrap_or(0),
            idle_ms: table.count("idle").unwrap_or(0),
        });
    }
    let oldest = wire::list(next(key)?, "pending entries")?;
    if let Some(row) = oldest.into_iter().next() {
        let idle = wire::list(row, "a pending entry")?.into_iter().nth(2);
        stats.oldest_pending_ms = idle
            .map(|idle| wire::count(idle, "an idle time"))
            .transpose()?;
    }
    // Of what others acknowledged, a due time is left until the next claim.
    let due = wire::count(next(&due_key)?, "a count")?;
    stats.waiting = stats.pending_messages.map(|pending| due.min(pending));
    Ok(stats)
}

/// Who may not do one of these commands may do none of them: the server does not say which key.
fn about(error: Error, key: &StreamKey, dlq: &StreamKey) -> Error {
    match error.kind() {
        ErrorKind::Denied => error.during(format!("{key} and {dlq}")),
        _ => error,
    }
}

/// What `XINFO` answers; `None` of a key that does not exist.
pub(super) fn unless_missing(
    link: &Link,
    value: Value,
    doing: &'static str,
) -> Result<Option<Value>, Error> {
    match value {
        Value::ServerError(error)
            if error
                .details()
                .is_some_and(|text| text.contains("no such key")) =>
        {
            Ok(None)
        }
        value => link.answer(value, doing).map(Some),
    }
}

/// How many rows of what is pending are asked for at once.
const PAGE: usize = 1_000;

/// How many entries of the whole group are pending, these not counted. Where there are more than
/// these, so many more at least: then it is not looked at which.
pub(super) async fn pending(
    link: &Link,
    source: &Source,
    but: &BTreeSet<EntryId>,
) -> Result<u64, Error> {
    let all = all_pending(link, source).await?;
    let known = but.len() as u64;
    if known == 0 || all > known {
        return Ok(all.saturating_sub(known));
    }
    let mut others = 0;
    let mut start = "-".to_owned();
    loop {
        let mut command = cmd("XPENDING");
        command
            .arg(source.stream.as_str())
            .arg(source.group.as_str())
            .arg(&start)
            .arg("+")
            .arg(PAGE);
        let rows = link.send(&command, "looking at what is pending").await?;
        let rows = wire::list(rows, "pending entries")?;
        let whole = rows.len() == PAGE;
        for row in rows {
            let id = wire::list(row, "a pending entry")?.into_iter().next();
            let id = id.ok_or_else(|| wire::unexpected("a pending entry"))?;
            let id = wire::id(id, "an id")?;
            others += u64::from(!but.contains(&id));
            start = format!("({id}");
        }
        if !whole {
            return Ok(others);
        }
    }
}

async fn all_pending(link: &Link, source: &Source) -> Result<u64, Error> {
    let mut command = cmd("XPENDING");
    command
        .arg(source.stream.as_str())
        .arg(source.group.as_str());
    let summary = link.send(&command, "counting what is pending").await?;
    let count = wire::list(summary, "a summary")?.into_iter().next();
    wire::count(
        count.ok_or_else(|| wire::unexpected("a summary"))?,
        "a count",
    )
}
