//! Starting runs: at once what was just read, after its charge what was taken over.

use std::sync::Arc;

use tokio::time::Instant;

use super::crew::Ended;
use super::execution::{Ran, Work, envelope};
use super::health::{Backoff, Health, Part};
use super::held::{Held, Stage};
use super::readiness::{Pace, Ticket};
use super::receipt::restoring;
use super::run::{Answer, Plan, Run};
use crate::backend::{Begun, Beside, Fence, Seat};
use crate::dead_letter::Reason;
use crate::error::{Error, ErrorKind};
use crate::gate::Pass;
use crate::message::Envelopes;
use crate::names::EntryId;
use crate::telemetry::{self, Meters};
use crate::verdict::History;

/// How many runs one call charges at most.
const MOST_BEGUN: usize = 100;

/// Charges runs, asking until it is answered, always with the same nonce.
async fn charge(
    seat: Arc<dyn Seat>,
    meters: Arc<Meters>,
    fences: Vec<Fence>,
    beside: Beside,
    nonce: String,
    health: Health,
) -> Answer {
    let mut backoff = Backoff::default();
    loop {
        let answer = seat.begin(&fences, beside, &nonce).await;
        match restoring(&*seat, &meters, answer).await {
            Err(error) if error.kind().is_transient() => {
                health.failing(Part::Begin, error);
                tokio::time::sleep(backoff.pause()).await;
            }
            answer => {
                health.well(Part::Begin);
                let answer = answer.and_then(|begun| all_of(begun, fences.len()));
                return Answer::Begun(fences, answer);
            }
        }
    }
}

/// An array of answers must be as long as what was asked.
pub(super) fn all_of<T>(answers: Vec<T>, asked: usize) -> Result<Vec<T>, Error> {
    if answers.len() == asked {
        return Ok(answers);
    }
    let got = answers.len();
    Err(Error::new(
        ErrorKind::Protocol,
        format!("reading {asked} answers, of which {got} came"),
    ))
}

/// What a hand needs to run a message, which runs from now on.
fn work(
    plan: &Plan,
    envelopes: &mut Envelopes,
    id: EntryId,
    held: &mut Held,
    ticket: Ticket,
    pass: Pass,
) -> Work {
    let source = Arc::clone(&plan.source);
    let attempt = held.history.failures.saturating_add(1);
    let envelope = envelopes.make(envelope(id, source, attempt, held.age, &held.fields));
    held.stage = Stage::Running(ticket, Arc::clone(&envelope));
    Work {
        runner: plan.runner.clone(),
        envelope,
        timeout: plan.options.timeout,
        pass,
    }
}

impl Run {
    /// Starts what may start: as many runs as there is concurrency for.
    // Not inlined: `make counts` knows it by its name.
    #[inline(never)]
    pub(super) fn start_ready(&mut self, now: Instant) {
        // Few at a time are many calls: what is about to end is waited for.
        let under_way = self.beginning > 0 || self.crew.is_about_to_end(now);
        let mut to_begin = Vec::new();
        // One for all that start now.
        let mut beside = None;
        while self.may_start(now) {
            let Some(&id) = self.queue.front() else { break };
            let queued = |held: &&mut Held| matches!(held.stage, Stage::Queued);
            let held = self.held.get_mut(&id).filter(queued);
            let Some(held) = held.filter(|_| self.turns.may_start(id)) else {
                self.queue.pop_front();
                continue;
            };
            if held.is_suspect(&self.plan.options.retry) {
                self.queue.pop_front();
                self.turns.start(id);
                self.quarantine.push(id);
                continue;
            }
            let needs_begin = held.needs_begin();
            // What becomes ready meanwhile goes together into the next call.
            if needs_begin && (under_way || to_begin.len() == MOST_BEGUN) {
                break;
            }
            if beside.is_none() {
                beside = self.quarantine.enter(&mut self.calls);
            }
            let Some(pass) = &beside else { break };
            self.queue.pop_front();
            self.turns.start(id);
            if needs_begin {
                held.pass = Some(pass.clone());
                to_begin.extend(self.prepare_begin(id));
            } else {
                let ticket = self.readiness.started();
                let (plan, spare) = (&self.plan, &mut self.envelopes);
                let work = work(plan, spare, id, held, ticket, pass.clone());
                self.crew.push(work);
            }
        }
        self.quarantine.give_back();
        if !to_begin.is_empty() {
            // In the order of the list that they are looked up in, together.
            to_begin.sort_unstable_by_key(|fence| fence.id);
            self.charge(to_begin, Beside::Others);
        }
        self.approach_the_gate(now);
    }

    /// What is to be charged for a message before its handler starts.
    pub(super) fn prepare_begin(&mut self, id: EntryId) -> Option<Fence> {
        let held = self.held.get_mut(&id)?;
        held.stage = Stage::Beginning;
        let fence = held.fence()?;
        // Its token is about to change: a renewal with the old one would seem lost.
        self.leases.remove(id);
        self.beginning += 1;
        Some(fence)
    }

    /// Charges these in one call.
    pub(super) fn charge(&mut self, fences: Vec<Fence>, beside: Beside) {
        self.calls.push(Box::pin(charge(
            Arc::clone(&self.seat),
            Arc::clone(self.tell.meters()),
            fences,
            beside,
            format!("{:08x}", fastrand::u32(..)),
            self.health.clone(),
        )));
    }

    /// Whether one more handler may be started.
    fn may_start(&self, now: Instant) -> bool {
        let taken = self.crew.running() + self.beginning;
        let paced = match self.readiness.pace(now) {
            Pace::Full => true,
            Pace::Probe => self.beginning == 0,
            Pace::Paused(_) | Pace::Probing => false,
        };
        paced && taken < self.plan.options.concurrency
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        matches!(self.readiness.pace(now), Pace::Paused(_))
    }

    pub(super) fn begun(&mut self, asked: &[Fence], answer: Result<Vec<Begun>, Error>) {
        self.beginning = 0;
        match answer {
            Ok(answers) => {
                for (fence, answer) in asked.iter().zip(answers) {
                    self.begun_one(*fence, answer);
                }
            }
            Err(error) => {
                for fence in asked {
                    self.release_slot(fence.id);
                }
                self.fail(error);
            }
        }
    }

    fn begun_one(&mut self, fence: Fence, answer: Begun) {
        let id = fence.id;
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        match answer {
            Begun::Started {
                token,
                failures,
                crashes,
            } => {
                held.begun(token, History { failures, crashes });
                if let Some(fence) = held.fence() {
                    self.leases.insert(fence);
                }
                if self.quarantine.is_occupied() {
                    telemetry::runs_alone(&self.plan.source, id, crashes);
                }
                self.run_charged(id);
            }
            // Trimmed: this process alone still has the bytes, so it runs.
            Begun::Gone if held.tombstone.is_some() => self.run_charged(id),
            Begun::Died(died) if died.reason == Reason::Trimmed => {
                self.brim.dropped(died.dropped);
                held.tombstone = Some(died.dead_letter);
                self.tell.trimmed(id, died.dead_letter);
                self.run_charged(id);
            }
            Begun::Lost => {
                self.lost(id);
                self.release_slot(id);
            }
            Begun::Gone => {
                self.tell.gone(id);
                self.release_slot(id);
            }
            Begun::Died(died) => {
                self.gave_up(&died);
                self.release_slot(id);
            }
            Begun::Full => {
                self.keep_for_room(id);
                self.release_slot(id);
            }
            Begun::Refused(error) => {
                held.stage = Stage::Queued;
                held.pass = None;
                self.quarantine.leave(id);
                self.leases.insert(fence);
                self.refuse(id, error);
            }
        }
    }

    /// The broker refused this one: it is asked again later, unless that cannot help.
    pub(super) fn refuse(&mut self, id: EntryId, error: Error) {
        if error.kind().is_transient() {
            let until = Instant::now() + self.refusals.pause();
            self.refused.insert(id, Some(until));
            self.health.failing(Part::Refused, error);
        } else {
            self.release_slot(id);
            self.fail(error);
        }
    }

    /// Asks again what was refused, when its pause is over.
    pub(super) fn ask_again(&mut self, now: Instant) {
        // While nothing is written there is nothing to ask for.
        if self.refused.is_empty() || self.reads_nothing() {
            return;
        }
        let mut due = Vec::new();
        for (id, until) in &mut self.refused {
            if until.is_some_and(|until| until <= now) {
                *until = None;
                due.push(*id);
            }
        }
        for id in due {
            match self.held.get(&id).map(|held| &held.stage) {
                Some(Stage::Queued) => self.queue.push_back(id),
                Some(Stage::Settling(_)) => self.send_again(id),
                _ => {}
            }
        }
    }

    /// Runs what was charged, unless everything has changed meanwhile.
    fn run_charged(&mut self, id: EntryId) {
        match self.readiness.pace(Instant::now()) {
            Pace::Full | Pace::Probe if self.stop.is_none() => self.run(id),
            _ => self.hand_back(id),
        }
    }

    pub(super) fn run(&mut self, id: EntryId) {
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        // No handler runs without one.
        let Some(pass) = held.pass_of_its_task() else {
            return self.hand_back(id);
        };
        let ticket = self.readiness.started();
        let (plan, spare) = (&self.plan, &mut self.envelopes);
        self.crew.push(work(plan, spare, id, held, ticket, pass));
    }

    /// Takes what handlers have said.
    // Not inlined: `make counts` knows it by its name.
    #[inline(never)]
    pub(super) fn runs_ended(&mut self) {
        let mut ended = std::mem::take(&mut self.ended);
        self.crew.take_ended(&mut ended);
        let now = Instant::now();
        for Ended { id, ran, took } in ended.drain(..) {
            if matches!(ran, Ran::Spoke(_)) {
                self.tell.handled(took);
            }
            self.spoke(id, ran, now);
        }
        self.ended = ended;
    }
}
