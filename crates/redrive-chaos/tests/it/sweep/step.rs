//! A process of a scenario: what it is started with, what happens beside it, how it ended.

use std::path::PathBuf;

/// Which program a step starts.
#[derive(Clone, Copy)]
pub(super) enum Program {
    Redrive,
    SweepWorker,
}

/// What happens beside a process while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    Nothing,
    /// SIGTERM when the first message is running.
    Term,
    /// What runs is deleted from the stream, then let go.
    Trim,
    /// The group is destroyed, then what runs is let go.
    DestroyGroup,
    /// The server forgets its scripts, then what runs is let go.
    FlushScripts,
}

/// What to do with a process that was killed, or failed because of what was done to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Yes,
    /// What it does is not safe to do twice.
    No,
}

/// A process of a scenario.
pub(super) struct Step {
    pub(super) program: Program,
    pub(super) args: Vec<String>,
    pub(super) during: During,
    pub(super) repeat: Repeat,
    pub(super) stdin: Option<PathBuf>,
}

impl Step {
    pub(super) fn redrive(args: &[&str]) -> Self {
        Self {
            program: Program::Redrive,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            during: During::Nothing,
            repeat: Repeat::Yes,
            stdin: None,
        }
    }

    /// With this file on stdin.
    pub(super) fn reading(self, file: &str) -> Self {
        Self {
            stdin: Some(PathBuf::from(file)),
            ..self
        }
    }

    pub(super) fn during(self, during: During) -> Self {
        Self { during, ..self }
    }

    pub(super) fn never_again(self) -> Self {
        Self {
            repeat: Repeat::No,
            ..self
        }
    }
}

/// How a process ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    /// None if it was killed.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}
