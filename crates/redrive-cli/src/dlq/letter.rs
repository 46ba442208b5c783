//! A dead letter as JSON.

use redrive::{
    DeadLetter, DeadLetterLayout, DeadLetterQueue, EntryId, GroupName, Inspection, Reason,
    StreamKey, Trail,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::lineage::Lineage;
use crate::output::json::{Pairs, instant};
use crate::when::now_ms;

/// What a list tells of a dead letter. Unknown is `null`.
#[derive(Serialize)]
pub(super) struct Letter<'a> {
    id: EntryId,
    dlq: &'a StreamKey,
    layout: DeadLetterLayout,
    stream: Option<&'a StreamKey>,
    group: Option<&'a GroupName>,
    original_id: Option<EntryId>,
    reason: Option<Reason>,
    error: Option<&'a str>,
    error_kind: Option<&'a str>,
    fingerprint: &'a str,
    attempts: Option<u64>,
    crashes: Option<u64>,
    replays: Option<u32>,
    consumer: Option<&'a str>,
    first_at: Option<String>,
    dead_at: Option<String>,
    size: usize,
    fields: Pairs<'a>,
}

impl<'a> Letter<'a> {
    pub(super) fn new(queue: &'a DeadLetterQueue, letter: &'a DeadLetter) -> Self {
        Self {
            id: letter.id,
            dlq: queue.stream(),
            layout: letter.layout,
            stream: letter.stream.as_ref(),
            group: letter.group.as_ref(),
            original_id: letter.original_id,
            reason: letter.reason,
            error: letter.error.as_deref(),
            error_kind: letter.error_kind.as_deref(),
            fingerprint: &letter.fingerprint,
            attempts: letter.attempts,
            crashes: letter.crashes,
            // The other layouts have no place for it.
            replays: (letter.layout == DeadLetterLayout::Native).then_some(letter.replays),
            consumer: letter.consumer.as_deref(),
            first_at: letter.first_at_ms.and_then(instant),
            dead_at: letter.dead_at_ms.and_then(instant),
            size: letter.size(),
            fields: Pairs(&letter.fields),
        }
    }
}

/// What looking into one adds.
#[derive(Serialize)]
pub(super) struct Inspected<'a> {
    #[serde(flatten)]
    letter: Letter<'a>,
    payload: Option<&'a RawValue>,
    codec: Option<String>,
    replayed_from: Option<EntryId>,
    campaign: Option<&'a str>,
    age_ms: u64,
    failing_ms: Option<u64>,
    lineage: Lineage<'a>,
    #[serde(flatten)]
    envelope: Option<Envelope>,
}

/// The names that the second Python system gives what it knows.
#[derive(Serialize)]
struct Envelope {
    dlq_msg_id: EntryId,
    original_msg_id: Option<EntryId>,
    attempt: Option<u64>,
}

impl<'a> Inspected<'a> {
    pub(super) fn new(
        queue: &'a DeadLetterQueue,
        inspection: &'a Inspection,
        trail: &'a Trail,
    ) -> Self {
        let letter = &inspection.dead_letter;
        let failing = letter.dead_at_ms.zip(letter.first_at_ms);
        // Where nothing says when it died: its own id is the time at which it was added.
        let dead_at = letter.dead_at_ms.unwrap_or(letter.id.millis());
        Self {
            letter: Letter::new(queue, letter),
            payload: inspection.payload.as_deref(),
            codec: inspection.codec.map(|codec| codec.to_string()),
            replayed_from: letter.replayed_from,
            campaign: letter.campaign.as_deref(),
            age_ms: now_ms().saturating_sub(dead_at),
            failing_ms: failing.and_then(|(dead, first)| dead.checked_sub(first)),
            lineage: Lineage::of(trail),
            envelope: (letter.layout == DeadLetterLayout::Envelope).then_some(Envelope {
                dlq_msg_id: letter.id,
                original_msg_id: letter.original_id,
                attempt: letter.attempts,
            }),
        }
    }
}

/// A dead letter in one line, for a person who is asked about it.
pub(super) fn line(letter: &DeadLetter) -> String {
    let stream = letter.stream.as_ref().map_or("-", StreamKey::as_str);
    let reason = letter.reason.map_or("-", Reason::as_str);
    let error = letter
        .error
        .as_deref()
        .and_then(|error| error.lines().next());
    format!(
        "{}  {stream}  {reason}  {}",
        letter.id,
        error.unwrap_or("-")
    )
}
