//! The broker: a connection to where streams live, by its URL.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::closing::Closing;
use crate::dead_letter_queue::DeadLetterQueue;
use crate::error::{Error, ErrorKind};
use crate::memory::Memory;
use crate::names::{EntryId, GroupName, Names, Source, StreamKey};
use crate::processor::{Processor, ProcessorBuilder};
use crate::producer::Producer;
use crate::redis::{Redis, Tls};
use crate::stats::{Pending, Stats};

const WHAT_WORKS: &str = "a URL is one of redis://HOST, rediss://HOST (TLS), unix:///PATH, \
     redis+sentinel://HOST,HOST/SERVICE, memory: (a broker of its own) and memory:NAME (shared within this process)";

/// How to get in where the URL does not say. Default: the system's trust store, and no client
/// certificate.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use redrive::{Broker, ConnectOptions};
/// let options = ConnectOptions::default()
///     .ca(std::fs::read("ca.pem")?)
///     .client_certificate(std::fs::read("client.pem")?, std::fs::read("client.key")?);
/// let broker = Broker::connect_with("rediss://redis.example", &options).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use = "options do nothing until a broker is connected with them"]
pub struct ConnectOptions {
    tls: Tls,
}

impl ConnectOptions {
    /// Trusts servers whose certificate this authority has signed, and no others. The text of a
    /// PEM file.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.ca = Some(pem.into());
        self
    }

    /// Shows this certificate to a server that asks for one. The texts of two PEM files.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.tls.certificate = Some(certificate.into());
        self.tls.key = Some(key.into());
        self
    }
}

/// Says what is set, never what it is.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("ca", &self.tls.ca.is_some())
            .field("client_certificate", &self.tls.certificate.is_some())
            .finish()
    }
}

/// A connection to where streams live. Cheap to clone; clones share the connection, and are
/// closed together.
///
/// A connection to a server is driven by the runtime on which it was first used: use a broker on
/// one runtime, and connect another one for another runtime.
///
/// ```
/// use redrive::Broker;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let broker = Broker::connect("memory:").await?;
/// let id = broker.producer("orders".parse()?).send(&"coffee").await?;
/// assert!(id.millis() > 0);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Broker {
    backend: Arc<dyn Backend>,
    closed: CancellationToken,
}

impl Broker {
    /// Connects to the broker of this URL.
    ///
    /// | URL | broker |
    /// |---|---|
    /// | `redis://USER:PASSWORD@HOST:PORT/DB` | a server; all but the host may be left out |
    /// | `rediss://…` | the same, encrypted; certificates by [`connect_with`](Self::connect_with) |
    /// | `unix:///PATH?db=DB&user=USER&pass=PASSWORD` | a server's socket |
    /// | `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB` | the primary of a service, which these sentinels know |
    /// | `rediss+sentinel://…` | the same, primary and sentinels encrypted |
    /// | `memory:` | within this process, for this broker and its clones alone |
    /// | `memory:NAME` | within this process, shared by all of this name while one is there |
    ///
    /// With sentinels, user, password and database are for the primary; the sentinels' own are
    /// `?sentinel_username=USER&sentinel_password=PASSWORD`. Whenever a connection is made, the
    /// sentinels are asked again, so that after a failover it leads to the new primary.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a URL of another form, and for a server without the streams of
    /// Redis 6.2; [`NotFound`](ErrorKind::NotFound) for a service that the sentinels do not know;
    /// [`Unreachable`](ErrorKind::Unreachable), [`TimedOut`](ErrorKind::TimedOut) or
    /// [`Denied`](ErrorKind::Denied) when there is no getting in. No error shows the password.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, &ConnectOptions::default()).await
    }

    /// As [`connect`](Self::connect), with certificates.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); [`ErrorKind::Invalid`] also for certificates that cannot be
    /// read, or that come with a URL that is not encrypted.
    pub async fn connect_with(url: &str, options: &ConnectOptions) -> Result<Self, Error> {
        let backend: Arc<dyn Backend> = match url.split_once(':') {
            Some(("memory", "")) => Arc::new(Memory::new()),
            Some(("memory", name)) => Arc::new(Memory::named(name)),
            Some((
                "redis" | "rediss" | "redis+unix" | "unix" | "redis+sentinel" | "rediss+sentinel",
                _,
            )) => Arc::new(Redis::connect(url, &options.tls).await?),
            other => return Err(unknown(other.map(|(scheme, _)| scheme))),
        };
        Ok(Self::over(backend))
    }

    /// A broker over any backend.
    pub(crate) fn over(backend: Arc<dyn Backend>) -> Self {
        let closed = CancellationToken::new();
        let closing: Closing<dyn Backend> = Closing::new(backend, closed.clone());
        Self {
            backend: Arc::new(closing),
            closed,
        }
    }

    /// A producer that adds messages to this stream.
    #[must_use]
    pub fn producer(&self, stream: StreamKey) -> Producer {
        Producer::new(Arc::clone(&self.backend), stream)
    }

    /// The health of a stream as this group sees it, and of its default dead-letter queue.
    ///
    /// # Errors
    ///
    /// When the broker cannot be asked: unreachable is an error, never zeros. A missing stream or
    /// group is not: it is the [state](Stats::state).
    pub async fn stats(&self, source: &Source) -> Result<Stats, Error> {
        self.stats_with(source, &source.stream.default_dead_letters())
            .await
    }

    /// As [`stats`](Self::stats), with the dead-letter queue of this name.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn stats_with(
        &self,
        source: &Source,
        dead_letters: &StreamKey,
    ) -> Result<Stats, Error> {
        let (stream, group) = (&source.stream, Some(&source.group));
        self.backend.stats(stream, group, dead_letters).await
    }

    /// The health of a stream as each of its groups sees it, in the order of their names, and of
    /// its default dead-letter queue. Of a stream that is missing or has no group it is one, with
    /// that [state](Stats::state) and no group.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn stream_stats(&self, stream: &StreamKey) -> Result<Vec<Stats>, Error> {
        self.stream_stats_with(stream, &stream.default_dead_letters())
            .await
    }

    /// As [`stream_stats`](Self::stream_stats), with the dead-letter queue of this name.
    ///
    /// # Errors
    ///
    /// As [`stats`](Self::stats).
    pub async fn stream_stats_with(
        &self,
        stream: &StreamKey,
        dead_letters: &StreamKey,
    ) -> Result<Vec<Stats>, Error> {
        let found = self.backend.groups(stream).await?;
        let groups = found.map(|found| found.names).unwrap_or_default();
        let mut all = Vec::with_capacity(groups.len().max(1));
        for group in &groups {
            let stats = self.backend.stats(stream, Some(group), dead_letters);
            all.push(stats.await?);
        }
        if all.is_empty() {
            all.push(self.backend.stats(stream, None, dead_letters).await?);
        }
        Ok(all)
    }

    /// All streams of the database, dead-letter streams too. Looks at every key, a thousand at a
    /// time; a stream that is added or renamed meanwhile may be missed.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::Broker;
    /// let broker = Broker::connect("memory:").await?;
    /// broker.producer("orders".parse()?).send(&"coffee").await?;
    /// for stream in broker.streams().await?.names {
    ///     println!("{stream}: {}", broker.stream_stats(&stream).await?.len());
    /// }
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot be asked.
    pub async fn streams(&self) -> Result<Names<StreamKey>, Error> {
        self.backend.streams().await
    }

    /// The groups of a stream.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such stream; when the broker cannot be asked, or
    /// the key holds something else.
    pub async fn groups(&self, stream: &StreamKey) -> Result<Names<GroupName>, Error> {
        let groups = self.backend.groups(stream).await?;
        groups.ok_or_else(|| no_stream(stream))
    }

    /// What is pending in a group from this id on, the lowest id first, and what redrive keeps of
    /// each; of groups that redrive has never worked on too. The first page is from
    /// [`EntryId::MIN`] on, the next one from [`EntryId::successor`] of the last. A page holds `limit`,
    /// at least 1 and at most 1,000.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use redrive::{Broker, EntryId, Message, Processor, Source};
    /// # let broker = Broker::connect("memory:").await?;
    /// # let source = Source::new("orders", "billing")?;
    /// # let handler = async |_: Message<u8>| {};
    /// # Processor::builder(&broker, source.clone()).build(handler)?.run_until_idle().await?;
    /// let mut from = EntryId::MIN;
    /// loop {
    ///     let page = broker.pending(&source, from, 100).await?;
    ///     let Some(last) = page.last() else { break };
    ///     from = last.id.successor();
    ///     for one in page {
    ///         println!("{} on {}: {:?}", one.id, one.consumer, one.error);
    ///     }
    /// }
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such stream or group; when the broker cannot be
    /// asked, or the key holds something else.
    pub async fn pending(
        &self,
        source: &Source,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Pending>, Error> {
        let limit = limit.clamp(1, 1_000);
        match self.backend.pending(source, from, limit).await {
            Err(error) if error.kind() == ErrorKind::NoGroup => {
                Err(self.no_such_group(source).await)
            }
            answer => answer,
        }
    }

    /// That there is no such stream, or no such group of it.
    pub(crate) async fn no_such_group(&self, source: &Source) -> Error {
        match self.groups(&source.stream).await {
            Ok(groups) => no_group(source, &groups.names),
            Err(error) => error,
        }
    }

    /// The dead-letter queue in this stream: a source's is
    /// [`StreamKey::default_dead_letters`], unless its processors were given another.
    #[must_use]
    pub fn dead_letters(&self, stream: StreamKey) -> DeadLetterQueue {
        DeadLetterQueue::new(self.clone(), stream)
    }

    /// Deletes a stream, this dead-letter queue, and everything that redrive keeps beside them for
    /// this group. For tests and demonstrations: nothing of it can be had back.
    ///
    /// # Errors
    ///
    /// When the broker does not do it.
    pub async fn erase(&self, source: &Source, dead_letters: &StreamKey) -> Result<(), Error> {
        self.backend.erase(source, dead_letters).await
    }

    /// Closes the broker and all its clones: from now on every call is an error of kind
    /// [`Closed`](ErrorKind::Closed), also of what was made with it. A processor that still runs
    /// ends at once with that error, as in a crash: end it by its signal first.
    pub fn close(&self) {
        self.closed.cancel();
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }
}

impl Processor {
    /// Begins a processor of this source.
    pub fn builder(broker: &Broker, source: Source) -> ProcessorBuilder {
        ProcessorBuilder::new(Arc::clone(broker.backend()), source)
    }
}

pub(crate) fn no_stream(stream: &StreamKey) -> Error {
    Error::new(ErrorKind::NotFound, format!("stream not found: {stream}"))
        .hint("check its name, the server and the number of the database")
}

fn no_group(source: &Source, others: &[GroupName]) -> Error {
    let Source { stream, group } = source;
    let doing = format!("group not found: {group} of the stream {stream}");
    let error = Error::new(ErrorKind::NotFound, doing);
    let others: Vec<&str> = others.iter().map(GroupName::as_str).collect();
    if others.is_empty() {
        error.hint("the stream has no group: a worker creates the one it is started with")
    } else {
        error.hint(format!("its groups are: {}", others.join(", ")))
    }
}

/// Names the scheme alone: the rest may hold a password.
fn unknown(scheme: Option<&str>) -> Error {
    let plain = |scheme: &&str| {
        scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let doing = match scheme.filter(plain).filter(|scheme| !scheme.is_empty()) {
        Some(scheme) => format!("reading a broker's URL with the scheme {scheme:?}"),
        None => "reading the scheme in a broker's URL, which is missing".to_owned(),
    };
    Error::new(ErrorKind::Invalid, doing).hint(WHAT_WORKS)
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("closed", &self.closed.is_cancelled())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_cannot_work_is_refused_without_its_password() {
        for url in ["", "localhost", "http://u:secret@h", "//u:secret@h", ":x"] {
            let error = Broker::connect(url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
            assert!(error.cure().unwrap().contains("memory:NAME"));
        }
    }

    #[tokio::test]
    async fn memory_is_private_and_memory_with_a_name_is_shared() {
        let source = Source::new("orders", "billing").unwrap();
        let length = async |broker: &Broker| broker.stats(&source).await.unwrap().stream_length;
        let brokers = |url| async move {
            let one = Broker::connect(url).await.unwrap();
            let producer = one.producer(StreamKey::new("orders").unwrap());
            producer.send(&1).await.unwrap();
            (one, Broker::connect(url).await.unwrap())
        };
        let (one, other) = brokers("memory:").await;
        assert_eq!((length(&one).await, length(&other).await), (Some(1), None));
        let (one, other) = brokers("memory:shared-by-name").await;
        one.close();
        assert_eq!(length(&other).await, Some(1));
    }

    #[tokio::test]
    async fn after_close_every_call_is_closed_also_on_clones() {
        let broker = Broker::connect("memory:").await.unwrap();
        let clone = broker.clone();
        let source = Source::new("orders", "billing").unwrap();
        let producer = broker.producer(source.stream.clone());
        let mut processor = Processor::builder(&broker, source.clone())
            .build(async |_: crate::Message<u8>| {})
            .unwrap();
        clone.close();
        let closed = [
            broker.stats(&source).await.err(),
            producer.send(&1).await.err(),
            processor.run_until_idle().await.err(),
            processor.run_batches(1).await.err(),
            processor.recover().await.err(),
        ];
        for error in closed {
            assert_eq!(error.unwrap().kind(), ErrorKind::Closed);
        }
    }
}
