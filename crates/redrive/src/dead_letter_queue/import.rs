//! Importing an export that fits into memory.

use super::imports::{ImportOptions, ImportReport};
use super::{Importing, outcome_of};
use crate::archive::{Archive, ArchiveReader};
use crate::broker::Broker;
use crate::error::Error;

impl Broker {
    /// Brings the dead letters of an [export](super::DeadLetterQueue::export) back, each with a new id and
    /// otherwise byte for byte, into the queue that it came from unless the options say another.
    /// The whole text is checked before anything is changed. For what does not fit into memory there
    /// is [`importing`](Self::importing).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use redrive::{Broker, ImportOptions, Message, Outcome, Processor, Selection, Source};
    /// # let broker = Broker::connect("memory:").await?;
    /// # broker.producer("orders".parse()?).send(&"coffee").await?;
    /// # let handler = async |_: Message<String>| Outcome::dead_letter("no");
    /// # Processor::builder(&broker, Source::new("orders", "billing")?).build(handler)?.run_until_idle().await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let text = queue.export(&Selection::all()).await?;
    /// queue.purge(&Selection::all()).await?;
    /// let report = broker.import(text.as_bytes(), &ImportOptions::default()).await?;
    /// assert_eq!(report.imported, 1);
    /// // Asked again it does nothing twice.
    /// let report = broker.import(text.as_bytes(), &ImportOptions::default()).await?;
    /// assert_eq!((report.imported, report.already), (0, 1));
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the text is not a whole export: nothing was changed. When the
    /// broker does not take them all: ask again, what was imported is not imported twice.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: nothing is doubled, nothing is skipped.
    pub async fn import(
        &self,
        export: &[u8],
        options: &ImportOptions,
    ) -> Result<ImportReport, Error> {
        // A line feed ends a line: behind the last there is none.
        let lines = || export.split_inclusive(|byte| *byte == b'\n');
        let bare = |line| <[u8]>::strip_suffix(line, b"\n").unwrap_or(line);
        let mut reader = ArchiveReader::new();
        for line in lines() {
            reader.line(bare(line))?;
        }
        let mut importing = self.importing(&reader.finish()?, options);
        let imported = async {
            let mut reader = ArchiveReader::new();
            for line in lines() {
                if let Some(one) = reader.line(bare(line))? {
                    importing.add(one);
                }
                if importing.is_full() {
                    importing.step().await?;
                }
            }
            while importing.step().await?.is_some() {}
            Ok(())
        };
        let imported = imported.await;
        importing.end(outcome_of(&imported)).await;
        imported.map(|()| importing.into_report())
    }

    /// As [`import`](Self::import), step by step. The export has been read once and is whole; it is
    /// read again while its dead letters are [added](Importing::add).
    pub fn importing(&self, archive: &Archive, options: &ImportOptions) -> Importing {
        Importing::new(self.clone(), archive, options)
    }
}
