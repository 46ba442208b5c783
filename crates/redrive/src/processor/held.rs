//! What a run holds: each message once, from its receipt until the broker has confirmed its end.

use std::sync::Arc;
use std::time::Duration;

use super::readiness::Ticket;
use crate::backend::{Charge, Delivery, Fence, How, Lease, Settlement};
use crate::gate::Pass;
use crate::message::{Envelope, Fields};
use crate::names::EntryId;
use crate::retry::RetryPolicy;
use crate::verdict::History;

/// A message in this run's hands. It takes a slot until it is removed.
#[derive(Debug)]
pub(crate) struct Held {
    /// `None` while a call that settles it is under way.
    pub(crate) lease: Option<Lease>,
    /// The lease's token, also while it is under way.
    pub(crate) token: u64,
    pub(crate) fields: Fields,
    pub(crate) history: History,
    /// Since it was added, when it was received.
    pub(crate) age: Duration,
    pub(crate) stage: Stage,
    pub(crate) standing: Standing,
    /// What stands for it in the dead-letter queue since it was seen trimmed.
    pub(crate) tombstone: Option<EntryId>,
    /// A newer delivery of the same entry, which came while this one was not yet at its end. An
    /// id is never held twice: it is looked at when this one has ended.
    pub(crate) again: Option<Box<Delivery>>,
    /// The right to run its handler: handed to the task that does, or, where it runs alone, kept
    /// with it until its end is confirmed.
    pub(crate) pass: Option<Pass>,
    /// It stays here after a run, to be run again.
    pub(crate) stays: bool,
}

/// Where a held message is on its way.
#[derive(Debug)]
pub(crate) enum Stage {
    Queued,
    /// Its run is being charged.
    Beginning,
    /// Its handler runs, since this state of things, on this.
    Running(Ticket, Arc<Envelope>),
    /// Its end waits to be sent, or for the answer.
    Settling(Ending),
}

/// Whether the lease is still ours, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Ours,
    /// What it fails with is nobody's business any more; its success still is.
    Lost,
}

/// How a held message ends.
#[derive(Debug)]
pub(crate) struct Ending {
    /// `None` while a call that settles it is under way.
    pub(crate) how: Option<How>,
    /// Why the handler said it need not be done.
    pub(crate) discarded: Option<String>,
}

/// How often a settlement may have reached the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    AtMostOnce,
    /// An answer was lost: that it is gone may be our own doing.
    Again,
}

impl Held {
    pub(crate) fn new(delivery: Delivery, age: Duration) -> Self {
        Self {
            history: History {
                failures: delivery.failures,
                crashes: delivery.crashes,
            },
            tombstone: delivery.lease.tombstone,
            token: delivery.lease.fence.token,
            lease: Some(delivery.lease),
            fields: delivery.fields,
            age,
            stage: Stage::Queued,
            standing: Standing::Ours,
            again: None,
            pass: None,
            stays: false,
        }
    }

    /// The pass of the task that runs it.
    pub(crate) fn pass_of_its_task(&mut self) -> Option<Pass> {
        match &self.pass {
            Some(pass) if pass.is_alone() => Some(pass.clone()),
            _ => self.pass.take(),
        }
    }

    /// Whether one more crash of it would be too many.
    pub(crate) fn is_suspect(&self, policy: &RetryPolicy) -> bool {
        self.history.crashes.saturating_add(1) >= policy.max_crashes
    }

    /// Tells its handler, if one runs, that this run of the message no longer counts.
    pub(crate) fn cancel(&self) {
        if let Stage::Running(_, envelope) = &self.stage {
            envelope.cancel.cancel();
        }
    }

    pub(crate) fn fence(&self) -> Option<Fence> {
        self.lease.as_ref().map(|lease| lease.fence)
    }

    /// Whether its run has to be charged first. A trimmed one is no longer pending: there is
    /// nothing left to charge, only bytes that this process alone still has.
    pub(crate) fn needs_begin(&self) -> bool {
        let taken_over = self
            .fence()
            .is_some_and(|fence| fence.charge == Charge::TakenOver);
        taken_over && self.tombstone.is_none()
    }

    /// Takes over the rights of a newer delivery.
    pub(crate) fn adopt(&mut self, delivery: Delivery) {
        self.history = History {
            failures: delivery.failures,
            crashes: delivery.crashes,
        };
        self.token = delivery.lease.fence.token;
        self.lease = Some(delivery.lease);
    }

    /// How it ends: to be sent. Answers the envelope of its run, if it ran.
    pub(crate) fn ends(&mut self, how: How, discarded: Option<String>) -> Option<Arc<Envelope>> {
        let ending = Ending {
            how: Some(how),
            discarded,
        };
        match std::mem::replace(&mut self.stage, Stage::Settling(ending)) {
            Stage::Running(_, envelope) => Some(envelope),
            _ => None,
        }
    }

    /// What to send for its end, if that is not under way.
    pub(crate) fn settlement(&mut self) -> Option<Settlement> {
        let Stage::Settling(ending) = &mut self.stage else {
            return None;
        };
        let how = ending.how.take()?;
        let mut lease = self.lease.take()?;
        lease.tombstone = self.tombstone;
        Some(Settlement {
            lease,
            fields: self.fields.clone(),
            how,
        })
    }

    /// It has come back, to be sent again.
    pub(crate) fn unsettled(&mut self, settlement: Settlement) {
        self.lease = Some(settlement.lease);
        if let Stage::Settling(ending) = &mut self.stage {
            ending.how = Some(settlement.how);
        }
    }

    /// It stays here after a run that did not succeed, to be begun again: closed at the broker, so
    /// that nothing is owed for it until then.
    pub(crate) fn kept(&mut self, mut lease: Lease, how: &How) {
        if matches!(how, How::Retry { .. }) {
            self.history.failures = self.history.failures.saturating_add(1);
        }
        lease.fence.charge = Charge::TakenOver;
        self.lease = Some(lease);
        self.stage = Stage::Queued;
        if let Some(again) = self.again.take()
            && again.lease.fence.token > self.token
        {
            self.adopt(*again);
        }
    }

    /// Its run was charged, under a new token.
    pub(crate) fn begun(&mut self, token: u64, history: History) {
        self.history = history;
        self.token = token;
        if let Some(lease) = &mut self.lease {
            lease.fence.token = token;
            lease.fence.charge = Charge::Begun;
        }
        if self
            .again
            .as_ref()
            .is_some_and(|again| again.lease.fence.token <= token)
        {
            self.again = None;
        }
    }
}
