//! The course of a campaign: it begins, waits, is told to wait or to end, and stops itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::DeadLetterQueue;
use super::options::ReplayOptions;
use super::patience::Patience;
use super::recording::Recording;
use crate::backend::{Keep, Mark, Opened};
use crate::campaign::{Campaign, CampaignName, CampaignState, Plan};
use crate::error::{Error, ErrorKind};
use crate::names::EntryId;
use crate::rule::{Rule, RuleValue};
use crate::selection::Selection;

/// How often a campaign is asked whether it may go on, and while it waits for an outcome.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// A share is one of so many at least, where there is no canary.
const FEW: u64 = 20;
/// The part of the time that goes into finding out what became of it: a tenth.
const CHECKING: u32 = 10;

/// When a campaign stops itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AbortRule(Rule);

impl AbortRule {
    pub(super) fn new(rule: Rule) -> Result<Self, Error> {
        let most = match rule.value() {
            RuleValue::Number(_) => Some(f64::INFINITY),
            RuleValue::Percent(_) => Some(100.0),
            _ => None,
        };
        let named = rule.name() == "dead-again" && rule.is_of_too_much();
        // One that stops it before anything died, or whatever dies, is a slip of the pen.
        if named && most.is_some_and(|most| rule.holds(most) && !rule.holds(0.0)) {
            return Ok(Self(rule));
        }
        let doing = format!("reading when a campaign is to stop: {:?}", rule.to_string());
        Err(Error::new(ErrorKind::Invalid, doing).hint(
            "it is how many died again, or which share: dead-again>=3 or dead-again>5%; \
             compared by > or >=, more than nothing and no more than 100%",
        ))
    }

    /// Whether too many died again. A share is of those whose outcome is known, of so many at least.
    fn is_broken(&self, told: &Campaign, least: u64) -> bool {
        let dead = told.dead_again as f64;
        match self.0.value() {
            RuleValue::Percent(_) => {
                let known = told.succeeded + told.dead_again;
                self.0.holds(100.0 * dead / known.max(least).max(1) as f64)
            }
            _ => self.0.holds(dead),
        }
    }
}

/// What a campaign does at this moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum CampaignStep {
    /// It puts back.
    #[default]
    Replaying,
    /// It waits for who paused it.
    Paused,
    /// It waits for the outcome of its canary, of which this is known.
    Canary(Box<Campaign>),
    /// It was ended: stopped by its rule, with what is known of it, or aborted.
    Ended(CampaignState, Option<Box<Campaign>>),
}

/// What a campaign does, seen from beside it: of a [`Replaying`](crate::Replaying) that somebody else
/// waits for.
#[derive(Clone, Debug)]
pub struct CampaignWatch {
    name: CampaignName,
    step: Arc<Mutex<CampaignStep>>,
}

impl CampaignWatch {
    fn of(name: CampaignName) -> Self {
        Self {
            name,
            step: Arc::default(),
        }
    }

    /// The name of the campaign, which is there once something is put back.
    #[must_use]
    pub fn name(&self) -> &CampaignName {
        &self.name
    }

    /// What it does at this moment.
    #[must_use]
    pub fn now(&self) -> CampaignStep {
        self.step
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, step: CampaignStep) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }
}

/// A campaign on its way.
#[derive(Debug)]
pub(super) struct Course {
    queue: DeadLetterQueue,
    plan: Plan,
    rule: Option<AbortRule>,
    pub(super) watch: CampaignWatch,
    opened: bool,
    /// What had a higher id when it began is not its own; `None` where it has not begun.
    pub(super) newest: Option<EntryId>,
    /// How many it had put back before this command.
    pub(super) before: u64,
    /// And with it.
    pub(super) replayed: u64,
    /// How many were selected, as far as this command came.
    pub(super) selected: u64,
    /// Until it is known what became of so many it waits.
    canary: Option<u64>,
    looked: Option<Instant>,
    /// When it is to be asked next what became of it.
    check: Option<Instant>,
    pub(super) ended: Option<CampaignState>,
}

impl Course {
    /// That of the options, begun or not; `None` where they name no campaign.
    pub(super) async fn of(
        queue: &DeadLetterQueue,
        selection: &Selection,
        options: &ReplayOptions,
        recording: &mut Recording,
    ) -> Result<Option<Self>, Error> {
        let Some(name) = options.campaign.clone() else {
            return Ok(None);
        };
        let rule = options.abort_if.clone();
        let watch = CampaignWatch::of(name.clone());
        let mut course = Self {
            queue: queue.clone(),
            plan: Plan {
                name,
                selection: selection.to_string(),
                target: options.target.clone(),
                rate: options.rate.map(|rate| rate.to_string()),
                canary: options.canary,
                abort_if: rule.as_ref().map(|AbortRule(rule)| rule.to_string()),
                who: queue.audit.who().map(str::to_owned),
                because: queue.audit.reason().map(str::to_owned),
            },
            rule,
            watch,
            opened: false,
            newest: None,
            before: 0,
            replayed: 0,
            selected: 0,
            canary: options.canary.filter(|many| *many > 0),
            looked: None,
            check: None,
            ended: None,
        };
        let backend = queue.broker.backend();
        let mut patience = Patience::default();
        let known = loop {
            match backend.campaign(&queue.stream, &course.plan.name).await {
                Ok(known) => break known,
                Err(error) => patience.with(error).await?,
            }
        };
        // It goes on where it was. One that is new begins with the first that it puts back.
        if let Some(known) = known {
            // What will be refused does not begin.
            if course.plan.goes_on_with(&known) {
                recording.begin().await?;
            }
            course.open().await?;
            course.before = known.replayed.len() as u64;
            course.replayed = course.before;
        }
        Ok(Some(course))
    }

    /// How many more a limit allows: that of a campaign counts what it has put back before. Copies stay
    /// where they are selected, and are counted when they are met.
    pub(super) fn counted(&self, keep: Keep) -> usize {
        match keep {
            Keep::Remove => usize::try_from(self.before).unwrap_or(usize::MAX),
            Keep::Copy => 0,
        }
    }

    /// How many orders may be carried out, of so many.
    pub(super) fn allows(&self, orders: usize) -> usize {
        let left = self.canary.map(|many| many.saturating_sub(self.replayed));
        left.map_or(orders, |left| {
            orders.min(usize::try_from(left).unwrap_or(usize::MAX))
        })
    }

    /// Begins, or goes on, before the first is put back.
    pub(super) async fn open(&mut self) -> Result<(), Error> {
        if self.opened {
            return Ok(());
        }
        let backend = self.queue.broker.backend();
        let mut patience = Patience::default();
        let opened = loop {
            match backend.open_campaign(&self.queue.stream, &self.plan).await {
                Ok(opened) => break opened,
                Err(error) => patience.with(error).await?,
            }
        };
        match opened {
            Opened::Open { newest } => {
                self.newest = Some(newest);
                self.opened = true;
                Ok(())
            }
            Opened::Ended(state) => Err(self
                .refused(format_args!("which is {}", state.as_str()))
                .hint("a campaign that was ended does not go on: give this one another name")),
            Opened::Other { selection, target } => {
                let to = if target.is_empty() {
                    String::new()
                } else {
                    format!(" to {target}")
                };
                let what = format_args!("which is about another selection: {selection}{to}");
                Err(self.refused(what).hint(
                    "it goes on with the selection that it began with, times written as instants; \
                     for another one take another name",
                ))
            }
        }
    }

    fn refused(&self, what: std::fmt::Arguments<'_>) -> Error {
        let doing = format!("going on with the campaign {}, {what}", self.plan.name);
        Error::new(ErrorKind::Refused, doing)
    }

    /// Waits until it may go on, or has ended. Nothing is under way meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub(super) async fn turn(&mut self) -> Result<(), Error> {
        while self.opened && self.ended.is_none() {
            match self.look().await? {
                CampaignState::Paused => self.watch.set(CampaignStep::Paused),
                CampaignState::Running | CampaignState::Done => {
                    if !self.has_to_wait().await? {
                        break;
                    }
                }
                state @ (CampaignState::Aborted | CampaignState::Stopped) => {
                    self.ended = Some(state);
                    self.watch.set(CampaignStep::Ended(state, None));
                    break;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// How it stands, asked now and then; the command gives its sign of life by it.
    async fn look(&mut self) -> Result<CampaignState, Error> {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(CampaignState::Running);
        }
        let state = self.mark(None).await?;
        if state == CampaignState::Running {
            self.looked = Some(Instant::now());
        }
        Ok(state)
    }

    /// Tells how far it is, and how it stands from now on.
    async fn mark(&self, state: Option<CampaignState>) -> Result<CampaignState, Error> {
        let mark = Mark {
            state,
            selected: Some(self.before + self.selected),
        };
        let backend = self.queue.broker.backend();
        let mut patience = Patience::default();
        loop {
            let marked = backend.mark_campaign(&self.queue.stream, &self.plan.name, mark);
            match marked.await {
                Ok(Some(before)) => return Ok(before),
                Ok(None) => {
                    return Err(self
                        .refused(format_args!("which is not there any more"))
                        .hint("what is put back under its name could not be counted"));
                }
                Err(error) => patience.with(error).await?,
            }
        }
    }

    /// Whether it waits for its canary; stops it when too many died again.
    async fn has_to_wait(&mut self) -> Result<bool, Error> {
        let of_canary = self.canary.filter(|many| self.replayed >= *many);
        let due = self.rule.is_some() && self.check.is_none_or(|at| Instant::now() >= at);
        if of_canary.is_none() && !due {
            self.watch.set(CampaignStep::Replaying);
            return Ok(false);
        }
        let began = Instant::now();
        let mut patience = Patience::default();
        let told = loop {
            match self.queue.campaign(&self.plan.name).await {
                Ok(told) => break told,
                Err(error) => patience.with(error).await?,
            }
        };
        let Some(told) = told else {
            return Ok(false);
        };
        self.check = Some(Instant::now() + (began.elapsed() * CHECKING).max(LOOK));
        let least = self.plan.canary.filter(|many| *many > 0).unwrap_or(FEW);
        if let Some(rule) = &self.rule
            && rule.is_broken(&told, least)
        {
            self.mark(Some(CampaignState::Stopped)).await?;
            self.ended = Some(CampaignState::Stopped);
            let ended = CampaignStep::Ended(CampaignState::Stopped, Some(Box::new(told)));
            self.watch.set(ended);
            return Ok(false);
        }
        if of_canary.is_some() && told.waiting > 0 {
            self.watch.set(CampaignStep::Canary(Box::new(told)));
            return Ok(true);
        }
        if of_canary.is_some() {
            self.canary = None;
        }
        self.watch.set(CampaignStep::Replaying);
        Ok(false)
    }

    /// There is nothing more to put back. Where that was no more than the canary, there is still its
    /// outcome to wait for, and this says so.
    pub(super) async fn finish(&mut self) -> Result<Finished, Error> {
        if !self.opened || self.ended.is_some() {
            return Ok(Finished::Done);
        }
        if self.canary.is_some() && self.replayed > 0 {
            self.canary = Some(self.replayed);
            return Ok(Finished::NotYet);
        }
        self.mark(Some(CampaignState::Done)).await?;
        self.ended = Some(CampaignState::Done);
        self.watch
            .set(CampaignStep::Ended(CampaignState::Done, None));
        Ok(Finished::Done)
    }

    pub(super) fn name(&self) -> &CampaignName {
        &self.plan.name
    }
}

pub(super) enum Finished {
    Done,
    NotYet,
}
