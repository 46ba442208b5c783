//! A part of a payload: where a path leads in its form, and whether two forms mean the same.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::lexer::{Lexer, Piece};
use super::path::Step;
use super::{Encoding, look, show};
use crate::dead_letter::DeadLetterLayout;

/// The form of one field of a dead letter: in the envelope layout MessagePack in `data`; else
/// whatever it is. `None` for what does not decode, or is larger than 64 MiB.
pub(crate) fn decoded(
    name: &[u8],
    value: &[u8],
    layout: DeadLetterLayout,
) -> Option<Box<RawValue>> {
    match (layout, name) {
        (DeadLetterLayout::Envelope, b"data") => show(value, Encoding::MessagePack).ok(),
        _ => look(value).map(|(_, form)| form),
    }
}

/// The part of a form to which these steps lead, as they do where a part is set: through a CBOR
/// tag into what it is for, and into a map by keys that are text or numbers. Of a key that is
/// there twice it is the last, as in Python and JavaScript.
pub(crate) fn at<'a>(form: &'a str, steps: &[Step]) -> Option<&'a str> {
    steps.iter().try_fold(form, down)
}

fn down<'a>(within: &'a str, step: &Step) -> Option<&'a str> {
    match kind(within) {
        Kind::Object => match Members::of(within).next()? {
            (Some(r#""$tag""#), tagged) => down(Members::of(tagged).nth(1)?.1, step),
            (Some(r#""$map""#), pairs) => {
                let pair = |(_, pair)| {
                    let mut parts = Members::of(pair);
                    Some((parts.next()?.1, parts.next()?.1))
                };
                let pairs = Members::of(pairs).filter_map(pair);
                last(pairs, Shape::Pairs, &step.key()?)
            }
            _ => {
                let members = Members::of(within).filter_map(|(name, value)| Some((name?, value)));
                last(members, Shape::Object, &step.key()?)
            }
        },
        Kind::Array => Members::of(within)
            .nth(step.item()?)
            .map(|(_, value)| value),
        Kind::Text | Kind::Other => None,
    }
}

fn last<'a>(
    members: impl Iterator<Item = (&'a str, &'a str)>,
    shape: Shape,
    key: &str,
) -> Option<&'a str> {
    let named = members.filter(|(name, _)| shape.is_key(name, key));
    named.last().map(|(_, value)| value)
}

/// Whether two JSON texts are the same value: numbers by what they are worth, digit by digit;
/// objects whatever the order of their members.
pub(crate) fn same(wanted: &str, found: &str) -> bool {
    match (kind(wanted), kind(found)) {
        (Kind::Object, Kind::Object) => same_members(wanted, found),
        (Kind::Array, Kind::Array) => {
            let (mut wanted, mut found) = (Members::of(wanted), Members::of(found));
            loop {
                match (wanted.next(), found.next()) {
                    (None, None) => return true,
                    (Some((_, wanted)), Some((_, found))) if same(wanted, found) => {}
                    _ => return false,
                }
            }
        }
        (Kind::Text, Kind::Text) => match (text(wanted), text(found)) {
            (Some(wanted), Some(found)) => wanted == found,
            // Half a surrogate pair is no text, and equals what is written the same.
            _ => wanted.trim() == found.trim(),
        },
        (Kind::Other, Kind::Other) => {
            let (wanted, found) = (wanted.trim(), found.trim());
            wanted == found || Number::read(wanted).is_some_and(|w| Number::read(found) == Some(w))
        }
        _ => false,
    }
}

/// Whether a form is this text.
pub(crate) fn is_text(form: &str, wanted: &str) -> bool {
    text(form).is_some_and(|text| text == wanted)
}

/// What is wanted bounds the memory: what is found may be large.
fn same_members(wanted: &str, found: &str) -> bool {
    let mut pairs = BTreeMap::new();
    for (name, value) in Members::of(wanted) {
        let Some(name) = name.and_then(text) else {
            return false;
        };
        pairs.insert(name, (value, None));
    }
    for (name, value) in Members::of(found) {
        let name = name.and_then(text);
        match name.and_then(|name| pairs.get_mut(&name)) {
            Some(pair) => pair.1 = Some(value),
            None => return false,
        }
    }
    pairs
        .values()
        .all(|(wanted, found)| found.is_some_and(|found| same(wanted, found)))
}

#[derive(PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    Text,
    Other,
}

fn kind(form: &str) -> Kind {
    match form.trim_start().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::Text,
        _ => Kind::Other,
    }
}

/// The text of a JSON string; `None` for anything else.
fn text(form: &str) -> Option<Cow<'_, str>> {
    let form = form.trim();
    let inside = form.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        return serde_json::from_str(form).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

/// What holds values by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    /// `{"$map":[[key,value],…]}`.
    Pairs,
}

impl Shape {
    /// Whether a key, as it is written, is this one, as keys of objects are shown. The keys of
    /// pairs get no `$` more, and may be numbers.
    pub(super) fn is_key(self, written: &str, key: &str) -> bool {
        match (self, written.as_bytes().first()) {
            (_, Some(b'"')) => text(written).is_some_and(|name| name == self.meant(key)),
            (Self::Pairs, Some(b'-' | b'0'..=b'9')) => written == key,
            _ => false,
        }
    }

    /// A key as it is shown in an object, as it is shown in this.
    pub(super) fn meant(self, key: &str) -> &str {
        match self {
            Self::Object => key,
            Self::Pairs => key.strip_prefix('$').unwrap_or(key),
        }
    }
}

/// What stands in an object or an array, one after another, without building values.
struct Members<'a> {
    text: &'a str,
    pieces: Lexer<'a>,
}

impl<'a> Members<'a> {
    fn of(container: &'a str) -> Self {
        let mut pieces = Lexer::new(container);
        pieces.next();
        Self {
            text: container,
            pieces,
        }
    }

    fn read(&self) -> usize {
        self.text.len() - self.pieces.rest().len()
    }
}

impl<'a> Iterator for Members<'a> {
    /// The name, with its quotes, in an object; the value.
    type Item = (Option<&'a str>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = match self.pieces.next()? {
            Piece::Key(name) => (Some(name), self.pieces.next()?),
            value => (None, value),
        };
        let value = match value {
            Piece::Text(value) | Piece::Scalar(value) => value,
            Piece::Open(bracket) => {
                let start = self.read() - bracket.len();
                let mut depth = 1_usize;
                while depth > 0 {
                    match self.pieces.next()? {
                        Piece::Open(_) => depth += 1,
                        Piece::Close(_) => depth -= 1,
                        _ => {}
                    }
                }
                self.text.get(start..self.read())?
            }
            Piece::Close(_) | Piece::Key(_) => return None,
        };
        Some((name, value))
    }
}

/// A JSON number by what it is worth: its digits without zeros before and behind, and what the
/// last of them stands for.
#[derive(PartialEq, Eq)]
struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Number {
    /// `None` for what is no number, or has an exponent beyond all use.
    fn read(number: &str) -> Option<Self> {
        let (negative, rest) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty()
            || ![whole, fraction]
                .concat()
                .bytes()
                .all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let digits = [whole, fraction].concat();
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return Some(Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            });
        }
        let behind = i64::try_from(fraction.len()).ok()?;
        let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
        Some(Self {
            negative,
            exponent: exponent.checked_sub(behind)?.checked_add(zeros)?,
            digits: significant.trim_start_matches('0').to_owned(),
        })
    }
}
