//! Adding dead letters that were stored elsewhere, each once however often it is asked.

use std::time::Duration;

use redis::{Pipeline, Value, cmd};

use super::connection::{Call, Link};
use super::replay::{CALL_BYTES, SCRIPT_FIELDS, TRIES, expiry, today};
use super::wire::{self, Row};
use super::{CALL, add, errors, keys, scripts, transaction};
use crate::backend::{Import, Imported};
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, StreamKey};

const DOING: &str = "importing dead letters";

pub(super) async fn import(
    link: &Link,
    dlq: &StreamKey,
    orders: &[Import],
) -> Result<Vec<Imported>, Error> {
    let mut answers = Vec::with_capacity(orders.len());
    if orders.is_empty() {
        return Ok(answers);
    }
    let today = today(link).await?;
    let mut rest = orders;
    while let Some(first) = rest.first() {
        let (answered, others) = match first.stored.len() {
            0 => (vec![without_fields(dlq)], 1),
            1..=SCRIPT_FIELDS => {
                let together = together(rest);
                let some = rest.get(..together).unwrap_or_default();
                (import_some(link, dlq, some, today).await?, together)
            }
            _ => (vec![import_large(link, dlq, first, today).await?], 1),
        };
        answers.extend(answered);
        rest = rest.get(others..).unwrap_or_default();
    }
    Ok(answers)
}

/// How many of these, at least one, go in one call.
fn together(orders: &[Import]) -> usize {
    let mut size = 0;
    let fitting = orders.iter().take(CALL).take_while(|order| {
        let fits = size == 0 || size + order.stored.size() <= CALL_BYTES;
        size += order.stored.size() + 1;
        fits && (1..=SCRIPT_FIELDS).contains(&order.stored.len())
    });
    fitting.count().max(1)
}

fn without_fields(dlq: &StreamKey) -> Imported {
    Imported::Refused(Error::new(
        ErrorKind::Invalid,
        format!("adding to {dlq} without fields"),
    ))
}

fn call(dlq: &StreamKey, today: u64) -> Call {
    let receipts = |age: u64| keys::imports(dlq, today.saturating_sub(age));
    Call::new([
        dlq.to_string(),
        keys::ledger(dlq),
        receipts(0),
        receipts(1),
        receipts(2),
    ])
}

async fn import_some(
    link: &Link,
    dlq: &StreamKey,
    orders: &[Import],
    today: u64,
) -> Result<Vec<Imported>, Error> {
    let mut call = call(dlq, today);
    call.number(expiry(today));
    for order in orders {
        call.arg(order.receipt.clone())
            .number(order.stored.len() * 2);
        for (name, value) in order.stored.pairs() {
            call.arg(name.clone()).arg(value.clone());
        }
    }
    let answer = link.eval(&scripts::IMPORT, &call, DOING).await;
    let answer = answer.map_err(|error| error.during(dlq))?;
    let rows = wire::rows(answer, orders.len())?.into_iter();
    rows.map(|row| read(row, dlq)).collect()
}

fn read(mut row: Row, dlq: &StreamKey) -> Result<Imported, Error> {
    match row.word.as_str() {
        "added" => Ok(Imported::Added(row.id()?)),
        "already" => Ok(Imported::Already(row.id()?)),
        "refused" => Ok(Imported::Refused(errors::refusal(
            &row.text()?,
            format!("adding to {dlq}"),
        ))),
        _ => Err(wire::unexpected("what became of an import")),
    }
}

/// A dead letter of more fields than a script can add: the client adds it, between a script that
/// reserves its receipt and one that completes it, all in one step.
async fn import_large(
    link: &Link,
    dlq: &StreamKey,
    order: &Import,
    today: u64,
) -> Result<Imported, Error> {
    for _ in 0..TRIES {
        if let Some(known) = receipt(link, dlq, order, today).await? {
            return Ok(Imported::Already(known));
        }
        let transaction = transaction::begin(link, DOING).await?;
        let nonce = format!("{:016x}", fastrand::u64(..));
        let mut reserve = call(dlq, today);
        reserve
            .number(expiry(today))
            .arg(order.receipt.clone())
            .arg(nonce.clone());
        let mut complete = call(dlq, today);
        complete
            .arg(order.receipt.clone())
            .arg(nonce)
            .number(order.stored.len() * 2);
        let mut commands = Pipeline::new();
        // By their texts: inside MULTI an unknown hash would leave the entry added and not completed.
        commands.add_command(reserve.by_text(&scripts::IMPORT_RESERVE));
        commands.add_command(add(dlq, &order.stored));
        commands.add_command(complete.by_text(&scripts::IMPORT_COMPLETE));
        let answers = transaction.run(commands, DOING).await;
        let answers = answers.map_err(|error| error.during(dlq))?;
        let mut values = answers.into_iter().skip(1);
        let missing = || wire::unexpected("a transaction");
        let added = values.next().ok_or_else(missing)?;
        let completed = values.next().ok_or_else(missing)?;
        if let Value::ServerError(refused) = added {
            let refused = errors::error(refused.into(), DOING).during(dlq);
            return Ok(Imported::Refused(refused));
        }
        let row = Row::read(link.answer(completed, DOING)?)?;
        if row.word != "lost" {
            return read(row, dlq);
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await;
    }
    Ok(Imported::Refused(
        Error::new(ErrorKind::Unavailable, DOING)
            .hint("others are importing the same dead letter; try again"),
    ))
}

/// The id under which it was imported before.
async fn receipt(
    link: &Link,
    dlq: &StreamKey,
    order: &Import,
    today: u64,
) -> Result<Option<EntryId>, Error> {
    let mut days = Pipeline::new();
    for age in 0..3 {
        let mut get = cmd("HGET");
        get.arg(keys::imports(dlq, today.saturating_sub(age)))
            .arg(&order.receipt);
        days.add_command(get);
    }
    let found = link.send_all(&days, DOING).await?;
    // What begins with `?` is a reservation: nothing has been added yet.
    Ok(found
        .into_iter()
        .find_map(|receipt| wire::id(receipt, "a receipt").ok()))
}
