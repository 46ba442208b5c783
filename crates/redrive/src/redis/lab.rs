//! What only a test may do to a real server, by plain commands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Value, cmd};
use redrive_testkit::Server;

use super::keys::{self, GroupKeys};
use super::{Redis, Tls, wire};
use crate::backend::Backend;
use crate::conformance::{Bench, Lab, Row, StateParts};
use crate::message::Fields;
use crate::names::{ConsumerName, EntryId, Source, StreamKey};

/// A server of its own for each test.
pub(crate) struct RedisLab {
    server: Arc<Server>,
    plain: MultiplexedConnection,
    backend: Arc<dyn Backend>,
}

impl Bench for RedisLab {
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    async fn open() -> Self {
        let user = format!("suite on >secret ~* {}", rights());
        let server = Server::builder().acl(&user).start().await;
        let url = format!("redis://suite:secret@127.0.0.1:{}", server.port());
        Self::on(Arc::new(server), &url).await
    }

    async fn close(self) {
        let keys: Vec<String> = self.run(cmd("KEYS").arg("*")).await;
        for key in keys {
            let kind: String = self.run(cmd("TYPE").arg(&key)).await;
            let ours = key.contains(":redrive:");
            let known = [":due", ":state", ":meta", ":consumers", ":ledger", ":audit"];
            let known = known.iter().any(|end| key.ends_with(end)) || expires(&key);
            assert!(!ours || known, "a key that nobody knows: {key} ({kind})");
            if expires(&key) {
                let left: i64 = self.run(cmd("PTTL").arg(&key)).await;
                assert!(left > 0, "{key} would stay for ever");
            }
        }
        drop(self.server);
    }
}

/// The rights that `SECURITY.md` gives to workers and operators, and to who examines a server: nothing here needs
/// any other.
fn rights() -> String {
    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../SECURITY.md");
    let page = std::fs::read_to_string(PAGE).unwrap();
    let users = ["user orders-worker ", "user orders-operator "].map(|user| {
        let line = page.lines().find(|line| line.starts_with(user)).unwrap();
        let rights = line.split(' ').filter(|word| word.starts_with('+'));
        rights.collect::<Vec<_>>().join(" ")
    });
    let doctor = "+info +config|get +acl|whoami +acl|dryrun";
    assert!(page.contains(doctor), "the page has other words");
    format!("-@all {} {doctor}", users.join(" "))
}

impl RedisLab {
    /// On a server that others share.
    pub(crate) async fn on(server: Arc<Server>, url: &str) -> Self {
        let redis = Redis::connect(url, &Tls::default()).await;
        Self {
            plain: server.connect().await,
            server,
            backend: Arc::new(redis.unwrap()),
        }
    }

    /// All keys but those that expire.
    pub(crate) async fn keys_left(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run(cmd("KEYS").arg("*")).await;
        keys.retain(|key| !expires(key));
        keys
    }

    async fn run<T: FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let answer: Result<T, _> = command.query_async(&mut self.plain.clone()).await;
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn pending_row(&self, source: &Source, id: EntryId) -> Row {
        let rows = self.pel(source).await;
        rows.into_iter().find(|row| row.id == id).unwrap()
    }
}

/// Whether this key is one of those that end by themselves.
fn expires(key: &str) -> bool {
    let named = [":alive:", ":replayed:", ":imported:", ":campaign", ":undo:"];
    named.iter().any(|name| key.contains(name)) || key.ends_with(":tombstones")
}

fn on(name: &str, source: &Source) -> redis::Cmd {
    let mut command = cmd(name);
    command
        .arg(source.stream.as_str())
        .arg(source.group.as_str());
    command
}

fn parts(text: &str) -> StateParts {
    let parts: Vec<&str> = text.splitn(9, ' ').collect();
    let number = |i: usize| parts[i].parse::<u64>().unwrap();
    StateParts {
        failures: wire::small(number(0)),
        crashes: wire::small(number(1)),
        open: number(2),
        hint: number(3),
        nonce: Some(parts[4])
            .filter(|nonce| *nonce != "-")
            .unwrap_or_default()
            .to_owned(),
        booked: number(5),
        alone: number(6),
        first_failure_ms: Some(number(7)).filter(|ms| *ms != 0),
        error: parts[8].to_owned(),
    }
}

#[async_trait]
impl Lab for RedisLab {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    async fn add_with_id(&self, stream: &StreamKey, id: EntryId, fields: Fields) {
        let mut add = cmd("XADD");
        add.arg(stream.as_str()).arg(id.to_string());
        for (name, value) in fields.iter() {
            add.arg(name).arg(value);
        }
        let _: Value = self.run(&add).await;
    }

    async fn age(&self, source: &Source, id: EntryId, by: Duration) {
        let row = self.pending_row(source, id).await;
        let idle = (row.idle + by).as_millis();
        let mut claim = on("XCLAIM", source);
        claim.arg(row.consumer).arg(0).arg(id.to_string());
        claim.arg("IDLE").arg(idle.to_string()).arg("JUSTID");
        let _: Value = self.run(&claim).await;
    }

    async fn age_due(&self, source: &Source, id: EntryId, by: Duration) {
        let due = GroupKeys::of(source).due;
        let known: Option<f64> = self.run(cmd("ZSCORE").arg(&due).arg(id.to_string())).await;
        assert!(known.is_some(), "{id} does not wait");
        let by = -i64::try_from(by.as_millis()).unwrap();
        let _: Value = self
            .run(cmd("ZINCRBY").arg(&due).arg(by).arg(id.to_string()))
            .await;
    }

    async fn foreign_read(&self, source: &Source, consumer: &str, count: usize) -> Vec<EntryId> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(source.group.as_str()).arg(consumer);
        read.arg("COUNT")
            .arg(count)
            .arg("STREAMS")
            .arg(source.stream.as_str())
            .arg(">");
        let entries = wire::read_reply(self.run(&read).await).unwrap();
        entries.into_iter().map(|entry| entry.id).collect()
    }

    async fn foreign_claim(&self, source: &Source, consumer: &str, id: EntryId) {
        let _: Value = self
            .run(
                on("XCLAIM", source)
                    .arg(consumer)
                    .arg(0)
                    .arg(id.to_string()),
            )
            .await;
    }

    async fn foreign_ack(&self, source: &Source, id: EntryId) {
        let acked: i64 = self.run(on("XACK", source).arg(id.to_string())).await;
        assert_eq!(acked, 1, "{id} was not pending");
    }

    async fn trim(&self, stream: &StreamKey, id: EntryId) {
        let gone: i64 = self
            .run(cmd("XDEL").arg(stream.as_str()).arg(id.to_string()))
            .await;
        assert_eq!(gone, 1, "{id} was not there");
    }

    async fn pel(&self, source: &Source) -> Vec<Row> {
        let mut pending = on("XPENDING", source);
        pending.arg("-").arg("+").arg(1_000_000);
        let rows: Vec<(String, String, u64, u64)> = self.run(&pending).await;
        rows.into_iter()
            .map(|(id, consumer, idle, count)| Row {
                id: id.parse().unwrap(),
                consumer,
                idle: Duration::from_millis(idle),
                count,
            })
            .collect()
    }

    async fn state(&self, source: &Source, id: EntryId) -> Option<StateParts> {
        let state = GroupKeys::of(source).state;
        let text: Option<String> = self.run(cmd("HGET").arg(state).arg(id.to_string())).await;
        text.as_deref().map(parts)
    }

    async fn states(&self, source: &Source) -> BTreeMap<EntryId, StateParts> {
        let state = GroupKeys::of(source).state;
        let all: BTreeMap<String, String> = self.run(cmd("HGETALL").arg(state)).await;
        all.iter()
            .map(|(id, text)| (id.parse().unwrap(), parts(text)))
            .collect()
    }

    async fn due(&self, source: &Source) -> Vec<(EntryId, i64)> {
        let due = GroupKeys::of(source).due;
        let mut range = cmd("ZRANGE");
        range.arg(due).arg(0).arg(-1).arg("WITHSCORES");
        let scores: Vec<(String, i64)> = self.run(&range).await;
        let (seconds, micros): (i64, i64) = self.run(&cmd("TIME")).await;
        let now_ms = seconds * 1000 + micros / 1000;
        let times = scores.into_iter();
        times
            .map(|(id, at_ms)| (id.parse().unwrap(), at_ms - now_ms))
            .collect()
    }

    async fn is_clean(&self, source: &Source) -> bool {
        let keys = GroupKeys::of(source);
        let left: i64 = self.run(cmd("EXISTS").arg(keys.due).arg(keys.state)).await;
        left == 0
    }

    async fn ledger(&self, dlq: &StreamKey) -> BTreeMap<String, u64> {
        let counts: BTreeMap<String, i64> = self.run(cmd("HGETALL").arg(keys::ledger(dlq))).await;
        counts
            .into_iter()
            .filter(|(_, count)| *count != 0)
            .map(|(name, count)| (name, u64::try_from(count).unwrap()))
            .collect()
    }

    async fn drop_group(&self, source: &Source) {
        let mut destroy = cmd("XGROUP");
        destroy
            .arg("DESTROY")
            .arg(source.stream.as_str())
            .arg(source.group.as_str());
        let _: Value = self.run(&destroy).await;
    }

    async fn drop_stream(&self, stream: &StreamKey) {
        let _: Value = self.run(cmd("DEL").arg(stream.as_str())).await;
    }

    async fn spoil(&self, stream: &StreamKey) {
        let set: bool = self
            .run(cmd("SETNX").arg(stream.as_str()).arg("no stream"))
            .await;
        assert!(set, "{stream} exists");
    }

    async fn mend(&self, stream: &StreamKey) {
        self.drop_stream(stream).await;
    }

    async fn presume_dead(&self, source: &Source, consumer: &str) {
        let consumer = ConsumerName::new(consumer).unwrap();
        let alive = GroupKeys::of(source).alive_of(&consumer);
        let _: Value = self.run(cmd("DEL").arg(alive)).await;
    }
}
