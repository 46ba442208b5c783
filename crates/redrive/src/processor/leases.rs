//! Renewing what is held, beside everything else, so that slow is not taken for dead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::instrument::WithSubscriber;

use super::health::{Backoff, Health, Part};
use super::writes;
use crate::backend::{Fence, Renewed, RenewedOn, Seat};
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, IdMap};

/// How many leases one call renews.
const CHUNK: usize = 100;
/// How long a try of a renewal that failed is apart from the next, however short the lease.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// The leases that are to be renewed: the one thing the loop and its keeper share.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseTable(Arc<Mutex<IdMap<Fence>>>);

impl LeaseTable {
    pub(crate) fn insert(&self, fence: Fence) {
        self.lock().insert(fence.id, fence);
    }

    pub(crate) fn remove(&self, id: EntryId) {
        self.lock().remove(&id);
    }

    /// Whether this is the delivery that is held now. An answer about an older one says nothing.
    pub(crate) fn is_current(&self, fence: Fence) -> bool {
        self.lock().get(&fence.id) == Some(&fence)
    }

    fn all(&self) -> Vec<Fence> {
        let mut all: Vec<Fence> = self.lock().values().copied().collect();
        // Those of a call close together: the broker looks them up together.
        all.sort_unstable_by_key(|fence| fence.id);
        all
    }

    fn lock(&self) -> MutexGuard<'_, IdMap<Fence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the keeper has to say to the loop.
#[derive(Debug)]
pub(crate) enum Report {
    Renewed(Fence, Renewed),
    /// Renewing can no longer succeed.
    Ended(Error),
}

/// Renews until it is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    _ends_with_this: DropGuard,
}

impl Keeper {
    pub(crate) fn start(
        seat: Arc<dyn Seat>,
        lease: Duration,
        table: LeaseTable,
        health: Health,
        reports: UnboundedSender<Report>,
    ) -> Result<Self, Error> {
        let end = CancellationToken::new();
        let guard = end.clone().drop_guard();
        let renewed_on = seat.renewed_on();
        let failed = reports.clone();
        let work = async move {
            tokio::select! {
                () = end.cancelled() => {}
                error = keep(&*seat, lease, &table, &health, &reports) => {
                    let _ = reports.send(Report::Ended(error));
                }
                error = writes::watch(&*seat, lease, &health) => {
                    let _ = reports.send(Report::Ended(error));
                }
            }
        };
        // An outage is often noticed here first, and said once: by whoever listens to the caller,
        // also where that is a subscriber of the caller's thread alone.
        let work = work.with_current_subscriber();
        match renewed_on {
            RenewedOn::CallersRuntime => drop(tokio::spawn(work)),
            RenewedOn::OwnThread => {
                thread::Builder::new()
                    .name("redrive-leases".to_owned())
                    .spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread()
                            .enable_all()
                            .build();
                        match runtime {
                            Ok(runtime) => runtime.block_on(work),
                            Err(error) => {
                                // Nobody listens any more: the run has ended.
                                let _ = failed.send(Report::Ended(no_thread(error)));
                            }
                        }
                    })
                    .map_err(no_thread)?;
            }
        }
        Ok(Self {
            _ends_with_this: guard,
        })
    }
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "starting the thread that renews leases",
    )
    .hint("the system gives this process no more threads: raise its limit")
    .caused_by(error)
}

async fn keep(
    seat: &dyn Seat,
    lease: Duration,
    table: &LeaseTable,
    health: &Health,
    reports: &UnboundedSender<Report>,
) -> Error {
    let third = lease / 3;
    let mut next = Instant::now() + third;
    let mut backoff = Backoff::default();
    loop {
        sleep_until(next).await;
        let started = Instant::now();
        match renew_all(seat, table, reports).await {
            Ok(()) => {
                health.well(Part::Renewal);
                backoff.reset();
                next = started + third;
            }
            Err(error) if error.kind().is_transient() => {
                health.failing(Part::Renewal, error);
                // Several tries fit into what is left of the lease.
                let most = (lease / 12).max(SHORTEST_PAUSE);
                next = Instant::now() + backoff.pause().min(most);
            }
            Err(error) => return error,
        }
    }
}

async fn renew_all(
    seat: &dyn Seat,
    table: &LeaseTable,
    reports: &UnboundedSender<Report>,
) -> Result<(), Error> {
    let held = table.all();
    if held.is_empty() {
        // Said also with nothing in hand: who is silent for a lease is taken for dead.
        seat.renew(&[]).await?;
    }
    for chunk in held.chunks(CHUNK) {
        let answers = seat.renew(chunk).await?;
        for (fence, answer) in chunk.iter().zip(answers) {
            if !matches!(answer, Renewed::Held) {
                let _ = reports.send(Report::Renewed(*fence, answer));
            }
        }
    }
    Ok(())
}
