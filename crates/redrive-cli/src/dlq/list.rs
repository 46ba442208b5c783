//! `redrive dlq list`: which dead letters there are, and why.

use std::ops::ControlFlow;

use clap::Args as ClapArgs;
use redrive::{DeadLetter, DeadLetterQueue, Found, Order, Progress, Reason, StreamKey};

use super::letter::Letter;
use super::search::{Searched, search};
use super::{Select, Where, nothing_in};
use crate::failure::Failure;
use crate::output::{Output, Table, cut};
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::note;
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
    let limit = match (args.select.limit, args.select.all) {
        (None, true) => None,
        (limit, _) => limit.or(Some(USUAL)),
    };
    let selection = match limit {
        Some(limit) => selection.limit(limit),
        None => selection,
    };
    let mut found = queue.find(&selection).await?;
    // Only now: until then Ctrl-C ends it as it ends any program.
    let mut signals = Signals::listen()?;
    let (listed, ended) = if session.out.is_table() {
        as_table(&mut found, limit, &mut signals, session).await?
    } else {
        as_documents(&queue, &mut found, &mut signals, session).await?
    };
    let total = if session.out.is_gone() {
        listed
    } else {
        found.matched()
    };
    if let Searched::Stopped(signal) = ended {
        let Progress {
            examined,
            total: of,
            ..
        } = found.progress();
        let text = format!("stopped: {total} match among the {examined} of {of} looked at");
        let hint = "what was found is listed; the same command begins anew";
        return Err(Failure::with(signal.code(), text).hint(hint));
    }
    if total == 0 {
        return Err(nothing(&args.select, &queue, narrowed));
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

/// That nothing was found, and what may be the reason.
fn nothing(select: &Select, queue: &DeadLetterQueue, narrowed: bool) -> Failure {
    let failure = nothing_in(queue, narrowed);
    match select.no_string() {
        Some(field) => failure.hint(format!(
            "--where {field} is about JSON; where it is a string, quote the value: --where '{}'",
            field.quoted()
        )),
        None => failure,
    }
}

async fn as_documents(
    queue: &DeadLetterQueue,
    found: &mut Found,
    signals: &mut Signals,
    session: &mut Session,
) -> Result<(u64, Searched), Failure> {
    let quiet = session.quiet();
    let mut documents = session.out.documents();
    let mut listed = 0;
    let looking = search(found, "looking", quiet, signals, |found| {
        let before = listed;
        while let Some(letter) = found.ready() {
            documents.add(&Letter::new(queue, &letter))?;
            listed += 1;
        }
        // At once: what comes next may take long to be found.
        if listed > before {
            documents.flush()?;
        }
        Ok(on_unless(documents.is_gone()))
    });
    let ended = looking.await;
    // What was found stays a whole document, whatever ended the search.
    documents.end()?;
    Ok((listed, ended?))
}

fn on_unless(gone: bool) -> ControlFlow<()> {
    if gone {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// A table has as many columns as its widest row needs, so it is made of a page at a time.
async fn as_table(
    found: &mut Found,
    limit: Option<usize>,
    signals: &mut Signals,
    session: &mut Session,
) -> Result<(u64, Searched), Failure> {
    const PAGE: usize = 1_000;
    let quiet = session.quiet();
    let out = &mut session.out;
    let (mut listed, mut page) = (0, Vec::new());
    let looking = search(found, "looking", quiet, signals, |found| {
        while let Some(letter) = found.ready() {
            page.push(row(&letter));
            listed += 1;
            // The rest is only counted: what there is to see is seen before.
            if page.len() == PAGE || Some(listed) == limit {
                print(std::mem::take(&mut page), out)?;
            }
        }
        Ok(on_unless(out.is_gone()))
    });
    let ended = looking.await;
    print(page, out)?;
    Ok((listed as u64, ended?))
}

fn print(page: Vec<[String; 7]>, out: &mut Output) -> Result<(), Failure> {
    if page.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        "id", "died", "stream", "group", "reason", "attempts", "error",
    ]);
    for cells in page {
        table.row(cells);
    }
    out.table(table)
}

fn row(letter: &DeadLetter) -> [String; 7] {
    // A thousand rows are held at once.
    let or_dash = |text: Option<&str>| text.map_or("-".into(), cut).into_owned();
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
