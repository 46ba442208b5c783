//! Campaigns in memory: the hash of each as a server has it, and the originals beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backend::{CAMPAIGN_KEPT, Keep, Mark, Opened, Replay, Undo, UndoHow, Undone};
use crate::campaign::{self, CampaignName, CampaignState, Death, NOT_KEPT, Plan, Record};
use crate::dead_letter::split_lineage;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

use super::world::{Kept, Moment};

pub(super) type Campaigns = BTreeMap<(StreamKey, CampaignName), Remembered>;

/// What is kept of a campaign.
#[derive(Default)]
pub(super) struct Remembered {
    hash: BTreeMap<String, String>,
    until_ms: u64,
    originals: BTreeMap<EntryId, (EntryId, Fields)>,
    originals_until_ms: u64,
    last_original: u64,
}

fn until(now: Moment, kept: Duration) -> u64 {
    let kept = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
    now.ms().saturating_add(kept)
}

impl Remembered {
    fn set(&mut self, name: &str, text: impl Into<String>) {
        self.hash.insert(name.to_owned(), text.into());
    }

    fn state(&self) -> Option<CampaignState> {
        CampaignState::from_stored(self.hash.get("state")?)
    }
}

impl Kept {
    /// The campaign of this name, unless its time is over.
    fn remembered(
        &mut self,
        dlq: &StreamKey,
        name: &CampaignName,
        now: Moment,
    ) -> Option<&mut Remembered> {
        self.campaigns
            .retain(|_, campaign| campaign.until_ms > now.ms());
        let campaign = self.campaigns.get_mut(&(dlq.clone(), name.clone()))?;
        if campaign.originals_until_ms <= now.ms() {
            campaign.originals.clear();
        }
        Some(campaign)
    }

    pub(super) fn open_campaign(&mut self, dlq: &StreamKey, plan: &Plan, now: Moment) -> Opened {
        let last = self
            .streams
            .get(dlq)
            .map_or(EntryId::MIN, |stream| stream.last_id);
        if let Some(campaign) = self.remembered(dlq, &plan.name, now)
            && let Some(state) = campaign.state()
        {
            let text = |name: &str| campaign.hash.get(name).cloned().unwrap_or_default();
            let (selection, target) = (text("selection"), text("target"));
            let wanted = plan.target.as_ref().map_or("", StreamKey::as_str);
            if selection != plan.selection || target != wanted {
                return Opened::Other { selection, target };
            }
            if state.is_final() {
                return Opened::Ended(state);
            }
            let newest = text("newest").parse().unwrap_or(EntryId::MIN);
            if state != CampaignState::Paused {
                campaign.set("state", CampaignState::Running.as_str());
            }
            campaign.set("seen-at", now.ms().to_string());
            campaign.hash.remove("ended-at");
            campaign.until_ms = until(now, CAMPAIGN_KEPT);
            return Opened::Open { newest };
        }
        let campaign = self.campaigns.entry((dlq.clone(), plan.name.clone()));
        let campaign = campaign.or_default();
        campaign.until_ms = until(now, CAMPAIGN_KEPT);
        for (name, text) in [
            ("v", "1".to_owned()),
            ("state", CampaignState::Running.as_str().to_owned()),
            ("began-at", now.ms().to_string()),
            ("seen-at", now.ms().to_string()),
            ("newest", last.to_string()),
        ] {
            campaign.set(name, text);
        }
        for (name, text) in plan.texts() {
            campaign.set(name, text);
        }
        Opened::Open { newest: last }
    }

    pub(super) fn mark_campaign(
        &mut self,
        dlq: &StreamKey,
        name: &CampaignName,
        mark: Mark,
        now: Moment,
    ) -> Option<CampaignState> {
        let campaign = self.remembered(dlq, name, now)?;
        let before = campaign.state()?;
        if let Some(selected) = mark.selected {
            campaign.set("seen-at", now.ms().to_string());
            campaign.set("selected", selected.to_string());
        }
        if let Some(next) = mark.state
            && next != before
            && before.may_become(next)
        {
            campaign.set("state", next.as_str());
            if next.is_over() {
                campaign.set("ended-at", now.ms().to_string());
            }
        }
        if mark != Mark::default() {
            campaign.until_ms = until(now, CAMPAIGN_KEPT);
        }
        Some(before)
    }

    pub(super) fn record(
        &mut self,
        dlq: &StreamKey,
        name: &CampaignName,
        now: Moment,
    ) -> Option<Record> {
        let record = Record::read(self.remembered(dlq, name, now)?.hash.clone())?;
        Some(record.read_at(now.ms()))
    }

    pub(super) fn campaign_names(&mut self, dlq: &StreamKey, now: Moment) -> Vec<CampaignName> {
        self.campaigns
            .retain(|_, campaign| campaign.until_ms > now.ms());
        let began =
            |campaign: &Remembered| -> Option<u64> { campaign.hash.get("began-at")?.parse().ok() };
        let own = self.campaigns.iter().filter(|((queue, _), _)| queue == dlq);
        let mut names: Vec<_> = own
            .map(|((_, name), one)| (began(one), name.clone()))
            .collect();
        names.sort_unstable();
        names.into_iter().rev().map(|(_, name)| name).collect()
    }

    pub(super) fn note_deaths(
        &mut self,
        dlq: &StreamKey,
        name: &CampaignName,
        deaths: &[(EntryId, Death)],
        searched: EntryId,
        now: Moment,
    ) {
        let Some(campaign) = self.remembered(dlq, name, now) else {
            return;
        };
        for (id, death) in deaths {
            campaign.set(&format!("d:{id}"), death.text());
        }
        campaign.set("searched", searched.to_string());
    }

    /// Notes what a campaign has put back.
    pub(super) fn enlist(&mut self, dlq: &StreamKey, order: &Replay, added: EntryId, now: Moment) {
        let Some(enlisted) = &order.campaign else {
            return;
        };
        let letter = self.streams.get(dlq);
        let letter = letter.and_then(|stream| stream.entries.get(&order.dead_letter).cloned());
        let key = (dlq.clone(), enlisted.name.clone());
        let campaign = self.campaigns.entry(key).or_default();
        campaign.until_ms = until(now, CAMPAIGN_KEPT);
        let mut under = NOT_KEPT.to_owned();
        // A copy stays in the queue: it is its own original.
        if let (Keep::Remove, Some(window), Some(letter)) =
            (order.keep, enlisted.undo_window, letter)
        {
            campaign.last_original += 1;
            let id = EntryId::new(now.ms(), campaign.last_original);
            campaign.originals.insert(id, (order.dead_letter, letter));
            campaign.originals_until_ms = until(now, window);
            under = id.to_string();
        }
        let went = campaign::went(&order.target, enlisted.group.as_ref());
        campaign.set(
            &format!("r:{}", order.dead_letter),
            format!("{added} {under} {went}"),
        );
    }

    /// Notes that a message has died again, in the campaign that put it back.
    pub(super) fn note_death(
        &mut self,
        dlq: &StreamKey,
        fields: &Fields,
        id: EntryId,
        fingerprint: &str,
        now: Moment,
    ) {
        let lineage = split_lineage(fields).1;
        let (Some(from), Some(name)) = (lineage.replayed_from, lineage.campaign) else {
            return;
        };
        let Ok(name) = CampaignName::new(name) else {
            return;
        };
        let Some(campaign) = self.remembered(dlq, &name, now) else {
            return;
        };
        if campaign.hash.contains_key(&format!("r:{from}")) {
            let fingerprint = Some(fingerprint.to_owned()).filter(|known| !known.is_empty());
            campaign.set(&format!("d:{from}"), Death { id, fingerprint }.text());
        }
    }

    pub(super) fn undo(
        &mut self,
        dlq: &StreamKey,
        name: &CampaignName,
        order: &Undo,
        how: UndoHow,
        now: Moment,
    ) -> Undone {
        let (id, message) = (order.dead_letter, order.message);
        let Some(campaign) = self.remembered(dlq, name, now) else {
            return Undone::NotKept;
        };
        let before = campaign.hash.get(&format!("u:{id}"));
        if let Some(parked) = before.and_then(|text| text.parse().ok()) {
            return Undone::Already(parked);
        }
        let died = campaign.hash.contains_key(&format!("d:{id}"));
        let original = order
            .original
            .and_then(|under| campaign.originals.get(&under));
        let original = original
            .filter(|(of, _)| *of == id)
            .map(|(_, letter)| letter.clone());
        let target = self.streams.get(&order.target);
        let given = target.is_some_and(|stream| {
            stream.groups.values().any(|group| {
                message <= group.last_delivered || group.pending.contains_key(&message)
            })
        });
        if died || given {
            return Undone::Started;
        }
        if !target.is_some_and(|stream| stream.entries.contains_key(&message)) {
            return Undone::Gone;
        }
        let queue = self.streams.get(dlq);
        // A copy was put back: the dead letter itself has stayed.
        let stays = queue.is_some_and(|stream| stream.entries.contains_key(&id));
        let parked = match (stays, how, original) {
            (false, _, None) => return Undone::NotKept,
            (_, UndoHow::Look, _) => return Undone::Parked(id),
            (true, UndoHow::Do, _) => id,
            (false, UndoHow::Do, Some(letter)) => match self.add(dlq, letter, now) {
                Err(error) => return Undone::Refused(error),
                Ok(parked) => {
                    let ledger = self.ledger(dlq);
                    ledger.replayed = ledger.replayed.saturating_sub(1);
                    ledger.rewritten += 1;
                    parked
                }
            },
        };
        self.delete(&order.target, message);
        self.receipts
            .remove(&(order.target.clone(), dlq.clone(), id));
        if let Some(campaign) = self.remembered(dlq, name, now) {
            campaign.set(&format!("u:{id}"), parked.to_string());
            if let Some(under) = order.original {
                campaign.originals.remove(&under);
            }
        }
        Undone::Parked(parked)
    }
}
