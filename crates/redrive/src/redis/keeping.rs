//! Keeping a queue of dead letters within its limit.

use async_trait::async_trait;
use redis::cmd;

use super::scripts;
use super::seat::RedisSeat;
use super::wire;
use crate::dead_letter::{DeadLetterLimit, Overflow, Precision};
use crate::error::{Error, ErrorKind};
use crate::keeping::Keeping;

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
}

impl RedisSeat {
    /// Whether the server tells how much memory the queue takes, where that is limited: asked before
    /// anything is read, or the first burial would be the first to know.
    pub(super) async fn measure(&self) -> Result<(), Error> {
        let limit = self.membership.limit.as_ref();
        if limit.is_none_or(|limit| limit.bytes().is_none()) {
            return Ok(());
        }
        let dlq = &self.membership.dead_letters;
        let mut usage = cmd("MEMORY");
        usage.arg("USAGE").arg(dlq.as_str());
        usage.arg("SAMPLES").arg(SAMPLES);
        let asked = self
            .commands
            .send(&usage, "measuring the queue of dead letters");
        match asked.await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Denied => Err(error
                .during(dlq)
                .hint("a limit by bytes needs +memory|usage in the user's ACL; one by count or age does not")),
            // It does not know the command: asking again would not help.
            Err(error) if error.kind() == ErrorKind::Protocol => Err(Error::new(
                ErrorKind::Invalid,
                format!("measuring the queue of dead letters {dlq}"),
            )
            .caused_by(error)
            .hint("this server does not tell how much memory a key takes: limit the queue by count or age")),
            Err(error) => Err(error),
        }
    }
}

/// A limit as the scripts read it, behind the layout.
pub(super) fn told(limit: &DeadLetterLimit) -> String {
    let how = match (limit.overflow(), limit.precision()) {
        (Overflow::Stop, _) => "stop",
        (Overflow::DropOldest, Precision::Exactly) => "drop",
        (Overflow::DropOldest, Precision::About) => "about",
    };
    let [most, bytes, age] =
        [limit.most(), limit.bytes(), limit.age_ms()].map(Option::unwrap_or_default);
    format!("{how} {most} {bytes} {age}")
}
