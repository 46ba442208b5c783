//! `redrive dlq stats`: the books of a queue, and whether they add up.

use clap::Args as ClapArgs;
use redrive::{Ledger, StreamKey};
use serde::Serialize;

use super::Where;
use crate::failure::Failure;
use crate::output::{Output, Table};
use crate::session::Session;
use crate::terminal::shown;

/// The books of a queue: what came, what went, what others did, and whether that adds up
///
/// Each dead letter that redrive adds or removes is counted in the same step. What the stream tells
/// beside that was done by others: foreign_in was added, foreign_out trimmed or deleted. Ends with 1
/// where the books do not add up.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq stats orders\n  \
    redrive dlq stats --dlq sg:stream:dlq -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, only_from) = args.place.names()?;
    if only_from.is_some() {
        return Err(Failure::usage(
            "the books are of a whole queue, not of what came from one stream",
        )
        .hint("name the queue alone: --dlq NAME"));
    }
    let queue = session.broker().await?.dead_letters(queue);
    let dlq = queue.stream();
    let Some(ledger) = queue.ledger().await? else {
        return Err(Failure::nothing(format!("no dead-letter queue {dlq}"))
            .hint("if that is not the queue that you mean, name it with --dlq; on another server or database, with --url"));
    };
    print(dlq, &ledger, &mut session.out)?;
    if ledger.balanced {
        return Ok(());
    }
    Err(Failure::new(wrong(dlq, &ledger)).hint(
        "the stream or its ledger was deleted, restored from another time, or trimmed before its server \
         counted; `redrive dlq list` shows what is there",
    ))
}

/// What does not add up.
fn wrong(dlq: &StreamKey, ledger: &Ledger) -> String {
    let what = match ledger.surplus() {
        0 => "it says that more came in than the stream was given".to_owned(),
        more @ 1.. => format!("{more} more are there than it says"),
        less => format!("{} that it says are there are not", less.unsigned_abs()),
    };
    let unknown = match ledger.foreign_in {
        None if ledger.foreign_out.is_none() && ledger.surplus() != 0 => {
            ", and whether others did that is not known"
        }
        _ => "",
    };
    format!("the ledger of {dlq} does not add up: {what}{unknown}")
}

#[derive(Serialize)]
struct Document<'a> {
    dlq: &'a StreamKey,
    #[serde(flatten)]
    ledger: &'a Ledger,
}

fn print(dlq: &StreamKey, ledger: &Ledger, out: &mut Output) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(&Document { dlq, ledger });
    }
    let number = |known: Option<u64>| known.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    let mut table = Table::plain();
    for (name, value) in [
        ("dlq", shown(dlq.as_str()).into_owned()),
        ("dead-lettered", ledger.dead_lettered.to_string()),
        ("imported", ledger.imported.to_string()),
        ("replayed", ledger.replayed.to_string()),
        ("purged", ledger.purged.to_string()),
        ("spilled", ledger.spilled.to_string()),
        ("dropped", ledger.dropped.to_string()),
        ("kept", ledger.kept.to_string()),
        ("added by others", number(ledger.foreign_in)),
        ("removed by others", number(ledger.foreign_out)),
        (
            "adds up",
            if ledger.balanced { "yes" } else { "no" }.to_owned(),
        ),
    ] {
        table.row([name.to_owned(), value]);
    }
    out.table(table)
}
