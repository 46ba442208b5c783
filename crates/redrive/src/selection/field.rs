//! What a field of a message has to be, or a part of what is in it: `PATH=VALUE`.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::dead_letter::DeadLetter;
use crate::error::Error;
use crate::payload::{self, PayloadPath};

/// That a field of the message, or a part of its decoded value, is this: `PATH=VALUE`.
///
/// `PATH` is a [`PayloadPath`]: the name of a field, and behind it the way into its value, as in
/// `data.items[0].sku`. The value of the field is decoded as
/// [`inspect`](crate::DeadLetterQueue::inspect) decodes payloads, and keys are named as they are
/// shown there. [`Assignment`](crate::Assignment) names values the same way.
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
    path: PayloadPath,
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
                name == self.path.field().as_bytes()
                    && (self.path.steps().is_empty() && value == self.value.as_bytes()
                        || forms
                            .of(place, || payload::decoded(name, value, letter.layout))
                            .and_then(|form| payload::at(form.get(), self.path.steps()))
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
        write!(f, "{}={}", self.path, self.value)
    }
}

impl FromStr for FieldFilter {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what is not of this form; the
    /// [cure](Error::cure) says where.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (path, value) = PayloadPath::split(text)?;
        Ok(Self {
            path,
            json: serde_json::from_str::<&RawValue>(value).is_ok(),
            value: value.to_owned(),
        })
    }
}
