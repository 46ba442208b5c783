//! What a terminal can show, and what may reach it.

use std::borrow::Cow;
use std::io::IsTerminal;

use crate::stderr;

/// Text that may hold what a stranger wrote, made safe for a terminal: nothing in it moves the
/// cursor, changes colours, hides or reorders what stands beside it.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hostile(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Bytes a stranger wrote, made safe for a terminal; what is not UTF-8 as `\xff`.
pub(crate) fn shown_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return shown(text);
    }
    let mut safe = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        safe.push_str(&shown(chunk.valid()));
        for byte in chunk.invalid() {
            safe.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(safe)
}

/// The beginning of a text up to so many bytes, in whole characters.
pub(crate) fn clipped(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A word as it is typed in a shell, for a command that is offered; `None` for one that cannot be
/// shown as it is.
pub(crate) fn typed(word: &str) -> Option<String> {
    if word.chars().any(is_hostile) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) && !word.starts_with('-') {
        return Some(word.to_owned());
    }
    let quoted = format!("'{}'", word.replace('\'', r"'\''"));
    // Behind a flag and a blank it would be taken for another flag.
    (!word.starts_with('-')).then_some(quoted)
}

/// Whether a character steers a terminal, or is not seen.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Says something beside the data: a line on stderr, made safe for a terminal. Nobody reading is no
/// failure.
pub(crate) fn note(text: &str) {
    stderr::say(format!("{}\n", shown(text)));
}

/// How wide the terminal at stdout is; `None` where stdout is none.
pub(crate) fn width() -> Option<u16> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Whether somebody sits at this stream who wants colours.
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_offered_does_what_it_says() {
        for (word, offered) in [
            ("orders:dlq", Some("orders:dlq")),
            ("{orders}:dlq", Some("'{orders}:dlq'")),
            (
                "it's; rm -rf ~ $(x) `y`",
                Some(r"'it'\''s; rm -rf ~ $(x) `y`'"),
            ),
            ("", Some("''")),
            ("--yes", None),
            ("a\u{1b}[2J", None),
            ("a\nb", None),
        ] {
            assert_eq!(typed(word).as_deref(), offered, "{word:?}");
        }
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown_raw() {
        let hostile = "a\u{1b}[2Jb\r\nc\u{202e}d\u{200b}e\u{7f}\u{9b}é字";
        let safe = "a\\u{1b}[2Jb\\r\\nc\\u{202e}d\\u{200b}e\\u{7f}\\u{9b}é字";
        assert_eq!(shown(hostile), safe);
        assert_eq!(shown_bytes(hostile.as_bytes()), safe);
        assert_eq!(shown_bytes(b"ok\xff\x1b\xc3"), "ok\\xff\\u{1b}\\xc3");
        assert_eq!(shown_bytes("é字".as_bytes()), "é字");
    }
}
