//! What a field of a message has to be, or a part of what is in it: `PATH=VALUE`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::dead_letter::DeadLetter;
use crate::error::{Error, ErrorKind};
use crate::payload;

/// That a field of the message, or a part of its decoded value, is this: `PATH=VALUE`.
///
/// `PATH` is the name of a field, and behind dots the way into its value: names of members, and
/// places in arrays, counted from 0, as in `data.items.0.sku`. What holds a dot or an `=`, is
/// empty, or begins or ends with a space, is written as a JSON string: `data."unit.price"`. The
/// value of the field is decoded as [`inspect`](crate::DeadLetterQueue::inspect) decodes payloads,
/// and keys are named as they are shown there.
///
/// `VALUE` is compared as JSON if it is JSON, else as text. Numbers are equal when they are worth
/// the same, digit by digit: `1` is `1.0`, and `9007199254740993` is not `9007199254740992`. A
/// number is no string: `data.id="7"` looks for the string. Objects are the same in any order of
/// their members. A field that is named alone matches also by its bytes as they are.
///
/// ```
/// use redrive::FieldFilter;
/// let filter: FieldFilter = "data.customer.id=7".parse()?;
/// assert_eq!(filter.to_string(), "data.customer.id=7");
/// let refused = "data..id=7".parse::<FieldFilter>().unwrap_err();
/// assert!(refused.cure().unwrap().contains("character 6"));
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFilter {
    name: String,
    path: Vec<String>,
    value: String,
    /// The value is JSON.
    json: bool,
}

impl FieldFilter {
    /// Whether the message of this dead letter is like that. A field that is there twice matches
    /// if one of the two does.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        self.matches_in(letter, &mut Forms::default())
    }

    /// As [`matches`](Self::matches), with what was decoded before.
    pub(super) fn matches_in(&self, letter: &DeadLetter, forms: &mut Forms) -> bool {
        letter
            .fields
            .iter()
            .enumerate()
            .any(|(place, (name, value))| {
                name == self.name.as_bytes()
                    && (self.path.is_empty() && value == self.value.as_bytes()
                        || forms
                            .of(place, || payload::decoded(name, value, letter.layout))
                            .and_then(|form| payload::at(form.get(), &self.path))
                            .is_some_and(|found| self.is(found)))
            })
    }

    fn is(&self, found: &str) -> bool {
        if self.json {
            payload::same(&self.value, found)
        } else {
            payload::is_text(found, &self.value)
        }
    }

    /// Whether the value is a number, `true`, `false` or `null`: not the string that is written
    /// alike.
    #[must_use]
    pub fn is_no_string(&self) -> bool {
        self.json && !self.value.trim_start().starts_with(['"', '{', '['])
    }

    /// The same filter for the string that is written like the value.
    #[must_use]
    pub fn quoted(&self) -> Self {
        Self {
            value: serde_json::Value::from(self.value.trim()).to_string(),
            json: true,
            ..self.clone()
        }
    }
}

/// Fields of one dead letter that were decoded already: several filters look at the same one.
#[derive(Default)]
pub(super) struct Forms(Vec<(usize, Option<Box<RawValue>>)>);

impl Forms {
    /// The form of the field at this place.
    fn of(
        &mut self,
        place: usize,
        decode: impl FnOnce() -> Option<Box<RawValue>>,
    ) -> Option<&RawValue> {
        let known = self.0.iter().position(|(known, _)| *known == place);
        let known = known.unwrap_or_else(|| {
            self.0.push((place, decode()));
            self.0.len() - 1
        });
        self.0.get(known)?.1.as_deref()
    }
}

/// As it is parsed again.
impl fmt::Display for FieldFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(&self.name))?;
        for part in &self.path {
            write!(f, ".{}", written(part))?;
        }
        write!(f, "={}", self.value)
    }
}

fn written(part: &str) -> Cow<'_, str> {
    if !part.starts_with('"') && !part.contains(['.', '=']) && slip(part).is_none() {
        return Cow::Borrowed(part);
    }
    // A string is always JSON.
    serde_json::to_string(part).map_or(Cow::Borrowed(part), Cow::Owned)
}

/// What is more likely a slip of the hand than a name: it has to be quoted.
fn slip(part: &str) -> Option<&'static str> {
    let last = part.chars().next_back();
    match last {
        None => Some("a part is empty; write \"\" for a name that is"),
        Some('!' | '<' | '>' | '~') => Some(
            "PATH=VALUE asks for what is equal, and knows no other sign; quote a name that ends like this",
        ),
        _ if part.trim() != part => {
            Some("a part begins or ends with a space; leave it out, or quote the name")
        }
        Some(_) => None,
    }
}

impl FromStr for FieldFilter {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is not of this form; the [cure](Error::cure) says where.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (parts, value) = split(text).map_err(|(place, why)| {
            let place = text.get(..place).map_or(0, |before| before.chars().count()) + 1;
            let doing = format!("reading the filter {text:?}");
            Error::new(ErrorKind::Invalid, doing).hint(format!(
                "at character {place}: {why}; it is PATH=VALUE, such as data.customer.id=7"
            ))
        })?;
        let mut parts = parts.into_iter();
        Ok(Self {
            name: parts.next().unwrap_or_default(),
            path: parts.collect(),
            json: serde_json::from_str::<&RawValue>(value).is_ok(),
            value: value.to_owned(),
        })
    }
}

type Wrong = (usize, &'static str);

/// The parts of the path, of which there is at least one, and the value.
fn split(text: &str) -> Result<(Vec<String>, &str), Wrong> {
    const NO_SIGN: &str = "there is no = behind the path";
    let mut parts = Vec::new();
    let mut start = 0;
    loop {
        let rest = text.get(start..).unwrap_or_default();
        let (part, length) = if rest.starts_with('"') {
            quoted(rest).map_err(|why| (start, why))?
        } else {
            let length = rest.find(['.', '=']).ok_or((text.len(), NO_SIGN))?;
            let part = rest.get(..length).unwrap_or_default();
            if let Some(why) = slip(part) {
                return Err((start, why));
            }
            (part.to_owned(), length)
        };
        parts.push(part);
        let end = start + length;
        match text.as_bytes().get(end) {
            Some(b'.') => start = end + 1,
            Some(b'=') => {
                let value = text.get(end + 1..).unwrap_or_default();
                if value.starts_with('=') {
                    return Err((
                        end + 1,
                        "one = is enough; a text that begins with = is written as JSON, \"=…\"",
                    ));
                }
                return Ok((parts, value));
            }
            Some(_) => return Err((end, "behind a quoted name comes a dot or an =")),
            None => return Err((end, NO_SIGN)),
        }
    }
}

/// A name as a JSON string, and how long it is as it stands.
fn quoted(text: &str) -> Result<(String, usize), &'static str> {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let length = end.ok_or("the quotes that begin here are not closed")? + 2;
    let name = text.get(..length).unwrap_or_default();
    let name = serde_json::from_str(name).map_err(|_| "a quoted name is a JSON string")?;
    Ok((name, length))
}
