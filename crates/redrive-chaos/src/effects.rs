//! Effects of handlers, counted on a server of their own: whatever happens to workers and to their server, what was
//! done stays known.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};

use crate::account::{Number, Runs};

/// Hashes: the number of a message → how many runs of it began, and succeeded.
const STARTED: &str = "started";
const SUCCEEDED: &str = "succeeded";
const PATIENCE: Duration = Duration::from_secs(30);

/// The counts, as handlers write them and a test reads them.
#[derive(Clone, Debug)]
pub struct Effects {
    connection: MultiplexedConnection,
}

impl Effects {
    /// Counts over this connection.
    #[must_use]
    pub fn new(connection: MultiplexedConnection) -> Self {
        Self { connection }
    }

    /// Connects to the server of a URL.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    pub async fn connect(url: &str) -> RedisResult<Self> {
        // The client's own 500 ms would make failures of a machine that is merely busy.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let connection = redis::Client::open(url)?
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(Self { connection })
    }

    /// Counts the start of a run by this consumer. Known outside when this returns, and not before.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn started(&self, number: Number, consumer: &str) -> RedisResult<()> {
        let mut both = redis::pipe();
        both.hincr(STARTED, number, 1).ignore();
        both.sadd(by(consumer), number).ignore();
        both.query_async(&mut self.connection.clone()).await
    }

    /// Counts a success.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn succeeded(&self, number: Number) -> RedisResult<()> {
        let mut command = redis::cmd("HINCRBY");
        command.arg(SUCCEEDED).arg(number).arg(1);
        command.exec_async(&mut self.connection.clone()).await
    }

    /// All runs of all messages.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn runs(&self) -> RedisResult<BTreeMap<Number, Runs>> {
        let mut runs: BTreeMap<Number, Runs> = BTreeMap::new();
        for (number, started) in self.counts(STARTED).await? {
            runs.entry(number).or_default().started = started;
        }
        for (number, succeeded) in self.counts(SUCCEEDED).await? {
            runs.entry(number).or_default().succeeded = succeeded;
        }
        Ok(runs)
    }

    /// How many messages have succeeded.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn handled(&self) -> RedisResult<u64> {
        let mut command = redis::cmd("HLEN");
        command.arg(SUCCEEDED);
        command.query_async(&mut self.connection.clone()).await
    }

    /// What a consumer has begun to run.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn begun_by(&self, consumer: &str) -> RedisResult<BTreeSet<Number>> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(by(consumer));
        command.query_async(&mut self.connection.clone()).await
    }

    /// Whether a consumer has begun to run any of these.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn has_begun_any(&self, consumer: &str, numbers: &[Number]) -> RedisResult<bool> {
        if numbers.is_empty() {
            return Ok(false);
        }
        let mut command = redis::cmd("SMISMEMBER");
        command.arg(by(consumer)).arg(numbers);
        let begun: Vec<bool> = command.query_async(&mut self.connection.clone()).await?;
        Ok(begun.contains(&true))
    }

    async fn counts(&self, key: &str) -> RedisResult<BTreeMap<Number, u64>> {
        let mut command = redis::cmd("HGETALL");
        command.arg(key);
        command.query_async(&mut self.connection.clone()).await
    }
}

fn by(consumer: &str) -> String {
    format!("by:{consumer}")
}

/// Counts one whole run from a process that lives for nothing else: a program that `redrive run` starts for each
/// message. `server` is `HOST:PORT`.
///
/// # Errors
///
/// If the server does not take it.
pub fn count_one_run(server: &str, number: Number, consumer: &str) -> io::Result<()> {
    let mut connection = BufReader::new(TcpStream::connect(server)?);
    let by = by(consumer);
    let both = format!("HINCRBY {STARTED} {number} 1\r\nSADD {by} {number}\r\n");
    ask(&mut connection, &both, 2)?;
    ask(
        &mut connection,
        &format!("HINCRBY {SUCCEEDED} {number} 1\r\n"),
        1,
    )
}

fn ask(connection: &mut BufReader<TcpStream>, commands: &str, answers: usize) -> io::Result<()> {
    connection.get_mut().write_all(commands.as_bytes())?;
    for _ in 0..answers {
        let mut answer = String::new();
        connection.read_line(&mut answer)?;
        if !answer.starts_with(':') {
            return Err(io::Error::other(format!("not counted: {answer:?}")));
        }
    }
    Ok(())
}
