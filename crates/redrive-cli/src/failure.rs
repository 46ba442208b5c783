//! How the binary fails: `error:` and `hint:` on stderr, and the exit code.

use std::process::ExitCode;

use redrive::ErrorKind;

use crate::stderr;
use crate::terminal::shown;

/// Why a command ends without having done what it was asked to.
#[derive(Debug)]
#[must_use = "a failure that nobody reports is an error swallowed"]
pub(crate) struct Failure {
    text: String,
    hint: Option<String>,
    code: Code,
    /// Whether it may be over when it is tried again: an outage.
    passing: bool,
}

/// How a command that did not do all it was asked to ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// It could not be done.
    Failed = 1,
    /// It can never be done like this: usage, configuration, a bad URL.
    Usage = 2,
    /// Nothing matched: an unknown id, a missing stream, an empty selection.
    Nothing = 3,
    /// A part of it was done.
    Partly = 4,
    /// A rule of `stats --fail-if` is broken.
    Broken = 5,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::with(Code::Failed, text)
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::with(Code::Usage, text)
    }

    pub(crate) fn nothing(text: impl Into<String>) -> Self {
        Self::with(Code::Nothing, text)
    }

    pub(crate) fn with(code: Code, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
            code,
            passing: false,
        }
    }

    /// How to cure it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, ending with this code.
    pub(crate) fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// The same, with more said of what happened.
    pub(crate) fn also(mut self, more: impl std::fmt::Display) -> Self {
        self.text.push_str(&format!("; {more}"));
        self
    }

    /// What will be said.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What will be said, and how to cure it.
    #[cfg(test)]
    pub(crate) fn texts(&self) -> (&str, Option<&str>) {
        (&self.text, self.hint.as_deref())
    }

    /// Whether it ends with this code.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    /// Whether it may be over when it is tried again: an outage.
    pub(crate) fn may_pass(&self) -> bool {
        self.passing
    }

    /// Ends with nothing said: all has been said.
    pub(crate) fn silent(code: Code) -> Self {
        Self::with(code, "")
    }

    /// Says it, and answers the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let mut said = String::new();
        if !self.text.is_empty() {
            said.push_str(&format!("error: {}\n", shown(&self.text)));
        }
        if let Some(hint) = self.hint {
            said.push_str(&format!("hint: {}\n", shown(&hint)));
        }
        if !said.is_empty() {
            // With nobody to tell, the exit code is all that is left.
            stderr::say(said);
        }
        ExitCode::from(self.code as u8)
    }
}

/// An error and its causes in one line; a cause that its parent already quotes is not said again.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
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
    text
}

impl From<redrive::Error> for Failure {
    fn from(error: redrive::Error) -> Self {
        Self {
            text: with_causes(&error),
            hint: error.cure().map(str::to_owned).or_else(|| lost(&error)),
            code: match error.kind() {
                ErrorKind::Invalid => Code::Usage,
                ErrorKind::NotFound => Code::Nothing,
                _ => Code::Failed,
            },
            passing: error.kind().is_transient(),
        }
    }
}

/// What to do when a connection broke under a command, of which the error itself knows no cure.
fn lost(error: &redrive::Error) -> Option<String> {
    let is_lost = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut);
    is_lost.then(|| "is the server still there? give the command again when it is".to_owned())
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
