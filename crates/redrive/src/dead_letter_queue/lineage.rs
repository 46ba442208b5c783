//! What a message has been through, as far as its queue and the receipts of replays still know.

use super::DeadLetterQueue;
use crate::backend::{Keep, Replay};
use crate::dead_letter::{DeadLetter, Reason};
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

/// How many deaths of one message are looked for.
const MOST: usize = 20;

/// What a message has been through, the oldest first: added, died, replayed, died again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trail {
    /// What is known to have happened.
    pub events: Vec<TrailEvent>,
    /// What was before the first of them.
    pub begin: TrailBegin,
    /// What came after the last.
    pub end: TrailEnd,
    /// How many replays there were before the first event. `None` where nothing says so.
    pub earlier_replays: Option<u32>,
}

/// Something that happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrailEvent {
    /// It was added to its stream.
    Added {
        /// The entry.
        id: EntryId,
        /// Its stream.
        stream: Option<StreamKey>,
    },
    /// It was given up.
    Died {
        /// The dead letter.
        id: EntryId,
        /// When, in Unix ms.
        at_ms: Option<u64>,
        /// Why.
        reason: Option<Reason>,
        /// The last error.
        error: Option<String>,
        /// Whether the queue still holds the dead letter. Of one that it does not hold nothing is
        /// known but its id.
        is_held: bool,
    },
    /// It was put back.
    Replayed {
        /// The new entry.
        id: EntryId,
        /// The stream that it was put into.
        stream: Option<StreamKey>,
        /// The dead letter that it was.
        from: EntryId,
    },
}

/// What was before the first event of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrailBegin {
    /// Nothing: it is the original entry.
    Original,
    /// More, and it went with a dead letter that the queue no longer holds: a replay removes what
    /// it puts back, unless it is told to keep it.
    Gone,
    /// More deaths than the 20 that are looked for.
    TooLong,
    /// That is not known: nothing says where the dead letter came from.
    Unknown,
}

/// What came after the last event of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrailEnd {
    /// Nothing: it lies in the queue, and no receipt tells of a replay. Receipts are kept for two
    /// days and more.
    Dead,
    /// It was put back and the dead letter kept. What became of the new entry is not followed.
    Replayed,
    /// That is not known: this user may not look at receipts.
    Unknown,
}

/// What a trail takes of a dead letter: not its payload.
struct Death {
    id: EntryId,
    at_ms: Option<u64>,
    reason: Option<Reason>,
    error: Option<String>,
    original: Option<EntryId>,
    stream: Option<StreamKey>,
    replayed_from: Option<EntryId>,
    replays: u32,
}

impl Death {
    fn of(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id,
            at_ms: letter.dead_at_ms,
            reason: letter.reason,
            error: letter.error.clone(),
            original: letter.original_id,
            stream: letter.stream.clone(),
            replayed_from: letter.replayed_from,
            replays: letter.replays,
        }
    }

    /// How the entry came about that died here, and its death.
    fn events(self) -> impl Iterator<Item = TrailEvent> {
        let stream = self.stream;
        let entry = self.original.map(|id| match self.replayed_from {
            None => TrailEvent::Added { id, stream },
            Some(from) => TrailEvent::Replayed { id, stream, from },
        });
        let death = TrailEvent::Died {
            id: self.id,
            at_ms: self.at_ms,
            reason: self.reason,
            error: self.error,
            is_held: true,
        };
        entry.into_iter().chain([death])
    }
}

impl DeadLetterQueue {
    /// What the message of a dead letter of this queue has been through: earlier deaths that the
    /// queue still holds, 20 at most, and whether it was put back since. It is followed within this
    /// queue only.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Message, Outcome, Processor, ReplayOptions, Source, TrailBegin};
    /// let broker = Broker::connect("memory:").await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// broker.producer("orders".parse()?).send(&7).await?;
    /// let mut billing = Processor::builder(&broker, Source::new("orders", "billing")?)
    ///     .build(async |_: Message<u32>| Outcome::dead_letter("no"))?;
    /// billing.run_until_idle().await?;
    /// let first = queue.list(Default::default()).await?.dead_letters[0].id;
    /// queue.replay(first, &ReplayOptions::default()).await?;
    /// billing.run_until_idle().await?;
    /// let again = &queue.list(Default::default()).await?.dead_letters[0];
    /// let trail = queue.trail(again).await?;
    /// // Died (gone from the queue), replayed, died again.
    /// assert_eq!((trail.events.len(), trail.begin), (3, TrailBegin::Gone));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. That this user may not look at receipts is no error.
    pub async fn trail(&self, letter: &DeadLetter) -> Result<Trail, Error> {
        let mut deaths = vec![Death::of(letter)];
        let mut gone = None;
        let begin = loop {
            let Some(last) = deaths.last() else {
                break TrailBegin::Unknown;
            };
            let Some(earlier) = last.replayed_from else {
                let knows = last.original.is_some() && last.replays == 0;
                break if knows {
                    TrailBegin::Original
                } else {
                    TrailBegin::Unknown
                };
            };
            if deaths.len() == MOST {
                break TrailBegin::TooLong;
            }
            // Ids grow: what claims to be older and is not would lead round in a circle.
            let found = if earlier < last.id {
                self.read_one(earlier).await?
            } else {
                None
            };
            match found {
                Some(found) => deaths.push(Death::of(&found)),
                None => {
                    gone = Some(earlier);
                    break TrailBegin::Gone;
                }
            }
        };
        let oldest = deaths.last();
        let earlier_replays = match begin {
            TrailBegin::Original => Some(0),
            TrailBegin::Gone | TrailBegin::TooLong => oldest
                .and_then(|oldest| oldest.replays.checked_sub(1))
                .filter(|_| letter.replays > 0),
            TrailBegin::Unknown => None,
        };
        let mut events = Vec::new();
        events.extend(gone.map(|id| TrailEvent::Died {
            id,
            at_ms: None,
            reason: None,
            error: None,
            is_held: false,
        }));
        events.extend(deaths.into_iter().rev().flat_map(Death::events));
        let end = match self.put_back(letter).await {
            Ok(None) => TrailEnd::Dead,
            Ok(Some((id, stream))) => {
                events.push(TrailEvent::Replayed {
                    id,
                    stream: Some(stream),
                    from: letter.id,
                });
                TrailEnd::Replayed
            }
            Err(error) if error.kind() == ErrorKind::Denied => TrailEnd::Unknown,
            Err(error) => return Err(error),
        };
        Ok(Trail {
            events,
            begin,
            end,
            earlier_replays,
        })
    }

    /// The entry as which a dead letter was put back into this stream, as long as the receipt is
    /// kept: two days and more, also when the dead letter itself is gone.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Fields, ReplayOptions, StreamKey};
    /// let broker = Broker::connect("memory:").await?;
    /// let orders: StreamKey = "orders".parse()?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let producer = broker.producer("orders:dlq".parse()?);
    /// let dead = producer.send_fields(Fields::from_iter([("data", "7")])).await?;
    /// assert_eq!(queue.receipt(dead, &orders).await?, None);
    /// let again = ReplayOptions::default().target(orders.clone());
    /// let new = queue.replay(dead, &again).await?;
    /// assert_eq!(queue.receipt(dead, &orders).await?, Some(new));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    pub async fn receipt(&self, id: EntryId, target: &StreamKey) -> Result<Option<EntryId>, Error> {
        let order = Replay {
            dead_letter: id,
            target: target.clone(),
            fields: Fields::default(),
            keep: Keep::Remove,
            campaign: None,
        };
        let backend = self.broker.backend();
        let mut known = backend.receipts(&self.stream, &[order]).await?;
        Ok(known.pop().flatten())
    }

    async fn put_back(&self, letter: &DeadLetter) -> Result<Option<(EntryId, StreamKey)>, Error> {
        let Some(target) = letter.stream.clone().or_else(|| self.source_by_name()) else {
            return Ok(None);
        };
        let new = self.receipt(letter.id, &target).await?;
        Ok(new.map(|id| (id, target)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::dead_letter_queue::ReplayOptions;

    fn id(millis: u64) -> EntryId {
        EntryId::new(millis, 0)
    }

    fn stored(original: u64, replayed_from: Option<String>, replays: u32) -> Fields {
        let mut pairs = vec![
            ("n", "1".to_owned()),
            ("redrive-v", "1".to_owned()),
            ("redrive-fields", "1".to_owned()),
            ("redrive-stream", "orders".to_owned()),
            ("redrive-id", format!("{original}-0")),
            ("redrive-reason", "rejected".to_owned()),
            ("redrive-error", format!("no {replays}")),
            ("redrive-replays", replays.to_string()),
        ];
        pairs.extend(replayed_from.map(|from| ("redrive-replayed-from", from)));
        pairs.into_iter().collect()
    }

    async fn queue() -> DeadLetterQueue {
        let broker = Broker::connect("memory:").await.unwrap();
        broker.dead_letters("orders:dlq".parse().unwrap())
    }

    async fn dies(queue: &DeadLetterQueue, stored: Fields) -> DeadLetter {
        let backend = queue.broker.backend();
        let ids = backend.append(&queue.stream, &[stored]).await.unwrap();
        queue.get(ids[0]).await.unwrap().unwrap()
    }

    fn told(trail: &Trail) -> Vec<String> {
        let told = trail.events.iter().map(|event| match event {
            TrailEvent::Added { id, .. } => format!("added {id}"),
            TrailEvent::Died {
                is_held: true,
                error,
                ..
            } => error.clone().unwrap(),
            TrailEvent::Died { .. } => "gone".to_owned(),
            TrailEvent::Replayed { id, .. } => format!("replayed {id}"),
        });
        told.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_trail_goes_back_to_the_original_where_all_deaths_are_kept() {
        let queue = queue().await;
        let first = dies(&queue, stored(1, None, 0)).await;
        let second = dies(&queue, stored(2, Some(first.id.to_string()), 1)).await;
        let third = dies(&queue, stored(3, Some(second.id.to_string()), 2)).await;
        let trail = queue.trail(&third).await.unwrap();
        let all = [
            "added 1-0",
            "no 0",
            "replayed 2-0",
            "no 1",
            "replayed 3-0",
            "no 2",
        ];
        assert_eq!(told(&trail), all);
        let begin = (trail.begin, trail.earlier_replays);
        assert_eq!(begin, (TrailBegin::Original, Some(0)));
        assert_eq!(trail.end, TrailEnd::Dead);

        // One that is gone ends it, and says how much is missing.
        assert!(
            queue
                .purge(&crate::Selection::all().id(second.id))
                .await
                .is_ok()
        );
        let trail = queue.trail(&third).await.unwrap();
        assert_eq!(told(&trail), ["gone", "replayed 3-0", "no 2"]);
        let begin = (trail.begin, trail.earlier_replays);
        assert_eq!(begin, (TrailBegin::Gone, Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_was_put_back_is_told_by_its_receipt_and_so_is_what_is_gone() {
        let queue = queue().await;
        let letter = dies(&queue, stored(1, None, 0)).await;
        let keep = ReplayOptions::default().keep(Keep::Copy);
        let new = queue.replay(letter.id, &keep).await.unwrap();
        let trail = queue.trail(&letter).await.unwrap();
        assert_eq!(
            told(&trail),
            [
                "added 1-0".to_owned(),
                "no 0".to_owned(),
                format!("replayed {new}")
            ]
        );
        assert_eq!(trail.end, TrailEnd::Replayed);
        let orders = "orders".parse().unwrap();
        assert_eq!(queue.receipt(letter.id, &orders).await.unwrap(), Some(new));
        assert_eq!(queue.receipt(id(9), &orders).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trail_that_lies_ends() {
        let queue = queue().await;
        // Of itself, of a later one, of a long row.
        let own = dies(&queue, stored(1, Some(EntryId::MAX.to_string()), 3)).await;
        let trail = queue.trail(&own).await.unwrap();
        assert_eq!(
            (trail.begin, trail.earlier_replays),
            (TrailBegin::Gone, Some(2))
        );
        let mut last = own;
        for _ in 0..30 {
            last = dies(&queue, stored(1, Some(last.id.to_string()), 7)).await;
        }
        let trail = queue.trail(&last).await.unwrap();
        assert_eq!(
            (trail.begin, trail.events.len()),
            (TrailBegin::TooLong, 2 * MOST)
        );
        // Nothing is known of what somebody else wrote.
        let foreign = dies(&queue, Fields::from_iter([("a", "1")])).await;
        let trail = queue.trail(&foreign).await.unwrap();
        assert_eq!((trail.begin, trail.events.len()), (TrailBegin::Unknown, 1));
    }
}
