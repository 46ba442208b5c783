//! `--migrate`: payloads through a command, together where it answers line by line, else in smaller groups.

use std::pin::Pin;
use std::sync::{Mutex as Shared, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::{Mutex, oneshot};
use tokio::task::yield_now;

use super::process::{Process, Stderr};

/// How many bytes of payloads one process gets, unless a single one is larger.
const TOGETHER: usize = 16 * 1024 * 1024;
/// Where so many fail that each is alone, all are taken to.
const HOPELESS: usize = 32;

/// A command that migrates payloads.
///
/// Those that are asked for at the same time go through one process, a line each, and its input is
/// ended. Only as many values as were sent, each begun on a line of its own, and a good end, make
/// them answers: a command that says more or less to a payload would give the next one the answer
/// to another. Otherwise each half goes through a process of its own, until those that spoil it are
/// alone: all that a process says to one payload is the answer.
pub(super) struct Migration {
    command: String,
    waiting: Shared<Vec<Asked>>,
    turn: Mutex<()>,
}

pub(super) type Answer = Result<Box<RawValue>, String>;

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
            let payloads: Vec<&RawValue> = some.iter().map(|asked| &*asked.payload).collect();
            let mut batch = Batch {
                command: &self.command,
                each_alone: false,
            };
            let answers = batch.answers(&payloads, Stderr::Passed).await;
            for (asked, answer) in some.into_iter().zip(answers) {
                // Nobody waits any more for what was given up meanwhile.
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
}

/// Payloads that are asked for at the same time.
struct Batch<'a> {
    command: &'a str,
    /// Whether asking for several together is of no use.
    each_alone: bool,
}

impl Batch<'_> {
    /// An answer for each. What is said by a process that is asked again is not passed on.
    fn answers<'a>(
        &'a mut self,
        payloads: &'a [&'a RawValue],
        stderr: Stderr,
    ) -> Pin<Box<dyn Future<Output = Vec<Answer>> + Send + 'a>> {
        Box::pin(async move {
            if let [one] = payloads {
                return vec![alone(self.command, one).await];
            }
            if !self.each_alone
                && let Some(answers) = together(self.command, payloads, stderr).await
            {
                return answers.into_iter().map(Ok).collect();
            }
            let (first, second) = payloads.split_at(payloads.len() / 2);
            let mut answers = Vec::with_capacity(payloads.len());
            for half in [first, second] {
                if !half.is_empty() {
                    answers.extend(self.answers(half, Stderr::Kept).await);
                }
            }
            let good = answers.iter().filter(|answer| answer.is_ok()).count();
            // Each half was answered and the whole was not: it takes its input as a whole. Or none
            // of many was: a wrong command, most likely.
            if good == payloads.len() || (good == 0 && payloads.len() >= HOPELESS) {
                self.each_alone = true;
            }
            answers
        })
    }
}

/// An answer for each; `None` where it cannot be known which answers which.
async fn together(
    command: &str,
    payloads: &[&RawValue],
    stderr: Stderr,
) -> Option<Vec<Box<RawValue>>> {
    let mut process = Process::start(command, stderr).ok()?;
    let (status, said) = process.asked(payloads).await.ok()?;
    let answers = values(&said)?;
    (status.success() && answers.len() == payloads.len()).then_some(answers)
}

async fn alone(command: &str, payload: &RawValue) -> Answer {
    let mut process = Process::start(command, Stderr::Passed)?;
    let (status, said) = process.asked(&[payload]).await?;
    if status.success() && !said.trim_ascii().is_empty() {
        serde_json::from_slice(said.trim_ascii()).map_err(|_| NOT_ONE.to_owned())
    } else {
        Err(process.failed(status).await)
    }
}

/// JSON values, each begun on a line of its own, and nothing else: one line that is no answer makes
/// all of them doubtful.
fn values(said: &[u8]) -> Option<Vec<Box<RawValue>>> {
    let text = std::str::from_utf8(said).ok()?;
    let mut values = Vec::new();
    let mut rest = text.trim_ascii_start();
    while !rest.is_empty() {
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Box<RawValue>>();
        values.push(stream.next()?.ok()?);
        let after = rest.get(stream.byte_offset()..)?;
        rest = after.trim_ascii_start();
        let between = after.get(..after.len() - rest.len())?;
        if !rest.is_empty() && !between.contains('\n') {
            return None;
        }
    }
    Some(values)
}

const NOT_ASKED: &str = "the migration command was not asked";
const NOT_ONE: &str = "the migration command answered something that is not one JSON value";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_by_the_lines_that_they_begin_on() {
        for (said, values_in_it) in [
            ("", Some(0)),
            ("1\n2\n", Some(2)),
            ("{\n \"a\": 1\n}\n{\n \"a\": 2\n}", Some(2)),
            ("[1]\r\n[2]\r\n", Some(2)),
            ("\"a\nb\"", None),
            ("1 2\n", None),
            ("[1][2]\n", None),
            ("1\nsorry\n", None),
            ("{\"a\":1}\n{", None),
        ] {
            let found = values(said.as_bytes()).map(|values| values.len());
            assert_eq!(found, values_in_it, "{said:?}");
        }
        assert!(values(b"\"\xff\"").is_none());
    }
}
