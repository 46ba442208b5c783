//! From the tokens of a binary codec to JSON text, without building values.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use serde_json::value::RawValue;

use super::text::JsonText;
use super::{Extent, Flaw, MOST_DEPTH};

/// What a binary codec is made of.
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    /// A MessagePack extension.
    Ext(i8, &'a [u8]),
    /// A CBOR tag; the item that it is for follows.
    Tag(u64),
    /// A CBOR simple value that is none of the above.
    Simple(u8),
    /// So many items follow, or those up to a break.
    Array(Option<u64>),
    /// So many pairs follow, or those up to a break.
    Map(Option<u64>),
    Break,
}

/// Reads tokens, from the first. A clone reads from the same place on.
pub(super) trait Tokens<'a>: Clone {
    /// The next token; [`Flaw::Other`] where there is none.
    fn next(&mut self) -> Result<Token<'a>, Flaw>;
    /// Whether all has been read.
    fn is_done(&self) -> bool;
}

/// The form of a payload that is exactly one item.
///
/// Reads it twice: whether a map becomes an object is known only when all its keys are.
pub(super) fn show<'a>(tokens: impl Tokens<'a>) -> Result<Box<RawValue>, Flaw> {
    let maps = survey(tokens.clone(), Extent::Whole, usize::MAX, usize::MAX);
    // There is no more of it: what ends in the middle is something else.
    let maps = maps.map_err(|flaw| match flaw {
        Flaw::Ends => Flaw::Other,
        flaw => flaw,
    })?;
    let mut out = JsonText::default();
    write(tokens, maps, &mut out)?;
    out.finish()
}

/// How many keys of a map are looked at for one that is there twice, where only the beginning of a
/// payload is shown.
const MOST_KEYS: usize = 8_192;

/// The beginning of the form of a payload that is exactly one item, of which there may be more than
/// these tokens; whether that is all of it. All tokens are read, so that its codec is known; what is
/// kept of them is bounded.
pub(super) fn begin<'a>(
    tokens: impl Tokens<'a>,
    extent: Extent,
    most: usize,
    out: &mut JsonText,
) -> Result<Extent, Flaw> {
    // A map takes two bytes of what is shown: those beyond are not.
    let maps = survey(tokens.clone(), extent, most, MOST_KEYS)?;
    match write(tokens, maps, out) {
        Ok(()) => Ok(extent),
        Err(_) => Ok(Extent::Beginning),
    }
}

fn survey<'a>(
    tokens: impl Tokens<'a>,
    extent: Extent,
    most_maps: usize,
    most_keys: usize,
) -> Result<Vec<Shape>, Flaw> {
    let mut survey = Survey {
        tokens,
        maps: Vec::new(),
        most_maps,
        most_keys,
        hasher: RandomState::new(),
    };
    let first = survey.tokens.next()?;
    match (survey.item(&first, 0), extent) {
        (Ok(()), Extent::Whole) if !survey.tokens.is_done() => Err(Flaw::Other),
        (Ok(()), Extent::Whole) => Ok(survey.maps),
        // As much as there is of it is well formed.
        (Err(Flaw::Ends), Extent::Beginning) => Ok(survey.maps),
        // One item, and more behind it; or not well formed.
        (Ok(()), Extent::Beginning) => Err(Flaw::Other),
        (Err(flaw), _) => Err(flaw),
    }
}

fn write<'a>(
    mut tokens: impl Tokens<'a>,
    maps: Vec<Shape>,
    out: &mut JsonText,
) -> Result<(), Flaw> {
    let first = tokens.next()?;
    let maps = maps.into_iter();
    Writing { tokens, maps, out }.item(first)
}

/// What is left of an array or a map.
struct Items(Option<u64>);

impl Items {
    /// The first token of the next item, if there is one more.
    fn next<'a>(&mut self, tokens: &mut impl Tokens<'a>) -> Result<Option<Token<'a>>, Flaw> {
        match &mut self.0 {
            Some(0) => Ok(None),
            Some(left) => {
                *left -= 1;
                tokens.next().map(Some)
            }
            None => match tokens.next()? {
                Token::Break => Ok(None),
                token => Ok(Some(token)),
            },
        }
    }
}

/// How a map is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Object,
    /// Keys that are no text, or one twice.
    Pairs,
}

/// The first reading: is it well formed, and what are its maps?
struct Survey<T> {
    tokens: T,
    /// One for each map, in the order in which they begin.
    maps: Vec<Shape>,
    most_maps: usize,
    /// Of one map.
    most_keys: usize,
    hasher: RandomState,
}

impl<'a, T: Tokens<'a>> Survey<T> {
    fn item(&mut self, token: &Token<'a>, depth: usize) -> Result<(), Flaw> {
        let holds_others = matches!(token, Token::Tag(_) | Token::Array(_) | Token::Map(_));
        if holds_others && depth == MOST_DEPTH {
            return Err(Flaw::Other);
        }
        match token {
            Token::Break => Err(Flaw::Other),
            Token::Tag(_) => {
                let content = self.tokens.next()?;
                self.item(&content, depth + 1)
            }
            Token::Array(length) => {
                let mut items = Items(*length);
                while let Some(token) = items.next(&mut self.tokens)? {
                    self.item(&token, depth + 1)?;
                }
                Ok(())
            }
            Token::Map(length) => {
                let place = self.maps.len();
                if place < self.most_maps {
                    self.maps.push(Shape::Object);
                }
                self.map(place, Items(*length), depth)
            }
            _ => Ok(()),
        }
    }

    fn map(&mut self, place: usize, mut items: Items, depth: usize) -> Result<(), Flaw> {
        // Hashes, not keys: eight bytes for each. Two keys of one hash, which nobody can bring
        // about, would be shown as pairs: another shape of the same content.
        let mut keys = Vec::new();
        while let Some(key) = items.next(&mut self.tokens)? {
            match key {
                Token::Text(key) if keys.len() < self.most_keys => {
                    keys.push(self.hasher.hash_one(&key));
                }
                Token::Text(_) => {}
                key => {
                    self.is_pairs(place);
                    self.item(&key, depth + 1)?;
                }
            }
            let value = self.tokens.next()?;
            self.item(&value, depth + 1)?;
        }
        keys.sort_unstable();
        if keys.windows(2).any(|two| two.first() == two.last()) {
            self.is_pairs(place);
        }
        Ok(())
    }

    fn is_pairs(&mut self, place: usize) {
        if let Some(map) = self.maps.get_mut(place) {
            *map = Shape::Pairs;
        }
    }
}

/// The second reading: writes what the first found well formed.
struct Writing<'o, T> {
    tokens: T,
    maps: std::vec::IntoIter<Shape>,
    out: &'o mut JsonText,
}

impl<'a, T: Tokens<'a>> Writing<'_, T> {
    fn item(&mut self, token: Token<'a>) -> Result<(), Flaw> {
        match token {
            Token::Break => Err(Flaw::Other),
            Token::Null => self.out.push("null"),
            Token::Bool(true) => self.out.push("true"),
            Token::Bool(false) => self.out.push("false"),
            Token::Int(int) => self.out.int(int),
            Token::Float(float) => self.out.float(float),
            Token::Text(text) => self.out.text(&text),
            Token::Binary(bytes) => self.out.binary(&bytes),
            Token::Ext(kind, bytes) => {
                self.out.push(&format!("{{\"$ext\":[{kind},"))?;
                self.out.base64(bytes)?;
                self.out.push("]}")
            }
            Token::Tag(tag) => {
                self.out.push(&format!("{{\"$tag\":[{tag},"))?;
                let content = self.tokens.next()?;
                self.item(content)?;
                self.out.push("]}")
            }
            Token::Simple(value) => self.out.push(&format!("{{\"$simple\":{value}}}")),
            Token::Array(length) => {
                self.out.push("[")?;
                let mut items = Items(length);
                let mut separator = "";
                while let Some(token) = items.next(&mut self.tokens)? {
                    self.out.push(separator)?;
                    separator = ",";
                    self.item(token)?;
                }
                self.out.push("]")
            }
            Token::Map(length) => match self.maps.next() {
                Some(Shape::Object) => self.object(Items(length)),
                _ => self.pairs(Items(length)),
            },
        }
    }

    fn object(&mut self, mut items: Items) -> Result<(), Flaw> {
        self.out.push("{")?;
        let mut separator = "";
        while let Some(key) = items.next(&mut self.tokens)? {
            self.out.push(separator)?;
            separator = ",";
            let Token::Text(key) = key else {
                return Err(Flaw::Other);
            };
            self.out.key(&key)?;
            let value = self.tokens.next()?;
            self.item(value)?;
        }
        self.out.push("}")
    }

    fn pairs(&mut self, mut items: Items) -> Result<(), Flaw> {
        self.out.push(r#"{"$map":["#)?;
        let mut separator = "[";
        while let Some(key) = items.next(&mut self.tokens)? {
            self.out.push(separator)?;
            separator = ",[";
            self.item(key)?;
            self.out.push(",")?;
            let value = self.tokens.next()?;
            self.item(value)?;
            self.out.push("]")?;
        }
        self.out.push("]}")
    }
}
