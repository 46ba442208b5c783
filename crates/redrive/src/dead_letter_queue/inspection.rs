//! A dead letter with its payload decoded.

use serde_json::value::RawValue;

use crate::dead_letter::DeadLetter;
use crate::payload::{self, Found, PayloadCodec};

/// A dead letter with its payload decoded, where it can be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The dead letter.
    pub dead_letter: DeadLetter,
    /// The payload as JSON text on one line, in the form of `docs/formats.md`: binary is
    /// `{"$bin":"base64"}`, integers are exact. `None` when there is none, when it does not
    /// decode, or when it is larger than 64 MiB; its bytes are in the dead letter's fields.
    pub payload: Option<Box<RawValue>>,
    /// The codec of the payload. `None` when that is.
    pub codec: Option<PayloadCodec>,
}

impl Inspection {
    pub(super) fn of(dead_letter: DeadLetter) -> Self {
        let (payload, codec) = match payload::find(&dead_letter) {
            Found::Decoded(payload) => (Some(payload.form), Some(payload.codec)),
            Found::Empty | Found::Undecodable => (None, None),
        };
        Self {
            dead_letter,
            payload,
            codec,
        }
    }
}
