//! Writing down what is done to a queue: before anything is changed, and when it has ended.

use std::time::Duration;

use super::DeadLetterQueue;
use super::patience::Patience;
use crate::audit::{Audit, AuditAction, AuditOutcome, Head, began, cut, ended};
use crate::broker::Broker;
use crate::campaign::CampaignName;
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::StreamKey;
use crate::selection::Selection;
use crate::telemetry;

/// How long an operation that has ended waits for that to be written down.
const TO_WRITE: Duration = Duration::from_secs(5);

/// What the audit is told of one operation.
#[derive(Debug)]
pub(super) struct Recording {
    broker: Broker,
    dlq: StreamKey,
    op: String,
    what: AuditAction,
    audit: Audit,
    selection: Option<String>,
    campaign: Option<CampaignName>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotBegun,
    Began,
    Ended,
}

/// What an operation is told by: 16 hex digits.
pub(super) fn op() -> String {
    format!("{:016x}", fastrand::u64(..))
}

impl Recording {
    /// Of an operation that has not begun.
    pub(super) fn of(queue: &DeadLetterQueue, what: AuditAction) -> Self {
        let audit = queue.audit.clone();
        Self::new(&queue.broker, &queue.stream, op(), what, audit)
    }

    pub(super) fn new(
        broker: &Broker,
        dlq: &StreamKey,
        op: String,
        what: AuditAction,
        audit: Audit,
    ) -> Self {
        Self {
            broker: broker.clone(),
            dlq: dlq.clone(),
            op,
            what,
            audit,
            selection: None,
            campaign: None,
            state: State::NotBegun,
        }
    }

    pub(super) fn about(self, selection: &Selection) -> Self {
        self.described(Some(&selection.to_string()))
    }

    pub(super) fn described(mut self, selection: Option<&str>) -> Self {
        self.selection = selection.map(cut);
        self
    }

    pub(super) fn in_campaign(mut self, campaign: Option<&CampaignName>) -> Self {
        self.campaign = campaign.cloned();
        self
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state != State::NotBegun
    }

    fn head(&self) -> Head<'_> {
        Head {
            op: &self.op,
            what: self.what,
            audit: &self.audit,
            selection: self.selection.as_deref(),
            campaign: self.campaign.as_ref().map(CampaignName::as_str),
        }
    }

    /// Writes that it begins, once. Before anything is changed: what cannot be written down is not
    /// done.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        if self.has_begun() {
            return Ok(());
        }
        let entry = began(&self.head());
        let mut patience = Patience::default();
        loop {
            match self.write(&entry).await {
                Ok(()) => break,
                Err(error) => patience.with(error).await.map_err(|e| self.unwritten(e))?,
            }
        }
        self.state = State::Began;
        Ok(())
    }

    /// Writes that it has ended, and what came of it, if it had begun and this is not written yet.
    /// That it cannot be written is a warning: what was done is done.
    pub(super) async fn end(&mut self, outcome: AuditOutcome, counts: &[(&'static str, u64)]) {
        if self.state != State::Began {
            return;
        }
        let entry = ended(&self.head(), outcome, counts);
        let writing = async {
            let mut patience = Patience::default();
            loop {
                match self.write(&entry).await {
                    Ok(()) => return Ok(()),
                    // The server has just failed: it is not waited for once more.
                    Err(error) if outcome == AuditOutcome::Failed => return Err(error),
                    Err(error) => patience.with(error).await?,
                }
            }
        };
        let late = || Error::new(ErrorKind::TimedOut, "writing the audit");
        let written = tokio::time::timeout(TO_WRITE, writing).await;
        if let Err(error) = written.unwrap_or_else(|_| Err(late())) {
            telemetry::end_not_recorded(self.what.as_str(), &self.dlq, &error);
        }
        self.state = State::Ended;
    }

    async fn write(&self, entry: &Fields) -> Result<(), Error> {
        self.broker.backend().record(&self.dlq, entry).await
    }

    fn unwritten(&self, error: Error) -> Error {
        let what = self.what;
        let cure = match (error.kind(), error.cure()) {
            (ErrorKind::Denied, Some(cure)) => format!(
                "{cure}; nothing was changed, for what is not recorded is not done: XADD to the audit \
                 of the queue has to be allowed, see SECURITY.md"
            ),
            (ErrorKind::WritesRefused | ErrorKind::WrongType, Some(cure)) => {
                format!("{cure}; nothing was changed, for what is not recorded is not done")
            }
            _ => return error.during(format_args!("before a {what} of which nothing was done")),
        };
        error
            .during(format_args!("before a {what} of which nothing was done"))
            .hint(cure)
    }
}
