//! What became of campaigns, and telling them to wait, to go on, or to end.

use std::collections::{BTreeMap, HashMap};

use super::recording::Recording;
use super::walk::LOOK;
use super::{DeadLetterQueue, outcome_of};
use crate::audit::AuditAction;
use crate::backend::{IdRange, Mark};
use crate::campaign::{
    Campaign, CampaignName, CampaignState, Death, Record, Standing, Standings, groups_of, sample,
};
use crate::dead_letter::DeadLetter;
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, GroupName, Source, StreamKey};
use crate::selection::Order;

/// How many pending entries are looked at in one go.
const PAGE: usize = 1_000;

impl DeadLetterQueue {
    /// A campaign of this queue and what became of what it put back; `None` when there is none of this
    /// name. A campaign is remembered for 30 days after the last that was heard of it.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, CampaignName, Message, Outcome, Processor, ReplayOptions, Selection, Source};
    /// let broker = Broker::connect("memory:").await?;
    /// broker.producer("orders".parse()?).send_all(&[1, 2, 3]).await?;
    /// let source = Source::new("orders", "billing")?;
    /// Processor::builder(&broker, source.clone())
    ///     .build(|_: Message<u32>| async { Outcome::dead_letter("no currency") })?
    ///     .run_until_idle()
    ///     .await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let name: CampaignName = "currencies".parse()?;
    /// let options = ReplayOptions::default().campaign(name.clone());
    /// queue.replay_many(&Selection::all(), &options).await?;
    /// Processor::builder(&broker, source)
    ///     .build(|order: Message<u32>| async move {
    ///         if *order == 3 { Outcome::dead_letter("no address") } else { Outcome::Ack }
    ///     })?
    ///     .run_until_idle()
    ///     .await?;
    /// let told = queue.campaign(&name).await?.ok_or("gone")?;
    /// assert_eq!((told.replayed, told.succeeded, told.dead_again, told.waiting), (3, 2, 1, 0));
    /// assert_eq!(told.fingerprints[0].count, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only looks, and notes what it found.
    pub async fn campaign(&self, name: &CampaignName) -> Result<Option<Campaign>, Error> {
        let backend = self.broker.backend();
        let Some(before) = backend.campaign(&self.stream, name).await? else {
            return Ok(None);
        };
        // The groups first, the dead after: what leaves a group between by dying is found dead.
        let standings = self.standings(&before).await?;
        let Some(mut record) = backend.campaign(&self.stream, name).await? else {
            return Ok(None);
        };
        // What was put back meanwhile was not asked for: it waits.
        let found = self.died_again(&mut record).await?;
        let told = sample(name, &record, &standings);
        if let Some((deaths, searched)) = found {
            let noted = backend
                .note_deaths(&self.stream, name, &deaths, searched)
                .await;
            match noted.map_err(|error| (error.kind(), error)) {
                // Who may only look finds it again the next time.
                Ok(()) | Err((ErrorKind::Denied | ErrorKind::WritesRefused, _)) => {}
                Err((_, error)) => return Err(error),
            }
        }
        Ok(Some(told))
    }

    /// The campaigns of this queue, the latest first.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    pub async fn campaigns(&self) -> Result<Vec<Campaign>, Error> {
        let mut campaigns = Vec::new();
        for name in self.broker.backend().campaigns(&self.stream).await? {
            campaigns.extend(self.campaign(&name).await?);
        }
        Ok(campaigns)
    }

    /// Lets a campaign wait between two of its steps, until it is [resumed](Self::resume_campaign).
    /// Answers how it stood before: as it does again when asked twice.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is none of this name, [`ErrorKind::Refused`] when it has
    /// ended.
    pub async fn pause_campaign(&self, name: &CampaignName) -> Result<CampaignState, Error> {
        self.tell(name, CampaignState::Paused, AuditAction::Pause)
            .await
    }

    /// Lets a paused campaign go on. Where its command is gone, the same one goes on with it.
    ///
    /// # Errors
    ///
    /// As [`pause_campaign`](Self::pause_campaign).
    pub async fn resume_campaign(&self, name: &CampaignName) -> Result<CampaignState, Error> {
        self.tell(name, CampaignState::Running, AuditAction::Resume)
            .await
    }

    /// Ends a campaign between two of its steps, for good. What is put back stays so.
    ///
    /// # Errors
    ///
    /// As [`pause_campaign`](Self::pause_campaign).
    pub async fn abort_campaign(&self, name: &CampaignName) -> Result<CampaignState, Error> {
        self.tell(name, CampaignState::Aborted, AuditAction::Abort)
            .await
    }

    async fn tell(
        &self,
        name: &CampaignName,
        next: CampaignState,
        what: AuditAction,
    ) -> Result<CampaignState, Error> {
        // What is refused has not begun, and what stands so already changes nothing.
        let before = self.told(name, next, Mark::default()).await?;
        if before == next {
            return Ok(before);
        }
        let mut recording = Recording::of(self, what).in_campaign(Some(name));
        recording.begin().await?;
        let mark = Mark {
            state: Some(next),
            selected: None,
        };
        let told = self.told(name, next, mark).await;
        recording.end(outcome_of(&told), &[]).await;
        told
    }

    async fn told(
        &self,
        name: &CampaignName,
        next: CampaignState,
        mark: Mark,
    ) -> Result<CampaignState, Error> {
        let marked = self.broker.backend();
        let marked = marked.mark_campaign(&self.stream, name, mark).await?;
        let before = marked.ok_or_else(|| self.no_campaign(name))?;
        if before.may_become(next) {
            return Ok(before);
        }
        let doing = format!("telling the campaign {name}, which is {}", before.as_str());
        Err(Error::new(ErrorKind::Refused, doing)
            .hint("it has ended: what it has not put back needs a campaign of another name"))
    }

    pub(super) fn no_campaign(&self, name: &CampaignName) -> Error {
        let doing = format!("campaign not found: {name}, in {}", self.stream);
        Error::new(ErrorKind::NotFound, doing)
            .hint("`redrive dlq campaigns` lists them; they are remembered for 30 days")
    }

    /// How far the groups are that have to do with what is open.
    async fn standings(&self, record: &Record) -> Result<Standings, Error> {
        let mut of_streams: BTreeMap<&StreamKey, Vec<_>> = BTreeMap::new();
        for (_, went) in record.open() {
            of_streams.entry(&went.stream).or_default().push(went);
        }
        let backend = self.broker.backend();
        let mut standings = Standings::new();
        for (stream, all) in of_streams {
            let names = backend.groups(stream).await?;
            let names = names.map_or_else(Vec::new, |names| names.names);
            let mut asked: BTreeMap<&GroupName, (EntryId, EntryId)> = BTreeMap::new();
            for went in all {
                for group in groups_of(went, &names) {
                    let (low, high) = asked.entry(group).or_insert((went.id, went.id));
                    (*low, *high) = ((*low).min(went.id), (*high).max(went.id));
                }
            }
            // One that nobody is asked about is there all the same: it is known by its name.
            let mut groups: BTreeMap<GroupName, Standing> = BTreeMap::new();
            for name in &names {
                let standing = match asked.get(name) {
                    None => Standing::default(),
                    Some(between) => self.standing(stream, name, *between).await?,
                };
                groups.insert(name.clone(), standing);
            }
            standings.insert(stream.clone(), groups);
        }
        Ok(standings)
    }

    async fn standing(
        &self,
        stream: &StreamKey,
        group: &GroupName,
        (low, high): (EntryId, EntryId),
    ) -> Result<Standing, Error> {
        let backend = self.broker.backend();
        let stats = backend.stats(stream, Some(group), &self.stream).await?;
        let mut standing = Standing {
            last_delivered: stats.last_delivered_id.unwrap_or_default(),
            ..Standing::default()
        };
        let source = Source {
            stream: stream.clone(),
            group: group.clone(),
        };
        let mut from = low;
        while from <= high {
            let page = match backend.pending(&source, from, PAGE).await {
                Ok(page) => page,
                // It has vanished meanwhile, and with it all that it knew.
                Err(error) if error.kind() == ErrorKind::NoGroup => return Ok(Standing::default()),
                Err(error) => return Err(error),
            };
            let Some(last) = page.last().map(|last| last.id) else {
                break;
            };
            standing.pending.extend(page.iter().map(|one| one.id));
            if last == EntryId::MAX {
                break;
            }
            from = last.successor();
        }
        Ok(standing)
    }

    /// Adds to the record what the queue tells of deaths that are not noted: those of layouts without
    /// lineage, and errors whose fingerprint was not known. Answers what was found and up to where was
    /// searched, if that is further than before.
    async fn died_again(
        &self,
        record: &mut Record,
    ) -> Result<Option<(Vec<(EntryId, Death)>, EntryId)>, Error> {
        let begun = record.id("newest").unwrap_or(EntryId::MIN);
        let searched = record.id("searched").unwrap_or(begun).max(begun);
        let mut at: HashMap<(StreamKey, EntryId), EntryId> = HashMap::new();
        for (id, went) in &record.replayed {
            at.insert((went.stream.clone(), went.id), *id);
        }
        let mut found = Vec::new();
        let newest = IdRange {
            low: EntryId::MIN,
            high: EntryId::MAX,
            order: Order::Newest,
            limit: 1,
        };
        let newest = self.broker.backend().entries(&self.stream, newest).await?;
        let mut range = IdRange {
            low: searched.successor(),
            high: newest.first().map_or(EntryId::MIN, |newest| newest.id),
            order: Order::Oldest,
            limit: LOOK,
        };
        let mut last = searched;
        while !at.is_empty() && range.low <= range.high {
            let page = self.read_page(range).await?;
            let Some(end) = page.last().map(|letter| letter.id) else {
                break;
            };
            for letter in &page {
                let from = letter.stream.clone().zip(letter.original_id);
                let Some(id) = from.and_then(|from| at.get(&from)) else {
                    continue;
                };
                let known = record.died.get(id);
                if known.is_none_or(|death| death.fingerprint.is_none()) {
                    found.push((*id, death(letter)));
                }
            }
            (last, range.low) = (end, end.successor());
        }
        record.died.extend(found.iter().cloned());
        Ok((last > searched).then_some((found, last)))
    }
}

fn death(letter: &DeadLetter) -> Death {
    Death {
        id: letter.id,
        fingerprint: Some(letter.fingerprint.clone()),
    }
}
