//! The steps: what a worker does next, and what happens to it from outside.

use std::time::Duration;

use super::Simulation;
use super::truth::{Idle, MAX_ATTEMPTS};
use super::worker::{Doubt, Mode, Stage, Worker};
use crate::backend::{Beside, Charge, Failed, Fault, How, Waits};
use crate::dead_letter::Reason;
use crate::message::Fields;
use crate::names::EntryId;

/// How many a worker holds at most.
pub(super) const SLOTS: usize = 24;
/// Longer than a simulation takes: what waits is due when a step says so.
const LATER: Duration = Duration::from_secs(3_600);

impl Simulation {
    pub(super) async fn step(&mut self) {
        match self.rng.u32(..1_000) {
            0..40 => {
                let many = self.rng.u64(1..40);
                self.add(many).await;
            }
            40..100 => self.foreign_step().await,
            100..132 => self.due_times_pass().await,
            132..150 => self.trim_one().await,
            150..166 => self.stall().await,
            166..174 => {
                let w = self.any_worker();
                self.kill(w).await;
            }
            174..180 => {
                let w = self.any_worker();
                let name = self.workers[w].name.clone();
                self.note(format_args!("{name} is told to stop"));
                self.truth.tally.saw("sigterm");
                self.workers[w].mode = Mode::Leaving;
            }
            _ => {
                let w = self.any_worker();
                if self.workers[w].frozen > 0 {
                    self.workers[w].frozen -= 1;
                } else {
                    self.worker_step(w).await;
                }
            }
        }
    }

    fn any_worker(&mut self) -> usize {
        self.rng.usize(..self.workers.len())
    }

    pub(super) async fn add(&mut self, most: u64) {
        let many = most.min(self.to_add);
        let mut entries = Vec::new();
        for _ in 0..many {
            self.to_add -= 1;
            let number = self.truth.messages.len() as u64 + 1;
            let fields = self.fields(number);
            let id = EntryId::new(number, 0);
            self.truth.add(id, fields.clone());
            entries.push((id, fields));
        }
        if many > 0 {
            self.world.add(&entries).await;
        }
    }

    /// Names and values as people write them, and as nobody should.
    fn fields(&mut self, number: u64) -> Fields {
        let mut pairs = vec![(b"n".to_vec(), number.to_string().into_bytes())];
        for _ in 0..self.rng.usize(..4) {
            let name: &[u8] = match self.rng.u8(..8) {
                0 => b"",
                1 => b"\xff\0\r\n",
                2 => b"redrive-v",
                3 => b"redrive-fields",
                4 => b"attempts",
                _ => b"n",
            };
            let value = match self.rng.u8(..4) {
                0 => Vec::new(),
                1 => b"1".to_vec(),
                _ => std::iter::repeat_with(|| self.rng.u8(..))
                    .take(20)
                    .collect(),
            };
            pairs.push((name.to_vec(), value));
        }
        pairs.into_iter().collect()
    }

    pub(super) async fn worker_step(&mut self, w: usize) {
        if self.workers[w].mode == Mode::Leaving {
            return self.leave_step(w).await;
        }
        let room = SLOTS.saturating_sub(self.workers[w].held.len());
        match self.rng.u8(..100) {
            0..18 if room > 0 => {
                let max = self.rng.usize(1..=room.min(10));
                self.receive(w, max).await;
            }
            18..36 if room > 0 => {
                let max = self.rng.usize(1..=room);
                self.tend(w, max).await;
            }
            36..54 => {
                let most = self.rng.usize(1..=4);
                self.start(w, most).await;
            }
            54..82 => {
                let most = self.rng.usize(1..=4);
                self.finish(w, most).await;
            }
            82..91 => self.renew(w).await,
            _ => self.ask_again(w).await,
        }
    }

    /// Starts handlers: of fresh messages at once, of those taken over after their begin.
    pub(super) async fn start(&mut self, w: usize, most: usize) {
        let worker = &mut self.workers[w];
        if worker.is_occupied() {
            return;
        }
        let suspects = worker.ids(|held| held.waits_for_begin() && held.is_suspect());
        if let Some(&suspect) = suspects.first() {
            // At the gate: nothing else starts until it has been inside.
            if !worker.is_busy() {
                if let Some(held) = worker.held.get_mut(&suspect) {
                    held.alone = true;
                }
                self.truth.tally.saw("begun alone");
                self.begin_anew(w, vec![suspect], Beside::Nobody).await;
            }
            return;
        }
        let fresh = worker.ids(|h| h.stage == Stage::Queued && h.fence.charge == Charge::Fresh);
        for id in fresh.into_iter().take(most) {
            self.workers[w].stage(id, &Stage::Running);
            self.runs(id, 1);
        }
        let mut ids = self.workers[w].ids(super::worker::Held::waits_for_begin);
        ids.truncate(most);
        if !ids.is_empty() {
            self.begin_anew(w, ids, Beside::Others).await;
        }
    }

    async fn begin_anew(&mut self, w: usize, ids: Vec<EntryId>, beside: Beside) {
        self.nonces += 1;
        let nonce = format!("n{}", self.nonces);
        self.begin(w, ids, beside, nonce).await;
    }

    /// Handlers end, and what they said is settled.
    pub(super) async fn finish(&mut self, w: usize, most: usize) {
        let worker = &self.workers[w];
        let mut running = worker.ids(|held| held.stage == Stage::Running);
        // Trimmed before it could begin: its bytes go into the tombstone.
        let trimmed = worker.ids(|held| {
            held.stage == Stage::Queued
                && held.fence.charge != Charge::Fresh
                && held.tombstone.is_some()
        });
        self.rng.shuffle(&mut running);
        running.truncate(most);
        let mut ids = Vec::new();
        for id in running {
            match self.outcome(w, id) {
                Some(how) => {
                    self.workers[w].stage(id, &Stage::Settling(how));
                    ids.push(id);
                }
                None if !self.quiet && self.rng.u8(..100) < 12 => {
                    self.note(format_args!("{id} kills its process"));
                    self.truth.tally.saw("death");
                    return self.kill(w).await;
                }
                None => {}
            }
        }
        for id in trimmed {
            self.workers[w].stage(id, &Stage::Settling(How::Release));
            ids.push(id);
        }
        if !ids.is_empty() {
            self.settle(w, ids).await;
        }
    }

    /// What becomes of a run; `None` while it goes on.
    fn outcome(&mut self, w: usize, id: EntryId) -> Option<How> {
        let held = self.workers[w].held[&id].clone();
        let roll = self.rng.u8(..100);
        if held.lost {
            // Only its success still counts. A failure settles nothing.
            if roll < 50 {
                return Some(How::Ack);
            }
            self.workers[w].drop_held(id);
            return None;
        }
        let fault = || {
            Box::new(Fault {
                error: format!("failure of delivery {}\nof {id}", held.fence.token),
                kind: Some("E".to_owned()),
                fingerprint: "0".repeat(16),
            })
        };
        let waits = match self.rng.u8(..4) {
            0 => Waits::WithHolder,
            _ => Waits::InTheGroup,
        };
        if self.quiet && roll >= 5 {
            return Some(How::Ack);
        }
        let (what, how) = match roll {
            0..52 => ("success", How::Ack),
            // Now and then by a worker that allows more attempts than those that will claim.
            52..77 if held.failures + 1 < MAX_ATTEMPTS || roll < 57 => (
                "failure",
                How::Retry {
                    delay: LATER,
                    fault: fault(),
                    waits,
                },
            ),
            52..77 => (
                "failure",
                How::DeadLetter {
                    reason: Reason::AttemptsExhausted,
                    fault: fault(),
                    failed: Failed::Yes,
                },
            ),
            77..85 => (
                "defer",
                How::Defer {
                    delay: LATER,
                    waits,
                },
            ),
            85..88 => (
                "rejected",
                How::DeadLetter {
                    reason: Reason::Rejected,
                    fault: fault(),
                    failed: Failed::Yes,
                },
            ),
            88 => (
                "undecodable",
                How::DeadLetter {
                    reason: Reason::Undecodable,
                    fault: fault(),
                    failed: Failed::No,
                },
            ),
            _ => return None,
        };
        self.truth.tally.saw(what);
        Some(how)
    }

    /// Sends a call whose answer never came again as it was.
    pub(super) async fn ask_again(&mut self, w: usize) {
        let doubts = &mut self.workers[w].doubts;
        if doubts.is_empty() {
            return;
        }
        let doubt = doubts.remove(self.rng.usize(..doubts.len()));
        match doubt {
            Doubt::Begin { ids, beside, nonce } => self.begin(w, ids, beside, nonce).await,
            Doubt::Settle { ids } => self.settle(w, ids).await,
        }
    }

    async fn leave_step(&mut self, w: usize) {
        if !self.workers[w].doubts.is_empty() {
            return self.ask_again(w).await;
        }
        for id in self.workers[w].ids(|held| held.lost) {
            self.workers[w].drop_held(id);
        }
        let ids = self.workers[w].ids(|_| true);
        if ids.is_empty() {
            self.leave(w).await;
            return self.join(w).await;
        }
        for &id in &ids {
            self.workers[w].stage(id, &Stage::Settling(How::Release));
        }
        self.settle(w, ids).await;
    }

    pub(super) async fn leave(&mut self, w: usize) {
        let worker = &self.workers[w];
        worker.seat.leave().await.unwrap();
        let name = worker.name.clone();
        self.note(format_args!("{name} left"));
        self.truth.tally.saw("left");
        self.truth.left(&name);
    }

    /// A process starts in the place of one that is no more.
    pub(super) async fn join(&mut self, w: usize) {
        self.starts += 1;
        let name = format!("redrive-{}", self.starts);
        let seat = self.world.join(&name).await;
        self.note(format_args!("{name} joins"));
        self.truth.joined(&name);
        let worker = Worker::new(name, seat);
        if w < self.workers.len() {
            self.workers[w] = worker;
        } else {
            self.workers.push(worker);
        }
    }

    pub(super) async fn kill(&mut self, w: usize) {
        let name = self.workers[w].name.clone();
        self.note(format_args!("{name} is killed"));
        self.truth.tally.saw("kill");
        for held in self.workers[w].held.values() {
            let token = held.fence.token;
            let message = self.truth.of(held.fence.id);
            if held.fence.is_charged() {
                message.blamed.insert(token);
            }
            // Still open, and its own: also where the answer to its begin was lost.
            let begun = held.fence.is_charged() || message.count > token;
            if begun && message.owner == name && message.open == Some(message.count) {
                message.killed.insert(message.count);
                if held.alone {
                    message.killed_alone.insert(message.count);
                }
            }
        }
        if !self.truth.registered.contains(&name) {
            self.truth.strangers.insert(name.clone());
        }
        self.age_owned_by(&name, Idle::Lease).await;
        if self.rng.bool() {
            self.silence(&name).await;
        }
        self.join(w).await;
    }

    async fn stall(&mut self) {
        let w = self.any_worker();
        let name = self.workers[w].name.clone();
        self.note(format_args!("{name} stalls"));
        self.truth.tally.saw("stall");
        self.workers[w].frozen = self.rng.u32(..9);
        self.age_owned_by(&name, Idle::Lease).await;
        self.silence(&name).await;
    }

    pub(super) async fn silence(&mut self, name: &str) {
        self.truth.alive.remove(name);
        self.world.silence(name).await;
    }

    pub(super) async fn age_owned_by(&mut self, name: &str, idle: Idle) {
        let ids = self.truth.ids(|m| m.is_pending() && m.owner == name);
        self.age(ids, idle).await;
    }

    /// Time passes for these. A trimmed entry cannot be aged (XCLAIM would drop it), so it was
    /// before it was trimmed.
    pub(super) async fn age(&mut self, mut ids: Vec<EntryId>, idle: Idle) {
        ids.retain(|&id| {
            let message = self.truth.of(id);
            !message.trimmed && message.idle < idle
        });
        let owned: Vec<_> = ids
            .iter()
            .map(|&id| (id, self.truth.of(id).owner.clone()))
            .collect();
        self.world.age(&owned, idle).await;
        for id in ids {
            self.truth.of(id).idle = idle;
        }
    }

    /// Whether somebody is alive and renews this delivery.
    fn keeps(&self, id: EntryId, token: u64) -> bool {
        let alive = self.workers.iter().filter(|worker| worker.frozen == 0);
        let mut held = alive.filter_map(|worker| worker.held.get(&id));
        held.any(|held| held.fence.token == token && !held.lost && held.stage != Stage::Beginning)
    }

    async fn due_times_pass(&mut self) {
        let mut ids = self
            .truth
            .ids(|m| m.is_pending() && m.waits() && !m.is_due());
        ids.retain(|_| self.rng.bool());
        self.pass_due(ids).await;
    }

    /// The wait of a verdict is longer than any live holder is silent.
    pub(super) async fn pass_due(&mut self, mut ids: Vec<EntryId>) {
        ids.retain(|&id| {
            let message = &self.truth.messages[&id];
            message.doubted != Some(message.count) || !self.keeps(id, message.count)
        });
        for &id in &ids {
            let message = self.truth.of(id);
            if message.doubted == Some(message.count) {
                message.silent.insert(message.count);
            }
        }
        self.world.pass_due(&ids).await;
        for id in ids {
            if let Some(waiting) = &mut self.truth.of(id).waiting {
                waiting.due = true;
            }
        }
    }
}
