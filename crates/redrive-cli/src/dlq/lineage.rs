//! What a message has been through, as text and as JSON.

use redrive::{EntryId, Reason, StreamKey, Trail, TrailBegin, TrailEnd, TrailEvent};
use serde::Serialize;

use super::body::in_a_line;
use crate::failure::Failure;
use crate::output::{Output, json::instant};
use crate::when::dated;

/// As JSON.
#[derive(Serialize)]
pub(super) struct Lineage<'a> {
    events: Vec<Event<'a>>,
    begin: Option<&'static str>,
    end: Option<&'static str>,
    earlier_replays: Option<u32>,
}

/// Something that happened. Unknown is `null`, and so is what does not belong to it.
#[derive(Serialize)]
struct Event<'a> {
    event: &'static str,
    id: EntryId,
    at: Option<String>,
    stream: Option<&'a StreamKey>,
    from: Option<EntryId>,
    reason: Option<Reason>,
    error: Option<&'a str>,
    in_queue: Option<bool>,
}

impl<'a> Lineage<'a> {
    pub(super) fn of(trail: &'a Trail) -> Self {
        Self {
            events: trail.events.iter().filter_map(event).collect(),
            begin: match trail.begin {
                TrailBegin::Original => Some("original"),
                TrailBegin::Gone => Some("gone"),
                TrailBegin::TooLong => Some("too_long"),
                _ => None,
            },
            end: match trail.end {
                TrailEnd::Dead => Some("dead"),
                TrailEnd::Replayed => Some("replayed"),
                _ => None,
            },
            earlier_replays: trail.earlier_replays,
        }
    }
}

fn event(event: &TrailEvent) -> Option<Event<'_>> {
    let blank = |event, id: EntryId| Event {
        event,
        id,
        // An id is the time at which it was added.
        at: instant(id.millis()),
        stream: None,
        from: None,
        reason: None,
        error: None,
        in_queue: None,
    };
    Some(match event {
        TrailEvent::Added { id, stream, .. } => Event {
            stream: stream.as_ref(),
            ..blank("added", *id)
        },
        TrailEvent::Replayed {
            id, stream, from, ..
        } => Event {
            stream: stream.as_ref(),
            from: Some(*from),
            ..blank("replayed", *id)
        },
        TrailEvent::Died {
            id,
            at_ms,
            reason,
            error,
            is_held,
            ..
        } => Event {
            at: at_ms.and_then(instant).or_else(|| instant(id.millis())),
            reason: *reason,
            error: error.as_deref(),
            in_queue: Some(*is_held),
            ..blank("died", *id)
        },
        _ => return None,
    })
}

/// As text, where there is more to tell than that it was added and died.
pub(super) fn told(trail: &Trail, of: EntryId, out: &mut Output) -> Result<(), Failure> {
    let plain = trail.events.len() <= 2 && trail.begin == TrailBegin::Original;
    let unknown = trail.events.len() <= 1;
    if (plain && trail.end != TrailEnd::Replayed) || unknown {
        return Ok(());
    }
    out.line("")?;
    let heading = out.bold("lineage");
    out.line(&heading)?;
    let earlier = match trail.earlier_replays {
        Some(1) => "1 earlier replay".to_owned(),
        Some(many @ 2..) => format!("{many} earlier replays"),
        _ => "what was before".to_owned(),
    };
    match trail.begin {
        TrailBegin::Original => {}
        TrailBegin::Gone if trail.earlier_replays == Some(0) => {
            out.line("  the original entry is not known: it went with the next dead letter")?;
        }
        TrailBegin::Gone => out.line(&format!(
            "  {earlier} is not known: it went with the next dead letter"
        ))?,
        TrailBegin::TooLong => out.line(&format!("  {earlier}, not followed"))?,
        _ => out.line("  what was before is not known")?,
    }
    for event in &trail.events {
        let line = line(event, of);
        out.line(&format!("  {line}"))?;
    }
    match trail.end {
        TrailEnd::Unknown => {
            out.line("  whether it was put back is not known: this user may not read receipts")
        }
        _ => Ok(()),
    }
}

fn line(event: &TrailEvent, of: EntryId) -> String {
    let on = |stream: &Option<StreamKey>| {
        let stream = stream.as_ref().map_or("-", StreamKey::as_str);
        in_a_line(stream, 200)
    };
    match event {
        TrailEvent::Added { id, stream, .. } => {
            format!("{}  added to {} as {id}", dated(id.millis()), on(stream))
        }
        TrailEvent::Replayed { id, stream, .. } => {
            format!("{}  replayed to {} as {id}", dated(id.millis()), on(stream))
        }
        TrailEvent::Died {
            id,
            at_ms,
            reason,
            error,
            is_held,
            ..
        } => {
            let at = dated(at_ms.unwrap_or(id.millis()));
            let why = reason.map_or("-", Reason::as_str);
            let error = error.as_deref().and_then(|error| error.lines().next());
            let error = error.map(|error| format!(": {}", in_a_line(error, 200)));
            match (*is_held, *id == of) {
                (_, true) => format!("{at}  died as {id}, this one"),
                (true, _) => format!("{at}  died as {id}: {why}{}", error.unwrap_or_default()),
                (false, _) => format!("{at}  died as {id}, which is no longer in the queue"),
            }
        }
        _ => String::new(),
    }
}
