//! The names of redrive's own keys, all in the Cluster slot of what they belong to.

use crate::calendar::civil;
use crate::campaign::CampaignName;
use crate::names::{ConsumerName, GroupName, Source, StreamKey};

/// `name` if it has a non-empty hash tag, else `{name}`: the prefix of every key beside it.
fn tagged(name: &str) -> String {
    let has_tag = name
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty());
    if has_tag {
        name.to_owned()
    } else {
        format!("{{{name}}}")
    }
}

/// The keys beside a stream that belong to one of its groups.
#[derive(Clone, Debug)]
pub(super) struct GroupKeys {
    pub(super) due: String,
    pub(super) state: String,
    pub(super) meta: String,
    pub(super) consumers: String,
    pub(super) tombstones: String,
    prefix: String,
}

impl GroupKeys {
    pub(super) fn of(source: &Source) -> Self {
        Self::new(&source.stream, &source.group)
    }

    fn new(stream: &StreamKey, group: &GroupName) -> Self {
        let prefix = format!("{}:redrive:{group}:", tagged(stream.as_str()));
        Self {
            due: format!("{prefix}due"),
            state: format!("{prefix}state"),
            meta: format!("{prefix}meta"),
            consumers: format!("{prefix}consumers"),
            tombstones: format!("{prefix}tombstones"),
            prefix,
        }
    }

    pub(super) fn alive(&self, consumer: &str) -> String {
        format!("{}alive:{consumer}", self.prefix)
    }

    pub(super) fn alive_of(&self, consumer: &ConsumerName) -> String {
        self.alive(consumer.as_str())
    }
}

/// What stands before and behind a group in the key of its low-water mark.
pub(super) fn marks(stream: &StreamKey) -> (String, &'static str) {
    (format!("{}:redrive:", tagged(stream.as_str())), ":meta")
}

/// The counts of a dead-letter queue.
pub(super) fn ledger(dlq: &StreamKey) -> String {
    format!("{}:redrive:ledger", tagged(dlq.as_str()))
}

/// Who did what to `dlq`.
pub(super) fn audit(dlq: &StreamKey) -> String {
    format!("{}:redrive:audit", tagged(dlq.as_str()))
}

/// What is kept of a campaign of `dlq`.
pub(super) fn campaign(dlq: &StreamKey, name: &CampaignName) -> String {
    format!("{}:redrive:campaign:{name}", tagged(dlq.as_str()))
}

/// The names of the campaigns of `dlq`, by when they began.
pub(super) fn campaigns(dlq: &StreamKey) -> String {
    format!("{}:redrive:campaigns", tagged(dlq.as_str()))
}

/// The originals of what a campaign of `dlq` has put back.
pub(super) fn originals(dlq: &StreamKey, name: &CampaignName) -> String {
    format!("{}:redrive:undo:{name}", tagged(dlq.as_str()))
}

/// The receipts of what was replayed from `dlq` to `target` on the day with this number since
/// 1970.
pub(super) fn receipts(target: &StreamKey, dlq: &StreamKey, day: u64) -> String {
    let target = tagged(target.as_str());
    format!("{target}:redrive:replayed:{dlq}:{}", named(day))
}

/// The receipts of what was imported into `dlq` on the day with this number since 1970.
pub(super) fn imports(dlq: &StreamKey, day: u64) -> String {
    format!("{}:redrive:imported:{}", tagged(dlq.as_str()), named(day))
}

/// A day as it stands in the name of a key: `YYYYMMDD`.
fn named(day: u64) -> String {
    let (year, month, date) = civil(day);
    format!("{year:04}{month:02}{date:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tag_is_kept_and_made_where_there_is_none() {
        for (name, prefix) in [
            ("orders", "{orders}"),
            ("{shop}:orders", "{shop}:orders"),
            ("x{}y", "{x{}y}"),
            ("a{b", "{a{b}"),
        ] {
            assert_eq!(tagged(name), prefix);
        }
        let keys = GroupKeys::of(&Source::new("orders", "billing").unwrap());
        assert_eq!(keys.due, "{orders}:redrive:billing:due");
        assert_eq!(keys.alive("c1"), "{orders}:redrive:billing:alive:c1");
        let (dlq, target) = (
            StreamKey::new("orders:dlq").unwrap(),
            StreamKey::new("orders").unwrap(),
        );
        assert_eq!(ledger(&dlq), "{orders:dlq}:redrive:ledger");
        assert_eq!(
            receipts(&target, &dlq, 20_779),
            "{orders}:redrive:replayed:orders:dlq:20261122"
        );
        assert_eq!(
            imports(&dlq, 20_779),
            "{orders:dlq}:redrive:imported:20261122"
        );
    }
}
