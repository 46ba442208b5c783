//! The entries that a read brought, taken straight from the bytes of the reply.

use std::ops::Range;

use bytes::Bytes;
use redis::{RedisError, Value};

use super::{resp, wire};
use crate::backend::Entry;
use crate::error::Error;
use crate::message::Fields;
use crate::names::EntryId;

/// Names of fields up to this long are kept for the next entry, which mostly has the same.
const SHORT: usize = 64;

/// What is used again from entry to entry, and from reply to reply.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    name: Bytes,
    places: Vec<Range<usize>>,
}

/// What a whole reply to a read says. `make` makes of an entry what is wanted.
///
/// What does not look as it always does is read by the client library, and says what it says.
///
/// # Errors
///
/// What the server answered instead, or that this is no reply; within it, that the reply is to something else.
// Not inlined: `make counts` knows it by its name.
#[inline(never)]
pub(super) fn read<T>(
    reply: &[u8],
    shelf: &mut Shelf,
    make: impl Fn(Entry) -> T,
) -> Result<Result<Vec<T>, Error>, RedisError> {
    if let Some(entries) = (Walk { reply, at: 0 }).streams(shelf, &make) {
        return Ok(Ok(entries));
    }
    let value = value(reply)?.extract_error()?;
    Ok(wire::read_reply(value).map(|entries| entries.into_iter().map(make).collect()))
}

/// A whole reply, read by the client library.
pub(super) fn value(reply: &[u8]) -> Result<Value, RedisError> {
    match redis::parse_redis_value(reply) {
        // It lacks something where nothing is lacking.
        Err(error) if error.is_io_error() => Err(no_reply()),
        value => value,
    }
}

/// What has arrived is no reply.
pub(super) fn no_reply() -> RedisError {
    RedisError::from((redis::ErrorKind::Parse, "that is no reply"))
}

struct Walk<'a> {
    reply: &'a [u8],
    at: usize,
}

/// `None` wherever the reply does not look as it always does.
impl<'a> Walk<'a> {
    fn streams<T>(mut self, shelf: &mut Shelf, make: &impl Fn(Entry) -> T) -> Option<Vec<T>> {
        if self.nil() {
            return (self.at == self.reply.len()).then(Vec::new);
        }
        let (kind, streams) = self.header()?;
        match (kind, streams) {
            (b'%', 1) => {}
            (b'*', 1) if self.list()? == 2 => {}
            _ => return None,
        }
        self.string()?;
        let many = self.list()?;
        // None is shorter than this; the reply has arrived, whatever it says of itself.
        let mut entries = Vec::with_capacity(many.min(self.reply.len() / 16));
        for _ in 0..many {
            if self.list()? != 2 {
                return None;
            }
            let id = EntryId::from_bytes(self.string()?)?;
            // An entry that no longer exists.
            if self.nil() {
                continue;
            }
            let fields = self.fields(shelf)?;
            entries.push(make(Entry { id, fields }));
        }
        (self.at == self.reply.len()).then_some(entries)
    }

    /// The fields of an entry in memory of their own: a message that is held must not hold all that came with it.
    fn fields(&mut self, shelf: &mut Shelf) -> Option<Fields> {
        match self.list()? {
            2 => {
                let (name, value) = (self.string()?, self.string()?);
                let name = if shelf.name == name {
                    shelf.name.clone()
                } else {
                    shelf.remember(Bytes::copy_from_slice(name))
                };
                Some(Fields::from_iter([(name, Bytes::copy_from_slice(value))]))
            }
            many if many % 2 == 0 => {
                let begin = self.at;
                shelf.places.clear();
                for _ in 0..many {
                    let length = self.string()?.len();
                    // Behind it is the end of its line.
                    let end = self.at - 2 - begin;
                    shelf.places.push(end - length..end);
                }
                // With the lengths between them, which are fewer bytes than it takes to be rid of them.
                let all = Bytes::copy_from_slice(self.reply.get(begin..self.at)?);
                let mut places = shelf.places.drain(..).map(|place| all.slice(place));
                let pairs = (0..many / 2).map(|_| (places.next(), places.next()));
                Some(Fields::from_iter(pairs.map(|(name, value)| {
                    (name.unwrap_or_default(), value.unwrap_or_default())
                })))
            }
            _ => None,
        }
    }

    fn header(&mut self) -> Option<(u8, usize)> {
        let (kind, number, end) = resp::plain(self.reply.get(self.at..)?)?;
        self.at += end;
        Some((kind, usize::try_from(number).ok()?))
    }

    fn list(&mut self) -> Option<usize> {
        match self.header()? {
            (b'*', many) => Some(many),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        match self.header()? {
            (b'$', length) => {
                let end = self.at.checked_add(length)?;
                let string = self.reply.get(self.at..end)?;
                self.at = end.checked_add(2)?;
                Some(string)
            }
            _ => None,
        }
    }

    fn nil(&mut self) -> bool {
        let rest = self.reply.get(self.at..).unwrap_or_default();
        if let [b'*', b'0'..=b'9', ..] = rest {
            return false;
        }
        let nil = [&b"*-1\r\n"[..], b"$-1\r\n", b"_\r\n"]
            .into_iter()
            .find(|nil| rest.starts_with(nil));
        self.at += nil.map_or(0, <[u8]>::len);
        nil.is_some()
    }
}

impl Shelf {
    fn remember(&mut self, name: Bytes) -> Bytes {
        if name.len() <= SHORT {
            self.name = name.clone();
        }
        name
    }
}
