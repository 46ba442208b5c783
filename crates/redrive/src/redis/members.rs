//! Keeping a group on the server: its consumers, those that go, and its end.

use std::time::Duration;

use bytes::Bytes;
use redis::{Pipeline, Value, cmd};

use super::connection::{Call, Link};
use super::keys::GroupKeys;
use super::seat::millis;
use super::wire::{self, Table, unexpected};
use super::{CALL, scripts};
use crate::error::Error;
use crate::members::{Consumer, Deleted, Deletion, FOREIGN_IDLE, Removal, WhyKept, why_kept};
use crate::names::Source;

fn how(removal: Removal) -> &'static str {
    match removal {
        Removal::Look => "look",
        Removal::Remove => "remove",
    }
}

/// A consumer as the server lists it.
struct Listed {
    name: Bytes,
    pending: u64,
    idle_ms: u64,
}

/// Those in the group, by their names.
async fn listed(link: &Link, source: &Source, doing: &'static str) -> Result<Vec<Listed>, Error> {
    let mut list = cmd("XINFO");
    list.arg("CONSUMERS")
        .arg(source.stream.as_str())
        .arg(source.group.as_str());
    let told = link.send(&list, doing).await;
    let told = told.map_err(|error| error.during(source))?;
    let mut all = Vec::new();
    for consumer in wire::list(told, "consumers")? {
        let mut table = Table::read(consumer)?;
        let name = table
            .take("name")
            .ok_or_else(|| unexpected("a consumer's name"))?;
        all.push(Listed {
            name: wire::bytes(name, "a consumer's name")?,
            pending: table.count("pending").unwrap_or(0),
            idle_ms: table.count("idle").unwrap_or(0),
        });
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// The key of its sign of life. One whose name is no text is not redrive's, and has none.
fn alive_key(keys: &GroupKeys, name: &[u8]) -> String {
    keys.alive(&String::from_utf8_lossy(name))
}

/// In two steps: who leaves between them is told as it was.
pub(super) async fn consumers(link: &Link, source: &Source) -> Result<Vec<Consumer>, Error> {
    let doing = "reading the consumers of a group";
    let listed = listed(link, source, doing).await?;
    let keys = GroupKeys::of(source);
    let mut told = Vec::with_capacity(listed.len());
    for some in listed.chunks(CALL) {
        let names: Vec<&[u8]> = some.iter().map(|one| &one.name[..]).collect();
        let mut known = Pipeline::new();
        known.ignore_errors();
        known.cmd("HMGET").arg(&keys.consumers).arg(&names);
        for name in &names {
            known.cmd("EXISTS").arg(alive_key(&keys, name));
        }
        let mut answers = link.send_all(&known, doing).await?.into_iter();
        let mut next = || {
            let value = answers.next().ok_or_else(|| unexpected("consumers"))?;
            let told = link.answer(value, doing);
            told.map_err(|error| error.during(source))
        };
        let leases = wire::list(next()?, "leases")?;
        for (one, lease) in some.iter().zip(leases) {
            let alive = wire::count(next()?, "a sign of life")? == 1;
            told.push(consumer(
                &one.name,
                one.pending,
                one.idle_ms,
                lease_of(lease),
                alive,
            ));
        }
    }
    Ok(told)
}

fn consumer(
    name: &[u8],
    pending: u64,
    idle_ms: u64,
    lease: Option<Option<u64>>,
    alive: bool,
) -> Consumer {
    Consumer {
        name: String::from_utf8_lossy(name).into_owned(),
        pending,
        idle_ms,
        own: lease.is_some(),
        lease_ms: lease.flatten(),
        alive: lease.is_some().then_some(alive),
    }
}

/// `None` for one that is not redrive's; a lease that is no number is not known.
fn lease_of(value: Value) -> Option<Option<u64>> {
    match value {
        Value::Nil => None,
        Value::BulkString(empty) if empty.is_empty() => None,
        value => Some(wire::count(value, "a lease").ok()),
    }
}

pub(super) async fn prune(
    link: &Link,
    source: &Source,
    idle: Duration,
    removal: Removal,
) -> Result<Vec<(Consumer, Option<WhyKept>)>, Error> {
    let doing = "clearing away consumers";
    let keys = GroupKeys::of(source);
    let listed = listed(link, source, doing).await?;
    let mut names: Vec<Bytes> = listed.into_iter().map(|one| one.name).collect();
    let in_group = names.len();
    let mut registered = cmd("HKEYS");
    registered.arg(&keys.consumers);
    let registered = link.send(&registered, doing).await;
    let registered = registered.map_err(|error| error.during(source))?;
    for name in wire::list(registered, "consumers")? {
        let name = wire::bytes(name, "a name")?;
        if names[..in_group].binary_search(&name).is_err() {
            names.push(name);
        }
    }
    let mut judged = Vec::with_capacity(in_group);
    for some in names.chunks(CALL) {
        let own = [source.stream.to_string(), keys.consumers.clone()];
        let alive = some.iter().map(|name| alive_key(&keys, name));
        let mut call = Call::new(own.into_iter().chain(alive));
        call.arg(source.group.to_string())
            .number(millis(idle))
            .arg(how(removal));
        for name in some {
            call.arg(name.clone());
        }
        let rows = link.eval(&scripts::PRUNE, &call, doing).await;
        let rows = wire::list(rows.map_err(|error| error.during(source))?, "consumers")?;
        for (name, row) in some.iter().zip(rows) {
            // It left meanwhile, or was not in the group.
            if row != Value::Nil {
                judged.push(read(name, row, idle)?);
            }
        }
    }
    Ok(judged)
}

fn read(name: &[u8], row: Value, idle: Duration) -> Result<(Consumer, Option<WhyKept>), Error> {
    let mut items = wire::list(row, "a consumer")?.into_iter();
    let mut next = || items.next().ok_or_else(|| unexpected("a consumer"));
    let pending = wire::count(next()?, "a count")?;
    let idle_ms = wire::count(next()?, "an idle time")?;
    let lease = lease_of(next()?);
    let alive = wire::count(next()?, "a sign of life")? == 1;
    let goes = wire::count(next()?, "whether it goes")? == 1;
    let consumer = consumer(name, pending, idle_ms, lease, alive);
    // The script has decided; why it did so is the same here.
    let why = match goes {
        true => None,
        false => Some(why_kept(&consumer, millis(idle)).unwrap_or(WhyKept::Alive)),
    };
    Ok((consumer, why))
}

pub(super) async fn delete(link: &Link, source: &Source, how: Deletion) -> Result<Deleted, Error> {
    let doing = "deleting the consumer group";
    let keys = GroupKeys::of(source);
    let mut let_go = 0;
    loop {
        let mut names = cmd("HKEYS");
        names.arg(&keys.consumers);
        let names = link.send(&names, doing).await;
        let names = wire::list(names.map_err(|error| error.during(source))?, "consumers")?;
        let mut call = Call::new([
            source.stream.to_string(),
            keys.due.clone(),
            keys.state.clone(),
            keys.meta.clone(),
            keys.consumers.clone(),
            keys.tombstones.clone(),
        ]);
        call.arg(source.group.to_string())
            .arg(match how {
                Deletion::Look => "look",
                Deletion::Unused => "unused",
                Deletion::Forced => "forced",
            })
            .number(millis(FOREIGN_IDLE));
        for name in names {
            let name = wire::bytes(name, "a name")?;
            call.key(alive_key(&keys, &name));
            call.arg(name);
        }
        let answer = link.eval(&scripts::DELETE_GROUP, &call, doing).await;
        match answer.map_err(|error| error.during(source))? {
            // Another consumer came in meanwhile.
            Value::BulkString(_) | Value::SimpleString(_) => {}
            Value::Int(some) => let_go += u64::try_from(some).unwrap_or(0),
            answer => {
                let mut deleted = read_deleted(answer)?;
                deleted.pending += let_go;
                return Ok(deleted);
            }
        }
    }
}

fn read_deleted(answer: Value) -> Result<Deleted, Error> {
    let mut answer = wire::list(answer, "a deletion")?.into_iter();
    let mut next = |what| {
        let value = answer.next().ok_or_else(|| unexpected("a deletion"))?;
        wire::count(value, what)
    };
    let mut deleted = Deleted {
        existed: next("whether there was a group")? == 1,
        removed: next("whether it was removed")? == 1,
        pending: next("a count")?,
        alive: Vec::new(),
        kept: next("a count")? > 0,
    };
    for name in answer {
        let name = wire::bytes(name, "a name")?;
        deleted
            .alive
            .push(String::from_utf8_lossy(&name).into_owned());
    }
    deleted.alive.sort_unstable();
    Ok(deleted)
}
