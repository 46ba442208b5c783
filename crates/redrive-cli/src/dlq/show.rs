//! `redrive dlq show`: one dead letter, with its payload decoded.

use std::borrow::Cow;

use clap::Args as ClapArgs;
use redrive::{EntryId, Fields, GroupName, Inspection, Reason, StreamKey};

use super::letter::Inspected;
use super::{Where, unknown};
use crate::failure::Failure;
use crate::output::{Output, json};
use crate::session::Session;
use crate::terminal::{shown, shown_bytes};
use crate::when::dated;

/// Show one dead letter: why it died, and what is in it
///
/// The payload is decoded: JSON, MessagePack, CBOR or text, gzip and zstd inside. One that does not
/// decode is no error: its bytes are among the fields.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq show 1795324222405-0 orders\n  \
    redrive dlq show 1795324222405-0 --dlq sg:stream:dlq -o json")]
pub(crate) struct Args {
    /// The id of the dead letter
    #[arg(value_name = "ID")]
    id: EntryId,
    #[command(flatten)]
    place: Where,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, only_from) = args.place.names()?;
    let queue = session.broker().await?.dead_letters(queue);
    let inspection = queue.inspect(args.id).await?;
    let inspection = inspection
        .filter(|found| only_from.is_none() || found.dead_letter.stream == only_from)
        .ok_or_else(|| {
            unknown(&format!(
                "dead letter not found: {} in {}",
                args.id,
                queue.stream()
            ))
        })?;
    if session.out.is_table() {
        return told(&inspection, queue.stream(), &mut session.out);
    }
    session.out.document(&Inspected::new(&queue, &inspection))
}

fn told(inspection: &Inspection, queue: &StreamKey, out: &mut Output) -> Result<(), Failure> {
    let letter = &inspection.dead_letter;
    let layout = letter.layout.as_str();
    let mut facts = Facts::default();
    facts.add(
        "dead letter",
        Some(format!("{} in {queue}, {layout} layout", letter.id)),
    );
    let original = letter
        .original_id
        .map(|id| format!(" {id}"))
        .unwrap_or_default();
    facts.add(
        "from",
        letter
            .stream
            .as_ref()
            .map(|stream| format!("{stream}{original}")),
    );
    facts.add("group", letter.group.as_ref().map(GroupName::to_string));
    facts.add("consumer", letter.consumer.clone());
    facts.add(
        "reason",
        letter.reason.map(Reason::as_str).map(str::to_owned),
    );
    facts.add(
        "attempts",
        letter.attempts.map(|attempts| attempts.to_string()),
    );
    facts.add("crashes", letter.crashes.map(|crashes| crashes.to_string()));
    facts.add("error", letter.error.clone());
    facts.add("error kind", letter.error_kind.clone());
    facts.add("fingerprint", Some(letter.fingerprint.clone()));
    facts.add("first failed", letter.first_at_ms.map(dated));
    facts.add("died", letter.dead_at_ms.map(dated));
    facts.add(
        "replays",
        Some(letter.replays.to_string()).filter(|replays| replays != "0"),
    );
    facts.add(
        "replayed from",
        letter.replayed_from.map(|id| id.to_string()),
    );
    facts.add("campaign", letter.campaign.clone());
    facts.add("size", Some(format!("{} bytes", letter.size())));
    for (name, value) in &facts.0 {
        let name = out.bold(&format!("{name:<13}"));
        out.line(&format!("{name}  {value}"))?;
    }
    if letter.is_tombstone() {
        out.line("")?;
        out.line(
            "The entry was trimmed before its fields could be stored: nothing of it is left.",
        )?;
    }
    if let Some(payload) = &inspection.payload {
        let codec = inspection
            .codec
            .map(|codec| codec.to_string())
            .unwrap_or_default();
        out.line("")?;
        let heading = out.bold(&format!("payload ({codec})"));
        out.line(&heading)?;
        let text = json::indented(payload.get());
        let (begin, rest) = beginning(&text);
        for line in begin.lines() {
            out.line(&format!("  {}", shown(line)))?;
        }
        if rest > 0 {
            out.line(&format!("  … and {rest} bytes more; -o json has all of it"))?;
        }
    }
    // Shown as the payload already.
    if inspection
        .codec
        .is_none_or(|codec| codec.as_str() != "fields")
    {
        fields(&letter.fields, out)?;
    }
    out.flush()
}

/// How much of a payload is shown; `-o json` has all of it.
const MOST_LINES: usize = 200;
const MOST_BYTES: usize = 64 << 10;

/// As much of a payload as is shown, and how many bytes that leaves out.
fn beginning(text: &str) -> (&str, usize) {
    let lines = text.match_indices('\n').nth(MOST_LINES - 1);
    let mut end = lines.map_or(text.len(), |(at, _)| at + 1).min(MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], text.len() - end)
}

/// How much of a value is shown; `-o json` has all of it.
const MOST: usize = 2_000;
/// The same of bytes that are no text.
const MOST_BINARY: usize = 64;
/// Values stand below each other behind names up to this long.
const SHORT_NAME: usize = 20;

fn fields(fields: &Fields, out: &mut Output) -> Result<(), Failure> {
    if fields.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let heading = out.bold("fields");
    out.line(&heading)?;
    for line in field_lines(fields) {
        out.line(&line)?;
    }
    Ok(())
}

fn field_lines(fields: &Fields) -> impl Iterator<Item = String> {
    let width = fields
        .iter()
        .map(|(name, _)| or_quotes(shown_bytes(name)).chars().count())
        .filter(|width| *width <= SHORT_NAME)
        .max()
        .unwrap_or(0);
    fields.iter().map(move |(name, value)| {
        let most = if std::str::from_utf8(value).is_ok() {
            MOST
        } else {
            MOST_BINARY
        };
        let cut = value.len().min(most);
        let rest = value.len() - cut;
        let more = if rest > 0 {
            format!(" … and {rest} bytes more")
        } else {
            String::new()
        };
        let (name, value) = (shown_bytes(name), shown_bytes(&value[..cut]));
        let (name, value) = (or_quotes(name), or_quotes(value));
        format!("  {name:<width$}  {value}{more}")
    })
}

/// What is empty must be seen too.
fn or_quotes(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_empty() {
        Cow::Borrowed("\"\"")
    } else {
        text
    }
}

#[derive(Default)]
struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// Adds what is known, made safe.
    fn add(&mut self, name: &'static str, value: Option<String>) {
        if let Some(value) = value {
            // The lines of an error stay lines; nothing else in it does anything.
            let lines: Vec<_> = value.lines().map(shown).collect();
            self.0.push((name, lines.join("\n               ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_payload_is_shown() {
        assert_eq!(beginning("{\n  \"n\": 1\n}"), ("{\n  \"n\": 1\n}", 0));
        let lines = "1\n".repeat(MOST_LINES);
        assert_eq!(beginning(lines.trim_end()).1, 0);
        let more = format!("{lines}2\n3");
        let (begin, rest) = beginning(&more);
        assert_eq!((begin.lines().count(), rest), (MOST_LINES, "2\n3".len()));
        // One line, in which the cut falls into a character.
        let long = format!("x{}", "é".repeat(MOST_BYTES));
        let (begin, rest) = beginning(&long);
        assert_eq!(begin.len(), MOST_BYTES - 1);
        assert_eq!(begin.len() + rest, long.len());
    }

    #[test]
    fn values_stand_below_each_other_and_empty_ones_are_seen() {
        let long = "a-name-that-is-longer-than-most";
        let fields: Fields = [("data", "1"), ("trace_id", ""), ("", "2"), (long, "3")]
            .into_iter()
            .collect();
        let lines: Vec<String> = field_lines(&fields).collect();
        assert_eq!(
            lines,
            [
                "  data      1",
                "  trace_id  \"\"",
                "  \"\"        2",
                "  a-name-that-is-longer-than-most  3",
            ]
        );
    }
}
