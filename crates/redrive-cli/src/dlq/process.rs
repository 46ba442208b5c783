//! A process that migrates payloads: all lines in, its input ended, all that it says out.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex as Shared, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::group::Group;
use crate::terminal::{note, shown_bytes};

/// How long a process may say nothing.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the last words of a process that has ended may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The most that one process may answer.
const MOST: usize = 64 * 1024 * 1024;
/// The longest line of stderr that is kept.
const MOST_SAID: u64 = 8 * 1024;

/// What becomes of what it says on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stderr {
    /// Passed on to ours.
    Passed,
    /// Only the last line, for an error.
    Kept,
}

/// A process of the command, and all that it starts; dropped, they are killed.
pub(super) struct Process {
    /// Dropped before the child, so that its number is nobody else's; none once it has ended.
    group: Option<Group>,
    child: Child,
    /// The last line it has said on stderr.
    said: Arc<Shared<String>>,
    listening: JoinHandle<()>,
}

impl Process {
    pub(super) fn start(command: &str, stderr: Stderr) -> Result<Self, String> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us: this is killed when its answers are not waited for any more.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("starting the migration command: {error}"))?;
        let said = Arc::default();
        let listening = tokio::spawn(listen(child.stderr.take(), Arc::clone(&said), stderr));
        Ok(Self {
            group: Some(Group::of(&child)),
            child,
            said,
            listening,
        })
    }

    /// Sends a line each, ends its input, and reads all that it says until it ends.
    pub(super) async fn asked(
        &mut self,
        payloads: &[&RawValue],
    ) -> Result<(ExitStatus, Vec<u8>), String> {
        let (stdin, stdout) = (self.child.stdin.take(), self.child.stdout.take());
        let (said, ()) = tokio::join!(hear(stdout), tell(stdin, payloads));
        let said = said?;
        let status = timeout(LONGEST, self.child.wait())
            .await
            .map_err(|_| slow())?
            .map_err(|error| format!("waiting for the migration command: {error}"))?;
        if let Some(group) = self.group.take() {
            group.leave();
        }
        Ok((status, said))
    }

    /// What it died of, or that it said nothing.
    pub(super) async fn failed(&mut self, status: ExitStatus) -> String {
        let _ = timeout(LAST_WORDS, &mut self.listening).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        if status.success() {
            format!("the migration command ended without an answer{said}")
        } else {
            format!("the migration command ended with {status}{said}")
        }
    }
}

/// One that does not read all of it need not: a pipe that is closed shows at its other end.
async fn tell(stdin: Option<ChildStdin>, payloads: &[&RawValue]) {
    let Some(mut stdin) = stdin else { return };
    for payload in payloads {
        let line = [payload.get().as_bytes(), b"\n"].concat();
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
    let _ = stdin.flush().await;
}

async fn hear(stdout: Option<ChildStdout>) -> Result<Vec<u8>, String> {
    let mut said = Vec::new();
    let Some(mut stdout) = stdout else {
        return Ok(said);
    };
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = timeout(LONGEST, stdout.read(&mut chunk)).await;
        match read.map_err(|_| slow())? {
            Ok(0) => return Ok(said),
            Ok(read) => said.extend_from_slice(&chunk[..read]),
            Err(error) => return Err(format!("reading from the migration command: {error}")),
        }
        if said.len() > MOST {
            return Err("the migration command answered more than 64 MiB".to_owned());
        }
    }
}

fn slow() -> String {
    format!(
        "the migration command said nothing for {}s",
        LONGEST.as_secs()
    )
}

/// Keeps the last line of stderr, and passes them on where that is wanted.
async fn listen(stderr: Option<ChildStderr>, last: Arc<Shared<String>>, lines: Stderr) {
    let Some(stderr) = stderr else { return };
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut stderr).take(MOST_SAID);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = shown_bytes(line.trim_ascii_end()).into_owned();
        if text.is_empty() {
            continue;
        }
        if lines == Stderr::Passed {
            note(&format!("migrate: {text}"));
        }
        *last.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
