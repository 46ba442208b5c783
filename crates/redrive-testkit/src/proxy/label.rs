//! How commands are called, which of them a fault is for, and what the fault does.

use std::fmt;
use std::time::Duration;

/// What a command is called: its name, with the subcommand or the script's name where it has one.
///
/// `XADD`, `CLIENT SETINFO`, `EVALSHA claim`, `EVAL claim`; `MULTI XADD` for a command that a transaction queues. A
/// script that nobody named has the first eight digits of its hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl From<String> for Label {
    fn from(label: String) -> Self {
        Self(label)
    }
}

impl From<&str> for Label {
    fn from(label: &str) -> Self {
        Self(label.to_owned())
    }
}

impl Label {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which request a fault is for, counted from when it was armed, over all connections.
#[derive(Clone, Debug)]
#[must_use = "a target does nothing until a fault is armed for it"]
pub struct Target {
    pub(super) label: Option<Label>,
    pub(super) nth: u64,
    pub(super) times: Times,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    Always,
}

impl Target {
    /// The next request with this label.
    pub fn next(label: impl Into<Label>) -> Self {
        Self::nth(label, 1)
    }

    /// The n-th request with this label from now on; 1 is the next one.
    pub fn nth(label: impl Into<Label>, nth: u64) -> Self {
        Self {
            label: Some(label.into()),
            nth,
            times: Times::Once,
        }
    }

    /// The n-th request from now on, whatever it is.
    pub fn nth_of_all(nth: u64) -> Self {
        Self {
            label: None,
            nth,
            times: Times::Once,
        }
    }

    /// Every request with this label.
    pub fn every(label: impl Into<Label>) -> Self {
        Self {
            times: Times::Always,
            ..Self::next(label)
        }
    }
}

/// When a fault happens to a request.
///
/// Either way it happens to this request alone: what the client sent before it on the same connection has been answered,
/// and what it sent after it has not been passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// It has arrived at the proxy, and the server knows nothing of it.
    Arrived,
    /// The server has executed it, and nothing of the reply has been passed on.
    Executed,
}

/// What happens to a request, and to the connection that it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed on both sides: the request never arrives, or its reply is lost.
    Close,
    /// The same with a reset (RST).
    Reset,
    /// So many bytes of the reply are passed on, then the connection is closed. Always after it was executed.
    CloseInReply(usize),
    /// Nothing passes from here on in either direction; the connection stays open on both sides.
    BlackHole,
    /// The server's side is closed; the client's stays open, and silent.
    HalfOpen,
    /// The request, or the reply, and what follows it, is held for so long and then passed on.
    Delay(Duration),
    /// The request, or the reply, is held until [`Armed::go_on`](super::Armed::go_on) or
    /// [`Armed::cut`](super::Armed::cut).
    Hold,
}
