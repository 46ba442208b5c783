//! A worker of the library for the sweep: what the command line cannot do, with every run written down.
#![expect(clippy::print_stderr, reason = "this is how it says why it failed")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use redrive::{Broker, Json, Message, Outcome, Processor, RetryPolicy, Source};
use serde_json::Value;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "sweep-worker URL STREAM GROUP RUNS LEASE_MS one|two|patient";
/// As many as an outage may cost.
const PATIENCE: u32 = 1_000;

#[tokio::main]
async fn main() -> ExitCode {
    match work().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}\nhint: {USAGE}");
            ExitCode::FAILURE
        }
    }
}

async fn work() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, stream, group, runs, lease, how] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let broker = Broker::connect(url).await?;
    let how = how.as_str();
    let runs = Arc::new(PathBuf::from(runs));
    let lease = Duration::from_millis(lease.parse()?);
    let mut retry = RetryPolicy::fixed(Duration::from_millis(20));
    if how == "patient" {
        retry = retry.max_attempts(PATIENCE);
    }
    let processor = || -> Result<Processor, Failure> {
        let runs = Arc::clone(&runs);
        let source = Source::new(stream.as_str(), group.as_str())?;
        let builder = Processor::builder(&broker, source)
            .codec(Json::default())
            .lease(lease)
            .foreign_lease(lease * 2)
            .block(Duration::from_millis(100))
            .retry(retry.clone());
        Ok(builder.build(move |order: Message<Value>| {
            let runs = Arc::clone(&runs);
            async move { handle(&order, &runs).await }
        })?)
    };
    let mut first = processor()?;
    if how == "two" {
        let mut second = processor()?;
        let (one, other) = tokio::join!(first.run_until_idle(), second.run_until_idle());
        one?;
        other?;
    } else {
        first.run_until_idle().await?;
    }
    Ok(())
}

/// Does what the message says, and writes down that it ran.
async fn handle(order: &Message<Value>, runs: &Path) -> Outcome {
    let id = order.id().to_string();
    let before = std::fs::read_to_string(runs).unwrap_or_default();
    let ran_before = before.lines().any(|line| line == format!("{id} start"));
    if let Err(error) = note(runs, &format!("{id} start")) {
        return Outcome::retry(error);
    }
    let outcome = match order.get("do").and_then(Value::as_str) {
        Some("fail") => return Outcome::retry("it always fails"),
        Some("fail-once") if order.attempt() == 1 => return Outcome::retry("it fails once"),
        // The others have begun as well.
        Some("abort") => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            std::process::abort()
        }
        Some("slow") => {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Outcome::Ack
        }
        Some("needs-go") if !runs.with_file_name("go").exists() => {
            return Outcome::retry("nothing works");
        }
        Some("reject") => return Outcome::dead_letter("it is no good"),
        Some("defer") if !ran_before => return Outcome::defer(Duration::from_millis(50)),
        Some("discard") => Outcome::discard("nobody needs it"),
        _ => Outcome::Ack,
    };
    match note(runs, &format!("{id} done")) {
        Ok(()) => outcome,
        Err(error) => Outcome::retry(error),
    }
}

fn note(runs: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(runs)?;
    // In one write: others append to it as well.
    file.write_all(format!("{line}\n").as_bytes())
}
