//! JSON payloads: their text passes as it is, but for space between and for keys with a `$`.

use serde_json::value::RawValue;

use super::lexer::{Lexer, Piece};
use super::text::JsonText;
use super::{Extent, Flaw, MOST_DEPTH, Unfit};

/// How the first `$` of a key may be written.
const DOLLARS: [&str; 2] = ["$", "\\u0024"];

/// The form of a JSON payload: one line, every number digit for digit.
pub(super) fn show(json: &[u8]) -> Result<Box<RawValue>, Flaw> {
    let json = valid(json)?;
    let mut out = JsonText::default();
    rewrite(json, Keys::Escape, &mut |part| out.push(part))?;
    out.finish()
}

/// The same JSON on one line, its keys as they are.
pub(super) fn compact(json: &RawValue) -> Result<Box<RawValue>, Flaw> {
    let mut out = JsonText::default();
    rewrite(json.get(), Keys::Keep, &mut |part| out.push(part))?;
    out.finish()
}

/// The beginning of the form of a JSON payload, of which there may be more than these bytes; whether
/// that is all of it.
pub(super) fn begin(json: &str, extent: Extent, out: &mut JsonText) -> Result<Extent, Flaw> {
    let json = match (serde_json::from_str::<&RawValue>(json), extent) {
        (Ok(value), _) => value.get(),
        (Err(error), Extent::Beginning) if error.is_eof() => json,
        (Err(_), _) => return Err(Flaw::Other),
    };
    // All of it: what is nested too deeply anywhere is shown as a text.
    rewrite(json, Keys::Keep, &mut |_| Ok(()))?;
    match rewrite(json, Keys::Escape, &mut |part| out.push(part)) {
        Ok(()) => Ok(extent),
        Err(_) => Ok(Extent::Beginning),
    }
}

/// As [`show`], behind what is written already, if the text is JSON without needless space and
/// not a string: if it comes back byte for byte. Else writes nothing.
pub(super) fn show_exact(json: &str, out: &mut JsonText) -> Result<Shown, Flaw> {
    let begins = |byte: &u8| matches!(byte, b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n');
    if !json.as_bytes().first().is_some_and(begins) || valid(json.as_bytes()).is_err() {
        return Ok(Shown::No);
    }
    let mut rest = json;
    let mut same = |part: &str| {
        rest = rest.strip_prefix(part).ok_or(Flaw::Other)?;
        Ok(())
    };
    if rewrite(json, Keys::Keep, &mut same).is_err() || !rest.is_empty() {
        return Ok(Shown::No);
    }
    rewrite(json, Keys::Escape, &mut |part| out.push(part))?;
    Ok(Shown::Yes)
}

/// Whether a value was shown as JSON.
#[derive(PartialEq, Eq)]
pub(super) enum Shown {
    Yes,
    No,
}

/// The JSON payload of a form.
pub(super) fn restore(form: &RawValue) -> Result<Vec<u8>, Unfit> {
    for piece in Lexer::new(form.get()) {
        let Piece::Key(key) = piece else { continue };
        let Some(rest) = behind_dollar(key) else {
            continue;
        };
        if behind(rest).is_none() {
            return Err(match rest {
                "bin\"" => Unfit("JSON cannot hold binary"),
                _ => Unfit("JSON cannot hold an object whose key begins with a single $"),
            });
        }
    }
    let mut out = JsonText::default();
    rewrite(form.get(), Keys::Restore, &mut |part| out.push(part)).map_err(|flaw| match flaw {
        Flaw::TooLarge => Unfit("larger than 64 MiB"),
        Flaw::Other | Flaw::Ends => Unfit("nested deeper than 128"),
    })?;
    Ok(out.into_bytes())
}

fn valid(json: &[u8]) -> Result<&str, Flaw> {
    let json = std::str::from_utf8(json).map_err(|_| Flaw::Other)?;
    match serde_json::from_str::<&RawValue>(json) {
        Ok(value) => Ok(value.get()),
        Err(_) => Err(Flaw::Other),
    }
}

/// What becomes of keys that begin with `$`.
#[derive(Clone, Copy)]
enum Keys {
    Keep,
    /// One `$` more.
    Escape,
    /// One `$` less.
    Restore,
}

fn rewrite(
    json: &str,
    keys: Keys,
    push: &mut impl FnMut(&str) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let mut depth = 0;
    let mut separator = "";
    for piece in Lexer::new(json) {
        if !matches!(piece, Piece::Close(_)) {
            push(separator)?;
        }
        separator = ",";
        match piece {
            Piece::Open(bracket) => {
                depth += 1;
                if depth > MOST_DEPTH {
                    return Err(Flaw::Other);
                }
                push(bracket)?;
                separator = "";
            }
            Piece::Close(bracket) => {
                depth -= 1;
                push(bracket)?;
            }
            Piece::Key(key) => {
                match (behind_dollar(key), keys) {
                    (Some(_), Keys::Escape) => {
                        push("\"$")?;
                        push(key.get(1..).unwrap_or_default())?;
                    }
                    (Some(rest), Keys::Restore) => {
                        push("\"")?;
                        push(rest)?;
                    }
                    _ => push(key)?,
                }
                push(":")?;
                separator = "";
            }
            Piece::Text(json) | Piece::Scalar(json) => push(json)?,
        }
    }
    Ok(())
}

/// What stands behind the `$` with which a key, as it is written, begins.
fn behind_dollar(key: &str) -> Option<&str> {
    behind(key.strip_prefix('"')?)
}

fn behind(text: &str) -> Option<&str> {
    DOLLARS.iter().find_map(|dollar| text.strip_prefix(dollar))
}
