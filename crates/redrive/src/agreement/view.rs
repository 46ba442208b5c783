//! All that can be seen of a broker, in lines that two of them must have in common.

use std::collections::BTreeMap;

use super::room::FIRST_ID;
use super::side::{FOREIGN, Letter, Side, kind};
use crate::backend::IdRange;
use crate::ledger::Ledger;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};
use crate::selection::Order;
use crate::stats::Stats;

pub(super) const HOUR_MS: i64 = 3_600_000;

/// What was seen, by what it is about.
#[derive(Debug, PartialEq, Eq, Default)]
pub(super) struct View {
    pub(super) lines: BTreeMap<&'static str, Vec<String>>,
    /// The dead letters, times taken out.
    pub(super) letters: BTreeMap<Letter, Fields>,
    /// The lag, where the broker says that it is exact.
    pub(super) lag: Option<u64>,
    pub(super) pending: Vec<Pending>,
    pub(super) entries: Vec<EntryId>,
    pub(super) due: Vec<EntryId>,
    pub(super) last_id: EntryId,
    /// How far the group has read.
    pub(super) delivered: EntryId,
}

/// An entry that is pending.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) id: EntryId,
    pub(super) consumer: String,
    pub(super) count: u64,
    pub(super) is_trimmed: bool,
}

/// Whether the group exists: only then there is a list of what is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    There,
    Dropped,
}

impl Side<'_> {
    pub(super) async fn look(&self, group: Group) -> View {
        let mut view = View::default();
        let source = &self.room.source;
        let (entries, other, letters, states, due, mut ledger, counts, stats) = futures_util::join!(
            self.range(&source.stream),
            self.range(&self.room.other),
            self.range(&self.room.dlq),
            self.lab.states(source),
            self.lab.due(source),
            self.lab.ledger(&self.room.dlq),
            self.backend.counts(&self.room.dlq),
            self.backend
                .stats(&source.stream, Some(&source.group), &self.room.dlq),
        );
        let entries = entries.unwrap_or_default();
        view.entries = entries.iter().map(|(id, _)| *id).collect();
        view.see("entries", entries.iter().map(|(id, f)| shown(id, f)));
        let other = other.unwrap_or_default();
        view.see("other stream", other.iter().map(|(id, f)| shown(id, f)));
        match letters {
            Ok(letters) => self.see_letters(&letters, &mut view),
            Err(error) => view.see("dead letters", [error]),
        }
        let states = states.into_iter().map(|(id, mut state)| {
            state.first_failure_ms = state.first_failure_ms.map(|_| 0);
            format!("{id} {state:?}")
        });
        view.see("states", states);
        view.due = due.iter().map(|(id, _)| *id).collect();
        let due = due.into_iter();
        view.see(
            "due",
            due.map(|(id, ms)| format!("{id} in {} h", ms.div_euclid(HOUR_MS))),
        );
        // A server may write a tombstone first where the memory broker writes the bytes at once; what that
        // comes to is the same.
        ledger.remove("rewritten");
        view.see("ledger", [format!("{ledger:?}")]);
        let books = counts.map(|counts| counts.as_ref().map(Ledger::of));
        view.see(
            "books",
            [format!("{:?}", books.map_err(|error| kind(&error)))],
        );
        match stats {
            Ok(stats) => see_stats(stats, &mut view),
            Err(error) => view.see("stats", [kind(&error)]),
        }
        if group == Group::There {
            self.see_pending(&mut view).await;
        }
        let newest = view.entries.last().copied().unwrap_or(FIRST_ID);
        view.last_id = view.last_id.max(newest);
        view
    }

    async fn see_pending(&self, view: &mut View) {
        let rows = self.lab.pel(&self.room.source).await;
        view.pending = rows
            .iter()
            .map(|row| Pending {
                id: row.id,
                consumer: row.consumer.clone(),
                count: row.count,
                is_trimmed: !view.entries.contains(&row.id),
            })
            .collect();
        let rows = rows.into_iter().map(|row| {
            let hours = row.idle.as_secs() / 3600;
            format!("{} {} {} idle {hours} h", row.id, row.consumer, row.count)
        });
        view.see("pending", rows);
    }

    fn see_letters(&self, letters: &[(EntryId, Fields)], view: &mut View) {
        for (id, fields) in letters {
            match self.letters.get(id) {
                Some(letter) => _ = view.letters.insert(*letter, without_times(fields)),
                None => view.see("dead letters nobody was told of", [shown(id, fields)]),
            }
        }
        let lines: Vec<_> = view.letters.iter().map(|(n, f)| shown(n, f)).collect();
        view.see("dead letters", lines);
    }

    async fn range(&self, stream: &StreamKey) -> Result<Vec<(EntryId, Fields)>, String> {
        let all = IdRange {
            low: EntryId::MIN,
            high: EntryId::MAX,
            order: Order::Oldest,
            limit: 10_000,
        };
        let entries = self.backend.entries(stream, all).await;
        let entries = entries.map_err(|error| kind(&error))?.into_iter();
        Ok(entries.map(|entry| (entry.id, entry.fields)).collect())
    }
}

impl View {
    fn see(&mut self, what: &'static str, lines: impl IntoIterator<Item = String>) {
        self.lines.entry(what).or_default().extend(lines);
    }

    /// Where two views differ.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let names = self.lines.keys().chain(other.lines.keys());
        for name in names {
            let (one, two) = (self.lines.get(name), other.lines.get(name));
            if one != two {
                return Some(format!("{name} differ\n{}", difference(one, two)));
            }
        }
        match (self.lag, other.lag) {
            (Some(one), Some(two)) if one != two => Some(format!("lag {one} and {two}")),
            _ => None,
        }
    }
}

fn difference(memory: Option<&Vec<String>>, redis: Option<&Vec<String>>) -> String {
    let nothing = Vec::new();
    let (memory, redis) = (memory.unwrap_or(&nothing), redis.unwrap_or(&nothing));
    let only = |ones: &[String], others: &[String]| {
        let ones = ones.iter().filter(|one| !others.contains(one));
        ones.fold(String::new(), |all, one| all + "\n  " + one)
    };
    let (one, two) = (only(memory, redis), only(redis, memory));
    if one.is_empty() && two.is_empty() {
        return format!("in their order: {memory:#?} {redis:#?}");
    }
    format!("only in memory:{one}\nonly in redis:{two}")
}

fn see_stats(mut stats: Stats, view: &mut View) {
    view.last_id = stats.last_entry_id.unwrap_or_default();
    view.delivered = stats.last_delivered_id.unwrap_or_default();
    view.lag = stats.lag.filter(|_| stats.lag_exact);
    stats.lag = None;
    stats.lag_exact = false;
    let listed = stats.consumer_list.len() as u64;
    assert!(stats.consumers.is_none_or(|count| count == listed));
    // A plain consumer that finds nothing to read is made by some servers and not by others.
    stats
        .consumer_list
        .retain(|one| one.pending > 0 || one.name != FOREIGN);
    stats.consumers = stats.consumers.map(|_| stats.consumer_list.len() as u64);
    for one in &mut stats.consumer_list {
        one.idle_ms = 0;
    }
    stats.oldest_pending_ms = stats
        .oldest_pending_ms
        .map(|ms| ms / HOUR_MS.unsigned_abs());
    let told = serde_json::to_value(&stats).unwrap();
    let told = told.as_object().unwrap().iter();
    view.see("stats", told.map(|(name, value)| format!("{name} {value}")));
}

/// The fields of a dead letter, its own times taken out: in each layout they are behind the
/// user's fields.
fn without_times(fields: &Fields) -> Fields {
    const TIMES: [&str; 3] = ["redrive-first-at", "redrive-dead-at", "dlq_timestamp"];
    let last = TIMES.map(|time| fields.iter().rposition(|(name, _)| name == time.as_bytes()));
    let pairs = fields.pairs().iter().enumerate();
    pairs
        .map(|(at, (name, value))| {
            let is_time = last.contains(&Some(at)) && value.len() > 9;
            (
                name.clone(),
                if is_time {
                    "time".into()
                } else {
                    value.clone()
                },
            )
        })
        .collect()
}

fn shown(id: &impl ToString, fields: &Fields) -> String {
    let mut line = id.to_string();
    for (name, value) in fields.iter() {
        line.push_str(&format!(
            " {}={}",
            name.escape_ascii(),
            value.escape_ascii()
        ));
    }
    line
}
