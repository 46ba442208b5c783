//! Where a run takes place: a server that is worked on, a second one where effects are counted, and the look at both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use redrive_chaos::account::{Account, Dead, Fault, Hurt, Number, Verdict};
use redrive_chaos::effects::Effects;
use redrive_testkit::{Server, eventually};

use crate::crew::Wound;
use crate::load::Load;

pub(crate) const STREAM: &str = "orders";
pub(crate) const GROUP: &str = "billing";
pub(crate) const DLQ: &str = "orders:dlq";

/// Names and values of an entry, in order.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) struct Arena {
    pub(crate) server: Server,
    pub(crate) effects: Effects,
    pub(crate) redis: MultiplexedConnection,
    pub(crate) load: Load,
    effects_server: Server,
}

impl Arena {
    pub(crate) async fn start() -> Self {
        Self::on(Server::start().await).await
    }

    pub(crate) async fn on(server: Server) -> Self {
        let effects_server = Server::start().await;
        Self {
            redis: server.connect().await,
            server,
            effects: Effects::new(effects_server.connect().await),
            load: Load::default(),
            effects_server,
        }
    }

    pub(crate) fn effects_url(&self) -> String {
        self.effects_server.url()
    }

    /// `HOST:PORT` of the second server.
    pub(crate) fn effects_address(&self) -> String {
        format!("127.0.0.1:{}", self.effects_server.port())
    }

    /// The look at a server that was restarted.
    pub(crate) async fn reconnect(&mut self) {
        self.redis = self.server.connect().await;
    }

    /// The answer to a command, written in words.
    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &str) -> T {
        self.try_ask(words).await.unwrap()
    }

    pub(crate) async fn try_ask<T: FromRedisValue>(&self, words: &str) -> redis::RedisResult<T> {
        let mut words = words.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.redis.clone()).await
    }

    /// The ids of what a consumer holds.
    pub(crate) async fn held_by(&self, consumer: &str) -> Vec<String> {
        self.pending(&format!(" {consumer}")).await
    }

    async fn pending(&self, of: &str) -> Vec<String> {
        let range = format!("XPENDING {STREAM} {GROUP} - + 1000000{of}");
        // No group yet: nothing is held.
        let rows: Vec<(String, String, u64, u64)> = self.try_ask(&range).await.unwrap_or_default();
        rows.into_iter().map(|(id, ..)| id).collect()
    }

    /// Waits until everything that is in the stream was read and nothing is pending.
    pub(crate) async fn settled(&self, within: Duration) {
        eventually(within, "nothing left to do", async || {
            match self.left().await {
                Ok((0, true)) => Ok(()),
                other => Err(format!("{other:?} (pending, all read)")),
            }
        })
        .await;
    }

    /// Whether everything that is in the stream was read and nothing is pending.
    pub(crate) async fn is_settled(&self) -> bool {
        matches!(self.left().await, Ok((0, true)))
    }

    /// The id up to which the group has read.
    pub(crate) async fn last_read(&self) -> String {
        let groups: Vec<BTreeMap<String, redis::Value>> =
            self.ask(&format!("XINFO GROUPS {STREAM}")).await;
        redis::from_redis_value(groups[0]["last-delivered-id"].clone()).unwrap()
    }

    /// How much is pending, and whether all entries were read.
    async fn left(&self) -> redis::RedisResult<(u64, bool)> {
        let last: BTreeMap<String, redis::Value> =
            self.try_ask(&format!("XINFO STREAM {STREAM}")).await?;
        let groups: Vec<BTreeMap<String, redis::Value>> =
            self.try_ask(&format!("XINFO GROUPS {STREAM}")).await?;
        let Some(group) = groups.first() else {
            return Ok((0, false));
        };
        let pending = redis::from_redis_value(group["pending"].clone())?;
        let read: String = redis::from_redis_value(group["last-delivered-id"].clone())?;
        let written: String = redis::from_redis_value(last["last-generated-id"].clone())?;
        Ok((pending, read == written))
    }

    /// All entries of a stream, oldest first.
    pub(crate) async fn entries(&self, key: &str) -> Vec<(String, Pairs)> {
        let mut all: Vec<(String, Pairs)> = Vec::new();
        loop {
            let after = all
                .last()
                .map_or("-".to_owned(), |(id, _)| format!("({id}"));
            let page: Vec<(String, Vec<Vec<u8>>)> = self
                .ask(&format!("XRANGE {key} {after} + COUNT 1000"))
                .await;
            if page.is_empty() {
                return all;
            }
            all.extend(page.into_iter().map(|(id, flat)| {
                let pairs = flat.chunks(2).map(|two| (two[0].clone(), two[1].clone()));
                (id, pairs.collect())
            }));
        }
    }

    pub(crate) async fn dead(&self) -> Vec<Dead> {
        let text = |pairs: &Pairs, name: &str| {
            let found = pairs.iter().find(|(known, _)| known == name.as_bytes());
            found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
        };
        let letters = self.entries(DLQ).await;
        letters
            .iter()
            .map(|(_, pairs)| Dead {
                number: text(pairs, "n").map(|number| number.parse().unwrap()),
                reason: text(pairs, "redrive-reason").unwrap(),
            })
            .collect()
    }

    /// The account of all that happened, to which a test adds what it planned.
    pub(crate) async fn account(&self, wounds: Vec<Wound>) -> Account {
        let mut faults = Vec::new();
        for wound in wounds {
            let begun = self.effects.begun_by(&wound.consumer).await.unwrap();
            let held = self.numbers(&wound.held);
            let running = match wound.hurt {
                Hurt::Killed => held.intersection(&begun).copied().collect(),
                Hurt::Stalled => BTreeSet::new(),
            };
            faults.push(Fault {
                hurt: wound.hurt,
                held,
                running,
                unnamed: wound.unnamed,
            });
        }
        Account {
            attempted: self.load.attempted.clone(),
            acknowledged: self.load.acknowledged.values().copied().collect(),
            runs: self.effects.runs().await.unwrap(),
            dead: self.dead().await,
            pending: self.numbers(&self.pending("").await),
            faults,
            max_crashes: 3,
            ..Account::default()
        }
    }

    fn numbers(&self, ids: &[String]) -> BTreeSet<Number> {
        // What was not acknowledged has an id that its producer never heard of.
        ids.iter()
            .filter_map(|id| self.load.acknowledged.get(id).copied())
            .collect()
    }
}

/// Tells the verdict, and fails where something is that must not be.
#[track_caller]
pub(crate) fn judge(what: &str, account: &Account) -> Verdict {
    let verdict = account.verdict();
    println!("{what}: {verdict}");
    let killed = account
        .faults
        .iter()
        .filter(|fault| fault.hurt == Hurt::Killed);
    let killed = killed.count();
    println!(
        "{what}: {killed} kills and {} stalls or lost leases, which explain up to {} extra runs",
        account.faults.len() - killed,
        verdict.explained
    );
    assert!(verdict.holds(), "{what}: {:?}", verdict.violations);
    verdict
}
