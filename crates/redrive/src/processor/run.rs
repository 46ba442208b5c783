//! One run of a processor: a loop that owns all state, so that nothing needs a lock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::drain::Stop;
use super::execution::{Ran, Runner};
use super::health::{Backoff, Health, Part, Writes};
use super::held::{Held, Sent};
use super::intake::{Call, Extent, Intake, Next, View};
use super::joining::join_unless;
use super::keeping::Keeping;
use super::leases::{Keeper, LeaseTable, Report};
use super::losses::Losses;
use super::options::ProcessorOptions;
use super::overflow::Brim;
use super::quarantine::Quarantine;
use super::readiness::{Pace, Readiness};
use super::receipt::restoring;
use super::settler::Lane;
use super::spilling::{Spilled, Spilling};
use super::totals::Summary;
use super::turns::Turns;
use crate::backend::{Backend, Begun, Delivery, Fence, Seat, Settled, Settlement, Tended};
use crate::error::Error;
use crate::gate::Pass;
use crate::names::{EntryId, ProcessToken, Source};
use crate::telemetry;

/// How often a read that is to end is told so.
const WAKE_AGAIN: Duration = Duration::from_millis(50);

/// What all runs of one processor have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    /// Of this processor, whichever of its runs it is.
    pub(crate) token: ProcessToken,
    pub(crate) options: ProcessorOptions,
    pub(crate) runner: Runner,
}

/// What the broker has answered.
pub(super) enum Answer {
    Tended(usize, Result<Tended, Error>),
    Read(Option<Duration>, Result<Vec<Delivery>, Error>),
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

/// The state of a run. Dropping it is a crash: its tasks and its keeper end, nothing is handed
/// back.
pub(super) struct Run {
    pub(super) plan: Arc<Plan>,
    pub(super) seat: Arc<dyn Seat>,
    pub(super) held: HashMap<EntryId, Held>,
    /// What waits for a handler, first come first served; of one key only what has its turn.
    pub(super) queue: VecDeque<EntryId>,
    pub(super) turns: Turns,
    /// How many are being charged at the moment, in one call.
    pub(super) beginning: usize,
    pub(super) tasks: JoinSet<Ran>,
    pub(super) running: HashMap<task::Id, EntryId>,
    pub(super) acks: Lane,
    pub(super) others: Lane,
    /// What the broker refused, one by one, and when to ask again; `None` once asked again.
    pub(super) refused: HashMap<EntryId, Option<Instant>>,
    pub(super) refusals: Backoff,
    /// Acks under way for deliveries whose work another one had already done.
    pub(super) acked_again: usize,
    pub(super) calls: FuturesUnordered<BoxFuture<'static, Answer>>,
    pub(super) intake: Intake,
    /// The question that intake has under way.
    pub(super) asked: Option<Call>,
    /// Whether the read under way has been told to end.
    woken: bool,
    next: Next,
    pub(super) leases: LeaseTable,
    _keeper: Keeper,
    reports: UnboundedReceiver<Report>,
    pub(super) health: Health,
    /// Whether handlers can run.
    pub(super) readiness: Readiness,
    /// Whether the broker takes writes, as it is known to all that talk to it.
    writes: watch::Receiver<Writes>,
    pub(super) quarantine: Quarantine,
    pub(super) brim: Brim,
    pub(super) keeping: Keeping,
    pub(super) spilling: Spilling,
    pub(super) losses: Losses,
    pub(super) summary: Summary,
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
    let health = Health::new(plan.source.clone());
    let joined = join_unless(signal.as_mut(), plan, backend, &health).await;
    let Some(seat) = joined.map_err(|error| error.during(&plan.source))? else {
        return Ok(());
    };
    telemetry::joined(&plan.source, &plan.options.consumer);
    let mut run = Run::new(Arc::clone(plan), seat, extent, health)?;
    let ended = run.until_its_end(signal).await;
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
            held: HashMap::new(),
            queue: VecDeque::new(),
            turns: Turns::new(options.ordered_by.clone()),
            beginning: 0,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            acks: Lane::default(),
            others: Lane::default(),
            refused: HashMap::new(),
            refusals: Backoff::default(),
            acked_again: 0,
            calls: FuturesUnordered::new(),
            intake: Intake::new(extent, options.batch, options.block, Instant::now()),
            asked: None,
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
            self.queue.extend(self.turns.due(now));
            self.start_ready(now);
            self.ask(now);
            self.make_room(now);
            self.spill(now);
            self.send_settlements(now);
            if self.is_over() {
                return self.fatal.take().map_or(Ok(()), Err);
            }
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
                Some(ended) = self.tasks.join_next_with_id() => {
                    self.task_ended(ended);
                    while let Some(ended) = self.tasks.try_join_next_with_id() {
                        self.task_ended(ended);
                    }
                }
                Some(answer) = self.calls.next() => self.answered(answer),
                () = sleep_until(wake_at) => {}
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
        no_more && self.held.is_empty() && self.asked.is_none() && self.acked_again == 0 && !spills
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let asking = match self.next {
            Next::Wait(until) if self.asked.is_none() => until,
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
            self.turns.next_due(),
            self.intake.read_ends_at(self.asked).filter(|_| !self.woken),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now + Duration::from_secs(3_600))
    }

    /// Asks the broker for more, if it is time.
    fn ask(&mut self, now: Instant) {
        if self.stop.is_some() {
            return;
        }
        if let Some(call) = self.asked {
            if self.intake.could_end(call, self.held.len(), now) {
                self.wake();
            }
            return;
        }
        self.next = self.intake.next(self.view(now));
        let Next::Ask(call) = self.next else { return };
        self.asked = Some(call);
        let seat = Arc::clone(&self.seat);
        let source = self.plan.source.clone();
        let kept = match call {
            Call::CountPending => self.brim.kept().clone(),
            _ => BTreeSet::new(),
        };
        self.calls.push(Box::pin(async move {
            match call {
                Call::Tend { max, cursor } => {
                    let answer = seat.tend(max, cursor).await;
                    Answer::Tended(max, restoring(&*seat, &source, answer).await)
                }
                Call::Read { max, block } => {
                    let answer = seat.receive(max, block).await;
                    Answer::Read(block, restoring(&*seat, &source, answer).await)
                }
                Call::CountPending => Answer::Counted(seat.pending(&kept).await),
            }
        }));
    }

    fn view(&self, now: Instant) -> View {
        let options = &self.plan.options;
        let free = options.slots().saturating_sub(self.held.len());
        // Few messages a command are many commands: wait for more room, unless none is coming
        // soon.
        let enough = (options.batch.min(options.slots()) / 2).max(1);
        let none_soon = self.queue.is_empty() && self.acks.is_idle();
        let none_waits = self.queue.is_empty() && self.beginning == 0;
        let (free, room, paused_until) = match self.readiness.pace(now) {
            Pace::Full => (free, free >= enough || none_soon, None),
            Pace::Probe => (free.min(1), none_waits, None),
            Pace::Probing => (0, false, None),
            Pace::Paused(until) => (0, false, Some(until)),
        };
        View {
            now,
            free,
            held: self.held.len(),
            room: free > 0 && room,
            paused_until,
            new_first: self.readiness.is_open(),
            reads_nothing: self.reads_nothing(),
        }
    }

    /// Whether nothing new is read, because the broker refuses writes.
    pub(super) fn reads_nothing(&self) -> bool {
        *self.writes.borrow() == Writes::Refused
    }

    /// Whether intake waits for nothing but slots.
    pub(super) fn needs_room(&self) -> bool {
        self.asked.is_none() && self.next == Next::NeedsRoom
    }

    /// Ends a read that waits.
    pub(super) fn wake(&mut self) {
        if matches!(self.asked, Some(Call::Read { .. })) && !self.woken {
            self.woken = true;
            let seat = Arc::clone(&self.seat);
            self.calls.push(Box::pin(async move {
                seat.wake().await;
                // It does nothing to a read that is still on its way to waiting: said again then.
                tokio::time::sleep(WAKE_AGAIN).await;
                Answer::Woken
            }));
        }
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Tended(max, answer) => self.tended(max, answer),
            Answer::Read(block, answer) => {
                // The next one may have to end early as well.
                self.woken = false;
                self.read_answered(block, answer);
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
