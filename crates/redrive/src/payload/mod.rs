//! Payloads of any codec as JSON text that people and programs read, and back.

mod cbor;
mod compression;
mod edit;
mod entry;
mod form;
mod json;
mod lexer;
mod message_pack;
mod part;
mod path;
mod preview;
mod repair;
#[cfg(test)]
mod tests;
mod text;
mod token;

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use compression::Compression;
pub(crate) use edit::Misfit;
pub(crate) use entry::{Found, Payload, find, find_in};
pub(crate) use form::Unfit;
pub(crate) use part::{at, decoded, is_text, same};
pub use path::PayloadPath;
#[cfg(test)]
pub(crate) use path::Step;
pub use preview::{Preview, PreviewContent};
pub(crate) use repair::set;
pub use repair::{Assignment, MergePatch};
use text::JsonText;

/// The most that a compressed payload is unpacked to, and the longest JSON text: 64 MiB.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How deep arrays and maps may be nested.
const MOST_DEPTH: usize = 128;

/// The codec in which a payload was found: `json`, `msgpack`, `cbor`, `text`, `raw`, these with
/// `gzip+` or `zstd+` before them, or `fields`: all fields of the entry together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PayloadCodec {
    compression: Option<Compression>,
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Encoding {
    Json,
    MessagePack,
    Cbor,
    Text,
    Raw,
    Fields,
}

impl PayloadCodec {
    /// As it is shown: `json`, `gzip+msgpack`, `fields`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let [plain, gzip, zstd] = match self.encoding {
            Encoding::Json => ["json", "gzip+json", "zstd+json"],
            Encoding::MessagePack => ["msgpack", "gzip+msgpack", "zstd+msgpack"],
            Encoding::Cbor => ["cbor", "gzip+cbor", "zstd+cbor"],
            Encoding::Text => ["text", "gzip+text", "zstd+text"],
            Encoding::Raw => ["raw", "gzip+raw", "zstd+raw"],
            Encoding::Fields => ["fields"; 3],
        };
        match self.compression {
            None => plain,
            Some(Compression::Gzip) => gzip,
            Some(Compression::Zstd) => zstd,
        }
    }

    fn plain(encoding: Encoding) -> Self {
        Self {
            compression: None,
            encoding,
        }
    }
}

impl fmt::Display for PayloadCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for PayloadCodec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why bytes are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// They are not of this codec.
    Other,
    /// So far they are, and they end in the middle.
    Ends,
    /// They may be, and are more than is shown.
    TooLarge,
}

/// How much of something there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    Beginning,
}

/// What a payload is, of whatever codec, and its form. `None` only for what is too large.
fn look(bytes: &[u8]) -> Option<(PayloadCodec, Box<RawValue>)> {
    let unpacked = Compression::of(bytes).map(|found| (found, found.unpack(bytes)));
    let (compression, looked) = match unpacked {
        Some((found, Ok(unpacked))) => (Some(found), guess(&unpacked)),
        Some((_, Err(Flaw::TooLarge))) => return None,
        // Damaged, or something else that begins like it.
        Some((_, Err(Flaw::Other | Flaw::Ends))) | None => (None, guess(bytes)),
    };
    let (encoding, form) = looked.ok()?;
    let codec = PayloadCodec {
        compression,
        encoding,
    };
    Some((codec, form))
}

/// The strictest first. Any bytes are raw.
fn guess(bytes: &[u8]) -> Result<(Encoding, Box<RawValue>), Flaw> {
    for &encoding in order(std::str::from_utf8(bytes).ok()) {
        match show(bytes, encoding) {
            Err(Flaw::Other | Flaw::Ends) => {}
            Ok(form) => return Ok((encoding, form)),
            Err(flaw) => return Err(flaw),
        }
    }
    Err(Flaw::Other)
}

/// What bytes may be that are this text, or none.
fn order(text: Option<&str>) -> &'static [Encoding] {
    use Encoding::{Cbor, Json, MessagePack, Raw, Text};
    match text {
        // "a" is a text, though its one byte is also a number in MessagePack.
        Some(text) if !text.chars().any(is_odd) => &[Json, Text],
        Some(_) => &[Json, MessagePack, Cbor, Text],
        None => &[MessagePack, Cbor, Raw],
    }
}

/// Whether a text that people wrote does not hold it.
fn is_odd(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r')
}

fn show(bytes: &[u8], encoding: Encoding) -> Result<Box<RawValue>, Flaw> {
    let mut out = JsonText::default();
    match encoding {
        Encoding::Json => return json::show(bytes),
        Encoding::MessagePack => return token::show(message_pack::Reader(bytes)),
        Encoding::Cbor => return token::show(cbor::Reader::new(bytes)),
        Encoding::Text => out.text(std::str::from_utf8(bytes).map_err(|_| Flaw::Other)?)?,
        Encoding::Raw => out.binary(bytes)?,
        Encoding::Fields => return Err(Flaw::Other),
    }
    out.finish()
}

/// The bytes of a form, in the codec that it came in.
fn restore(form: &RawValue, codec: PayloadCodec) -> Result<Vec<u8>, Unfit> {
    let bytes = match codec.encoding {
        Encoding::Json => json::restore(form)?,
        Encoding::MessagePack => {
            let mut writer = message_pack::Writer::default();
            form::write(form, &mut writer)?;
            writer.0
        }
        Encoding::Cbor => {
            let mut writer = cbor::Writer::new();
            form::write(form, &mut writer)?;
            writer.into_bytes()
        }
        Encoding::Text if form.get().starts_with('"') => form::string(form.get())?.into_bytes(),
        Encoding::Text => return Err(Unfit("a text must stay a string")),
        Encoding::Raw => {
            form::binary(form.get()).ok_or(Unfit("raw bytes must stay one {\"$bin\":…}"))??
        }
        Encoding::Fields => return Err(Unfit("fields are no payload of one field")),
    };
    match codec.compression {
        None => Ok(bytes),
        Some(compression) => compression.pack(&bytes),
    }
}

fn length(bytes: usize) -> Result<u32, Unfit> {
    u32::try_from(bytes).map_err(|_| Unfit("longer than 4 GiB"))
}
