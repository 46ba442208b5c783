//! The beginning of a payload, decoded no further than it is shown.

use std::borrow::Cow;

use bytes::Bytes;

use super::compression::Compression;
use super::entry::{payload_field, write_fields};
use super::text::JsonText;
use super::{Encoding, Extent, Flaw, PayloadCodec, cbor, json, message_pack, order, token};
use crate::dead_letter::{DeadLetter, DeadLetterLayout};

/// How much of a compressed payload is unpacked for its beginning.
const MOST_UNPACKED: usize = 1 << 20;

/// The beginning of a payload, for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Preview {
    /// The beginning itself.
    pub content: PreviewContent,
    /// The codec. `None` when the payload does not decode. Of one that is compressed and unpacks to
    /// more than 1 MiB: what its first 1 MiB is.
    pub codec: Option<PayloadCodec>,
    /// The field that holds the payload; `None` when it is all fields together.
    pub field: Option<&'static str>,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// What a payload begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreviewContent {
    /// JSON text on one line, as in [`Inspection::payload`](crate::Inspection::payload); it may
    /// end anywhere.
    Json(String),
    /// The text that the payload is.
    Text(String),
    /// Bytes that are none of the codecs; where the payload is compressed, unpacked.
    Bytes(Bytes),
}

impl DeadLetter {
    /// The field that holds the payload, and its bytes as they are stored: the first present of
    /// `data`, `payload`, `body` and `json`. `None` where all fields together are the payload.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Fields};
    /// let broker = Broker::connect("memory:").await?;
    /// let fields = Fields::from_iter([("kind", "order"), ("body", "[1]")]);
    /// let id = broker.producer("orders:dlq".parse()?).send_fields(fields).await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let letter = queue.get(id).await?.ok_or("not found")?;
    /// assert_eq!(letter.payload_field(), Some(("body", &b"[1]"[..])));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn payload_field(&self) -> Option<(&'static str, &[u8])> {
        payload_field(&self.fields)
    }

    /// The beginning of the payload, up to so many bytes of text. `None` when there is none, or
    /// when it is all fields and these are no object: one of them twice, or with a name that is no
    /// text.
    ///
    /// Takes little more memory than what it answers, whatever the payload is or unpacks to: it is
    /// for looking, where [`inspect`](crate::DeadLetterQueue::inspect) decodes all.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Fields, PreviewContent};
    /// let broker = Broker::connect("memory:").await?;
    /// let zeros = format!("[0{}]", ",0".repeat(1_000_000));
    /// let fields = Fields::from_iter([("data", zeros)]);
    /// let id = broker.producer("orders:dlq".parse()?).send_fields(fields).await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let letter = queue.get(id).await?.ok_or("not found")?;
    /// let preview = letter.preview(8).ok_or("no payload")?;
    /// assert_eq!(preview.content, PreviewContent::Json("[0,0,0,0".to_owned()));
    /// assert!(!preview.is_whole);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn preview(&self, most: usize) -> Option<Preview> {
        let Some((field, value)) = payload_field(&self.fields) else {
            return fields(self, most);
        };
        if value.is_empty() {
            return None;
        }
        let (codec, content, extent) = match self.layout {
            DeadLetterLayout::Envelope => message_pack(value, most),
            _ => begin(value, most),
        };
        Some(Preview {
            content,
            codec,
            field: Some(field),
            is_whole: extent == Extent::Whole,
        })
    }
}

type Begun = (Option<PayloadCodec>, PreviewContent, Extent);

fn fields(letter: &DeadLetter, most: usize) -> Option<Preview> {
    if letter.fields.is_empty() {
        return None;
    }
    let mut out = JsonText::beginning(most);
    let is_whole = match write_fields(&letter.fields, &mut out) {
        Ok(()) => true,
        Err(Flaw::Other) => return None,
        Err(_) => false,
    };
    Some(Preview {
        content: PreviewContent::Json(out.into_beginning()),
        codec: Some(PayloadCodec::plain(Encoding::Fields)),
        field: None,
        is_whole,
    })
}

/// The payload of an envelope is this and nothing else.
fn message_pack(bytes: &[u8], most: usize) -> Begun {
    let found = content(bytes, Extent::Whole, Encoding::MessagePack, most);
    let codec = PayloadCodec::plain(Encoding::MessagePack);
    match found {
        Ok((content, extent)) => (Some(codec), content, extent),
        Err(_) => undecoded(bytes, most),
    }
}

fn undecoded(bytes: &[u8], most: usize) -> Begun {
    let (content, extent) = raw(bytes, most);
    (None, content, extent)
}

fn begin(bytes: &[u8], most: usize) -> Begun {
    let unpacked = Compression::of(bytes).map(|found| (found, found.begin(bytes, MOST_UNPACKED)));
    let (compression, bytes, extent) = match unpacked {
        Some((found, Ok((unpacked, extent)))) => (Some(found), Cow::Owned(unpacked), extent),
        // It would need more room than a beginning is worth.
        Some((_, Err(Flaw::TooLarge))) => return undecoded(bytes, most),
        // Damaged, or something else that begins like it.
        Some((_, Err(_))) | None => (None, Cow::Borrowed(bytes), Extent::Whole),
    };
    for &encoding in order(text(&bytes, extent)) {
        if let Ok((content, shown)) = content(&bytes, extent, encoding, most) {
            let codec = PayloadCodec {
                compression,
                encoding,
            };
            return (Some(codec), content, shown);
        }
    }
    undecoded(&bytes, most)
}

/// The bytes as text; what is cut may end within a character.
fn text(bytes: &[u8], extent: Extent) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if extent == Extent::Beginning && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

/// What is shown of bytes in this codec, of which there may be more, and whether that is all.
fn content(
    bytes: &[u8],
    extent: Extent,
    encoding: Encoding,
    most: usize,
) -> Result<(PreviewContent, Extent), Flaw> {
    let mut out = JsonText::beginning(most);
    let shown = match encoding {
        Encoding::Json => {
            let text = text(bytes, extent).ok_or(Flaw::Other)?;
            json::begin(text, extent, &mut out)?
        }
        Encoding::MessagePack => {
            let tokens = message_pack::Reader(bytes);
            token::begin(tokens, extent, most, &mut out)?
        }
        Encoding::Cbor => {
            let tokens = cbor::Reader::joining(bytes, most);
            token::begin(tokens, extent, most, &mut out)?
        }
        Encoding::Text => {
            let text = text(bytes, extent).ok_or(Flaw::Other)?;
            let mut end = text.len().min(most);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let begin = text.get(..end).unwrap_or_default().to_owned();
            let extent = if end < text.len() {
                Extent::Beginning
            } else {
                extent
            };
            return Ok((PreviewContent::Text(begin), extent));
        }
        Encoding::Raw => {
            let (content, shown) = raw(bytes, most);
            let all = shown == Extent::Whole && extent == Extent::Whole;
            let extent = if all {
                Extent::Whole
            } else {
                Extent::Beginning
            };
            return Ok((content, extent));
        }
        Encoding::Fields => return Err(Flaw::Other),
    };
    Ok((PreviewContent::Json(out.into_beginning()), shown))
}

fn raw(bytes: &[u8], most: usize) -> (PreviewContent, Extent) {
    let (begin, extent) = match bytes.get(..most) {
        Some(begin) if begin.len() < bytes.len() => (begin, Extent::Beginning),
        _ => (bytes, Extent::Whole),
    };
    let begin = Bytes::copy_from_slice(begin);
    (PreviewContent::Bytes(begin), extent)
}
