//! Ending deliveries: plain acks in one command, everything else by the fenced scripts, in arrays.

use std::borrow::Borrow;
use std::time::Duration;

use redis::{Cmd, Value};

use super::seat::RedisSeat;
use super::wire::{self, Row};
use super::{CALL, scripts};
use crate::backend::{Failed, Fault, How, OnAck, Settled, Settlement, Waits, Way};
use crate::dead_letter::Reason;
use crate::error::Error;
use crate::fingerprint::clip;
use crate::names::EntryId;

/// How much of an error the state of a waiting message keeps.
const STATE_ERROR: usize = 1024;

pub(super) async fn settle(
    seat: &RedisSeat,
    settlements: &[Settlement],
) -> Result<Vec<Settled>, Error> {
    let Some(way) = settlements.first().map(Settlement::way) else {
        return Ok(Vec::new());
    };
    // Nearly always, and nearly always that they are done.
    if settlements.iter().all(|other| other.way() == way) {
        let mut answers = Vec::with_capacity(settlements.len());
        for some in settlements.chunks(most(way)) {
            match way {
                Way::AckOfFresh | Way::Ack => answers.extend(ack(seat, some, way).await?),
                _ => answers.extend(end(seat, &some.iter().collect::<Vec<_>>(), way).await?),
            }
        }
        return Ok(answers);
    }
    let mut answers: Vec<Option<Settled>> = Vec::new();
    answers.resize_with(settlements.len(), || None);
    for which in Way::ALL {
        let indices: Vec<usize> = (0..settlements.len())
            .filter(|&i| settlements[i].way() == which)
            .collect();
        for some in indices.chunks(most(which)) {
            let together: Vec<&Settlement> = some.iter().map(|&i| &settlements[i]).collect();
            let settled = end(seat, &together, which).await?;
            for (&i, settled) in some.iter().zip(settled) {
                answers[i] = Some(settled);
            }
        }
    }
    answers
        .into_iter()
        .map(|answer| answer.ok_or_else(|| wire::unexpected("one answer for each message")))
        .collect()
}

/// How many of this way go in one call.
fn most(way: Way) -> usize {
    if way == Way::Resolve { 1 } else { CALL }
}

/// Those of one way, no more than [`most`].
async fn end(seat: &RedisSeat, some: &[&Settlement], way: Way) -> Result<Vec<Settled>, Error> {
    match way {
        Way::AckOfFresh | Way::Ack => Ok(ack(seat, some, way).await?.collect()),
        Way::PutBack => put_back(seat, some).await,
        Way::DeadLetter => dead_letter(seat, some).await,
        Way::Resolve => resolve(seat, some).await,
    }
}

/// What every message goes through: nothing is made for one of them alone, but what a command holds of it.
async fn ack<S: Borrow<Settlement>>(
    seat: &RedisSeat,
    some: &[S],
    way: Way,
) -> Result<impl Iterator<Item = Settled> + use<S>, Error> {
    let doing = "acknowledging";
    let ids = || some.iter().map(|one| one.borrow().lease.fence.id);
    let stream = seat.membership.source.stream.as_str();
    let group = seat.membership.source.group.as_str();
    let script = if way == Way::Ack {
        Some(&scripts::ACK)
    } else {
        let command = with_ids("XACK", &[stream, group], ids());
        let acked = seat.commands.send(&command, doing).await?;
        // A tombstone may stand for what was no longer pending.
        let some_were_not = wire::count(acked, "how many were acknowledged")? < some.len() as u64;
        some_were_not.then_some(&scripts::LIFT)
    };
    if let Some(script) = script {
        let mut call = seat.call();
        ids().for_each(|id| _ = call.number(id));
        seat.commands.eval(script, &call, doing).await?;
    }
    if seat.membership.on_ack == OnAck::Delete {
        let command = with_ids("XDEL", &[stream], ids());
        seat.commands
            .send(&command, "deleting what was acknowledged")
            .await?;
    }
    Ok(std::iter::repeat_with(|| Settled::Done).take(some.len()))
}

/// A command that ends with ids.
fn with_ids(name: &str, names: &[&str], ids: impl ExactSizeIterator<Item = EntryId>) -> Cmd {
    let words = 1 + names.len() + ids.len();
    let mut command = Cmd::with_capacity(words, 24 * words);
    command.arg(name);
    for name in names {
        command.arg(*name);
    }
    for id in ids {
        command.arg(id.write(&mut [0; 41]));
    }
    command
}

async fn put_back(seat: &RedisSeat, some: &[&Settlement]) -> Result<Vec<Settled>, Error> {
    let mut call = seat.call();
    for settlement in some {
        let fence = settlement.lease.fence;
        let (how, due, error) = match &settlement.how {
            How::Retry {
                delay,
                fault,
                waits,
            } => (
                "retry",
                due(*delay, *waits),
                clip(&fault.error, STATE_ERROR),
            ),
            How::Defer { delay, waits } => ("defer", due(*delay, *waits), ""),
            _ => ("release", due(Duration::ZERO, Waits::InTheGroup), ""),
        };
        call.number(fence.id)
            .number(fence.token)
            .number(u8::from(fence.is_charged()))
            .arg(how)
            .arg(due)
            .arg(error.to_owned());
    }
    let answer = seat
        .commands
        .eval(&scripts::PUT_BACK, &call, "putting messages back")
        .await?;
    read_all(seat, answer, some).await
}

/// When it is due, as the script takes it.
fn due(delay: Duration, waits: Waits) -> String {
    match waits {
        Waits::InTheGroup => delay.as_millis().to_string(),
        Waits::WithHolder => "keep".to_owned(),
    }
}

async fn dead_letter(seat: &RedisSeat, some: &[&Settlement]) -> Result<Vec<Settled>, Error> {
    let mut call = seat.call();
    for settlement in some {
        let fence = settlement.lease.fence;
        let How::DeadLetter {
            reason,
            fault,
            failed,
        } = &settlement.how
        else {
            continue;
        };
        call.number(fence.id)
            .number(fence.token)
            .number(u8::from(fence.is_charged()))
            .arg(reason.as_str())
            .number(u8::from(*failed == Failed::Yes))
            .arg(fault.error.clone())
            .arg(fault.kind.clone().unwrap_or_default())
            .arg(fault.fingerprint.clone());
    }
    let answer = seat
        .commands
        .eval(&scripts::DEAD_LETTER, &call, "writing dead letters")
        .await?;
    read_all(seat, answer, some).await
}

async fn read_all(
    seat: &RedisSeat,
    answer: Value,
    some: &[&Settlement],
) -> Result<Vec<Settled>, Error> {
    let mut settled = Vec::with_capacity(some.len());
    for (row, settlement) in wire::rows(answer, some.len())?.into_iter().zip(some) {
        settled.push(read(seat, row, settlement).await?);
    }
    Ok(settled)
}

/// One row of an answer. An entry that turned out to be trimmed has a tombstone now; what this
/// process still holds of it takes the tombstone's place.
async fn read(seat: &RedisSeat, mut row: Row, settlement: &Settlement) -> Result<Settled, Error> {
    Ok(match row.word.as_str() {
        "ok" | "already" => Settled::Done,
        "lost" => Settled::Stale,
        "gone" => Settled::Gone,
        "full" => Settled::Full,
        "died" => {
            let died = row.died()?;
            if died.reason == Reason::Trimmed {
                let known = [row.next()?, row.next()?, row.next()?, row.next()?];
                match resolve_one(seat, settlement, died.dead_letter, Some(known)).await? {
                    Settled::Died(mut whole) => {
                        whole.dropped += died.dropped;
                        Settled::Died(whole)
                    }
                    settled => settled,
                }
            } else {
                Settled::Died(died)
            }
        }
        _ => Settled::Refused(seat.refused(&mut row)?),
    })
}

async fn resolve(seat: &RedisSeat, some: &[&Settlement]) -> Result<Vec<Settled>, Error> {
    let mut settled = Vec::with_capacity(some.len());
    for settlement in some {
        if let Some(tombstone) = settlement.lease.tombstone {
            settled.push(resolve_one(seat, settlement, tombstone, None).await?);
        }
    }
    Ok(settled)
}

/// `known` is what was known of the message when its tombstone was written, where that was just now.
async fn resolve_one(
    seat: &RedisSeat,
    settlement: &Settlement,
    tombstone: EntryId,
    known: Option<[Value; 4]>,
) -> Result<Settled, Error> {
    let nothing = Fault::default();
    let (how, failed, fault) = match &settlement.how {
        How::Ack => ("done", Failed::No, &nothing),
        How::Retry { fault, .. } => ("failed", Failed::Yes, &**fault),
        How::DeadLetter { fault, failed, .. } => ("failed", *failed, &**fault),
        How::Defer { .. } | How::Release => ("silent", Failed::No, &nothing),
    };
    let fence = settlement.lease.fence;
    let fields = &settlement.fields;
    let mut call = seat.call();
    call.number(tombstone)
        .arg(how)
        .number(fence.id)
        .number(fence.token)
        .number(u8::from(failed == Failed::Yes))
        .arg(fault.error.clone())
        .arg(fault.kind.clone().unwrap_or_default())
        .arg(fault.fingerprint.clone());
    match known {
        None => (0..4).for_each(|_| _ = call.arg("")),
        Some(parts) => {
            for part in parts {
                call.arg(wire::bytes(part, "what was known")?);
            }
        }
    }
    if how != "done" {
        for (name, value) in fields.pairs() {
            call.arg(name.clone()).arg(value.clone());
        }
    }
    let answer = seat
        .commands
        .eval(&scripts::RESOLVE, &call, "settling a trimmed message")
        .await?;
    let mut row = Row::read(answer)?;
    Ok(match row.word.as_str() {
        "ok" | "already" => Settled::Done,
        "died" => Settled::Died(row.died()?),
        _ => Settled::Refused(seat.refused(&mut row)?),
    })
}
