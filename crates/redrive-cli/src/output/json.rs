//! The JSON forms: bytes, instants, and text in which nothing steers a terminal.

use std::io;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use redrive::Fields;
use serde::ser::{SerializeMap, SerializeSeq, SerializeTuple};
use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::terminal::is_hostile;

/// Bytes: a string where they are UTF-8, else `{"base64":"…"}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                let text = Base64Display::new(self.0, &STANDARD);
                map.serialize_entry("base64", &format_args!("{text}"))?;
                map.end()
            }
        }
    }
}

/// The fields of an entry: pairs of name and value, in stream order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairs<'a>(pub(crate) &'a Fields);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Pair<'a>(&'a [u8], &'a [u8]);
        impl Serialize for Pair<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut pair = serializer.serialize_tuple(2)?;
                pair.serialize_element(&Bytes(self.0))?;
                pair.serialize_element(&Bytes(self.1))?;
                pair.end()
            }
        }
        let mut pairs = serializer.serialize_seq(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            pairs.serialize_element(&Pair(name, value))?;
        }
        pairs.end()
    }
}

/// An instant in Unix ms as RFC 3339, UTC, with milliseconds; `None` beyond what a calendar holds.
pub(crate) fn instant(ms: u64) -> Option<String> {
    let instant = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(format!("{instant:.3}"))
}

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// On one line.
    Compact,
    /// For people.
    Pretty,
}

/// Writes a value as JSON.
pub(crate) fn write(
    value: &impl Serialize,
    layout: Layout,
    to: &mut impl io::Write,
) -> io::Result<()> {
    match layout {
        Layout::Compact => written(value, Safe(CompactFormatter), to),
        Layout::Pretty => written(value, Safe(PrettyFormatter::new()), to),
    }
}

/// JSON text, which may be cut anywhere, with a line for each member and item, its digits and its
/// order kept; no more than so many lines of it, and whether these are all.
pub(crate) fn indented(text: &str, most: usize) -> (String, bool) {
    let mut out = String::with_capacity(text.len());
    let mut lines = 1;
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let mut line_ends = false;
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line_ends = true;
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if lines == most {
                    return (out, false);
                }
                lines += 1;
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line_ends = true;
            }
            ':' => out.push_str(": "),
            ' ' | '\n' | '\r' | '\t' => {}
            c => out.push(c),
        }
        if line_ends {
            if lines == most {
                return (out, false);
            }
            lines += 1;
            new_line(&mut out, depth);
        }
    }
    (out, true)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    // Beyond this nobody sees a depth, and the text would grow with its square.
    out.extend(std::iter::repeat_n("  ", depth.min(40)));
}

fn written(
    value: &impl Serialize,
    formatter: impl Formatter,
    to: &mut impl io::Write,
) -> io::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(to, formatter))?;
    Ok(())
}

/// Writes what JSON allows raw and a terminal should not get as `\u…`: the same string to whoever
/// parses it.
struct Safe<F>(F);

macro_rules! as_inside {
    ($($method:ident($($arg:ident: $type:ty),*))*) => {$(
        fn $method<W: ?Sized + io::Write>(&mut self, writer: &mut W $(, $arg: $type)*) -> io::Result<()> {
            self.0.$method(writer $(, $arg)*)
        }
    )*};
}

impl<F: Formatter> Formatter for Safe<F> {
    as_inside! {
        begin_array() end_array() begin_array_value(first: bool) end_array_value()
        begin_object() end_object() begin_object_key(first: bool) end_object_key()
        begin_object_value() end_object_value()
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_hostile) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = after.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    /// What was JSON before (a payload) may hold raw what must not reach a terminal; outside of
    /// strings it cannot, and inside of them the escape means the same.
    fn write_raw_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for (at, line) in fragment.split(['\n', '\r', '\t']).enumerate() {
            if at > 0 {
                // White space between values: no string holds it raw.
                writer.write_all(b" ")?;
            }
            self.write_string_fragment(writer, line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &impl Serialize) -> String {
        let mut text = Vec::new();
        write(value, Layout::Compact, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn bytes_are_text_or_base64_and_fields_are_pairs_in_order() {
        assert_eq!(text(&Bytes(b"a")), "\"a\"");
        assert_eq!(text(&Bytes(b"\xff\x00")), "{\"base64\":\"/wA=\"}");
        let fields = Fields::from_iter([(&b"a"[..], &b"1"[..]), (b"\xfe", b""), (b"a", b"2")]);
        assert_eq!(
            text(&Pairs(&fields)),
            "[[\"a\",\"1\"],[{\"base64\":\"/g==\"},\"\"],[\"a\",\"2\"]]"
        );
    }

    #[test]
    fn an_instant_is_rfc_3339_in_utc_with_milliseconds() {
        let shown = instant(1_795_324_222_249);
        assert_eq!(shown.as_deref(), Some("2026-11-22T05:10:22.249Z"));
        assert_eq!(instant(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(instant(u64::MAX), None);
    }

    #[test]
    fn nothing_in_json_steers_a_terminal_and_it_parses_to_the_same() {
        let hostile = "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{e0041}é字\"\\";
        let json = text(&hostile);
        assert!(!json.chars().any(is_hostile), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
        assert!(json.contains("é字"));
    }

    #[test]
    fn indenting_keeps_strings_digits_and_order() {
        let text =
            "{\"b\":[1.10,{}, [ ] ,{\"a, {\\\"\":\"\\\\\"}],\"a\":123456789012345678901234567890}";
        assert_eq!(
            indented(text, 99).0,
            "{\n  \"b\": [\n    1.10,\n    {},\n    [],\n    {\n      \"a, {\\\"\": \"\\\\\"\n    }\n  ],\n  \
             \"a\": 123456789012345678901234567890\n}"
        );
    }

    #[test]
    fn indenting_ends_after_so_many_lines_and_takes_what_is_cut() {
        let text = "[1,[2],{}]";
        let all = "[\n  1,\n  [\n    2\n  ],\n  {}\n]";
        assert_eq!(indented(text, 7), (all.to_owned(), true));
        for most in 1..7 {
            let (some, is_all) = indented(text, most);
            assert_eq!((some.lines().count(), is_all), (most, false));
            assert!(all.starts_with(&some), "{some}");
        }
        for end in 0..text.len() {
            let (some, is_all) = indented(&text[..end], 7);
            assert!(is_all && all.starts_with(some.trim_end()), "{some}");
        }
    }

    #[test]
    fn json_in_json_stays_json_and_keeps_its_digits() {
        let payload = "{\n\t\"a\": [1.10, 123456789012345678901234567890],\"b\":\"\u{9b}\"}";
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(payload).unwrap();
        assert_eq!(
            text(&[raw]),
            "[{  \"a\": [1.10, 123456789012345678901234567890],\"b\":\"\\u009b\"}]"
        );
    }
}
