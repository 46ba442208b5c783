//! Putting dead letters back, each once however often and by however many it is asked.

use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::{Pipeline, Value, cmd};

use super::connection::{Call, Link};
use super::wire::{self, Row};
use super::{CALL, add, errors, keys, millis, scripts, transaction};
use crate::backend::{CAMPAIGN_KEPT, Keep, Replay, Replayed};
use crate::campaign;
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, StreamKey};

const DOING: &str = "replaying dead letters";
pub(super) const DAY: u64 = 86_400;
/// A script cannot add more fields than this, and a few to spare.
pub(super) const SCRIPT_FIELDS: usize = 3_990;
/// How many calls are under way at once: one that the server works on, and one that waits for it.
const IN_FLIGHT: usize = 2;
/// How much one call carries at most, so that a thousand large entries are not one request.
pub(super) const CALL_BYTES: usize = 4 << 20;
/// How often a large entry is tried when others try the same one.
pub(super) const TRIES: usize = 10;

/// Answers for as many as there were answers, where something fails behind the first.
pub(super) async fn replay(
    link: &Link,
    dlq: &StreamKey,
    orders: &[Replay],
) -> Result<Vec<Replayed>, Error> {
    let mut answers = Vec::with_capacity(orders.len());
    let replayed = replay_all(link, dlq, orders, &mut answers).await;
    // It will fail again, and be told then, or not.
    if answers.is_empty() {
        replayed?;
    }
    Ok(answers)
}

async fn replay_all(
    link: &Link,
    dlq: &StreamKey,
    orders: &[Replay],
    answers: &mut Vec<Replayed>,
) -> Result<(), Error> {
    if orders.is_empty() {
        return Ok(());
    }
    let today = today(link).await?;
    for some in orders.chunk_by(|one, next| !is_large(one) && !is_large(next)) {
        if let [large] = some
            && is_large(large)
        {
            answers.push(replay_large(link, dlq, large, today).await?);
            continue;
        }
        // The next call is there when the server is done with one. They are carried out as they were
        // sent: on one connection, one after another. But for those of a script that the server does not
        // know: the first goes alone.
        let mut parts = together(some).into_iter();
        if let Some(first) = parts.next() {
            answers.extend(replay_some(link, dlq, first, today).await?);
        }
        let mut calls = Vec::new();
        for some in parts {
            calls.push(replay_some(link, dlq, some, today));
        }
        let mut calls = stream::iter(calls).buffered(IN_FLIGHT);
        while let Some(some) = calls.try_next().await? {
            answers.extend(some);
        }
    }
    Ok(())
}

fn is_large(order: &Replay) -> bool {
    order.fields.len() > SCRIPT_FIELDS
}

/// In parts that one call each can carry.
fn together(orders: &[Replay]) -> Vec<&[Replay]> {
    let (mut parts, mut rest) = (Vec::new(), orders);
    while let Some(first) = rest.first() {
        let mut size = 0;
        let fit = rest.iter().take(CALL).take_while(|order| {
            let fits = size == 0 || size + order.fields.size() <= CALL_BYTES;
            size += order.fields.size() + 1;
            fits && order.target == first.target
                && order.keep == first.keep
                && order.campaign_name() == first.campaign_name()
        });
        let (some, others) = rest.split_at(fit.count().max(1));
        parts.push(some);
        rest = others;
    }
    parts
}

/// Which of these were put back before, and under which id.
pub(super) async fn receipts(
    link: &Link,
    dlq: &StreamKey,
    orders: &[Replay],
) -> Result<Vec<Option<EntryId>>, Error> {
    let doing = "looking for receipts of replays";
    let mut found = Vec::with_capacity(orders.len());
    if orders.is_empty() {
        return Ok(found);
    }
    let today = today(link).await?;
    for some in orders.chunk_by(|one, next| one.target == next.target) {
        let Some(first) = some.first() else { continue };
        let ids: Vec<String> = some.iter().map(|one| one.dead_letter.to_string()).collect();
        let mut days = Pipeline::new();
        for age in 0..3 {
            let key = keys::receipts(&first.target, dlq, today.saturating_sub(age));
            days.cmd("HMGET").arg(key).arg(&ids);
        }
        let mut known = vec![None; some.len()];
        for day in link.send_all(&days, doing).await? {
            for (known, receipt) in known.iter_mut().zip(wire::list(day, "receipts")?) {
                // What begins with `?` is a reservation: nothing has been added yet.
                let id = wire::id(receipt, "a receipt").ok();
                *known = known.or(id);
            }
        }
        found.extend(known);
    }
    Ok(found)
}

/// The number of the server's day since 1970: receipts are kept by the day.
pub(super) async fn today(link: &Link) -> Result<u64, Error> {
    let time = link
        .send(&cmd("TIME"), "asking for the server's day")
        .await?;
    let now_ms = wire::clock_ms(wire::list(time, "the server's time")?)?;
    Ok(now_ms / 1_000 / DAY)
}

pub(super) fn call(dlq: &StreamKey, target: &StreamKey, today: u64) -> Call {
    let receipts = |age: u64| keys::receipts(target, dlq, today.saturating_sub(age));
    Call::new([
        dlq.to_string(),
        keys::ledger(dlq),
        target.to_string(),
        receipts(0),
        receipts(1),
        receipts(2),
    ])
}

/// As [`call`], and the keys of the campaign that it is part of.
fn call_for(dlq: &StreamKey, order: &Replay, today: u64) -> Call {
    let mut call = call(dlq, &order.target, today);
    if let Some(campaign) = &order.campaign {
        call.key(keys::campaign(dlq, &campaign.name))
            .key(keys::originals(dlq, &campaign.name));
    }
    call
}

/// Where a message goes, as its campaign stores it.
fn went(order: &Replay) -> String {
    let campaign = order.campaign.as_ref();
    campaign.map_or_else(String::new, |campaign| {
        campaign::went(&order.target, campaign.group.as_ref())
    })
}

/// For how many ms the originals of a campaign are kept.
fn window(order: &Replay) -> String {
    let window = order
        .campaign
        .as_ref()
        .and_then(|campaign| campaign.undo_window);
    window.map_or_else(String::new, |window| millis(window).to_string())
}

/// 48 hours after the end of the day.
pub(super) fn expiry(today: u64) -> u64 {
    (today + 3) * DAY
}

fn word(keep: Keep) -> &'static str {
    match keep {
        Keep::Remove => "remove",
        Keep::Copy => "copy",
    }
}

async fn replay_some(
    link: &Link,
    dlq: &StreamKey,
    orders: &[Replay],
    today: u64,
) -> Result<Vec<Replayed>, Error> {
    let Some(first) = orders.first() else {
        return Ok(Vec::new());
    };
    let mut call = call_for(dlq, first, today);
    call.arg(word(first.keep))
        .number(expiry(today))
        .arg(window(first))
        .number(millis(CAMPAIGN_KEPT));
    for order in orders {
        call.number(order.dead_letter)
            .arg(went(order))
            .number(order.fields.len() * 2);
        for (name, value) in order.fields.pairs() {
            call.slice(name).slice(value);
        }
    }
    let answer = link.eval(&scripts::REPLAY, &call, DOING).await?;
    let rows = wire::list(answer, "what became of replays")?;
    if rows.len() != orders.len() {
        return Err(wire::unexpected("what became of each replay"));
    }
    let rows = rows.into_iter().map(|row| match row {
        // Most are: they come without a word.
        Value::BulkString(_) => Ok(Replayed::Added(wire::id(row, "a new entry")?)),
        row => read(Row::read(row)?, &first.target),
    });
    rows.collect()
}

pub(super) fn read(mut row: Row, target: &StreamKey) -> Result<Replayed, Error> {
    match row.word.as_str() {
        "added" => Ok(Replayed::Added(row.id()?)),
        "already" => Ok(Replayed::Already(row.id()?)),
        "missing" => Ok(Replayed::NotFound),
        "refused" => Ok(Replayed::Refused(errors::refusal(
            &row.text()?,
            format!("adding to {target}"),
        ))),
        _ => Err(wire::unexpected("what became of a replay")),
    }
}

/// An entry of more fields than a script can add: the client adds it, between a script that
/// reserves its receipt and one that completes it, all in one step.
async fn replay_large(
    link: &Link,
    dlq: &StreamKey,
    order: &Replay,
    today: u64,
) -> Result<Replayed, Error> {
    let reserve = |nonce: &str| {
        let mut reserve = call(dlq, &order.target, today);
        reserve
            .number(expiry(today))
            .number(order.dead_letter)
            .arg(nonce.to_owned())
            .arg(word(order.keep));
        reserve
    };
    for _ in 0..TRIES {
        let transaction = transaction::begin(link, DOING).await?;
        let nonce = format!("{:016x}", fastrand::u64(..));
        let reserved = link
            .eval(&scripts::REPLAY_RESERVE, &reserve(&nonce), DOING)
            .await?;
        let row = Row::read(reserved)?;
        if row.word != "reserved" {
            return read(row, &order.target);
        }
        let mut complete = call_for(dlq, order, today);
        complete
            .arg(word(order.keep))
            .number(order.dead_letter)
            .arg(nonce.clone())
            .number(order.fields.len() * 2)
            .arg(went(order))
            .arg(window(order))
            .number(millis(CAMPAIGN_KEPT));
        let mut commands = Pipeline::new();
        // By their texts: inside MULTI an unknown hash would leave the entry added and not completed.
        commands.add_command(reserve(&nonce).by_text(&scripts::REPLAY_RESERVE));
        commands.add_command(add(&order.target, &order.fields));
        commands.add_command(complete.by_text(&scripts::REPLAY_COMPLETE));
        let answers = transaction.run(commands, DOING).await?;
        let mut values = answers.into_iter().skip(1);
        let added = values
            .next()
            .ok_or_else(|| wire::unexpected("a transaction"))?;
        let completed = values
            .next()
            .ok_or_else(|| wire::unexpected("a transaction"))?;
        if let Value::ServerError(refused) = added {
            return Ok(Replayed::Refused(errors::error(refused.into(), DOING)));
        }
        let row = Row::read(link.answer(completed, DOING)?)?;
        if row.word != "lost" {
            return read(row, &order.target);
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await;
    }
    Ok(Replayed::Refused(
        Error::new(ErrorKind::Unavailable, DOING)
            .hint("others are replaying the same dead letter; try again"),
    ))
}
