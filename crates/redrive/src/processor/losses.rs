//! Leases that were lost: each counted, and told together, as a process that stood still loses all
//! of them in one moment.

use std::time::Duration;

use tokio::time::Instant;

use super::held::Standing;
use super::run::Run;
use crate::names::EntryId;
use crate::telemetry;

/// How long the first one that was lost waits to be told with others.
const TOGETHER: Duration = Duration::from_secs(1);

/// What was lost and not yet told.
#[derive(Debug, Default)]
pub(super) struct Losses {
    untold: u64,
    tell_at: Option<Instant>,
}

impl Losses {
    pub(super) fn tell_at(&self) -> Option<Instant> {
        self.tell_at
    }
}

impl Run {
    /// The lease of a message that was held here is no longer ours.
    pub(super) fn lost(&mut self, id: EntryId) {
        self.tell.lease_lost(id);
        self.summary.totals.leases_lost += 1;
        self.losses.untold += 1;
        self.losses
            .tell_at
            .get_or_insert_with(|| Instant::now() + TOGETHER);
    }

    /// Whether the lease of a held message is ours, as far as was known until now.
    pub(super) fn is_ours(&self, id: EntryId) -> bool {
        let held = self.held.get(&id);
        held.is_some_and(|held| held.standing == Standing::Ours)
    }

    /// Tells what was lost, if it has waited long enough.
    pub(super) fn tell_of_losses(&mut self, now: Instant) {
        if self.losses.tell_at.is_some_and(|tell_at| tell_at <= now) {
            self.tell_of_all_losses();
        }
    }

    /// Tells what was lost, at the latest at the end of a run.
    pub(super) fn tell_of_all_losses(&mut self) {
        let Losses { untold, .. } = std::mem::take(&mut self.losses);
        if untold > 0 {
            telemetry::leases_lost(&self.plan.source, untold);
        }
    }
}
