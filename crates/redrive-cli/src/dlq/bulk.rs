//! What bulk work has in common: asking first, progress, and an end that can be asked for.

use std::ops::ControlFlow;
use std::time::Duration;

use redrive::{DeadLetter, DeadLetterQueue, Progress as Done, Selection};
use tokio::sync::oneshot;

use super::letter::line;
use super::nothing_in;
use super::search::{Searched, search};
use crate::confirm::{self, Consent};
use crate::failure::{Code, Failure};
use crate::progress::{Progress, Quiet};
use crate::session::Session;
use crate::signals::{Signal, Signals};

/// How many are shown before asking.
const FIRST: usize = 5;

/// What would be worked on.
pub(super) struct Counted {
    pub(super) count: u64,
    /// The first ones of it.
    pub(super) first: Vec<DeadLetter>,
}

impl Counted {
    pub(super) fn what(&self, verb: &str, queue: &DeadLetterQueue) -> String {
        let count = self.count;
        let letters = if count == 1 {
            "dead letter"
        } else {
            "dead letters"
        };
        format!("{verb} {count} {letters} of {}", queue.stream())
    }

    /// How many there are beside the first.
    pub(super) fn beyond(&self) -> u64 {
        self.count.saturating_sub(self.first.len() as u64)
    }
}

/// Counts what would be worked on. It can be ended at any time: nothing is done then.
pub(super) async fn count(
    queue: &DeadLetterQueue,
    selection: &Selection,
    limit: Option<usize>,
    quiet: Quiet,
    signals: &mut Signals,
) -> Result<Counted, Failure> {
    let most = limit.unwrap_or(usize::MAX);
    // Beyond these it only counts.
    let these = selection.clone().limit(FIRST.min(most));
    let mut found = tokio::select! {
        biased;
        signal = signals.recv() => return Err(stopped(signal)),
        found = queue.find(&these) => found?,
    };
    let mut first = Vec::new();
    let counting = search(&mut found, "counting", quiet, signals, |found| {
        first.extend(std::iter::from_fn(|| found.ready()));
        Ok(match found.matched() >= most as u64 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    });
    match counting.await? {
        Searched::Enough => {}
        Searched::Stopped(signal) => return Err(stopped(signal)),
    }
    Ok(Counted {
        count: found.matched().min(most as u64),
        first,
    })
}

/// Counts what would be worked on, and asks. It can be ended at any time: nothing is done then.
/// Where there is nothing, there is nothing to ask.
pub(super) async fn ask(
    session: &Session,
    queue: &DeadLetterQueue,
    selection: &Selection,
    limit: Option<usize>,
    narrowed: bool,
    verb: &str,
    signals: &mut Signals,
) -> Result<(), Failure> {
    if session.consent() == Consent::Given {
        return Ok(());
    }
    let counted = count(queue, selection, limit, session.quiet(), signals).await?;
    if counted.count == 0 {
        return Err(nothing_in(queue, narrowed));
    }
    let what = counted.what(verb, queue);
    let more = counted.beyond();
    let first: Vec<String> = counted.first.iter().map(line).collect();
    confirmed(what, first, more, signals).await
}

/// Asks. It can be ended at any time: nothing is done then.
pub(super) async fn confirmed(
    what: String,
    first: Vec<String>,
    more: u64,
    signals: &mut Signals,
) -> Result<(), Failure> {
    // On a thread of its own, which nobody waits for: who asks it to end does not answer.
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new().spawn(move || {
        let _ = answer.send(confirm::confirm(&what, &first, more));
    })?;
    tokio::select! {
        biased;
        answer = answered => answer.unwrap_or_else(|_| Err(Failure::new("asking ended early"))),
        signal = signals.recv() => Err(stopped(signal)),
    }
}

fn stopped(signal: Signal) -> Failure {
    Failure::with(signal.code(), "nothing was done: stopped before the answer")
}

/// How far work came.
#[derive(Debug)]
#[must_use = "work that was stopped has not done all that was asked"]
pub(crate) enum Ended {
    Whole,
    /// Asked to end: what it does is done, the rest is left.
    Stopped(Signal),
    /// Asked twice, and dropped in the middle of a step. That is safe, but what the step did is not
    /// in the report.
    Insisted(Signal),
    Failed(redrive::Error),
}

pub(super) const AGAIN: &str =
    "the same command goes on where this one ended: nothing is done twice";

/// Tells what is new.
pub(crate) type News = Box<dyn FnMut() -> Option<String>>;

/// How often it is asked for news.
const NEWS: Duration = Duration::from_millis(300);

/// Work that goes step by step.
pub(crate) trait Steps {
    /// Waits until it may go on, and gets ready what changes nothing: dropped, nothing was done.
    async fn turn(&mut self) {}

    /// What there is to say of that, asked while it waits; `None` where there is nothing new.
    fn news(&self) -> Option<News> {
        None
    }

    /// Does the next step; `None` when there is none.
    async fn step(&mut self) -> Result<Option<Done>, redrive::Error>;
}

impl<F: AsyncFnMut() -> Result<Option<Done>, redrive::Error>> Steps for F {
    async fn step(&mut self) -> Result<Option<Done>, redrive::Error> {
        self().await
    }
}

/// Does it step by step, and shows how far it is. A step that has begun is finished, whoever asks
/// it to end meanwhile; who asks while it waits for its turn, or gets ready, has not to wait.
pub(crate) async fn work(
    what: &'static str,
    start: Done,
    quiet: Quiet,
    signals: &mut Signals,
    mut steps: impl Steps,
) -> Ended {
    let progress = Progress::new(what, start.total, quiet);
    let mut so_far = None;
    let mut news = steps.news();
    loop {
        {
            let mut turning = std::pin::pin!(steps.turn());
            loop {
                tokio::select! {
                    biased;
                    signal = signals.recv() => return ended(signal, so_far),
                    () = &mut turning => break,
                    () = tokio::time::sleep(NEWS), if news.is_some() => {
                        if let Some(text) = news.as_mut().and_then(|news| news()) {
                            progress.say(&text);
                        }
                    }
                }
            }
        }
        let mut asked = None;
        let mut stepping = std::pin::pin!(steps.step());
        let stepped = loop {
            tokio::select! {
                biased;
                signal = signals.recv() => {
                    if asked.is_some() {
                        return Ended::Insisted(signal);
                    }
                    asked = Some(signal);
                    progress.say("ending after this step; once more ends at once");
                }
                stepped = &mut stepping => break stepped,
            }
        };
        match (stepped, asked) {
            (Err(error), _) => return Ended::Failed(error),
            (Ok(None), _) => return Ended::Whole,
            (Ok(Some(done)), Some(signal)) => return ended(signal, Some(done)),
            (Ok(Some(done)), None) => {
                progress.at(done.examined);
                so_far = Some(done);
            }
        }
    }
}

/// Asked to end when it was so far.
fn ended(signal: Signal, so_far: Option<Done>) -> Ended {
    match so_far {
        // It was over anyway.
        Some(done) if done.examined >= done.total => Ended::Whole,
        _ => Ended::Stopped(signal),
    }
}

/// What work that changes something comes to: so much done, so much of what was selected not.
pub(crate) fn judge(ended: Ended, done: u64, undone: u64, verb: &str) -> Result<(), Failure> {
    match (ended, done, undone) {
        (Ended::Insisted(signal), ..) => {
            let text = "ended in the middle of a step";
            Err(Failure::with(signal.code(), text).hint(AGAIN))
        }
        (Ended::Failed(error), 0, _) => Err(error.into()),
        (Ended::Failed(error), ..) => Err(Failure::from(error).code(Code::Partly)),
        (Ended::Stopped(_), ..) => {
            let text = format!("stopped: {done} {verb} so far");
            Err(Failure::with(Code::Partly, text).hint(AGAIN))
        }
        (Ended::Whole, _, 0) => Ok(()),
        (Ended::Whole, 0, _) => Err(Failure::new(format!("none of {undone} {verb}"))),
        (Ended::Whole, ..) => {
            let text = format!("{undone} of {} not {verb}", done + undone);
            Err(Failure::with(Code::Partly, text))
        }
    }
}
