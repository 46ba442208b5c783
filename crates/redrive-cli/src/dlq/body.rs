//! The bytes of a dead letter as they are: which of its fields, and where they may go.

use std::borrow::Cow;
use std::io::IsTerminal;

use redrive::DeadLetter;

use crate::failure::Failure;
use crate::output::Output;
use crate::terminal::{clipped, is_hostile, shown, shown_bytes};

/// The bytes of the field that is named, else of the one that holds the payload.
pub(super) fn body<'a>(letter: &'a DeadLetter, named: Option<&str>) -> Result<&'a [u8], Failure> {
    if letter.is_tombstone() {
        return Err(trimmed(letter));
    }
    if let Some(name) = named {
        return letter.fields.get(name).ok_or_else(|| {
            let name = clipped(name, 200);
            Failure::nothing(format!("dead letter {} has no field {name}", letter.id))
                .hint(format!("its fields are {}", names(letter)))
        });
    }
    let mut fields = letter.fields.iter();
    match (letter.payload_field(), fields.next(), fields.next()) {
        (Some((_, value)), ..) | (None, Some((_, value)), None) => Ok(value),
        _ => {
            let what = "it has several fields, and none of them is the payload";
            Err(
                Failure::usage(format!("which field of {}? {what}", letter.id))
                    .hint(format!("name one with --field: {}", names(letter))),
            )
        }
    }
}

/// That nothing is left of it.
pub(super) fn trimmed(letter: &DeadLetter) -> Failure {
    Failure::nothing(format!("dead letter {} has no fields", letter.id))
        .hint("the entry was trimmed before they could be stored: nothing of it is left")
}

/// The names of its fields, no more than a line.
fn names(letter: &DeadLetter) -> String {
    const MOST: usize = 20;
    let mut names: Vec<Cow<'_, str>> = letter
        .fields
        .iter()
        .take(MOST)
        .map(|(name, _)| match std::str::from_utf8(name) {
            Ok("") => Cow::Borrowed("\"\""),
            // Made safe when the hint is told.
            Ok(name) => Cow::Borrowed(clipped(name, 100)),
            Err(_) => Cow::Owned(shown_bytes(&name[..name.len().min(100)]).into_owned()),
        })
        .collect();
    let more = letter.fields.len() - names.len();
    if more > 0 {
        names.push(Cow::Owned(format!("and {more} more")));
    }
    names.join(", ")
}

/// Writes bytes to stdout, exactly these; to a terminal only what does nothing to it.
pub(super) fn to_stdout(bytes: &[u8], out: &mut Output) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() && !is_plain(bytes) {
        return Err(
            Failure::usage("these bytes are no plain text, and stdout is a terminal")
                .hint("send them to a file: put `> FILE` behind the command"),
        );
    }
    out.write(bytes)?;
    out.flush()
}

/// Whether a terminal shows the bytes as what they are.
fn is_plain(bytes: &[u8]) -> bool {
    let steers = |c: char| is_hostile(c) && !matches!(c, '\n' | '\t');
    std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(steers))
}

/// A line for each 16 bytes: where they are, what they are, and as ASCII.
pub(super) fn hex_lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    bytes.chunks(16).enumerate().map(|(line, chunk)| {
        let mut hex = String::with_capacity(50);
        for at in 0..16 {
            if at == 8 {
                hex.push(' ');
            }
            match chunk.get(at) {
                Some(byte) => hex.push_str(&format!("{byte:02x} ")),
                None => hex.push_str("   "),
            }
        }
        let ascii: String = chunk
            .iter()
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            })
            .collect();
        format!("{:08x}  {hex} |{ascii}|", line * 16)
    })
}

/// Text that stays within a line of a terminal.
pub(super) fn in_a_line(text: &str, most: usize) -> String {
    let begin = clipped(text, most);
    match text.len() - begin.len() {
        0 => shown(text).into_owned(),
        rest => format!("{} … and {rest} bytes more", shown(begin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hexdump_is_the_one_that_everybody_knows() {
        let bytes: Vec<u8> = (0x18..0x2b).chain([0x7e, 0x7f, 0xff]).collect();
        let lines: Vec<String> = hex_lines(&bytes).collect();
        assert_eq!(
            lines,
            [
                "00000000  18 19 1a 1b 1c 1d 1e 1f  20 21 22 23 24 25 26 27  |........ !\"#$%&'|",
                "00000010  28 29 2a 7e 7f ff                                 |()*~..|",
            ]
        );
        assert_eq!(hex_lines(b"").count(), 0);
    }

    #[test]
    fn only_plain_text_goes_to_a_terminal_as_it_is() {
        assert!(is_plain("{\"a\":\t1}\né".as_bytes()));
        for bytes in [
            &b"\xff"[..],
            b"\x1b[2J",
            b"a\rb",
            "\u{202e}".as_bytes(),
            b"\0",
        ] {
            assert!(!is_plain(bytes), "{bytes:?}");
        }
    }
}
