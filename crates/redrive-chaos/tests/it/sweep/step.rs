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
    /// What runs is acknowledged by somebody else, then let go.
    Ack,
    /// The group is destroyed, then what runs is let go.
    DestroyGroup,
    /// The server forgets its scripts; what runs is let go when its lease was renewed.
    FlushScripts,
    /// The server has no memory left for a while, then what runs is let go.
    NoMemory,
    /// What fails goes on failing until most runs have failed; a while later it is let go.
    Outage,
}

/// What to do with a process that was killed, or failed because of what was done to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Yes,
    /// What it does is not safe to do twice.
    No,
    /// Also when it ended itself: a message did that.
    AfterCrashes,
}

/// Whether the process may find another one under the name of its consumer, and be refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    OfItsOwn,
    MayBeTaken,
}

/// Where the process comes in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// By the server's address, which is that of the proxy.
    Server,
    /// By that of a sentinel, behind the proxy; it names the server.
    Sentinel,
}

/// A process of a scenario.
pub(super) struct Step {
    pub(super) program: Program,
    pub(super) args: Vec<String>,
    pub(super) during: During,
    pub(super) repeat: Repeat,
    pub(super) name: Name,
    pub(super) door: Door,
    pub(super) stdin: Option<PathBuf>,
}

impl Step {
    pub(super) fn redrive(args: &[&str]) -> Self {
        Self {
            program: Program::Redrive,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            during: During::Nothing,
            repeat: Repeat::Yes,
            name: Name::OfItsOwn,
            door: Door::Server,
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

    pub(super) fn after_crashes(self) -> Self {
        Self {
            repeat: Repeat::AfterCrashes,
            ..self
        }
    }

    pub(super) fn under_a_name(self) -> Self {
        Self {
            name: Name::MayBeTaken,
            ..self
        }
    }

    pub(super) fn by_a_sentinel(self) -> Self {
        Self {
            door: Door::Sentinel,
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

impl Ended {
    pub(super) fn says_why(&self) -> bool {
        self.stderr.contains("error: ") && self.stderr.contains("hint: ")
    }

    /// Another process has the name of its consumer.
    pub(super) fn was_refused(&self) -> bool {
        let refused = "under which another process runs";
        self.code == Some(1) && self.says_why() && self.stderr.contains(refused)
    }
}
