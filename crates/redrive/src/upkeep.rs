//! Keeping groups in order: creating and deleting them, and clearing away dead consumers.

use std::time::Duration;

use crate::broker::Broker;
use crate::error::{Error, ErrorKind};
use crate::members::{
    Consumer, Created, Deleted, Deletion, GroupCreation, GroupDeletion, InUse, KeptConsumer,
    PruneReport, Removal,
};
use crate::names::{GroupStart, Source};

impl Broker {
    /// Creates a group where it is missing, as a processor does that starts: with the stream, if that
    /// is missing too, and where an earlier group of this name had come to, if redrive knows that;
    /// `start` is for a group that is new. One that is there is left as it is.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, GroupStart, Source};
    /// let broker = Broker::connect("memory:").await?;
    /// let source = Source::new("orders", "billing")?;
    /// assert!(broker.create_group(&source, GroupStart::New).await?.created);
    /// assert!(!broker.create_group(&source, GroupStart::New).await?.created);
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker does not do it, or the key of the stream holds something else.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to call again.
    pub async fn create_group(
        &self,
        source: &Source,
        start: GroupStart,
    ) -> Result<GroupCreation, Error> {
        let created = self.backend().create_group(source, start).await?;
        let stats = self.stats(source).await?;
        let (is_new, stream_created, resumed) = match created {
            Created::WasThere => (false, false, false),
            Created::New { stream, resumed } => (true, stream, resumed),
        };
        Ok(GroupCreation {
            stream: source.stream.clone(),
            group: source.group.clone(),
            created: is_new,
            stream_created,
            resumed,
            last_delivered_id: stats.last_delivered_id,
        })
    }

    /// What [`delete_group`](Self::delete_group) would remove; changes nothing.
    ///
    /// # Errors
    ///
    /// As [`delete_group`](Self::delete_group).
    pub async fn group_deletion(&self, source: &Source) -> Result<GroupDeletion, Error> {
        self.deletion(source, Deletion::Look).await
    }

    /// Deletes a group with everything that redrive keeps beside it, in one step of the broker; also what
    /// is left of one that has vanished, so that it no longer holds back a [`trim`](Self::trim). The
    /// entries of the stream stay, and so do dead letters.
    ///
    /// One that is [in use](GroupDeletion::in_use), with something pending or a consumer that lives, stays unless
    /// it is deleted all the same: what was pending is pending no more then, and no worker of this group
    /// runs it again. A processor that still runs creates the group again; stop it first.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, GroupStart, InUse, Source};
    /// let broker = Broker::connect("memory:").await?;
    /// let source = Source::new("orders", "billing")?;
    /// broker.create_group(&source, GroupStart::First).await?;
    /// let deleted = broker.delete_group(&source, InUse::Keep).await?;
    /// assert_eq!(deleted.pending, 0);
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] when it is in use and is to stay then; [`ErrorKind::NotFound`] when there is
    /// neither the group nor anything kept of it; when the broker does not do it, or the key of the stream
    /// holds something else.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to call again; the second call does not find what the first one removed.
    pub async fn delete_group(
        &self,
        source: &Source,
        in_use: InUse,
    ) -> Result<GroupDeletion, Error> {
        let how = match in_use {
            InUse::Keep => Deletion::Unused,
            InUse::Delete => Deletion::Forced,
        };
        let deletion = self.deletion(source, how).await?;
        if !deletion.removed {
            let doing = format!(
                "deleting the group {} of {}, which is in use (pending: {}, consumers that live: {})",
                source.group,
                source.stream,
                deletion.pending,
                deletion.alive.len()
            );
            return Err(Error::new(ErrorKind::Refused, doing)
                .hint("wait until nothing is pending, and stop its workers"));
        }
        Ok(deletion)
    }

    async fn deletion(&self, source: &Source, how: Deletion) -> Result<GroupDeletion, Error> {
        let deleted = self.backend().delete_group(source, how).await?;
        let Deleted {
            existed,
            removed,
            pending,
            alive,
            kept,
        } = deleted;
        if !existed && !kept {
            return Err(self.no_such_group(source).await);
        }
        Ok(GroupDeletion {
            stream: source.stream.clone(),
            group: source.group.clone(),
            existed,
            removed,
            pending,
            alive,
            kept,
        })
    }

    /// The consumers of a group, by their names: what each holds, and whether it is one of redrive's that
    /// lives.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such stream or group; when the broker cannot be asked, or
    /// the key holds something else.
    pub async fn consumers(&self, source: &Source) -> Result<Vec<Consumer>, Error> {
        match self.backend().consumers(source).await {
            Err(error) if error.kind() == ErrorKind::NoGroup => {
                Err(self.no_such_group(source).await)
            }
            answer => answer,
        }
    }

    /// What [`prune_consumers`](Self::prune_consumers) would remove; changes nothing.
    ///
    /// # Errors
    ///
    /// As [`consumers`](Self::consumers).
    pub async fn prunable_consumers(
        &self,
        source: &Source,
        idle: Duration,
    ) -> Result<PruneReport, Error> {
        self.pruned(source, idle, Removal::Look).await
    }

    /// Removes the consumers of a group on which nothing is pending, whose process gives no sign of life,
    /// and that have been silent for at least `idle`. Each is checked and removed in one step of the
    /// broker: removing a consumer destroys what is pending on it.
    ///
    /// A worker of another kind that waits for entries may be among them, where it looks silent while it
    /// waits, as before Redis 7.2. It loses nothing: its next read makes it a consumer again.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use std::time::Duration;
    /// use redrive::{Broker, GroupStart, Source};
    /// # let broker = Broker::connect("memory:").await?;
    /// let source = Source::new("orders", "billing")?;
    /// # broker.create_group(&source, GroupStart::First).await?;
    /// let report = broker.prune_consumers(&source, Duration::from_secs(3600)).await?;
    /// for kept in &report.kept {
    ///     println!("{} stays: {:?}", kept.consumer.name, kept.why);
    /// }
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`consumers`](Self::consumers); some may have been removed by then.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to call again: what is gone is gone, and is not in the report.
    pub async fn prune_consumers(
        &self,
        source: &Source,
        idle: Duration,
    ) -> Result<PruneReport, Error> {
        self.pruned(source, idle, Removal::Remove).await
    }

    async fn pruned(
        &self,
        source: &Source,
        idle: Duration,
        removal: Removal,
    ) -> Result<PruneReport, Error> {
        let judged = match self.backend().prune(source, idle, removal).await {
            Err(error) if error.kind() == ErrorKind::NoGroup => {
                return Err(self.no_such_group(source).await);
            }
            answer => answer?,
        };
        let mut report = PruneReport {
            stream: source.stream.clone(),
            group: source.group.clone(),
            removed: Vec::new(),
            kept: Vec::new(),
        };
        for (consumer, why) in judged {
            match why {
                None => report.removed.push(consumer),
                Some(why) => report.kept.push(KeptConsumer { consumer, why }),
            }
        }
        Ok(report)
    }
}
