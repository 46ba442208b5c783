//! What the server answers, taken apart without losing a byte: duplicate field names and their
//! order survive, and one strange field never costs a whole reply.

use bytes::Bytes;
use redis::Value;

use crate::backend::{Died, Entry};
use crate::dead_letter::{Layout, Reason};
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::EntryId;

/// The reply was not of the shape that the command has. Says what was looked for, never what was
/// found: that may be payload.
pub(super) fn unexpected(what: &'static str) -> Error {
    Error::new(ErrorKind::Protocol, format!("reading {what} from a reply"))
}

pub(super) fn list(value: Value, what: &'static str) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(k, v)| [k, v]).collect()),
        _ => Err(unexpected(what)),
    }
}

pub(super) fn bytes(value: Value, what: &'static str) -> Result<Bytes, Error> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) => Ok(text.into_bytes().into()),
        Value::VerbatimString { text, .. } => Ok(text.into_bytes().into()),
        Value::Int(number) => Ok(number.to_string().into_bytes().into()),
        Value::Okay => Ok(Bytes::from_static(b"OK")),
        _ => Err(unexpected(what)),
    }
}

pub(super) fn text(value: Value, what: &'static str) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&bytes(value, what)?).into_owned())
}

pub(super) fn int(value: Value, what: &'static str) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(number),
        other => std::str::from_utf8(&bytes(other, what)?)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| unexpected(what)),
    }
}

/// A count: negative numbers, which no server sends, are zero.
pub(super) fn count(value: Value, what: &'static str) -> Result<u64, Error> {
    Ok(u64::try_from(int(value, what)?).unwrap_or(0))
}

/// What `TIME` answers, in Unix ms.
pub(super) fn clock_ms(time: Vec<Value>) -> Result<u64, Error> {
    let mut parts = time.into_iter().map(|part| count(part, "a time"));
    let mut next = || {
        parts
            .next()
            .ok_or_else(|| unexpected("the server's time"))?
    };
    Ok(next()?
        .saturating_mul(1_000)
        .saturating_add(next()? / 1_000))
}

pub(super) fn id(value: Value, what: &'static str) -> Result<EntryId, Error> {
    EntryId::from_bytes(&bytes(value, what)?).ok_or_else(|| unexpected(what))
}

pub(super) fn fields(value: Value) -> Result<Fields, Error> {
    let mut items = list(value, "fields")?.into_iter();
    let mut pairs = Vec::with_capacity(items.len() / 2);
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        pairs.push((bytes(name, "a field name")?, bytes(value, "a field value")?));
    }
    Ok(Fields::from_iter(pairs))
}

/// The entries of XRANGE, or of one stream in XREADGROUP. An entry that no longer exists (nil
/// fields) is left out.
pub(super) fn entries(value: Value) -> Result<Vec<Entry>, Error> {
    let rows = list(value, "entries")?;
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        entries.extend(entry(row)?);
    }
    Ok(entries)
}

/// One entry; `None` for one that is not there.
pub(super) fn entry(row: Value) -> Result<Option<Entry>, Error> {
    let mut row = list(row, "an entry")?.into_iter();
    Ok(match (row.next(), row.next()) {
        (Some(key), Some(values)) if values != Value::Nil => Some(Entry {
            id: id(key, "an entry id")?,
            fields: fields(values)?,
        }),
        _ => None,
    })
}

/// The first stream of an XREADGROUP reply; none when nothing came.
pub(super) fn read_reply(value: Value) -> Result<Vec<Entry>, Error> {
    let streams = match value {
        Value::Map(pairs) => pairs.into_iter().next().map(|(_, entries)| entries),
        other => match list(other, "streams")?.into_iter().next() {
            None => None,
            Some(stream) => list(stream, "a stream")?.into_iter().nth(1),
        },
    };
    streams.map_or(Ok(Vec::new()), entries)
}

/// The pairs of a reply such as XINFO's: names and values in turn.
pub(super) struct Table(Vec<(String, Value)>);

impl Table {
    pub(super) fn read(value: Value) -> Result<Self, Error> {
        let mut items = list(value, "a table")?.into_iter();
        let mut pairs = Vec::new();
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            pairs.push((text(name, "a name")?, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a name, taken out; `None` where the server does not tell.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        match self.0.swap_remove(at).1 {
            Value::Nil => None,
            value => Some(value),
        }
    }

    pub(super) fn count(&mut self, name: &str) -> Option<u64> {
        self.take(name)
            .and_then(|value| count(value, "a count").ok())
    }

    pub(super) fn id(&mut self, name: &str) -> Option<EntryId> {
        self.take(name).and_then(|value| id(value, "an id").ok())
    }
}

/// One row of a script's answer: a word, then what belongs to it.
pub(super) struct Row {
    pub(super) word: String,
    rest: std::vec::IntoIter<Value>,
}

impl Row {
    pub(super) fn read(value: Value) -> Result<Self, Error> {
        let mut items = list(value, "a row")?.into_iter();
        let word = text(items.next().ok_or_else(|| unexpected("a row"))?, "a word")?;
        Ok(Self { word, rest: items })
    }

    pub(super) fn next(&mut self) -> Result<Value, Error> {
        self.rest.next().ok_or_else(|| unexpected("a row"))
    }

    pub(super) fn id(&mut self) -> Result<EntryId, Error> {
        id(self.next()?, "an id")
    }

    pub(super) fn count(&mut self) -> Result<u64, Error> {
        count(self.next()?, "a count")
    }

    pub(super) fn text(&mut self) -> Result<String, Error> {
        text(self.next()?, "a text")
    }

    /// What follows `died`: id, reason, dead letter, its layout, how many were dropped.
    pub(super) fn died(&mut self) -> Result<Died, Error> {
        let id = self.id()?;
        let reason = self.text()?;
        Ok(Died {
            id,
            reason: Reason::from_stored(&reason).ok_or_else(|| unexpected("a reason"))?,
            dead_letter: self.id()?,
            layout: Layout::from_name(&self.text()?).ok_or_else(|| unexpected("a layout"))?,
            dropped: self.count()?,
        })
    }
}

/// The rows of a script that answers one for each of `asked`.
pub(super) fn rows(value: Value, asked: usize) -> Result<Vec<Row>, Error> {
    let rows = list(value, "rows")?;
    if rows.len() != asked {
        return Err(unexpected("one row for each message"));
    }
    rows.into_iter().map(Row::read).collect()
}

/// A number of a reply as the small number it stands for.
pub(super) fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn duplicate_empty_and_binary_fields_survive_in_order() {
        let reply = Value::Array(vec![Value::Array(vec![
            bulk(b"orders"),
            Value::Array(vec![
                Value::Array(vec![
                    bulk(b"1-0"),
                    Value::Array(vec![bulk(b"\xff"), bulk(b""), bulk(b"\xff"), bulk(b"\0\n")]),
                ]),
                Value::Array(vec![bulk(b"2-0"), Value::Nil]),
            ]),
        ])]);
        let entries = read_reply(reply).unwrap();
        assert_eq!(entries.len(), 1);
        let pairs: Vec<_> = entries[0].fields.iter().collect();
        assert_eq!(pairs, [(&b"\xff"[..], &b""[..]), (b"\xff", b"\0\n")]);
        assert!(read_reply(Value::Nil).unwrap().is_empty());
    }

    /// The bug: seconds that are no time, from something that only speaks like a server, went over
    /// the largest number: a panic where the build looks, a time long past where it does not.
    #[test]
    fn a_time_beyond_all_numbers_is_the_largest() {
        let time = |seconds: i64, micros| clock_ms(vec![Value::Int(seconds), Value::Int(micros)]);
        assert_eq!(time(1_700_000_000, 1_999).unwrap(), 1_700_000_000_001);
        assert_eq!(time(18_446_744_073_709_551, 999_999).unwrap(), u64::MAX);
        assert_eq!(time(i64::MAX, i64::MAX).unwrap(), u64::MAX);
        assert!(clock_ms(vec![Value::Int(1)]).is_err());
    }

    #[test]
    fn a_reply_of_another_shape_is_an_error_that_quotes_nothing() {
        let error = entries(Value::SimpleString("secret".into())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(!error.to_string().contains("secret"));
        assert!(rows(Value::Array(vec![]), 1).is_err());
        assert!(Row::read(Value::Array(vec![])).is_err());
    }
}
