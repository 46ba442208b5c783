//! A consumer's place in a group in memory: each verb is one step under the world's lock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::backend::{
    Begun, Beside, Charge, Cursor, Delivery, Fence, Joined, Lease, Membership, Renewed, RenewedOn,
    Restored, Seat, Settled, Settlement, Tended,
};
use crate::error::{Error, ErrorKind};
use crate::gate::Gate;
use crate::members::Created;
use crate::names::{EntryId, GroupStart, Source};

use super::Memory;
use super::hints::Own;
use super::settle::Turn;
use super::stream::Group;
use super::world::{Kept, Moment};

/// A consumer that has joined a group.
pub(super) struct MemorySeat {
    memory: Memory,
    membership: Membership,
    /// Rings when this seat's waiting reads are to end. Nothing is stored: as on a server, waking
    /// one that does not wait does nothing.
    woken: Notify,
}

impl MemorySeat {
    pub(super) fn take(memory: Memory, membership: Membership) -> Result<Joined, Error> {
        {
            let (mut kept, now) = memory.open();
            kept.ensure_group(&membership.source, Some(membership.start))?;
            if let Some(left) = kept.taken_for(&membership, now) {
                return Ok(Joined::Taken { left });
            }
            kept.register(&membership, now);
            Turn::new(&mut kept, &membership, now).reap();
        }
        Ok(Joined::Seat(Arc::new(Self {
            memory,
            membership,
            woken: Notify::new(),
        })))
    }

    /// Runs one step of the model.
    pub(super) fn turn<T>(&self, step: impl FnOnce(&mut Turn<'_>) -> T) -> Result<T, Error> {
        let (mut kept, now) = self.memory.open();
        Ok(step(&mut Turn::new(&mut kept, &self.membership, now)))
    }

    fn read(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        let (mut kept, now) = self.memory.open();
        let Membership {
            source, consumer, ..
        } = &self.membership;
        kept.group(source)?;
        kept.register(&self.membership, now);
        let read = kept
            .streams
            .get_mut(&source.stream)
            .map(|stream| stream.read(&source.group, consumer, max, now))
            .unwrap_or_default();
        Ok(read
            .into_iter()
            .map(|(id, fields)| Delivery {
                lease: Lease::new(id, 1, Charge::Fresh),
                fields,
                failures: 0,
                crashes: 0,
            })
            .collect())
    }
}

#[async_trait]
impl Seat for MemorySeat {
    async fn receive(&self, max: usize, block: Option<Duration>) -> Result<Vec<Delivery>, Error> {
        let over = tokio::time::sleep(block.unwrap_or_default());
        tokio::pin!(over);
        loop {
            // Listening starts before looking: what is added in between must not be slept through.
            let changed = self.memory.world.changed.notified();
            let woken = self.woken.notified();
            tokio::pin!(changed, woken);
            changed.as_mut().enable();
            woken.as_mut().enable();
            let read = self.read(max)?;
            if !read.is_empty() || max == 0 || block.is_none() {
                return Ok(read);
            }
            tokio::select! {
                biased;
                () = woken => return Ok(Vec::new()),
                () = changed => {}
                () = &mut over => return Ok(Vec::new()),
            }
        }
    }

    async fn tend(&self, max: usize, cursor: Cursor) -> Result<Tended, Error> {
        self.turn(|turn| turn.tend(max, cursor))?
    }

    async fn begin(
        &self,
        leases: &[Fence],
        beside: Beside,
        nonce: &str,
    ) -> Result<Vec<Begun>, Error> {
        self.turn(|turn| {
            leases
                .iter()
                .map(|fence| turn.begin(*fence, beside, nonce))
                .collect()
        })
    }

    async fn renew(&self, leases: &[Fence]) -> Result<Vec<Renewed>, Error> {
        self.turn(|turn| {
            turn.give_sign()?;
            Ok(leases.iter().map(|fence| turn.renew(*fence)).collect())
        })?
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        self.turn(|turn| {
            let mut in_turn: Vec<_> = settlements.iter().enumerate().collect();
            in_turn.sort_by_key(|(_, one)| one.way());
            let settled = in_turn.into_iter().map(|(at, one)| (at, turn.settle(one)));
            let mut settled: Vec<_> = settled.collect();
            settled.sort_by_key(|(at, _)| *at);
            settled.into_iter().map(|(_, one)| one).collect()
        })
    }

    async fn restore(&self) -> Result<Restored, Error> {
        let (mut kept, now) = self.memory.open();
        let restored = match kept.group(&self.membership.source) {
            Ok(_) => Restored::WasThere,
            Err(_) => Restored::Created,
        };
        kept.ensure_group(&self.membership.source, None)?;
        if kept.taken_for(&self.membership, now).is_some() {
            return Err(Error::name_taken(&self.membership.consumer));
        }
        kept.register(&self.membership, now);
        Ok(restored)
    }

    async fn leave(&self) -> Result<(), Error> {
        let (mut kept, now) = self.memory.open();
        if kept.taken_for(&self.membership, now).is_some() {
            return Ok(());
        }
        let Membership {
            source, consumer, ..
        } = &self.membership;
        let removed = kept
            .group_mut(source)
            .is_none_or(|group| group.remove_idle(consumer));
        if let Some(hints) = kept.hints.get_mut(source) {
            if removed {
                hints.own.remove(consumer);
            } else if let Some(own) = hints.own.get_mut(consumer) {
                own.alive_until_ms = 0;
            }
        }
        Ok(())
    }

    async fn wake(&self) {
        self.woken.notify_waiters();
    }

    async fn pending(&self, but: &BTreeSet<EntryId>) -> Result<u64, Error> {
        let (kept, _) = self.memory.open();
        let pending = kept.group(&self.membership.source)?.pending.keys();
        Ok(pending.filter(|id| !but.contains(id)).count() as u64)
    }

    async fn probe_writes(&self) -> Result<(), Error> {
        self.turn(|_| ())
    }

    fn gate(&self) -> Gate {
        self.memory.world.gate.clone()
    }

    fn renewed_on(&self) -> RenewedOn {
        RenewedOn::CallersRuntime
    }

    fn now_ms(&self) -> u64 {
        self.memory.world.now().ms()
    }
}

impl Kept {
    pub(super) fn group(&self, source: &Source) -> Result<&Group, Error> {
        self.streams
            .get(&source.stream)
            .and_then(|stream| stream.groups.get(&source.group))
            .ok_or_else(|| Error::new(ErrorKind::NoGroup, format!("reading from {source}")))
    }

    pub(super) fn group_mut(&mut self, source: &Source) -> Option<&mut Group> {
        self.streams
            .get_mut(&source.stream)?
            .groups
            .get_mut(&source.group)
    }

    /// Creates the group, and the stream, if missing. `start` is for who comes new; it gives way
    /// to the mark of an earlier one. Who was there before starts at the mark or at the first
    /// entry: repeats rather than losses.
    pub(super) fn ensure_group(
        &mut self,
        source: &Source,
        start: Option<GroupStart>,
    ) -> Result<Created, Error> {
        self.check_type(&source.stream)?;
        let is_new = !self.streams.contains_key(&source.stream);
        let stream = self.streams.entry(source.stream.clone()).or_default();
        if stream.groups.contains_key(&source.group) {
            return Ok(Created::WasThere);
        }
        let hints = self.hints.entry(source.clone()).or_default();
        let start = match (hints.mark, start) {
            (Some(mark), _) => mark.start_in(stream),
            (None, None | Some(GroupStart::First)) => EntryId::MIN,
            (None, Some(GroupStart::New)) => stream.last_id,
            (None, Some(GroupStart::After(id))) => id,
        };
        stream
            .groups
            .insert(source.group.clone(), Group::starting_after(start));
        hints.forget_all();
        hints.stones.clear();
        Ok(Created::New {
            stream: is_new,
            resumed: hints.mark.is_some(),
        })
    }

    /// How long another process's sign of life under this name is good; `None` where there is none.
    pub(super) fn taken_for(&self, membership: &Membership, now: Moment) -> Option<Duration> {
        let hints = self.hints.get(&membership.source)?;
        let own = hints.own.get(&membership.consumer)?;
        let left_ms = own.alive_until_ms.saturating_sub(now.ms());
        (own.token != membership.token && left_ms > 0).then(|| Duration::from_millis(left_ms))
    }

    /// Makes the consumer known as one of redrive's own, and notes that it is alive; unless another
    /// process has its name by now.
    pub(super) fn register(&mut self, membership: &Membership, now: Moment) {
        let Membership {
            source, consumer, ..
        } = membership;
        if let Some(group) = self.group_mut(source) {
            group.see(consumer, now);
        }
        if self.taken_for(membership, now).is_none() {
            self.hints
                .entry(source.clone())
                .or_default()
                .own
                .insert(consumer.clone(), Own::seen(membership, now));
        }
    }
}
