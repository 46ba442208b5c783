//! A program as handler: one process for each message, in a process group of its own.

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::failure::with_causes;
use crate::group::Group;
use crate::run::delivery::Delivery;
use crate::run::ended::{Ended, Reason, over};
use crate::run::lines::Lines;
use crate::run::program::Program;
use crate::stderr;
use crate::terminal::shown_bytes;

/// How long a process group has between SIGTERM and SIGKILL.
pub(crate) const TO_DIE: Duration = Duration::from_secs(5);
/// How long output is waited for after the child has ended: all it said is in the pipe by then, but
/// a process that it left behind may hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// `EX_DATAERR` of `sysexits.h`: the input is at fault.
const REJECTED: i32 = 65;
const CHUNK: usize = 8 * 1024;

impl Program {
    /// Runs it for one message: until it ends, or until `limit` is over or `cancelled` resolves;
    /// then its process group is ended, and no process of it is left when this returns.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it kills the process group.
    pub(crate) async fn run(
        &self,
        delivery: &Delivery,
        limit: Option<Duration>,
        cancelled: impl Future<Output = ()>,
    ) -> Ended {
        let mut child = match self.start(delivery) {
            Ok(child) => child,
            Err(error) => {
                let name = self.name.to_string_lossy();
                return Ended::Unavailable(format!("starting {name}: {error}"));
            }
        };
        // Declared after the child, dropped before it: the child is not reaped then, so that its
        // number is nobody else's.
        let group = Group::of(&child);
        let said = Arc::new(Mutex::new(Lines::default()));
        let printed = Arc::new(Mutex::new(Lines::default()));
        let mut streams = JoinSet::new();
        if let Some(stdin) = child.stdin.take() {
            streams.spawn(feed(stdin, delivery.body.bytes.clone()));
        }
        if let Some(stdout) = child.stdout.take() {
            streams.spawn(pass_on(stdout, Arc::clone(&printed)));
        }
        if let Some(stderr) = child.stderr.take() {
            streams.spawn(pass_on(stderr, Arc::clone(&said)));
        }
        let ended = tokio::select! {
            biased;
            status = child.wait() => {
                group.leave();
                Ok(status)
            }
            () = cancelled => {
                end(&mut child, group).await;
                Err(Ended::cancelled())
            }
            limit = over(limit) => {
                end(&mut child, group).await;
                Err(Ended::timed_out(limit))
            }
        };
        let last_words = Instant::now() + LAST_WORDS;
        let all = async { while streams.join_next().await.is_some() {} };
        let _ = timeout_at(last_words, all).await;
        streams.shutdown().await;
        for lines in [&printed, &said] {
            let left = locked(lines).end();
            let _ = timeout_at(last_words, write(left)).await;
        }
        match ended {
            Ok(Ok(status)) => judged(status, locked(&said).last()),
            Ok(Err(error)) => {
                let text = format!("waiting for the handler: {}", with_causes(&error));
                Ended::Fail(Reason::new(text, "wait"), None)
            }
            Err(ended) => ended,
        }
    }

    fn start(&self, delivery: &Delivery) -> io::Result<Child> {
        let shadow = delivery.dead_letter;
        let shadow = shadow.map(|id| ("REDRIVE_DEAD_LETTER", id.to_string()));
        Command::new(&self.path)
            .arg0(&self.name)
            .args(&self.arguments)
            .env("REDRIVE_ID", delivery.id.to_string())
            .env("REDRIVE_STREAM", delivery.stream.as_str())
            .env("REDRIVE_GROUP", delivery.group.as_str())
            .env("REDRIVE_ATTEMPT", delivery.attempt.to_string())
            .envs(shadow)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: it can be ended with all that it started, and Ctrl-C is for us alone.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Ends a process group politely, then not. When it returns, all of it has been ended.
async fn end(child: &mut Child, group: Group) {
    group.signal(Signal::TERM);
    let dying = async {
        let _ = child.wait().await;
        group.gone().await;
    };
    if timeout(TO_DIE, dying).await.is_err() {
        group.signal(Signal::KILL);
        let _ = child.wait().await;
    }
    group.leave();
}

/// Gives the child its input. A child that closes its stdin early has read enough.
async fn feed(mut stdin: ChildStdin, bytes: Bytes) {
    let _ = stdin.write_all(&bytes).await;
}

/// Passes on what a child prints, whole lines at a time, until it prints no more.
async fn pass_on(mut from: impl AsyncRead + Unpin, lines: Arc<Mutex<Lines>>) {
    let mut chunk = [0; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let ready = locked(&lines).take(&chunk[..read]);
        write(ready).await;
    }
}

/// Writes whole lines to stderr. Where its reader is slow, the handler that prints them waits.
async fn write(mut lines: Vec<u8>) {
    if io::stderr().is_terminal() {
        lines = safe(&lines).into_bytes();
    }
    stderr::pass_on(lines).await;
}

/// Lines that a stranger wrote, for a terminal. Tabs stay: they only move on.
fn safe(lines: &[u8]) -> String {
    let mut safe = String::with_capacity(lines.len() + 16);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let (line, ended) = match line.strip_suffix(b"\n") {
            Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), "\n"),
            None => (line, ""),
        };
        for (number, part) in line.split(|byte| *byte == b'\t').enumerate() {
            if number > 0 {
                safe.push('\t');
            }
            safe.push_str(&shown_bytes(part));
        }
        safe.push_str(ended);
    }
    safe
}

fn locked(lines: &Mutex<Lines>) -> std::sync::MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an exit says, with the last line of stderr as the error where there is one.
fn judged(status: ExitStatus, last: Option<String>) -> Ended {
    let reason = |otherwise: String, kind: String| Reason {
        error: last.unwrap_or(otherwise),
        kind,
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ended::Ack,
        (Some(code), _) => {
            let reason = reason(format!("exit status {code}"), format!("exit {code}"));
            if code == REJECTED {
                Ended::Reject(reason)
            } else {
                Ended::Fail(reason, None)
            }
        }
        (None, signal) => {
            let name = signal.map_or_else(|| "a signal".to_owned(), signal_name);
            Ended::Fail(reason(format!("killed by {name}"), name), None)
        }
    }
}

fn signal_name(number: i32) -> String {
    let known = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
    ];
    known
        .iter()
        .find(|(signal, _)| signal.as_raw() == number)
        .map_or_else(
            || format!("signal {number}"),
            |(_, name)| (*name).to_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_an_ack_a_rejection_or_a_failure() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let said = || Some("no such order".to_owned());
        assert_eq!(judged(exit(0), said()), Ended::Ack);
        assert_eq!(
            judged(exit(65), said()),
            Ended::Reject(Reason::new("no such order", "exit 65"))
        );
        assert_eq!(
            judged(exit(65), None),
            Ended::Reject(Reason::new("exit status 65", "exit 65"))
        );
        assert_eq!(
            judged(exit(1), None),
            Ended::Fail(Reason::new("exit status 1", "exit 1"), None)
        );
        assert_eq!(
            judged(ExitStatus::from_raw(9), None),
            Ended::Fail(Reason::new("killed by SIGKILL", "SIGKILL"), None)
        );
        assert_eq!(
            judged(ExitStatus::from_raw(11), said()),
            Ended::Fail(Reason::new("no such order", "SIGSEGV"), None)
        );
        assert_eq!(signal_name(40), "signal 40");
    }

    #[test]
    fn what_a_handler_prints_steers_no_terminal() {
        assert_eq!(
            safe(b"a\tb\r\n\x1b[2J\xff\nend"),
            "a\tb\n\\u{1b}[2J\\xff\nend"
        );
    }
}
