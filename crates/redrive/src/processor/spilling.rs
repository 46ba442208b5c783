//! Spilling: the oldest dead letters of a queue that is nearly full are written elsewhere, and removed
//! only then.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::health::Part;
use super::run::{Answer, Run};
use crate::archive::Writer;
use crate::backend::{Entry, Seat};
use crate::dead_letter::{self, DeadLetterLimit};
use crate::delivery::SPILL_PAUSE;
use crate::error::Error;
use crate::names::{EntryId, StreamKey};
use crate::spill::SpillTo;

/// How many are written and removed together at most; fewer where they are large.
const BATCH: usize = 100;
/// When to look again at a broker that could not answer.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// How often though nothing dies, where age is limited, or the last try failed.
const EVERY: Duration = Duration::from_secs(60);

/// When to look at the queue.
#[derive(Debug)]
pub(super) struct Spilling {
    /// Whether something died since the last look; at first nobody knows.
    wanted: bool,
    looked: Option<Instant>,
    /// Ends the look that is under way, after what it has in hand.
    under_way: Option<CancellationToken>,
    /// Whether the last try could not write.
    failing: bool,
    /// Whether the broker could not answer.
    erred: bool,
}

/// What one look came to.
#[derive(Debug)]
pub(super) struct Spilled {
    count: u64,
    /// Whether anything was written.
    written: bool,
    ended: Result<(), Wrong>,
}

#[derive(Debug)]
enum Wrong {
    Broker(Error),
    /// What was to keep them could not.
    Write(io::Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Broker(error)
    }
}

impl Default for Spilling {
    fn default() -> Self {
        Self {
            wanted: true,
            looked: None,
            under_way: None,
            failing: false,
            erred: false,
        }
    }
}

impl Spilling {
    /// When to look next; `None` where nothing asks for it.
    pub(super) fn look_at(&self, limit: Option<&DeadLetterLimit>, now: Instant) -> Option<Instant> {
        let limit = limit.filter(|limit| limit.spill_to().is_some())?;
        if self.under_way.is_some() {
            return None;
        }
        let after = |pause| self.looked.map_or(now, |looked| looked + pause);
        match (self.wanted, self.failing || self.erred) {
            (true, false) => Some(now),
            (true, true) => Some(after(AFTER_ERROR)),
            (false, _) => (self.failing || limit.age().is_some()).then(|| after(EVERY)),
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether something died that may have brought the queue to its limit, and it could be spilled.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted && !self.failing
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Something died, or found the queue full.
    pub(super) fn wake(&mut self) {
        self.wanted = true;
    }

    /// What is under way ends after the batch it has in hand.
    pub(super) fn stop(&self) {
        if let Some(stopping) = &self.under_way {
            stopping.cancel();
        }
    }
}

impl Run {
    pub(super) fn spills_at(&self, now: Instant) -> Option<Instant> {
        if self.stop.is_some() {
            return None;
        }
        let limit = self.plan.options.dead_letter_limit.as_ref();
        self.spilling.look_at(limit, now)
    }

    /// Looks at the queue and spills, if it is time.
    pub(super) fn spill(&mut self, now: Instant) {
        if self.spills_at(now).is_none_or(|at| at > now) {
            return;
        }
        let options = &self.plan.options;
        let Some(limit) = options.dead_letter_limit.clone() else {
            return;
        };
        let Some(to) = limit.spill_to().cloned() else {
            return;
        };
        let stopping = CancellationToken::new();
        self.spilling.wanted = false;
        self.spilling.looked = Some(now);
        self.spilling.under_way = Some(stopping.clone());
        let (seat, dlq) = (Arc::clone(&self.seat), options.dead_letters.clone());
        self.calls.push(Box::pin(async move {
            let mut spilled = Spilled {
                count: 0,
                written: false,
                ended: Ok(()),
            };
            spilled.ended = down(&*seat, &dlq, &limit, &to, &stopping, &mut spilled).await;
            Answer::Spilled(spilled)
        }));
    }

    pub(super) fn spilled(&mut self, spilled: Spilled) {
        self.spilling.under_way = None;
        let (tell, dlq) = (&mut self.tell, &self.plan.options.dead_letters);
        if spilled.count > 0 {
            tell.spilled(dlq, spilled.count);
        }
        if spilled.written && std::mem::take(&mut self.spilling.failing) {
            tell.spills_again(dlq);
            self.brim.let_all_go();
        }
        match spilled.ended {
            Ok(()) => {
                self.spilling.erred = false;
                self.health.well(Part::Keeping);
            }
            Err(Wrong::Write(error)) => {
                self.spilling.erred = false;
                if !std::mem::replace(&mut self.spilling.failing, true) {
                    tell.spill_failed(dlq, &error);
                }
            }
            Err(Wrong::Broker(error)) => {
                self.spilling.wanted = true;
                self.spilling.erred = true;
                self.failing(Part::Keeping, error);
            }
        }
    }
}

/// Brings a queue that is near its limit down to where it may stay, batch by batch.
async fn down(
    seat: &dyn Seat,
    dlq: &StreamKey,
    limit: &DeadLetterLimit,
    to: &SpillTo,
    stopping: &CancellationToken,
    spilled: &mut Spilled,
) -> Result<(), Wrong> {
    let mut level = seat.level().await?;
    if !limit.is_near(&level) {
        return Ok(());
    }
    while let Some(surplus) = limit.surplus(&level)
        && !stopping.is_cancelled()
    {
        let oldest = seat.oldest(BATCH).await?.into_iter().enumerate();
        let batch: Vec<Entry> = oldest
            .take_while(|(place, entry)| surplus.takes(*place, entry.id.millis()))
            .map(|(_, entry)| entry)
            .collect();
        if batch.is_empty() {
            return Ok(());
        }
        let ids: Vec<EntryId> = batch.iter().map(|entry| entry.id).collect();
        let export = export(dlq, batch)?;
        to.append(export).await.map_err(Wrong::Write)?;
        spilled.written = true;
        // Only now: what is removed is on the disk.
        let operation = format!("{:016x}", fastrand::u64(..));
        spilled.count += seat.take_out(&ids, &operation).await?;
        level = seat.level().await?;
    }
    Ok(())
}

/// A whole export of these, its footer included.
fn export(dlq: &StreamKey, batch: Vec<Entry>) -> Result<Bytes, Error> {
    let mut writer = Writer::default();
    let mut lines = String::new();
    for entry in batch {
        let letter = dead_letter::read(entry.id, entry.fields);
        writer.add(dlq, &letter, &mut lines)?;
    }
    lines.push_str(&writer.footer()?);
    Ok(lines.into())
}

/// How soon what a full queue keeps pending is looked at again, where that is sooner than usual.
pub(super) fn pause(limit: Option<&DeadLetterLimit>) -> Option<Duration> {
    limit
        .and_then(DeadLetterLimit::spill_to)
        .map(|_| SPILL_PAUSE)
}
