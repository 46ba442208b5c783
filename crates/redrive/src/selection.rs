//! Which dead letters an operation is about.

use std::collections::BTreeSet;

use crate::dead_letter::{DeadLetter, Reason};
use crate::names::{EntryId, GroupName, StreamKey};

/// Which dead letters to find, replay or purge. Default: all, the oldest first.
///
/// Filters narrow it: a dead letter has to pass each kind of filter that is named. Of a kind that
/// is named again it has to pass one.
///
/// ```
/// use redrive::{Order, Reason, Selection};
/// let two = Selection::ids(["1712-0".parse()?, "1713-0".parse()?]);
/// let hopeless = Selection::all()
///     .reason(Reason::Rejected)
///     .reason(Reason::Undecodable)
///     .stream("orders".parse()?)
///     .group("billing".parse()?)
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

/// What is asked of a dead letter besides its id. An empty list asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filters {
    reasons: Vec<Reason>,
    streams: Vec<StreamKey>,
    groups: Vec<GroupName>,
    fingerprints: Vec<String>,
}

impl Filters {
    fn pass(&self, letter: &DeadLetter) -> bool {
        one_of(&self.reasons, letter.reason.as_ref())
            && one_of(&self.streams, letter.stream.as_ref())
            && one_of(&self.groups, letter.group.as_ref())
            && one_of(&self.fingerprints, Some(&letter.fingerprint))
    }
}

/// Whether nothing is asked, or what was found is among it. What a dead letter does not say is not.
fn one_of<T: PartialEq>(wanted: &[T], found: Option<&T>) -> bool {
    wanted.is_empty() || found.is_some_and(|found| wanted.contains(found))
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

    /// Those whose error has this fingerprint, 16 hex digits, or any other that is named.
    pub fn fingerprint(mut self, fingerprint: impl Into<String>) -> Self {
        self.filters.fingerprints.push(fingerprint.into());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::read;
    use crate::message::Fields;

    /// A dead letter with that id, of the group `billing`, that was rejected.
    fn letter(id: u64, stream: &str) -> DeadLetter {
        let fields = Fields::from_iter([
            ("redrive-v", "1".to_owned()),
            ("redrive-fields", "0".to_owned()),
            ("redrive-stream", stream.to_owned()),
            ("redrive-group", "billing".to_owned()),
            ("redrive-reason", "rejected".to_owned()),
        ]);
        read(EntryId::new(id, 0), fields)
    }

    fn stream(name: &str) -> StreamKey {
        StreamKey::new(name).unwrap()
    }

    #[test]
    fn filters_narrow_and_a_repeated_one_widens() {
        let (orders, mails) = (letter(1, "orders"), letter(2, "mails"));
        let all = Selection::all;
        let group = |name| GroupName::new(name).unwrap();
        for (selection, matched) in [
            (all(), [true, true]),
            (Selection::ids([]), [false, false]),
            (Selection::ids([mails.id]), [false, true]),
            (all().id(orders.id), [true, false]),
            (all().id(orders.id).id(mails.id), [true, true]),
            (all().stream(stream("orders")), [true, false]),
            (
                all().stream(stream("orders")).stream(stream("mails")),
                [true, true],
            ),
            (all().id(mails.id).stream(stream("orders")), [false, false]),
            (all().reason(Reason::Trimmed), [false, false]),
            (
                all().reason(Reason::Trimmed).reason(Reason::Rejected),
                [true, true],
            ),
            (
                all().reason(Reason::Trimmed).stream(stream("orders")),
                [false, false],
            ),
            (all().group(group("billing")), [true, true]),
            (all().group(group("shipping")), [false, false]),
            (all().fingerprint("0123456789abcdef"), [false, false]),
            (all().fingerprint(&*orders.fingerprint), [true, true]),
            (all().limit(0), [true, true]),
        ] {
            let found = [selection.matches(&orders), selection.matches(&mails)];
            assert_eq!(found, matched, "{selection:?}");
        }
    }

    #[test]
    fn what_a_dead_letter_does_not_say_passes_no_filter() {
        let foreign = read(EntryId::new(1, 0), Fields::from_iter([("a", "b")]));
        assert!(Selection::all().matches(&foreign));
        assert!(!Selection::all().stream(stream("orders")).matches(&foreign));
        assert!(!Selection::all().reason(Reason::Rejected).matches(&foreign));
    }
}
