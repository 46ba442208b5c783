//! How the binary fails: `error:` and `hint:` on stderr, and the exit code.

use std::error::Error as _;
use std::io::Write;
use std::process::ExitCode;

use redrive::ErrorKind;

/// Why a command ends without having done what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    hint: Option<String>,
    code: u8,
}

/// It could not be done.
const FAILED: u8 = 1;
/// It can never be done like this: usage, configuration, a bad URL.
const USAGE: u8 = 2;
/// Nothing matched.
const NOTHING: u8 = 3;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
            code: FAILED,
        }
    }

    /// Says it, and answers the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let mut said = format!("error: {}\n", shown(&self.text));
        if let Some(hint) = self.hint {
            said.push_str(&format!("hint: {}\n", shown(&hint)));
        }
        // With nobody to tell, the exit code is all that is left.
        let _ = std::io::stderr().write_all(said.as_bytes());
        ExitCode::from(self.code)
    }
}

impl From<redrive::Error> for Failure {
    fn from(error: redrive::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            let said = next.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = next.source();
        }
        Self {
            text,
            hint: error.cure().map(str::to_owned),
            code: match error.kind() {
                ErrorKind::Invalid => USAGE,
                ErrorKind::NotFound => NOTHING,
                _ => FAILED,
            },
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Text that may hold what a stranger wrote, made safe for a terminal: nothing in it moves the
/// cursor, changes colours, hides or reorders what stands beside it.
pub(crate) fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let invisible = c.is_control()
            || matches!(c,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}');
        if invisible {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_shown_raw() {
        let hostile = "a\u{1b}[2Jb\r\nc\u{202e}d\u{200b}e\u{7f}\u{9b}é字";
        assert_eq!(
            shown(hostile),
            "a\\u{1b}[2Jb\\r\\nc\\u{202e}d\\u{200b}e\\u{7f}\\u{9b}é字"
        );
    }
}
