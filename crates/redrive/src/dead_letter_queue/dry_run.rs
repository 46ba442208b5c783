//! What a bulk replay would do, without touching anything.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::DeadLetterQueue;
use super::not_found;
use super::options::ReplayOptions;
use super::prepared::{Prepared, Slot};
use super::report::{Progress, ReplayReport, ReplaySample};
use crate::backend::Replay;
use crate::dead_letter::{self, DeadLetter};
use crate::error::Error;
use crate::message::Fields;
use crate::payload::{self, Found};
use crate::selection::Selection;

/// How many samples a dry run keeps.
const SAMPLES: usize = 5;

/// What a bulk replay would do, step by step. Changes nothing.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{Broker, ReplayOptions, Selection};
/// let broker = Broker::connect("memory:").await?;
/// let queue = broker.dead_letters("orders:dlq".parse()?);
/// let options = ReplayOptions::default();
/// let mut dry = queue.dry_run(&Selection::all(), &options).await?;
/// while dry.step().await?.is_some() {}
/// println!("{} would be put back", dry.report().replayed);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it says nothing until it is asked for a step"]
pub struct DryRun {
    prepared: Prepared,
    samples: Vec<ReplaySample>,
}

impl DryRun {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            prepared: Prepared::start(queue, selection, options).await?,
            samples: Vec::new(),
        })
    }

    /// Looks at the next 100 at most; `None` when all are looked at.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, also while it migrates, and to ask again: none is left out.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        let this = &mut self.prepared;
        if !this.next().await? {
            this.books.last.clear();
            return Ok(None);
        }
        if this.chunk.is_none() {
            this.take(usize::MAX);
        }
        let backend = this.queue.broker.backend();
        let orders = this.chunk.as_ref().map(|chunk| chunk.orders.as_slice());
        let orders = orders.unwrap_or_default();
        let receipts = backend.receipts(&this.queue.stream, orders).await?;
        let chunk = this.chunk.take().unwrap_or_default();
        let mut orders = Arc::unwrap_or_clone(chunk.orders).into_iter().zip(receipts);
        for slot in chunk.slots {
            let before = match slot {
                Slot::Skipped(id) => {
                    this.books.skipped(id);
                    continue;
                }
                Slot::Failed(id, error) => {
                    this.books.fail(id, &error);
                    continue;
                }
                Slot::Ordered(before) => before,
            };
            let Some((order, receipt)) = orders.next() else {
                break;
            };
            let id = order.dead_letter;
            match (receipt, before) {
                (Some(new), _) => this.books.already(id, new),
                (None, None) => this.books.fail(id, &not_found(id)),
                (None, Some(before)) => {
                    this.books.would_be_added(id);
                    if self.samples.len() < SAMPLES {
                        self.samples.push(sample(*before, order));
                    }
                }
            }
        }
        Ok(Some(this.progress()))
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.prepared.progress()
    }

    /// What a replay would report of what was looked at so far, without the new ids, which nobody
    /// knows: `replayed` would be put back, `failed` could not.
    #[must_use]
    pub fn report(&self) -> &ReplayReport {
        &self.prepared.books.report
    }

    /// The first five that would be put back.
    #[must_use]
    pub fn samples(&self) -> &[ReplaySample] {
        &self.samples
    }
}

fn sample(before: DeadLetter, order: Replay) -> ReplaySample {
    // Without what a replay adds: no handler sees it.
    let user = dead_letter::split_lineage(&order.fields).0;
    let (payload_before, field) = shown(payload::find(&before));
    let (payload_after, _) = shown(payload::find_in(&user, before.layout));
    // What would be put back as it is.
    let unchanged = dead_letter::replay_fields(&before).unwrap_or_default();
    ReplaySample {
        id: before.id,
        target: order.target,
        payload_before,
        payload_after,
        beside_before: only_in(&unchanged, &order.fields, field),
        beside_after: only_in(&order.fields, &unchanged, field),
        before: before.fields,
        after: order.fields,
    }
}

/// A payload, and in which field it is.
fn shown(found: Found) -> (Option<Box<RawValue>>, Option<&'static str>) {
    match found {
        Found::Decoded(payload) => (Some(payload.form), payload.field),
        Found::Empty | Found::Undecodable => (None, None),
    }
}

/// The fields of one that the other has not, but for the payload; none where that is all of them.
fn only_in(one: &Fields, other: &Fields, payload: Option<&str>) -> Fields {
    let Some(payload) = payload else {
        return Fields::default();
    };
    let other: HashSet<_> = other.iter().collect();
    let own = one.pairs().iter().filter(|(name, value)| {
        name != payload && !other.contains(&(name.as_ref(), value.as_ref()))
    });
    own.cloned().collect()
}
