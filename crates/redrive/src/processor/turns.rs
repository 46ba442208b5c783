//! Whose turn it is where there is an order by key: of the messages of one key one runs at a time,
//! the lowest that is held first. Pure; without an order everything may start.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use tokio::time::Instant;

use crate::message::Fields;
use crate::names::{EntryId, IdMap};

/// The messages that are held, by key. One without the field has no key, and is nobody's concern
/// here: it may start whenever it wants.
#[derive(Debug)]
pub(super) struct Turns {
    /// The field whose value is the key; `None` without an order.
    field: Option<Bytes>,
    lines: HashMap<Bytes, Line>,
    keys: IdMap<Bytes>,
    /// What waits here until it is run again.
    delayed: IdMap<Instant>,
    next: BTreeSet<(Instant, EntryId)>,
}

/// The messages of one key.
#[derive(Debug, Default)]
struct Line {
    held: BTreeSet<EntryId>,
    /// The one that was started and has neither left nor begun to wait.
    turn: Option<EntryId>,
}

impl Turns {
    pub(super) fn new(field: Option<Bytes>) -> Self {
        Self {
            field,
            lines: HashMap::new(),
            keys: IdMap::default(),
            delayed: IdMap::default(),
            next: BTreeSet::new(),
        }
    }

    /// Whether there is an order at all.
    pub(super) fn are_kept(&self) -> bool {
        self.field.is_some()
    }

    /// A message is held from now on. Its key are the bytes of the first field of that name.
    pub(super) fn join(&mut self, id: EntryId, fields: &Fields) {
        let Some(name) = &self.field else { return };
        let key = fields.pairs().iter().find(|(field, _)| field == name);
        if let Some((_, key)) = key {
            let line = self.lines.entry(key.clone()).or_default();
            line.held.insert(id);
            self.keys.insert(id, key.clone());
        }
    }

    /// Whether a message has a key, so that others may have to wait for it.
    pub(super) fn has_key(&self, id: EntryId) -> bool {
        self.keys.contains_key(&id)
    }

    /// Whether a held message may be started now.
    pub(super) fn may_start(&self, id: EntryId) -> bool {
        self.line(id)
            .is_none_or(|line| line.turn == Some(id) || self.called(line) == Some(id))
    }

    /// A held message that may be started is.
    pub(super) fn start(&mut self, id: EntryId) {
        if let Some(key) = self.keys.get(&id)
            && let Some(line) = self.lines.get_mut(key)
        {
            line.turn = Some(id);
        }
    }

    /// A started message is to be started again, not before this time. Answers which one of its
    /// key may be started instead: one before it, that came meanwhile.
    pub(super) fn wait(&mut self, id: EntryId, until: Instant) -> Option<EntryId> {
        let line = self.lines.get_mut(self.keys.get(&id)?)?;
        line.turn = None;
        if let Some(before) = self.delayed.insert(id, until) {
            self.next.remove(&(before, id));
        }
        self.next.insert((until, id));
        self.called(self.line(id)?)
    }

    /// A message is no longer held. Answers which one of its key may be started because of that.
    pub(super) fn leave(&mut self, id: EntryId) -> Option<EntryId> {
        self.field.as_ref()?;
        if let Some(until) = self.delayed.remove(&id) {
            self.next.remove(&(until, id));
        }
        let key = self.keys.remove(&id)?;
        let line = self.lines.get_mut(&key)?;
        let was_first = line.held.first() == Some(&id);
        line.held.remove(&id);
        let had_turn = line.turn.take_if(|turn| *turn == id).is_some();
        if line.held.is_empty() {
            self.lines.remove(&key);
            return None;
        }
        if was_first || had_turn {
            return self.called(self.lines.get(&key)?);
        }
        None
    }

    /// Those that have waited long enough and may be started.
    pub(super) fn due(&mut self, now: Instant) -> Vec<EntryId> {
        let mut due = Vec::new();
        while let Some((until, id)) = self.next.first().copied().filter(|(at, _)| *at <= now) {
            self.next.remove(&(until, id));
            self.delayed.remove(&id);
            due.push(id);
        }
        due.retain(|id| self.may_start(*id));
        due
    }

    /// When the next one has waited long enough.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next.first().map(|(until, _)| *until)
    }

    /// Whether a message waits here until it is run again.
    pub(super) fn is_delayed(&self, id: EntryId) -> bool {
        self.delayed.contains_key(&id)
    }

    fn line(&self, id: EntryId) -> Option<&Line> {
        self.lines.get(self.keys.get(&id)?)
    }

    /// The one of a line that is next, if it need not wait.
    fn called(&self, line: &Line) -> Option<EntryId> {
        let first = *line.held.first()?;
        (line.turn.is_none() && !self.is_delayed(first)).then_some(first)
    }
}

#[cfg(test)]
mod tests;
