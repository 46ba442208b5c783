//! The JSON text that a payload is shown as, written piece by piece up to a limit.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::{Flaw, MOST_BYTES};

/// A JSON text in the making.
#[derive(Default)]
pub(super) struct JsonText(Vec<u8>);

impl JsonText {
    pub(super) fn push(&mut self, json: &str) -> Result<(), Flaw> {
        self.room_for(json.len())?;
        self.0.extend_from_slice(json.as_bytes());
        Ok(())
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), Flaw> {
        serde_json::to_writer(self, text).map_err(|_| Flaw::TooLarge)
    }

    /// The name of a member: one that begins with `$` gets one more, so that ours stand apart.
    pub(super) fn key(&mut self, name: &str) -> Result<(), Flaw> {
        if name.starts_with('$') {
            self.text(&format!("${name}"))?;
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
        self.room_for(length)?;
        self.push("\"")?;
        let start = self.0.len();
        self.0.resize(start + length, b'=');
        let place = self.0.get_mut(start..).unwrap_or_default();
        STANDARD
            .encode_slice(bytes, place)
            .map_err(|_| Flaw::TooLarge)?;
        self.push("\"")
    }

    /// Whether exactly this has been written.
    pub(super) fn is(&self, json: &str) -> bool {
        self.0 == json.as_bytes()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The finished text.
    pub(super) fn finish(self) -> Result<Box<RawValue>, Flaw> {
        let text = String::from_utf8(self.0).map_err(|_| Flaw::Other)?;
        RawValue::from_string(text).map_err(|_| Flaw::Other)
    }

    fn room_for(&self, more: usize) -> Result<(), Flaw> {
        match self.0.len().checked_add(more) {
            Some(length) if length <= MOST_BYTES => Ok(()),
            _ => Err(Flaw::TooLarge),
        }
    }
}

impl io::Write for JsonText {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.room_for(part.len())
            .map_err(|_| io::ErrorKind::StorageFull)?;
        self.0.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
