//! From the form in which a payload is shown back to its codec.

use std::vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::MOST_DEPTH;
use super::lexer::{Lexer, Piece};

/// Why a form does not go into its codec. Says what kind of thing, never the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) &'static str);

/// A binary codec, as it is written.
pub(super) trait Target {
    fn null(&mut self) -> Result<(), Unfit>;
    fn bool(&mut self, value: bool) -> Result<(), Unfit>;
    fn int(&mut self, int: i128) -> Result<(), Unfit>;
    fn float(&mut self, float: f64) -> Result<(), Unfit>;
    fn text(&mut self, text: &str) -> Result<(), Unfit>;
    fn binary(&mut self, bytes: &[u8]) -> Result<(), Unfit>;
    fn ext(&mut self, kind: i8, bytes: &[u8]) -> Result<(), Unfit>;
    /// Its item follows.
    fn tag(&mut self, tag: u64) -> Result<(), Unfit>;
    fn simple(&mut self, value: u8) -> Result<(), Unfit>;
    /// So many items follow.
    fn array(&mut self, items: u32) -> Result<(), Unfit>;
    /// So many keys follow, each with its value.
    fn map(&mut self, pairs: u32) -> Result<(), Unfit>;
}

/// Writes a form.
pub(super) fn write(form: &RawValue, target: &mut impl Target) -> Result<(), Unfit> {
    let mut reading = Reading {
        pieces: Lexer::new(form.get()),
        counts: counts(form.get())?.into_iter(),
    };
    let first = reading.next()?;
    reading.item(first, 0, target)
}

/// The bytes of `{"$bin":"…"}`; `None` for any other form.
pub(super) fn binary(form: &str) -> Option<Result<Vec<u8>, Unfit>> {
    let mut pieces = Lexer::new(form);
    match (
        pieces.next()?,
        pieces.next()?,
        pieces.next()?,
        pieces.next()?,
    ) {
        (Piece::Open("{"), Piece::Key("\"$bin\""), Piece::Text(text), Piece::Close(_)) => {
            Some(string(text).and_then(|text| base64(&text)))
        }
        _ => None,
    }
}

/// The text of a JSON string.
pub(super) fn string(json: &str) -> Result<String, Unfit> {
    serde_json::from_str(json).map_err(|_| Unfit("text that is not Unicode"))
}

/// A key without the `$` that it got when it was shown.
pub(super) fn unescaped(key: &str) -> Result<&str, Unfit> {
    match key.strip_prefix('$') {
        Some(rest) if !rest.starts_with('$') => Err(Unfit(
            "a key that begins with a single $ (write $$ for one)",
        )),
        Some(rest) => Ok(rest),
        None => Ok(key),
    }
}

/// How many items or members each array and object has, in the order in which they begin: binary
/// codecs say so first.
fn counts(json: &str) -> Result<Vec<u32>, Unfit> {
    let mut counts: Vec<u32> = Vec::new();
    let mut open: Vec<(usize, &str)> = Vec::new();
    for piece in Lexer::new(json) {
        let counted = match (&piece, open.last()) {
            (Piece::Key(_), Some((place, _))) => Some(*place),
            (Piece::Key(_) | Piece::Close(_), _) => None,
            (_, Some((place, "["))) => Some(*place),
            _ => None,
        };
        if let Some(count) = counted.and_then(|place| counts.get_mut(place)) {
            *count = count.checked_add(1).ok_or(Unfit("too many items"))?;
        }
        match piece {
            Piece::Open(bracket) => {
                open.push((counts.len(), bracket));
                counts.push(0);
            }
            Piece::Close(_) => drop(open.pop()),
            _ => {}
        }
    }
    Ok(counts)
}

/// A piece, and for a bracket how much is in it.
#[derive(Clone, Copy)]
enum Next<'a> {
    Array(u32),
    Object(u32),
    Close,
    Key(&'a str),
    Text(&'a str),
    Scalar(&'a str),
}

struct Reading<'a> {
    pieces: Lexer<'a>,
    counts: vec::IntoIter<u32>,
}

const CUT: Unfit = Unfit("JSON that ends too early");
const SHAPE: Unfit = Unfit("$bin, $ext, $map, $tag, $simple or $float of another shape");

impl<'a> Reading<'a> {
    fn next(&mut self) -> Result<Next<'a>, Unfit> {
        Ok(match self.pieces.next().ok_or(CUT)? {
            Piece::Open("[") => Next::Array(self.counts.next().ok_or(CUT)?),
            Piece::Open(_) => Next::Object(self.counts.next().ok_or(CUT)?),
            Piece::Close(_) => Next::Close,
            Piece::Key(key) => Next::Key(key),
            Piece::Text(text) => Next::Text(text),
            Piece::Scalar(scalar) => Next::Scalar(scalar),
        })
    }

    fn item(&mut self, next: Next<'a>, depth: usize, out: &mut impl Target) -> Result<(), Unfit> {
        match next {
            Next::Close | Next::Key(_) => Err(CUT),
            Next::Text(text) => out.text(&string(text)?),
            Next::Scalar("null") => out.null(),
            Next::Scalar("true") => out.bool(true),
            Next::Scalar("false") => out.bool(false),
            Next::Scalar(number) => match whole(number) {
                Some(int) => out.int(int?),
                None => out.float(float(number)?),
            },
            Next::Array(items) => {
                out.array(items)?;
                let depth = deeper(depth)?;
                for _ in 0..items {
                    let next = self.next()?;
                    self.item(next, depth, out)?;
                }
                self.close()
            }
            Next::Object(0) => {
                deeper(depth)?;
                out.map(0)?;
                self.close()
            }
            Next::Object(members) => {
                let Next::Key(first) = self.next()? else {
                    return Err(CUT);
                };
                let first = string(first)?;
                if members == 1 && unescaped(&first).is_err() {
                    self.special(&first, depth, out)?;
                    return self.close();
                }
                out.map(members)?;
                let depth = deeper(depth)?;
                out.text(unescaped(&first)?)?;
                let next = self.next()?;
                self.item(next, depth, out)?;
                for _ in 1..members {
                    let Next::Key(key) = self.next()? else {
                        return Err(CUT);
                    };
                    out.text(unescaped(&string(key)?)?)?;
                    let next = self.next()?;
                    self.item(next, depth, out)?;
                }
                self.close()
            }
        }
    }

    /// What stands behind the one key of an object that begins with a single `$`.
    fn special(&mut self, key: &str, depth: usize, out: &mut impl Target) -> Result<(), Unfit> {
        match (key, self.next()?) {
            ("$bin", Next::Text(text)) => out.binary(&base64(&string(text)?)?),
            ("$float", Next::Text("\"nan\"")) => out.float(f64::NAN),
            ("$float", Next::Text("\"inf\"")) => out.float(f64::INFINITY),
            ("$float", Next::Text("\"-inf\"")) => out.float(f64::NEG_INFINITY),
            ("$simple", Next::Scalar(value)) => out.simple(value.parse().map_err(|_| SHAPE)?),
            ("$ext", Next::Array(2)) => {
                let (Next::Scalar(kind), Next::Text(text)) = (self.next()?, self.next()?) else {
                    return Err(SHAPE);
                };
                let kind = kind.parse().map_err(|_| SHAPE)?;
                out.ext(kind, &base64(&string(text)?)?)?;
                self.close()
            }
            ("$tag", Next::Array(2)) => {
                let Next::Scalar(tag) = self.next()? else {
                    return Err(SHAPE);
                };
                out.tag(tag.parse().map_err(|_| SHAPE)?)?;
                let next = self.next()?;
                self.item(next, deeper(depth)?, out)?;
                self.close()
            }
            ("$map", Next::Array(pairs)) => {
                out.map(pairs)?;
                let depth = deeper(depth)?;
                for _ in 0..pairs {
                    let Next::Array(2) = self.next()? else {
                        return Err(SHAPE);
                    };
                    for _ in 0..2 {
                        let next = self.next()?;
                        self.item(next, depth, out)?;
                    }
                    self.close()?;
                }
                self.close()
            }
            ("$bin" | "$float" | "$simple" | "$ext" | "$tag" | "$map", _) => Err(SHAPE),
            _ => Err(Unfit(
                "a key that begins with a single $ (write $$ for one)",
            )),
        }
    }

    fn close(&mut self) -> Result<(), Unfit> {
        match self.next()? {
            Next::Close => Ok(()),
            _ => Err(SHAPE),
        }
    }
}

/// One level down.
fn deeper(depth: usize) -> Result<usize, Unfit> {
    match depth {
        MOST_DEPTH => Err(Unfit("nested deeper than 128")),
        depth => Ok(depth + 1),
    }
}

/// A number of digits alone; `None` for one with a point or an exponent.
fn whole(number: &str) -> Option<Result<i128, Unfit>> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| {
        let int = number.parse();
        int.map_err(|_| Unfit("an integer beyond 64 bits"))
    })
}

fn float(number: &str) -> Result<f64, Unfit> {
    match number.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok(float),
        _ => Err(Unfit("a number beyond a 64-bit float")),
    }
}

fn base64(text: &str) -> Result<Vec<u8>, Unfit> {
    let not = |_| Unfit("binary that is not base64");
    STANDARD.decode(text).map_err(not)
}
