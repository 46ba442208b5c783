//! Which dead letters a bulk operation is about.

use crate::names::EntryId;

/// Which dead letters to replay or purge: these ids, or all; the oldest first, at most so many.
///
/// ```
/// use redrive::Selection;
/// let some = Selection::ids(["1712-0".parse()?, "1713-0".parse()?]);
/// let first_hundred = Selection::all().limit(100);
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a selection does nothing until it is given to an operation"]
pub struct Selection {
    pub(crate) which: Which,
    pub(crate) limit: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// In this order, each once.
    Ids(Vec<EntryId>),
}

impl Selection {
    /// All that are there when the operation starts. What dies during it is left alone.
    pub fn all() -> Self {
        Self {
            which: Which::All,
            limit: None,
        }
    }

    /// These dead letters. An id named twice counts once.
    pub fn ids(ids: impl IntoIterator<Item = EntryId>) -> Self {
        let mut ids: Vec<EntryId> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self {
            which: Which::Ids(ids),
            limit: None,
        }
    }

    /// No more than this many. Default: no limit.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
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
