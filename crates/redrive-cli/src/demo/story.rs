//! The story: what happens, in order, with the numbers that the broker answers.

use std::io::Write;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use redrive::{
    Broker, DeadLetter, DeadLetterQueue, Fields, Page, ReplayOptions, Selection, Source,
};
use redrive::{Stats, StreamKey};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::orders::{self, Billing};
use super::worker;
use crate::failure::Failure;
use crate::session::unconnected;
use crate::terminal::shown;

/// How long the first worker may take until it has its orders in hand.
const SOON: Duration = Duration::from_secs(10);

/// How long a charge lasts before it is cut short: time for what is done to be acknowledged.
const MIDDLE: Duration = Duration::from_millis(300);

/// How long the whole story may take. A worker waits for a server for as long as it takes; who
/// watches a demo does not.
const LONGEST: Duration = Duration::from_secs(60);

/// The first line that could not be written, and why.
static LOST: OnceLock<String> = OnceLock::new();

/// Writes one line at once, so that the story is read as it happens. A reader that has gone away
/// is no fault; anything else is told at the end.
pub(super) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        LOST.get_or_init(|| error.to_string());
    }
}

/// Tells it, on this server or on a broker within this process.
pub(super) async fn tell(url: Option<&str>) -> Result<(), Failure> {
    let name = match url {
        // On a server that others use, under a name of its own.
        Some(_) => format!("redrive-demo-{:08x}", nonce()),
        None => "orders".to_owned(),
    };
    let broker = Broker::connect(url.unwrap_or("memory:"))
        .await
        .map_err(unconnected)?;
    let stream = StreamKey::new(name)?;
    let story = Story {
        source: worker::source(&stream)?,
        queue: broker.dead_letters(stream.default_dead_letters()),
        broker,
        stream,
        url: url.map(str::to_owned),
    };
    let told = tokio::select! {
        told = tokio::time::timeout(LONGEST, story.tell()) => told.unwrap_or_else(|_| {
            Err(Failure::new(format!(
                "the demo did not end within {} s: is the server still there?",
                LONGEST.as_secs()
            )))
        }),
        () = interrupted() => Err(Failure::new("interrupted")),
    };
    if story.url.is_some() {
        let erasing = story.broker.erase(&story.source, story.queue.stream());
        match tokio::time::timeout(SOON, erasing).await {
            Ok(Ok(())) => say("The demo's keys have been removed from the server."),
            _ => say(&format!(
                "The demo's keys may be left on the server: see {}*",
                story.stream
            )),
        }
    }
    match LOST.get() {
        Some(error) => told.and(Err(Failure::new(format!("writing the story: {error}")))),
        None => told,
    }
}

/// Ends when somebody asks this program to: by Ctrl-C or SIGTERM.
async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        // An error is that there is no such signal here: nothing to wait for then.
        Ok(()) = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        else => std::future::pending().await,
    }
}

/// A number that no other demo has at this moment.
fn nonce() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.subsec_nanos()) ^ std::process::id().rotate_left(16)
}

struct Story {
    broker: Broker,
    stream: StreamKey,
    source: Source,
    queue: DeadLetterQueue,
    url: Option<String>,
}

impl Story {
    async fn tell(&self) -> Result<(), Failure> {
        let sent = self.send().await?;
        self.first_worker_dies().await?;
        self.second_worker_takes_over().await?;
        let letters = self.look_at_dead_letters().await?;
        let replayed = self.replay(&letters).await?;
        let purged = self.purge(&letters).await?;
        self.check(sent, replayed, purged).await
    }

    async fn stats(&self) -> Result<Stats, Failure> {
        Ok(self.broker.stats(&self.source).await?)
    }

    async fn send(&self) -> Result<u64, Failure> {
        let producer = self.broker.producer(self.stream.clone());
        let good = producer.send_all(&orders::all()).await?;
        let broken = Fields::from_iter([("data", orders::NOT_JSON)]);
        producer.send_fields(broken).await?;
        let sent = good.len() as u64 + 1;
        say(&format!(
            "1. {sent} orders are added to the stream `{}`.",
            self.stream
        ));
        say("   Some will fail once, some always, one is rejected, and one is not even JSON.");
        Ok(sent)
    }

    async fn first_worker_dies(&self) -> Result<(), Failure> {
        say("");
        say("2. A worker starts, and dies with orders in hand.");
        match &self.url {
            None => self.abort_a_task().await?,
            Some(url) => self.kill_a_process(url).await?,
        }
        let stats = self.stats().await?;
        say(&format!(
            "   The broker: {} delivered and not acknowledged, {} acknowledged, {} never delivered.",
            known(stats.pending_messages),
            known(acknowledged(&stats)),
            known(stats.lag),
        ));
        Ok(())
    }

    async fn abort_a_task(&self) -> Result<(), Failure> {
        let (mut processor, mut in_hand) = worker::first(&self.broker, self.source.clone())?;
        let task =
            tokio::spawn(async move { processor.run_until(std::future::pending::<()>()).await });
        for _ in 0..worker::IN_HAND {
            let next = tokio::time::timeout(SOON, in_hand.recv()).await;
            if !matches!(next, Ok(Some(_))) {
                task.abort();
                return Err(Failure::new(
                    "the first worker did not get its orders in hand",
                ));
            }
        }
        tokio::time::sleep(MIDDLE).await;
        task.abort();
        // Ended by the abort; what it would have answered is what a crash takes with it.
        let _ = task.await;
        say("   Its task is aborted in the middle of three charges: nothing is handed back.");
        Ok(())
    }

    async fn kill_a_process(&self, url: &str) -> Result<(), Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["demo-worker", "--stream", self.stream.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        // Not as an argument or a variable: it may hold a password, and both are there to be seen.
        let mut stdin = child
            .stdin
            .take()
            .ok_or_else(|| Failure::new("the worker has no input"))?;
        stdin.write_all(format!("{url}\n").as_bytes()).await?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| Failure::new("the worker has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if line == "in hand" {
                    return Ok(());
                }
                say(&shown(&line));
            }
            Err(Failure::new("the first worker ended by itself"))
        };
        tokio::time::timeout(SOON, listening)
            .await
            .map_err(|_| Failure::new("the first worker did not get its orders in hand"))??;
        tokio::time::sleep(MIDDLE).await;
        // SIGKILL: it cannot hand anything back.
        child.kill().await?;
        // Open until here: at its end the worker knows that nobody is left to kill it.
        drop(stdin);
        say("   Its process is killed in the middle of three charges: nothing is handed back.");
        Ok(())
    }

    async fn second_worker_takes_over(&self) -> Result<(), Failure> {
        say("");
        say(&format!(
            "3. A second worker goes on. What the dead one held comes to it when the lease of {} s is over.",
            worker::LEASE.as_secs()
        ));
        let mut second = worker::second(&self.broker, self.source.clone(), Billing::AsDeployed)?;
        let totals = second.run_until_idle().await?;
        let stats = self.stats().await?;
        say(&format!(
            "   It ended: {} succeeded, {} runs failed and {} of these were retried, {} dead letters.",
            totals.succeeded, totals.failed, totals.retried, totals.dead_lettered
        ));
        say(&format!(
            "   The broker: {} pending, {} waiting for a retry, {} in `{}`.",
            known(stats.pending_messages),
            known(stats.waiting),
            stats.dlq_length,
            stats.dlq
        ));
        Ok(())
    }

    async fn look_at_dead_letters(&self) -> Result<Vec<DeadLetter>, Failure> {
        say("");
        say("4. Every dead letter says why it is there.");
        let listing = self.queue.list(Page::default()).await?;
        say(&format!(
            "   {:<18} {:>8}  {}",
            "reason", "failures", "error"
        ));
        for letter in listing.dead_letters.iter().rev() {
            say(&format!(
                "   {:<18} {:>8}  {}",
                letter.reason.map_or("?", redrive::Reason::as_str),
                known(letter.attempts),
                shown(letter.error.as_deref().unwrap_or("")),
            ));
        }
        Ok(listing.dead_letters)
    }

    async fn replay(&self, letters: &[DeadLetter]) -> Result<u64, Failure> {
        say("");
        say("5. The wrong currency is repaired; those orders are replayed.");
        let declined = letters
            .iter()
            .filter(|letter| letter.reason == Some(redrive::Reason::AttemptsExhausted))
            .map(|letter| letter.id);
        let options = ReplayOptions::default();
        let report = self
            .queue
            .replay_many(&Selection::ids(declined), &options)
            .await?;
        let mut repaired = worker::second(&self.broker, self.source.clone(), Billing::Repaired)?;
        let totals = repaired.run_until_idle().await?;
        say(&format!(
            "   {} replayed, {} succeeded.",
            report.replayed, totals.succeeded
        ));
        Ok(report.replayed)
    }

    async fn purge(&self, letters: &[DeadLetter]) -> Result<u64, Failure> {
        let broken = letters
            .iter()
            .filter(|letter| letter.reason == Some(redrive::Reason::Undecodable))
            .map(|letter| letter.id);
        let purged = self.queue.purge(&Selection::ids(broken)).await?.purged;
        say("");
        say(&format!(
            "6. {purged} that can never be read is purged. The rejected one stays, to be looked at."
        ));
        Ok(purged)
    }

    /// Whether everything that was sent is accounted for, by the broker's own numbers.
    async fn check(&self, sent: u64, replayed: u64, purged: u64) -> Result<(), Failure> {
        let stats = self.stats().await?;
        // Every acknowledged entry is one that succeeded or one that was dead-lettered.
        let succeeded = acknowledged(&stats).and_then(|all| all.checked_sub(stats.dlq_arrivals));
        let dead = stats.dlq_length;
        say("");
        say(&format!(
            "{sent} sent = {} succeeded ({replayed} after a replay) + {dead} dead + {purged} purged",
            known(succeeded)
        ));
        match succeeded {
            Some(succeeded) if succeeded + dead + purged == sent => Ok(()),
            _ => Err(Failure::new(
                "the numbers of the demo do not add up: please report this",
            )),
        }
    }
}

/// How many entries of the stream have been delivered and acknowledged.
fn acknowledged(stats: &Stats) -> Option<u64> {
    stats
        .stream_length?
        .checked_sub(stats.lag?)?
        .checked_sub(stats.pending_messages?)
}

fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}
