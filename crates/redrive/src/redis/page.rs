//! Reading entries a page at a time, no more than fits, however large they are.

use redis::cmd;

use super::CALL;
use super::connection::{Call, Link};
use super::scripts::{self, Script};
use super::wire::{self, unexpected};
use crate::backend::{Entry, FIELD_WEIGHT, IdRange, PAGE_WEIGHT};
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, StreamKey};
use crate::selection::Order;

pub(super) const DOING: &str = "reading entries";

/// How many are read at once where the user may not use scripts, and nothing bounds their size.
const PLAIN: usize = 10;

/// The entries of a range, with `XRANGE` or `XREVRANGE`: up to its limit, whatever their size.
pub(super) async fn plain(
    link: &Link,
    stream: &StreamKey,
    range: IdRange,
) -> Result<Vec<Entry>, Error> {
    let (name, from, to) = match range.order {
        Order::Oldest => ("XRANGE", range.low, range.high),
        Order::Newest => ("XREVRANGE", range.high, range.low),
    };
    let mut command = cmd(name);
    command
        .arg(stream.as_str())
        .arg(from.to_string())
        .arg(to.to_string())
        .arg("COUNT")
        .arg(range.limit);
    let entries = link.send(&command, DOING).await;
    wire::entries(entries.map_err(|error| error.during(stream))?)
}

/// The first of a range, as many as fit.
pub(super) async fn page(
    link: &Link,
    stream: &StreamKey,
    range: IdRange,
) -> Result<Vec<Entry>, Error> {
    if range.limit <= 1 {
        return plain(link, stream, range).await;
    }
    let mut call = Call::new([stream.to_string()]);
    call.number(range.low).number(range.high);
    call.arg(match range.order {
        Order::Oldest => "oldest",
        Order::Newest => "newest",
    });
    call.number(range.limit);
    call.number(PAGE_WEIGHT).number(FIELD_WEIGHT);
    if let Some(read) = by_script(link, &scripts::PAGE, &call).await {
        return wire::entries(read.map_err(|error| error.during(stream))?);
    }
    let few = IdRange {
        limit: range.limit.min(PLAIN),
        ..range
    };
    if range.order == Order::Newest {
        // From below the first entry XREVRANGE goes through the whole stream to find nothing.
        let lowest = IdRange {
            order: Order::Oldest,
            limit: 1,
            ..range
        };
        if plain(link, stream, lowest).await?.is_empty() {
            return Ok(Vec::new());
        }
    }
    plain(link, stream, few).await
}

/// The entries of the first of these ids, as many as fit.
pub(super) async fn named(
    link: &Link,
    stream: &StreamKey,
    ids: &[EntryId],
) -> Result<Vec<Option<Entry>>, Error> {
    let Some(first) = ids.first() else {
        return Ok(Vec::new());
    };
    if ids.len() > 1 {
        let mut call = Call::new([stream.to_string()]);
        call.number(PAGE_WEIGHT).number(FIELD_WEIGHT);
        for id in ids.iter().take(CALL) {
            call.number(id);
        }
        if let Some(read) = by_script(link, &scripts::NAMED, &call).await {
            let rows = wire::list(read.map_err(|error| error.during(stream))?, "entries")?;
            if rows.is_empty() || rows.len() > ids.len() {
                return Err(unexpected("entries"));
            }
            return rows.into_iter().map(wire::entry).collect();
        }
    }
    let only = IdRange {
        low: *first,
        high: *first,
        order: Order::Oldest,
        limit: 1,
    };
    Ok(vec![plain(link, stream, only).await?.pop()])
}

/// `None` where the user may not do that: who may only read need not be allowed scripts.
async fn by_script(
    link: &Link,
    script: &Script,
    call: &Call,
) -> Option<Result<redis::Value, Error>> {
    match link.eval(script, call, DOING).await {
        Err(error) if error.kind() == ErrorKind::Denied => None,
        answer => Some(answer),
    }
}
