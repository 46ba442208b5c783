//! The consumers of a group: who enters, who lives, who leaves, and who has to be cleared away.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::cmd;
use tokio::time::Instant;

use super::connection::{Call, Link};
use super::keys::GroupKeys;
use super::seat::{RedisSeat, millis};
use super::wire::{self, Table};
use super::{CALL, scripts};
use crate::backend::Membership;
use crate::error::{Error, ErrorKind};
use crate::members::FOREIGN_IDLE;
use crate::names::Source;

/// What became of a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Given,
    /// Another process has the name: its own sign of life is good for so long.
    Taken {
        left: Duration,
    },
}

impl RedisSeat {
    /// Makes this consumer known, as redrive's and in the group.
    pub(super) async fn enter(&self) -> Result<Sign, Error> {
        let sign = self.sign(&self.commands, "enter", "announcing the consumer");
        if let taken @ Sign::Taken { .. } = sign.await? {
            return Ok(taken);
        }
        // Seen in the group from the start, not only with its first message.
        let mut create = cmd("XGROUP");
        create
            .arg("CREATECONSUMER")
            .arg(self.membership.source.stream.as_str())
            .arg(self.membership.source.group.as_str())
            .arg(self.membership.consumer.as_str());
        let doing = "creating the consumer";
        self.commands.send(&create, doing).await?;
        Ok(Sign::Given)
    }

    /// Gives a sign of life, good for one lease.
    pub(super) async fn stay_alive(&self, link: &Link) -> Result<Sign, Error> {
        // Who has signed off must not come back to life by a renewal that was still under way.
        let how = if self.leaving.load(Ordering::Acquire) {
            "prolong"
        } else {
            "stay"
        };
        self.sign(link, how, "renewing the consumer").await
    }

    /// A write that is refused as any other is, by a server without memory, disk or replicas, and that
    /// changes nothing: with XX a sorted set without this member stays as it is.
    pub(super) async fn try_to_write(&self, link: &Link) -> Result<(), Error> {
        let mut nothing = cmd("ZADD");
        nothing.arg(&self.keys.due).arg("XX").arg(0).arg("-");
        let doing = "seeing whether the server takes writes";
        link.send(&nothing, doing).await.map(drop)
    }

    async fn sign(
        &self,
        link: &Link,
        how: &'static str,
        doing: &'static str,
    ) -> Result<Sign, Error> {
        let Membership {
            consumer,
            token,
            lease,
            ..
        } = &self.membership;
        let mut call = Call::new([self.keys.alive_of(consumer), self.keys.consumers.clone()]);
        call.arg(how)
            .arg(token.as_str().to_owned())
            .number(millis(*lease))
            .arg(consumer.to_string());
        let left = link.eval(&scripts::ALIVE, &call, doing).await?;
        Ok(match u64::try_from(wire::int(left, "a sign of life")?) {
            Ok(left) => Sign::Taken {
                left: Duration::from_millis(left),
            },
            Err(_) => Sign::Given,
        })
    }

    pub(super) fn name_taken(&self) -> Error {
        Error::name_taken(&self.membership.consumer)
    }

    /// Removes the consumers of this group that are no more and have nothing pending.
    pub(super) async fn reap(&self) -> Result<(), Error> {
        let doing = "clearing away dead consumers";
        let mut list = cmd("XINFO");
        list.arg("CONSUMERS")
            .arg(self.membership.source.stream.as_str())
            .arg(self.membership.source.group.as_str());
        let mut names = BTreeSet::new();
        for consumer in wire::list(self.commands.send(&list, doing).await?, "consumers")? {
            let name = Table::read(consumer)?.take("name");
            names.extend(name.map(|name| wire::text(name, "a name")).transpose()?);
        }
        let mut registered = cmd("HKEYS");
        registered.arg(&self.keys.consumers);
        for name in wire::list(self.commands.send(&registered, doing).await?, "consumers")? {
            names.insert(wire::text(name, "a name")?);
        }
        names.remove(self.membership.consumer.as_str());
        let names: Vec<_> = names.into_iter().collect();
        for some in names.chunks(CALL) {
            self.reap_some(some, doing).await?;
        }
        self.known().reap_at = Some(Instant::now() + self.membership.lease);
        Ok(())
    }

    /// Answers how many of them went.
    async fn reap_some(&self, names: &[String], doing: &'static str) -> Result<u64, Error> {
        let source = &self.membership.source;
        remove_dead(&self.commands, source, names, FOREIGN_IDLE, doing).await
    }

    /// Leaves the group if nothing is pending on this consumer, and clears away the dead.
    pub(super) async fn exit(&self) -> Result<(), Error> {
        let doing = "leaving the group";
        self.leaving.store(true, Ordering::Release);
        // A renewal that was under way may have given a sign of life between the two; after that there
        // is none.
        for _ in 0..2 {
            if let Sign::Taken { .. } = self.sign(&self.commands, "leave", doing).await? {
                return Ok(());
            }
            let me = [self.membership.consumer.to_string()];
            if self.reap_some(&me, doing).await? > 0 {
                break;
            }
        }
        // Those whose last messages this one took over have nothing pending only now, and nobody
        // may come after it to clear them away.
        match self.reap().await {
            Err(error) if error.kind() == ErrorKind::NoGroup => Ok(()),
            answer => answer,
        }
    }
}

/// Removes those of these consumers that are no more and have nothing pending: redrive's without a
/// sign of life, others that were silent for longer than this. Answers how many went.
pub(super) async fn remove_dead(
    link: &Link,
    source: &Source,
    names: &[String],
    silent: Duration,
    doing: &'static str,
) -> Result<u64, Error> {
    let group = GroupKeys::of(source);
    let mut gone = 0;
    for some in names.chunks(CALL) {
        let keys = [source.stream.to_string(), group.consumers.clone()];
        let alive = some.iter().map(|name| group.alive(name));
        let mut call = Call::new(keys.into_iter().chain(alive));
        call.arg(source.group.to_string()).number(millis(silent));
        for name in some {
            call.arg(name.clone());
        }
        let answer = link.eval(&scripts::REAP, &call, doing).await;
        let answer = answer.map_err(|error| error.during(source))?;
        for one in wire::list(answer, "which consumers went")? {
            gone += wire::count(one, "whether a consumer went")?;
        }
    }
    Ok(gone)
}
