//! The plain consumer beside redrive's in the group: XREADGROUP, XACK, and XPENDING with XCLAIM, as
//! the usual loop in another language does it.

use std::collections::BTreeSet;

use super::Simulation;
use super::truth::{End, Idle, Place};
use crate::names::EntryId;
use crate::redis::wire;

#[derive(Default)]
pub(super) struct Foreign {
    pub(super) lives: u32,
    pub(super) held: BTreeSet<EntryId>,
}

impl Foreign {
    pub(super) fn name(&self) -> String {
        format!("python-{}", self.lives)
    }
}

impl Simulation {
    pub(super) async fn foreign_step(&mut self) {
        match self.rng.u8(..100) {
            0..35 => self.foreign_read().await,
            35..75 => self.foreign_finish().await,
            75..93 => self.foreign_claim().await,
            _ => {
                let name = self.foreign.name();
                self.note(format_args!("{name} dies"));
                self.truth.tally.saw("foreign death");
                self.foreign.held.clear();
                self.foreign.lives += 1;
                let idle = if self.rng.bool() {
                    Idle::Lease
                } else {
                    Idle::ForeignLease
                };
                self.age_owned_by(&name, idle).await;
            }
        }
    }

    async fn foreign_read(&mut self) {
        let name = self.foreign.name();
        let max = self.rng.usize(1..4);
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP")
            .arg(self.world.source.group.as_str())
            .arg(&name)
            .arg("COUNT")
            .arg(max)
            .arg("STREAMS")
            .arg(self.world.source.stream.as_str())
            .arg(">");
        let answer = self.world.ask(&read).await;
        let entries = wire::read_reply(answer).unwrap();
        let kept = self.rng.u8(..10) > 0;
        for entry in &entries {
            self.truth.read(&name, entry.id, &entry.fields);
            self.truth.of(entry.id).foreign = true;
            self.truth.tally.saw("foreign read");
            if kept {
                self.foreign.held.insert(entry.id);
            }
        }
        let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
        self.note(format_args!("{name} reads {ids:?}"));
    }

    /// Acknowledges without a look at who owns it, or forgets what failed.
    pub(super) async fn foreign_finish(&mut self) {
        let name = self.foreign.name();
        let mut done: Vec<_> = self.foreign.held.iter().copied().collect();
        self.rng.shuffle(&mut done);
        done.truncate(3);
        for id in done {
            self.foreign.held.remove(&id);
            if self.rng.u8(..100) < 20 {
                continue;
            }
            self.note(format_args!("{name} acks {id}"));
            let mut ack = self.world.on_group("XACK");
            let acked: u32 = self.world.ask(ack.arg(id.to_string())).await;
            let pending = self.truth.of(id).is_pending();
            assert_eq!(acked == 1, pending, "foreign ack of {id}");
            self.truth.acked(id);
            self.truth.tally.saw("foreign ack");
        }
    }

    async fn foreign_claim(&mut self) {
        let name = self.foreign.name();
        let patient = self.rng.u8(..10) < 8;
        let mut ids = self
            .truth
            .ids(|m| m.is_pending() && (!patient || m.idle > Idle::Busy));
        self.rng.shuffle(&mut ids);
        ids.truncate(3);
        for id in ids {
            let mut claim = self.world.on_group("XCLAIM");
            claim.arg(&name).arg(0).arg(id.to_string());
            let answer = self.world.ask(&claim).await;
            let claimed = wire::entries(answer).unwrap();
            self.note(format_args!("{name} claims {id}: {}", claimed.len()));
            let message = self.truth.of(id);
            assert_eq!(claimed.is_empty(), message.trimmed, "foreign claim of {id}");
            self.truth.tally.saw("foreign claim");
            let message = self.truth.of(id);
            if message.trimmed {
                message.place = Place::Ended(End::DroppedByForeign);
                continue;
            }
            message.owner.clone_from(&name);
            message.count += 1;
            message.idle = Idle::Busy;
            message.foreign = true;
            // redrive knows nothing of this delivery, so none of its begins made it.
            message.nonce.clear();
            self.foreign.held.insert(id);
        }
    }
}
