//! What came into a queue, what left it, and whether that adds up.

use super::DeadLetterQueue;
use crate::error::Error;
use crate::ledger::Ledger;

impl DeadLetterQueue {
    /// The books of the queue: what redrive added and removed, what is there, and what others did. `None`
    /// where there is neither such a stream nor a ledger of it.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use redrive::{Broker, Message, Outcome, Processor, Selection, Source};
    /// # let broker = Broker::connect("memory:").await?;
    /// # broker.producer("orders".parse()?).send_all(&["tea", "coffee"]).await?;
    /// # let handler = async |_: Message<String>| Outcome::dead_letter("no");
    /// # Processor::builder(&broker, Source::new("orders", "billing")?).build(handler)?.run_until_idle().await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// queue.purge(&Selection::all().limit(1)).await?;
    /// let ledger = queue.ledger().await?.ok_or("no such queue")?;
    /// assert_eq!((ledger.dead_lettered, ledger.purged, ledger.kept), (2, 1, 1));
    /// assert_eq!((ledger.foreign_in, ledger.balanced), (Some(0), true));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, or one of the keys holds something else.
    pub async fn ledger(&self) -> Result<Option<Ledger>, Error> {
        let counts = self.broker.backend().counts(&self.stream).await?;
        Ok(counts.as_ref().map(Ledger::of))
    }
}
