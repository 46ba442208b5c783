//! MessagePack, read as tokens and written in its shortest encodings.

use std::borrow::Cow;

use rmp::Marker;
use rmp::encode;

use super::form::{Target, Unfit};
use super::token::{Token, Tokens};
use super::{Flaw, length};

/// Reads MessagePack.
#[derive(Clone)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Flaw::Ends)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        self.take(N)?.try_into().map_err(|_| Flaw::Other)
    }

    fn u8(&mut self) -> Result<u8, Flaw> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_be_bytes)
    }

    fn text(&mut self, length: u32) -> Result<Token<'a>, Flaw> {
        let text = std::str::from_utf8(self.take(length as usize)?).map_err(|_| Flaw::Other)?;
        Ok(Token::Text(Cow::Borrowed(text)))
    }

    fn binary(&mut self, length: u32) -> Result<Token<'a>, Flaw> {
        Ok(Token::Binary(Cow::Borrowed(self.take(length as usize)?)))
    }

    fn ext(&mut self, length: u32) -> Result<Token<'a>, Flaw> {
        let kind = self.array().map(i8::from_be_bytes)?;
        Ok(Token::Ext(kind, self.take(length as usize)?))
    }
}

impl<'a> Tokens<'a> for Reader<'a> {
    fn next(&mut self) -> Result<Token<'a>, Flaw> {
        let int = |int: i128| Ok(Token::Int(int));
        let array = |length: u32| Ok(Token::Array(Some(length.into())));
        let map = |length: u32| Ok(Token::Map(Some(length.into())));
        match Marker::from_u8(self.u8()?) {
            Marker::FixPos(value) => int(value.into()),
            Marker::FixNeg(value) => int(value.into()),
            Marker::U8 => int(self.u8()?.into()),
            Marker::U16 => int(self.u16()?.into()),
            Marker::U32 => int(self.u32()?.into()),
            Marker::U64 => int(u64::from_be_bytes(self.array()?).into()),
            Marker::I8 => int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => int(i64::from_be_bytes(self.array()?).into()),
            Marker::F32 => Ok(Token::Float(f32::from_be_bytes(self.array()?).into())),
            Marker::F64 => Ok(Token::Float(f64::from_be_bytes(self.array()?))),
            Marker::Null => Ok(Token::Null),
            Marker::True => Ok(Token::Bool(true)),
            Marker::False => Ok(Token::Bool(false)),
            Marker::FixStr(length) => self.text(length.into()),
            Marker::Str8 => self.u8().and_then(|length| self.text(length.into())),
            Marker::Str16 => self.u16().and_then(|length| self.text(length.into())),
            Marker::Str32 => self.u32().and_then(|length| self.text(length)),
            Marker::Bin8 => self.u8().and_then(|length| self.binary(length.into())),
            Marker::Bin16 => self.u16().and_then(|length| self.binary(length.into())),
            Marker::Bin32 => self.u32().and_then(|length| self.binary(length)),
            Marker::FixExt1 => self.ext(1),
            Marker::FixExt2 => self.ext(2),
            Marker::FixExt4 => self.ext(4),
            Marker::FixExt8 => self.ext(8),
            Marker::FixExt16 => self.ext(16),
            Marker::Ext8 => self.u8().and_then(|length| self.ext(length.into())),
            Marker::Ext16 => self.u16().and_then(|length| self.ext(length.into())),
            Marker::Ext32 => self.u32().and_then(|length| self.ext(length)),
            Marker::FixArray(length) => array(length.into()),
            Marker::Array16 => array(self.u16()?.into()),
            Marker::Array32 => array(self.u32()?),
            Marker::FixMap(length) => map(length.into()),
            Marker::Map16 => map(self.u16()?.into()),
            Marker::Map32 => map(self.u32()?),
            Marker::Reserved => Err(Flaw::Other),
        }
    }

    fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes MessagePack.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

/// Writing to memory does not fail.
fn done<T, E>(_: Result<T, E>) -> Result<(), Unfit> {
    Ok(())
}

impl Target for Writer {
    fn null(&mut self) -> Result<(), Unfit> {
        done(encode::write_nil(&mut self.0))
    }

    fn bool(&mut self, value: bool) -> Result<(), Unfit> {
        done(encode::write_bool(&mut self.0, value))
    }

    fn int(&mut self, int: i128) -> Result<(), Unfit> {
        if let Ok(int) = i64::try_from(int) {
            return done(encode::write_sint(&mut self.0, int));
        }
        let int = u64::try_from(int).map_err(|_| Unfit("an integer beyond 64 bits"))?;
        done(encode::write_uint(&mut self.0, int))
    }

    fn float(&mut self, float: f64) -> Result<(), Unfit> {
        done(encode::write_f64(&mut self.0, float))
    }

    fn text(&mut self, text: &str) -> Result<(), Unfit> {
        done(encode::write_str_len(&mut self.0, length(text.len())?))?;
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        done(encode::write_bin_len(&mut self.0, length(bytes.len())?))?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn ext(&mut self, kind: i8, bytes: &[u8]) -> Result<(), Unfit> {
        let length = length(bytes.len())?;
        done(encode::write_ext_meta(&mut self.0, length, kind))?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn tag(&mut self, _tag: u64) -> Result<(), Unfit> {
        Err(Unfit("MessagePack has no tags"))
    }

    fn simple(&mut self, _value: u8) -> Result<(), Unfit> {
        Err(Unfit("MessagePack has no simple values"))
    }

    fn array(&mut self, items: u32) -> Result<(), Unfit> {
        done(encode::write_array_len(&mut self.0, items))
    }

    fn map(&mut self, pairs: u32) -> Result<(), Unfit> {
        done(encode::write_map_len(&mut self.0, pairs))
    }
}
