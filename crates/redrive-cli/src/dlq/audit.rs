//! `redrive dlq audit`: who did what to a queue.

use clap::{Args as ClapArgs, ValueEnum};
use redrive::{AuditAction, AuditOutcome, AuditQuery, AuditRecord, AuditState};
use serde::Serialize;
use std::collections::BTreeMap;

use super::Where;
use crate::failure::Failure;
use crate::literals::{Instant, at_least_one};
use crate::output::{Output, Table, json};
use crate::session::Session;
use crate::when::{ago, now_ms};

/// Who did what to the dead letters: the latest 50 operations unless said otherwise
///
/// Every replay, purge, import, undo and spill, and every pause, resume and abort of a campaign, by whoever did
/// it, with what was selected, why (--because) and how many. One that has not ended goes on, or was killed.
/// About the last 5,000 operations on a queue are kept. A name is what somebody said of themselves.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq audit orders\n  \
    redrive dlq audit --dlq failed --what purge --since 7d -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// No more than so many
    #[arg(long, allow_hyphen_values = true, value_name = "N", default_value = "50", value_parser = at_least_one)]
    limit: usize,
    /// Begun at this time or later: 2026-11-22T05:10:22Z, or as long ago as 2h
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    since: Option<Instant>,
    /// Of this kind: replay, purge, import, undo, spill, pause, resume or abort; may be repeated
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    what: Vec<What>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Replay,
    Purge,
    Import,
    Undo,
    Spill,
    Pause,
    Resume,
    Abort,
}

impl What {
    fn library(self) -> AuditAction {
        match self {
            Self::Replay => AuditAction::Replay,
            Self::Purge => AuditAction::Purge,
            Self::Import => AuditAction::Import,
            Self::Undo => AuditAction::Undo,
            Self::Spill => AuditAction::Spill,
            Self::Pause => AuditAction::Pause,
            Self::Resume => AuditAction::Resume,
            Self::Abort => AuditAction::Abort,
        }
    }
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, _) = args.place.names()?;
    let mut query = AuditQuery::default().limit(args.limit);
    if let Some(since) = args.since {
        query = query.since_ms(since.ms(now_ms()));
    }
    for what in &args.what {
        query = query.what(what.library());
    }
    let queue = session.broker().await?.dead_letters(queue);
    let records = queue.audit(&query).await?;
    if records.is_empty() {
        let narrowed = args.since.is_some() || !args.what.is_empty();
        let (text, hint) = if narrowed {
            (
                "matches",
                "without --since and --what it tells of all that is kept",
            )
        } else {
            (
                "is recorded",
                "if that is not the queue that you mean, name it with --dlq",
            )
        };
        let text = format!("no operation on {} {text}", queue.stream());
        return Err(Failure::nothing(text).hint(hint));
    }
    if session.out.is_table() {
        return table(&records, &mut session.out);
    }
    documents(&records, &mut session.out)
}

#[derive(Serialize)]
struct Told<'a> {
    op: &'a str,
    what: &'a str,
    state: AuditState,
    who: Option<&'a str>,
    because: Option<&'a str>,
    selection: Option<&'a str>,
    campaign: Option<&'a str>,
    at: Option<String>,
    ended_at: Option<String>,
    outcome: Option<AuditOutcome>,
    counts: Option<&'a BTreeMap<String, u64>>,
}

fn documents(records: &[AuditRecord], out: &mut Output) -> Result<(), Failure> {
    let mut documents = out.documents();
    for record in records {
        documents.add(&Told {
            op: &record.op,
            what: &record.what,
            state: record.state,
            who: record.who.as_deref(),
            because: record.because.as_deref(),
            selection: record.selection.as_deref(),
            campaign: record.campaign.as_deref(),
            at: record.at_ms.and_then(json::instant),
            ended_at: record.ended_at_ms.and_then(json::instant),
            outcome: record.outcome,
            counts: (record.state == AuditState::Ended).then_some(&record.counts),
        })?;
    }
    documents.end()
}

/// What is not known, or not there.
const NONE: &str = "-";

fn table(records: &[AuditRecord], out: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new([
        "when",
        "what",
        "who",
        "outcome",
        "counts",
        "campaign",
        "selection",
        "because",
        "op",
    ]);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    for record in records {
        let at = record.at_ms.or(record.ended_at_ms);
        let outcome = match (record.state, record.outcome) {
            (AuditState::Ended, Some(outcome)) => outcome.as_str(),
            (AuditState::Ended, None) => "?",
            _ => "not ended",
        };
        table.row([
            at.map_or_else(|| NONE.to_owned(), |at| format!("{} ago", ago(at))),
            record.what.clone(),
            text(&record.who),
            outcome.to_owned(),
            counts(record),
            text(&record.campaign),
            text(&record.selection),
            text(&record.because),
            record.op.clone(),
        ]);
    }
    out.table(table)
}

/// How many, as `3 of 5, 2 failed`: what was done of what was selected, and all else that is not 0. What
/// was stopped had come no further: how many it would have been is not known.
fn counts(record: &AuditRecord) -> String {
    let count = |name: &str| record.counts.get(name).copied();
    let mut parts = Vec::new();
    let stopped = record.outcome == Some(AuditOutcome::Stopped);
    match (count("done"), count("selected")) {
        (Some(done), Some(selected)) if stopped && done == selected => {
            parts.push(format!("{done} so far"));
        }
        (Some(done), Some(selected)) if stopped => {
            parts.push(format!("{done} of {selected} so far"));
        }
        (Some(done), Some(selected)) => parts.push(format!("{done} of {selected}")),
        (Some(done), None) => parts.push(done.to_string()),
        (None, Some(selected)) => parts.push(format!("of {selected}")),
        (None, None) => {}
    }
    let others = record.counts.iter();
    let others =
        others.filter(|(name, count)| **count > 0 && *name != "done" && *name != "selected");
    parts.extend(others.map(|(name, count)| format!("{count} {}", name.replace('_', " "))));
    if parts.is_empty() {
        return NONE.to_owned();
    }
    parts.join(", ")
}
