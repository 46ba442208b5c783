//! CBOR, read as tokens and written in its preferred encoding.

use std::borrow::Cow;

use minicbor::data::{Int, Tag, Token as Cbor};
use minicbor::{Decoder, Encoder};

use super::Flaw;
use super::form::{Target, Unfit};
use super::token::{Token, Tokens};

/// Two bytes: this one and a simple value, which is then 32 or more.
const SIMPLE_BEHIND: u8 = 0xf8;
const UNDEFINED: u8 = 23;

/// Reads CBOR.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    decoder: Decoder<'a>,
    most_joined: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self::joining(bytes, usize::MAX)
    }

    /// Reads all, but of what comes in chunks hands out no more than about so many bytes.
    pub(super) fn joining(bytes: &'a [u8], most: usize) -> Self {
        Self {
            decoder: Decoder::new(bytes),
            most_joined: most,
        }
    }

    fn token(&mut self) -> Result<Cbor<'a>, Flaw> {
        let decoder = &mut self.decoder;
        let first = decoder.input().get(decoder.position()).copied();
        let token = decoder.decode().map_err(|error| {
            if error.is_end_of_input() {
                Flaw::Ends
            } else {
                Flaw::Other
            }
        });
        match token? {
            Cbor::Simple(value) if first == Some(SIMPLE_BEHIND) && value < 32 => Err(Flaw::Other),
            token => Ok(token),
        }
    }

    /// The chunks of a byte string whose length is not said.
    fn binary(&mut self) -> Result<Token<'a>, Flaw> {
        let mut whole = Vec::new();
        loop {
            match self.token()? {
                Cbor::Bytes(chunk) if whole.len() < self.most_joined => {
                    whole.extend_from_slice(chunk);
                }
                Cbor::Bytes(_) => {}
                Cbor::Break => return Ok(Token::Binary(Cow::Owned(whole))),
                _ => return Err(Flaw::Other),
            }
        }
    }

    /// The chunks of a text whose length is not said.
    fn text(&mut self) -> Result<Token<'a>, Flaw> {
        let mut whole = String::new();
        loop {
            match self.token()? {
                Cbor::String(chunk) if whole.len() < self.most_joined => whole.push_str(chunk),
                Cbor::String(_) => {}
                Cbor::Break => return Ok(Token::Text(Cow::Owned(whole))),
                _ => return Err(Flaw::Other),
            }
        }
    }
}

impl<'a> Tokens<'a> for Reader<'a> {
    fn next(&mut self) -> Result<Token<'a>, Flaw> {
        Ok(match self.token()? {
            Cbor::Null => Token::Null,
            Cbor::Bool(value) => Token::Bool(value),
            Cbor::U8(int) => Token::Int(int.into()),
            Cbor::U16(int) => Token::Int(int.into()),
            Cbor::U32(int) => Token::Int(int.into()),
            Cbor::U64(int) => Token::Int(int.into()),
            Cbor::I8(int) => Token::Int(int.into()),
            Cbor::I16(int) => Token::Int(int.into()),
            Cbor::I32(int) => Token::Int(int.into()),
            Cbor::I64(int) => Token::Int(int.into()),
            Cbor::Int(int) => Token::Int(int.into()),
            Cbor::F16(float) | Cbor::F32(float) => Token::Float(float.into()),
            Cbor::F64(float) => Token::Float(float),
            Cbor::Bytes(bytes) => Token::Binary(Cow::Borrowed(bytes)),
            Cbor::String(text) => Token::Text(Cow::Borrowed(text)),
            Cbor::BeginBytes => self.binary()?,
            Cbor::BeginString => self.text()?,
            Cbor::Array(length) => Token::Array(Some(length)),
            Cbor::Map(length) => Token::Map(Some(length)),
            Cbor::BeginArray => Token::Array(None),
            Cbor::BeginMap => Token::Map(None),
            Cbor::Tag(tag) => Token::Tag(tag.as_u64()),
            Cbor::Undefined => Token::Simple(UNDEFINED),
            Cbor::Simple(value) => Token::Simple(value),
            Cbor::Break => Token::Break,
        })
    }

    fn is_done(&self) -> bool {
        self.decoder.position() == self.decoder.input().len()
    }
}

/// Writes CBOR.
pub(super) struct Writer(Encoder<Vec<u8>>);

impl Writer {
    pub(super) fn new() -> Self {
        Self(Encoder::new(Vec::new()))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_writer()
    }
}

/// Writing to memory does not fail.
fn done<T, E>(_: Result<T, E>) -> Result<(), Unfit> {
    Ok(())
}

impl Target for Writer {
    fn null(&mut self) -> Result<(), Unfit> {
        done(self.0.null())
    }

    fn bool(&mut self, value: bool) -> Result<(), Unfit> {
        done(self.0.bool(value))
    }

    fn int(&mut self, int: i128) -> Result<(), Unfit> {
        let int = Int::try_from(int).map_err(|_| Unfit("an integer beyond 64 bits"))?;
        done(self.0.int(int))
    }

    /// In the shortest encoding that holds it exactly.
    fn float(&mut self, float: f64) -> Result<(), Unfit> {
        let single = float as f32;
        if f64::from(single) != float && !float.is_nan() {
            done(self.0.f64(float))
        } else if half(single).is_some_and(|half| half == single) || float.is_nan() {
            done(self.0.f16(single))
        } else {
            done(self.0.f32(single))
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Unfit> {
        done(self.0.str(text))
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        done(self.0.bytes(bytes))
    }

    fn ext(&mut self, _kind: i8, _bytes: &[u8]) -> Result<(), Unfit> {
        Err(Unfit("CBOR has no extensions of MessagePack's kind"))
    }

    fn tag(&mut self, tag: u64) -> Result<(), Unfit> {
        done(self.0.tag(Tag::new(tag)))
    }

    fn simple(&mut self, value: u8) -> Result<(), Unfit> {
        match value {
            UNDEFINED => done(self.0.undefined()),
            20..32 => Err(Unfit("a simple value that CBOR does not have")),
            value => done(self.0.simple(value)),
        }
    }

    fn array(&mut self, items: u32) -> Result<(), Unfit> {
        done(self.0.array(items.into()))
    }

    fn map(&mut self, pairs: u32) -> Result<(), Unfit> {
        done(self.0.map(pairs.into()))
    }
}

/// What a float is as one of half precision.
fn half(single: f32) -> Option<f32> {
    let mut bytes = [0; 3];
    Encoder::new(&mut bytes[..]).f16(single).ok()?;
    Decoder::new(&bytes).f16().ok()
}
