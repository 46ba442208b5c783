//! The entries that a read brought, taken straight from the bytes of the reply while they arrive.

use std::ops::Range;

use bytes::Bytes;
use redis::{RedisError, Value};

use super::resp::{self, LARGEST, NoReply, Scan};
use super::wire;
use crate::backend::Entry;
use crate::error::Error;
use crate::message::Fields;
use crate::names::EntryId;

/// Names of fields up to this long are kept for the next entry, which mostly has the same.
const SHORT: usize = 64;
/// A line that is longer, and says how much follows it, is none that a server sends.
const LONGEST_HEADER: usize = 20;

/// What is used again from entry to entry, and from reply to reply.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    name: Bytes,
    places: Vec<Range<usize>>,
}

/// What a reply looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// That of `XREADGROUP`: streams, of which one has entries.
    Streams,
    /// That of `XRANGE`: entries.
    Entries,
}

/// A reply to a read, as far as it has been read; `make` makes of an entry what is wanted.
///
/// What does not look as it always does is left until it is whole, and then read by the client library.
pub(super) struct Reading<'s, T, F> {
    shelf: &'s mut Shelf,
    shape: Shape,
    make: F,
    entries: Vec<T>,
    /// Where that begins which has not been read yet.
    at: usize,
    /// How many entries are still to come; `None` while even that has not arrived.
    left: Option<usize>,
    /// Looks for the end of what begins there, and has arrived in part: an entry, or all of what is odd.
    scan: Option<Scan>,
    odd: bool,
}

impl<'s, T, F: Fn(Entry) -> T> Reading<'s, T, F> {
    pub(super) fn new(shelf: &'s mut Shelf, shape: Shape, make: F) -> Self {
        Self {
            shelf,
            shape,
            make,
            entries: Vec::new(),
            at: 0,
            left: None,
            scan: None,
            odd: false,
        }
    }

    /// Reads on in what has arrived, all of it each time. Answers where the reply ends, or that it has not yet.
    ///
    /// # Errors
    ///
    /// For what no server may send.
    // Not inlined: `make counts` knows it by its name.
    #[inline(never)]
    pub(super) fn go_on(&mut self, arrived: &[u8]) -> Result<Option<usize>, NoReply> {
        loop {
            let mut whole = false;
            if let Some(scan) = &mut self.scan {
                let Some(end) = scan.end(arrived.get(self.at..).unwrap_or_default())? else {
                    return Ok(None);
                };
                if self.odd {
                    return Ok(Some(end));
                }
                self.scan = None;
                whole = true;
            }
            let mut walk = Walk {
                arrived,
                at: self.at,
            };
            let step = match self.left {
                Some(0) => return Ok(Some(self.at)),
                Some(left) => walk.entry(self.shelf).map(|entry| {
                    self.entries.extend(entry.map(&self.make));
                    left - 1
                }),
                None => walk.head(self.shape).inspect(|many| {
                    // None is shorter than this, however many there are said to be.
                    self.entries.reserve((*many).min(arrived.len() / 16));
                }),
            };
            match step {
                Ok(left) => {
                    self.at = walk.at;
                    self.left = Some(left);
                }
                // The head is short, whatever comes of it.
                Err(Stop::Early) if self.left.is_none() => return Ok(None),
                // Each of its thousand fields again with each piece would be too much.
                Err(Stop::Early) if !whole => self.scan = Some(Scan::default()),
                Err(_) => {
                    self.entries.clear();
                    self.odd = true;
                    self.at = 0;
                    self.scan = Some(Scan::default());
                }
            }
        }
    }

    /// What a reply says that is whole; `None` if it is none, but something that nobody asked for, which RESP3 lets
    /// a server say: then the reply comes behind it.
    ///
    /// # Errors
    ///
    /// What the server answered instead of entries, or that this is no reply; within it, that it is one to something else.
    pub(super) fn end(
        &mut self,
        reply: &[u8],
    ) -> Result<Option<Result<Vec<T>, Error>>, RedisError> {
        let odd = std::mem::take(&mut self.odd);
        (self.at, self.left, self.scan) = (0, None, None);
        if !odd {
            return Ok(Some(Ok(std::mem::take(&mut self.entries))));
        }
        let value = value(reply)?;
        if matches!(value, Value::Push { .. }) {
            return Ok(None);
        }
        let entries = read(self.shape, value.extract_error()?);
        Ok(Some(entries.map(|entries| {
            entries.into_iter().map(&self.make).collect()
        })))
    }
}

/// The entries of a whole reply as the client library has read it.
pub(super) fn read(shape: Shape, reply: Value) -> Result<Vec<Entry>, Error> {
    match shape {
        Shape::Streams => wire::read_reply(reply),
        Shape::Entries => wire::entries(reply),
    }
}

/// A whole reply, read by the client library.
fn value(reply: &[u8]) -> Result<Value, RedisError> {
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

/// Why a walk came to no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// There is more to come.
    Early,
    /// It does not look as it always does.
    Odd,
}

struct Walk<'a> {
    arrived: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// What stands before the entries; answers how many there are.
    fn head(&mut self, shape: Shape) -> Result<usize, Stop> {
        if self.nil() {
            return Ok(0);
        }
        if shape == Shape::Entries {
            return self.list();
        }
        match self.header()? {
            (b'%', 1) => {}
            (b'*', 1) if self.list()? == 2 => {}
            _ => return Err(Stop::Odd),
        }
        self.string()?;
        self.list()
    }

    /// One entry; `None` for one that no longer exists.
    fn entry(&mut self, shelf: &mut Shelf) -> Result<Option<Entry>, Stop> {
        if self.list()? != 2 {
            return Err(Stop::Odd);
        }
        let id = EntryId::from_bytes(self.string()?).ok_or(Stop::Odd)?;
        if self.nil() {
            return Ok(None);
        }
        let fields = self.fields(shelf)?;
        Ok(Some(Entry { id, fields }))
    }

    /// The fields of an entry in memory of their own: a message that is held must not hold all that came with it.
    fn fields(&mut self, shelf: &mut Shelf) -> Result<Fields, Stop> {
        match self.list()? {
            2 => {
                let (name, value) = (self.string()?, self.string()?);
                let name = if shelf.name == name {
                    shelf.name.clone()
                } else {
                    shelf.remember(Bytes::copy_from_slice(name))
                };
                Ok(Fields::from_iter([(name, Bytes::copy_from_slice(value))]))
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
                let all = self.arrived.get(begin..self.at).ok_or(Stop::Odd)?;
                // With the lengths between them, which are fewer bytes than it takes to be rid of them.
                let all = Bytes::copy_from_slice(all);
                let mut places = shelf.places.drain(..).map(|place| all.slice(place));
                let pairs = (0..many / 2).map(|_| (places.next(), places.next()));
                Ok(Fields::from_iter(pairs.map(|(name, value)| {
                    (name.unwrap_or_default(), value.unwrap_or_default())
                })))
            }
            _ => Err(Stop::Odd),
        }
    }

    #[inline]
    fn header(&mut self) -> Result<(u8, usize), Stop> {
        let rest = self.arrived.get(self.at..).unwrap_or_default();
        match resp::plain(rest) {
            Some((kind, number, end)) if number <= LARGEST => {
                self.at += end;
                Ok((kind, number as usize))
            }
            None if is_part_of_a_header(rest) => Err(Stop::Early),
            _ => Err(Stop::Odd),
        }
    }

    #[inline]
    fn list(&mut self) -> Result<usize, Stop> {
        match self.header()? {
            (b'*', many) => Ok(many),
            _ => Err(Stop::Odd),
        }
    }

    #[inline]
    fn string(&mut self) -> Result<&'a [u8], Stop> {
        let (b'$', length) = self.header()? else {
            return Err(Stop::Odd);
        };
        let Some((string, [b'\r', b'\n', ..])) = self
            .arrived
            .get(self.at..)
            .and_then(|rest| rest.split_at_checked(length))
        else {
            let is_there = self.arrived.len() - self.at >= length + 2;
            return Err(if is_there { Stop::Odd } else { Stop::Early });
        };
        self.at += length + 2;
        Ok(string)
    }

    fn nil(&mut self) -> bool {
        let rest = self.arrived.get(self.at..).unwrap_or_default();
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

fn is_part_of_a_header(rest: &[u8]) -> bool {
    let begins = rest.first().is_none_or(|kind| resp::KINDS.contains(kind));
    begins && rest.len() < LONGEST_HEADER && !rest.contains(&b'\n')
}

impl Shelf {
    fn remember(&mut self, name: Bytes) -> Bytes {
        if name.len() <= SHORT {
            self.name = name.clone();
        }
        name
    }
}
