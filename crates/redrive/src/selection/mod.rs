//! Which dead letters an operation is about.

mod count;
mod error_text;
mod field;
mod filters;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;

pub use self::count::CountFilter;
pub use self::error_text::{ErrorRegex, ErrorText, FingerprintPrefix};
pub use self::field::FieldFilter;
use self::filters::Filters;
use crate::dead_letter::{DeadLetter, Reason};
use crate::names::{ConsumerName, EntryId, GroupName, StreamKey};

/// Which dead letters to find, replay or purge. Default: all, the oldest first.
///
/// Filters narrow it: a dead letter has to pass each kind of filter that is named. Of a kind that
/// is named again it has to pass one. What a dead letter does not say passes no filter: only the
/// native layout names group, consumer, kind of error and replays.
///
/// ```
/// use redrive::{Order, Reason, Selection};
/// let two = Selection::ids(["1712-0".parse()?, "1713-0".parse()?]);
/// let hopeless = Selection::all()
///     .reason(Reason::Rejected)
///     .reason(Reason::Undecodable)
///     .stream("orders".parse()?)
///     .group("billing".parse()?)
///     .attempts(">=3".parse()?)
///     .field("data.customer.id=7".parse()?)
///     .order(Order::Newest)
///     .limit(100);
/// # let _ = (two, hopeless);
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a selection does nothing until it is given to an operation"]
pub struct Selection {
    /// `None` is all; none named is none.
    pub(crate) ids: Option<BTreeSet<EntryId>>,
    filters: Filters,
    pub(crate) limit: Option<usize>,
    pub(crate) order: Order,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            ids: None,
            filters: Filters::default(),
            limit: None,
            order: Order::Oldest,
        }
    }
}

impl Selection {
    /// All that are there when the operation starts. What dies during it is left alone.
    pub fn all() -> Self {
        Self::default()
    }

    /// These dead letters; none of none. An id named twice counts once.
    pub fn ids(ids: impl IntoIterator<Item = EntryId>) -> Self {
        Self {
            ids: Some(ids.into_iter().collect()),
            ..Self::default()
        }
    }

    /// The dead letter of this id, or any other that is named.
    pub fn id(mut self, id: EntryId) -> Self {
        self.ids.get_or_insert_default().insert(id);
        self
    }

    /// Those that were given up for this reason, or any other that is named.
    pub fn reason(mut self, reason: Reason) -> Self {
        self.filters.reasons.push(reason);
        self
    }

    /// Those that came from this stream, or any other that is named.
    pub fn stream(mut self, stream: StreamKey) -> Self {
        self.filters.streams.push(stream);
        self
    }

    /// Those that this group gave up, or any other that is named. Only the native layout says it.
    pub fn group(mut self, group: GroupName) -> Self {
        self.filters.groups.push(group);
        self
    }

    /// Those that this consumer had last, or any other that is named. Only the native layout says
    /// it.
    pub fn consumer(mut self, consumer: ConsumerName) -> Self {
        self.filters.consumers.push(consumer);
        self
    }

    /// Those with this text in their error, or any other that is given.
    pub fn error(mut self, text: ErrorText) -> Self {
        self.filters.errors.push(text);
        self
    }

    /// Those into whose error this regular expression fits, or any other that is given.
    pub fn error_regex(mut self, regex: ErrorRegex) -> Self {
        self.filters.error_patterns.push(regex);
        self
    }

    /// Those whose error is of this type or code, or any other that is named. Only the native
    /// layout says it.
    pub fn error_kind(mut self, kind: impl Into<String>) -> Self {
        self.filters.error_kinds.push(kind.into());
        self
    }

    /// Those whose error has this fingerprint, or one that begins like it; or any other that is
    /// given.
    pub fn fingerprint(mut self, fingerprint: FingerprintPrefix) -> Self {
        self.filters.fingerprints.push(fingerprint);
        self
    }

    /// Those that died at this instant or later, in Unix ms. Given twice, the earlier counts. Where
    /// a dead letter does not say when it died, its own id does: the time at which it was added.
    ///
    /// Ids are no help in finding them, for what is imported or copied is added later than it died,
    /// and clocks differ: the whole queue is gone through.
    pub fn since_ms(mut self, at_ms: u64) -> Self {
        let earlier = self
            .filters
            .since_ms
            .map_or(at_ms, |other| other.min(at_ms));
        self.filters.since_ms = Some(earlier);
        self
    }

    /// Those that died before this instant, in Unix ms. Given twice, the later counts. Otherwise as
    /// [`since_ms`](Self::since_ms).
    pub fn before_ms(mut self, at_ms: u64) -> Self {
        let later = self
            .filters
            .before_ms
            .map_or(at_ms, |other| other.max(at_ms));
        self.filters.before_ms = Some(later);
        self
    }

    /// Those that were attempted so often, or as any other that is given says.
    pub fn attempts(mut self, attempts: CountFilter) -> Self {
        self.filters.attempts.push(attempts);
        self
    }

    /// Those that had been replayed so often before they died, or as any other that is given says.
    /// Only the native layout says it.
    pub fn replays(mut self, replays: CountFilter) -> Self {
        self.filters.replays.push(replays);
        self
    }

    /// Those of which a field, or a part of one, is this, or as any other that is given says.
    pub fn field(mut self, field: FieldFilter) -> Self {
        self.filters.fields.push(field);
        self
    }

    /// No more than this many. Default: no limit.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Which come first. Default: the oldest.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Whether this dead letter is one of those, be it beyond the limit or not.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let named = self.ids.as_ref();
        named.is_none_or(|ids| ids.contains(&letter.id)) && self.filters.pass(letter)
    }

    /// Whether all that are looked at match.
    pub(crate) fn takes_all(&self) -> bool {
        self.filters == Filters::default()
    }
}

/// In which order entries are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// The lowest id first.
    Oldest,
    /// The highest id first.
    #[default]
    Newest,
}

/// Which part of a dead-letter queue to list. Default: the newest 50.
///
/// ```
/// use redrive::{Order, Page};
/// let page = Page::new(Order::Oldest, 100);
/// assert_eq!(Page::default(), Page::new(Order::Newest, 50));
/// # let _ = page;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a page does nothing until it is listed"]
pub struct Page {
    pub(crate) order: Order,
    pub(crate) limit: usize,
    pub(crate) from: Option<EntryId>,
}

impl Page {
    /// The first `limit` in this order. At least one, at most 10,000.
    pub fn new(order: Order, limit: usize) -> Self {
        Self {
            order,
            limit: limit.clamp(1, 10_000),
            from: None,
        }
    }

    /// From this id on, itself included.
    pub fn from(mut self, id: EntryId) -> Self {
        self.from = Some(id);
        self
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new(Order::Newest, 50)
    }
}
