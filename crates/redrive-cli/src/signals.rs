//! Ctrl-C and SIGTERM: the first asks to end, the second insists.

use std::time::Duration;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use tokio::time::Instant;

use crate::failure::{Code, Failure};

/// What asked the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    /// The exit code of a process that it ended.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Interrupt => Code::Interrupted,
            Self::Terminate => Code::Terminated,
        }
    }
}

/// Both, from now on: they end the process no more by themselves.
pub(crate) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    /// When the last one came that was a wish of its own.
    last: Option<Instant>,
}

/// What comes this soon after another is the same wish: `timeout` and some supervisors tell a
/// process and then its group.
const SAME_WISH: Duration = Duration::from_millis(100);

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listening = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("listening for signals: {error}")))
        };
        Ok(Self {
            interrupt: listening(SignalKind::interrupt())?,
            terminate: listening(SignalKind::terminate())?,
            last: None,
        })
    }

    /// The next one. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Signal {
        loop {
            let signal = tokio::select! {
                Some(()) = self.interrupt.recv() => Signal::Interrupt,
                Some(()) = self.terminate.recv() => Signal::Terminate,
                else => std::future::pending().await,
            };
            if self.last.is_none_or(|last| last.elapsed() > SAME_WISH) {
                self.last = Some(Instant::now());
                return signal;
            }
        }
    }
}
