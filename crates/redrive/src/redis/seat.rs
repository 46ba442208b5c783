//! A consumer that has joined a group on Redis: its connections, and what it does besides settling.

use std::collections::BTreeSet;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, cmd};
use tokio::time::Instant;

use super::clock::{self, Jump, Reading};
use super::connection::{ANSWER, Address, Call, Link};
use super::era::Era;
use super::errors;
use super::group::{self, Mark};
use super::keys::{self, GroupKeys};
use super::milestones::Milestones;
use super::reader::Reader;
use super::registry::Sign;
use super::wire::{self, Row};
use super::{CALL, inspect, keeping, scripts, settle};
use crate::backend::{
    Begun, Beside, Charge, Cursor, Delivery, Entry, Fence, Lease, Membership, Renewed, RenewedOn,
    Restored, Seat, Settled, Settlement, Tended,
};
use crate::error::Error;
use crate::gate::Gate;
use crate::names::EntryId;
use crate::telemetry;

/// How many messages one claim takes at most, as the script has it.
const MOST_CLAIMED: usize = 200;

pub(super) struct RedisSeat {
    pub(super) membership: Membership,
    pub(super) keys: GroupKeys,
    /// Everything but blocked reads and renewals.
    pub(super) commands: Link,
    /// Renewals wait behind nothing else. Used from the renewing runtime only, also for the look
    /// whether the server takes writes.
    pub(super) renewals: Link,
    /// The second one is used where two reads are under way at once, which they are under load.
    readers: [Reader; 2],
    /// Which of them waits, when one does.
    waiting: AtomicUsize,
    /// Set by who leaves: a renewal that is still under way must not bring it back to life.
    pub(super) leaving: AtomicBool,
    known: StdMutex<Known>,
}

/// What the last claim told.
#[derive(Default)]
pub(super) struct Known {
    mark: Option<Mark>,
    /// Where the scan over left-behind state goes on.
    scan: String,
    milestones: Milestones,
    /// When to look for dead consumers again: who joins does, and who stays every lease.
    pub(super) reap_at: Option<Instant>,
    /// The server's clock, and when it was read.
    clock: Option<Reading>,
}

impl RedisSeat {
    pub(super) fn new(address: &Address, membership: Membership) -> Self {
        let era = Era::default();
        Self {
            keys: GroupKeys::of(&membership.source),
            membership,
            commands: Link::of(address.clone(), era.clone()),
            renewals: Link::of(address.clone(), era.clone()),
            readers: [
                Reader::new(address.clone(), era.clone()),
                Reader::new(address.clone(), era),
            ],
            waiting: AtomicUsize::new(0),
            leaving: AtomicBool::new(false),
            known: StdMutex::new(Known {
                scan: "0".to_owned(),
                ..Known::default()
            }),
        }
    }

    /// Creates what is missing, makes this consumer known as redrive's, and clears away those that
    /// are no more; unless another process lives under its name.
    pub(super) async fn join(&self) -> Result<Sign, Error> {
        self.measure().await?;
        self.may_trim().await?;
        group::create(
            &self.commands,
            &self.membership.source,
            self.membership.start,
        )
        .await?;
        let sign = self.enter().await?;
        if sign == Sign::Given {
            self.read_clock().await?;
            self.reap().await?;
        }
        Ok(sign)
    }

    async fn read_clock(&self) -> Result<(), Error> {
        let time = self
            .commands
            .send(&cmd("TIME"), "asking for the time")
            .await?;
        let server_ms = wire::clock_ms(wire::list(time, "the server's time")?)?;
        self.known().clock = Some((server_ms, Instant::now()));
        Ok(())
    }

    /// The keys and first arguments of every script that ends or keeps deliveries.
    pub(super) fn call(&self) -> Call {
        let Membership {
            source,
            dead_letters,
            consumer,
            layout,
            limit,
            ..
        } = &self.membership;
        let layout = layout.as_str();
        let mut call = Call::new([
            source.stream.to_string(),
            self.keys.due.clone(),
            self.keys.state.clone(),
            self.keys.consumers.clone(),
            self.keys.meta.clone(),
            dead_letters.to_string(),
            keys::ledger(dead_letters),
            self.keys.tombstones.clone(),
        ]);
        call.arg(source.group.to_string())
            .arg(consumer.to_string())
            .arg(match limit {
                None => layout.to_owned(),
                Some(limit) => format!("{layout} {}", keeping::told(limit)),
            });
        call
    }

    /// What follows `refused`: the message, and why its dead letter could not be written.
    pub(super) fn refused(&self, row: &mut Row) -> Result<Error, Error> {
        row.id()?;
        Ok(self.refusal(&row.text()?))
    }

    fn refusal(&self, text: &str) -> Error {
        let dlq = &self.membership.dead_letters;
        errors::refusal(text, format!("writing a dead letter to {dlq}"))
    }

    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Nothing in here is left half done by a panic: the values are replaced whole.
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn claim(&self, max: usize, cursor: Cursor) -> Result<Tended, Error> {
        let mut call = self.call();
        let starts = cursor == Cursor::START;
        let till = self.known().milestones.next(cursor, Instant::now());
        match cursor {
            Cursor::END => call.arg(""),
            Cursor(id) => call.number(id),
        };
        call.number(max.min(MOST_CLAIMED))
            .number(millis(self.membership.lease))
            .number(millis(self.membership.foreign_lease))
            .number(self.membership.max_attempts)
            .number(self.membership.max_crashes)
            .arg(self.known().scan.clone())
            .arg(till.map(|id| id.to_string()).unwrap_or_default());
        let doing = "taking over messages";
        let answer = self.commands.eval(&scripts::CLAIM, &call, doing).await?;
        let mut answer = wire::list(answer, "a claim")?.into_iter();
        let mut next = || answer.next().ok_or_else(|| wire::unexpected("a claim"));

        let cursor = match wire::bytes(next()?, "a cursor")? {
            end if end.is_empty() => None,
            id => Some(Cursor(
                EntryId::from_bytes(&id).ok_or_else(|| wire::unexpected("a cursor"))?,
            )),
        };
        let server_ms = wire::count(next()?, "the server's time")?;
        let next_due = wire::int(next()?, "a time")?;
        let next_over = wire::int(next()?, "a time")?;
        let looked_at = wire::count(next()?, "how many were looked at")?;
        // Where there is none the script says -1.
        let time = |ms: i64| u64::try_from(ms).ok().map(Duration::from_millis);
        let mut tended = Tended {
            cursor,
            next_due: time(next_due),
            next_over: time(next_over),
            ..Tended::default()
        };
        for row in wire::list(next()?, "what was taken")? {
            tended.taken.push(taken(row)?);
        }
        for row in wire::list(next()?, "what was given up")? {
            let mut row = Row::read(row)?;
            match row.word.as_str() {
                "died" => tended.dead.push(row.died()?),
                "full" => tended.kept.push(row.id()?),
                "doubted" => tended.doubted.push(row.id()?),
                _ => {
                    let id = row.id()?;
                    tended.refused.push((id, self.refusal(&row.text()?)));
                }
            }
        }
        let mut known = self.known();
        known.mark = group::read_mark(Some(next()?), Some(next()?), Some(next()?));
        if starts {
            known.scan = wire::text(next()?, "a cursor")?;
            tended.quiet = wire::text(next()?, "whether nobody is here")? == "1";
        }
        known.milestones.passed(tended.cursor, looked_at);
        let now = (server_ms, Instant::now());
        let jump = known
            .clock
            .replace(now)
            .and_then(|before| clock::jump(before, now, self.membership.lease.max(ANSWER)));
        drop(known);
        let source = &self.membership.source;
        match jump {
            Some(Jump::Ahead(by)) => telemetry::clock_went_ahead(source, by),
            Some(Jump::Behind(by)) => telemetry::clock_fell_behind(source, by),
            None => {}
        }
        Ok(tended)
    }
}

pub(super) fn taken(row: Value) -> Result<Delivery, Error> {
    let mut row = wire::list(row, "a message taken over")?.into_iter();
    let mut next = || {
        row.next()
            .ok_or_else(|| wire::unexpected("a message taken over"))
    };
    let id = wire::id(next()?, "an id")?;
    let token = wire::count(next()?, "a delivery count")?;
    Ok(Delivery {
        lease: Lease::new(id, token, Charge::TakenOver),
        failures: wire::small(wire::count(next()?, "failures")?),
        crashes: wire::small(wire::count(next()?, "crashes")?),
        fields: wire::fields(next()?)?,
    })
}

#[async_trait]
impl Seat for RedisSeat {
    async fn receive(&self, max: usize, block: Option<Duration>) -> Result<Vec<Delivery>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let count = max.to_string();
        let source = &self.membership.source;
        let mut words: Vec<&[u8]> = Vec::with_capacity(11);
        words.extend([
            &b"XREADGROUP"[..],
            b"GROUP",
            source.group.as_str().as_bytes(),
            self.membership.consumer.as_str().as_bytes(),
            b"COUNT",
            count.as_bytes(),
        ]);
        // BLOCK 0 would wait for ever.
        let ms = block.map(|block| millis(block).to_string());
        if let Some(ms) = &ms {
            words.extend([&b"BLOCK"[..], ms.as_bytes()]);
        }
        words.extend([&b"STREAMS"[..], source.stream.as_str().as_bytes(), b">"]);
        let fresh = |entry: Entry| Delivery {
            lease: Lease::new(entry.id, 1, Charge::Fresh),
            fields: entry.fields,
            failures: 0,
            crashes: 0,
        };
        let block = block.unwrap_or_default();
        let which = usize::from(self.readers[0].is_busy());
        if !block.is_zero() {
            self.waiting.store(which, Ordering::Relaxed);
        }
        self.readers[which].read(&words, block, fresh).await
    }

    async fn tend(&self, max: usize, cursor: Cursor) -> Result<Tended, Error> {
        // Before the claim: an error after it would lose sight of what was taken.
        if self.known().reap_at.is_none_or(|at| at <= Instant::now()) {
            self.reap().await?;
        }
        self.claim(max, cursor).await
    }

    async fn begin(
        &self,
        leases: &[Fence],
        beside: Beside,
        nonce: &str,
    ) -> Result<Vec<Begun>, Error> {
        let doing = "beginning messages taken over";
        let mut begun = Vec::with_capacity(leases.len());
        for some in leases.chunks(CALL) {
            let mut call = self.call();
            call.number(self.membership.max_attempts)
                .number(self.membership.max_crashes)
                .number(u8::from(beside == Beside::Nobody))
                .arg(nonce.to_owned());
            for lease in some {
                call.number(lease.id).number(lease.token);
            }
            let answer = self.commands.eval(&scripts::BEGIN, &call, doing).await?;
            for mut row in wire::rows(answer, some.len())? {
                begun.push(match row.word.as_str() {
                    "ok" => Begun::Started {
                        token: row.count()?,
                        failures: wire::small(row.count()?),
                        crashes: wire::small(row.count()?),
                    },
                    "lost" => Begun::Lost,
                    "gone" => Begun::Gone,
                    "died" => Begun::Died(row.died()?),
                    "full" => Begun::Full,
                    _ => Begun::Refused(self.refused(&mut row)?),
                });
            }
        }
        Ok(begun)
    }

    async fn renew(&self, leases: &[Fence]) -> Result<Vec<Renewed>, Error> {
        self.renew_in_time(leases).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        settle::settle(self, settlements).await
    }

    async fn restore(&self) -> Result<Restored, Error> {
        let mark = {
            let mut known = self.known();
            known.milestones.forget();
            known.mark
        };
        let restored = group::restore(&self.commands, &self.membership.source, mark).await?;
        match self.enter().await? {
            Sign::Given => Ok(restored),
            Sign::Taken { .. } => Err(self.name_taken()),
        }
    }

    async fn leave(&self) -> Result<(), Error> {
        self.exit().await
    }

    async fn wake(&self) {
        let id = self.readers[self.waiting.load(Ordering::Relaxed)].client_id();
        if id != 0 {
            let mut unblock = cmd("CLIENT");
            unblock.arg("UNBLOCK").arg(id);
            // A hint only: without it the read ends by itself when its time is over.
            let _ = self.commands.send(&unblock, "ending a read").await;
        }
    }

    async fn pending(&self, but: &BTreeSet<EntryId>) -> Result<u64, Error> {
        inspect::pending(&self.commands, &self.membership.source, but).await
    }

    async fn probe_writes(&self) -> Result<(), Error> {
        self.try_to_write(&self.renewals).await
    }

    fn gate(&self) -> Gate {
        Gate::of_process()
    }

    fn renewed_on(&self) -> RenewedOn {
        RenewedOn::OwnThread
    }

    fn now_ms(&self) -> u64 {
        let known = self.known().clock;
        known.map_or(0, |(server_ms, read)| {
            server_ms.saturating_add(u64::try_from(read.elapsed().as_millis()).unwrap_or(0))
        })
    }
}

/// A duration as the server takes it; never 0, which often means "for ever" there.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
