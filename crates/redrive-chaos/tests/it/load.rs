//! Messages: who sends them, what was acknowledged, and which number an entry has.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redrive_chaos::account::Number;
use redrive_chaos::deed::Deed;

use crate::arena::STREAM;

/// How many entries are added by one pipeline.
const AT_ONCE: usize = 100;

/// A producer, and its books.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) attempted: BTreeSet<Number>,
    /// Entry id → number, of all that Redis acknowledged.
    pub(crate) acknowledged: BTreeMap<String, Number>,
}

impl Load {
    /// Adds these numbers, all of which are acknowledged.
    pub(crate) async fn add(
        &mut self,
        redis: &mut MultiplexedConnection,
        numbers: Range<Number>,
        deed: impl Fn(Number) -> Deed,
    ) {
        let numbers: Vec<Number> = numbers.collect();
        for some in numbers.chunks(AT_ONCE) {
            self.try_add(redis, some, &deed).await.unwrap();
        }
    }

    /// Takes over the books of another producer.
    pub(crate) fn merge(&mut self, other: Self) {
        self.attempted.extend(other.attempted);
        self.acknowledged.extend(other.acknowledged);
    }

    /// Adds these in one pipeline. After an error nobody knows which of them were added.
    async fn try_add(
        &mut self,
        redis: &mut MultiplexedConnection,
        numbers: &[Number],
        deed: &impl Fn(Number) -> Deed,
    ) -> redis::RedisResult<()> {
        let mut pipe = redis::pipe();
        for number in numbers {
            let add = pipe.cmd("XADD").arg(STREAM).arg("*").arg("n").arg(number);
            match deed(*number) {
                Deed::Succeed => add,
                deed => add.arg("do").arg(deed.to_string()),
            };
        }
        self.attempted.extend(numbers);
        let ids: Vec<String> = pipe.query_async(redis).await?;
        self.acknowledged
            .extend(ids.into_iter().zip(numbers.iter().copied()));
        Ok(())
    }

    /// Adds a few messages every few milliseconds until the signal, whatever becomes of the server; answers the next
    /// number. What was not acknowledged is never sent again.
    pub(crate) async fn pour(
        &mut self,
        url: &str,
        from: Number,
        a_second: u64,
        deed: impl Fn(Number) -> Deed,
        until: impl Future<Output = ()>,
    ) -> Number {
        const TICK: Duration = Duration::from_millis(20);
        let mut next = from;
        let mut connection = None;
        let began = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                () = &mut until => return next,
                _ = tick.tick() => {}
            }
            let due = began.elapsed().as_millis() as u64 * a_second / 1_000;
            let most = from + due.min(next - from + AT_ONCE as u64);
            let numbers: Vec<Number> = (next..most).collect();
            if numbers.is_empty() {
                continue;
            }
            let mut redis = match connection.take() {
                Some(redis) => redis,
                None => match connected(url).await {
                    Some(redis) => redis,
                    None => continue,
                },
            };
            next = most;
            // After an error on a line that is still good, a new one does no harm.
            let adding = self.try_add(&mut redis, &numbers, &deed).await;
            connection = adding.is_ok().then_some(redis);
        }
    }
}

async fn connected(url: &str) -> Option<MultiplexedConnection> {
    let client = redis::Client::open(url).unwrap();
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_secs(10)));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .ok()
}
