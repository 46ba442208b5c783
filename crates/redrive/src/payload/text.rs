//! The JSON text that a payload is shown as, written piece by piece up to a limit.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serializer as _;
use serde_json::value::RawValue;

use super::{Flaw, MOST_BYTES};

/// A JSON text in the making.
pub(super) struct JsonText {
    text: Vec<u8>,
    most: usize,
    beyond: Beyond,
}

/// What becomes of a piece for which there is no room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beyond {
    /// Nothing of it is written.
    Refused,
    /// It is written as far as there is room.
    Cut,
}

impl Default for JsonText {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            most: MOST_BYTES,
            beyond: Beyond::Refused,
        }
    }
}

impl JsonText {
    /// Takes so many bytes of a text that may be longer.
    pub(super) fn beginning(most: usize) -> Self {
        Self {
            text: Vec::new(),
            most,
            beyond: Beyond::Cut,
        }
    }

    pub(super) fn push(&mut self, json: &str) -> Result<(), Flaw> {
        self.add(json.as_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), Flaw> {
        serde_json::to_writer(self, text).map_err(|_| Flaw::TooLarge)
    }

    /// The name of a member: one that begins with `$` gets one more, so that ours stand apart.
    pub(super) fn key(&mut self, name: &str) -> Result<(), Flaw> {
        if name.starts_with('$') {
            // Not formatted first: a name may be as long as a payload.
            let json = &mut serde_json::Serializer::new(&mut *self);
            json.collect_str(&format_args!("${name}"))
                .map_err(|_| Flaw::TooLarge)?;
        } else {
            self.text(name)?;
        }
        self.push(":")
    }

    pub(super) fn int(&mut self, int: i128) -> Result<(), Flaw> {
        self.push(&int.to_string())
    }

    /// A number with a point or an exponent, so that it stays a float.
    pub(super) fn float(&mut self, float: f64) -> Result<(), Flaw> {
        if float.is_nan() {
            self.push(r#"{"$float":"nan"}"#)
        } else if float.is_infinite() {
            self.push(match float.is_sign_positive() {
                true => r#"{"$float":"inf"}"#,
                false => r#"{"$float":"-inf"}"#,
            })
        } else {
            self.push(&format!("{float:?}"))
        }
    }

    pub(super) fn binary(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        self.push(r#"{"$bin":"#)?;
        self.base64(bytes)?;
        self.push("}")
    }

    /// The bytes as a string in base64.
    pub(super) fn base64(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        let length = base64::encoded_len(bytes.len(), true).ok_or(Flaw::TooLarge)?;
        if self.room() < length && self.beyond == Beyond::Cut {
            // Four characters for three bytes: more than there is room for.
            let some = bytes.get(..self.room()).unwrap_or(bytes);
            self.push("\"")?;
            self.push(&STANDARD.encode(some))?;
            return Err(Flaw::TooLarge);
        }
        self.room_for(length)?;
        self.push("\"")?;
        let start = self.text.len();
        self.text.resize(start + length, b'=');
        let place = self.text.get_mut(start..).unwrap_or_default();
        STANDARD
            .encode_slice(bytes, place)
            .map_err(|_| Flaw::TooLarge)?;
        self.push("\"")
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.text
    }

    /// The finished text.
    pub(super) fn finish(self) -> Result<Box<RawValue>, Flaw> {
        let text = String::from_utf8(self.text).map_err(|_| Flaw::Other)?;
        RawValue::from_string(text).map_err(|_| Flaw::Other)
    }

    /// What there is of it, up to the last whole character.
    pub(super) fn into_beginning(self) -> String {
        let mut text = self.text;
        if let Err(error) = std::str::from_utf8(&text) {
            text.truncate(error.valid_up_to());
        }
        String::from_utf8(text).unwrap_or_default()
    }

    fn room(&self) -> usize {
        self.most.saturating_sub(self.text.len())
    }

    fn room_for(&self, more: usize) -> Result<(), Flaw> {
        if more <= self.room() {
            Ok(())
        } else {
            Err(Flaw::TooLarge)
        }
    }

    fn add(&mut self, part: &[u8]) -> Result<(), Flaw> {
        let enough = self.room_for(part.len());
        match (enough, self.beyond) {
            (Ok(()), _) => self.text.extend_from_slice(part),
            (Err(_), Beyond::Cut) => {
                let some = part.get(..self.room()).unwrap_or_default();
                self.text.extend_from_slice(some);
            }
            (Err(_), Beyond::Refused) => {}
        }
        enough
    }
}

impl io::Write for JsonText {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.add(part).map_err(|_| io::ErrorKind::StorageFull)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
