//! Payloads as they are: all fields, or the bytes of one.

use bytes::Bytes;

use super::{Decode, DecodeError, Encode};
use crate::error::BoxError;
use crate::message::Fields;

/// No decoding: the handler gets the [`Fields`] as they are. Nothing is ever undecodable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Decode<Fields> for Raw {
    fn decode(&self, fields: &Fields) -> Result<Fields, DecodeError> {
        Ok(fields.clone())
    }
}

impl Encode<Fields> for Raw {
    fn encode(&self, payload: &Fields) -> Result<Fields, BoxError> {
        Ok(payload.clone())
    }
}

/// No decoding: the handler gets the bytes of one field, whatever else is there; of a name that is
/// there twice the first, and no bytes where it is missing. Nothing is ever undecodable. Writes that
/// one field.
///
/// `RawField::new("data")` reads what the second Python system writes as that system does.
///
/// ```
/// use bytes::Bytes;
/// use redrive::{Decode, Fields, RawField};
/// let codec = RawField::new("data");
/// let payload = codec.decode(&Fields::from_iter([("ts", "17"), ("data", "\x01")]))?;
/// assert_eq!(payload, Bytes::from("\x01"));
/// assert_eq!(codec.decode(&Fields::from_iter([("ts", "17")]))?, Bytes::new());
/// # Ok::<(), redrive::DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RawField {
    name: Bytes,
}

impl RawField {
    /// Reads and writes this one field.
    pub fn new(name: impl Into<Bytes>) -> Self {
        Self { name: name.into() }
    }
}

impl Decode<Bytes> for RawField {
    fn decode(&self, fields: &Fields) -> Result<Bytes, DecodeError> {
        Ok(fields.value(&self.name).cloned().unwrap_or_default())
    }
}

impl Encode<Bytes> for RawField {
    fn encode(&self, payload: &Bytes) -> Result<Fields, BoxError> {
        Ok(Fields::from_iter([(self.name.clone(), payload.clone())]))
    }
}
