//! Counting groups step by step.

use super::DeadLetterQueue;
use super::report::Progress;
use super::walk::{LOOK, Walk};
use crate::error::Error;
use crate::groups::{DeadLetterGroups, GroupBy, Tally};
use crate::selection::Selection;

/// Counts groups of dead letters step by step: for who shows how far it is, or ends it early. It
/// holds no more than a page of the queue, and 20,000 groups.
#[derive(Debug)]
#[must_use = "it counts nothing until it is asked for a step"]
pub struct Grouping {
    queue: DeadLetterQueue,
    walk: Walk,
    /// How many more the limit allows.
    left: usize,
    tally: Tally,
}

impl Grouping {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
        by: GroupBy,
    ) -> Result<Self, Error> {
        Ok(Self {
            walk: Walk::start(&queue, selection).await?,
            queue,
            left: selection.limit.unwrap_or(usize::MAX),
            tally: Tally::new(by),
        })
    }

    /// Looks at one more page and counts what matches; `None` when there is nothing left to look
    /// at. A step in which nothing matches is one too.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to ask for the next step: none is counted twice.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(page) = self.walk.page(&self.queue, self.left, LOOK).await? else {
            return Ok(None);
        };
        // An id that was named and is not there is passed over.
        for letter in page.into_iter().flatten().take(self.left) {
            self.left -= 1;
            self.tally.add(&letter);
        }
        Ok(Some(self.walk.progress()))
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.walk.progress()
    }

    /// What it has counted so far.
    #[must_use]
    pub fn groups(&self) -> DeadLetterGroups {
        self.tally.groups()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{queue_of_250, rejected};
    use super::*;
    use crate::names::EntryId;
    use crate::selection::Order;

    #[tokio::test(start_paused = true)]
    async fn groups_are_of_what_is_selected_and_no_more_than_its_limit() {
        let (queue, ids, rejected_ids) = queue_of_250().await;
        let groups = queue.groups(&Selection::all(), GroupBy::Reason).await;
        let groups = groups.unwrap();
        let told: Vec<(Option<&str>, u64)> = (groups.groups.iter())
            .map(|group| (group.key.as_deref(), group.count))
            .collect();
        assert_eq!(told.len(), 2);
        assert!(told.contains(&(Some("rejected"), 125)), "{told:?}");
        assert_eq!((groups.counted, groups.other), (250, 0));

        let newest = rejected().order(Order::Newest).limit(60);
        let mut grouping = queue.grouping(&newest, GroupBy::Stream).await.unwrap();
        let mut steps = Vec::new();
        while let Some(progress) = grouping.step().await.unwrap() {
            steps.push((progress.examined, grouping.groups().counted));
        }
        assert_eq!(steps, [(100, 50), (200, 60)]);
        let groups = grouping.groups();
        assert_eq!((groups.groups.len(), groups.groups[0].count), (1, 60));
        assert_eq!(groups.groups[0].sample_id, *rejected_ids.last().unwrap());

        let two = Selection::ids([ids[0], EntryId::new(1, 1), ids[1]]);
        let groups = queue.groups(&two, GroupBy::Fingerprint).await.unwrap();
        assert_eq!((groups.counted, groups.groups.len()), (2, 1));
    }
}
