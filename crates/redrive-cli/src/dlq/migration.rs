//! `--migrate`: payloads through a command, one line of JSON in, one line of JSON out.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex as Shared, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, oneshot};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use crate::group::Group;
use crate::terminal::{note, shown_bytes};

/// How long a process may say nothing.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the last words of a process that has ended may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How many bytes of payloads one process gets, unless a single one is larger.
const TOGETHER: usize = 16 * 1024 * 1024;
/// The most that one process may answer.
const MOST: usize = 64 * 1024 * 1024;
/// The longest line of stderr that is kept.
const MOST_SAID: u64 = 8 * 1024;

/// A command that migrates payloads.
///
/// Those that are asked for at the same time go through one process, a line each, and its input is
/// ended. Only as many lines of JSON as were sent, and a good end, make its lines answers: a command
/// that says more or less to a payload would give the next one the answer to another. Otherwise each
/// payload gets a process of its own, and all that it says is the answer.
pub(super) struct Migration {
    command: String,
    waiting: Shared<Vec<Asked>>,
    turn: Mutex<()>,
}

type Answer = Result<Box<RawValue>, String>;

struct Asked {
    payload: Box<RawValue>,
    tell: oneshot::Sender<Answer>,
}

impl Migration {
    pub(super) fn new(command: String) -> Self {
        Self {
            command,
            waiting: Shared::default(),
            turn: Mutex::default(),
        }
    }

    /// The migrated payload.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it kills the process that it has started: nobody would read its answers.
    pub(super) async fn migrate(&self, payload: Box<RawValue>) -> Answer {
        let (tell, mut told) = oneshot::channel();
        self.waiting().push(Asked { payload, tell });
        // Whoever else is asked for now comes before this goes on.
        yield_now().await;
        loop {
            let _turn = self.turn.lock().await;
            match told.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => return Err(NOT_ASKED.to_owned()),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let some = self.take();
            if let [_, _, ..] = some.as_slice()
                && let Some(answers) = self.together(&some).await
            {
                for (asked, answer) in some.into_iter().zip(answers) {
                    // Nobody waits any more for what was given up meanwhile.
                    let _ = asked.tell.send(Ok(answer));
                }
                continue;
            }
            for asked in some {
                let answer = self.alone(&asked.payload).await;
                let _ = asked.tell.send(answer);
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next that go together.
    fn take(&self) -> Vec<Asked> {
        let mut waiting = self.waiting();
        waiting.retain(|asked| !asked.tell.is_closed());
        let mut size = 0;
        let fitting = waiting.iter().take_while(|asked| {
            size += asked.payload.get().len();
            size <= TOGETHER
        });
        let fitting = fitting.count().max(1).min(waiting.len());
        waiting.drain(..fitting).collect()
    }

    /// An answer for each; `None` where it cannot be known which line answers which.
    async fn together(&self, some: &[Asked]) -> Option<Vec<Box<RawValue>>> {
        let mut process = Process::start(&self.command).ok()?;
        let payloads = some.iter().map(|asked| &*asked.payload);
        let (status, said) = process.asked(payloads).await.ok()?;
        let said = said.strip_suffix(b"\n").unwrap_or(&said);
        // One line that is no answer makes all of them doubtful: a command that takes its input as
        // a whole may well say as many lines.
        let lines = said.split(|byte| *byte == b'\n');
        let answers: Vec<_> = lines.map(read).collect::<Result<_, _>>().ok()?;
        (status.success() && answers.len() == some.len()).then_some(answers)
    }

    async fn alone(&self, payload: &RawValue) -> Answer {
        let mut process = Process::start(&self.command)?;
        let (status, said) = process.asked(std::iter::once(payload)).await?;
        if status.success() && !said.trim_ascii().is_empty() {
            read(&said)
        } else {
            Err(process.failed(status).await)
        }
    }
}

/// A process of the command, and all that it starts; dropped, they are killed.
struct Process {
    /// Dropped before the child, so that its number is nobody else's; none once it has ended.
    group: Option<Group>,
    child: Child,
    /// The last line it has said on stderr.
    said: Arc<Shared<String>>,
    listening: JoinHandle<()>,
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
        let said = Arc::default();
        let listening = tokio::spawn(listen(child.stderr.take(), Arc::clone(&said)));
        Ok(Self {
            group: Some(Group::of(&child)),
            child,
            said,
            listening,
        })
    }

    /// Sends a line each, ends its input, and reads all that it says until it ends.
    async fn asked<'a>(
        &mut self,
        payloads: impl Iterator<Item = &'a RawValue>,
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
async fn tell<'a>(stdin: Option<ChildStdin>, payloads: impl Iterator<Item = &'a RawValue>) {
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

const NOT_ASKED: &str = "the migration command was not asked";
const NOT_ONE: &str = "the migration command answered something that is not one JSON value";

fn read(answer: &[u8]) -> Answer {
    serde_json::from_slice(answer.trim_ascii()).map_err(|_| NOT_ONE.to_owned())
}

fn slow() -> String {
    format!(
        "the migration command said nothing for {}s",
        LONGEST.as_secs()
    )
}

/// Passes stderr on, line by line, and keeps the last one.
async fn listen(stderr: Option<ChildStderr>, last: Arc<Shared<String>>) {
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
        note(&format!("migrate: {text}"));
        *last.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
