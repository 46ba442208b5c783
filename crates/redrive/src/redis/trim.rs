//! Trimming a stream on the server: who has done what is looked at, and what may go removed, in one
//! script.

use std::collections::BTreeSet;

use bytes::Bytes;
use redis::{Value, cmd};

use super::connection::{Call, Link};
use super::keys::{self, GroupKeys};
use super::scripts;
use super::wire::{self, unexpected};
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, GroupName, Names, Source, StreamKey};
use crate::trim::{TrimStep, Trimmed};

/// How many keys the server looks at in one go.
const SCAN: usize = 1_000;
/// How many entries one step removes; and how many it counts, for which it reads them.
const REMOVED: usize = 1_000;
const COUNTED: usize = 200;

/// The groups of which a mark is kept, those that have vanished too.
pub(super) async fn marked(link: &Link, stream: &StreamKey) -> Result<Vec<GroupName>, Error> {
    let (prefix, suffix) = keys::marks(stream);
    let mut found = BTreeSet::new();
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor[..]).arg("COUNT").arg(SCAN);
        scan.arg("MATCH")
            .arg(format!("{}*{suffix}", literally(&prefix)));
        let page = link.send(&scan, "looking for groups that have vanished");
        let mut page = wire::list(page.await?, "a page of keys")?.into_iter();
        let (Some(next), Some(keys)) = (page.next(), page.next()) else {
            return Err(unexpected("a page of keys"));
        };
        for key in wire::list(keys, "keys")? {
            let key = wire::bytes(key, "a key")?;
            let end = key.len().saturating_sub(suffix.len());
            if prefix.len() < end {
                found.insert(key.slice(prefix.len()..end));
            }
        }
        cursor = wire::bytes(next, "a cursor")?;
        if cursor == "0" {
            return Ok(Names::read(found, |name| GroupName::new(name)).names);
        }
    }
}

/// A text as a pattern that matches nothing else.
pub(super) fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

/// One step; `None` where there is no such stream.
pub(super) async fn trim(
    link: &Link,
    stream: &StreamKey,
    marked: &[GroupName],
    step: TrimStep,
) -> Result<Option<Trimmed>, Error> {
    let doing = "trimming a stream";
    let metas = marked.iter().map(|group| {
        let (stream, group) = (stream.clone(), group.clone());
        GroupKeys::of(&Source { stream, group }).meta
    });
    let mut call = Call::new(std::iter::once(stream.to_string()).chain(metas));
    match step {
        TrimStep::Remove => call.arg("remove").arg("-").number(REMOVED),
        TrimStep::Count { from } => call.arg("count").arg(from.to_string()).number(COUNTED),
    };
    call.arg("~");
    for group in marked {
        call.arg(group.to_string());
    }
    let answer = link.eval(&scripts::TRIM, &call, doing).await;
    match answer.map_err(|error| error.during(stream))? {
        Value::Nil => Ok(None),
        answer => read(answer, stream, step).map(Some),
    }
}

fn read(answer: Value, stream: &StreamKey, step: TrimStep) -> Result<Trimmed, Error> {
    let mut answer = wire::list(answer, "a trim")?.into_iter();
    let mut next = || answer.next().ok_or_else(|| unexpected("a trim"));
    let entries = wire::count(next()?, "how many were trimmed")?;
    let go_on = id(next()?)?;
    let left = wire::count(next()?, "a length")?;
    let first = id(next()?)?;
    let group = wire::text(next()?, "a group's name")?;
    let held = id(next()?)?;
    if wire::int(next()?, "whether it trimmed")? == 1 {
        let doing = format!("trimming {stream}: the server answered that it had, and had not");
        return Err(Error::new(ErrorKind::Protocol, doing)
            .hint("nothing else was removed; see whether the server has a fix for XTRIM MINID"));
    }
    Ok(Trimmed {
        entries,
        next: match step {
            TrimStep::Remove => go_on,
            TrimStep::Count { .. } => go_on.map(EntryId::successor),
        },
        left,
        first,
        // A group whose name is no text holds back as well; it has no name to tell.
        held_by: held.and_then(|held| Some((GroupName::new(&group).ok()?, held))),
    })
}

/// An id, or nothing.
fn id(value: Value) -> Result<Option<EntryId>, Error> {
    let text = wire::bytes(value, "an id")?;
    match text.is_empty() {
        true => Ok(None),
        false => wire::id(Value::BulkString(text.into()), "an id").map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_pattern_stands_for_itself() {
        assert_eq!(literally("{a*b}:[c]?\\"), "{a\\*b}:\\[c\\]\\?\\\\");
    }
}
