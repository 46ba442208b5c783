//! A server of the test's own with a stream on it, and what the tests do to it and see of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use redrive::{
    Broker, ConsumerName, DeadLetterQueue, EntryId, Error, Fields, Processor, ProcessorBuilder,
    RetryPolicy, Source, StreamKey, Totals,
};
use redrive_testkit::Server;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Entries as `XRANGE` answers them: the id, then names and values in turn.
pub(crate) type Entries = Vec<(String, Vec<Vec<u8>>)>;

pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) broker: Broker,
    redis: MultiplexedConnection,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::on(Server::start().await).await
    }

    pub(crate) async fn on(server: Server) -> Self {
        let redis = server.connect().await;
        let broker = Broker::connect(&server.url()).await.unwrap();
        Self {
            server,
            broker,
            redis,
        }
    }

    /// The look at a server that was restarted.
    pub(crate) async fn reconnect(&mut self) {
        self.redis = self.server.connect().await;
    }

    pub(crate) async fn another_broker(&self) -> Broker {
        Broker::connect(&self.server.url()).await.unwrap()
    }

    pub(crate) fn source(&self) -> Source {
        Source::new("orders", "billing").unwrap()
    }

    /// A processor of the stream that retries at once and reads without long waits.
    pub(crate) fn builder(&self) -> ProcessorBuilder {
        quick(&self.broker, self.source())
    }

    pub(crate) fn dlq(&self) -> DeadLetterQueue {
        self.broker.dead_letters(stream("orders:dlq"))
    }

    /// Adds the numbers from 0 on as JSON.
    pub(crate) async fn add(&self, many: u32) -> Vec<EntryId> {
        let numbers: Vec<u32> = (0..many).collect();
        let producer = self.broker.producer(stream("orders"));
        producer.send_all(&numbers).await.unwrap()
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

    /// Adds one entry of these names and values in turn.
    pub(crate) async fn xadd(&self, key: &str, fields: &[impl AsRef<[u8]>]) -> String {
        let mut command = redis::cmd("XADD");
        command.arg(key).arg("*");
        for part in fields {
            command.arg(part.as_ref());
        }
        command.query_async(&mut self.redis.clone()).await.unwrap()
    }

    pub(crate) async fn entries(&self, key: &str) -> Entries {
        self.ask(&format!("XRANGE {key} - +")).await
    }

    /// Id, consumer, idle time in ms and delivery count of all that is pending.
    pub(crate) async fn pending(&self) -> Vec<(String, String, u64, u64)> {
        self.ask("XPENDING orders billing - + 20000").await
    }

    /// How many are pending; an error where there is no group yet, or no server.
    pub(crate) async fn unsettled(&self) -> redis::RedisResult<u64> {
        let summary: (u64, redis::Value, redis::Value, redis::Value) =
            self.try_ask("XPENDING orders billing").await?;
        Ok(summary.0)
    }

    /// The names of the group's consumers.
    pub(crate) async fn consumers(&self) -> Vec<String> {
        let all: Vec<BTreeMap<String, redis::Value>> =
            self.ask("XINFO CONSUMERS orders billing").await;
        let name = |consumer: &BTreeMap<String, redis::Value>| {
            redis::from_redis_value(consumer["name"].clone()).unwrap()
        };
        all.iter().map(name).collect()
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask("KEYS *").await;
        keys.sort();
        keys
    }
}

pub(crate) fn quick(broker: &Broker, source: Source) -> ProcessorBuilder {
    Processor::builder(broker, source)
        .retry(RetryPolicy::immediate())
        .block(Duration::from_millis(200))
}

pub(crate) fn stream(name: &str) -> StreamKey {
    StreamKey::new(name).unwrap()
}

/// The names and values of an entry in turn, as `XRANGE` answers them.
pub(crate) fn flattened(fields: &Fields) -> Vec<Vec<u8>> {
    let pairs = fields.iter();
    pairs
        .flat_map(|(name, value)| [name.to_vec(), value.to_vec()])
        .collect()
}

pub(crate) fn bytes(parts: &[&str]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.as_bytes().to_vec()).collect()
}

/// What handlers were run on, in the order in which they started.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<Vec<EntryId>>>);

impl Runs {
    /// Notes a run, and answers how many of this message there have been.
    pub(crate) fn note(&self, id: EntryId) -> usize {
        let mut runs = self.0.lock().unwrap();
        runs.push(id);
        runs.iter().filter(|run| **run == id).count()
    }

    pub(crate) fn all(&self) -> Vec<EntryId> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Every message that was run, once, in the order of the stream.
    pub(crate) fn distinct(&self) -> Vec<EntryId> {
        let mut ids = self.all();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// For `eventually`: all of these were run, or how many were not.
    pub(crate) fn cover(&self, ids: &[EntryId]) -> Result<(), String> {
        let seen = self.distinct();
        let missing = ids.iter().filter(|id| seen.binary_search(id).is_err());
        match missing.count() {
            0 => Ok(()),
            missing => Err(format!("{missing} of {} not run", ids.len())),
        }
    }
}

/// A processor that runs in a task of its own until it is told to stop.
pub(crate) struct Worker {
    pub(crate) consumer: ConsumerName,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<Totals, Error>>,
}

impl Worker {
    pub(crate) fn start(mut processor: Processor) -> Self {
        let consumer = processor.options().consumer.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(async move {
            let signal = async {
                let _ = stopped.await;
            };
            processor.run_until(signal).await
        });
        Self {
            consumer,
            stop,
            run,
        }
    }

    /// Gives the signal, and answers what will become of the run.
    pub(crate) fn signal(self) -> JoinHandle<Result<Totals, Error>> {
        let _ = self.stop.send(());
        self.run
    }

    pub(crate) async fn stop(self) -> Totals {
        self.signal().await.unwrap().unwrap()
    }
}
