//! Which errors of a dead-letter queue are new.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use redrive::{
    DeadLetter, DeadLetterQueue, EntryId, Error, GroupBy, Order, Page, Selection, StreamKey,
};

use super::rules::NewCause;

/// How many dead letters are read in one go.
const PAGE: usize = 1_000;
/// How many new errors are counted of a look, each by itself.
const COUNTED: usize = 10_000;

/// The errors that first died at this instant or later, of all that the queue holds; and whether there
/// were too many to count them all.
pub(super) async fn since(
    queue: &DeadLetterQueue,
    since_ms: u64,
) -> Result<(Vec<NewCause>, bool), Error> {
    let groups = queue
        .groups(&Selection::all(), GroupBy::Fingerprint)
        .await?;
    let uncounted = groups.other > 0;
    let new = groups.groups.into_iter();
    let new = new.filter(|group| group.first_at_ms >= since_ms);
    let causes = new.map(|group| NewCause {
        fingerprint: group.fingerprint.or(group.key).unwrap_or_default(),
        count: group.count,
        error: group.error,
    });
    Ok((causes.collect(), uncounted))
}

/// What a watch found in the queues at its beginning, and how far it has looked.
#[derive(Default)]
pub(super) struct Known {
    /// By their hashes: fingerprints are what others wrote, of any length and number.
    fingerprints: HashSet<u64>,
    hasher: RandomState,
    last: BTreeMap<StreamKey, EntryId>,
    has_looked: bool,
}

impl Known {
    pub(super) fn has_looked(&self) -> bool {
        self.has_looked
    }

    pub(super) fn looked(&mut self) {
        self.has_looked = true;
    }

    /// Takes all that is in the queue as known.
    pub(super) async fn begin(&mut self, queue: &DeadLetterQueue) -> Result<(), Error> {
        let last = self
            .each(queue, |known, name, letter| {
                known.fingerprints.insert(known.hash(name, letter));
            })
            .await?;
        self.last.insert(queue.stream().clone(), last);
        Ok(())
    }

    /// What has died since the last look of an error that was not there at the beginning. A queue that
    /// was not there then had none.
    pub(super) async fn look(&mut self, queue: &DeadLetterQueue) -> Result<Vec<NewCause>, Error> {
        let mut causes: HashMap<u64, NewCause> = HashMap::new();
        let last = self
            .each(queue, |known, name, letter| {
                let hash = known.hash(name, letter);
                if known.fingerprints.contains(&hash) {
                    return;
                }
                let many = causes.len();
                match causes.entry(hash) {
                    Entry::Occupied(mut cause) => cause.get_mut().count += 1,
                    Entry::Vacant(cause) if many < COUNTED => {
                        cause.insert(NewCause {
                            fingerprint: letter.fingerprint.clone(),
                            count: 1,
                            error: letter.error.clone(),
                        });
                    }
                    Entry::Vacant(_) => {}
                }
            })
            .await?;
        // What was found and not said, because another queue could not be looked at, is found again.
        if causes.is_empty() {
            self.last.insert(queue.stream().clone(), last);
        }
        Ok(causes.into_values().collect())
    }

    fn hash(&self, queue: &str, letter: &DeadLetter) -> u64 {
        self.hasher.hash_one((queue, &letter.fingerprint))
    }

    /// Goes through what is behind the last that was looked at, and answers which is the last now.
    async fn each(
        &mut self,
        queue: &DeadLetterQueue,
        mut take: impl FnMut(&mut Self, &str, &DeadLetter),
    ) -> Result<EntryId, Error> {
        let name = queue.stream();
        let before = self.last.get(name).copied();
        let mut last = before;
        let mut page = Page::new(Order::Oldest, PAGE);
        if let Some(last) = last {
            page = page.from(last);
        }
        loop {
            let listed = queue.list(page).await?;
            for letter in &listed.dead_letters {
                // A page begins with its first id: that one was looked at.
                if Some(letter.id) > before {
                    take(self, name.as_str(), letter);
                }
            }
            last = listed.dead_letters.last().map(|last| last.id).max(last);
            match listed.next {
                Some(next) => page = next,
                None => return Ok(last.unwrap_or_default()),
            }
        }
    }
}
