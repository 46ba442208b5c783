//! The options of a processor: each with its default, all checked together.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::Processor;
use super::breaker::Breaker;
use super::execution::Runner;
use super::run::Plan;
use crate::backend::{Backend, Membership, OnAck};
use crate::codec::{Decode, Json};
use crate::dead_letter::{DeadLetterLimit, Layout};
use crate::error::{Error, ErrorKind};
use crate::handler::Handler;
use crate::names::{ConsumerName, GroupStart, ProcessToken, Source, StreamKey};
use crate::retry::RetryPolicy;

const SHORTEST_LEASE: Duration = Duration::from_millis(100);
/// The most that a count of messages may be: far above what is of use, far below what a server
/// refuses.
const MOST_AT_ONCE: usize = 1_000_000;
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// The options with which a processor runs. Set by the methods of [`ProcessorBuilder`], which
/// have the same names; read by [`Processor::options`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessorOptions {
    /// How many handlers run at once. Default 16, at least 1.
    pub concurrency: usize,
    /// How many messages are held beside the running ones, so that no handler waits for a read.
    /// Default: as [`batch`](Self::batch). At most concurrency + prefetch are held: queued,
    /// running, or handled and not yet confirmed.
    pub prefetch: usize,
    /// How many messages one read asks for at most. Default 100, at least 1.
    pub batch: usize,
    /// How long one read waits for a message. Default 5 s, at least 1 ms.
    pub block: Duration,
    /// How long a consumer may stay silent before others take its messages over. Default 30 s, at
    /// least 100 ms. Renewed every third of it while a message is held, so it need not cover the
    /// handler's run time.
    pub lease: Duration,
    /// How long messages of consumers that are not redrive's, which renew nothing, are left
    /// alone. Default 5 min, at least the lease.
    pub foreign_lease: Duration,
    /// How long a handler may run before it is dropped, which is a failure `timeout`. Default
    /// 5 min; `None` for no limit.
    pub timeout: Option<Duration>,
    /// How often a message is tried, and how long it waits in between.
    pub retry: RetryPolicy,
    /// How long running handlers may take to finish when the processor stops. Default 30 s.
    pub drain: Duration,
    /// How long a cancelled handler may take to stop before it is aborted. Default 1 s.
    pub grace: Duration,
    /// The name under which the processor joins the group, one per running processor. Default
    /// `consumer_` and 8 random hex digits. A run that finds another process under a name that was
    /// chosen waits for it until its sign of life has run out, one lease at most, and is refused if
    /// that was renewed meanwhile; so does one after a crash, which nobody has signed off.
    pub consumer: ConsumerName,
    /// Where the group begins, if it has to be created. Default: with the first entry.
    pub group_start: GroupStart,
    /// Where dead letters go. Default `STREAM:dlq`; in the envelope layout `sg:stream:dlq`, for
    /// all streams.
    pub dead_letters: StreamKey,
    /// How dead letters are laid out. Default native.
    pub layout: Layout,
    /// How much the queue of dead letters may hold, and what happens then. Default `None`: no limit;
    /// in the envelope layout about 5,000, the oldest dropped.
    pub dead_letter_limit: Option<DeadLetterLimit>,
    /// What becomes of acknowledged entries. Default: they stay in the stream.
    pub on_ack: OnAck,
    /// The field whose value is a message's key: messages of one key run one after another, in the
    /// order of the stream. Default `None`: no order.
    pub ordered_by: Option<Bytes>,
    /// Whether intake slows down when nearly every run fails. Default: it does.
    pub breaker: Breaker,
}

impl ProcessorOptions {
    pub(crate) fn slots(&self) -> usize {
        self.concurrency.saturating_add(self.prefetch)
    }

    /// For fewer slots than this no read is sent under load: few messages a command are many commands.
    pub(crate) fn enough(&self) -> usize {
        (self.batch.min(self.slots()) / 2).max(1)
    }

    /// How many that are run again at once stay at most: messages that always fail must leave room for others.
    pub(crate) fn most_staying(&self) -> usize {
        self.slots() - self.slots().min((self.enough() / 2).max(1))
    }

    pub(crate) fn membership(&self, source: &Source, token: &ProcessToken) -> Membership {
        Membership {
            source: source.clone(),
            consumer: self.consumer.clone(),
            token: token.clone(),
            start: self.group_start,
            lease: self.lease,
            foreign_lease: self.foreign_lease,
            max_attempts: self.retry.max_attempts,
            max_crashes: self.retry.max_crashes,
            dead_letters: self.dead_letters.clone(),
            layout: self.layout,
            limit: self.dead_letter_limit.clone(),
            on_ack: self.on_ack,
        }
    }

    fn problems(&self, source: &Source) -> Vec<String> {
        let mut problems = self.retry.problems();
        problems.extend(
            self.dead_letter_limit
                .as_ref()
                .and_then(DeadLetterLimit::problem),
        );
        let mut check = |right: bool, problem: String| {
            if !right {
                problems.push(problem);
            }
        };
        let at_least = |what: &str, is: Duration, least: Duration| {
            format!("{what} is {is:?}, it must be between {least:?} and a year")
        };
        let millisecond = Duration::from_millis(1);
        for (what, is, least) in [
            ("lease", self.lease, SHORTEST_LEASE),
            ("block", self.block, millisecond),
            ("foreign_lease", self.foreign_lease, self.lease),
            ("timeout", self.timeout.unwrap_or(millisecond), millisecond),
            ("drain", self.drain, Duration::ZERO),
            ("grace", self.grace, Duration::ZERO),
        ] {
            check((least..=LONGEST).contains(&is), at_least(what, is, least));
        }
        for (what, is, least) in [
            ("concurrency", self.concurrency, 1),
            ("batch", self.batch, 1),
            ("prefetch", self.prefetch, 0),
        ] {
            let right = (least..=MOST_AT_ONCE).contains(&is);
            check(
                right,
                format!("{what} is {is}, it must be between {least} and {MOST_AT_ONCE}"),
            );
        }
        check(
            self.dead_letters != source.stream,
            format!("dead_letters is the stream itself, {}", source.stream),
        );
        problems
    }
}

/// Options for a [`Processor`], begun by [`Processor::builder`]. What is not set has the default
/// that [`ProcessorOptions`] names.
#[must_use = "a builder does nothing until `build` is called"]
pub struct ProcessorBuilder<C = Json> {
    backend: Arc<dyn Backend>,
    source: Source,
    codec: C,
    prefetch: Option<usize>,
    dead_letters: Option<StreamKey>,
    limit: Limit,
    options: ProcessorOptions,
}

/// Whether a limit was chosen: which one is the default depends on the layout.
#[derive(Clone, Debug)]
enum Limit {
    OfTheLayout,
    Chosen(Option<DeadLetterLimit>),
}

impl ProcessorBuilder {
    pub(crate) fn new(backend: Arc<dyn Backend>, source: Source) -> Self {
        let options = ProcessorOptions {
            concurrency: 16,
            prefetch: 100,
            batch: 100,
            block: Duration::from_secs(5),
            lease: Duration::from_secs(30),
            foreign_lease: Duration::from_secs(5 * 60),
            timeout: Some(Duration::from_secs(5 * 60)),
            retry: RetryPolicy::default(),
            drain: Duration::from_secs(30),
            grace: Duration::from_secs(1),
            consumer: ConsumerName::random(),
            group_start: GroupStart::default(),
            dead_letters: source.stream.default_dead_letters(),
            layout: Layout::default(),
            dead_letter_limit: None,
            on_ack: OnAck::default(),
            ordered_by: None,
            breaker: Breaker::default(),
        };
        Self {
            backend,
            source,
            codec: Json::default(),
            prefetch: None,
            dead_letters: None,
            limit: Limit::OfTheLayout,
            options,
        }
    }
}

macro_rules! options {
    ($($option:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($option), "`](ProcessorOptions::", stringify!($option), ").")]
        pub fn $option(mut self, $option: $type) -> Self {
            self.options.$option = $option;
            self
        }
    )*};
}

impl<C> ProcessorBuilder<C> {
    /// Makes the processor, checking all options.
    ///
    /// The handler is an async function or closure that takes a
    /// [`Message`](crate::Message), or a [`Handler`] of your own.
    ///
    /// ```
    /// use redrive::{Broker, ErrorKind, Message, Processor, Source};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = Broker::connect("memory:").await?;
    /// let refused = Processor::builder(&broker, Source::new("orders", "billing")?)
    ///     .concurrency(0)
    ///     .batch(0)
    ///     .build(async |_: Message<String>| {})
    ///     .unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::Invalid);
    /// assert!(refused.to_string().contains("concurrency is 0, it must be between 1 and"));
    /// assert!(refused.to_string().contains("batch is 0, it must be between 1 and"));
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`], naming every option that cannot work, not only the first.
    pub fn build<T, H>(self, handler: H) -> Result<Processor, Error>
    where
        C: Decode<T>,
        T: Send + 'static,
        H: Handler<T>,
    {
        let mut options = self.options;
        options.prefetch = self.prefetch.unwrap_or(options.batch);
        let stream = &self.source.stream;
        options.dead_letters = self
            .dead_letters
            .unwrap_or_else(|| options.layout.default_dead_letters(stream));
        options.dead_letter_limit = match self.limit {
            Limit::OfTheLayout => options.layout.default_limit(),
            Limit::Chosen(limit) => limit,
        };
        let problems = options.problems(&self.source);
        if !problems.is_empty() {
            let what = format!(
                "building the processor of {}: {}",
                self.source,
                problems.join("; ")
            );
            return Err(Error::new(ErrorKind::Invalid, what)
                .hint("the documentation of `ProcessorOptions` names each option's range"));
        }
        let plan = Plan {
            source: Arc::new(self.source),
            token: ProcessToken::random(),
            options,
            runner: Runner::new(self.codec, handler),
            meters: OnceLock::new(),
        };
        Ok(Processor::new(self.backend, plan))
    }

    /// Sets how payloads are decoded. Default [`Json`].
    pub fn codec<D>(self, codec: D) -> ProcessorBuilder<D> {
        ProcessorBuilder {
            backend: self.backend,
            source: self.source,
            codec,
            prefetch: self.prefetch,
            dead_letters: self.dead_letters,
            limit: self.limit,
            options: self.options,
        }
    }

    /// Sets [`prefetch`](ProcessorOptions::prefetch).
    pub fn prefetch(mut self, prefetch: usize) -> Self {
        self.prefetch = Some(prefetch);
        self
    }

    /// Sets [`dead_letters`](ProcessorOptions::dead_letters).
    pub fn dead_letters(mut self, dead_letters: StreamKey) -> Self {
        self.dead_letters = Some(dead_letters);
        self
    }

    /// Sets [`dead_letter_limit`](ProcessorOptions::dead_letter_limit): a limit, or `None` for no
    /// limit.
    ///
    /// ```
    /// use redrive::{Broker, DeadLetterLimit, Message, Overflow, Processor, Source};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = Broker::connect("memory:").await?;
    /// broker.producer("orders".parse()?).send_all(&[1, 2, 3]).await?;
    /// let source = Source::new("orders", "billing")?;
    /// let mut processor = Processor::builder(&broker, source.clone())
    ///     .dead_letter_limit(DeadLetterLimit::new(2, Overflow::DropOldest))
    ///     .build(async |_: Message<String>| {})?;
    /// // Numbers are no strings.
    /// assert_eq!(processor.run_until_idle().await?.dead_lettered, 3);
    /// let stats = broker.stats(&source).await?;
    /// assert_eq!((stats.dlq_length, stats.dlq_dropped), (2, 1));
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dead_letter_limit(mut self, limit: impl Into<Option<DeadLetterLimit>>) -> Self {
        self.limit = Limit::Chosen(limit.into());
        self
    }

    /// Sets [`timeout`](ProcessorOptions::timeout): a duration, or `None` for no limit.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.options.timeout = timeout.into();
        self
    }

    /// Sets [`ordered_by`](ProcessorOptions::ordered_by), the name of a field. The bytes of that
    /// field are the message's key, of the first one where it stands twice. Messages of one key run
    /// one after another, the earliest in the stream first; those of different keys run side by
    /// side, and so does a message without the field, which has no key.
    ///
    /// A message that failed or was deferred stays with this processor until its delay is over, and
    /// the later ones of its key wait behind it: with a long [backoff](ProcessorOptions::retry)
    /// they take slots for that long, so choose it short and [`prefetch`](Self::prefetch) large.
    /// The order is that of one processor. It does not hold across several of them on one group,
    /// nor where one crashes, loses a lease or stops.
    ///
    /// ```
    /// use redrive::{Broker, Fields, Message, Processor, Raw, Source};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = Broker::connect("memory:").await?;
    /// let producer = broker.producer("orders".parse()?);
    /// for step in ["ordered", "paid", "sent"] {
    ///     producer.send_fields(Fields::from_iter([("customer", "17"), ("step", step)])).await?;
    /// }
    /// let mut processor = Processor::builder(&broker, Source::new("orders", "billing")?)
    ///     .codec(Raw)
    ///     .ordered_by("customer")
    ///     .build(async |message: Message<Fields>| {
    ///         println!("{:?}", message.get("step"));
    ///     })?;
    /// assert_eq!(processor.run_until_idle().await?.succeeded, 3);
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ordered_by(mut self, field: impl Into<Bytes>) -> Self {
        self.options.ordered_by = Some(field.into());
        self
    }

    options! {
        concurrency: usize,
        batch: usize,
        block: Duration,
        lease: Duration,
        foreign_lease: Duration,
        retry: RetryPolicy,
        drain: Duration,
        grace: Duration,
        consumer: ConsumerName,
        group_start: GroupStart,
        layout: Layout,
        on_ack: OnAck,
        breaker: Breaker,
    }
}

impl<C> std::fmt::Debug for ProcessorBuilder<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessorBuilder")
            .field("source", &self.source)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
