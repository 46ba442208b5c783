//! What is in a dead letter, for people: its payload and its fields, no more than is looked at.

use std::borrow::Cow;

use redrive::{DeadLetter, Fields, PreviewContent};

use super::body::hex_lines;
use crate::failure::Failure;
use crate::output::{Output, json};
use crate::terminal::{clipped, shown, shown_bytes};

/// How much of a payload is shown.
const MOST_LINES: usize = 200;
const MOST_BYTES: usize = 64 << 10;
/// The same of bytes that are no text.
const MOST_BINARY: usize = 1 << 10;

/// The payload, if there is one: decoded, or as a hexdump.
pub(super) fn payload(letter: &DeadLetter, out: &mut Output) -> Result<(), Failure> {
    let Some(preview) = letter.preview(MOST_BYTES) else {
        return Ok(());
    };
    let codec = preview.codec.map_or_else(
        || "does not decode".to_owned(),
        |codec| codec.as_str().to_owned(),
    );
    out.line("")?;
    let heading = out.bold(&format!("payload ({codec})"));
    out.line(&heading)?;
    let mut is_whole = preview.is_whole;
    match &preview.content {
        PreviewContent::Json(text) => {
            let (text, is_all) = json::indented(text, MOST_LINES);
            is_whole &= is_all;
            for line in text.lines() {
                out.line(&format!("  {}", shown(line)))?;
            }
        }
        PreviewContent::Text(text) => {
            is_whole &= text.split_terminator('\n').nth(MOST_LINES).is_none();
            for line in text.split_terminator('\n').take(MOST_LINES) {
                out.line(&format!("  {}", shown(line)))?;
            }
        }
        PreviewContent::Bytes(bytes) => {
            let begin = &bytes[..bytes.len().min(MOST_BINARY)];
            is_whole &= begin.len() == bytes.len();
            for line in hex_lines(begin) {
                out.line(&format!("  {line}"))?;
            }
        }
        _ => {}
    }
    if !is_whole {
        let stored = preview.field.and_then(|field| letter.fields.get(field));
        out.line(&match stored {
            Some(bytes) => format!("  … and more: --raw has all {} bytes", bytes.len()),
            None => "  … and more: -o json has all of it".to_owned(),
        })?;
    }
    Ok(())
}

/// How much of a name and of a value is shown; `-o json` has all of it.
const MOST_NAME: usize = 200;
const MOST_VALUE: usize = 2_000;
/// The same of a value that is no text.
const MOST_BINARY_VALUE: usize = 64;
/// How many of them.
const MOST_FIELDS: usize = 500;
/// Values stand below each other behind names up to this long.
const SHORT_NAME: usize = 20;

/// The fields as they are.
pub(super) fn fields(fields: &Fields, out: &mut Output) -> Result<(), Failure> {
    if fields.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let heading = out.bold("fields");
    out.line(&heading)?;
    for line in field_lines(fields) {
        out.line(&line)?;
    }
    match fields.len().saturating_sub(MOST_FIELDS) {
        0 => Ok(()),
        more => out.line(&format!(
            "  … and {more} fields more; -o json has all of them"
        )),
    }
}

fn field_lines(fields: &Fields) -> impl Iterator<Item = String> {
    let width = fields
        .iter()
        .take(MOST_FIELDS)
        .map(|(name, _)| in_a_line(name, MOST_NAME).chars().count())
        .filter(|width| *width <= SHORT_NAME)
        .max()
        .unwrap_or(0);
    fields.iter().take(MOST_FIELDS).map(move |(name, value)| {
        let most = if std::str::from_utf8(value).is_ok() {
            MOST_VALUE
        } else {
            MOST_BINARY_VALUE
        };
        let (name, value) = (in_a_line(name, MOST_NAME), in_a_line(value, most));
        format!("  {name:<width$}  {value}")
    })
}

/// Bytes made safe, cut, and seen where they are empty.
fn in_a_line(bytes: &[u8], most: usize) -> String {
    let (begin, length) = match std::str::from_utf8(bytes) {
        Ok("") => (Cow::Borrowed("\"\""), 0),
        Ok(text) => (shown(clipped(text, most)), clipped(text, most).len()),
        Err(_) => {
            let begin = &bytes[..bytes.len().min(most)];
            (shown_bytes(begin), begin.len())
        }
    };
    match bytes.len() - length {
        0 => begin.into_owned(),
        rest => format!("{begin} … and {rest} bytes more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_long_is_cut_in_whole_characters_and_says_by_how_much() {
        assert_eq!(in_a_line("ééé".as_bytes(), 3), "é … and 4 bytes more");
        assert_eq!(
            in_a_line(b"\xff\xff\xff", 2),
            "\\xff\\xff … and 1 bytes more"
        );
        assert_eq!(in_a_line(b"a\nb", 9), "a\\nb");
    }
}
