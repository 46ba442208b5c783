//! What the server tells of a stream.

use std::collections::BTreeSet;

use redis::{Pipeline, Value};

use super::{DOING, group, rights, told};
use crate::doctor::Named;
use crate::doctor::facts::{Purpose, StreamFacts, Told};
use crate::error::Error;
use crate::names::{EntryId, GroupName, StreamKey};
use crate::redis::connection::Link;
use crate::redis::wire::{self, Table};
use crate::redis::{inspect, trim};

/// `None` where there is no such stream.
pub(in crate::redis) async fn stream(
    link: &Link,
    stream: &StreamKey,
    named: Named,
) -> Result<Option<StreamFacts>, Error> {
    let about = |error: Error| error.during(stream);
    let mut ask = Pipeline::new();
    ask.ignore_errors();
    ask.cmd("XINFO").arg("STREAM").arg(stream.as_str());
    ask.cmd("XINFO").arg("GROUPS").arg(stream.as_str());
    ask.cmd("TIME");
    let mut answers = link.send_all(&ask, DOING).await?.into_iter();
    let mut next = || {
        let answer = answers.next().unwrap_or(Value::Nil);
        inspect::unless_missing(link, answer, DOING).map_err(about)
    };
    let (Some(info), Some(tables)) = (next()?, next()?) else {
        return Ok(None);
    };
    let now_ms = next()?.map(|time| wire::clock_ms(wire::list(time, "a time")?));
    let now_ms = now_ms.transpose()?.unwrap_or(0);

    let mut info = Table::read(info)?;
    let first = info.take("first-entry").map(wire::entry).transpose()?;
    let first = first.flatten().map(|entry| (entry.id, entry.fields));
    let mut facts = StreamFacts {
        stream: stream.clone(),
        length: info.count("length").unwrap_or(0),
        first: first.as_ref().map(|(id, _)| *id),
        last: info.id("last-generated-id").unwrap_or(EntryId::MIN),
        added: info.count("entries-added"),
        deleted: info.id("max-deleted-entry-id"),
        nodes: info.count("radix-tree-keys"),
        purpose: Purpose::of(stream, first),
        groups: Vec::new(),
        all_groups: 0,
        unnamed: 0,
        vanished: Told::Yes(Vec::new()),
        rights: None,
    };

    let mut names = BTreeSet::new();
    for table in wire::list(tables, "groups")? {
        let mut table = Table::read(table)?;
        facts.all_groups += 1;
        let name = table.take("name");
        let name = name.map(|name| wire::bytes(name, "a group's name"));
        let Some(name) = name.transpose()? else {
            continue;
        };
        let text = std::str::from_utf8(&name).ok();
        match text.and_then(|name| GroupName::new(name).ok()) {
            None => facts.unnamed += 1,
            Some(name) => {
                names.insert(name.clone());
                let group = group::facts(link, &facts, name, table, now_ms).await;
                facts.groups.extend(group.map_err(about)?);
            }
        }
    }
    facts.groups.sort_by(|a, b| a.group.cmp(&b.group));

    if named == Named::Yes || (facts.all_groups == 0 && facts.purpose == Purpose::Work) {
        facts.vanished = match told(trim::marked(link, stream).await)? {
            Told::Yes(mut marked) => {
                marked.retain(|group| !names.contains(group));
                Told::Yes(marked)
            }
            no => no,
        };
    }
    if facts.purpose == Purpose::Work {
        let group = names.first();
        facts.rights = Some(rights::rights(link, stream, group).await?);
    }
    Ok(Some(facts))
}
