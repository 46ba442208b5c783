//! The calls of a worker, each with what may go wrong with it, and what the worker makes of the
//! answer.

use super::Simulation;
use super::answers::Sent;
use super::worker::{Doubt, Held, Mode, Stage};
use crate::backend::{Begun, Beside, Charge, Cursor, Delivery, How, Renewed, Settled};
use crate::names::EntryId;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    ReplyLost,
    NeverExecuted,
    /// A call in several parts ends with an error after some of them.
    PartlyExecuted,
    /// The dead-letter queue takes nothing.
    Refused,
}

impl Simulation {
    fn fate(&mut self) -> Fate {
        if self.quiet {
            return Fate::Answered;
        }
        match self.rng.u8(..100) {
            0..10 => Fate::ReplyLost,
            10..17 => Fate::NeverExecuted,
            17..24 => Fate::PartlyExecuted,
            24..32 => Fate::Refused,
            _ => Fate::Answered,
        }
    }

    pub(super) async fn receive(&mut self, w: usize, max: usize) {
        let fate = self.fate();
        let worker = &mut self.workers[w];
        let answer = worker.seat.receive(max, None).await.unwrap();
        let ids: Vec<_> = answer.iter().map(|d| d.lease.fence.id).collect();
        for delivery in &answer {
            let fence = delivery.lease.fence;
            assert_eq!((fence.token, fence.charge), (1, Charge::Fresh));
            self.truth.read(&worker.name, fence.id, &delivery.fields);
        }
        let name = worker.name.clone();
        self.note(format_args!("{name} receive {fate:?} {ids:?}"));
        if fate == Fate::ReplyLost {
            for &id in &ids {
                self.truth.of(id).blamed.insert(1);
                self.truth.tally.saw("receive: reply lost");
            }
            return;
        }
        for delivery in answer {
            self.hold(w, delivery);
        }
    }

    pub(super) async fn tend(&mut self, w: usize, max: usize) {
        let fate = self.fate();
        if fate == Fate::Refused {
            self.world.refuse().await;
            self.truth.tally.saw("dead-letter queue refuses");
        }
        let worker = &self.workers[w];
        let name = worker.name.clone();
        let answer = worker.seat.tend(max, worker.cursor).await.unwrap();
        if fate == Fate::Refused {
            self.world.allow().await;
        }
        let taken: Vec<_> = answer.taken.iter().map(|d| d.lease.fence).collect();
        self.note(format_args!(
            "{name} tend {fate:?} {taken:?} dead {:?} refused {:?} doubted {:?}",
            answer.dead, answer.refused, answer.doubted
        ));
        assert!(fate == Fate::Refused || answer.refused.is_empty());
        self.truth.tended(&name, &answer);
        if fate == Fate::ReplyLost {
            self.truth.tally.saw("tend: reply lost");
            return;
        }
        let worker = &mut self.workers[w];
        worker.cursor = answer.cursor.unwrap_or(Cursor::START);
        for delivery in answer.taken {
            if self.workers[w].held.contains_key(&delivery.lease.fence.id) {
                // The same delivery: a renewal. Another one: what is held is lost, and its next
                // renewal will say so. Never a second run beside the first.
                self.truth.tally.saw("held id claimed again");
            } else {
                self.hold(w, delivery);
            }
        }
    }

    fn hold(&mut self, w: usize, delivery: Delivery) {
        let id = delivery.lease.fence.id;
        let held = Held {
            fence: delivery.lease.fence,
            fields: delivery.fields,
            failures: delivery.failures,
            crashes: delivery.crashes,
            alone: false,
            stage: Stage::Queued,
            tombstone: None,
            lost: false,
            kept: false,
        };
        let before = self.workers[w].held.insert(id, held);
        assert!(before.is_none(), "{id} is held twice in one process");
    }

    pub(super) async fn begin(
        &mut self,
        w: usize,
        ids: Vec<EntryId>,
        beside: Beside,
        nonce: String,
    ) {
        let fate = self.fate();
        for &id in &ids {
            self.workers[w].stage(id, &Stage::Beginning);
        }
        let doubt = Doubt::Begin {
            ids: ids.clone(),
            beside,
            nonce: nonce.clone(),
        };
        let name = self.workers[w].name.clone();
        self.note(format_args!(
            "{name} begin {fate:?} {beside:?} {nonce} {ids:?}"
        ));
        let parts = match fate {
            Fate::NeverExecuted => 0,
            Fate::PartlyExecuted => self.rng.usize(..ids.len()),
            _ => ids.len(),
        };
        let worker = &self.workers[w];
        let held = ids.iter().filter_map(|id| worker.held.get(id));
        let fences: Vec<_> = held.take(parts).map(|held| held.fence).collect();
        if fate == Fate::Refused {
            self.world.refuse().await;
        }
        let seat = self.workers[w].seat.clone();
        let answers = seat.begin(&fences, beside, &nonce).await.unwrap();
        if fate == Fate::Refused {
            self.world.allow().await;
        }
        self.note(format_args!("  {answers:?}"));
        for (&fence, answer) in fences.iter().zip(&answers) {
            self.truth.begun(&name, fence, (beside, &nonce), answer);
        }
        let lost = match fate {
            Fate::NeverExecuted => "begin: never executed",
            Fate::PartlyExecuted => "begin: partly executed",
            Fate::ReplyLost => "begin: reply lost",
            Fate::Answered | Fate::Refused => {
                for (id, answer) in ids.into_iter().zip(answers) {
                    self.after_begin(w, id, &answer);
                }
                return;
            }
        };
        for fence in fences {
            // If the lease is lost before it is asked again, nobody can tell whether it was begun.
            self.truth.of(fence.id).blamed.insert(fence.token + 1);
        }
        self.truth.tally.saw(lost);
        self.workers[w].doubts.push(doubt);
    }

    fn after_begin(&mut self, w: usize, id: EntryId, answer: &Begun) {
        let worker = &mut self.workers[w];
        let Some(held) = worker.held.get_mut(&id) else {
            return;
        };
        match answer {
            Begun::Started {
                token, failures, ..
            } => {
                held.fence.token = *token;
                held.fence.charge = Charge::Begun;
                held.failures = *failures;
                if std::mem::take(&mut held.kept) {
                    self.truth.tally.saw("begun again by its holder");
                }
                if worker.mode == Mode::Leaving {
                    held.stage = Stage::Queued;
                } else {
                    held.stage = Stage::Running;
                    self.runs(id, *token);
                }
            }
            Begun::Refused(_) => {
                held.stage = Stage::Queued;
                held.alone = false;
            }
            // A renewal saw it trimmed while it was about to begin: its bytes are still here.
            Begun::Gone if held.tombstone.is_some() => held.stage = Stage::Queued,
            Begun::Lost | Begun::Gone | Begun::Died(_) | Begun::Full => worker.drop_held(id),
        }
    }

    /// A handler starts: no delivery is ever run twice, so that each run has its own reason.
    pub(super) fn runs(&mut self, id: EntryId, token: u64) {
        let message = self.truth.of(id);
        assert!(
            message.runs.insert(token),
            "delivery {token} of {id} ran twice"
        );
    }

    pub(super) async fn renew(&mut self, w: usize) {
        let fate = self.fate();
        let worker = &self.workers[w];
        let (name, seat) = (worker.name.clone(), worker.seat.clone());
        let held = worker.held.values();
        let fences: Vec<_> = held
            .filter(|held| !held.lost && held.tombstone.is_none())
            .map(|held| held.fence)
            .collect();
        if fate == Fate::NeverExecuted {
            self.truth.tally.saw("renew: never executed");
            return;
        }
        if fate == Fate::Refused {
            self.world.refuse().await;
        }
        let answers = seat.renew(&fences).await.unwrap();
        if fate == Fate::Refused {
            self.world.allow().await;
        }
        self.truth.alive.insert(name.clone());
        let odd: Vec<_> = fences
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| !matches!(answer, Renewed::Held))
            .collect();
        self.note(format_args!(
            "{name} renew {fate:?} {} but {odd:?}",
            fences.len()
        ));
        for (&fence, answer) in fences.iter().zip(&answers) {
            self.truth.renewed(&name, fence, answer);
        }
        if fate == Fate::ReplyLost {
            self.truth.tally.saw("renew: reply lost");
            return;
        }
        for (fence, answer) in fences.into_iter().zip(answers) {
            self.after_renewal(w, fence.id, &answer);
        }
    }

    fn after_renewal(&mut self, w: usize, id: EntryId, answer: &Renewed) {
        let worker = &mut self.workers[w];
        let Some(held) = worker.held.get_mut(&id) else {
            return;
        };
        match (answer, &held.stage) {
            (Renewed::Trimmed { tombstone, .. }, _) => held.tombstone = Some(*tombstone),
            // The begin may have been executed, and then this is not its delivery: its own answer
            // will tell. A settlement too is told its fate when it is sent again.
            (Renewed::Lost | Renewed::Gone, Stage::Beginning)
            | (Renewed::Lost | Renewed::Gone, Stage::Settling(How::Ack)) => {}
            (Renewed::Lost | Renewed::Gone, Stage::Running) => held.lost = true,
            (Renewed::Lost | Renewed::Gone, _) => worker.drop_held(id),
            (Renewed::Held | Renewed::Refused(_), _) => {}
        }
    }

    pub(super) async fn settle(&mut self, w: usize, ids: Vec<EntryId>) {
        let mut fate = self.fate();
        let worker = &self.workers[w];
        let sent: Vec<_> = ids.iter().filter_map(|&id| worker.sent(id)).collect();
        // Of the queue nothing is refused to an ack.
        let refusable = |sent: &Sent| sent.tombstone.is_none() && sent.how != How::Ack;
        if fate == Fate::Refused && !(sent.len() == 1 && refusable(&sent[0])) {
            fate = Fate::Answered;
        }
        let parts = match fate {
            Fate::NeverExecuted => 0,
            Fate::PartlyExecuted => self.rng.usize(..sent.len()),
            _ => sent.len(),
        };
        let name = self.workers[w].name.clone();
        self.note(format_args!("{name} settle {fate:?} {parts} of {sent:?}"));
        if fate == Fate::Refused {
            self.world.refuse().await;
        }
        let answers = self.send(w, &sent[..parts]).await;
        if fate == Fate::Refused {
            self.world.allow().await;
        }
        let lost = match fate {
            Fate::NeverExecuted => "settle: never executed",
            Fate::PartlyExecuted => "settle: partly executed",
            Fate::ReplyLost => "settle: reply lost",
            Fate::Answered | Fate::Refused => {
                for (sent, answer) in sent.into_iter().zip(answers) {
                    let id = sent.fence.id;
                    if matches!(answer, Settled::Refused(_)) {
                        self.workers[w].doubts.push(Doubt::Settle { ids: vec![id] });
                    } else if sent.how.keeps() && matches!(answer, Settled::Done) {
                        self.workers[w].keep(id);
                    } else {
                        self.workers[w].drop_held(id);
                    }
                }
                return;
            }
        };
        self.truth.tally.saw(lost);
        self.workers[w].doubts.push(Doubt::Settle { ids });
    }

    async fn send(&mut self, w: usize, sent: &[Sent]) -> Vec<Settled> {
        let worker = &self.workers[w];
        let settlements: Vec<_> = sent.iter().map(|sent| worker.settlement(sent)).collect();
        let (name, seat) = (worker.name.clone(), worker.seat.clone());
        let answers = seat.settle(&settlements).await.unwrap();
        self.note(format_args!("  {answers:?}"));
        let mut due = Vec::new();
        for (sent, answer) in sent.iter().zip(&answers) {
            self.truth.settled(&name, sent, answer);
            if sent.how == How::Release && matches!(answer, Settled::Done) {
                due.push(sent.fence.id);
            }
        }
        // They are due at once, by the server's clock: put in an order that a seed repeats.
        due.retain(|&id| self.truth.of(id).is_due());
        self.world.pass_due(&due).await;
        answers
    }
}
