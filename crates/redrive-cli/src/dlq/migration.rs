//! `--migrate`: payloads through a command, one line of JSON in, one line of JSON out.

use std::process::Stdio;
use std::sync::{Arc, Mutex as Shared, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::terminal::shown_bytes;

/// How long the first answer may take before the command is taken for one that answers only at
/// the end of its input.
const FIRST: Duration = Duration::from_secs(5);
/// How long any other answer may take.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest answer.
const MOST: u64 = 64 * 1024 * 1024;
/// The longest line of stderr that is kept.
const MOST_SAID: u64 = 8 * 1024;

/// A command that migrates payloads. One process for all of them, as long as it answers each line
/// with a line; one that answers only when its input ends is started for each payload anew.
pub(super) struct Migration {
    command: String,
    state: Mutex<State>,
}

enum State {
    /// Not started, or ended after it had answered.
    Idle {
        ways: Ways,
    },
    Running(Running),
}

/// How the command is talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ways {
    Unknown,
    LineByLine,
    OneByOne,
}

struct Running {
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    answered: bool,
}

/// A process and its group; dropped, they are killed.
struct Process {
    child: Child,
    /// The last line it has said on stderr.
    said: Arc<Shared<String>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only while it has not been waited for is the number surely its own.
        let number = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = number {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Migration {
    pub(super) fn new(command: String) -> Self {
        Self {
            command,
            state: Mutex::new(State::Idle {
                ways: Ways::Unknown,
            }),
        }
    }

    /// The migrated payload.
    pub(super) async fn migrate(&self, payload: &RawValue) -> Result<Box<RawValue>, String> {
        let mut state = self.state.lock().await;
        let (ways, running) = match std::mem::replace(
            &mut *state,
            State::Idle {
                ways: Ways::LineByLine,
            },
        ) {
            State::Idle {
                ways: Ways::OneByOne,
            } => {
                *state = State::Idle {
                    ways: Ways::OneByOne,
                };
                return self.once(payload).await;
            }
            State::Idle { ways } => (ways, None),
            State::Running(running) => (Ways::LineByLine, Some(running)),
        };
        *state = State::Idle { ways };
        if let Some(mut running) = running {
            // It may have ended after its last answer: then a new one is asked.
            match line(&mut running, payload, LONGEST).await {
                Line::Answer(answer) => {
                    *state = State::Running(running);
                    return read(&answer);
                }
                Line::Ended(answer) if !answer.is_empty() => return read(&answer),
                Line::Ended(_) => {}
                Line::Silent => return Err(slow(LONGEST)),
            }
        }
        let mut running = self.start()?;
        let patience = if ways == Ways::Unknown {
            FIRST
        } else {
            LONGEST
        };
        match line(&mut running, payload, patience).await {
            Line::Answer(answer) => {
                running.answered = true;
                *state = State::Running(running);
                read(&answer)
            }
            Line::Ended(answer) => self.ended(running, &answer).await,
            Line::Silent if ways != Ways::Unknown => Err(slow(patience)),
            Line::Silent => {
                let Running {
                    process,
                    stdin,
                    stdout,
                    ..
                } = running;
                drop(stdin);
                let answer = rest(process, stdout).await?;
                *state = State::Idle {
                    ways: Ways::OneByOne,
                };
                read(&answer)
            }
        }
    }

    async fn once(&self, payload: &RawValue) -> Result<Box<RawValue>, String> {
        let Running {
            process,
            mut stdin,
            stdout,
            ..
        } = self.start()?;
        let text = payload.get().as_bytes().to_vec();
        let writing = async move {
            // One that does not read all of it need not.
            let _ = stdin.write_all(&text).await;
            let _ = stdin.write_all(b"\n").await;
        };
        let (answer, ()) = tokio::join!(rest(process, stdout), writing);
        read(&answer?)
    }

    /// It ended instead of answering with a line.
    async fn ended(&self, running: Running, answer: &[u8]) -> Result<Box<RawValue>, String> {
        let Running {
            mut process, stdin, ..
        } = running;
        drop(stdin);
        let status = timeout(LONGEST, process.child.wait()).await;
        match status {
            Ok(Ok(status)) if status.success() && !answer.trim_ascii().is_empty() => read(answer),
            Ok(Ok(status)) => Err(failed(status, &process)),
            Ok(Err(error)) => Err(format!("waiting for the migration command: {error}")),
            Err(_) => Err(slow(LONGEST)),
        }
    }

    fn start(&self) -> Result<Running, String> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us: it ends when a step has ended.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("starting the migration command: {error}"))?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err("starting the migration command: it has no pipes".to_owned());
        };
        let said = Arc::new(Shared::new(String::new()));
        tokio::spawn(listen(BufReader::new(stderr), Arc::clone(&said)));
        Ok(Running {
            process: Process { child, said },
            stdin,
            stdout: BufReader::new(stdout),
            answered: false,
        })
    }
}

/// What came of one line.
enum Line {
    Answer(Vec<u8>),
    /// Its stdout ended, after so much.
    Ended(Vec<u8>),
    Silent,
}

async fn line(running: &mut Running, payload: &RawValue, patience: Duration) -> Line {
    let (stdin, stdout) = (&mut running.stdin, &mut running.stdout);
    let writing = async {
        // A pipe that is closed shows at its other end.
        let _ = stdin.write_all(payload.get().as_bytes()).await;
        let _ = stdin.write_all(b"\n").await;
        let _ = stdin.flush().await;
    };
    let mut answer = Vec::new();
    let reading = async {
        let mut limited = stdout.take(MOST);
        limited.read_until(b'\n', &mut answer).await
    };
    match timeout(patience, async { tokio::join!(reading, writing).0 }).await {
        Ok(Ok(_)) if answer.ends_with(b"\n") => Line::Answer(answer),
        Ok(_) => Line::Ended(answer),
        Err(_) => Line::Silent,
    }
}

/// All that it still says, until it ends.
async fn rest(mut process: Process, stdout: BufReader<ChildStdout>) -> Result<Vec<u8>, String> {
    let ending = async {
        let mut answer = Vec::new();
        let read = stdout.take(MOST).read_to_end(&mut answer).await;
        read.map_err(|error| format!("reading from the migration command: {error}"))?;
        let status = process.child.wait().await;
        let status =
            status.map_err(|error| format!("waiting for the migration command: {error}"))?;
        if status.success() {
            Ok(answer)
        } else {
            Err(failed(status, &process))
        }
    };
    timeout(LONGEST, ending)
        .await
        .unwrap_or_else(|_| Err(slow(LONGEST)))
}

fn read(answer: &[u8]) -> Result<Box<RawValue>, String> {
    serde_json::from_slice(answer.trim_ascii()).map_err(|_| {
        "the migration command answered something that is not one JSON value".to_owned()
    })
}

fn slow(patience: Duration) -> String {
    format!(
        "the migration command did not answer within {}s",
        patience.as_secs()
    )
}

fn failed(status: std::process::ExitStatus, process: &Process) -> String {
    let said = process
        .said
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let said = if said.is_empty() {
        said
    } else {
        format!(": {said}")
    };
    if status.success() {
        return format!("the migration command ended without an answer{said}");
    }
    format!("the migration command ended with {status}{said}")
}

/// Passes stderr on, line by line, and keeps the last one.
async fn listen(mut stderr: BufReader<tokio::process::ChildStderr>, last: Arc<Shared<String>>) {
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
        eprintln_line(&text);
        *last.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

fn eprintln_line(text: &str) {
    use std::io::Write;
    // Nobody reading is no failure.
    let _ = writeln!(std::io::stderr(), "migrate: {text}");
}
