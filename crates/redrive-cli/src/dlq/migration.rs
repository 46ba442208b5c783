//! `--migrate`: payloads through a command, one line of JSON in, one line of JSON out.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex as Shared, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::group::Group;
use crate::terminal::{note, shown_bytes};

/// How long the first answer may take before the command is taken for one that answers only at
/// the end of its input.
const FIRST: Duration = Duration::from_secs(5);
/// How long any other answer may take.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the first answer of a process is given to go on: one that answers a line with several
/// would be a line behind from then on, and each payload would get another one's answer.
const QUIET: Duration = Duration::from_millis(100);
/// How long the last words of a process that has ended may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The longest answer.
const MOST: u64 = 64 * 1024 * 1024;
/// The longest line of stderr that is kept.
const MOST_SAID: u64 = 8 * 1024;

/// A command that migrates payloads. One process for all of them, as long as it answers each line
/// with a line; one that answers otherwise, or only when its input ends, is started for each
/// payload anew.
pub(super) struct Migration {
    command: String,
    state: Mutex<State>,
}

/// How the command is talked to.
enum State {
    Unknown,
    /// With the process that is in step: it has answered what it was asked, and nothing more.
    LineByLine(Option<Box<Process>>),
    OneByOne,
}

impl Migration {
    pub(super) fn new(command: String) -> Self {
        Self {
            command,
            state: Mutex::new(State::Unknown),
        }
    }

    /// The migrated payload.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it kills the process that it asked: nobody would read its answer.
    pub(super) async fn migrate(&self, payload: &RawValue) -> Result<Box<RawValue>, String> {
        let mut state = self.state.lock().await;
        let patience = match &mut *state {
            State::OneByOne => return Process::start(&self.command)?.once(payload).await,
            State::Unknown => FIRST,
            State::LineByLine(in_step) => {
                if let Some(mut process) = in_step.take() {
                    match process.line(payload, LONGEST).await {
                        Line::Answer(answer) => {
                            let answer = read(&answer)?;
                            if process.has_said_more() {
                                return Err(NOT_ONE.to_owned());
                            }
                            *in_step = Some(process);
                            return Ok(answer);
                        }
                        Line::Ended(answer) if !answer.trim_ascii().is_empty() => {
                            return read(&answer);
                        }
                        // It ended after its last answer: a new one is asked.
                        Line::Ended(_) => {}
                        Line::Silent(_) => return Err(slow(LONGEST)),
                    }
                }
                LONGEST
            }
        };
        let mut process = Process::start(&self.command)?;
        let begun = match process.line(payload, patience).await {
            Line::Answer(line) => match read(&line) {
                Ok(answer) if !process.says_more().await => {
                    *state = State::LineByLine(Some(Box::new(process)));
                    return Ok(answer);
                }
                _ => line,
            },
            Line::Silent(_) if patience == LONGEST => return Err(slow(LONGEST)),
            Line::Silent(begun) => {
                // Whatever comes of it: nobody waits for a line of this command again.
                *state = State::OneByOne;
                begun
            }
            Line::Ended(answer) => return read(&process.whole(answer).await?),
        };
        let answer = read(&process.whole(begun).await?)?;
        *state = State::OneByOne;
        Ok(answer)
    }
}

/// A process of the command, and all that it starts; dropped, they are killed.
struct Process {
    /// Dropped before the child, so that its number is nobody else's; none once it has ended.
    group: Option<Group>,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The last line it has said on stderr.
    said: Arc<Shared<String>>,
    listening: JoinHandle<()>,
}

/// What came of one line.
enum Line {
    Answer(Vec<u8>),
    /// Its stdout ended, after so much.
    Ended(Vec<u8>),
    /// It did not end its line, after so much.
    Silent(Vec<u8>),
}

impl Process {
    fn start(command: &str) -> Result<Self, String> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(command)
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
        let said = Arc::default();
        let listening = tokio::spawn(listen(BufReader::new(stderr), Arc::clone(&said)));
        Ok(Self {
            group: Some(Group::of(&child)),
            child,
            stdin: Some(stdin),
            stdout: BufReader::new(stdout),
            said,
            listening,
        })
    }

    /// Sends a line and reads one.
    async fn line(&mut self, payload: &RawValue, patience: Duration) -> Line {
        let (stdin, stdout) = (&mut self.stdin, &mut self.stdout);
        let writing = async {
            if let Some(stdin) = stdin {
                write(stdin, payload).await;
            }
        };
        let mut answer = Vec::new();
        let reading = async {
            let mut limited = stdout.take(MOST);
            limited.read_until(b'\n', &mut answer).await
        };
        match timeout(patience, async { tokio::join!(reading, writing).0 }).await {
            Ok(Ok(_)) if answer.ends_with(b"\n") => Line::Answer(answer),
            Ok(_) => Line::Ended(answer),
            Err(_) => Line::Silent(answer),
        }
    }

    /// Sends the only line there is, and reads all that it answers.
    async fn once(mut self, payload: &RawValue) -> Result<Box<RawValue>, String> {
        let stdin = self.stdin.take();
        let writing = async move {
            if let Some(mut stdin) = stdin {
                write(&mut stdin, payload).await;
            }
        };
        let (answer, ()) = tokio::join!(self.whole(Vec::new()), writing);
        read(&answer?)
    }

    /// Whether there is more of an answer than its line.
    fn has_said_more(&self) -> bool {
        !self.stdout.buffer().is_empty()
    }

    /// The same, of a process that is not known yet.
    async fn says_more(&mut self) -> bool {
        let more = timeout(QUIET, self.stdout.fill_buf()).await;
        matches!(more, Ok(Ok(more)) if !more.is_empty())
    }

    /// Ends its input and reads what it still says, until it ends.
    async fn whole(&mut self, mut answer: Vec<u8>) -> Result<Vec<u8>, String> {
        drop(self.stdin.take());
        let ending = async {
            let mut limited = (&mut self.stdout).take(MOST);
            limited.read_to_end(&mut answer).await?;
            self.child.wait().await
        };
        let status = timeout(LONGEST, ending)
            .await
            .map_err(|_| slow(LONGEST))?
            .map_err(|error| format!("waiting for the migration command: {error}"))?;
        if let Some(group) = self.group.take() {
            group.leave();
        }
        if status.success() && !answer.trim_ascii().is_empty() {
            Ok(answer)
        } else {
            Err(self.failed(status).await)
        }
    }

    async fn failed(&mut self, status: ExitStatus) -> String {
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
async fn write(stdin: &mut ChildStdin, payload: &RawValue) {
    let _ = stdin.write_all(payload.get().as_bytes()).await;
    let _ = stdin.write_all(b"\n").await;
    let _ = stdin.flush().await;
}

const NOT_ONE: &str = "the migration command answered something that is not one JSON value";

fn read(answer: &[u8]) -> Result<Box<RawValue>, String> {
    serde_json::from_slice(answer.trim_ascii()).map_err(|_| NOT_ONE.to_owned())
}

fn slow(patience: Duration) -> String {
    format!(
        "the migration command did not answer within {}s",
        patience.as_secs()
    )
}

/// Passes stderr on, line by line, and keeps the last one.
async fn listen(mut stderr: BufReader<ChildStderr>, last: Arc<Shared<String>>) {
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
        note(&format!("migrate: {text}"));
        *last.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
