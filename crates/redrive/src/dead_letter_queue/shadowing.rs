//! Shadow runs: dead letters through a handler, and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::DeadLetterQueue;
use super::report::{Progress, ReplayFailure, ShadowReport};
use super::walk::{LOOK, Walk};
use crate::codec::Decode;
use crate::dead_letter::{DeadLetter, Reason, replay_fields};
use crate::error::Error;
use crate::fingerprint::Fingerprints;
use crate::gate::Gate;
use crate::groups::{DeadLetterGroups, GroupBy, Tally};
use crate::handler::Handler;
use crate::message::Fields;
use crate::names::{GroupName, Source};
use crate::outcome::{Failure, Outcome};
use crate::processor::{Ran, Runner, Work, envelope, fault, run_handler};
use crate::selection::Selection;

/// How dead letters are run in the shadow. Default: 16 at once, 5 minutes each.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are given to a shadow run"]
pub struct ShadowOptions {
    concurrency: usize,
    timeout: Option<Duration>,
}

impl Default for ShadowOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            timeout: Some(Duration::from_secs(300)),
        }
    }
}

impl ShadowOptions {
    /// How many run at once, at least 1. Default 16.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// How long one may run; then it has failed. Default 5 minutes; `None` is without end.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }
}

impl DeadLetterQueue {
    /// Runs what is selected through a handler as if it had been replayed, and settles nothing: how many
    /// would pass now, and the errors of those that would not, in groups. Nothing is written to the broker;
    /// what the handler itself does is done. The way to learn whether a fix helps before a replay.
    ///
    /// A message has the fields, the stream and the id that it had at first, the lineage of a replay, and
    /// attempt 1; its group is `-` where the dead letter names none.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Json, Message, Selection};
    /// let broker = Broker::connect("memory:").await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let fixed = async |order: Message<u32>| *order > 0;
    /// let (report, causes) = queue.shadow(&Selection::all(), fixed, Json::default()).await?;
    /// println!("{} of {} would pass", report.passed, report.selected);
    /// for cause in causes.groups {
    ///     println!("{} like {}: {:?}", cause.count, cause.sample_id, cause.error);
    /// }
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: handlers are dropped at their next await.
    pub async fn shadow<C, T, H>(
        &self,
        selection: &Selection,
        handler: H,
        codec: C,
    ) -> Result<(ShadowReport, DeadLetterGroups), Error>
    where
        C: Decode<T>,
        T: Send + 'static,
        H: Handler<T>,
    {
        let options = ShadowOptions::default();
        let mut shadowing = self.shadowing(selection, &options, codec, handler).await?;
        while shadowing.step().await?.is_some() {}
        let causes = shadowing.causes();
        Ok((shadowing.report, causes))
    }

    /// Begins a [`shadow`](Self::shadow) run that is done step by step, for who shows how far it is, sets
    /// how many run at once, or wants to end it early.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    pub async fn shadowing<C, T, H>(
        &self,
        selection: &Selection,
        options: &ShadowOptions,
        codec: C,
        handler: H,
    ) -> Result<Shadowing, Error>
    where
        C: Decode<T>,
        T: Send + 'static,
        H: Handler<T>,
    {
        Shadowing::start(self.clone(), selection, options, codec, handler).await
    }
}

/// A shadow run, step by step: what is selected goes through a handler as if it had been replayed, and
/// nothing is written. See [`DeadLetterQueue::shadow`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{Broker, Json, Message, Selection, ShadowOptions};
/// let broker = Broker::connect("memory:").await?;
/// let queue = broker.dead_letters("orders:dlq".parse()?);
/// let options = ShadowOptions::default().concurrency(4);
/// let handler = async |order: Message<u32>| *order > 0;
/// let mut shadowing = queue
///     .shadowing(&Selection::all(), &options, Json::default(), handler)
///     .await?;
/// while let Some(progress) = shadowing.step().await? {
///     println!("{} of {}", progress.examined, progress.total);
/// }
/// println!("{} would pass", shadowing.report().passed);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is asked for a step"]
pub struct Shadowing {
    queue: DeadLetterQueue,
    walk: Walk,
    /// How many more may be selected.
    left: usize,
    options: ShadowOptions,
    runner: Runner,
    page: VecDeque<DeadLetter>,
    runs: JoinSet<(DeadLetter, Ran)>,
    ended: VecDeque<Result<(DeadLetter, Ran), JoinError>>,
    failed: Option<Error>,
    cancel: CancellationToken,
    report: ShadowReport,
    tally: Tally,
}

impl Shadowing {
    pub(super) async fn start<C, T, H>(
        queue: DeadLetterQueue,
        selection: &Selection,
        options: &ShadowOptions,
        codec: C,
        handler: H,
    ) -> Result<Self, Error>
    where
        C: Decode<T>,
        T: Send + 'static,
        H: Handler<T>,
    {
        Ok(Self {
            walk: Walk::start(&queue, selection).await?,
            queue,
            left: selection.limit.unwrap_or(usize::MAX),
            options: options.clone(),
            runner: Runner::new(codec, handler),
            page: VecDeque::new(),
            runs: JoinSet::new(),
            ended: VecDeque::new(),
            failed: None,
            cancel: CancellationToken::new(),
            report: ShadowReport::default(),
            tally: Tally::new(GroupBy::Fingerprint),
        })
    }

    /// Starts what may run, and waits until a run has ended, which the next [`step`](Self::step) then
    /// tells of at once.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: what runs goes on, and none is passed over.
    pub async fn turn(&mut self) {
        if !self.ended.is_empty() || self.failed.is_some() {
            return;
        }
        if let Err(error) = self.fill().await {
            self.failed = Some(error);
            return;
        }
        if let Some(ended) = self.runs.join_next().await {
            self.ended.push_back(ended);
        }
    }

    /// Waits for its [turn](Self::turn) and tells of a run that has ended; `None` when all have.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// As [`turn`](Self::turn).
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        self.turn().await;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some(ended) = self.ended.pop_front() else {
            return Ok(None);
        };
        self.book(ended);
        Ok(Some(self.progress()))
    }

    /// Ends it early: starts no more, tells those that run by [`Message::cancelled`](crate::Message::cancelled), and
    /// waits for them. Of these only successes are in the report.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; dropped with it, runs are dropped at their next await.
    pub async fn stop(&mut self) {
        self.cancel.cancel();
        self.page.clear();
        self.left = 0;
        while let Some(ended) = self.runs.join_next().await {
            self.ended.push_back(ended);
        }
        while let Some(ended) = self.ended.pop_front() {
            let passed = matches!(
                &ended,
                Ok((_, Ran::Spoke(Outcome::Ack | Outcome::Discard { .. })))
            );
            if passed {
                self.book(ended);
            }
        }
    }

    /// Starts as many as may run at once.
    async fn fill(&mut self) -> Result<(), Error> {
        while self.runs.len() < self.options.concurrency && self.report.unavailable.is_none() {
            let Some(letter) = self.page.pop_front() else {
                if self.left == 0 {
                    return Ok(());
                }
                // Not more than are soon run: each may be large.
                let most = LOOK.min(self.left);
                let Some(page) = self.walk.page(&self.queue, most, LOOK).await? else {
                    self.left = 0;
                    return Ok(());
                };
                for found in page.into_iter().take(self.left) {
                    self.left -= 1;
                    match found {
                        Ok(letter) => self.page.push_back(letter),
                        Err(_) => self.report.missing(),
                    }
                }
                continue;
            };
            match replay_fields(&letter) {
                Ok(fields) => self.run(letter, &fields),
                Err(error) => self
                    .report
                    .unreplayable(ReplayFailure::of(letter.id, &error)),
            }
        }
        Ok(())
    }

    /// Starts a run on what a replay would have put back.
    fn run(&mut self, letter: DeadLetter, fields: &Fields) {
        let (runner, timeout) = (self.runner.clone(), self.options.timeout);
        let id = letter.original_id.unwrap_or(letter.id);
        let mut envelope = envelope(
            id,
            Arc::new(self.source(&letter)),
            1,
            Duration::ZERO,
            fields,
        );
        // Of a layout without a lineage nothing else says which it is.
        envelope.lineage_mut().replayed_from = Some(letter.id);
        envelope.cancel = self.cancel.child_token().into();
        let envelope = Arc::new(envelope);
        self.runs.spawn(async move {
            // A crash here ends every handler of this process: who runs alone there is to be alone.
            let pass = Gate::of_process().enter().await;
            let work = Work {
                runner,
                envelope,
                timeout,
                pass,
            };
            let ran = run_handler(work, Instant::now()).await;
            (letter, ran)
        });
    }

    /// Where the message would have come from.
    fn source(&self, letter: &DeadLetter) -> Source {
        let stream = letter
            .stream
            .clone()
            .or_else(|| self.queue.source_by_name());
        Source {
            stream: stream.unwrap_or_else(|| self.queue.stream.clone()),
            group: letter.group.clone().unwrap_or_else(GroupName::unnamed),
        }
    }

    fn book(&mut self, ended: Result<(DeadLetter, Ran), JoinError>) {
        let report = &mut self.report;
        let Ok((mut letter, ran)) = ended else {
            // Panics of handlers are caught within: this one could only be our own.
            report.selected += 1;
            report.failed += 1;
            return;
        };
        let (reason, failure) = match ran {
            Ran::Spoke(Outcome::Unavailable { reason }) => {
                report.unavailable.get_or_insert(reason);
                return;
            }
            Ran::Spoke(Outcome::Ack | Outcome::Discard { .. }) => {
                report.selected += 1;
                report.passed += 1;
                return;
            }
            Ran::Spoke(Outcome::Defer { .. }) => {
                report.selected += 1;
                report.deferred += 1;
                return;
            }
            Ran::Spoke(Outcome::Retry { failure, .. }) => {
                report.failed += 1;
                (Reason::AttemptsExhausted, failure)
            }
            Ran::Spoke(Outcome::DeadLetter { failure }) => {
                report.refused += 1;
                (Reason::Rejected, failure)
            }
            Ran::Undecodable(error) => {
                report.undecodable += 1;
                let failure = Failure {
                    error: error.to_string(),
                    ..Failure::default()
                };
                (Reason::Undecodable, failure)
            }
        };
        report.selected += 1;
        // As it would be kept in the dead letter that this would become.
        let fault = fault(&failure, &mut Fingerprints::default());
        letter.reason = Some(reason);
        letter.error = Some(fault.error);
        letter.error_kind = fault.kind;
        letter.fingerprint = fault.fingerprint;
        self.tally.add(&letter);
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let all = self.walk.progress();
        let under_way = self.page.len() + self.runs.len() + self.ended.len();
        Progress {
            examined: all.examined.saturating_sub(under_way as u64),
            ..all
        }
    }

    /// What has come of those that have ended.
    #[must_use]
    pub fn report(&self) -> &ShadowReport {
        &self.report
    }

    /// What those that would not pass say, in groups of like errors. The reason of a group is what a
    /// worker would do with them: `attempts_exhausted` is tried again first.
    #[must_use]
    pub fn causes(&self) -> DeadLetterGroups {
        self.tally.groups()
    }
}
