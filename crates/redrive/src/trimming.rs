//! Trimming a stream, step by step: what every group has acknowledged goes, and nothing else.

use std::sync::Arc;

use crate::backend::Backend;
use crate::broker::{Broker, no_stream};
use crate::dead_letter_queue::Progress;
use crate::error::Error;
use crate::names::{EntryId, GroupName, StreamKey};
use crate::trim::{TrimReport, TrimStep, Trimmed};

impl Broker {
    /// Removes the oldest entries of a stream that every group has acknowledged, and nothing else:
    /// not what is pending or waits for a retry in any group, and not what a group has not read. A
    /// group of redrive's that has vanished counts as far as it is known to have come. A stream
    /// without a group keeps everything: nobody has said what is done.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Message, Processor, Source};
    /// let broker = Broker::connect("memory:").await?;
    /// let source = Source::new("orders", "billing")?;
    /// broker.producer("orders".parse()?).send_all(&[1, 2, 3]).await?;
    /// Processor::builder(&broker, source.clone())
    ///     .build(async |_: Message<u32>| {})?
    ///     .run_until_idle()
    ///     .await?;
    /// broker.producer("orders".parse()?).send(&4).await?;
    /// let report = broker.trim(&source.stream).await?;
    /// assert_eq!((report.removed, report.left), (3, 1));
    /// assert_eq!(report.held_by_group, Some(source.group));
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such stream;
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) when the server says that it trimmed and
    /// the entries are still there; when the broker cannot be asked.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to begin anew.
    pub async fn trim(&self, stream: &StreamKey) -> Result<TrimReport, Error> {
        let mut trimming = self.trimming(stream).await?;
        while trimming.step().await?.is_some() {}
        Ok(trimming.into_report())
    }

    /// Begins a trim that is done step by step: for who shows how far it is, or looks first. Looks at
    /// all keys of the database, a thousand at a time, for what redrive keeps of groups that have
    /// vanished.
    ///
    /// # Errors
    ///
    /// As [`trim`](Self::trim).
    pub async fn trimming(&self, stream: &StreamKey) -> Result<Trimming, Error> {
        let backend = Arc::clone(self.backend());
        // Before the first step, so that what vanishes in between is known as well.
        let marked = backend.marked(stream).await?;
        if backend.groups(stream).await?.is_none() {
            return Err(no_stream(stream));
        }
        Ok(Trimming {
            total: backend.length(stream).await?,
            report: TrimReport::of(stream.clone()),
            marked,
            backend,
            rest: Rest::Some,
        })
    }
}

/// A trim, step by step.
#[must_use = "it does nothing until it is asked for a step"]
pub struct Trimming {
    backend: Arc<dyn Backend>,
    /// The groups of which redrive keeps how far they have come.
    marked: Vec<GroupName>,
    report: TrimReport,
    total: u64,
    rest: Rest,
}

/// Whether a step is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Some,
    None,
}

impl Trimming {
    /// What it would remove as things are now; changes nothing. Looks at every entry that would go.
    ///
    /// # Errors
    ///
    /// As [`Broker::trim`].
    pub async fn preview(&mut self) -> Result<TrimReport, Error> {
        let mut report = TrimReport::of(self.report.stream.clone());
        let mut from = EntryId::MIN;
        loop {
            let counted = self.ask(TrimStep::Count { from }).await?;
            report.removed += counted.entries;
            let next = counted.next;
            tell(&mut report, counted);
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        report.left = report.left.saturating_sub(report.removed);
        self.total = report.removed;
        Ok(report)
    }

    /// Removes about a thousand entries, checked and removed in one step of the broker; `None` when
    /// nothing is left to do.
    ///
    /// # Errors
    ///
    /// As [`Broker::trim`]. Ask again: what is gone is gone, and only what was removed by a step that
    /// failed is not in the report.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to ask for the next step; what a dropped step removed is not in the
    /// report.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        if self.rest == Rest::None {
            return Ok(None);
        }
        let trimmed = self.ask(TrimStep::Remove).await?;
        self.report.removed += trimmed.entries;
        if trimmed.next.is_none() {
            self.rest = Rest::None;
        }
        tell(&mut self.report, trimmed);
        Ok(Some(self.progress()))
    }

    async fn ask(&self, step: TrimStep) -> Result<Trimmed, Error> {
        let stream = &self.report.stream;
        let answer = self.backend.trim(stream, &self.marked, step).await?;
        answer.ok_or_else(|| no_stream(stream))
    }

    /// How far it is. The total is what a [preview](Self::preview) found, else all that the stream
    /// held when it began.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            examined: self.report.removed,
            total: self.total,
        }
    }

    /// What it has done.
    #[must_use]
    pub fn into_report(self) -> TrimReport {
        self.report
    }
}

fn tell(report: &mut TrimReport, trimmed: Trimmed) {
    report.left = trimmed.left;
    report.first_id = trimmed.first;
    (report.held_by_group, report.held_by_id) = trimmed.held_by.unzip();
}

impl std::fmt::Debug for Trimming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trimming")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}
