//! `redrive dlq list`: which dead letters there are, and why.

use clap::Args as ClapArgs;
use redrive::{DeadLetter, DeadLetterQueue, Found, Order, Reason, StreamKey};

use super::letter::Letter;
use super::{Select, Where, nothing_in};
use crate::failure::Failure;
use crate::output::Table;
use crate::session::Session;
use crate::terminal::{clipped, note};
use crate::when::ago;

/// How many are listed unless said otherwise.
const USUAL: usize = 50;

/// List dead letters: the newest 50 unless said otherwise, and how many match
///
/// All layouts are read, mixed in one queue: redrive's own, those of the two Python systems, and
/// entries that something else wrote.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq list orders\n  \
    redrive dlq list --dlq sg:stream:dlq --reason rejected --all -o jsonl")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    select: Select,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, only_from) = args.place.names()?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Newest)?;
    let queue = session.broker().await?.dead_letters(queue);
    let selection = match (args.select.limit, args.select.all) {
        (None, false) => selection.limit(USUAL),
        _ => selection,
    };
    let mut found = queue.find(&selection).await?;
    let listed = if session.out.is_table() {
        as_table(&mut found, session).await?
    } else {
        as_documents(&queue, &mut found, session).await?
    };
    let total = if session.out.is_gone() {
        listed
    } else {
        found.total().await?
    };
    if total == 0 {
        return Err(nothing_in(&queue, narrowed));
    }
    if !session.globals.quiet && listed < total {
        note(&format!(
            "{listed} of {total} that match; --limit N or --all shows more"
        ));
    } else if !session.globals.quiet && session.out.is_table() && !session.out.is_gone() {
        note(&format!("{total} match"));
    }
    Ok(())
}

async fn as_documents(
    queue: &DeadLetterQueue,
    found: &mut Found,
    session: &mut Session,
) -> Result<u64, Failure> {
    let mut documents = session.out.documents();
    let mut listed = 0;
    while let Some(letter) = found.next().await? {
        documents.add(&Letter::new(queue, &letter))?;
        listed += 1;
        if documents.is_gone() {
            break;
        }
    }
    documents.end()?;
    Ok(listed)
}

/// A table has as many columns as its widest row needs, so it is made of a page at a time.
async fn as_table(found: &mut Found, session: &mut Session) -> Result<u64, Failure> {
    const PAGE: usize = 1_000;
    let mut listed = 0;
    loop {
        let mut page = Vec::new();
        while page.len() < PAGE
            && let Some(letter) = found.next().await?
        {
            page.push(row(&letter));
        }
        if page.is_empty() {
            return Ok(listed);
        }
        listed += page.len() as u64;
        let mut table = Table::new([
            "id", "died", "stream", "group", "reason", "attempts", "error",
        ]);
        for cells in page {
            table.row(cells);
        }
        session.out.table(table)?;
        if session.out.is_gone() {
            return Ok(listed);
        }
    }
}

/// How much of a text stands in a cell.
const MOST: usize = 1_000;

fn row(letter: &DeadLetter) -> [String; 7] {
    // A layout of others holds names and errors of any length.
    let or_dash = |text: Option<&str>| match text {
        None => "-".to_owned(),
        Some(text) => match clipped(text, MOST) {
            all if all.len() == text.len() => all.to_owned(),
            some => format!("{some}…"),
        },
    };
    [
        letter.id.to_string(),
        // Where the layout does not say when it died: its own id is the time at which it was added.
        format!(
            "{} ago",
            ago(letter.dead_at_ms.unwrap_or(letter.id.millis()))
        ),
        or_dash(letter.stream.as_ref().map(StreamKey::as_str)),
        or_dash(letter.group.as_ref().map(redrive::GroupName::as_str)),
        or_dash(letter.reason.map(Reason::as_str)),
        letter
            .attempts
            .map_or_else(|| "-".to_owned(), |attempts| attempts.to_string()),
        or_dash(
            letter
                .error
                .as_deref()
                .and_then(|error| error.lines().next()),
        ),
    ]
}
