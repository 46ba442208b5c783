//! One run of a processor: a loop that owns all state, so that nothing needs a lock.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::poll;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

use super::asking::Reading;
use super::crew::{Crew, Ended, Load};
use super::drain::Stop;
use super::execution::Runner;
use super::health::{Backoff, Health, Part, Writes};
use super::held::{Held, Sent};
use super::intake::{Call, Extent, Intake, Next};
use super::joining::join_unless;
use super::keeping::Keeping;
use super::leases::{Keeper, LeaseTable, Report};
use super::losses::Losses;
use super::options::ProcessorOptions;
use super::overflow::Brim;
use super::quarantine::Quarantine;
use super::readiness::{Pace, Readiness};
use super::settler::Lane;
use super::spilling::{Spilled, Spilling};
use super::totals::Summary;
use super::turns::Turns;
use crate::backend::{Backend, Begun, Delivery, Fence, Seat, Settled, Settlement, Tended};
use crate::error::Error;
use crate::fingerprint::Fingerprints;
use crate::gate::Pass;
use crate::message::Envelopes;
use crate::names::{EntryId, IdMap, ProcessToken, Source};
use crate::telemetry::{self, Meters, Teller};

/// What all runs of one processor have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Shared by all messages in hand.
    pub(crate) source: Arc<Source>,
    /// Of this processor, whichever of its runs it is.
    pub(crate) token: ProcessToken,
    pub(crate) options: ProcessorOptions,
    pub(crate) runner: Runner,
    /// Made by the first run: until then a recorder can be installed.
    pub(crate) meters: OnceLock<Arc<Meters>>,
}

impl Plan {
    fn meters(&self) -> Arc<Meters> {
        let make = || Meters::new(Arc::clone(&self.source));
        Arc::clone(self.meters.get_or_init(make))
    }
}

/// What the broker has answered.
pub(super) enum Answer {
    Tended(usize, Result<Tended, Error>),
    Read(Reading, Result<Vec<Delivery>, Error>),
    Counted(Result<u64, Error>),
    Begun(Vec<Fence>, Result<Vec<Begun>, Error>),
    Settled(Part, Vec<Settlement>, Sent, Result<Vec<Settled>, Error>),
    AckedAgain,
    Woken,
    MadeRoom(Result<u64, Error>),
    Spilled(Spilled),
    Entered(Pass),
    EnteredAlone(Option<Pass>),
}

/// What the broker has been asked and has not answered.
pub(super) type Calls = FuturesUnordered<BoxFuture<'static, Answer>>;

/// The state of a run. Dropping it is a crash: its tasks and its keeper end, nothing is handed
/// back.
pub(super) struct Run {
    pub(super) plan: Arc<Plan>,
    pub(super) seat: Arc<dyn Seat>,
    pub(super) held: IdMap<Held>,
    /// What waits for a handler, first come first served; of one key only what has its turn.
    pub(super) queue: VecDeque<EntryId>,
    pub(super) turns: Turns,
    /// How many of what is held stay here after a run, to be run again.
    pub(super) staying: usize,
    /// How many are being charged at the moment, in one call.
    pub(super) beginning: usize,
    pub(super) crew: Crew,
    pub(super) fingerprints: Fingerprints,
    pub(super) envelopes: Envelopes,
    /// What handlers have said, to be looked at one by one; kept for its room.
    pub(super) ended: Vec<Ended>,
    pub(super) acks: Lane,
    pub(super) others: Lane,
    /// What the broker refused, one by one, and when to ask again; `None` once asked again.
    pub(super) refused: IdMap<Option<Instant>>,
    pub(super) refusals: Backoff,
    /// Acks under way for deliveries whose work another one had already done.
    pub(super) acked_again: usize,
    pub(super) calls: Calls,
    pub(super) intake: Intake,
    /// The question that intake has under way.
    pub(super) asked: Option<Call>,
    /// How many a second read asks for, that is under way beside it.
    pub(super) ahead: Option<usize>,
    /// Whether the read under way has been told to end.
    pub(super) woken: bool,
    pub(super) next: Next,
    pub(super) leases: LeaseTable,
    _keeper: Keeper,
    reports: UnboundedReceiver<Report>,
    pub(super) health: Health,
    /// Whether handlers can run.
    pub(super) readiness: Readiness,
    /// Whether the broker takes writes, as it is known to all that talk to it.
    pub(super) writes: watch::Receiver<Writes>,
    pub(super) quarantine: Quarantine,
    pub(super) brim: Brim,
    pub(super) keeping: Keeping,
    pub(super) spilling: Spilling,
    pub(super) losses: Losses,
    pub(super) summary: Summary,
    pub(super) tell: Teller,
    pub(super) stop: Option<Stop>,
    pub(super) fatal: Option<Error>,
}

/// Joins the group, runs as far as `extent` says or until the signal, and leaves.
pub(crate) async fn run<S: Future<Output = ()>>(
    plan: &Arc<Plan>,
    backend: &dyn Backend,
    extent: Extent,
    signal: S,
    summary: &mut Summary,
) -> Result<(), Error> {
    let mut signal = std::pin::pin!(signal);
    let health = Health::new(plan.meters());
    let joined = join_unless(signal.as_mut(), plan, backend, &health).await;
    let Some(seat) = joined.map_err(|error| error.during(&plan.source))? else {
        return Ok(());
    };
    telemetry::joined(&plan.source, &plan.options.consumer);
    let run = Run::new(Arc::clone(plan), seat, extent, health)?;
    let (mut run, ended) = as_a_task(run, signal).await?;
    let ended = ended.map_err(|error| error.during(&plan.source));
    run.tell_of_all_losses();
    *summary = run.summary;
    match &ended {
        Ok(()) => {
            run.health.all_well();
            run.leave().await;
            telemetry::stopped(&plan.source, &plan.options.consumer);
        }
        Err(error) => telemetry::fatal(&plan.source, error),
    }
    ended
}

/// Runs as a task of its own, until its end. Who awaits a run is often no task, but the main thread: every
/// message would go from a worker thread to that one, and back to a worker with its handler.
async fn as_a_task<S: Future<Output = ()>>(
    mut run: Run,
    mut signal: Pin<&mut S>,
) -> Result<(Run, Result<(), Error>), Error> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let running = async move {
        let ended = run.until_its_end(std::pin::pin!(stopped.cancelled())).await;
        (run, ended)
    };
    // Ends with this future: dropping that is a crash.
    let mut task = JoinSet::new();
    task.spawn(running.with_current_subscriber().in_current_span());
    loop {
        tokio::select! {
            biased;
            () = &mut signal, if !stop.is_cancelled() => stop.cancel(),
            ended = task.join_next() => {
                return match ended.map(|ended| ended.map_err(JoinError::try_into_panic)) {
                    Some(Ok(ended)) => Ok(ended),
                    Some(Err(Ok(panic))) => resume_unwind(panic),
                    // The runtime ends, and everything with it.
                    Some(Err(Err(_))) | None => Err(Error::closed()),
                };
            }
        }
    }
}

impl Run {
    fn new(
        plan: Arc<Plan>,
        seat: Arc<dyn Seat>,
        extent: Extent,
        health: Health,
    ) -> Result<Self, Error> {
        let options = &plan.options;
        let (sender, reports) = unbounded_channel();
        let writes = health.writes();
        let leases = LeaseTable::default();
        let keeper = Keeper::start(
            Arc::clone(&seat),
            options.lease,
            leases.clone(),
            health.clone(),
            sender,
        )?;
        Ok(Self {
            held: IdMap::default(),
            queue: VecDeque::new(),
            turns: Turns::new(options.ordered_by.clone()),
            staying: 0,
            beginning: 0,
            crew: Crew::new(),
            fingerprints: Fingerprints::default(),
            envelopes: Envelopes::default(),
            ended: Vec::new(),
            acks: Lane::default(),
            others: Lane::default(),
            refused: IdMap::default(),
            refusals: Backoff::default(),
            acked_again: 0,
            calls: FuturesUnordered::new(),
            intake: Intake::new(extent, options.batch, options.block, Instant::now()),
            asked: None,
            ahead: None,
            woken: false,
            next: Next::Wait(None),
            leases,
            _keeper: keeper,
            reports,
            health,
            readiness: Readiness::new(options.breaker),
            writes,
            quarantine: Quarantine::new(seat.gate()),
            brim: Brim::default(),
            keeping: Keeping::of(options.dead_letter_limit.as_ref(), Instant::now()),
            spilling: Spilling::default(),
            losses: Losses::default(),
            summary: Summary::default(),
            tell: Teller::new(plan.meters()),
            stop: None,
            fatal: None,
            seat,
            plan,
        })
    }

    async fn until_its_end<S: Future<Output = ()>>(
        &mut self,
        mut signal: Pin<&mut S>,
    ) -> Result<(), Error> {
        let mut signalled = false;
        loop {
            self.tell_of_the_limit();
            let now = Instant::now();
            self.tell_of_losses(now);
            if let Some(error) = self.watch_the_drain(now) {
                return Err(error);
            }
            self.ask_again(now);
            if self.send_others(now) {
                // Before what runs next is charged: see `holds_back`.
                if let Poll::Ready(Some(answer)) = poll!(self.calls.next()) {
                    self.answered(answer);
                }
                yield_now().await;
            }
            self.queue.extend(self.turns.due(now));
            self.start_ready(now);
            if self.crew.set_to_work(now) == Load::Light {
                // Before the next read is sent: the first message need not wait for that.
                yield_now().await;
            }
            self.ask(now);
            self.make_room(now);
            self.spill(now);
            self.send_settlements(now);
            if self.is_over() {
                return self.fatal.take().map_or(Ok(()), Err);
            }
            self.tell.holds(self.held.len(), self.crew.running());
            self.tell.hand_over();
            let wake_at = self.wake_at(now);
            // In this order: what ends a message comes before what could bring it again.
            tokio::select! {
                biased;
                () = &mut signal, if !signalled => {
                    signalled = true;
                    self.stop(Instant::now());
                }
                Some(report) = self.reports.recv() => self.reported(report),
                Ok(()) = self.writes.changed() => {
                    if self.reads_nothing() {
                        self.wake();
                    }
                }
                () = self.crew.news() => self.runs_ended(),
                Some(answer) = self.calls.next() => self.answered(answer),
                // A hand whose thread is blocked has not told of what ended before.
                () = sleep_until(wake_at) => self.runs_ended(),
            }
        }
    }

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool {
        let no_more = self.stop.is_some() || self.next == Next::Done;
        // What it has in hand; but a disk that does not answer must not hold up who has had enough.
        let patient = !self.stop.as_ref().is_some_and(Stop::has_cancelled);
        // One that ends by itself leaves the queue within its limit.
        let wants = self.spills_at(Instant::now()).is_some() && self.spilling.is_wanted();
        let spills = (self.spilling.is_under_way() || wants) && patient;
        let nothing_comes = self.asked.is_none() && self.ahead.is_none();
        no_more && self.held.is_empty() && nothing_comes && self.acked_again == 0 && !spills
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let asking = match self.next {
            Next::Wait(until) if self.asked.is_none() && self.stop.is_none() => until,
            _ => None,
        };
        let refused = self.refused.values().flatten().min().copied();
        let refused = refused.filter(|_| !self.reads_nothing());
        let draining = self.stop.as_ref().map(Stop::next_step);
        let paused = match self.readiness.pace(now) {
            Pace::Paused(until) => Some(until),
            _ => None,
        };
        let losses = self.losses.tell_at();
        [
            asking,
            refused,
            draining,
            paused,
            losses,
            self.keeping.look_at().filter(|_| self.stop.is_none()),
            self.spills_at(now),
            self.acks.flush_at(),
            self.others.flush_at(),
            self.turns.next_due(),
            self.crew.look_at(now),
            self.intake.read_ends_at(self.asked).filter(|_| !self.woken),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now + Duration::from_secs(3_600))
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Tended(max, answer) => self.tended(max, answer),
            Answer::Read(reading, answer) => {
                if !reading.is_ahead {
                    // The next one may have to end early as well.
                    self.woken = false;
                }
                self.read_answered(reading, answer);
            }
            Answer::Counted(answer) => self.counted(answer),
            Answer::Begun(asked, answer) => self.begun(&asked, answer),
            Answer::Settled(part, batch, sent, answer) => self.settled(part, batch, sent, answer),
            Answer::AckedAgain => self.acked_again -= 1,
            Answer::MadeRoom(answer) => self.made_room(answer),
            Answer::Spilled(spilled) => self.spilled(spilled),
            Answer::Entered(pass) => self.entered(pass),
            Answer::EnteredAlone(pass) => self.entered_alone(pass),
            Answer::Woken => {
                self.woken = false;
                let paused = self.is_paused(Instant::now()) || self.reads_nothing();
                if self.stop.is_some() || paused {
                    self.wake();
                }
            }
        }
    }
}
