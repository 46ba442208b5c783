//! Keeping a queue of dead letters within its limit.

use async_trait::async_trait;
use redis::{Value, cmd};

use super::connection::Call;
use super::seat::RedisSeat;
use super::{CALL, keys, page, scripts, wire};
use crate::backend::{Entry, IdRange, Membership};
use crate::dead_letter::{DeadLetterLimit, Level, Overflow, Precision};
use crate::error::{Error, ErrorKind};
use crate::keeping::Keeping;
use crate::names::EntryId;
use crate::selection::Order;

/// How many nodes of a stream are measured; the rest is taken to be alike.
const SAMPLES: u32 = 1_000;

#[async_trait]
impl Keeping for RedisSeat {
    async fn make_room(&self) -> Result<u64, Error> {
        let doing = "dropping the oldest dead letters";
        let call = self.call();
        let dropped = self.commands.eval(&scripts::MAKE_ROOM, &call, doing).await;
        let dropped = dropped.map_err(|error| error.during(&self.membership.dead_letters))?;
        wire::count(dropped, "how many were dropped")
    }

    async fn level(&self) -> Result<Level, Error> {
        let doing = "looking at the queue of dead letters";
        let (link, dlq) = (&self.commands, &self.membership.dead_letters);
        let limit = self.membership.limit.as_ref();
        let time = link.send(&cmd("TIME"), doing).await?;
        let mut length = cmd("XLEN");
        length.arg(dlq.as_str());
        let length = link.send(&length, doing).await;
        let length = length.map_err(|error| error.during(dlq))?;
        let mut level = Level {
            length: wire::count(length, "a length")?,
            now_ms: wire::clock_ms(wire::list(time, "the server's time")?)?,
            ..Level::default()
        };
        if limit.is_some_and(|limit| limit.bytes().is_some()) {
            let bytes = link.send(&self.usage(), doing).await;
            level.bytes = match bytes.map_err(|error| error.during(dlq))? {
                Value::Nil => Some(0),
                bytes => Some(wire::count(bytes, "a size")?),
            };
        }
        if limit.is_some_and(|limit| limit.age().is_some()) {
            let first = page::plain(link, dlq, from_the_oldest(1)).await?;
            level.oldest_ms = first.first().map(|entry| entry.id.millis());
        }
        Ok(level)
    }

    async fn oldest(&self, most: usize) -> Result<Vec<Entry>, Error> {
        let dlq = &self.membership.dead_letters;
        page::page(&self.commands, dlq, from_the_oldest(most)).await
    }

    async fn take_out(&self, ids: &[EntryId], operation: &str) -> Result<u64, Error> {
        let doing = "removing dead letters that were spilled";
        let Membership {
            dead_letters: dlq,
            consumer,
            ..
        } = &self.membership;
        let mut removed = 0;
        for some in ids.chunks(CALL) {
            let mut call = Call::new([dlq.to_string(), keys::ledger(dlq), keys::audit(dlq)]);
            call.arg(operation.to_owned())
                .arg(consumer.to_string())
                .arg(format!("the oldest {}", some.len()));
            for id in some {
                call.number(id);
            }
            let answer = self.commands.eval(&scripts::SPILL, &call, doing).await;
            let answer = answer.map_err(|error| error.during(dlq))?;
            removed += wire::count(answer, "how many were removed")?;
        }
        Ok(removed)
    }
}

fn from_the_oldest(limit: usize) -> IdRange {
    IdRange {
        low: EntryId::MIN,
        high: EntryId::MAX,
        order: Order::Oldest,
        limit,
    }
}

impl RedisSeat {
    fn usage(&self) -> redis::Cmd {
        let mut usage = cmd("MEMORY");
        usage
            .arg("USAGE")
            .arg(self.membership.dead_letters.as_str())
            .arg("SAMPLES")
            .arg(SAMPLES);
        usage
    }

    /// Whether the user may trim the queue, where its limit drops: asked by a trim that removes nothing,
    /// or the limit would not be kept and nobody would know.
    pub(super) async fn may_trim(&self) -> Result<(), Error> {
        let limit = self.membership.limit.as_ref();
        if limit.is_none_or(|limit| *limit.overflow() != Overflow::DropOldest) {
            return Ok(());
        }
        let mut trim = cmd("XTRIM");
        let dlq = &self.membership.dead_letters;
        trim.arg(dlq.as_str()).arg("MAXLEN").arg(i64::MAX);
        let tried = self
            .commands
            .send(&trim, "trimming the queue of dead letters");
        match tried.await {
            Err(error) if error.kind() == ErrorKind::Denied => Err(error
                .during(dlq)
                .hint("a limit that drops the oldest needs +xtrim in the user's ACL; one that stops does not")),
            // Whatever else is wrong with it, whoever adds to it is told.
            _ => Ok(()),
        }
    }

    /// Whether the server tells how much memory the queue takes, where that is limited: asked before
    /// anything is read, or the first burial would be the first to know.
    pub(super) async fn measure(&self) -> Result<(), Error> {
        let limit = self.membership.limit.as_ref();
        if limit.is_none_or(|limit| limit.bytes().is_none()) {
            return Ok(());
        }
        let doing = "measuring the queue of dead letters";
        let dlq = &self.membership.dead_letters;
        match self.commands.send(&self.usage(), doing).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Denied => Err(error.during(dlq).hint(
                "a limit by bytes needs +memory|usage in the user's ACL; one by count or age does not",
            )),
            // It does not know the command: asking again would not help.
            Err(error) if error.kind() == ErrorKind::Protocol => {
                Err(Error::new(ErrorKind::Invalid, format!("{doing} {dlq}"))
                    .caused_by(error)
                    .hint("this server does not tell how much memory a key takes: limit the queue by count or age"))
            }
            Err(error) => Err(error),
        }
    }
}

/// A limit as the scripts read it, behind the layout.
pub(super) fn told(limit: &DeadLetterLimit) -> String {
    let how = match (limit.overflow(), limit.precision()) {
        (Overflow::Stop, _) => "stop",
        (Overflow::Spill(_), _) => "spill",
        (Overflow::DropOldest, Precision::Exactly) => "drop",
        (Overflow::DropOldest, Precision::About) => "about",
    };
    let [most, bytes, age] = limit.edge().map(Option::unwrap_or_default);
    format!("{how} {most} {bytes} {age}")
}
