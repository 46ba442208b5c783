//! A stand-in for the composing of dead letters, until the layouts are there.

use crate::dead_letter::{Layout, Reason};
use crate::message::Fields;
use crate::names::{EntryId, Source};

pub(crate) struct Obituary<'a> {
    pub(crate) source: &'a Source,
    pub(crate) id: EntryId,
    pub(crate) reason: Reason,
    pub(crate) error: &'a str,
    pub(crate) error_kind: Option<&'a str>,
    pub(crate) fingerprint: &'a str,
    pub(crate) failures: u64,
    pub(crate) crashes: u64,
    pub(crate) deliveries: u64,
    pub(crate) consumer: &'a str,
    pub(crate) first_at_ms: Option<u64>,
    pub(crate) dead_at_us: u64,
}

pub(crate) fn compose(
    _layout: Layout,
    entry: Option<&Fields>,
    about: &Obituary<'_>,
) -> (Layout, Fields) {
    let user = entry.map(Fields::pairs).unwrap_or_default();
    let mut pairs = user.to_vec();
    let mut add = |name: &'static str, value: String| pairs.push((name.into(), value.into()));
    add("redrive-v", "1".into());
    add("redrive-fields", user.len().to_string());
    add("redrive-stream", about.source.stream.to_string());
    add("redrive-group", about.source.group.to_string());
    add("redrive-id", about.id.to_string());
    add("redrive-reason", about.reason.as_str().into());
    add("redrive-error", about.error.into());
    if let Some(kind) = about.error_kind {
        add("redrive-error-kind", kind.into());
    }
    add("redrive-fingerprint", about.fingerprint.into());
    add("redrive-attempts", about.failures.to_string());
    add("redrive-crashes", about.crashes.to_string());
    add("redrive-deliveries", about.deliveries.to_string());
    add("redrive-consumer", about.consumer.into());
    if let Some(first) = about.first_at_ms {
        add("redrive-first-at", first.to_string());
    }
    add("redrive-dead-at", (about.dead_at_us / 1000).to_string());
    (Layout::Native, pairs.into_iter().collect())
}
