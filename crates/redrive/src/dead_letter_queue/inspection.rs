//! A dead letter with its payload decoded.

use serde_json::value::RawValue;

use crate::dead_letter::DeadLetter;
use crate::payload::{self, Found, PayloadCodec};

/// A dead letter with its payload decoded, where it can be.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{Broker, Fields, PayloadCodec};
/// let broker = Broker::connect("memory:").await?;
/// let packed = Fields::from_iter([("data", &b"\x82\xa2id\x07\xa3key\xc4\x01\xff"[..])]);
/// let id = broker.producer("orders:dlq".parse()?).send_fields(packed).await?;
/// let queue = broker.dead_letters("orders:dlq".parse()?);
/// let inspected = queue.inspect(id).await?.ok_or("not found")?;
/// assert_eq!(inspected.codec.map(PayloadCodec::as_str), Some("msgpack"));
/// let payload = inspected.payload.ok_or("no payload")?;
/// assert_eq!(payload.get(), r#"{"id":7,"key":{"$bin":"/w=="}}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
