//! The two side by side: an operation is made definite by what is there, done to both, and what
//! both answer and show afterwards has to be the same.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Runtime;

use super::operation::Operation;
use super::room::{FIRST_ID, Room, minutes};
use super::side::{Act, Answer, Held, Side};
use super::view::{Group, HOUR_MS, View};
use crate::backend::{Charge, Cursor, FULL_PAUSE, Fence};
use crate::conformance::Lab;
use crate::message::Fields;

pub(super) struct Twins<'a> {
    pub(super) memory: Side<'a>,
    pub(super) redis: Side<'a>,
    /// Memory's clock, which stands.
    clock: &'a Runtime,
    pub(super) group: Group,
    pub(super) spoiled: bool,
    pub(super) seen: View,
    pub(super) held: Vec<Held>,
    pub(super) cursors: [Cursor; 3],
    /// How many due times there were: each is its own.
    dues: u64,
}

/// What does not wait, by a clock of its own.
pub(super) fn at_once<T>(clock: &Runtime, future: impl Future<Output = T>) -> T {
    let _clock = clock.enter();
    future.now_or_never().unwrap()
}

impl<'a> Twins<'a> {
    pub(super) async fn new(
        clock: &'a Runtime,
        memory: &'a dyn Lab,
        redis: &'a dyn Lab,
        room: &'a Room,
    ) -> Result<Self, String> {
        let mut twins = Self {
            memory: at_once(clock, Side::new(memory, room)),
            redis: Side::new(redis, room).await,
            clock,
            group: Group::There,
            spoiled: false,
            seen: View::default(),
            held: Vec::new(),
            cursors: [Cursor::START; 3],
            dues: 0,
        };
        // From here on the next id there is known before it is given, as it is in the source.
        let seed = Fields::from_iter([("seed", "")]);
        at_once(
            clock,
            memory.add_with_id(&room.other, FIRST_ID, seed.clone()),
        );
        redis.add_with_id(&room.other, FIRST_ID, seed).await;
        twins.compare().await?;
        Ok(twins)
    }

    pub(super) async fn step(&mut self, operation: &Operation) -> Result<(), String> {
        for operation in operation.parts() {
            self.step_one(&operation).await?;
        }
        Ok(())
    }

    async fn step_one(&mut self, operation: &Operation) -> Result<(), String> {
        for act in self.acts(operation) {
            let answer = self.perform(&act).await?;
            self.learn(&act, answer);
            self.spread(&act).await?;
            let agreed = self.compare().await;
            agreed.map_err(|difference| format!("{difference}\nafter {act:?}"))?;
        }
        Ok(())
    }

    /// The end of a sequence: nothing is to be left of it.
    pub(super) async fn erase(mut self) -> Result<(), String> {
        if self.spoiled {
            self.perform(&Act::Mend).await?;
        }
        self.perform(&Act::Erase).await?;
        self.group = Group::Dropped;
        self.compare().await
    }

    async fn perform(&mut self, act: &Act) -> Result<Answer, String> {
        let memory = at_once(self.clock, self.memory.perform(act));
        let redis = self.redis.perform(act).await;
        if memory == redis {
            Ok(memory)
        } else {
            Err(format!("{act:?}\nmemory: {memory:#?}\nredis: {redis:#?}"))
        }
    }

    async fn compare(&mut self) -> Result<(), String> {
        let memory = at_once(self.clock, self.memory.look(self.group));
        let redis = self.redis.look(self.group).await;
        let difference = memory.difference(&redis);
        // Where there are no stats, what they said before is still so.
        let before = std::mem::replace(&mut self.seen, memory);
        self.seen.last_id = self.seen.last_id.max(before.last_id);
        if self.spoiled {
            self.seen.delivered = self.seen.delivered.max(before.delivered);
        }
        difference.map_or(Ok(()), Err)
    }

    /// What a process knows after an answer.
    fn learn(&mut self, act: &Act, answer: Answer) {
        match act {
            Act::Begin(seat, fences, ..) => {
                for (fence, said) in fences.iter().zip(&answer.said) {
                    if said.starts_with("Started") {
                        let token = fence.token + 1;
                        let begun = Fence {
                            token,
                            charge: Charge::Begun,
                            ..*fence
                        };
                        self.hold_again(*seat, *fence, |held| held.fence = begun);
                    }
                }
            }
            Act::Renew(seat, fences) => {
                for (fence, said) in fences.iter().zip(&answer.said) {
                    if let Some(letter) = said.strip_prefix("trimmed ") {
                        let letter = letter.parse().unwrap();
                        self.hold_again(*seat, *fence, |held| held.tombstone = Some(letter));
                    }
                }
            }
            Act::Settle(seat, ends) => {
                for ((held, how), said) in ends.iter().zip(&answer.said) {
                    if how.keeps() && said == "Done" {
                        let kept = Fence {
                            charge: Charge::TakenOver,
                            ..held.fence
                        };
                        self.hold_again(*seat, held.fence, |held| held.fence = kept);
                    }
                }
            }
            Act::Tend(seat, ..) => {
                self.cursors[*seat] = answer.cursor.unwrap_or(Cursor::START);
            }
            Act::DropGroup => self.group = Group::Dropped,
            Act::Restore(_) => self.group = Group::There,
            Act::Spoil => self.spoiled = true,
            Act::Mend => self.spoiled = false,
            _ => {}
        }
        self.held.extend(answer.held);
    }

    fn hold_again(&mut self, seat: usize, fence: Fence, change: impl FnOnce(&mut Held)) {
        let known = self.held.iter().rev();
        let fields = known
            .filter(|held| held.fence.id == fence.id)
            .map(|held| held.fields.clone())
            .next();
        let mut held = Held {
            seat,
            fence,
            fields: fields.unwrap_or_default(),
            tombstone: None,
        };
        change(&mut held);
        self.held.push(held);
    }

    /// What is due at once, or after the pause before a full queue, is made due some minutes ago, each by its own, and half a one that no
    /// delay has: else the order in which they are taken would be a matter of microseconds.
    async fn spread(&mut self, act: &Act) -> Result<(), String> {
        if !matches!(act, Act::Settle(..) | Act::Tend(..) | Act::Begin(..)) {
            return Ok(());
        }
        let pause = i64::try_from(FULL_PAUSE.as_millis()).unwrap();
        let source = &self.memory.room.source;
        let memory = at_once(self.clock, self.memory.lab.due(source));
        let redis = self.redis.lab.due(source).await;
        for (id, ms) in memory {
            // Where only one of them waits, looking at both will tell.
            if redis.iter().all(|(due, _)| *due != id) {
                continue;
            }
            // Whole hours: the wait of a verdict. It stays ahead.
            if ms > 0 && ms % HOUR_MS == 0 {
                let by = self.minutes() + Duration::from_secs(30);
                self.perform(&Act::AgeDue(id, by)).await?;
            }
            if ms == 0 || ms == pause {
                let wait = Duration::from_millis(ms.unsigned_abs());
                let by = wait + self.minutes() + Duration::from_secs(30);
                self.perform(&Act::AgeDue(id, by)).await?;
            }
        }
        Ok(())
    }

    /// A time of its own for a message that waits.
    pub(super) fn minutes(&mut self) -> Duration {
        self.dues += 1;
        minutes(self.dues)
    }
}
