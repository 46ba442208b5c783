//! Creating a group, and creating it again where it vanished, without losing what was still to do.

use redis::{Value, cmd};

use super::connection::{Call, Link};
use super::keys::GroupKeys;
use super::scripts;
use super::wire::{self, Table};
use crate::backend::Restored;
use crate::error::{Error, ErrorKind};
use crate::members::Created;
use crate::names::{EntryId, GroupStart, Source};

/// How far a group had come: everything below the id is done, as far as its claims have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The oldest pending entry, or the last delivered one when nothing was pending.
    pub(super) id: EntryId,
    pub(super) standing: Standing,
    /// How many entries the stream had ever had; `None` where the server does not count (before
    /// 7.0).
    pub(super) added: Option<u64>,
}

/// Whether the entry at the mark is done itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was pending: to be read again.
    Pending,
    /// Nothing was pending.
    Done,
}

/// What is known of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamInfo {
    pub(super) last: EntryId,
    pub(super) added: Option<u64>,
}

/// Where a group that vanished is created again: just below the mark if this is still the stream
/// that the mark was made on, else at the first entry. Repeats rather than losses.
fn again_at(mark: Option<Mark>, stream: Option<StreamInfo>) -> EntryId {
    match (mark, stream) {
        (
            Some(Mark {
                id,
                standing,
                added: Some(then),
            }),
            Some(StreamInfo {
                last,
                added: Some(now),
            }),
        ) if last >= id && now >= then => match standing {
            Standing::Pending => id.predecessor(),
            Standing::Done => id,
        },
        _ => EntryId::MIN,
    }
}

/// Creates the group if it is missing: at `start`, or where an earlier one had come to.
pub(super) async fn create(
    link: &Link,
    source: &Source,
    start: GroupStart,
) -> Result<Created, Error> {
    let stream = stream_info(link, source).await?;
    if stream.is_some() && exists(link, source).await? {
        return Ok(Created::WasThere);
    }
    let mark = stored_mark(link, source).await?;
    let at = match mark {
        None => match start {
            GroupStart::First => "0".to_owned(),
            GroupStart::New => "$".to_owned(),
            GroupStart::After(id) => id.to_string(),
        },
        mark => again_at(mark, stream).to_string(),
    };
    Ok(match create_at(link, source, &at).await? {
        Restored::WasThere => Created::WasThere,
        Restored::Created => Created::New {
            stream: stream.is_none(),
            resumed: mark.is_some(),
        },
    })
}

/// Creates the group again for a processor that runs: `mark` is what it remembers.
pub(super) async fn restore(
    link: &Link,
    source: &Source,
    mark: Option<Mark>,
) -> Result<Restored, Error> {
    let mark = match stored_mark(link, source).await? {
        None => mark,
        stored => stored,
    };
    let at = again_at(mark, stream_info(link, source).await?);
    create_at(link, source, &at.to_string()).await
}

async fn create_at(link: &Link, source: &Source, at: &str) -> Result<Restored, Error> {
    let keys = GroupKeys::of(source);
    let mut call = Call::new([
        source.stream.to_string(),
        keys.due,
        keys.state,
        keys.tombstones,
    ]);
    call.arg(source.group.to_string()).arg(at.to_owned());
    let doing = "creating the consumer group";
    let created = link.eval(&scripts::CREATE_GROUP, &call, doing).await?;
    Ok(match wire::int(created, "whether a group was created")? {
        0 => Restored::WasThere,
        _ => Restored::Created,
    })
}

async fn exists(link: &Link, source: &Source) -> Result<bool, Error> {
    let mut command = cmd("XINFO");
    command.arg("GROUPS").arg(source.stream.as_str());
    let groups = link
        .send(&command, "looking at the consumer groups")
        .await?;
    for group in wire::list(groups, "groups")? {
        let name = Table::read(group)?.take("name");
        let name = name
            .map(|name| wire::bytes(name, "a group's name"))
            .transpose()?;
        if name.is_some_and(|name| name == source.group.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `None` when there is no such stream.
async fn stream_info(link: &Link, source: &Source) -> Result<Option<StreamInfo>, Error> {
    let mut command = cmd("XINFO");
    command.arg("STREAM").arg(source.stream.as_str());
    match link.send(&command, "looking at the stream").await {
        Ok(info) => {
            let mut info = Table::read(info)?;
            Ok(Some(StreamInfo {
                last: info
                    .id("last-generated-id")
                    .ok_or_else(|| wire::unexpected("the stream's last id"))?,
                added: info.count("entries-added"),
            }))
        }
        Err(error) if error.kind() == ErrorKind::NoGroup => Ok(None),
        Err(error) => Err(error),
    }
}

async fn stored_mark(link: &Link, source: &Source) -> Result<Option<Mark>, Error> {
    let mut command = cmd("HMGET");
    command
        .arg(GroupKeys::of(source).meta)
        .arg("mark")
        .arg("entries-added")
        .arg("done");
    let stored = link
        .send(&command, "looking for the low-water mark")
        .await?;
    let mut stored = wire::list(stored, "the mark")?.into_iter();
    Ok(read_mark(stored.next(), stored.next(), stored.next()))
}

/// A mark as it is stored and as the claim script answers it.
pub(super) fn read_mark(
    id: Option<Value>,
    added: Option<Value>,
    done: Option<Value>,
) -> Option<Mark> {
    let number = |value: Option<Value>| value.and_then(|value| wire::int(value, "a number").ok());
    Some(Mark {
        id: wire::id(id?, "the mark").ok()?,
        standing: match number(done) {
            Some(1) => Standing::Done,
            _ => Standing::Pending,
        },
        added: number(added).and_then(|number| u64::try_from(number).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(millis: u64, added: Option<u64>) -> Option<Mark> {
        Some(Mark {
            id: EntryId::new(millis, 0),
            standing: Standing::Pending,
            added,
        })
    }

    fn stream(millis: u64, added: Option<u64>) -> Option<StreamInfo> {
        Some(StreamInfo {
            last: EntryId::new(millis, 0),
            added,
        })
    }

    #[test]
    fn a_vanished_group_starts_below_its_mark_only_on_the_same_stream() {
        let done = Mark {
            standing: Standing::Done,
            ..mark(5, Some(9)).unwrap()
        };
        assert_eq!(again_at(Some(done), stream(7, Some(12))), done.id);
        let below = EntryId::new(4, u64::MAX);
        for (mark, stream, at) in [
            (mark(5, Some(9)), stream(7, Some(12)), below),
            (mark(5, Some(9)), stream(5, Some(9)), below),
            // Fewer entries than there had been, or older ones: another stream of the same name.
            (mark(5, Some(9)), stream(7, Some(8)), EntryId::MIN),
            (mark(5, Some(9)), stream(4, Some(12)), EntryId::MIN),
            (mark(5, Some(9)), None, EntryId::MIN),
            (mark(5, None), stream(7, None), EntryId::MIN),
            (None, stream(7, Some(12)), EntryId::MIN),
        ] {
            assert_eq!(again_at(mark, stream), at, "{mark:?} {stream:?}");
        }
    }
}
