//! Quarantine: a message one crash short of too many runs alone, so that it alone can be blamed.
//!
//! Each handler runs inside the gate of its process, with a pass that ends with its task. A suspect
//! waits until all have ended, and keeps the others outside until its own end is confirmed.

use std::collections::VecDeque;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::held::Stage;
use super::readiness::Pace;
use super::run::{Answer, Calls, Run};
use crate::backend::Beside;
use crate::gate::{Gate, Pass};
use crate::names::EntryId;

/// The suspects of a run, and where it stands before the gate.
pub(super) struct Quarantine {
    gate: Gate,
    /// Suspects whose turn has come, the first first. Beside the queue, so that what comes behind
    /// them starts until they are at the gate.
    waiting: VecDeque<EntryId>,
    at_gate: AtGate,
    /// Whether a pass beside others is being waited for.
    entering: bool,
    /// The pass that was waited for. It is used at once or given back.
    entered: Option<Pass>,
}

/// One suspect of a run at a time: between two of them the others have their turn.
enum AtGate {
    Nobody,
    /// Dropping it ends the waiting.
    Waits {
        _until: DropGuard,
    },
    Inside(EntryId),
}

impl Quarantine {
    pub(super) fn new(gate: Gate) -> Self {
        Self {
            gate,
            waiting: VecDeque::new(),
            at_gate: AtGate::Nobody,
            entering: false,
            entered: None,
        }
    }

    /// Whether a suspect of this run keeps all others outside.
    pub(super) fn is_occupied(&self) -> bool {
        matches!(self.at_gate, AtGate::Inside(_))
    }

    pub(super) fn push(&mut self, id: EntryId) {
        self.waiting.push_back(id);
    }

    /// This one neither waits any more nor is inside.
    pub(super) fn leave(&mut self, id: EntryId) {
        if !self.waiting.is_empty() {
            self.waiting.retain(|waiting| *waiting != id);
        }
        if matches!(self.at_gate, AtGate::Inside(inside) if inside == id) {
            self.at_gate = AtGate::Nobody;
        }
    }

    /// None of those that wait is to be run here.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        if matches!(self.at_gate, AtGate::Waits { .. }) {
            self.at_gate = AtGate::Nobody;
        }
    }

    /// A pass for handlers beside others. If there is none now, the run is woken when there is.
    pub(super) fn enter(&mut self, calls: &mut Calls) -> Option<Pass> {
        let pass = self.entered.take().or_else(|| self.gate.try_enter());
        if pass.is_none() && !self.entering {
            self.entering = true;
            let gate = self.gate.clone();
            calls.push(Box::pin(async { Answer::Entered(gate.enter().await) }));
        }
        pass
    }

    /// A pass that came and was not used is given back.
    pub(super) fn give_back(&mut self) {
        self.entered = None;
    }
}

impl Run {
    pub(super) fn entered(&mut self, pass: Pass) {
        self.quarantine.entering = false;
        self.quarantine.entered = Some(pass);
    }

    /// Sends the first suspect to the gate, if none is there.
    pub(super) fn approach_the_gate(&mut self, now: Instant) {
        let quarantine = &self.quarantine;
        let none_there = matches!(quarantine.at_gate, AtGate::Nobody);
        if quarantine.waiting.is_empty() || !none_there || !self.may_run_alone(now) {
            return;
        }
        let given_up = CancellationToken::new();
        let gate = quarantine.gate.clone();
        self.quarantine.at_gate = AtGate::Waits {
            _until: given_up.clone().drop_guard(),
        };
        self.calls.push(Box::pin(async move {
            Answer::EnteredAlone(tokio::select! {
                biased;
                () = given_up.cancelled() => None,
                pass = gate.enter_alone() => Some(pass),
            })
        }));
    }

    /// Nothing else runs in this process: the first suspect may, if it is still to be run.
    pub(super) fn entered_alone(&mut self, pass: Option<Pass>) {
        let Some(pass) = pass else { return };
        self.quarantine.at_gate = AtGate::Nobody;
        if !self.may_run_alone(Instant::now()) {
            return;
        }
        while let Some(id) = self.quarantine.waiting.pop_front() {
            let Some(held) = self.held.get_mut(&id) else {
                continue;
            };
            if !matches!(held.stage, Stage::Queued) {
                continue;
            }
            held.pass = Some(pass);
            self.quarantine.at_gate = AtGate::Inside(id);
            if held.needs_begin() {
                let fences = self.prepare_begin(id).into_iter().collect();
                self.charge(fences, Beside::Nobody);
            } else {
                // Trimmed: there is nothing left to charge.
                self.run(id);
            }
            return;
        }
    }

    /// Whether the pace allows it. Concurrency does: nothing else runs then.
    fn may_run_alone(&self, now: Instant) -> bool {
        let pace = self.readiness.pace(now);
        self.stop.is_none() && self.beginning == 0 && matches!(pace, Pace::Full | Pace::Probe)
    }
}
