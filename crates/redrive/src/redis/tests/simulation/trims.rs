//! A step of its own: an entry is trimmed, and whoever holds it finds out in one way or another.

use super::Simulation;
use super::steps::SLOTS;
use super::truth::Idle;
use super::worker::{Mode, Worker};
use crate::backend::Cursor;

impl Simulation {
    pub(super) async fn trim_one(&mut self) {
        let ids = self.truth.ids(|m| m.is_pending() && !m.trimmed);
        if ids.is_empty() {
            return;
        }
        let id = ids[self.rng.usize(..ids.len())];
        self.note(format_args!("{id} is trimmed"));
        self.truth.tally.saw("trim");
        self.age(vec![id], Idle::ForeignLease).await;
        self.world.trim(id).await;
        self.truth.of(id).trimmed = true;
        // Left alone, somebody else's claim would nearly always see it first.
        let holds = |w: &Worker| w.mode == Mode::Working && w.held.contains_key(&id);
        if let Some(w) = self.workers.iter().position(holds) {
            match self.rng.u8(..6) {
                0..2 => self.renew(w).await,
                2 => self.finish(w, SLOTS).await,
                // Another's claim buries it, and whoever holds it ends its run without having heard.
                3..5 => {
                    let other = (w + 1) % self.workers.len();
                    if self.workers[other].mode == Mode::Working {
                        self.workers[other].cursor = Cursor::START;
                        self.tend(other, SLOTS).await;
                    }
                    self.finish(w, SLOTS).await;
                }
                _ => {}
            }
        }
    }
}
