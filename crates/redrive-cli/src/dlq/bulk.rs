//! What bulk work has in common: asking first, progress, and an end that can be asked for.

use std::future::Future;

use redrive::{DeadLetterQueue, Selection};

use super::letter::line;
use crate::confirm::{self, Consent};
use crate::failure::{Code, Failure};
use crate::signals::Signals;

/// How many are shown before asking.
const FIRST: usize = 5;

/// Counts what would be worked on, and asks.
pub(super) async fn ask(
    consent: Consent,
    queue: &DeadLetterQueue,
    selection: &Selection,
    limit: Option<usize>,
    verb: &str,
) -> Result<(), Failure> {
    if consent == Consent::Given {
        return Ok(());
    }
    let mut found = queue.find(selection).await?;
    let mut first = Vec::new();
    while first.len() < FIRST
        && let Some(letter) = found.next().await?
    {
        first.push(line(&letter));
    }
    let matching = found.total().await?;
    let count = limit.map_or(matching, |limit| matching.min(limit as u64));
    let letters = if count == 1 {
        "dead letter"
    } else {
        "dead letters"
    };
    let what = format!("{verb} {count} {letters} of {}", queue.stream());
    confirm::confirm(
        consent,
        &what,
        &first,
        count.saturating_sub(first.len() as u64),
    )
}

/// Whether work goes on after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    /// Somebody asked it to end.
    Stop,
}

/// Finishes a step that has begun, whoever asks it to end meanwhile; asked twice, it is dropped.
/// Dropping is safe, but what the step did is then not in the report.
pub(super) async fn step<T>(
    signals: &mut Signals,
    step: impl Future<Output = T>,
) -> Result<(T, Next), Failure> {
    let mut step = std::pin::pin!(step);
    let mut next = Next::GoOn;
    loop {
        tokio::select! {
            biased;
            signal = signals.recv() => {
                if next == Next::Stop {
                    return Err(Failure::with(signal.code(), "ended in the middle of a step")
                        .hint("the same command goes on where this one ended: nothing is done twice"));
                }
                next = Next::Stop;
            }
            done = &mut step => return Ok((done, next)),
        }
    }
}

/// How work ends that did so much of what was selected.
pub(super) fn ending(done: u64, undone: u64, stopped: Next, verb: &str) -> Result<(), Failure> {
    if stopped == Next::Stop {
        return Err(
            Failure::with(Code::Partly, format!("stopped: {done} {verb} so far"))
                .hint("the same command goes on where this one ended: nothing is done twice"),
        );
    }
    match (done, undone) {
        (_, 0) => Ok(()),
        (0, _) => Err(Failure::with(
            Code::Failed,
            format!("none of {undone} {verb}"),
        )),
        (done, undone) => Err(Failure::with(
            Code::Partly,
            format!("{undone} of {} not {verb}", done + undone),
        )),
    }
}
