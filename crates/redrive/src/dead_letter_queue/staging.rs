//! Dead letters that nobody died of: for drills, and for tests of what reads a queue.

use super::DeadLetterQueue;
use crate::backend::Entry;
use crate::dead_letter::{ERROR_LIMIT, Layout, Obituary, Reason, compose};
use crate::error::Error;
use crate::fingerprint::{clip, fingerprint};
use crate::message::Fields;
use crate::names::{ConsumerName, EntryId, Source};

/// A dead letter to be written as a processor would have left it. It died at the time of its id.
#[derive(Clone, Debug)]
#[must_use = "it is nowhere until it is staged"]
pub struct StagedDeadLetter {
    id: EntryId,
    source: Source,
    original_id: EntryId,
    fields: Fields,
    reason: Reason,
    layout: Layout,
    error: String,
    error_kind: Option<String>,
    attempts: u32,
    crashes: u32,
    consumer: String,
    first_at_ms: Option<u64>,
}

impl StagedDeadLetter {
    /// What was given up, where it came from, and why; in the native layout, at the first attempt,
    /// without an error.
    pub fn new(
        id: EntryId,
        source: Source,
        original_id: EntryId,
        fields: Fields,
        reason: Reason,
    ) -> Self {
        Self {
            id,
            source,
            original_id,
            fields,
            reason,
            layout: Layout::Native,
            error: String::new(),
            error_kind: None,
            attempts: 1,
            crashes: 0,
            consumer: ConsumerName::random().to_string(),
            first_at_ms: None,
        }
    }

    /// In which layout it is written, if it fits. Default native.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The last error; cut at 8 KiB. Default none.
    pub fn error(mut self, error: impl AsRef<str>) -> Self {
        self.error = clip(error.as_ref(), ERROR_LIMIT).to_owned();
        self
    }

    /// The type or code of the error. Default none.
    pub fn error_kind(mut self, kind: impl Into<String>) -> Self {
        self.error_kind = Some(kind.into());
        self
    }

    /// How often it failed. Default 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// How often it ended its process. Default 0.
    pub fn crashes(mut self, crashes: u32) -> Self {
        self.crashes = crashes;
        self
    }

    /// Who had it last. Default: a name of its own.
    pub fn consumer(mut self, consumer: &ConsumerName) -> Self {
        self.consumer = consumer.to_string();
        self
    }

    /// When it first failed, in Unix ms. Default: not known.
    pub fn first_failed_at_ms(mut self, ms: u64) -> Self {
        self.first_at_ms = Some(ms);
        self
    }

    fn entry(&self) -> Entry {
        let fingerprint = match self.error.as_str() {
            "" => String::new(),
            error => fingerprint(self.error_kind.as_deref(), error),
        };
        let about = Obituary {
            source: &self.source,
            id: self.original_id,
            reason: self.reason,
            error: &self.error,
            error_kind: self.error_kind.as_deref(),
            fingerprint: &fingerprint,
            failures: self.attempts.into(),
            crashes: self.crashes.into(),
            deliveries: u64::from(self.attempts) + u64::from(self.crashes),
            consumer: &self.consumer,
            first_at_ms: self.first_at_ms,
            dead_at_us: self.id.millis().saturating_mul(1000),
        };
        Entry {
            id: self.id,
            fields: compose(self.layout, Some(&self.fields), &about).1,
        }
    }
}

impl DeadLetterQueue {
    /// Adds dead letters that nobody died of, in this order, and counts them as dead-lettered: for drills,
    /// and for tests of what reads a queue. Each keeps the id that it is given, which has to be above
    /// all that the queue has held; one that is there is left alone. Answers how many were added.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, EntryId, Fields, Reason, Source, StagedDeadLetter};
    /// let queue = Broker::connect("memory:").await?.dead_letters("orders:dlq".parse()?);
    /// let broken = Fields::from_iter([("data", "{\"order\":")]);
    /// let letter = StagedDeadLetter::new(
    ///     EntryId::new(1_795_324_222_405, 0),
    ///     Source::new("orders", "billing")?,
    ///     EntryId::new(1_795_324_221_000, 0),
    ///     broken,
    ///     Reason::Undecodable,
    /// );
    /// assert_eq!(queue.stage(&[letter.error("field \"data\": unexpected end")]).await?, 1);
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) when an id is not above all that the queue
    /// has held, or what the broker answers. Those before it have been added.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: nothing is doubled.
    pub async fn stage(&self, letters: &[StagedDeadLetter]) -> Result<u64, Error> {
        let mut added = 0;
        for some in letters.chunks(1_000) {
            let entries: Vec<Entry> = some.iter().map(StagedDeadLetter::entry).collect();
            added += self.broker.backend().stage(&self.stream, &entries).await?;
        }
        Ok(added)
    }
}
