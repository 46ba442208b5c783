//! Who does something to a queue, and who did.

use super::DeadLetterQueue;
use crate::audit::{Audit, AuditQuery, AuditRecord, Trail};
use crate::error::Error;
use crate::names::EntryId;

/// How many entries are read in one go.
const PAGE: usize = 500;

impl DeadLetterQueue {
    /// The same queue in the hands of somebody: what is done through this handle is recorded under
    /// their name. Default: under none.
    ///
    /// Recorded is every [replay](Self::replay_many), [purge](Self::purge) and [undo](Self::undo),
    /// and what campaigns are told: that it begins, before anything is changed, and how it ended. Where the
    /// first cannot be written the operation does not begin, and that is its error; where the second
    /// cannot, that is logged. A dry run, and what finds nothing to do, records nothing.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Audit, AuditQuery, Broker, Message, Outcome, Processor, Selection, Source};
    /// let broker = Broker::connect("memory:").await?;
    /// broker.producer("orders".parse()?).send(&"coffee").await?;
    /// Processor::builder(&broker, Source::new("orders", "billing")?)
    ///     .build(|_: Message<String>| async { Outcome::dead_letter("no") })?
    ///     .run_until_idle()
    ///     .await?;
    /// let ann = Audit::by("ann@desk")?.because("a test order")?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?).audited(ann);
    /// queue.purge(&Selection::all()).await?;
    /// let records = queue.audit(&AuditQuery::default()).await?;
    /// assert_eq!(records[0].who.as_deref(), Some("ann@desk"));
    /// assert_eq!((&*records[0].what, records[0].counts["done"]), ("purge", 1));
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn audited(mut self, audit: Audit) -> Self {
        self.audit = audit;
        self
    }

    /// What was done to this queue, the latest first. About the last 5,000 operations are kept.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, or the key of the audit holds something else.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only looks.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, Error> {
        let backend = self.broker.backend();
        let mut trail = Trail::of(query.clone());
        let mut from = EntryId::MAX;
        loop {
            let page = backend.recorded(&self.stream, from, PAGE).await?;
            for entry in &page {
                if !trail.takes(entry.id, &entry.fields) {
                    return Ok(trail.records(false));
                }
            }
            match page.last().map(|last| last.id) {
                Some(last) if page.len() == PAGE && last != EntryId::MIN => {
                    from = last.predecessor();
                }
                _ => return Ok(trail.records(true)),
            }
        }
    }
}
